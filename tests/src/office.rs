//! The office that a box of the tests serves, and its provisioning file.

/// The domain of the office.
pub const DOMAIN: &str = "office.example";

/// A person with a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The full address, which is the login (L1).
    pub address: String,
    /// The password in clear.
    pub password: String,
    /// What stands in the provisioning file instead, if not that.
    pub password_hash: Option<&'static str>,
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
    /// Failed logins of one address before it is shut out (L5), when the usual number is not wanted.
    pub login_failures_max: Option<usize>,
    /// The first line of the provisioning file.
    pub first_line: String,
}

impl Office {
    /// An office with one account for each name. Each has a second address that leads to it.
    pub fn for_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Office {
        let addresses = names
            .into_iter()
            .map(|name| format!("{}@{DOMAIN}", local_part(name)));
        let accounts: Vec<Account> = addresses.map(Account::new).collect();
        let redirects = accounts.iter().enumerate();
        let redirects = redirects
            .map(|(number, account)| (format!("also-{number}@{DOMAIN}"), vec![account.address.clone()]));
        Office {
            redirects: redirects.collect(),
            accounts,
            connections_per_address_max: None,
            login_failures_max: Some(1000),
            first_line: "# The office of the tests.".to_owned(),
        }
    }

    /// Nobody: a box that is to be claimed.
    pub fn of_nobody() -> Office {
        Office::for_names([])
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
        let accounts = addresses
            .into_iter()
            .map(|address| Account::new(address.to_owned()));
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

    /// Who gets the mail to postmaster (C6): the first account.
    ///
    /// # Panics
    /// There is nobody.
    pub fn owner(&self) -> &Account {
        self.accounts.first().expect("an office has an owner")
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
        let mut lines = vec![self.first_line.clone()];
        for domain in self.domains() {
            lines.push(format!("[[domain]]\nname = {}", quoted(domain)));
        }
        for account in &self.accounts {
            let secret = match account.password_hash {
                Some(hash) => format!("password_hash = {}", quoted(hash)),
                None => format!("password = {}", quoted(&account.password)),
            };
            lines.push(format!(
                "[[mailbox]]\naddress = {}\n{secret}",
                quoted(&account.address)
            ));
        }
        for (address, targets) in &self.redirects {
            let targets: Vec<String> = targets.iter().map(|target| quoted(target)).collect();
            let targets = targets.join(", ");
            lines.push(format!(
                "[[redirect]]\naddress = {}\ntargets = [{targets}]",
                quoted(address)
            ));
        }
        lines.push("[limits]".to_owned());
        let limits = [
            ("connections_per_address", self.connections_per_address_max),
            ("login_failures", self.login_failures_max),
        ];
        for (key, value) in limits {
            lines.extend(value.map(|value| format!("{key} = {value}")));
        }
        lines.join("\n") + "\n"
    }
}

impl Account {
    /// A person with this address and the password of all, whom no provisioning file knows.
    pub fn of(address: &str) -> Account {
        Account::new(address.to_owned())
    }

    /// A person with the password of all.
    fn new(address: String) -> Account {
        Account {
            address,
            password: PASSWORD.to_owned(),
            password_hash: Some(PASSWORD_HASH),
        }
    }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Everybody's password. It has what breaks careless quoting.
pub const PASSWORD: &str = "kn\u{11b}\u{17e} \"na\\ koni\"";

/// The same by `openssl passwd -6`, as an older server would have it (L3). Hashing fifty passwords before the first
/// service listens would be what an emulated box does longest.
const PASSWORD_HASH: &str = "$6$e2eofficeexample$zS.kB19GQNVpEFfjSmt2tTHvSRt.4o.WvSp320G/1ByU.3/rMO0Z8VSUJ3cmT9yyVGN2UPPv5kSBMrbN7rCKw0";

/// A name as a local part of at most 64 octets (RFC 5321 §4.5.3.1.1).
fn local_part(name: &str) -> &str {
    &name[..name.len().min(64)]
}
