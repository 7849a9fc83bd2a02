//! A course of what an owner does, with the power cut at every write and sync, and with records lost to damage.

use super::workload::{Dice, Direct, State};
use super::*;
use crate::admin::WithAudit;
use crate::queue::EntryId;
use crate::storage::sim::{Plan, Sim};
use crate::*;
use mail::{MailboxName, ReversePath};

const STEPS: u64 = 20;
const NOW: Timestamp = Timestamp(1_790_000_000);

fn is_refusal(error: &StoreError) -> bool {
    !error.is_ours()
}

/// One request of the course, alone in its batch. What it is depends on the seed, the number and the state only.
/// An error is one of the disk; what is refused is a step, too.
pub(crate) fn admin_step(direct: &mut Direct, seed: u64, number: u64) -> Result<(), StoreError> {
    if number == 0 {
        return workload::step(direct, seed, 0);
    }
    let mut dice = Dice(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    dice.roll(2);
    match ask(direct, &mut dice, number) {
        Err(error) if is_refusal(&error) => (),
        result => result?,
    }
    if dice.roll(6) == 0 {
        direct.writer.checkpoint();
    }
    Ok(())
}

#[allow(clippy::too_many_lines)]
fn ask(direct: &mut Direct, dice: &mut Dice, number: u64) -> Result<(), StoreError> {
    let view = direct.view();
    let accounts = view.accounts()?;
    let account = dice.pick(&accounts).map_or(AccountId(1), |account| account.id);
    let mailboxes = view.mailboxes(account)?;
    let entries = view.queue(None, 100)?;
    let entry = dice.pick(&entries).map_or(EntryId(0), |entry| entry.id);
    let recipients = view.queue_recipients(entry)?;
    drop(view);
    let text = |dice: &mut Dice| format!("n{}@example.org", dice.roll(5));
    match dice.roll(14) {
        0..=3 => {
            let deliver = direct.delivery(
                &accounts
                    .iter()
                    .map(|account| account.id)
                    .take(2)
                    .collect::<Vec<_>>(),
                &noise(number, usize::try_from(dice.roll(3) * 150_000 + 50).unwrap()),
            )?;
            let new = |hold: bool| NewEntry {
                reverse_path: ReversePath::Null,
                account: None,
                trace: number.to_string(),
                header: b"Received: here\r\n".to_vec(),
                parameters: Vec::new(),
                hold: hold.then(|| "held".to_owned()),
                recipients: ["a@example.com", "b@example.net"]
                    .iter()
                    .map(|text| NewRecipient {
                        address: address(text),
                        destination: address(text).domain.to_string(),
                        parameters: Vec::new(),
                        not_before: NOW,
                    })
                    .collect(),
            };
            let settles = if dice.roll(2) == 0 && entry != EntryId(0) {
                vec![Settle {
                    entry,
                    recipients: Vec::new(),
                    is_done: true,
                }]
            } else {
                Vec::new()
            };
            direct
                .ask(Enqueue {
                    deliver,
                    entries: vec![new(dice.roll(2) == 0)],
                    settles,
                    tokens: vec![Token {
                        token: format!("t{}", number % 3),
                        sender: address("a@example.com"),
                        expires: NOW,
                    }],
                })
                .map(drop)
        }
        4 => {
            let recipients = recipients
                .into_iter()
                .take(1)
                .map(|recipient| {
                    let mut state = recipient.state;
                    state.attempts += 1;
                    state.status = RecipientStatus::Delivered;
                    (recipient.place, state)
                })
                .collect();
            let settle = Settle {
                entry,
                recipients,
                is_done: false,
            };
            direct.ask(SettleQueue {
                settles: vec![settle],
            })
        }
        5 => {
            let hold = (dice.roll(2) == 0).then(|| "held".to_owned());
            let entries = vec![entry];
            direct.ask(HoldQueue { entries, hold }).map(drop)
        }
        6 => {
            let entries = vec![entry];
            let untried_only = false;
            direct
                .ask(DropQueue {
                    entries,
                    untried_only,
                })
                .map(drop)
        }
        7 => direct
            .ask(CreateAccount {
                address: address(&text(dice)),
                verifier: "v".to_owned(),
                details: AccountDetails::default(),
                created: NOW,
            })
            .map(drop),
        8 => direct.ask(DeleteAccount { account }),
        9 => {
            let aliases = vec![Alias {
                owner: Some(account),
                ..Alias::new(
                    address(&text(dice)),
                    vec![address("u1@example.org"), address(&text(dice))],
                )
            }];
            direct.ask(SetAliases { aliases })
        }
        10 => direct.ask(RenameMailbox {
            account,
            from: MailboxName::inbox(),
            to: MailboxName::parse(&format!("old/{}", dice.roll(3))).unwrap(),
        }),
        11 => direct.ask(SetAcl {
            mailbox: dice.pick(&mailboxes).unwrap().id,
            subject: AclSubject::Account(AccountId(1)),
            is_negative: dice.roll(2) == 0,
            rights: Some(Rights::ALL),
        }),
        12 => direct.ask(WithAudit {
            request: SetSettings {
                account: Some(account),
                values: vec![(
                    SettingName::parse("web/language").unwrap(),
                    Some(SettingValue {
                        version: 1,
                        octets: vec![u8::try_from(dice.roll(3)).unwrap()],
                    }),
                )],
            },
            entry: AuditEntry {
                at: NOW,
                account: None,
                actor: "course".to_owned(),
                origin: String::new(),
                action: "setting".to_owned(),
                object: String::new(),
                details: number.to_string(),
            },
        }),
        _ => {
            let change = AccountChange {
                is_enabled: Some(dice.roll(2) == 0),
                quota_messages: Some(Some(dice.roll(100))),
                ..AccountChange::default()
            };
            direct.ask(ChangeAccount { account, change })
        }
    }
}

/// The states after each step, and how many calls to the disk the course makes.
fn undisturbed(seed: u64) -> (Vec<State>, u64) {
    let sim = Sim::new(seed);
    let mut direct = Direct::open(&sim).unwrap();
    let mut states = vec![direct.state()];
    for number in 0..STEPS {
        admin_step(&mut direct, seed, number).unwrap();
        states.push(direct.state());
    }
    direct.check();
    (states, sim.counted().calls)
}

/// D1, D3, D4: what an owner did, and what is in the queue, survive a cut at every write and sync; nothing by halves.
#[test]
fn d3_d4_administration_and_the_queue_survive_a_cut_at_every_write_and_sync() {
    let day = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() / 86_400;
    let seeds = match std::env::var("STORE_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
    {
        Some(seed) => vec![seed],
        None => vec![1, 2, day],
    };
    for seed in seeds {
        let (states, calls) = undisturbed(seed);
        println!("seed {seed}: {calls} cuts");
        for cut_at in 1..=calls {
            let sim = Sim::new(seed);
            sim.plan(Plan {
                cut_at: Some(cut_at),
                ..Plan::default()
            });
            let mut done = None;
            if let Ok(mut direct) = Direct::open(&sim) {
                let steps = (0..STEPS).take_while(|number| admin_step(&mut direct, seed, *number).is_ok());
                done = Some(steps.count());
            }
            let Some(done) = done else { continue };
            let direct = Direct::open(&sim.reboot(seed ^ cut_at)).unwrap();
            assert_eq!(direct.opened.damage, [], "seed {seed}, cut at call {cut_at}");
            let state = direct.state();
            assert!(
                state == states[done] || states.get(done + 1) == Some(&state),
                "seed {seed}, cut at call {cut_at}: after {done} steps neither state is found"
            );
            direct.check();
        }
    }
}

/// D5: records are lost, and what is left holds together.
#[test]
fn d5_what_is_left_after_damage_holds_together() {
    for seed in 1..=6 {
        let sim = Sim::new(seed);
        let mut direct = Direct::open(&sim).unwrap();
        for number in 0..STEPS * 2 {
            admin_step(&mut direct, seed, number).unwrap();
        }
        drop(direct);
        let disk = sim.reboot(seed);
        let mut dice = Dice(seed);
        let segments: Vec<String> = disk
            .names()
            .into_iter()
            .filter(|name| name.starts_with("log/0"))
            .collect();
        for _ in 0..4 {
            let segment = dice.pick(&segments).unwrap();
            let octets = disk.content(&segment).len() as u64;
            disk.flip(&segment, 4096 + dice.roll(octets - 4096), 1);
        }
        let storage: &dyn Storage = &disk;
        storage.remove("index.redb").unwrap();
        let direct = Direct::open(&disk).unwrap();
        let flaws = check::check(&direct.shared).unwrap().flaws;
        for flaw in &flaws {
            // The damage itself is told; nothing is counted or listed wrongly.
            let text = flaw.0.as_str();
            let is_of_damage = text.contains("are lost") || text.contains("damaged");
            assert!(is_of_damage, "seed {seed}: {text}");
        }
    }
}
