//! What of a provisioning file outlives the first start: host name, limits, and where the log is sent to.
//!
//! They are kept in a file of the same grammar, written when the box gets its accounts.

use crate::log::Target;
use crate::provision::{self, LimitsTable, Plan};
use mail::Domain;
use net::listener::Limits;
use std::fs;
use std::io;
use std::path::Path;

const FILE: &str = "settings.toml";

/// What was given of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) host_name: Option<Domain>,
    pub(crate) limits: LimitsTable,
    /// Where the log is sent to as well.
    pub(crate) syslog: Option<Target>,
}

impl Settings {
    pub(crate) fn of(plan: &Plan) -> Settings {
        Settings {
            host_name: plan.host_name.clone(),
            limits: plan.limits,
            syslog: plan.syslog,
        }
    }

    /// Reads what was kept. A file that cannot be understood stops no mail: the defaults hold then.
    pub(crate) fn read(folder: &Path) -> Settings {
        let path = folder.join(FILE);
        let octets = match fs::read(&path) {
            Ok(octets) => octets,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Settings::default(),
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "the settings cannot be read; the defaults hold");
                return Settings::default();
            }
        };
        match provision::parse(&octets) {
            Ok(plan) => Settings::of(&plan),
            Err(mistakes) => {
                tracing::error!(path = %path.display(), %mistakes, "the settings are damaged; the defaults hold");
                Settings::default()
            }
        }
    }

    /// Keeps them. Durable when it returns.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        net::authority::write_durably(folder, FILE, self.to_string().as_bytes(), 0o600)
    }

    pub(crate) fn connection_limits(&self) -> Limits {
        let default = Limits::default();
        let or = |given: Option<u32>, default: usize| {
            given.map_or(default, |given| usize::try_from(given).unwrap_or(usize::MAX))
        };
        Limits {
            connections_max: or(self.limits.connections, default.connections_max),
            connections_per_address_max: or(
                self.limits.connections_per_address,
                default.connections_per_address_max,
            ),
        }
    }

    pub(crate) fn throttle(&self) -> auth::ThrottleSettings {
        let default = auth::ThrottleSettings::default();
        auth::ThrottleSettings {
            failures_max: self.limits.login_failures.unwrap_or(default.failures_max),
        }
    }
}

impl std::fmt::Display for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "# Written by the box when it got its accounts.")?;
        if let Some(host_name) = &self.host_name {
            // A domain name has nothing that a TOML string would have to escape.
            writeln!(f, "host_name = \"{host_name}\"")?;
        }
        writeln!(f, "[limits]")?;
        let LimitsTable {
            connections,
            connections_per_address,
            login_failures,
        } = self.limits;
        for (key, value) in [
            ("connections", connections),
            ("connections_per_address", connections_per_address),
            ("login_failures", login_failures),
        ] {
            if let Some(value) = value {
                writeln!(f, "{key} = {value}")?;
            }
        }
        if let Some(target) = self.syslog {
            writeln!(f, "[log]\nsyslog = \"{target}\"")?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Settings::read(folder.path()), Settings::default());
        let settings = Settings {
            host_name: Some(Domain::parse("mail.háčky.cz").unwrap()),
            limits: LimitsTable {
                connections: Some(7),
                connections_per_address: None,
                login_failures: Some(0),
            },
            syslog: "tcp:[2001:db8::9]:601".parse().ok(),
        };
        for settings in [settings, Settings::default()] {
            settings.write(folder.path()).unwrap();
            assert_eq!(Settings::read(folder.path()), settings);
        }
        fs::write(folder.path().join(FILE), "host_name = 7\n").unwrap();
        assert_eq!(Settings::read(folder.path()), Settings::default());
    }
}
