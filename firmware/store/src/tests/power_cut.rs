//! The power is cut at every write and at every sync of a course with every kind of request.
//!
//! What is compared is the store with itself: after a cut it is as it was in the undisturbed course before the batch under
//! way, or after it. (`model` compares it with what IMAP says.)

use super::model::first_seed;
use super::workload::*;
use super::*;
use crate::storage::sim::{Cut, Plan, Sim};

const STEPS: u64 = 24;

/// Opens what a cut left. Everything acknowledged is there, and nothing by halves.
fn judge(sim: &Sim, before: &State, after: &State) -> Result<Direct, String> {
    let direct = Direct::open(sim).map_err(|error| error.to_string())?;
    if !direct.opened.damage.is_empty() {
        return Err(format!("{:?}", direct.opened.damage));
    }
    let state = direct.state();
    if state != *before && state != *after {
        return Err("neither state is found".to_owned());
    }
    Ok(direct)
}

/// A cut in the course, after which the store is as `before` the step or `after` it.
fn judge_and_go_on(seed: u64, cut: &Cut, before: &State, after: &State) -> Result<(), String> {
    let mut direct = judge(&cut.reboot(seed ^ cut.call), before, after)?;
    direct.check();
    let state = direct.state();

    // Cut again while it starts again: what was shown once is there ever after.
    drop(direct);
    let again = cut.reboot(seed ^ cut.call);
    again.plan(Plan {
        cut_at: Some(1 + cut.call % 20),
        ..Plan::default()
    });
    let _ = Direct::open(&again);
    direct = judge(&again.reboot(cut.call), &state, &state)?;

    // And it goes on: nothing is given twice.
    if direct.view().is_claimed().unwrap() {
        let next = direct.view().status(MailboxId(1)).unwrap().uid_next;
        let deliver = direct
            .delivery(&[AccountId(1)], b"after")
            .map_err(|error| error.to_string())?;
        let delivered = direct.ask(deliver).map_err(|error| error.to_string())?;
        if u64::from(delivered[0].uid.get()) < next {
            return Err("a UID was given twice".to_owned());
        }
        direct.check();
    }
    Ok(())
}

/// A cut in the very first start: there is no store yet, or a new one, perhaps with another identity.
fn judge_new(seed: u64, cut: &Cut) -> Result<(), String> {
    let direct = Direct::open(&cut.reboot(seed ^ cut.call)).map_err(|error| error.to_string())?;
    if !direct.opened.damage.is_empty() || direct.view().is_claimed().unwrap() {
        return Err("the store is not new".to_owned());
    }
    direct.check();
    Ok(())
}

fn cut_everywhere(seed: u64) {
    let sim = Sim::new(seed);
    sim.plan(Plan {
        keeps_cuts: true,
        ..Plan::default()
    });
    let judge_all = |judge: &dyn Fn(&Cut) -> Result<(), String>| {
        let cuts = sim.take_cuts();
        for cut in &cuts {
            judge(cut).unwrap_or_else(|flaw| panic!("STORE_SEED={seed}, cut at call {}: {flaw}", cut.call));
        }
        cuts.len()
    };
    let mut direct = Direct::open(&sim).unwrap();
    let mut cuts = judge_all(&|cut| judge_new(seed, cut));
    let mut before = direct.state();
    for number in 0..STEPS {
        step(&mut direct, seed, number).unwrap();
        let after = direct.state();
        cuts += judge_all(&|cut| judge_and_go_on(seed, cut, &before, &after));
        before = after;
    }
    println!("STORE_SEED={seed}: {cuts} cuts, and one more in each start after");
}

/// D1, D2, D3, D5, D7
#[test]
fn d1_what_was_acknowledged_survives_a_cut_at_every_write_and_sync() {
    let first = first_seed();
    for seed in first..first + 3 {
        cut_everywhere(seed);
    }
}
