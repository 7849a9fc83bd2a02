//! A course: three clients and the mail that comes in, a store and the oracle beside it.

use super::super::describe::describe;
use super::super::workload::{Dice, Direct, pending};
use super::super::*;
use super::client::Client;
use super::oracle::{self, Answer, Command, Oracle};
use crate::StoreError;
use crate::account::SetVerifier;
use crate::request::{Job, Request};

/// What the store is asked for, beside the store.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) oracle: Oracle,
    clients: Vec<Client>,
    seed: u64,
    number: u64,
}

/// How a batch ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// All of it was answered as the oracle says.
    Done,
    /// Some of it found no room, and nothing of that is to be seen.
    Refused,
    /// The store writes no more; what became of the batch is seen when it is opened again.
    Stopped,
}

type Reply = Box<dyn FnOnce() -> Result<String, StoreError>>;

impl Known {
    pub(crate) fn new(seed: u64) -> Known {
        Known {
            oracle: Oracle::default(),
            // Two programs of one person, and one of another.
            clients: [1, 1, 2].map(|account| Client::new(AccountId(account))).into(),
            seed,
            number: 0,
        }
    }

    /// Goes another way from here on.
    pub(crate) fn turn(&mut self, at: u64) {
        self.seed ^= at.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    }

    fn dice(&self) -> Dice {
        Dice(self.seed ^ self.number.wrapping_mul(0xd134_2543_de82_ef95))
    }

    /// The commands of the next batch: one of each client, mostly, and mail.
    fn commands(&self, dice: &mut Dice) -> Vec<Command> {
        if self.oracle.is_new() {
            return vec![Command::Provision(vec![None, Some(40_000), None])];
        }
        let mut commands = Vec::new();
        for client in &self.clients {
            if dice.roll(4) > 0 {
                commands.push(client.command(dice, self.number));
            }
        }
        if dice.roll(2) == 0 {
            let accounts = (1..=3).map(AccountId).filter(|_| dice.roll(2) == 0).collect();
            // Mostly small, now and then one that has its own file.
            let octets = match dice.roll(24) {
                0 => 270_000,
                1..=4 => dice.roll(20_000),
                _ => dice.roll(1_500),
            };
            let octets = noise(self.number ^ self.seed, usize::try_from(octets).unwrap());
            commands.push(Command::Deliver(accounts, octets));
        }
        if commands.is_empty() || dice.roll(16) == 0 {
            commands.push(Command::Verifier(
                AccountId(3),
                format!("verifier {}", self.number),
            ));
        }
        commands
    }

    /// One batch. `may_fail`: the disk may answer with errors.
    pub(crate) fn step(&mut self, direct: &mut Direct, may_fail: bool) -> Result<Outcome, String> {
        let mut dice = self.dice();
        let commands = self.commands(&mut dice);
        let mut jobs = Vec::new();
        let mut replies = Vec::new();
        let mut oracle = self.oracle.clone();
        for command in commands {
            match request(direct, &command) {
                Ok((job, reply)) => {
                    jobs.push(job);
                    replies.push((reply, command));
                }
                // The body could not be written: the client is told, and the command was never asked.
                Err(StoreError::Full | StoreError::Io { .. }) if may_fail => (),
                Err(error) => return Err(format!("{command:?}: {error}")),
            }
        }
        direct.writer.commit(jobs);
        self.number += 1;
        let replies: Vec<_> = replies
            .into_iter()
            .map(|(reply, command)| (reply(), command))
            .collect();
        let is_full = |reply: &Result<String, StoreError>| matches!(reply, Err(StoreError::Full));
        let is_taken_back = replies.iter().all(|(reply, _)| is_full(reply));
        let mut outcome = Outcome::Done;
        for (reply, command) in replies {
            match reply {
                Err(StoreError::Stopped { .. }) if may_fail => return Ok(Outcome::Stopped),
                // The batch found no room, or this of it was refused because there is little.
                Err(StoreError::Full) if may_fail && (is_taken_back || command.needs_room()) => {
                    outcome = Outcome::Refused;
                }
                reply => {
                    let expected = oracle.answer(&command);
                    let answered: Answer = reply.map_err(|error| format!("{error:?}"));
                    if answered != expected {
                        return Err(format!("{command:?}: {answered:?} instead of {expected:?}"));
                    }
                }
            }
        }
        if self.oracle.is_new() && !oracle.is_new() {
            oracle.learn(&direct.view());
        }
        self.oracle = oracle;
        self.compare(direct)?;
        self.clients_look(direct, &mut dice)?;
        Ok(outcome)
    }

    /// Compares the store with the oracle.
    pub(crate) fn compare(&self, direct: &Direct) -> Result<(), String> {
        let (found, expected) = (describe(&direct.view()), self.oracle.describe());
        if found == expected {
            return Ok(());
        }
        Err(difference(&found, &expected))
    }

    /// What the store would hold if the next batch were done.
    pub(crate) fn after_next(&self) -> Known {
        let mut after = self.clone();
        let mut dice = self.dice();
        for command in self.commands(&mut dice) {
            // What it says is compared when the store says it, too.
            let _ = after.oracle.answer(&command);
        }
        after.number += 1;
        after
    }

    /// As this is, for a store that was begun just now: which numbers its first mailboxes got is not known before.
    pub(crate) fn begun_as(&self, direct: &Direct) -> Known {
        let mut known = self.clone();
        if known.oracle.has_no_mailboxes() && !direct.view().accounts().unwrap().is_empty() {
            known.oracle.learn(&direct.view());
        }
        known
    }

    /// Some clients look at what has changed.
    fn clients_look(&mut self, direct: &Direct, dice: &mut Dice) -> Result<(), String> {
        let view = direct.view();
        for client in &mut self.clients {
            if dice.roll(3) > 0 {
                client.look(&view)?;
            }
            if dice.roll(6) == 0 {
                client.select(&view, dice)?;
            }
        }
        Ok(())
    }

    /// All clients look: none may find that what it knows was never so.
    pub(crate) fn all_look(&mut self, direct: &Direct) -> Result<(), String> {
        let view = direct.view();
        self.clients.iter_mut().try_for_each(|client| client.look(&view))
    }
}

/// The first line that differs.
fn difference(found: &str, expected: &str) -> String {
    let mut lines = found.lines().zip(expected.lines());
    match lines.find(|(found, expected)| found != expected) {
        Some((found, expected)) => format!("found “{found}” instead of “{expected}”"),
        None => format!(
            "found {} lines, not {}",
            found.lines().count(),
            expected.lines().count()
        ),
    }
}

fn request(direct: &Direct, command: &Command) -> Result<(Box<dyn Job>, Reply), StoreError> {
    let request = match command {
        Command::Provision(quotas) => job(Provision {
            domains: vec![Domain::parse("example.org").unwrap()],
            accounts: (1..)
                .zip(quotas)
                .map(|(number, quota_octets)| NewAccount {
                    address: address(&format!("u{number}@example.org")),
                    verifier: "verifier".to_owned(),
                    quota_octets: *quota_octets,
                })
                .collect(),
            redirects: Vec::new(),
        }),
        Command::Deliver(accounts, octets) => job(Deliver {
            body: direct.body(octets)?,
            structure: oracle::structure(octets),
            received: Timestamp(oracle::RECEIVED),
            copies: accounts
                .iter()
                .map(|account| DeliveredCopy {
                    account: *account,
                    header: oracle::prefix(*account),
                    flags: Flags::default(),
                })
                .collect(),
        }),
        Command::Append(account, mailbox, messages) => {
            let message = |(octets, flags, internal_date): &(Vec<u8>, Flags, InternalDate)| {
                Ok(NewMessage {
                    body: direct.body(octets)?,
                    structure: oracle::structure(octets),
                    flags: flags.clone(),
                    internal_date: *internal_date,
                })
            };
            job(Append {
                account: *account,
                mailbox: *mailbox,
                messages: messages.iter().map(message).collect::<Result<_, StoreError>>()?,
            })
        }
        Command::Flags(asked) => job(asked.clone()),
        Command::Expunge(asked) => job(asked.clone()),
        Command::Copy(asked) => job(asked.clone()),
        Command::Create(asked) => job(asked.clone()),
        Command::Rename(asked) => job(asked.clone()),
        Command::Delete(asked) => job(*asked),
        Command::Subscribe(asked) => job(*asked),
        Command::Verifier(account, verifier) => job(SetVerifier {
            account: *account,
            verifier: verifier.clone(),
        }),
    };
    Ok(request)
}

fn job<Q: Request>(request: Q) -> (Box<dyn Job>, Reply)
where
    Q::Reply: std::fmt::Debug,
{
    let (job, mut reply) = pending(request);
    let reply = move || reply.try_recv().unwrap().map(|reply| format!("{reply:?}"));
    (job, Box::new(reply))
}
