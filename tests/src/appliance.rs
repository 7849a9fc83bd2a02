//! The box as it is reached from outside: its sockets, its console, its button and its power.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;

use crate::client::{Imap, Smtp, tls};
use crate::office::{Account, Office};

/// A service of the box, by the name it has on its console.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// Port 25.
    Smtp,
    /// Port 993.
    Imaps,
    /// Port 443.
    Https,
}

impl Service {
    /// All services that exist today.
    pub const ALL: [Service; 3] = [Service::Smtp, Service::Imaps, Service::Https];

    /// The name in the lines `smtp 127.0.0.1:40025`.
    pub fn name(self) -> &'static str {
        match self {
            Service::Smtp => "smtp",
            Service::Imaps => "imaps",
            Service::Https => "https",
        }
    }

    /// The port inside the box.
    pub fn port(self) -> u16 {
        match self {
            Service::Smtp => 25,
            Service::Imaps => 993,
            Service::Https => 443,
        }
    }
}

/// A box that runs. Dropping it takes its power away and removes what it had.
pub trait Appliance: Send + Sync {
    /// Where a service is reached.
    fn addr(&self, service: Service) -> SocketAddr;

    /// The certificate of the box's own CA.
    fn ca_pem(&self) -> &str;

    /// Its own full name, as it greets and as its certificate has it.
    fn host_name(&self) -> &str;

    /// The people it serves.
    fn office(&self) -> &Office;

    /// Everything it said on its console since it was made.
    fn console(&self) -> String;

    /// Takes the power away: SIGKILL, nothing is finished. The data stays.
    ///
    /// # Errors
    /// It has no power.
    fn cut_power(&mut self) -> io::Result<()>;

    /// Turns it on again, and waits until it serves. [`addr`](Self::addr) may have changed.
    ///
    /// # Errors
    /// It does not come up; the error tells its last lines.
    fn start(&mut self) -> io::Result<()>;

    /// Somebody has claimed the box a moment ago: waits until it serves mail, and learns how it is called.
    ///
    /// # Errors
    /// It does not.
    fn wait_for_mail(&mut self) -> io::Result<()>;

    /// Presses the power button, and waits until the box has stopped by itself.
    ///
    /// # Errors
    /// It does not stop, or not cleanly.
    fn press_power_button(&mut self) -> io::Result<()>;

    /// The process number of the mail process, where one can see it.
    fn maild_pid(&self) -> Option<u32>;

    /// The TCP ports it listens on, as the box numbers them. On the booted stage: of those that were tried.
    ///
    /// # Errors
    /// It is off.
    fn listening(&self) -> io::Result<Vec<u16>>;
}

impl dyn Appliance + '_ {
    /// A TLS client that trusts this box only.
    ///
    /// # Errors
    /// Its `ca.pem` is none.
    pub fn tls(&self) -> io::Result<Arc<ClientConfig>> {
        tls::trusting(self.ca_pem())
    }

    /// An SMTP connection on port 25 that has said EHLO.
    ///
    /// # Errors
    /// The box does not greet.
    pub fn smtp(&self) -> io::Result<Smtp> {
        Smtp::ehlo(self.addr(Service::Smtp))
    }

    /// An IMAP connection that has not logged in.
    ///
    /// # Errors
    /// The box does not greet.
    pub fn imap(&self) -> io::Result<Imap> {
        Imap::connect(self.addr(Service::Imaps), self.tls()?, self.host_name())
    }

    /// An IMAP connection of this person.
    ///
    /// # Errors
    /// The box does not greet, or refuses the login.
    pub fn imap_of(&self, account: &Account) -> io::Result<Imap> {
        let mut imap = self.imap()?;
        imap.login(&account.address, &account.password)?;
        Ok(imap)
    }

    /// Sends a message to a person over port 25; it must be taken.
    ///
    /// # Errors
    /// It is not taken.
    pub fn deliver(&self, account: &Account, message: &[u8]) -> Result<(), Box<dyn Error>> {
        let mut smtp = self.smtp()?;
        let reply = smtp.deliver(SENDER, &account.address, message)?;
        if reply.code != 250 {
            return Err(format!("the message was not taken: {reply:?}").into());
        }
        smtp.quit()?;
        Ok(())
    }

    /// Sends each account one of these messages, all at once.
    ///
    /// # Errors
    /// One of them is not taken.
    pub fn deliver_at_once(&self, messages: &[Vec<u8>]) -> Result<(), Box<dyn Error>> {
        std::thread::scope(|scope| {
            let clients: Vec<_> = self
                .office()
                .accounts
                .iter()
                .zip(messages)
                .map(|(account, message)| {
                    scope.spawn(move || self.deliver(account, message).map_err(|error| error.to_string()))
                })
                .collect();
            clients
                .into_iter()
                .try_for_each(|client| client.join().expect("a client gives an error, no panic"))
        })?;
        Ok(())
    }
}

/// The reverse path of test mail.
pub const SENDER: &str = "sender@example.org";

/// What a box of one's own is to be.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whom it serves.
    pub office: Office,
    /// Its memory; the host process takes what it needs.
    pub memory_mib: Option<u32>,
    /// Its data disk.
    pub disk_mib: Option<u64>,
    /// What its clock shows when it is turned on, as `1970-01-01`. A process has the clock of this computer.
    pub clock: Option<&'static str>,
    /// A word more on its kernel's command line. A process has none.
    pub kernel_word: Option<&'static str>,
}

impl Plan {
    /// An ordinary box for these people.
    pub fn of(office: Office) -> Plan {
        Plan {
            office,
            memory_mib: None,
            disk_mib: None,
            clock: None,
            kernel_word: None,
        }
    }
}

/// A place where boxes can be made.
pub trait Stage: Send + Sync {
    /// Its name in reports.
    fn name(&self) -> &'static str;

    /// Makes a box and starts it.
    ///
    /// # Errors
    /// It does not come up; the error tells its last lines.
    fn appliance(&self, plan: Plan) -> io::Result<Box<dyn Appliance>>;
}
