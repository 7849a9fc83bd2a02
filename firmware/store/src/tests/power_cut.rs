//! The power is cut at every write and at every sync.

use super::workload::*;
use super::*;
use crate::storage::sim::{Plan, Sim};

const STEPS: u64 = 24;

/// Runs the course until the power goes in call `cut_at`. Returns how many steps were acknowledged, and
/// the disk.
fn run_until_cut(seed: u64, plan: Plan) -> (Option<usize>, Sim) {
    let sim = Sim::new(seed);
    sim.plan(plan);
    let Ok(mut direct) = Direct::open(&sim) else {
        return (None, sim);
    };
    let mut done = 0;
    for number in 0..STEPS {
        let result = step(&mut direct, seed, number);
        // A step ends with a checkpoint at times; that one failing takes nothing back.
        if result.is_err() {
            break;
        }
        done += 1;
    }
    (Some(done), sim)
}

/// Whether the store found on `sim` is the one after `done` steps, or after the one that was under way:
/// everything acknowledged, and nothing by halves.
fn judge(sim: &Sim, states: &[State], done: Option<usize>) -> Result<Direct, String> {
    let open = std::panic::AssertUnwindSafe(|| Direct::open(sim).map_err(|error| error.to_string()));
    let direct = std::panic::catch_unwind(open).map_err(|_| "it does not open".to_owned())??;
    if !direct.opened.damage.is_empty() {
        return Err(format!("{:?}", direct.opened.damage));
    }
    let state = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| direct.state()))
        .map_err(|_| "a message cannot be read".to_owned())?;
    let Some(done) = done else {
        // It was never open: there may be no store yet, or a new one with another identity.
        return if direct.view().is_claimed().unwrap() {
            Err("claimed by nobody".to_owned())
        } else {
            Ok(direct)
        };
    };
    if state != states[done] && states.get(done + 1) != Some(&state) {
        return Err(format!("after {done} steps neither state is found"));
    }
    Ok(direct)
}

fn cut_everywhere(seed: u64) {
    let (states, calls) = undisturbed(seed, STEPS);
    let cuts = *calls.last().unwrap();
    println!("seed {seed}: {cuts} cuts, and one more in each start after");
    for cut_at in 1..=cuts {
        let (done, cut) = run_until_cut(
            seed,
            Plan {
                cut_at: Some(cut_at),
                ..Plan::default()
            },
        );
        let rebooted = cut.reboot(seed ^ cut_at);
        let mut direct = judge(&rebooted, &states, done)
            .unwrap_or_else(|flaw| panic!("seed {seed}, cut at call {cut_at}: {flaw}"));
        direct.check();
        let state = direct.state();

        // Cut again while it starts again: what was shown once is there ever after.
        drop(direct);
        let again = cut.reboot(seed ^ cut_at);
        again.plan(Plan {
            cut_at: Some(1 + cut_at % 20),
            ..Plan::default()
        });
        let _ = Direct::open(&again);
        direct = Direct::open(&again.reboot(cut_at)).unwrap();
        if done.is_none() {
            // There was no store to lose.
            continue;
        }
        assert_eq!(
            direct.state(),
            state,
            "seed {seed}, cut at call {cut_at} and in the start after"
        );

        // And it goes on: nothing is given twice.
        if done.is_some_and(|done| done > 0) {
            let before = direct.view().status(MailboxId(1)).unwrap();
            let deliver = direct.delivery(&[AccountId(1)], b"after").unwrap();
            let uid = u64::from(direct.ask(deliver).unwrap()[0].uid.get());
            assert!(uid >= before.uid_next);
            direct.check();
        }
    }
}

/// D1, D2, D3, D5, D7
#[test]
fn d1_what_was_acknowledged_survives_a_cut_at_every_write_and_sync() {
    for seed in seeds(2) {
        cut_everywhere(seed);
    }
}

/// Some fixed seeds and, so that each run sees others, one of the day. `STORE_SEED` repeats one.
fn seeds(fixed: u64) -> Vec<u64> {
    if let Some(seed) = std::env::var("STORE_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
    {
        return vec![seed];
    }
    let day = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() / 86_400;
    (1..=fixed).chain([day]).collect()
}

/// How many cuts show that something is missing when syncs of these names do nothing: at once, or when
/// the power is cut again after the start that followed.
fn flaws_without_syncs_of(prefix: &'static str) -> usize {
    let seed = 1;
    let plan = Plan {
        ignored_syncs: Some(prefix),
        ..Plan::default()
    };
    let (states, calls) = undisturbed(seed, STEPS);
    let is_flawed = |cut_at: &u64| {
        let (done, cut) = run_until_cut(
            seed,
            Plan {
                cut_at: Some(*cut_at),
                ..plan.clone()
            },
        );
        let rebooted = cut.reboot(seed ^ cut_at);
        rebooted.plan(plan.clone());
        let Ok(direct) = judge(&rebooted, &states, done) else {
            return true;
        };
        let state = direct.state();
        drop(direct);
        match judge(&rebooted.reboot(*cut_at), &states, done) {
            Ok(direct) => done.is_some() && direct.state() != state,
            Err(_) => true,
        }
    };
    (1..=*calls.last().unwrap()).filter(is_flawed).count()
}

/// D1: the rig itself. Without any one of the syncs it finds a store that has lost something.
#[test]
fn d1_a_missing_sync_is_noticed() {
    for prefix in [
        "log/0",
        "log/unfinished",
        "folder log",
        "bodies/0",
        "folder bodies",
        "index.redb",
    ] {
        let flaws = flaws_without_syncs_of(prefix);
        println!("without syncs of {prefix}: {flaws} cuts lose something");
        assert!(flaws > 0, "nothing was lost without syncs of {prefix}");
    }
}
