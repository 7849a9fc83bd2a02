//! The wiring, in reading order: store → settings → tls → auth → delivery → smtp, imap, web → listeners.

use crate::limits;
use crate::log::{Keeper, Sending, Target};
use crate::opened;
use crate::provision::{self, BoxPlan, NewMailbox, Password, Plan};
use crate::self_test::{self, SelfTest};
use crate::services::{Entry, Protocol};
use crate::settings::Settings;
use crate::trouble::Trouble;
use auth::{Auth, Cost};
use delivery::Delivery;
use imap::Imap;
use mail::Domain;
use net::authority::{Authority, ServerNames};
use net::call::Caller;
use net::listener::{Gate, serve};
use net::tls::Tls;
use net::{Shutdown, Stop, pump, stop_switch};
use smtp::Smtp;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use store::{NewAccount, Provision, Store, StoreError};
use tokio::task::JoinSet;
use tokio::time::timeout;
use web::{Claiming, Place, Web};

/// What every box is called by mDNS as long as it has no other name.
const COMMON_NAME: &str = "postolka.local";

/// How a provisioning file reached us.
pub(crate) struct ProvisionFile {
    /// What it is called in messages.
    pub(crate) name: String,
    pub(crate) octets: Vec<u8>,
    /// Whether somebody named it on a command line, and is there to mend it: its `[limits]` hold also when the box has
    /// accounts, and a mistake in it is the end. That in a file which lay on a stick is told, and the box opens without.
    pub(crate) is_named: bool,
}

/// How the house is to be opened.
pub(crate) struct Options {
    pub(crate) folder: PathBuf,
    /// What the box is called unless a provisioning file said otherwise.
    pub(crate) host_name: Domain,
    /// With the length of the prefix of the network each is on.
    pub(crate) addresses: Vec<(IpAddr, u8)>,
    /// Whether there is a button that can be pressed instead of typing the claim code.
    pub(crate) has_button: bool,
    pub(crate) provision: Option<ProvisionFile>,
}

/// Everything that serves mail.
pub(crate) struct House {
    store: Store,
    authority: Authority,
    names: ServerNames,
    tls: Tls,
    delivery: Delivery,
    smtp: Smtp,
    imap: Imap,
    claiming: Claiming,
    web: Web,
    /// What the box is called, by itself and by init.
    called: Vec<String>,
    /// Whether the mail server was given a name that is not the box's.
    has_own_name: bool,
    /// With the length of the prefix of the network each is on.
    addresses: Vec<(IpAddr, u8)>,
    /// What a provisioning file wants of init.
    this_box: BoxPlan,
    /// What was wrong with it.
    mistake: Option<String>,
    /// Where the log is sent to as well.
    syslog: Option<Target>,
    gate: Gate,
    stop: Stop,
    shutdown: Shutdown,
    serving: JoinSet<std::io::Result<()>>,
    listeners: Vec<(Entry, SocketAddr)>,
}

impl House {
    /// Opens everything, and gives a box without accounts those of the provisioning file. Nothing listens
    /// yet.
    ///
    /// # Errors
    /// The box keeps what it has.
    pub(crate) async fn open(options: Options) -> Result<House, Trouble> {
        let store = open_store(&options.folder)?;
        House::open_on(store, options).await
    }

    /// As [`House::open`], on a store that is open.
    pub(crate) async fn open_on(store: Store, options: Options) -> Result<House, Trouble> {
        let folder = options.folder;
        let cost = Cost::for_memory(limits::memory_octets());
        let Settled {
            settings,
            this_box,
            mistake,
        } = settle(&store, &folder, options.provision, cost).await?;

        let host_name = settings
            .host_name
            .clone()
            .unwrap_or_else(|| options.host_name.clone());
        let called = vec![host_name.to_string(), options.host_name.to_string()];
        let names = ServerNames {
            host_name: host_name.to_string(),
            addresses: options.addresses.iter().map(|(address, _)| *address).collect(),
        };
        let authority = Authority::open(&folder)?;
        let certificate = authority.server_certificate(&names, SystemTime::now())?;
        let tls = Tls::new(certificate).map_err(|error| Trouble::Tls(error.into()))?;

        let throttle = settings.throttle();
        let auth = Auth::new(store.clone(), auth::Settings { cost, throttle })
            .map_err(|error| Trouble::System(std::io::Error::other(error)))?;
        let delivery = Delivery::new(store.clone(), host_name);
        let imap = Imap::new(auth, store.clone(), delivery.check_buffer().clone());
        let smtp = Smtp::new(delivery.clone());
        let claiming = Claiming::open(store.clone(), &folder, cost, options.has_button);
        let claiming = claiming.map_err(|error| Trouble::Claim(error.into()))?;
        let web = Web::new(
            claiming.clone(),
            Place::new(called.clone(), options.addresses.clone()),
        );
        let gate = Gate::new(limits::fit_descriptors(settings.connection_limits()));
        let (stop, shutdown) = stop_switch();
        Ok(House {
            store,
            authority,
            names,
            tls,
            delivery,
            smtp,
            imap,
            claiming,
            web,
            called,
            has_own_name: settings.host_name.is_some(),
            addresses: options.addresses,
            this_box,
            mistake,
            syslog: settings.syslog,
            gate,
            stop,
            shutdown,
            serving: JoinSet::new(),
            listeners: Vec::new(),
        })
    }

    /// Begins to serve a socket.
    pub(crate) fn serve(&mut self, entry: Entry, socket: TcpListener) {
        let Entry {
            service, protocol, ..
        } = entry;
        let (tls, gate, shutdown) = (self.tls.clone(), self.gate.clone(), self.shutdown.clone());
        let stopping = self.shutdown.clone();
        if let Ok(address) = socket.local_addr() {
            self.listeners.push((entry, address));
        }
        match protocol {
            Protocol::Smtp => {
                let smtp = self.smtp.clone();
                self.serving.spawn(serve(
                    socket,
                    service,
                    tls,
                    gate,
                    shutdown,
                    move |stream, peer| {
                        let host = smtp.host(&peer);
                        pump::run(stream, smtp.session(peer), host, stopping.clone())
                    },
                ));
            }
            Protocol::Imap => {
                let imap = self.imap.clone();
                self.serving.spawn(serve(
                    socket,
                    service,
                    tls,
                    gate,
                    shutdown,
                    move |stream, peer| {
                        pump::run(stream, imap.session(&peer), imap.host(&peer), stopping.clone())
                    },
                ));
            }
            Protocol::Web => {
                let web = self.web.clone();
                self.serving.spawn(serve(
                    socket,
                    service,
                    tls.speaking(&web::ALPN),
                    gate,
                    shutdown,
                    move |stream, peer| web.converse(stream, &peer, stopping.clone()),
                ));
            }
        }
    }

    /// Whether the box has an owner.
    pub(crate) fn is_claimed(&self) -> bool {
        self.claiming.is_claimed()
    }

    /// What a provisioning file that was applied at this start wants of init.
    pub(crate) const fn this_box(&self) -> &BoxPlan {
        &self.this_box
    }

    /// What was wrong with the provisioning file, of which nothing was applied then.
    pub(crate) fn mistake(&self) -> Option<&str> {
        self.mistake.as_deref()
    }

    /// Begins to send the log on, if somebody wants it.
    pub(crate) fn send_log(&self, keeper: &Keeper) -> Option<Sending> {
        let target = self.syslog?;
        tracing::info!(%target, "the log is sent on by syslog");
        Some(keeper.send_to(target, &self.names.host_name))
    }

    /// How the box gets its owner.
    pub(crate) const fn claiming(&self) -> &Claiming {
        &self.claiming
    }

    /// The box's look at itself, to be run once everything is served.
    ///
    /// # Errors
    /// When the TLS library refuses the certificate of the box's own authority.
    pub(crate) fn self_test(&self) -> Result<SelfTest, Trouble> {
        let caller = Caller::new(&self.authority, self.gate.clone());
        Ok(SelfTest {
            is_claimed: self.is_claimed(),
            listeners: self.listeners.clone(),
            caller: caller.map_err(|error| Trouble::Tls(error.into()))?,
            store: self.store.clone(),
            delivery: self.delivery.clone(),
            read_back: self_test::read_back,
        })
    }

    /// SHA-256 of the certificate of the box's authority.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        self.authority.fingerprint()
    }

    /// The box has other names or addresses, or the day is another: takes a certificate that fits.
    /// Connections that are open keep theirs.
    pub(crate) fn refresh_certificate(&self) {
        match self.authority.server_certificate(&self.names, SystemTime::now()) {
            Ok(certificate) => self.tls.set_certificates(certificate, HashMap::new()),
            Err(error) => {
                tracing::error!(%error, "the certificate could not be renewed; the old one is served");
            }
        }
    }

    /// The box is called this from now on; the server has that name too, unless it was given one of its own.
    pub(crate) fn rename(&mut self, host_name: &Domain) {
        let called = host_name.to_string();
        if !self.has_own_name {
            self.delivery.set_host_name(host_name.clone());
            self.names.host_name.clone_from(&called);
        }
        self.called = vec![self.names.host_name.clone(), called];
        self.place();
        self.refresh_certificate();
    }

    /// The box has these addresses from now on.
    pub(crate) fn set_addresses(&mut self, addresses: Vec<(IpAddr, u8)>) {
        self.names.addresses = addresses.iter().map(|(address, _)| *address).collect();
        self.addresses = addresses;
        self.place();
        self.refresh_certificate();
    }

    fn place(&self) {
        let place = Place::new(self.called.clone(), self.addresses.clone());
        self.web.set_place(place);
    }

    /// How much there is, for the console.
    pub(crate) fn summary(&self) -> Result<String, StoreError> {
        let view = self.store.view()?;
        let accounts = view.accounts()?;
        if let Some(code) = self.claiming.code() {
            return Ok(invitation(&self.names.addresses, &code));
        }
        let messages: u64 = accounts.iter().map(|account| account.messages).sum();
        Ok(format!(
            "{}, {}, {}",
            counted(view.domains()?.len() as u64, "domain", "domains"),
            counted(accounts.len() as u64, "mailbox", "mailboxes"),
            counted(messages, "message", "messages"),
        ))
    }

    /// The store, for whoever only wants to know that it answers.
    pub(crate) const fn store(&self) -> &Store {
        &self.store
    }

    /// Waits until something ends that must not: the store's writer, or a listener.
    pub(crate) async fn failed(&mut self) -> Trouble {
        let store = self.store.clone();
        tokio::select! {
            reason = store.stopped() => Trouble::StoreStopped(reason),
            Some(ended) = self.serving.join_next() => {
                let error = match ended {
                    Ok(Ok(())) => "a listener ended".to_owned(),
                    Ok(Err(error)) => error.to_string(),
                    Err(error) => error.to_string(),
                };
                Trouble::System(std::io::Error::other(error))
            }
            else => std::future::pending().await,
        }
    }

    /// Tells every session to end, waits for them as long as `grace`, and closes the store. What was
    /// acknowledged is on the disk in any case.
    pub(crate) async fn close(mut self, grace: Duration) {
        self.stop.press();
        let over = async { while self.serving.join_next().await.is_some() {} };
        if timeout(grace, over).await.is_err() {
            tracing::warn!(
                connections = self.gate.connections(),
                "some connections did not end in time"
            );
        }
        // Ends what is left, which lets go of the store.
        self.serving.shutdown().await;
        let store = self.store;
        // Writes the last checkpoint: a wait for the disk, on no thread of the executor.
        let _ = tokio::task::spawn_blocking(move || store.close()).await;
    }
}

/// What the console of a box says that belongs to nobody: where to go, and what to take along.
pub(crate) fn invitation(addresses: &[IpAddr], code: &str) -> String {
    // IPv6 addresses of a link need a zone, which browsers do not take.
    let is_good = |address: &IpAddr| match address {
        IpAddr::V4(v4) => !v4.is_loopback(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
    };
    let mut good: Vec<&IpAddr> = addresses.iter().filter(|address| is_good(address)).collect();
    good.sort_by_key(|address| address.is_ipv6());
    let place = match good.first() {
        Some(IpAddr::V4(v4)) => v4.to_string(),
        Some(IpAddr::V6(v6)) => format!("[{v6}]"),
        None => COMMON_NAME.to_owned(),
    };
    format!(
        "Open https://{place}/ and enter the code {code}.\nOr put in a stick with a postolka.toml and start the box again."
    )
}

/// A number of things, for people.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn open_store(folder: &Path) -> Result<Store, Trouble> {
    std::fs::create_dir_all(folder).map_err(|source| Trouble::Folder {
        path: folder.to_owned(),
        source,
    })?;
    match Store::open(&folder.join("store"), store::Options::default()) {
        Ok((store, opened)) => {
            for sentence in opened::sentences(&opened) {
                tracing::info!("{sentence}");
            }
            Ok(store)
        }
        Err(StoreError::InUse) => Err(Trouble::InUse(folder.to_owned())),
        Err(error) => Err(Trouble::Store(error)),
    }
}

/// What holds once the provisioning file was looked at.
#[derive(Default)]
struct Settled {
    settings: Settings,
    this_box: BoxPlan,
    mistake: Option<String>,
}

impl Settled {
    /// As it was before.
    fn kept(folder: &Path) -> Self {
        Self {
            settings: Settings::read(folder),
            ..Self::default()
        }
    }
}

/// Applies the provisioning file, if there is one and the box has no account; gives what holds then.
async fn settle(
    store: &Store,
    folder: &Path,
    file: Option<ProvisionFile>,
    cost: Cost,
) -> Result<Settled, Trouble> {
    let is_claimed = store
        .view()
        .and_then(|view| view.is_claimed())
        .map_err(Trouble::Store)?;
    let Some(file) = file else {
        return Ok(Settled::kept(folder));
    };
    if is_claimed && !file.is_named {
        tracing::info!(
            file = file.name,
            "the box has its accounts: the file is left alone"
        );
        return Ok(Settled::kept(folder));
    }
    let plan = match provision::parse(&file.octets) {
        Ok(plan) => plan,
        Err(mistakes) => {
            let name = file.name;
            if file.is_named {
                return Err(Trouble::Provision { name, mistakes });
            }
            // Whoever put the stick in may claim the box by its set-up page instead.
            let mistake = format!("{name} was not applied, because of {mistakes}");
            tracing::error!("{mistake}");
            return Ok(Settled {
                mistake: Some(mistake),
                ..Settled::kept(folder)
            });
        }
    };
    if is_claimed {
        tracing::info!(
            file = file.name,
            "the box has its accounts: only the limits of the file are used"
        );
        let settings = Settings {
            limits: plan.limits,
            ..Settings::read(folder)
        };
        return Ok(Settled {
            settings,
            ..Settled::default()
        });
    }
    let settled = Settled {
        settings: Settings::of(&plan),
        this_box: plan.this_box.clone(),
        mistake: None,
    };
    if plan.mailboxes.is_empty() {
        tracing::info!(file = file.name, "the file has no mailbox: nothing is set up");
        return Ok(settled);
    }
    // Before the accounts: once there are some, the file is not looked at again.
    settled
        .settings
        .write(folder)
        .map_err(|error| Trouble::Provisioning(error.into()))?;
    let (mailboxes, redirects) = (plan.mailboxes.len(), plan.redirects.len());
    claim(store, plan, cost).await?;
    tracing::info!(file = file.name, mailboxes, redirects, "the accounts were made");
    Ok(settled)
}

/// Hashes the passwords and makes the accounts, in one record.
async fn claim(store: &Store, plan: Plan, cost: Cost) -> Result<(), Trouble> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| Trouble::Provisioning(error);
    let accounts = hash_passwords(plan.mailboxes, cost).await.map_err(failed)?;
    let provision = Provision {
        domains: plan.domains,
        accounts,
        redirects: plan.redirects,
    };
    store
        .provision(provision)
        .await
        .map_err(|error| failed(error.into()))
}

/// Two at a time, as everywhere.
async fn hash_passwords(
    mailboxes: Vec<NewMailbox>,
    cost: Cost,
) -> Result<Vec<NewAccount>, Box<dyn std::error::Error + Send + Sync>> {
    let hash = move |mailbox: NewMailbox| -> Result<NewAccount, auth::HashError> {
        let verifier = match &mailbox.password {
            Password::Plain(password) => cost.hash(password)?,
            Password::Hash(hash) => hash.clone(),
        };
        Ok(NewAccount {
            address: mailbox.address,
            verifier,
            quota_octets: mailbox.quota_octets,
        })
    };
    let hash_all =
        move |mailboxes: Vec<NewMailbox>| mailboxes.into_iter().map(hash).collect::<Result<Vec<_>, _>>();
    let mut first = mailboxes;
    let second = first.split_off(first.len() / 2);
    let second = tokio::task::spawn_blocking(move || hash_all(second));
    let mut accounts = tokio::task::spawn_blocking(move || hash_all(first)).await??;
    accounts.extend(second.await??);
    Ok(accounts)
}
