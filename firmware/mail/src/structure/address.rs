//! Addresses of a header field, in the pieces that ENVELOPE tells.

use super::{FIELD_OCTETS_MAX, Text, decode_field, unfold};
use serde::{Deserialize, Serialize};

/// AS11: Postfix reads 10 240 tokens of an address field, too.
const ITEMS_MAX: usize = 10_240;

/// One item of an address list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AddressItem {
    /// A mailbox.
    Mailbox {
        /// The display name as it stands there, encoded words included, without quotes.
        name: Option<Text>,
        /// The source route of RFC 822, which nobody follows any more.
        route: Option<Text>,
        /// The local part, without quotes.
        mailbox: Text,
        /// The domain; empty where there is none.
        host: Text,
    },
    /// The mailboxes up to [`AddressItem::GroupEnd`] are a group with this name.
    GroupStart(Text),
    /// The end of a group.
    GroupEnd,
}

impl AddressItem {
    /// What it takes in a structure.
    pub(super) fn octets(&self) -> usize {
        let optional = |text: &Option<Text>| text.as_ref().map_or(0, Text::len) + 1;
        match self {
            AddressItem::Mailbox {
                name,
                route,
                mailbox,
                host,
            } => optional(name) + optional(route) + mailbox.len() + host.len() + 3,
            AddressItem::GroupStart(name) => name.len() + 2,
            AddressItem::GroupEnd => 1,
        }
    }
}

/// Reads a list of addresses, and whatever is close to one.
///
/// ```text
/// address  =  mailbox / group
/// mailbox  =  [display-name] "<" [obs-route] addr-spec ">" / addr-spec
/// group    =  display-name ":" [group-list] ";"
/// ```
///
/// A display name in a comment behind a bare address (`anna@firma.cz (Anna)`) is taken as the name, as
/// programs of the time of RFC 822 wrote it.
///
/// Source: RFC 5322 §3.4, §4.4.
pub(super) fn parse_addresses(value: &[u8]) -> Vec<AddressItem> {
    let value = unfold(&value[..value.len().min(FIELD_OCTETS_MAX)]);
    let mut reader = Reader {
        rest: &value,
        items: Vec::new(),
        is_in_group: false,
        pending: Pending::default(),
    };
    while reader.items.len() < ITEMS_MAX && reader.step() {}
    if reader.is_in_group {
        reader.items.push(AddressItem::GroupEnd);
    }
    reader.items
}

/// A list of addresses as people read it: `Anna Nová <anna@firma.cz>, jan@firma.cz`.
pub(super) fn address_text(items: &[AddressItem]) -> String {
    let mut text = String::new();
    for item in items {
        let (name, address) = match item {
            AddressItem::Mailbox {
                name, mailbox, host, ..
            } => {
                let mut address = String::from_utf8_lossy(mailbox.as_bytes()).into_owned();
                if !host.is_empty() {
                    address.push('@');
                    address.push_str(&String::from_utf8_lossy(host.as_bytes()));
                }
                (name.as_ref(), address)
            }
            AddressItem::GroupStart(name) => (Some(name), String::new()),
            AddressItem::GroupEnd => continue,
        };
        if !text.is_empty() {
            text.push_str(", ");
        }
        if let Some(name) = name {
            text.push_str(&decode_field(name.as_bytes()));
        }
        match (name, address.as_str()) {
            (_, "") => {}
            (None, address) => text.push_str(address),
            (Some(_), address) => {
                text.push_str(" <");
                text.push_str(address);
                text.push('>');
            }
        }
    }
    text
}

/// What was read of an address so far.
#[derive(Default)]
struct Pending {
    /// The words of a display name, with single spaces between them.
    phrase: Vec<u8>,
    /// The same words without space: a local part, if an `@` follows.
    local_part: Vec<u8>,
    /// The domain of a bare address.
    host: Option<Vec<u8>>,
    /// What stood in angle brackets.
    angle: Option<Angle>,
    /// The last comment.
    comment: Option<Vec<u8>>,
}

struct Angle {
    route: Vec<u8>,
    local_part: Vec<u8>,
    host: Vec<u8>,
}

struct Reader<'a> {
    rest: &'a [u8],
    items: Vec<AddressItem>,
    is_in_group: bool,
    pending: Pending,
}

impl Reader<'_> {
    /// Takes the next token; `false` at the end.
    fn step(&mut self) -> bool {
        self.rest = self.rest.trim_ascii_start();
        let Some((&octet, behind)) = self.rest.split_first() else {
            self.finish();
            return false;
        };
        match octet {
            b',' => {
                self.rest = behind;
                self.finish();
            }
            b'(' => {
                let (comment, rest) = comment(behind);
                self.rest = rest;
                self.pending.comment = Some(comment);
            }
            b'<' => self.angle(behind),
            b':' => {
                self.rest = behind;
                if self.is_in_group {
                    self.items.push(AddressItem::GroupEnd);
                }
                self.is_in_group = true;
                let name = Text::new(std::mem::take(&mut self.pending).phrase);
                self.items.push(AddressItem::GroupStart(name));
            }
            b';' => {
                self.rest = behind;
                self.finish();
                if self.is_in_group {
                    self.items.push(AddressItem::GroupEnd);
                    self.is_in_group = false;
                }
            }
            b'@' => {
                let (host, rest) = domain(behind);
                self.rest = rest;
                self.pending.host.get_or_insert(host);
            }
            b'"' => {
                let (content, rest) = quoted(behind);
                self.rest = rest;
                self.word(&content);
            }
            b'>' => self.rest = behind,
            _ => {
                let is_word = |octet: u8| !octet.is_ascii_whitespace() && !b",(<:;@\">".contains(&octet);
                let length = self.rest.iter().take_while(|&&octet| is_word(octet)).count();
                let (word, rest) = self.rest.split_at(length);
                self.rest = rest;
                self.word(word);
            }
        }
        true
    }

    fn word(&mut self, word: &[u8]) {
        if !self.pending.phrase.is_empty() {
            self.pending.phrase.push(b' ');
        }
        self.pending.phrase.extend_from_slice(word);
        self.pending.local_part.extend_from_slice(word);
    }

    /// ```text
    /// angle-addr  =  "<" [obs-route] addr-spec ">"
    /// obs-route   =  *("," / "@" domain) ":"
    /// ```
    fn angle(&mut self, behind: &[u8]) {
        let mut angle = Angle {
            route: Vec::new(),
            local_part: Vec::new(),
            host: Vec::new(),
        };
        // A route is a colon with hosts only before it.
        if behind.starts_with(b"@")
            && let Some(colon) = behind.iter().position(|octet| b":>".contains(octet))
            && behind[colon] == b':'
        {
            angle.route = behind[..colon].to_vec();
            self.rest = self.rest.get(colon + 2..).unwrap_or_default();
        } else {
            self.rest = self.rest.get(1..).unwrap_or_default();
        }
        loop {
            self.rest = self.rest.trim_ascii_start();
            let Some((&octet, behind)) = self.rest.split_first() else {
                break;
            };
            match octet {
                b'>' => {
                    self.rest = behind;
                    break;
                }
                b'"' => {
                    let (content, rest) = quoted(behind);
                    angle.local_part.extend_from_slice(&content);
                    self.rest = rest;
                }
                b'(' => self.rest = comment(behind).1,
                b'@' => (angle.host, self.rest) = domain(behind),
                _ => {
                    angle.local_part.push(octet);
                    self.rest = behind;
                }
            }
        }
        self.pending.angle.get_or_insert(angle);
    }

    fn finish(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        let some = |octets: Vec<u8>| (!octets.is_empty()).then(|| Text::new(octets));
        if pending.angle.is_none() && pending.host.is_none() && pending.local_part.is_empty() {
            // Nothing, or only a comment.
            return;
        }
        let (name, route, mailbox, host) = match (pending.angle, pending.host) {
            (Some(angle), _) => (
                some(pending.phrase),
                some(angle.route),
                angle.local_part,
                angle.host,
            ),
            (None, Some(host)) => (pending.comment.and_then(some), None, pending.local_part, host),
            (None, None) => (
                pending.comment.and_then(some),
                None,
                pending.local_part,
                Vec::new(),
            ),
        };
        if name.is_none() && mailbox.is_empty() && host.is_empty() {
            return;
        }
        self.items.push(AddressItem::Mailbox {
            name,
            route,
            mailbox: Text::new(mailbox),
            host: Text::new(host),
        });
    }
}

/// A domain up to what ends it, without white space and comments.
fn domain(mut rest: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut domain = Vec::new();
    loop {
        let before = rest;
        rest = skip_cfws(rest);
        // `anna@firma.cz (Anna)`: the comment is wanted by the caller.
        if before.len() != rest.len() && !domain.ends_with(b".") && !rest.starts_with(b".") {
            return (domain, before);
        }
        match rest.first() {
            Some(b'[') => {
                let length = memchr::memchr(b']', rest).map_or(rest.len(), |at| at + 1);
                domain.extend_from_slice(&rest[..length]);
                rest = &rest[length..];
            }
            Some(octet) if !b",<>:;@\"()".contains(octet) => {
                domain.push(*octet);
                rest = &rest[1..];
            }
            _ => return (domain, rest),
        }
    }
}

/// The content of a quoted string whose opening quote is gone, without quotes and escapes, and what
/// stands behind it (RFC 5322 §3.2.4). One without an end goes to the end.
pub(super) fn quoted(octets: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut content = Vec::new();
    let mut rest = octets;
    while let Some(at) = memchr::memchr2(b'"', b'\\', rest) {
        content.extend_from_slice(&rest[..at]);
        if rest[at] == b'"' {
            return (content, &rest[at + 1..]);
        }
        content.extend(rest.get(at + 1));
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    content.extend_from_slice(rest);
    (content, b"")
}

/// The content of a comment whose opening parenthesis is gone, and what stands behind it (RFC 5322
/// §3.2.2). Comments inside are part of it. One without an end goes to the end.
fn comment(octets: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut content = Vec::new();
    let mut depth = 1_usize;
    let mut place = 0;
    while let Some(&octet) = octets.get(place) {
        place += 1;
        match octet {
            b'(' => depth += 1,
            b')' => {
                depth -= 1;
                if depth == 0 {
                    return (content, &octets[place..]);
                }
            }
            b'\\' => {
                content.extend(octets.get(place));
                place += 1;
                continue;
            }
            _ => {}
        }
        content.push(octet);
    }
    (content, b"")
}

/// Passes over comments and white space (RFC 5322 §3.2.2 `CFWS`).
pub(super) fn skip_cfws(octets: &[u8]) -> &[u8] {
    let mut rest = octets.trim_ascii_start();
    while let Some(behind) = rest.strip_prefix(b"(") {
        rest = comment(behind).1.trim_ascii_start();
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The items as ENVELOPE would list them: `name|route|mailbox|host`.
    fn check(value: &str, expected: &[&str]) {
        let shown = |text: &Text| String::from_utf8_lossy(text.as_bytes()).into_owned();
        let optional = |text: &Option<Text>| text.as_ref().map_or("-".to_owned(), shown);
        let items: Vec<String> = parse_addresses(value.as_bytes())
            .iter()
            .map(|item| match item {
                AddressItem::Mailbox {
                    name,
                    route,
                    mailbox,
                    host,
                } => format!(
                    "{}|{}|{}|{}",
                    optional(name),
                    optional(route),
                    shown(mailbox),
                    shown(host)
                ),
                AddressItem::GroupStart(name) => format!("{}:", shown(name)),
                AddressItem::GroupEnd => ";".to_owned(),
            })
            .collect();
        assert_eq!(items, expected, "{value}");
    }

    /// RFC 5322 §A.1.1 to §A.1.3, §A.5, §A.6.1
    #[test]
    fn the_addresses_of_the_standard_are_read() {
        check(
            "John Doe <jdoe@machine.example>",
            &["John Doe|-|jdoe|machine.example"],
        );
        check(
            "\"Joe Q. Public\" <john.q.public@example.com>",
            &["Joe Q. Public|-|john.q.public|example.com"],
        );
        check(
            "Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>",
            &[
                "Mary Smith|-|mary|x.test",
                "-|-|jdoe|example.org",
                "Who?|-|one|y.test",
            ],
        );
        check(
            "<boss@nil.test>, \"Giant; \\\"Big\\\" Box\" <sysservices@example.net>",
            &[
                "-|-|boss|nil.test",
                "Giant; \"Big\" Box|-|sysservices|example.net",
            ],
        );
        check(
            "A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;",
            &[
                "A Group:",
                "Ed Jones|-|c|a.test",
                "-|-|joe|where.test",
                "John|-|jdoe|one.test",
                ";",
            ],
        );
        check("Undisclosed recipients:;", &["Undisclosed recipients:", ";"]);
        check(
            "Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>",
            &["Pete|-|pete|silly.test"],
        );
        check(
            "Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example",
            &["Mary Smith|@node.test|mary|example.net", "-|-|jdoe|test.example"],
        );
    }

    /// AS11
    #[test]
    fn as11_what_is_hardly_an_address_is_still_a_list() {
        check("", &[]);
        check("<>", &[]);
        check(" ,, ;", &[]);
        check("g:;", &["g:", ";"]);
        check("g:", &["g:", ";"]);
        check("a:b:c;", &["a:", ";", "b:", "-|-|c|", ";"]);
        check("root", &["-|-|root|"]);
        check("Daemon <>", &["Daemon|-||"]);
        check("anna@firma.cz (Anna Nová)", &["Anna Nová|-|anna|firma.cz"]);
        check(
            "=?utf-8?Q?a=20b?= =?utf-8?Q?c?= <x@y>",
            &["=?utf-8?Q?a=20b?= =?utf-8?Q?c?=|-|x|y"],
        );
        check("a <b@c", &["a|-|b|c"]);
        check("\"a", &["-|-|a|"]);
        check("a@b@c, d@[1.2.3.4]", &["-|-|a|b", "-|-|d|[1.2.3.4]"]);
    }

    /// AS11
    #[test]
    fn as11_a_hundred_thousand_addresses_are_cut() {
        let many = "a,".repeat(100_000);
        assert_eq!(parse_addresses(many.as_bytes()).len(), ITEMS_MAX);
        let groups = "a:".repeat(100_000);
        assert!(parse_addresses(groups.as_bytes()).len() <= ITEMS_MAX + 2);
        let deep = "(".repeat(100_000);
        assert_eq!(parse_addresses(deep.as_bytes()), []);
    }
}
