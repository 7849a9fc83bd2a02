//! What a file means, and what is wrong with it. Goes on after a mistake, so that all are told at once.

use super::document::{Document, LogTable, MailboxTable, Quota, RedirectTable, Text, line_of};
use super::{BoxPlan, Mistake, Mistakes, NewMailbox, Password, Plan};
use crate::log::Target;
use auth::{Verifier, password_flaw};
use mail::{Address, Domain, Secret, server_label};
use std::collections::HashMap;
use store::Redirect;
use toml::Spanned;
use wire::limits::{REDIRECT_EXPANSIONS_MAX, REDIRECT_TARGETS_MAX};

/// The checks under way.
pub(super) struct Checks<'a> {
    text: &'a str,
    mistakes: Vec<Mistake>,
}

pub(super) fn check(text: &str, document: Document) -> Result<Plan, Mistakes> {
    let mut checks = Checks {
        text,
        mistakes: Vec::new(),
    };
    let host_name = document
        .host_name
        .as_ref()
        .and_then(|name| checks.domain_name(name));
    let this_box = document.this_box.as_ref();
    let this_box = this_box.map_or_else(BoxPlan::default, |table| checks.this_box(table.get_ref()));
    let syslog = document
        .log
        .as_ref()
        .and_then(|table| checks.syslog(table.get_ref()));
    let domains = checks.domains(&document);
    let mailboxes = checks.mailboxes(document.mailboxes, &domains);
    let redirects = checks.redirects(&document.redirects, &domains, &mailboxes);
    let mut mistakes = checks.mistakes;
    if mistakes.is_empty() {
        return Ok(Plan {
            host_name,
            this_box,
            domains,
            mailboxes,
            redirects,
            limits: document.limits.map(Spanned::into_inner).unwrap_or_default(),
            syslog,
        });
    }
    mistakes.sort_by_key(|mistake| mistake.line);
    Err(Mistakes(mistakes))
}

/// For a file that may have nothing but `[box]`.
pub(super) fn check_box(text: &str, document: &Document) -> Result<BoxPlan, Mistakes> {
    let mut checks = Checks {
        text,
        mistakes: Vec::new(),
    };
    let elsewhere = "on the boot partition there may be only [box]: accounts come on a stick";
    if let Some(name) = &document.host_name {
        checks.mistake(name, elsewhere);
    }
    if let Some(table) = document.domains.first() {
        checks.mistake(&table.name, elsewhere);
    }
    if let Some(table) = document.mailboxes.first() {
        checks.mistake(&table.address, elsewhere);
    }
    if let Some(table) = document.redirects.first() {
        checks.mistake(&table.address, elsewhere);
    }
    if let Some(limits) = &document.limits {
        checks.mistake(limits, elsewhere);
    }
    if let Some(log) = &document.log {
        checks.mistake(log, elsewhere);
    }
    let this_box = document.this_box.as_ref();
    let this_box = this_box.map_or_else(BoxPlan::default, |table| checks.this_box(table.get_ref()));
    let mut mistakes = checks.mistakes;
    if mistakes.is_empty() {
        return Ok(this_box);
    }
    mistakes.sort_by_key(|mistake| mistake.line);
    Err(Mistakes(mistakes))
}

impl Checks<'_> {
    pub(super) fn mistake<T>(&mut self, place: &Spanned<T>, text: impl Into<String>) {
        let line = self.line(place);
        self.mistakes.push(Mistake {
            line,
            text: text.into(),
        });
    }

    fn line<T>(&self, place: &Spanned<T>) -> usize {
        line_of(self.text.as_bytes(), place.span().start)
    }

    fn syslog(&mut self, table: &LogTable) -> Option<Target> {
        let written = table.syslog.as_ref()?;
        let target = written.get_ref().parse().ok();
        if target.is_none() {
            let text = written.get_ref();
            self.mistake(
                written,
                format!("{text:?} is not the address and port of a syslog receiver, such as \"192.0.2.9:514\", or \"tcp:192.0.2.9:601\""),
            );
        }
        target
    }

    fn domain_name(&mut self, name: &Text) -> Option<Domain> {
        let domain = Domain::parse(name.get_ref()).ok();
        if domain.is_none() {
            self.mistake(name, format!("{:?} is not a domain name", name.get_ref()));
        }
        domain
    }

    fn domains(&mut self, document: &Document) -> Vec<Domain> {
        let mut domains: Vec<Domain> = Vec::new();
        let mut lines: HashMap<Domain, usize> = HashMap::new();
        for table in &document.domains {
            let Some(domain) = self.domain_name(&table.name) else {
                continue;
            };
            if let Some(line) = lines.get(&domain) {
                self.mistake(
                    &table.name,
                    format!("the domain {domain} stands in line {line} already"),
                );
                continue;
            }
            // H4: the server names of two domains must differ.
            let label = server_label(&domain);
            if let Some(other) = domains.iter().find(|other| server_label(other) == label) {
                self.mistake(
                    &table.name,
                    format!("the domain {domain} cannot be beside {other}: both would have the server name {label}"),
                );
                continue;
            }
            lines.insert(domain.clone(), self.line(&table.name));
            domains.push(domain);
        }
        let has_none = document.domains.is_empty();
        if has_none && let Some(first) = document.mailboxes.first() {
            self.mistake(
                &first.address,
                "there is no [[domain]], so no mailbox can be in one",
            );
        }
        domains
    }

    fn mailboxes(&mut self, tables: Vec<MailboxTable>, domains: &[Domain]) -> Vec<NewMailbox> {
        let mut lines: HashMap<String, usize> = HashMap::new();
        let mut mailboxes = Vec::new();
        for table in tables {
            let address = self.own_address(&table.address, domains);
            let password = self.password(&table);
            let quota_octets = table.quota.as_ref().and_then(|quota| self.quota(quota));
            let Some(address) = address else { continue };
            if let Some(line) = lines.insert(address.key(), self.line(&table.address)) {
                self.mistake(
                    &table.address,
                    format!("the mailbox {address} stands in line {line} already"),
                );
            }
            let Some(password) = password else { continue };
            mailboxes.push(NewMailbox {
                address,
                password,
                quota_octets,
            });
        }
        mailboxes
    }

    /// An address in one of the domains of this file.
    fn own_address(&mut self, text: &Text, domains: &[Domain]) -> Option<Address> {
        let address = self.address(text)?;
        // Without any domain there is one mistake, which `domains` tells.
        if !domains.is_empty() && !domains.contains(&address.domain) {
            let domain = &address.domain;
            self.mistake(text, format!("there is no [[domain]] with the name {domain}"));
            return None;
        }
        Some(address)
    }

    fn address(&mut self, text: &Text) -> Option<Address> {
        let written = text.get_ref().trim();
        // C3: there is no catch-all.
        let local_part = written.rsplit_once('@').map(|(local_part, _)| local_part);
        if local_part.is_some_and(|local_part| local_part.is_empty() || local_part.contains('*')) {
            self.mistake(
                text,
                format!("{written:?} would be a catch-all, which there is none: name each address in a [[redirect]]"),
            );
            return None;
        }
        match Address::parse(written) {
            Ok(address) => Some(address),
            Err(error) => {
                self.mistake(text, format!("{written:?} is not an address: {error}"));
                None
            }
        }
    }

    fn password(&mut self, table: &MailboxTable) -> Option<Password> {
        match (&table.password, &table.password_hash) {
            (Some(plain), None) => {
                if let Some(flaw) = password_flaw(plain.get_ref(), table.address.get_ref()) {
                    self.mistake(plain, flaw.to_string());
                    return None;
                }
                Some(Password::Plain(Secret::new(plain.get_ref().clone())))
            }
            (None, Some(hash)) => match Verifier::parse(hash.get_ref()) {
                Ok(_) => Some(Password::Hash(hash.get_ref().clone())),
                Err(error) => {
                    self.mistake(hash, error.to_string());
                    None
                }
            },
            (Some(plain), Some(_)) => {
                self.mistake(plain, "password and password_hash exclude each other");
                None
            }
            (None, None) => {
                self.mistake(
                    &table.address,
                    "this mailbox has neither password nor password_hash",
                );
                None
            }
        }
    }

    fn quota(&mut self, quota: &Spanned<Quota>) -> Option<u64> {
        let octets = match quota.get_ref() {
            Quota::Octets(octets) => Some(*octets),
            Quota::Text(text) => octets_in(text),
            Quota::Other(_) => None,
        };
        if octets.is_none_or(|octets| octets == 0) {
            self.mistake(
                quota,
                "a quota is a number of octets, or a text such as \"500 MiB\" or \"2 GiB\"",
            );
            return None;
        }
        octets
    }

    fn redirects(
        &mut self,
        tables: &[RedirectTable],
        domains: &[Domain],
        mailboxes: &[NewMailbox],
    ) -> Vec<Redirect> {
        let mut known: HashMap<String, Known> = mailboxes
            .iter()
            .map(|mailbox| {
                let known = Known {
                    is_mailbox: true,
                    targets: Vec::new(),
                };
                (mailbox.address.key(), known)
            })
            .collect();
        let mut redirects = Vec::new();
        let mut lines: HashMap<String, usize> = HashMap::new();
        for table in tables {
            let Some(address) = self.own_address(&table.address, domains) else {
                continue;
            };
            if let Some(line) = lines.insert(address.key(), self.line(&table.address)) {
                self.mistake(
                    &table.address,
                    format!("the redirect {address} stands in line {line} already"),
                );
                continue;
            }
            let targets = self.targets(table, domains);
            let known = known.entry(address.key()).or_default();
            known.targets = targets.iter().map(Address::key).collect();
            redirects.push(Redirect { address, targets });
        }
        // Only now all addresses are known. When one was refused, everything that leads there would be
        // told as well, which helps nobody.
        if self.mistakes.is_empty() {
            for table in tables {
                self.follow(table, &known);
            }
        }
        redirects
    }

    fn targets(&mut self, table: &RedirectTable, domains: &[Domain]) -> Vec<Address> {
        let written = table.targets.get_ref();
        if written.is_empty() || written.len() > REDIRECT_TARGETS_MAX {
            self.mistake(
                &table.targets,
                format!("a redirect has 1 to {REDIRECT_TARGETS_MAX} targets"),
            );
        }
        let mut targets: Vec<Address> = Vec::new();
        for text in written {
            let Some(target) = self.address(text) else {
                continue;
            };
            if !domains.contains(&target.domain) {
                self.mistake(
                    text,
                    format!("{target} is in none of the domains here, and mail cannot be sent on to other servers yet"),
                );
            } else if targets.iter().any(|earlier| earlier.key() == target.key()) {
                self.mistake(text, format!("{target} is a target of this redirect already"));
            } else {
                targets.push(target);
            }
        }
        targets
    }

    /// Follows a redirect to its mailboxes.
    fn follow(&mut self, table: &RedirectTable, known: &HashMap<String, Known>) {
        let Ok(address) = Address::parse(table.address.get_ref()) else {
            return;
        };
        for text in table.targets.get_ref() {
            let Ok(target) = Address::parse(text.get_ref()) else {
                continue;
            };
            match end_of(&address.key(), &target.key(), known) {
                Ok(()) => {}
                Err(WrongEnd::Nowhere(key)) => {
                    self.mistake(
                        text,
                        format!("there is no mailbox {key} and no other redirect of that address"),
                    );
                }
                Err(WrongEnd::Circle) => self.mistake(text, "this redirect leads in a circle"),
                Err(WrongEnd::TooFar) => self.mistake(
                    text,
                    format!("this redirect leads through more than {REDIRECT_EXPANSIONS_MAX} others"),
                ),
            }
        }
    }
}

/// An address of the file: a mailbox, a redirect, or both.
#[derive(Default)]
struct Known {
    is_mailbox: bool,
    targets: Vec<String>,
}

enum WrongEnd {
    Nowhere(String),
    Circle,
    TooFar,
}

/// Walks from one target of a redirect over all that it leads to.
fn end_of(start: &str, target: &str, known: &HashMap<String, Known>) -> Result<(), WrongEnd> {
    let mut waiting = vec![(target, start, 1)];
    // A tree of redirects can have very many ways to one address; once is enough.
    let mut seen = std::collections::HashSet::new();
    while let Some((key, from, steps)) = waiting.pop() {
        let found = known.get(key).ok_or_else(|| WrongEnd::Nowhere(key.to_owned()))?;
        // R3: an address among its own targets is its mailbox.
        if key == from {
            if !found.is_mailbox {
                return Err(WrongEnd::Nowhere(key.to_owned()));
            }
            continue;
        }
        if key == start {
            return Err(WrongEnd::Circle);
        }
        if steps > REDIRECT_EXPANSIONS_MAX {
            return Err(WrongEnd::TooFar);
        }
        if seen.insert((key, steps)) {
            waiting.extend(found.targets.iter().map(|next| (next.as_str(), key, steps + 1)));
        }
    }
    Ok(())
}

/// `500 MiB` in octets.
fn octets_in(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim() {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}
