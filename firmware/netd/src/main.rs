#![doc = include_str!("../README.md")]

mod arp;
mod clock;
mod count;
mod dhcp;
mod dns;
mod ipv4;
mod link;
mod mdns;
mod packet;
mod router;
mod sandbox;
mod sntp;

use std::error::Error;
use std::process::ExitCode;

use handoff::{Channel, Received, ToNetd};
use link::{Card, Link, Sockets};

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
    sandbox::close()?;
    let control = Channel::inherited()?;
    let Received { message, descriptors } = control.receive::<ToNetd>()?;
    match message {
        ToNetd::Link {
            index,
            mac,
            name,
            host_name,
            ipv4,
        } => {
            let card = Card {
                index,
                mac,
                interface: name,
                host_name,
            };
            Link::new(control, Sockets::new(index, descriptors)?, card, ipv4).run()
        }
        ToNetd::Stop => Ok(()),
        _ => Err("init said something else before it handed over a link".into()),
    }
}
