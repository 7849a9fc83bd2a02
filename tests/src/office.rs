//! The office that a box of the tests serves, and its provisioning file.

use std::fmt::Write;

/// The domain of the office.
pub const DOMAIN: &str = "office.example";

/// A person with a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The full address, which is the login (L1).
    pub address: String,
    /// The password in clear.
    pub password: String,
}

/// Whom a box serves. Written out as `postolka.toml`.
#[derive(Clone, Debug)]
pub struct Office {
    /// The box's own full name; in its certificate.
    pub host_name: String,
    /// The people.
    pub accounts: Vec<Account>,
    /// Redirects: address, targets.
    pub redirects: Vec<(String, Vec<String>)>,
    /// Lines of the provisioning file that a scenario adds.
    pub more: String,
}

impl Office {
    /// An office with one account for each name.
    pub fn for_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Office {
        let accounts = names.into_iter().map(|name| Account {
            address: format!("{}@{DOMAIN}", local_part(name)),
            password: PASSWORD.to_owned(),
        });
        Office {
            host_name: "box.office.example".to_owned(),
            accounts: accounts.collect(),
            redirects: Vec::new(),
            more: String::new(),
        }
    }

    /// The account made for this name.
    ///
    /// # Panics
    /// There is none: the scenario asks for the wrong one.
    pub fn account(&self, name: &str) -> &Account {
        let address = format!("{}@{DOMAIN}", local_part(name));
        let mut accounts = self.accounts.iter();
        accounts
            .find(|account| account.address == address)
            .expect("the office was made for these names")
    }

    /// The provisioning file.
    pub fn provisioning(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "# TODO");
        text
    }
}

/// Everybody's password. It has what breaks careless quoting.
pub const PASSWORD: &str = "kn\u{11b}\u{17e} \"na\\ koni\"";

/// A name as a local part of at most 64 octets (RFC 5321 §4.5.3.1.1).
fn local_part(name: &str) -> &str {
    &name[..name.len().min(64)]
}
