//! What init hands over before the house is opened.

use super::control::Control;
use crate::house::ProvisionFile;
use crate::provision::{self, BoxPlan};
use crate::services::{self, Entry};
use crate::trouble::Trouble;
use handoff::{ProvisionOrigin, Received, ToMaild};
use mail::Domain;
use std::fs::File;
use std::net::{IpAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

const PROVISION_NAME: &str = "postolka.toml";

/// What init hands over before it says Start.
#[derive(Default)]
pub(super) struct Given {
    pub(super) host_name: Option<Domain>,
    pub(super) addresses: Vec<(IpAddr, u8)>,
    pub(super) listeners: Vec<(Entry, TcpListener)>,
    pub(super) provision: Option<ProvisionFile>,
    /// What the file of the boot partition says.
    pub(super) boot_partition: Option<Result<BoxPlan, String>>,
}

/// Takes what init hands over, until Start.
pub(super) async fn gather(control: &Control) -> Result<Given, Trouble> {
    let mut given = Given::default();
    loop {
        let Received { message, descriptors } = control.receive().await?;
        let descriptor = descriptors.into_iter().next();
        match (message, descriptor) {
            (ToMaild::HostName(name), _) => given.host_name = domain(&name),
            (ToMaild::Addresses(addresses), _) => given.addresses = networks(&addresses),
            (ToMaild::Listener { port }, Some(descriptor)) => {
                if let Some(entry) = services::of_port(port) {
                    given.listeners.push((entry, TcpListener::from(descriptor)));
                } else {
                    tracing::warn!(port, "nothing is served on this port");
                }
            }
            (ToMaild::Provision { octets, origin }, Some(descriptor)) => {
                let file = read_provision(descriptor, octets)?;
                match origin {
                    ProvisionOrigin::Stick => given.provision = Some(file),
                    ProvisionOrigin::Esp => given.boot_partition = Some(read_box(&file)),
                }
            }
            (ToMaild::Boot(boot), _) => log_boot(boot),
            // Nobody can hand this program an update yet: it goes without.
            (ToMaild::Letterbox, _) => {}
            (ToMaild::Clock { is_synced }, _) => log_clock(is_synced),
            (ToMaild::Start, _) => return Ok(given),
            (
                ToMaild::Serve | ToMaild::Button | ToMaild::UpdateResult { .. } | ToMaild::Stop { .. },
                None | Some(_),
            ) => {
                return Err(Trouble::Handoff("it said something else before Start".to_owned()));
            }
            (ToMaild::Listener { .. } | ToMaild::Provision { .. }, None) => {
                return Err(Trouble::Handoff("a descriptor is missing".to_owned()));
            }
        }
    }
}

/// A mistake in the file of the boot partition keeps nothing from being served: it is told.
fn read_box(file: &ProvisionFile) -> Result<BoxPlan, String> {
    provision::parse_box(&file.octets).map_err(|mistakes| {
        let text = format!(
            "{} of the boot partition was not applied, because of {mistakes}",
            file.name
        );
        tracing::error!("{text}");
        text
    })
}

/// Reads from the beginning, wherever the position of the shared descriptor stands.
fn read_provision(descriptor: OwnedFd, octets: u32) -> Result<ProvisionFile, Trouble> {
    let mut text = vec![0; usize::try_from(octets).unwrap_or(usize::MAX)];
    match File::from(descriptor).read_exact_at(&mut text, 0) {
        Ok(()) => Ok(ProvisionFile {
            name: PROVISION_NAME.to_owned(),
            octets: text,
            is_named: false,
        }),
        Err(source) => Err(Trouble::ProvisionFile {
            name: PROVISION_NAME.to_owned(),
            source,
        }),
    }
}

/// What init said of the start: it is init that acts on it.
pub(super) fn log_boot(boot: handoff::Boot) {
    if boot.was_watchdog_reset {
        tracing::warn!("the box was started again by its watchdog: something had hung");
    }
    let Some(slot) = boot.slot else { return };
    if boot.is_trial {
        tracing::info!(?slot, attempt = boot.attempt, "this version is on trial");
    } else {
        tracing::debug!(?slot, "this version is the one to start");
    }
}

/// What the times of messages and of the log are worth.
pub(super) fn log_clock(is_synced: bool) {
    if is_synced {
        tracing::info!("the clock is set by time servers");
    } else {
        tracing::info!("the clock is not set by time servers yet: times are a guess");
    }
}

pub(super) fn domain(name: &handoff::HostName) -> Option<Domain> {
    let domain = Domain::parse(name.as_str()).ok();
    if domain.is_none() {
        tracing::warn!(name = name.as_str(), "the name of the box is no domain name");
    }
    domain
}

pub(super) fn networks(addresses: &handoff::Addresses) -> Vec<(IpAddr, u8)> {
    let addresses = addresses.0.iter();
    addresses.map(|address| (address.ip, address.prefix)).collect()
}
