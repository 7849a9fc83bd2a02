//! The model test: whatever clients ask for and wherever the power goes, the store holds what IMAP says it must.
//!
//! Courses are drawn by lot. In each, every call that writes or syncs is cut; the disk as the cut leaves it is opened
//! again, and has to hold what was acknowledged, and of the batch under way all or nothing; then the course goes on
//! from there, so that a UID given twice shows. `STORE_SEED=n` repeats a seed, `STORE_CUTS=n` makes as many cuts.

mod client;
mod course;
mod oracle;

use super::workload::*;
use crate::StoreError;
use crate::storage::sim::{Cut, Plan, Sim};
use course::{Known, Outcome};
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Batches of a course.
const STEPS: u64 = 24;
/// Cuts of a run, unless `STORE_CUTS` says otherwise.
const CUTS: usize = 2_000;

fn from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is not a number")),
    )
}

/// The first seed of a run, another each day.
pub(crate) fn first_seed() -> u64 {
    from_environment("STORE_SEED").unwrap_or_else(|| {
        let day = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() / 86_400;
        day * 1_000
    })
}

/// What a cut has to leave: one of these.
struct Allowed<'k> {
    before: &'k Known,
    /// `None`: all was acknowledged, and must be there.
    after: Option<&'k Known>,
}

/// Runs a course, cut everywhere. Gives each cut to `judge`, with what it may leave. Without syncs that `plan`
/// leaves out, nothing else is different.
fn cut_everywhere(
    seed: u64,
    plan: &Plan,
    mut judge: impl FnMut(&Cut, &Allowed<'_>) -> Result<(), String>,
) -> Result<(), String> {
    let sim = Sim::new(seed);
    sim.plan(Plan {
        keeps_cuts: true,
        ..plan.clone()
    });
    let mut known = Known::new(seed);
    let mut judge_all = |before: &Known, after: Option<&Known>| {
        let cuts = sim.take_cuts();
        cuts.iter()
            .try_for_each(|cut| judge(cut, &Allowed { before, after }))
    };
    let mut direct = Direct::open(&sim).map_err(|error| error.to_string())?;
    judge_all(&known, None)?;
    for number in 0..STEPS {
        let before = known.clone();
        known.step(&mut direct, false)?;
        judge_all(&before, Some(&known))?;
        if upkeep(&mut direct, seed, number) {
            known.compare(&direct)?;
            judge_all(&known, None)?;
        }
    }
    direct.check();
    Ok(())
}

/// What the store does by itself, and nobody must see: checkpoints.
fn upkeep(direct: &mut Direct, seed: u64, number: u64) -> bool {
    let mut dice = Dice(seed ^ number.wrapping_mul(0x2545_f491_4f6c_dd1d));
    if dice.roll(5) > 0 {
        return false;
    }
    direct.writer.checkpoint();
    true
}

/// Opens what a cut left, and goes on from there. Returns how often the power went.
fn judge(seed: u64, plan: &Plan, cut: &Cut, allowed: &Allowed<'_>) -> Result<usize, String> {
    let boot = |seed| {
        let sim = cut.reboot(seed);
        sim.plan(plan.clone());
        sim
    };
    let mut cuts = 1;
    let mut sim = boot(seed ^ cut.call);
    let (mut direct, mut known) = open(&sim, allowed)?;
    known.all_look(&direct)?;
    let flaws = crate::check::check(&direct.shared).map_err(|error| error.to_string())?;
    if !flaws.flaws.is_empty() {
        return Err(format!("{:?}", flaws.flaws));
    }
    if cut.call.is_multiple_of(2) {
        // Another time it is cut while it starts: what is shown once is there ever after.
        let shown = Allowed {
            before: &known,
            after: None,
        };
        let again = boot(seed ^ cut.call);
        again.plan(Plan {
            cut_at: Some(1 + (seed ^ cut.call) % 24),
            ..plan.clone()
        });
        let _ = Direct::open(&again);
        let (found, _) = open(&again.reboot(cut.call), &shown)?;
        drop(found);
        cuts += 1;
        // And the power goes once more after a start that nobody used.
        drop(direct);
        sim = sim.reboot(cut.call);
        sim.plan(plan.clone());
        direct = open(&sim, &shown)?.0;
    }
    // It goes on, another way than it went.
    known.turn(cut.call);
    for _ in 0..2 {
        known.step(&mut direct, false)?;
    }
    if !cut.call.is_multiple_of(2) {
        // And the power goes once more, when all is acknowledged.
        direct.writer.checkpoint();
        let later = sim.reboot(cut.call);
        later.plan(plan.clone());
        drop(direct);
        let all = Allowed {
            before: &known,
            after: None,
        };
        open(&later, &all)?;
        cuts += 1;
    }
    Ok(cuts)
}

/// Opens a store and says which of the allowed states it holds.
fn open(sim: &Sim, allowed: &Allowed<'_>) -> Result<(Direct, Known), String> {
    let direct = Direct::open(sim).map_err(|error| error.to_string())?;
    if !direct.opened.damage.is_empty() {
        return Err(format!("{:?}", direct.opened.damage));
    }
    let Err(difference) = allowed.before.compare(&direct) else {
        return Ok((direct, allowed.before.clone()));
    };
    let Some(after) = allowed.after else {
        return Err(difference);
    };
    let after = after.begun_as(&direct);
    match after.compare(&direct) {
        Ok(()) => Ok((direct, after)),
        Err(other) => Err(format!("neither state is found: {difference}; {other}")),
    }
}

/// As [`judge`], and a panic is a flaw, too.
fn judge_safely(seed: u64, plan: &Plan, cut: &Cut, allowed: &Allowed<'_>) -> Result<usize, String> {
    catch_unwind(AssertUnwindSafe(|| judge(seed, plan, cut, allowed))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.unwrap_or_else(|| "a panic".to_owned()))
    })
}

/// D1, D2, D3, D5, D7
#[test]
fn d1_the_store_holds_what_the_model_says_wherever_it_is_cut() {
    let first = first_seed();
    let wanted = from_environment("STORE_CUTS").map_or(CUTS, |cuts| usize::try_from(cuts).unwrap());
    let started = std::time::Instant::now();
    let next = AtomicU64::new(first);
    let cuts = AtomicUsize::new(0);
    let run = || {
        while cuts.load(Ordering::Relaxed) < wanted {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let plan = Plan::default();
            let result = cut_everywhere(seed, &plan, |cut, allowed| {
                let done = judge_safely(seed, &plan, cut, allowed)
                    .map_err(|flaw| format!("cut at call {}: {flaw}", cut.call))?;
                cuts.fetch_add(done, Ordering::Relaxed);
                Ok(())
            });
            result.unwrap_or_else(|flaw| panic!("STORE_SEED={seed}: {flaw}"));
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get().min(4));
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        for thread in threads {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
    let cuts = cuts.into_inner();
    let last = next.into_inner() - 1;
    println!(
        "STORE_SEED={first}, to {last}: {cuts} cuts in {:.1?}",
        started.elapsed()
    );
    assert!(cuts >= wanted);
}

/// Each kind of sync that the store makes. Without any one of them a cut loses something.
const SYNCS: [&str; 7] = [
    "log/0",
    "log/unfinished",
    "folder log",
    "bodies/0",
    "folder bodies",
    "folder ",
    "index.redb",
];

/// D1: the rig itself. Whichever sync is left out, it finds a store that has lost something.
#[test]
fn d1_a_missing_sync_is_noticed() {
    let first = first_seed();
    for ignored in SYNCS {
        let plan = Plan {
            ignored_syncs: Some(ignored),
            ..Plan::default()
        };
        let mut cuts = 0;
        let mut flaw = None;
        let mut seed = first;
        while flaw.is_none() && cuts < 20_000 {
            let result = cut_everywhere(seed, &plan, |cut, allowed| {
                cuts += judge_safely(seed, &plan, cut, allowed)?;
                Ok(())
            });
            flaw = result.err().map(|flaw| (seed, flaw));
            seed += 1;
        }
        match flaw {
            Some((seed, flaw)) => {
                println!("without syncs of {ignored}: STORE_SEED={seed}, after {cuts} cuts: {flaw}");
            }
            None => panic!("STORE_SEED={first}: nothing was lost without syncs of {ignored} in {cuts} cuts"),
        }
    }
}

/// One call fails. What was refused is not there, what was answered is; when the store stops, nothing more is written,
/// and after it is opened again it holds all that was acknowledged, and of the last batch all or nothing.
fn fail_at(seed: u64, call: u64, kind: ErrorKind) -> Result<bool, String> {
    let sim = Sim::new(seed);
    sim.plan(Plan {
        fail_at: Some((call, kind)),
        ..Plan::default()
    });
    let mut known = Known::new(seed);
    // The call that fails is over: the next start finds what there is.
    let mut direct = Direct::open(&sim)
        .or_else(|_| Direct::open(&sim))
        .map_err(|error| error.to_string())?;
    let mut sim = sim;
    let mut has_stopped = false;
    for number in 0..FAIL_STEPS {
        let before = known.clone();
        if let Outcome::Stopped = known.step(&mut direct, true)? {
            // D8: whatever the disk says now.
            if !matches!(direct.ask(crate::request::Pulse), Err(StoreError::Stopped { .. })) {
                return Err("it wrote on".to_owned());
            }
            has_stopped = true;
            drop(direct);
            if call.is_multiple_of(2) {
                sim = sim.reboot(call);
            }
            let after = before.after_next();
            (direct, known) = open(
                &sim,
                &Allowed {
                    before: &before,
                    after: Some(&after),
                },
            )?;
            known.all_look(&direct)?;
        }
        upkeep(&mut direct, seed, number);
    }
    let rebooted = sim.reboot(call);
    drop(direct);
    let shown = Allowed {
        before: &known,
        after: None,
    };
    let (direct, mut known) = open(&rebooted, &shown)?;
    known.all_look(&direct)?;
    direct.check();
    Ok(has_stopped)
}

const FAIL_STEPS: u64 = 10;

fn fail_everywhere(kind: ErrorKind) {
    let seed = first_seed();
    let calls = {
        let sim = Sim::new(seed);
        let mut known = Known::new(seed);
        let mut direct = Direct::open(&sim).unwrap();
        for number in 0..FAIL_STEPS {
            known.step(&mut direct, false).unwrap();
            upkeep(&mut direct, seed, number);
        }
        sim.counted().calls
    };
    let mut stopped = 0;
    for call in 1..=calls {
        match fail_at(seed, call, kind) {
            Ok(has_stopped) => stopped += usize::from(has_stopped),
            Err(flaw) => panic!("STORE_SEED={seed}, {kind} at call {call}: {flaw}"),
        }
    }
    println!("STORE_SEED={seed}, {kind}: {calls} calls failed, {stopped} stopped the writer");
}

/// D8: errors, and writes that end short.
#[test]
fn d8_the_store_holds_what_the_model_says_whichever_call_fails() {
    fail_everywhere(ErrorKind::Other);
}

/// D9
#[test]
fn d9_the_store_holds_what_the_model_says_whichever_call_finds_no_room() {
    fail_everywhere(ErrorKind::StorageFull);
}
