//! A fixed course of requests, done by hand instead of by the writer's thread, so that the same seed
//! makes the same calls to the disk.

use super::*;
use crate::open::{Ready, open};
use crate::request::{Job, Pending, Request};
use crate::shared::Shared;
use crate::storage::sim::Sim;
use crate::writer::Writer;
use crate::{
    Copy, CreateMailbox, DeleteMailbox, Expunge, FlagChange, Opened, RenameMailbox, StoreError, StoreFlags,
    View,
};
use mail::{Keyword, SystemFlags};
use std::fmt::Write;
use tokio::sync::oneshot;

/// An open store whose writer is this thread.
pub(crate) struct Direct {
    pub(crate) shared: Arc<Shared>,
    pub(crate) writer: Writer,
    pub(crate) opened: Opened,
}

/// What the test must find again: everything in the index, and each message's octets.
pub(crate) type State = String;

impl Direct {
    pub(crate) fn open(sim: &Sim) -> Result<Direct, StoreError> {
        Direct::open_with(sim, &options())
    }

    pub(crate) fn open_with(sim: &Sim, options: &Options) -> Result<Direct, StoreError> {
        let storage: Arc<dyn crate::Storage> = Arc::new(sim.clone());
        let Ready {
            shared,
            writer,
            opened,
            ..
        } = open(storage, options)?;
        Ok(Direct {
            shared,
            writer,
            opened,
        })
    }

    pub(crate) fn view(&self) -> View {
        View::new(Arc::clone(&self.shared)).unwrap()
    }

    pub(crate) fn state(&self) -> State {
        let view = self.view();
        let mut state = view.dump().unwrap();
        for account in view.accounts().unwrap() {
            for mailbox in view.mailboxes(account.id).unwrap() {
                for entry in view.entries(mailbox.id).unwrap() {
                    let octets = read(&view, mailbox.id, entry.uid);
                    writeln!(
                        state,
                        "octets {} {} {}",
                        mailbox.id,
                        entry.uid,
                        blake3::hash(&octets)
                    )
                    .unwrap();
                }
            }
        }
        state
    }

    pub(crate) fn check(&self) {
        assert_eq!(crate::check::check(&self.shared).unwrap().flaws, []);
    }

    /// Writes a batch of requests. The error is that of the batch.
    fn batch(&mut self, jobs: Vec<Box<dyn Job>>) {
        self.writer.commit(jobs);
    }

    /// One request alone.
    pub(crate) fn ask<Q: Request>(&mut self, request: Q) -> Result<Q::Reply, StoreError> {
        let (job, mut reply) = pending(request);
        self.batch(vec![job]);
        reply.try_recv().unwrap()
    }

    pub(crate) fn body(&self, octets: &[u8]) -> Result<SealedBody, StoreError> {
        let mut body = self.shared.bodies.writer();
        body.write(octets)?;
        body.seal()
    }

    pub(crate) fn delivery(&self, accounts: &[AccountId], octets: &[u8]) -> Result<Deliver, StoreError> {
        Ok(Deliver {
            body: self.body(octets)?,
            structure: octets[..octets.len().min(40)].to_vec(),
            received: Timestamp(1_790_000_000),
            copies: accounts
                .iter()
                .map(|account| DeliveredCopy {
                    account: *account,
                    header: format!("Delivered-To: {account}\r\n").into_bytes(),
                    flags: Flags::default(),
                })
                .collect(),
        })
    }
}

pub(crate) type Reply<Q> = oneshot::Receiver<Result<<Q as Request>::Reply, StoreError>>;

pub(crate) fn pending<Q: Request>(request: Q) -> (Box<dyn Job>, Reply<Q>) {
    let (to, reply) = oneshot::channel();
    (Box::new(Pending::new(request, to)), reply)
}

/// Random numbers for the course itself.
#[derive(Clone)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    pub(crate) fn pick<T: Clone>(&mut self, list: &[T]) -> Option<T> {
        let below = u64::try_from(list.len()).unwrap();
        if below == 0 {
            None
        } else {
            list.get(usize::try_from(self.roll(below)).unwrap()).cloned()
        }
    }
}

const ACCOUNTS: u32 = 3;

/// Step `number` of the course `seed`: up to four requests that end in one batch, sometimes a checkpoint.
/// What it does depends on the seed, the number and the state only. `Ok(true)`: something was to be
/// written, and was.
pub(crate) fn step(direct: &mut Direct, seed: u64, number: u64) -> Result<(), StoreError> {
    let mut dice = Dice(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    if number == 0 {
        return direct.ask(Provision {
            domains: vec![Domain::parse("example.org").unwrap()],
            accounts: (1..=ACCOUNTS)
                .map(|number| NewAccount {
                    address: address(&format!("u{number}@example.org")),
                    verifier: "verifier".to_owned(),
                    quota_octets: None,
                })
                .collect(),
            redirects: Vec::new(),
        });
    }
    let mut jobs: Vec<Box<dyn Job>> = Vec::new();
    let mut failed: Vec<Box<dyn FnOnce() -> Option<StoreError>>> = Vec::new();
    for _ in 0..=dice.roll(3) {
        request(direct, &mut dice, number, &mut jobs, &mut failed)?;
    }
    direct.batch(jobs);
    for failed in failed {
        match failed() {
            None
            | Some(
                StoreError::MailboxExists
                | StoreError::NoMailbox
                | StoreError::NoAccount
                | StoreError::IsInbox,
            ) => (),
            Some(error) => return Err(error),
        }
    }
    if dice.roll(6) == 0 {
        direct.writer.checkpoint();
    }
    Ok(())
}

fn add<Q: Request>(
    request: Q,
    jobs: &mut Vec<Box<dyn Job>>,
    failed: &mut Vec<Box<dyn FnOnce() -> Option<StoreError>>>,
) {
    let (job, mut reply) = pending(request);
    jobs.push(job);
    failed.push(Box::new(move || reply.try_recv().unwrap().err()));
}

#[allow(clippy::too_many_lines)]
fn request(
    direct: &Direct,
    dice: &mut Dice,
    number: u64,
    jobs: &mut Vec<Box<dyn Job>>,
    failed: &mut Vec<Box<dyn FnOnce() -> Option<StoreError>>>,
) -> Result<(), StoreError> {
    let account = AccountId(u32::try_from(dice.roll(u64::from(ACCOUNTS))).unwrap() + 1);
    let view = direct.view();
    let mailboxes = view.mailboxes(account)?;
    let from = dice.pick(&mailboxes).unwrap().id;
    let to = dice.pick(&mailboxes).unwrap().id;
    let mut uids: Vec<Uid> = view.entries(from)?.iter().map(|entry| entry.uid).collect();
    uids.retain(|_| dice.roll(2) == 0);
    drop(view);
    match dice.roll(12) {
        0..=3 => {
            // Mostly small, now and then one that has its own file.
            let octets = if dice.roll(8) == 0 {
                300_000
            } else {
                dice.roll(9_000) + 1
            };
            let octets = noise(number * 16 + dice.roll(16), usize::try_from(octets).unwrap());
            let accounts: Vec<AccountId> = (1..=ACCOUNTS)
                .map(AccountId)
                .filter(|_| dice.roll(2) == 0)
                .collect();
            add(direct.delivery(&accounts, &octets)?, jobs, failed);
        }
        4..=5 => {
            let mut messages = Vec::new();
            for _ in 0..=dice.roll(2) {
                let text = "All work and no play makes Jack a dull boy.\r\n"
                    .repeat(usize::try_from(dice.roll(200)).unwrap());
                messages.push(NewMessage {
                    body: direct.body(text.as_bytes())?,
                    structure: Vec::new(),
                    flags: Flags::system(SystemFlags(u8::try_from(dice.roll(32)).unwrap())),
                    internal_date: InternalDate::new(Timestamp(1_700_000_000), 120),
                });
            }
            add(
                Append {
                    account,
                    mailbox: from,
                    messages,
                },
                jobs,
                failed,
            );
        }
        6..=7 => {
            let mut flags = Flags::system(SystemFlags(u8::try_from(dice.roll(32)).unwrap()));
            flags.keywords.insert(
                Keyword::parse(["$Junk", "$Forwarded", "work"][usize::try_from(dice.roll(3)).unwrap()])
                    .unwrap(),
            );
            let change = match dice.roll(3) {
                0 => FlagChange::Replace(flags),
                1 => FlagChange::Add(flags),
                _ => FlagChange::Remove(flags),
            };
            add(
                StoreFlags {
                    mailbox: from,
                    uids,
                    change,
                    unchanged_since: None,
                },
                jobs,
                failed,
            );
        }
        8 => add(
            Expunge {
                mailbox: from,
                uids: None,
            },
            jobs,
            failed,
        ),
        9 => add(
            Copy {
                from,
                uids,
                to,
                is_move: dice.roll(2) == 0,
            },
            jobs,
            failed,
        ),
        10 => {
            let name = format!("folder{}/below", dice.roll(4));
            let name = MailboxName::parse(&name).unwrap();
            add(
                CreateMailbox {
                    account,
                    name,
                    special_use: None,
                },
                jobs,
                failed,
            );
        }
        _ if dice.roll(2) == 0 => {
            let from = MailboxName::parse(&format!("folder{}", dice.roll(4))).unwrap();
            let to = MailboxName::parse(&format!("folder{}", dice.roll(4))).unwrap();
            add(RenameMailbox { account, from, to }, jobs, failed);
        }
        _ => add(DeleteMailbox { mailbox: from }, jobs, failed),
    }
    Ok(())
}

/// The states after 0, 1, … steps when nothing goes wrong, and the calls made after each.
pub(crate) fn undisturbed(seed: u64, steps: u64) -> (Vec<State>, Vec<u64>) {
    let sim = Sim::new(seed);
    let mut direct = Direct::open(&sim).unwrap();
    let mut states = vec![direct.state()];
    let mut calls = vec![sim.counted().calls];
    for number in 0..steps {
        step(&mut direct, seed, number).unwrap();
        states.push(direct.state());
        calls.push(sim.counted().calls);
    }
    direct.check();
    (states, calls)
}
