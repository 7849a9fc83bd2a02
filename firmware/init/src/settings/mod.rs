//! What init itself is set to: the box's name, how it gets its address, and the time as it was last. A record for each in
//! `/data/system`, read and written by workers.

pub(crate) mod file;
pub(crate) mod keeping;
mod record;

use std::net::Ipv4Addr;

use handoff::{HostName, Ipv4Settings, StaticIpv4};

use crate::network;
pub(crate) use record::Fault;

/// What a record is about. The word is its file's name as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Name,
    Network,
    Time,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Name, Self::Network, Self::Time];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Network => "network",
            Self::Time => "time",
        }
    }

    pub(crate) fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// What is done without it, for people.
    pub(crate) fn otherwise(self) -> &'static str {
        match self {
            Self::Name => "The box is called postolka. Set its name again.",
            Self::Network => "The box asks for an address (DHCP). Set its network again.",
            Self::Time => "Nothing is lost: it is written again.",
        }
    }
}

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// What the box is called.
    Name(HostName),
    /// How it gets its IPv4 address.
    Network(Ipv4Settings),
    /// When this was written: seconds since 1970.
    Time(u64),
}

impl Record {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Name(_) => Kind::Name,
            Self::Network(_) => Kind::Network,
            Self::Time(_) => Kind::Time,
        }
    }

    /// As words that [`Record::parse`] reads:
    ///
    /// ```text
    /// name:     postolka
    /// network:  dynamic  |  192.0.2.5/24 [via 192.0.2.1] [dns 192.0.2.1 …]
    /// time:     1795505640
    /// ```
    pub(crate) fn body(&self) -> String {
        match self {
            Self::Name(name) => name.as_str().to_owned(),
            Self::Network(Ipv4Settings::Dynamic) => DYNAMIC.to_owned(),
            Self::Network(Ipv4Settings::Static(fixed)) => {
                let mut words = vec![format!("{}/{}", fixed.address, fixed.prefix)];
                if let Some(gateway) = fixed.gateway {
                    words.extend([VIA.to_owned(), gateway.to_string()]);
                }
                if !fixed.dns.is_empty() {
                    words.push(DNS.to_owned());
                    words.extend(fixed.dns.iter().map(Ipv4Addr::to_string));
                }
                words.join(" ")
            }
            Self::Time(seconds) => seconds.to_string(),
        }
    }

    /// The setting in `body`, if it is one that may be used.
    pub(crate) fn parse(kind: Kind, body: &str) -> Option<Self> {
        match kind {
            Kind::Name => HostName::new(body).ok().map(Self::Name),
            Kind::Network => parse_network(body).map(Self::Network),
            Kind::Time => body.parse().ok().map(Self::Time),
        }
    }
}

const DYNAMIC: &str = "dynamic";
const VIA: &str = "via";
const DNS: &str = "dns";

fn parse_network(body: &str) -> Option<Ipv4Settings> {
    if body == DYNAMIC {
        return Some(Ipv4Settings::Dynamic);
    }
    let mut words = body.split(' ').peekable();
    let (address, prefix) = words.next()?.split_once('/')?;
    let mut fixed = StaticIpv4 {
        address: unicast(address)?,
        prefix: prefix.parse().ok().filter(|prefix| (1..=32).contains(prefix))?,
        gateway: None,
        dns: std::iter::empty().collect(),
    };
    if words.next_if_eq(&VIA).is_some() {
        fixed.gateway = Some(unicast(words.next()?)?);
    }
    if words.next_if_eq(&DNS).is_some() {
        for word in words.by_ref() {
            fixed.dns.push(unicast(word)?).ok()?;
        }
    }
    let is_whole = words.next().is_none();
    let is_usable = network::check_static(&fixed).is_ok();
    (is_whole && is_usable).then_some(Ipv4Settings::Static(fixed))
}

fn unicast(word: &str) -> Option<Ipv4Addr> {
    word.parse().ok().filter(|address| handoff::is_unicast(*address))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn network(body: &str) -> Option<Record> {
        Record::parse(Kind::Network, body)
    }

    #[test]
    fn settings_are_words_that_a_person_can_read() {
        let check = |kind, body: &str| {
            assert_eq!(Record::parse(kind, body).unwrap().body(), body);
            assert_eq!(Record::parse(kind, body).unwrap().kind(), kind);
        };
        check(Kind::Name, "postolka");
        check(Kind::Network, "dynamic");
        check(Kind::Network, "192.0.2.5/24");
        check(Kind::Network, "192.0.2.5/24 via 192.0.2.1");
        check(Kind::Network, "192.0.2.5/24 dns 192.0.2.1");
        check(
            Kind::Network,
            "192.0.2.5/24 via 192.0.2.1 dns 1.1.1.1 9.9.9.9 8.8.8.8 8.8.4.4",
        );
        check(Kind::Time, "1795505640");
    }

    #[test]
    fn a_setting_that_cannot_be_is_none() {
        for body in [
            "",
            "dynamic ",
            "192.0.2.5",
            "192.0.2.5/0",
            "192.0.2.5/33",
            "192.0.2.0/24",
            "192.0.2.255/24",
            "169.254.1.1/16",
            "127.0.0.1/8",
            "224.0.0.1/24",
            "192.0.2.5/24 via",
            "192.0.2.5/24 via 192.0.2.5",
            "192.0.2.5/24 via 0.0.0.0",
            "192.0.2.5/24 192.0.2.1",
            "192.0.2.5/24 dns 1.1.1.1 1.1.1.2 1.1.1.3 1.1.1.4 1.1.1.5",
            "192.0.2.5/24 dns 127.0.0.1",
            "192.0.2.5/24 dns 1.1.1.1 via 192.0.2.1",
        ] {
            assert_eq!(network(body), None, "{body}");
        }
        assert_eq!(Record::parse(Kind::Name, "Po\u{161}tolka"), None);
        assert_eq!(Record::parse(Kind::Time, "-1"), None);
    }

    #[test]
    fn a_kind_is_its_word() {
        for kind in Kind::ALL {
            assert_eq!(Kind::of(kind.word()), Some(kind));
        }
        assert_eq!(Kind::of("kmsg"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        /// What is read back is what was meant, or nothing.
        #[test]
        fn no_text_is_read_as_something_else(body in "[a-z0-9./ ]{0,60}|dynamic|(192\\.0\\.2\\.[1-9]/[0-9]{1,2}( via [0-9.]{7,15})?( dns( [0-9.]{7,9}){1,5})?)") {
            for kind in Kind::ALL {
                if let Some(record) = Record::parse(kind, &body) {
                    prop_assert_eq!(Record::parse(kind, &record.body()), Some(record));
                }
            }
        }
    }
}
