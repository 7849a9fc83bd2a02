//! In the box: everything comes from init, and init is told how it goes.
//!
//! ```text
//! HostName · Addresses · Boot · Clock · Listener(web)… · Provision? · Start  ─►  open   ─►  Opened
//! Listener(mail)… if the box is claimed · Serve                              ─►  serve  ─►  Ready, Status
//! then, until Stop, SIGTERM or the end of init:         SelfTest once, Alive every 5 s, Status when it changes
//! ```

use crate::house::{House, Options, ProvisionFile};
use crate::provision::{self, BoxPlan};
use crate::self_test::SelfTest;
use crate::services::{self, Entry};
use crate::trouble::Trouble;
use handoff::{
    AWAIT_SECONDS_MAX, Channel, ConsoleLine, FromMaild, Message, ProvisionOrigin, ReceiveError, Received,
    Status, ToMaild,
};
use mail::Domain;
use std::fs::File;
use std::io;
use std::net::{IpAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// When init has not said how the box is called.
const HOST_NAME: &str = "postolka";
const PROVISION_NAME: &str = "postolka.toml";

/// init takes us for dead after 60 s without.
const ALIVE_EVERY: Duration = Duration::from_secs(5);
/// How often is looked whether the console is still right.
const STATUS_EVERY: Duration = Duration::from_secs(5);
/// Each new status is a page on the console: on a box where mail comes all the time, so far apart.
const STATUS_GAP: Duration = Duration::from_secs(60);
/// A certificate is renewed months before its end, and one that a wrong clock made within the hour.
const CERTIFICATE_EVERY: Duration = Duration::from_hours(1);
/// Kept from init's deadline for the store's last checkpoint.
const CLOSE_TIME: Duration = Duration::from_secs(2);
/// After SIGTERM, which init sends when its deadline is over.
const GRACE_AFTER_SIGNAL: Duration = Duration::from_millis(500);

/// What init hands over before it says Start.
#[derive(Default)]
struct Given {
    host_name: Option<Domain>,
    addresses: Vec<(IpAddr, u8)>,
    listeners: Vec<(Entry, TcpListener)>,
    provision: Option<ProvisionFile>,
    /// What the file of the boot partition says.
    boot_partition: Option<Result<BoxPlan, String>>,
}

/// Serves until init says Stop.
pub(crate) async fn run(folder: PathBuf) -> Result<(), Trouble> {
    let control = Arc::new(Control::inherited().map_err(Trouble::System)?);
    let outcome = serve(&control, folder).await;
    if let Err(trouble) = &outcome {
        // On the console page as well, where it stays until the next start says something else.
        let _ = control.send(&status(&trouble.to_string())).await;
    }
    outcome
}

async fn serve(control: &Arc<Control>, folder: PathBuf) -> Result<(), Trouble> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Trouble::System)?;
    let given = gather(control).await?;
    let options = Options {
        folder,
        host_name: given
            .host_name
            .unwrap_or_else(|| Domain::parse(HOST_NAME).expect("it is a domain name")),
        addresses: given.addresses,
        has_button: true,
        provision: given.provision,
    };
    let mut house = House::open(options).await?;
    for (entry, socket) in given.listeners {
        house.serve(entry, socket);
    }
    let boot_partition = given.boot_partition.filter(|_| !house.is_claimed());
    let (boot_partition, mistake) = match boot_partition.transpose() {
        Ok(plan) => (plan.unwrap_or_default(), None),
        Err(mistake) => (BoxPlan::default(), Some(mistake)),
    };
    tell_box(control, &mut house, &boot_partition).await?;
    let mut duties = JoinSet::new();
    let opened = FromMaild::Opened {
        is_claimed: house.is_claimed(),
    };
    let outcome = match control.send(&opened).await.map_err(Trouble::System) {
        Ok(()) => {
            attend(
                control,
                &mut house,
                &mut duties,
                &mut terminate,
                mistake.as_deref(),
            )
            .await
        }
        Err(trouble) => Err(trouble),
    };
    duties.shutdown().await;
    match outcome {
        Ok(grace) => {
            house.close(grace).await;
            Ok(())
        }
        Err(trouble) => {
            house.close(GRACE_AFTER_SIGNAL).await;
            Err(trouble)
        }
    }
}

/// Takes what init hands over, until Start.
async fn gather(control: &Control) -> Result<Given, Trouble> {
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

/// Does what comes up while mail is served. Gives the time that is left to end, once it is to end.
async fn attend(
    control: &Arc<Control>,
    house: &mut House,
    duties: &mut JoinSet<()>,
    terminate: &mut tokio::signal::unix::Signal,
    mistake: Option<&str>,
) -> Result<Duration, Trouble> {
    let mut statuses = interval(STATUS_EVERY);
    let mut certificates = interval(CERTIFICATE_EVERY);
    // After the clock jumped, or the box was suspended, once is enough.
    statuses.set_missed_tick_behavior(MissedTickBehavior::Delay);
    certificates.set_missed_tick_behavior(MissedTickBehavior::Delay);
    certificates.tick().await;
    let mut shown = String::new();
    // The first change, such as the first message on a new box, is shown as soon as it is seen.
    let mut may_change = Instant::now();
    let claiming = house.claiming().clone();
    let mut button_waits = claiming.button_waits();
    let mut is_claimed = claiming.is_claimed();
    loop {
        tokio::select! {
            () = claiming.claimed(), if !is_claimed => {
                is_claimed = true;
                // The code on the console is good for nothing any more.
                may_change = Instant::now();
                let opened = FromMaild::Opened { is_claimed };
                control.send(&opened).await.map_err(Trouble::System)?;
            }
            Ok(()) = button_waits.changed() => {
                let seconds = button_waits.borrow_and_update().as_secs();
                let seconds = u16::try_from(seconds).unwrap_or(u16::MAX).min(AWAIT_SECONDS_MAX);
                control.send(&FromMaild::AwaitButton { seconds }).await.map_err(Trouble::System)?;
            }
            received = control.receive() => if let Some(grace) = follow(control, house, duties, received?).await? {
                return Ok(grace);
            },
            trouble = house.failed() => return Err(trouble),
            _ = terminate.recv() => return Ok(GRACE_AFTER_SIGNAL),
            _ = certificates.tick() => house.refresh_certificate(),
            // Not before Ready: the page first says that mail is served.
            now = statuses.tick(), if !duties.is_empty() => if shown.is_empty() || now >= may_change {
                let mut text = house.summary().unwrap_or_else(|error| format!("The mail cannot be read: {error}"));
                if let Some(mistake) = mistake {
                    text = format!("{text}\n{mistake}");
                }
                if text != shown {
                    control.send(&status(&text)).await.map_err(Trouble::System)?;
                    if !shown.is_empty() {
                        may_change = now + STATUS_GAP;
                    }
                    shown = text;
                }
            }
        }
    }
}

/// Does what init says while the house is open. Gives the time that is left to end, once it is to end.
async fn follow(
    control: &Arc<Control>,
    house: &mut House,
    duties: &mut JoinSet<()>,
    received: Received<ToMaild>,
) -> Result<Option<Duration>, Trouble> {
    match (received.message, received.descriptors.into_iter().next()) {
        (ToMaild::Stop { deadline_ms }, _) => {
            let deadline = Duration::from_millis(deadline_ms.into());
            return Ok(Some(deadline.saturating_sub(CLOSE_TIME)));
        }
        (ToMaild::Listener { port }, Some(descriptor)) => {
            if let Some(entry) = services::of_port(port) {
                house.serve(entry, TcpListener::from(descriptor));
            } else {
                tracing::warn!(port, "nothing is served on this port");
            }
        }
        (ToMaild::Serve, _) => ready(control, house, duties).await?,
        (ToMaild::Addresses(addresses), _) => house.set_addresses(networks(&addresses)),
        (ToMaild::HostName(name), _) => {
            if let Some(name) = domain(&name) {
                tracing::info!(%name, "the box has another name");
                house.rename(&name);
            }
        }
        (ToMaild::Boot(boot), _) => log_boot(boot),
        (ToMaild::Clock { is_synced }, _) => {
            log_clock(is_synced);
            // One that was made by another clock may not be valid yet, or any more.
            house.refresh_certificate();
        }
        (ToMaild::Button, _) => house.claiming().press_button(),
        // Not supported: handing an update over. Nobody asked, so that it is only told.
        (ToMaild::UpdateResult { is_taken, text }, _) => {
            tracing::info!(is_taken, text = text.as_str(), "init tells of an update");
        }
        (
            ToMaild::Listener { .. } | ToMaild::Provision { .. } | ToMaild::Letterbox | ToMaild::Start,
            None | Some(_),
        ) => {
            return Err(Trouble::Handoff(
                "it handed something over behind Start".to_owned(),
            ));
        }
    }
    Ok(None)
}

/// Everything that was handed over is served: says so. The first time the signs of life and the box's look at itself
/// begin.
async fn ready(control: &Arc<Control>, house: &mut House, duties: &mut JoinSet<()>) -> Result<(), Trouble> {
    let self_test = house.self_test()?;
    let fingerprint = house.fingerprint();
    control
        .send(&FromMaild::Ready { fingerprint })
        .await
        .map_err(Trouble::System)?;
    if duties.is_empty() {
        duties.spawn(say_alive(Arc::clone(control), house.store().clone()));
        duties.spawn(tell_self_test(Arc::clone(control), self_test));
    }
    Ok(())
}

/// Says every few seconds that the executor runs this and that the store's writer answers. When one of
/// them hangs nothing is said, and init acts on that.
async fn say_alive(control: Arc<Control>, store: Store) {
    let mut ticks = interval(ALIVE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if store.pulse().await.is_ok() && control.send(&FromMaild::Alive).await.is_err() {
            return;
        }
    }
}

/// Looks once whether everything works, also when this version is not on trial: it is the box's own health check.
async fn tell_self_test(control: Arc<Control>, self_test: SelfTest) {
    let outcome = self_test.run().await;
    let told = FromMaild::SelfTest {
        is_ok: outcome.is_ok(),
        which: ConsoleLine::lossy(&outcome.which()),
    };
    // Where init is gone, this process ends by itself.
    let _ = control.send(&told).await;
}

/// What init said of the start: it is init that acts on it.
fn log_boot(boot: handoff::Boot) {
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
fn log_clock(is_synced: bool) {
    if is_synced {
        tracing::info!("the clock is set by time servers");
    } else {
        tracing::info!("the clock is not set by time servers yet: times are a guess");
    }
}

fn domain(name: &handoff::HostName) -> Option<Domain> {
    let domain = Domain::parse(name.as_str()).ok();
    if domain.is_none() {
        tracing::warn!(name = name.as_str(), "the name of the box is no domain name");
    }
    domain
}

fn networks(addresses: &handoff::Addresses) -> Vec<(IpAddr, u8)> {
    let addresses = addresses.0.iter();
    addresses.map(|address| (address.ip, address.prefix)).collect()
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

/// What provisioning files want of init: those of the stick go before those of the boot partition. Only of a box that
/// belongs to nobody, or got its accounts by that stick.
async fn tell_box(control: &Control, house: &mut House, boot_partition: &BoxPlan) -> Result<(), Trouble> {
    let plans = [house.this_box(), boot_partition];
    let name = plans.iter().find_map(|plan| plan.name.clone());
    let network = plans.iter().find_map(|plan| plan.network.clone());
    if let Some(name) = name.as_ref().and_then(domain) {
        // init says so as well, but after the first client may have been greeted.
        house.rename(&name);
    }
    let messages = [name.map(FromMaild::SetName), network.map(FromMaild::SetNetwork)];
    for message in messages.into_iter().flatten() {
        control.send(&message).await.map_err(Trouble::System)?;
    }
    Ok(())
}

/// Reads from the beginning, wherever the position of the shared descriptor stands.
fn read_provision(descriptor: OwnedFd, octets: u32) -> Result<ProvisionFile, Trouble> {
    let mut text = vec![0; usize::try_from(octets).unwrap_or(usize::MAX)];
    match File::from(descriptor).read_exact_at(&mut text, 0) {
        Ok(()) => Ok(ProvisionFile {
            name: PROVISION_NAME.to_owned(),
            octets: text,
            limits_hold: false,
        }),
        Err(source) => Err(Trouble::ProvisionFile {
            name: PROVISION_NAME.to_owned(),
            source,
        }),
    }
}

/// Text for the console page: wrapped at its width, as many lines as there are.
fn status(text: &str) -> FromMaild {
    let mut status = Status::default();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            if !line.is_empty() && line.len() + 1 + word.len() > ConsoleLine::OCTETS_MAX {
                let _ = status.lines.push(ConsoleLine::lossy(&line));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        // What does not fit the page is in the log.
        let _ = status.lines.push(ConsoleLine::lossy(&line));
    }
    FromMaild::Status(status)
}

/// Our end of the control socket.
struct Control {
    channel: Channel,
    /// The same socket once more, only to learn from tokio when it is ready. To the kernel's epoll a
    /// SOCK_SEQPACKET is a socket like any other, and so this needs no `unsafe`, which `AsyncFd` would.
    ready: UnixDatagram,
}

impl Control {
    fn inherited() -> io::Result<Control> {
        let channel = Channel::inherited()?;
        channel.set_nonblocking()?;
        let same = channel.as_fd().try_clone_to_owned()?;
        let ready = UnixDatagram::from_std(same.into())?;
        Ok(Control { channel, ready })
    }

    /// Cancel-safe: a message is taken whole or not at all.
    async fn receive(&self) -> Result<Received<ToMaild>, Trouble> {
        let receive = || match self.channel.receive() {
            // What waits for the socket has to be an io::Error.
            Err(ReceiveError::Io(error)) => Err(error),
            other => Ok(other),
        };
        match self.ready.async_io(Interest::READABLE, receive).await {
            Ok(Ok(received)) => Ok(received),
            Ok(Err(error)) => Err(Trouble::Handoff(error.to_string())),
            Err(error) => Err(Trouble::Handoff(error.to_string())),
        }
    }

    async fn send<M: Message>(&self, message: &M) -> io::Result<()> {
        let send = || self.channel.send(message, &[]);
        self.ready.async_io(Interest::WRITABLE, send).await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        let FromMaild::Status(status) = status(text) else {
            panic!("it is a status")
        };
        status.lines.iter().map(|line| line.as_str().to_owned()).collect()
    }

    #[test]
    fn a_sentence_is_wrapped_at_the_width_of_the_console() {
        let wrapped = lines(&"word ".repeat(40));
        assert_eq!(wrapped.len(), 3);
        assert!(wrapped.iter().all(|line| line.len() <= ConsoleLine::OCTETS_MAX));
        assert_eq!(lines("one\ntwo"), ["one", "two"]);
        assert_eq!(lines(&"line\n".repeat(50)).len(), handoff::STATUS_LINES_MAX);
        assert_eq!(lines("h\u{e1}\u{10d}ky\x1b"), ["h??ky?"]);
    }
}
