//! In the box: everything comes from init, and init is told how it goes.
//!
//! ```text
//! HostName · Addresses · Boot · Clock · Listener(web)… · Provision? · Start  ─►  open   ─►  Opened
//! Listener(mail)… if the box is claimed · Serve                              ─►  serve  ─►  Status, Ready
//! Alive every 5 s, from the beginning on
//! then, until Stop, SIGTERM or the end of init:         SelfTest once, Status when it changes
//! ```

mod control;
mod given;
mod page;

use crate::house::{House, Options};
use crate::log::Keeper;
use crate::provision::BoxPlan;
use crate::self_test::SelfTest;
use crate::services;
use crate::trouble::Trouble;
use control::Control;
use given::{domain, gather, log_boot, log_clock, networks};
use handoff::{AWAIT_SECONDS_MAX, ConsoleLine, FromMaild, Received, ToMaild};
use mail::Domain;
use page::Page;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};

/// When init has not said how the box is called.
const HOST_NAME: &str = "postolka";

/// init takes us for dead after 60 s without.
const ALIVE_EVERY: Duration = Duration::from_secs(5);
/// How often is looked whether the console is still right.
const STATUS_EVERY: Duration = Duration::from_secs(5);
/// A certificate is renewed months before its end, and one that a wrong clock made within the hour.
const CERTIFICATE_EVERY: Duration = Duration::from_hours(1);
/// Kept from init's deadline for the store's last checkpoint.
const CLOSE_TIME: Duration = Duration::from_secs(2);
/// After SIGTERM, which init sends when its deadline is over.
const GRACE_AFTER_SIGNAL: Duration = Duration::from_millis(500);

/// Serves until init says Stop.
pub(crate) async fn run(folder: PathBuf, keeper: Keeper) -> Result<(), Trouble> {
    let control = Arc::new(Control::inherited().map_err(Trouble::System)?);
    let outcome = serve(&control, folder, &keeper).await;
    if let Err(trouble) = &outcome {
        // On the console page as well, where it stays until the next start says something else.
        let _ = control.send(&page::status(&trouble.to_string())).await;
    }
    outcome
}

async fn serve(control: &Arc<Control>, folder: PathBuf, keeper: &Keeper) -> Result<(), Trouble> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Trouble::System)?;
    // Until the first Ready, which may take long. Dropped, it ends the task.
    let mut opening = JoinSet::new();
    opening.spawn(say_opening(Arc::clone(control)));
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
    let _sending = house.send_log(keeper);
    for (entry, socket) in given.listeners {
        house.serve(entry, socket);
    }
    let boot_partition = given.boot_partition.filter(|_| !house.is_claimed());
    let mut mistakes: Vec<String> = house.mistake().map(str::to_owned).into_iter().collect();
    let boot_partition = match boot_partition.transpose() {
        Ok(plan) => plan.unwrap_or_default(),
        Err(mistake) => {
            mistakes.push(mistake);
            BoxPlan::default()
        }
    };
    tell_box(control, &mut house, &boot_partition).await?;
    let mut desk = Desk {
        control: Arc::clone(control),
        house,
        opening,
        duties: JoinSet::new(),
        page: Page::new(mistakes),
    };
    let outcome = desk.attend(&mut terminate).await;
    desk.duties.shutdown().await;
    match outcome {
        Ok(grace) => {
            desk.house.close(grace).await;
            Ok(())
        }
        Err(trouble) => {
            desk.house.close(GRACE_AFTER_SIGNAL).await;
            Err(trouble)
        }
    }
}

/// Where init's messages arrive while the house is open.
struct Desk {
    control: Arc<Control>,
    house: House,
    /// The signs of life before the first Ready.
    opening: JoinSet<()>,
    /// The signs of life and the box's look at itself, from the first Ready on.
    duties: JoinSet<()>,
    page: Page,
}

impl Desk {
    /// Does what comes up until the end. Gives the time that is left to end, once it is to end.
    async fn attend(&mut self, terminate: &mut Signal) -> Result<Duration, Trouble> {
        let mut statuses = interval(STATUS_EVERY);
        let mut certificates = interval(CERTIFICATE_EVERY);
        // After the clock jumped, or the box was suspended, once is enough.
        statuses.set_missed_tick_behavior(MissedTickBehavior::Delay);
        certificates.set_missed_tick_behavior(MissedTickBehavior::Delay);
        certificates.tick().await;
        let claiming = self.house.claiming().clone();
        let mut button_waits = claiming.button_waits();
        let mut is_claimed = claiming.is_claimed();
        self.tell(&FromMaild::Opened { is_claimed }).await?;
        loop {
            tokio::select! {
                () = claiming.claimed(), if !is_claimed => {
                    is_claimed = true;
                    self.tell(&FromMaild::Opened { is_claimed }).await?;
                }
                Ok(()) = button_waits.changed() => {
                    let seconds = button_waits.borrow_and_update().as_secs();
                    let seconds = u16::try_from(seconds).unwrap_or(u16::MAX).min(AWAIT_SECONDS_MAX);
                    self.tell(&FromMaild::AwaitButton { seconds }).await?;
                }
                received = self.control.receive() => if let Some(grace) = self.follow(received?).await? {
                    return Ok(grace);
                },
                trouble = self.house.failed() => return Err(trouble),
                _ = terminate.recv() => return Ok(GRACE_AFTER_SIGNAL),
                _ = certificates.tick() => self.house.refresh_certificate(),
                now = statuses.tick() => if let Some(status) = self.page.changed(&self.house, now) {
                    self.tell(&status).await?;
                }
            }
        }
    }

    async fn tell(&self, message: &FromMaild) -> Result<(), Trouble> {
        self.control.send(message).await.map_err(Trouble::System)
    }

    /// Does what init says while the house is open. Gives the time that is left to end, once it is to end.
    async fn follow(&mut self, received: Received<ToMaild>) -> Result<Option<Duration>, Trouble> {
        match (received.message, received.descriptors.into_iter().next()) {
            (ToMaild::Stop { deadline_ms }, _) => {
                let deadline = Duration::from_millis(deadline_ms.into());
                return Ok(Some(deadline.saturating_sub(CLOSE_TIME)));
            }
            (ToMaild::Listener { port }, Some(descriptor)) => {
                if let Some(entry) = services::of_port(port) {
                    self.house.serve(entry, TcpListener::from(descriptor));
                } else {
                    tracing::warn!(port, "nothing is served on this port");
                }
            }
            (ToMaild::Serve, _) => self.ready().await?,
            (ToMaild::Addresses(addresses), _) => self.house.set_addresses(networks(&addresses)),
            (ToMaild::HostName(name), _) => {
                if let Some(name) = domain(&name) {
                    tracing::info!(%name, "the box has another name");
                    self.house.rename(&name);
                }
            }
            (ToMaild::Boot(boot), _) => log_boot(boot),
            (ToMaild::Clock { is_synced }, _) => {
                log_clock(is_synced);
                // One that was made by another clock may not be valid yet, or any more.
                self.house.refresh_certificate();
            }
            (ToMaild::Button, _) => self.house.claiming().press_button(),
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
    async fn ready(&mut self) -> Result<(), Trouble> {
        let self_test = self.house.self_test()?;
        let fingerprint = self.house.fingerprint();
        // First, so that the page that says it is ready has it: the claim code, or no code any more.
        let status = self.page.anew(&self.house, Instant::now());
        self.tell(&status).await?;
        self.tell(&FromMaild::Ready { fingerprint }).await?;
        if self.duties.is_empty() {
            self.opening.shutdown().await;
            let store = self.house.store().clone();
            self.duties.spawn(say_alive(Arc::clone(&self.control), store));
            self.duties
                .spawn(tell_self_test(Arc::clone(&self.control), self_test));
        }
        Ok(())
    }
}

/// Says every few seconds that the executor runs this. The store is opened on another thread, and has no writer yet.
async fn say_opening(control: Arc<Control>) {
    let mut ticks = interval_at(Instant::now() + ALIVE_EVERY, ALIVE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if control.send(&FromMaild::Alive).await.is_err() {
            return;
        }
    }
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
