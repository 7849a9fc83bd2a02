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
    /// The people.
    pub accounts: Vec<Account>,
    /// Redirects: address, targets.
    pub redirects: Vec<(String, Vec<String>)>,
    /// Connections from one address at once, when the usual number is not wanted. All tests come from one.
    pub connections_per_address_max: Option<usize>,
    /// The first line of the provisioning file.
    pub first_line: String,
}

impl Office {
    /// An office with one account for each name.
    pub fn for_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Office {
        let accounts = names.into_iter().map(|name| Account {
            address: format!("{}@{DOMAIN}", local_part(name)),
            password: PASSWORD.to_owned(),
        });
        Office {
            accounts: accounts.collect(),
            redirects: Vec::new(),
            connections_per_address_max: None,
            first_line: "# The office of the tests.".to_owned(),
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

    /// The office of the dialogues beside the protocols.
    pub fn of_dialogues() -> Office {
        let addresses = [
            "anna@firma.test",
            "jones@foo.com",
            "brown@foo.com",
            "admin.mrc@foo.com",
            "jones@xyz.com",
        ];
        let accounts = addresses.into_iter().map(|address| Account {
            address: address.to_owned(),
            password: PASSWORD.to_owned(),
        });
        Office {
            accounts: accounts.collect(),
            ..Office::for_names([])
        }
    }

    /// The hosted domains: those of the people.
    pub fn domains(&self) -> Vec<&str> {
        let mut domains: Vec<&str> = self
            .accounts
            .iter()
            .filter_map(|account| account.address.split_once('@'))
            .map(|(_, domain)| domain)
            .collect();
        domains.sort_unstable();
        domains.dedup();
        domains
    }

    /// Who gets the mail to postmaster (C6).
    pub fn postmasters(&self) -> Vec<Account> {
        self.accounts.first().cloned().into_iter().collect()
    }

    /// The address of a redirect to this person.
    pub fn redirect_to(&self, account: &Account) -> Option<&str> {
        let mut redirects = self.redirects.iter();
        redirects
            .find(|(_, targets)| targets.contains(&account.address))
            .map(|(address, _)| address.as_str())
    }

    /// The provisioning file.
    pub fn provisioning(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "{}", self.first_line);
        text
    }
}

/// Everybody's password. It has what breaks careless quoting.
pub const PASSWORD: &str = "kn\u{11b}\u{17e} \"na\\ koni\"";

/// A name as a local part of at most 64 octets (RFC 5321 §4.5.3.1.1).
fn local_part(name: &str) -> &str {
    &name[..name.len().min(64)]
}
