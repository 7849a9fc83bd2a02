#![doc = include_str!("../README.md")]

mod arp;
mod clock;
mod count;
mod dhcp;
#[cfg_attr(not(test), expect(dead_code, reason = "the loop does not drive it yet"))]
mod dns;
mod ipv4;
mod link;
mod packet;
#[cfg_attr(not(test), expect(dead_code, reason = "the loop does not drive it yet"))]
mod router;
#[cfg_attr(not(test), expect(dead_code, reason = "the loop does not drive it yet"))]
mod sntp;

use std::error::Error;
use std::process::ExitCode;

use handoff::{Channel, Received, ToNetd};
use link::Link;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // init shows this on the console, with our name in front.
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let control = Channel::inherited()?;
    let Received { message, descriptors } = control.receive::<ToNetd>()?;
    match message {
        ToNetd::Link {
            index,
            mac,
            host_name,
            ipv4,
            ..
        } => {
            let sockets = link::Sockets::new(index, descriptors)?;
            Link::new(control, sockets, mac, host_name, ipv4).run()
        }
        ToNetd::Stop => Ok(()),
        _ => Err("init said something else before it handed over a link".into()),
    }
}
