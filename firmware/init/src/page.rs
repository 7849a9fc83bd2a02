//! The console page: what the box is, what it does, and what is wrong. A pure function of facts.

use std::net::IpAddr;

use handoff::{ConsoleLine, FINGERPRINT_OCTETS};

use crate::console::ascii;
use crate::trouble::Trouble;

/// A browser finds the box's pages there.
const WEB_PORT: u16 = 443;
/// A page fits the smallest terminal.
pub(crate) const ROWS_MAX: usize = 24;
/// Columns of it.
pub(crate) const COLUMNS_MAX: usize = 80;

/// How far the box has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// On the way up; the text says with what.
    Starting(String),
    /// The box belongs to nobody yet: maild waits for whoever claims it.
    Unclaimed,
    /// maild serves.
    Ready,
    /// maild ended and is started again.
    Restarting,
    /// maild ends over and over: its ports are closed, and it is tried again later.
    Closed,
    /// The way up ended before maild; the troubles say why.
    NoMail,
    /// On the way down.
    Stopping,
}

/// The facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// "Postolka 0.1.0 (1a2b3c4)".
    pub(crate) title: String,
    pub(crate) board: &'static str,
    pub(crate) state: State,
    pub(crate) host_name: String,
    /// Which version in which slot, if the box was started from one.
    pub(crate) version: Option<String>,
    /// Whether the firmware is signed with a key that lies about on a developer's machine.
    pub(crate) is_development: bool,
    /// Interface and address.
    pub(crate) addresses: Vec<(String, IpAddr)>,
    pub(crate) ports: Vec<u16>,
    pub(crate) fingerprint: Option<[u8; FINGERPRINT_OCTETS]>,
    pub(crate) status: Vec<ConsoleLine>,
    pub(crate) troubles: Vec<Trouble>,
}

impl Page {
    /// The page as lines of at most [`COLUMNS_MAX`] characters, at most [`ROWS_MAX`] of them.
    pub(crate) fn render(&self) -> Vec<String> {
        let rule = "-".repeat(COLUMNS_MAX - 1);
        let mut lines = vec![
            rule.clone(),
            format!("{} on {}", self.title, self.board),
            self.sentence(),
        ];
        if self.is_development {
            lines.push(
                "DEVELOPMENT KEY: not for use. Whoever has its maker's computer can sign for it.".to_owned(),
            );
        }
        lines.push(field("Name", &self.name()));
        if let Some(version) = &self.version {
            lines.push(field("Version", version));
        }
        // The cable side first: an address somebody types is more use than a link-local one.
        let mut addresses = self.addresses.clone();
        addresses.sort_by_key(|(interface, ip)| (ip.is_ipv6(), is_link_local(*ip), interface.clone()));
        let shown = 4;
        for (index, (interface, ip)) in addresses.iter().take(shown).enumerate() {
            let label = if index == 0 { "Addresses" } else { "" };
            lines.push(field(label, &format!("{} ({interface})", self.place(*ip))));
        }
        if let Some(more) = addresses.len().checked_sub(shown + 1) {
            lines.push(field("", &format!("and {} more", more + 1)));
        }
        if self.is_to_be_claimed() {
            // How to claim it, and the code.
            lines.extend(self.status_lines());
        }
        if let Some(fingerprint) = &self.fingerprint {
            let (first, last) = fingerprint.split_at(FINGERPRINT_OCTETS / 2);
            lines.push(field(
                "Authority",
                "SHA-256 fingerprint of the box's own certificate authority:",
            ));
            lines.push(field("", &hex(first)));
            lines.push(field("", &hex(last)));
        }
        if !self.is_to_be_claimed() {
            lines.extend(self.status_lines());
        }
        for trouble in &self.troubles {
            let [what, remedy] = trouble.lines();
            lines.push(format!("! {what}"));
            lines.push(format!("  {remedy}"));
        }
        // The last trouble gives way before the frame does: those before it are the causes.
        lines.truncate(ROWS_MAX - 1);
        lines.push(rule);
        lines
            .into_iter()
            .map(|line| ascii(&line).chars().take(COLUMNS_MAX).collect())
            .collect()
    }

    fn status_lines(&self) -> impl Iterator<Item = String> {
        self.status.iter().map(|line| format!("  {}", line.as_str()))
    }

    fn has_web(&self) -> bool {
        self.ports.contains(&WEB_PORT)
    }

    fn is_to_be_claimed(&self) -> bool {
        self.state == State::Unclaimed && self.has_web()
    }

    /// The name, and how a browser finds it where that is by mDNS (AX3: until the box is claimed).
    fn name(&self) -> String {
        if self.is_to_be_claimed() && !self.host_name.contains('.') {
            format!("{0} (https://{0}.local/)", self.host_name)
        } else {
            self.host_name.clone()
        }
    }

    /// An address as a browser takes it. A link-local one it would not take: it would have to know over which card.
    fn place(&self, ip: IpAddr) -> String {
        match ip {
            _ if !self.has_web() || is_link_local(ip) && ip.is_ipv6() => ip.to_string(),
            IpAddr::V4(ip) => format!("https://{ip}/"),
            IpAddr::V6(ip) => format!("https://[{ip}]/"),
        }
    }

    fn sentence(&self) -> String {
        match &self.state {
            State::Starting(what) => format!("Starting: {what}."),
            State::Ready => {
                let mail: Vec<u16> = self
                    .ports
                    .iter()
                    .copied()
                    .filter(|&port| port != WEB_PORT)
                    .collect();
                format!("Ready. Mail is served on {}.", ports(&mail))
            }
            State::Unclaimed => {
                "This box belongs to nobody yet. No mail is served before it is claimed.".to_owned()
            }
            State::Closed => "No mail is served, for the reason below. It is tried again.".to_owned(),
            State::Restarting => "The mail service ended by itself and is being started again.".to_owned(),
            State::NoMail => "No mail is served, for the reason below.".to_owned(),
            State::Stopping => "Stopping. Do not cut the power yet.".to_owned(),
        }
    }
}

fn field(label: &str, value: &str) -> String {
    format!("  {label:<12}{value}").trim_end().to_owned()
}

fn ports(ports: &[u16]) -> String {
    let names: Vec<String> = ports.iter().map(u16::to_string).collect();
    match &names[..] {
        [] => "no port".to_owned(),
        [one] => format!("port {one}"),
        [rest @ .., last] => format!("ports {} and {last}", rest.join(", ")),
    }
}

fn hex(octets: &[u8]) -> String {
    let pairs: Vec<String> = octets.iter().map(|octet| format!("{octet:02X}")).collect();
    pairs.join(":")
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn page() -> Page {
        Page {
            title: "Postolka 0.1.0 (1a2b3c4)".to_owned(),
            board: "QEMU virt",
            state: State::Ready,
            host_name: "postolka".to_owned(),
            version: None,
            is_development: false,
            addresses: vec![
                ("eth0".to_owned(), "fe80::5054:ff:fe12:3456".parse().unwrap()),
                ("eth0".to_owned(), "10.0.2.15".parse().unwrap()),
            ],
            ports: vec![25, 993],
            fingerprint: Some(core::array::from_fn(|index| u8::try_from(index * 7).unwrap())),
            status: vec![ConsoleLine::new("2 mailboxes, 0 messages in the queue").unwrap()],
            troubles: Vec::new(),
        }
    }

    fn check(page: &Page, expected: &str) {
        let lines = page.render();
        let rule = "-".repeat(79);
        assert_eq!((lines.first(), lines.last()), (Some(&rule), Some(&rule)));
        let inner = lines[1..lines.len() - 1].join("\n");
        assert_eq!(inner, expected.trim_end_matches('\n'), "\n{inner}\n");
    }

    #[test]
    fn a_healthy_box_says_where_it_is_and_who_it_is() {
        check(
            &page(),
            "\
Postolka 0.1.0 (1a2b3c4) on QEMU virt
Ready. Mail is served on ports 25 and 993.
  Name        postolka
  Addresses   10.0.2.15 (eth0)
              fe80::5054:ff:fe12:3456 (eth0)
  Authority   SHA-256 fingerprint of the box's own certificate authority:
              00:07:0E:15:1C:23:2A:31:38:3F:46:4D:54:5B:62:69
              70:77:7E:85:8C:93:9A:A1:A8:AF:B6:BD:C4:CB:D2:D9
  2 mailboxes, 0 messages in the queue
",
        );
    }

    #[test]
    fn a_starting_box_says_with_what() {
        let starting = Page {
            state: State::Starting("looking for the disk".to_owned()),
            addresses: Vec::new(),
            fingerprint: None,
            status: Vec::new(),
            ..page()
        };
        check(
            &starting,
            "\
Postolka 0.1.0 (1a2b3c4) on QEMU virt
Starting: looking for the disk.
  Name        postolka
",
        );
    }

    #[test]
    fn a_box_from_a_slot_says_which_and_what_its_key_is_worth() {
        let flashed = Page {
            version: Some("214 in slot B, try 1 of 3: it has to show that it works".to_owned()),
            is_development: true,
            addresses: Vec::new(),
            fingerprint: None,
            status: Vec::new(),
            ..page()
        };
        check(
            &flashed,
            "\
Postolka 0.1.0 (1a2b3c4) on QEMU virt
Ready. Mail is served on ports 25 and 993.
DEVELOPMENT KEY: not for use. Whoever has its maker's computer can sign for it.
  Name        postolka
  Version     214 in slot B, try 1 of 3: it has to show that it works
",
        );
    }

    #[test]
    fn a_box_that_cannot_serve_says_why_and_what_to_do() {
        let troubled = Page {
            state: State::NoMail,
            addresses: Vec::new(),
            fingerprint: None,
            status: Vec::new(),
            troubles: vec![Trouble::NoDisk, Trouble::NoCarrier],
            ..page()
        };
        check(
            &troubled,
            "\
Postolka 0.1.0 (1a2b3c4) on QEMU virt
No mail is served, for the reason below.
  Name        postolka
! No disk: there is nothing to keep mail on.
  Connect a disk or card of at least 128 MiB and start the box again.
! No network: no cable is plugged in, or the other end is off.
  Connect the box to your router. Nothing needs to be restarted.
",
        );
    }

    #[test]
    fn ax3_a_box_that_nobody_has_claimed_says_how_to() {
        let unclaimed = Page {
            state: State::Unclaimed,
            ports: vec![443],
            addresses: vec![
                ("eth0".to_owned(), "fe80::5054:ff:fe12:3456".parse().unwrap()),
                ("eth0".to_owned(), "2001:db8::15".parse().unwrap()),
                ("eth0".to_owned(), "192.0.2.15".parse().unwrap()),
            ],
            status: vec![
                ConsoleLine::new("Open https://192.0.2.15/ and enter the code 7K3MQ-X2P9R.").unwrap(),
            ],
            ..page()
        };
        check(
            &unclaimed,
            "\
Postolka 0.1.0 (1a2b3c4) on QEMU virt
This box belongs to nobody yet. No mail is served before it is claimed.
  Name        postolka (https://postolka.local/)
  Addresses   https://192.0.2.15/ (eth0)
              https://[2001:db8::15]/ (eth0)
              fe80::5054:ff:fe12:3456 (eth0)
  Open https://192.0.2.15/ and enter the code 7K3MQ-X2P9R.
  Authority   SHA-256 fingerprint of the box's own certificate authority:
              00:07:0E:15:1C:23:2A:31:38:3F:46:4D:54:5B:62:69
              70:77:7E:85:8C:93:9A:A1:A8:AF:B6:BD:C4:CB:D2:D9
",
        );
    }

    #[test]
    fn a_claimed_box_with_pages_says_where_they_are() {
        let claimed = Page {
            ports: vec![25, 443, 993],
            addresses: vec![("eth0".to_owned(), "192.0.2.15".parse().unwrap())],
            fingerprint: None,
            ..page()
        };
        check(
            &claimed,
            "\
Postolka 0.1.0 (1a2b3c4) on QEMU virt
Ready. Mail is served on ports 25 and 993.
  Name        postolka
  Addresses   https://192.0.2.15/ (eth0)
  2 mailboxes, 0 messages in the queue
",
        );
    }

    #[test]
    fn d21_a_box_whose_mail_service_does_not_stay_up_says_what_becomes_of_it() {
        let closed = Page {
            state: State::Closed,
            ports: Vec::new(),
            addresses: vec![("eth0".to_owned(), "192.0.2.15".parse().unwrap())],
            fingerprint: None,
            status: Vec::new(),
            troubles: vec![Trouble::MaildRests("was ended by signal 9".to_owned())],
            ..page()
        };
        check(
            &closed,
            "\
Postolka 0.1.0 (1a2b3c4) on QEMU virt
No mail is served, for the reason below. It is tried again.
  Name        postolka
  Addresses   192.0.2.15 (eth0)
! The mail service does not stay up: it was ended by signal 9, again and again.
  Its ports are closed. It is tried every 5 minutes. If this stays, report it.
",
        );
    }

    #[test]
    fn nothing_makes_the_page_larger_than_a_terminal() {
        let crowded = Page {
            host_name: "a".repeat(200),
            addresses: (0..16)
                .map(|n| (format!("e\u{161}th{n}"), IpAddr::from([10, 0, 0, n])))
                .collect(),
            status: std::iter::repeat_n(ConsoleLine::lossy(&"x".repeat(99)), 6).collect(),
            troubles: (1..20)
                .map(|port| Trouble::Port {
                    port,
                    reason: "x".repeat(99),
                })
                .collect(),
            ..page()
        };
        let lines = crowded.render();
        assert_eq!(lines.len(), ROWS_MAX);
        for line in &lines {
            assert!(line.len() <= COLUMNS_MAX && line.is_ascii(), "{line}");
        }
        assert!(lines.iter().any(|line| line.contains("and 12 more")));
    }
}
