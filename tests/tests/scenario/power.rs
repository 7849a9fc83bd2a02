//! The power goes under a disk with a cache (D1, D2, D7, D8): rig R3.
//!
//! `E2E_SEEDS=1-50` cuts fifty times, on a new disk every ten cuts.

use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use e2e::appliance::SENDER;
use e2e::mail::short_message;
use e2e::oracle::{Fate, Oracle};
use e2e::power_cut::{Load, OnForgetfulDisk};
use e2e::random::{Random, seeds};
use e2e::runner::Outcome;
use e2e::{Appliance, Office, Plan, Service, Stage};
use qemu::Flush;

e2e::scenarios![; own
    d2_a_disk_that_forgets_what_was_not_flushed_loses_no_mail,
    d8_a_flush_that_fails_is_no_250,
    the_rig_notices_a_disk_that_ignores_flushes,
];

const CUTS_OF_A_DISK: usize = 10;

fn off() -> std::io::Result<OnForgetfulDisk> {
    let mut plan = Plan::of(Office::for_names(["anna"]));
    plan.disk_mib = Some(512);
    OnForgetfulDisk::new(plan)
}

/// D1, D2, D7: every message that was acknowledged is there once, octet for octet, after each of several cuts of one disk,
/// some of which fall into the start behind another.
fn d2_a_disk_that_forgets_what_was_not_flushed_loses_no_mail(_stage: &dyn Stage) -> Outcome {
    let seeds = seeds(&[1, 2, 3]);
    let mut lost = 0;
    for seeds in seeds.chunks(CUTS_OF_A_DISK) {
        let mut rig = off()?;
        rig.booted.start()?;
        let (oracle, next) = (Oracle::default(), AtomicUsize::new(0));
        for seed in seeds {
            // All cuts of this disk until now belong to what failed.
            lost += cut_under_load(&mut rig, &oracle, &next, *seed)
                .map_err(|error| format!("seed {seed} of E2E_SEEDS={seeds:?}: {error}"))?;
        }
    }
    assert!(
        lost > 0,
        "the disk has lost nothing in {} cuts: this proves nothing",
        seeds.len()
    );
    Ok(())
}

/// Gives how many sectors the disk has lost.
fn cut_under_load(
    rig: &mut OnForgetfulDisk,
    oracle: &Oracle,
    next: &AtomicUsize,
    seed: u64,
) -> Result<usize, Box<dyn std::error::Error>> {
    let began = Instant::now();
    let mut random = Random::new(seed);
    let account = rig.booted.office().accounts[0].clone();
    let load = Load {
        smtp: rig.booted.addr(Service::Smtp),
        account: &account,
        oracle,
        next,
        seed: random.next_u64(),
        octets: |random| match random.below(12) {
            // A body over 256 KiB has a file of its own, whose name must last too.
            0 => 270_000,
            _ => 300 << random.below(7),
        },
    };
    let goal = oracle.acknowledged() + 1 + random.below(30);
    let requests = random.next_u64() % 30;
    let mut lost = load.until_cut(goal, Duration::ZERO, || rig.cut_in(requests, random.clone()))?;
    println!("seed {seed}: {} acknowledged; {lost}", oracle.acknowledged());
    if random.below(3) == 0 {
        let requests = random.next_u64() % 60;
        let in_start = rig.cut_in_its_start(requests, random.clone())?;
        println!("seed {seed}: cut again in the start; {in_start}");
        lost.lost += in_start.lost;
    }
    rig.booted.start()?;
    let mut imap = (&rig.booted as &dyn Appliance).imap_of(&account)?;
    let found = oracle.judge(&mut imap)?;
    if found.acknowledged < goal {
        return Err(format!("the load did not come so far: {found:?} of {goal}").into());
    }
    let complaints = rig.complaints();
    if !complaints.is_empty() {
        return Err(format!("the mail is all there, and yet:\n{}", complaints.join("\n")).into());
    }
    let seconds = began.elapsed().as_secs_f32();
    println!(
        "seed {seed}: {} messages, all as they were; {seconds:.1} s",
        found.present
    );
    Ok(lost.lost)
}

/// D8
fn d8_a_flush_that_fails_is_no_250(_stage: &dyn Stage) -> Outcome {
    let mut rig = off()?;
    rig.booted.start()?;
    let account = rig.booted.office().accounts[0].clone();
    let oracle = Oracle::default();
    let mut smtp = (&rig.booted as &dyn Appliance).smtp()?;
    for number in 0..8 {
        if number == 4 {
            rig.disk.set_flush(Flush::Fails);
        }
        let id = format!("d8-{number}@client.example.org");
        let message = short_message(SENDER, &account.address, &id);
        let reply = smtp.deliver(SENDER, &account.address, &message);
        oracle.write_down(&id, &message, Fate::of(&reply));
        if number < 4 {
            reply?;
            continue;
        }
        if let Ok(reply) = reply {
            assert_eq!(reply.code / 100, 4, "message {number}: {reply:?}");
        }
        match (&rig.booted as &dyn Appliance).smtp() {
            Ok(next) => smtp = next,
            // A box whose disk has failed may greet nobody.
            Err(_) => break,
        }
    }
    assert_eq!(oracle.acknowledged(), 4);
    // With a disk that works again the box works again, and has what it had.
    rig.disk.set_flush(Flush::Kept);
    rig.cut(&mut || 0)?;
    rig.booted.start()?;
    let mut imap = (&rig.booted as &dyn Appliance).imap_of(&account)?;
    oracle.judge(&mut imap)?;
    let message = short_message(SENDER, &account.address, "d8-again@client.example.org");
    (&rig.booted as &dyn Appliance).deliver(&account, &message)?;
    Ok(())
}

/// What the rig is worth: a box that flushes nothing (which is what a missing sync or a file system without barriers comes
/// to) is convicted by it. Scenario `d2_cuts_at_random_moments_lose_nothing`, which kills QEMU, would let it pass.
fn the_rig_notices_a_disk_that_ignores_flushes(_stage: &dyn Stage) -> Outcome {
    let mut rig = off()?;
    rig.booted.start()?;
    let account = rig.booted.office().accounts[0].clone();
    let oracle = Oracle::default();
    rig.disk.set_flush(Flush::Ignored);
    let mut smtp = (&rig.booted as &dyn Appliance).smtp()?;
    for number in 0..10 {
        let id = format!("lie-{number}@client.example.org");
        let message = short_message(SENDER, &account.address, &id);
        let reply = smtp.deliver(SENDER, &account.address, &message);
        oracle.write_down(&id, &message, Fate::of(&reply));
        reply?;
    }
    assert_eq!(oracle.acknowledged(), 10);
    // Nothing of the cache survives: so the box starts, from what it was when the lies began.
    let lost = rig.cut(&mut || 0)?;
    rig.disk.set_flush(Flush::Kept);
    rig.booted.start()?;
    let mut imap = (&rig.booted as &dyn Appliance).imap_of(&account)?;
    let error = oracle.judge(&mut imap).map_err(|error| error.to_string());
    println!("{lost}: {error:?}");
    let error = error.expect_err("ten acknowledged messages were lost, and nobody noticed");
    assert!(error.contains("was acknowledged 1 times"), "{error}");
    Ok(())
}
