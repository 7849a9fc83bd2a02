//! The promises about the clock: D13 (no battery), D14 (jumps).

use proptest::prelude::*;

use super::keeper::{Bounds, Keeper, Now, Order, Refusal, Remark};
use super::trouble;
use crate::trouble::Trouble;

const DAY: u64 = 86_400_000;
const YEAR: u64 = 365 * DAY;
/// 2026-11-24.
const BUILD_S: u64 = 1_795_478_400;
const BUILD: u64 = BUILD_S * 1000;

fn at(unix_ms: u64, boot_ms: u64) -> Now {
    Now { unix_ms, boot_ms }
}

fn keeper(found_ms: u64) -> Keeper {
    Keeper::new(Bounds::new(BUILD_S), found_ms)
}

fn by(from_ms: u64, to_ms: u64) -> i64 {
    i64::try_from(to_ms).unwrap_or_default() - i64::try_from(from_ms).unwrap_or_default()
}

/// A keeper that was synced with the right time, and the right time.
fn synced() -> (Keeper, Now) {
    let now = at(BUILD + 10 * DAY, 60_000);
    let mut keeper = keeper(now.unix_ms);
    assert_eq!(keeper.sample(now.unix_ms, 60_000, now), Ok(Order::Keep));
    assert!(keeper.is_synced(60_000));
    (keeper, now)
}

#[test]
fn a_box_that_wakes_in_1970_begins_with_the_date_of_its_firmware() {
    let keeper = keeper(5_000);
    assert_eq!(keeper.start(at(5_000, 100)), Order::Step(by(5_000, BUILD)));
    assert!(!keeper.is_synced(100));
}

#[test]
fn a_box_that_wakes_behind_its_ceiling_begins_with_the_date_of_its_firmware() {
    let found = BUILD + 16 * YEAR;
    assert_eq!(keeper(found).start(at(found, 100)), Order::Step(by(found, BUILD)));
}

#[test]
fn a_clock_with_a_battery_is_left_as_it_is_and_what_was_written_down_is_not_asked() {
    let found = BUILD + 3 * DAY;
    let keeper = keeper(found);
    assert_eq!(keeper.start(at(found, 100)), Order::Keep);
    assert_eq!(keeper.remembers(found + DAY, at(found, 200)), Order::Keep);
}

#[test]
fn without_a_battery_the_time_written_down_last_is_where_to_begin() {
    let keeper = keeper(0);
    let now = at(BUILD, 1_000);
    assert_eq!(
        keeper.remembers(BUILD + DAY, now),
        Order::Step(by(BUILD, BUILD + DAY))
    );
    // Not backwards, and not outside.
    assert_eq!(keeper.remembers(BUILD - DAY, now), Order::Keep);
    assert_eq!(keeper.remembers(BUILD, now), Order::Keep);
    assert_eq!(keeper.remembers(BUILD + 20 * YEAR, now), Order::Keep);
    assert_eq!(keeper.remembers(u64::MAX, now), Order::Keep);
}

#[test]
fn a_forged_time_that_was_written_down_does_not_outlive_the_first_honest_answer() {
    // Somebody lied the box into 2036, and that was written down.
    let mut keeper = keeper(0);
    let lied = BUILD + 10 * YEAR;
    assert_eq!(
        keeper.remembers(lied, at(BUILD, 1_000)),
        Order::Step(by(BUILD, lied))
    );
    let honest = BUILD + 30 * DAY;
    assert_eq!(
        keeper.sample(honest, 2_000, at(lied + 1_000, 2_000)),
        Ok(Order::Step(by(lied + 1_000, honest)))
    );
    assert!(keeper.is_synced(2_000));
    // From here on what was written down has nothing to say.
    assert_eq!(keeper.remembers(lied, at(honest, 3_000)), Order::Keep);
}

#[test]
fn the_first_time_that_is_heard_sets_the_clock_however_far_it_is_off() {
    for far in [600, DAY, 2 * DAY, 9 * YEAR] {
        let mut keeper = keeper(BUILD + 5);
        let now = at(BUILD + 5, 1_000);
        assert_eq!(
            keeper.sample(BUILD + 5 + far, 1_000, now),
            Ok(Order::Step(by(0, far)))
        );
        assert_eq!(keeper.remark(now), None, "{far}");
    }
}

#[test]
fn what_is_half_a_second_off_is_slewed_and_what_is_more_is_set() {
    let (mut keeper, now) = synced();
    let mut check = |round: u64, distance_ms: i64, expected| {
        let now = at(now.unix_ms + round * 10_000, now.boot_ms + round * 10_000);
        let theirs_ms = now.unix_ms.saturating_add_signed(distance_ms);
        assert_eq!(
            keeper.sample(theirs_ms, now.boot_ms, now),
            Ok(expected),
            "{theirs_ms}"
        );
    };
    check(1, 500, Order::Slew(500));
    check(2, -500, Order::Slew(-500));
    check(3, 501, Order::Step(501));
    check(4, -86_400_000, Order::Step(-86_400_000));
}

#[test]
fn a_time_is_reckoned_on_to_now() {
    let mut keeper = keeper(BUILD + 5);
    let now = at(BUILD + 100_000, 50_000);
    assert_eq!(keeper.sample(BUILD + 97_000, 47_000, now), Ok(Order::Keep));
    let next = at(BUILD + 200_000, 150_000);
    assert_eq!(keeper.sample(BUILD + 197_040, 147_000, next), Ok(Order::Slew(40)));
}

#[test]
fn what_follows_too_soon_changes_nothing() {
    let (mut keeper, now) = synced();
    for soon in 0..100 {
        let now = at(now.unix_ms + soon * 99, now.boot_ms + soon * 99);
        assert_eq!(
            keeper.sample(now.unix_ms + 5_000, now.boot_ms, now),
            Ok(Order::Keep)
        );
    }
    assert_eq!(keeper.refused(), 0);
    let next = at(now.unix_ms + 10_000, now.boot_ms + 10_000);
    assert_eq!(
        keeper.sample(next.unix_ms + 5_000, next.boot_ms, next),
        Ok(Order::Step(5_000))
    );
}

#[test]
fn times_that_cannot_be_are_refused_and_counted_and_change_nothing() {
    let (mut keeper, now) = synced();
    let mut check = |unix_ms, boot_ms, refusal| {
        assert_eq!(
            keeper.sample(unix_ms, boot_ms, now),
            Err(refusal),
            "{unix_ms} {boot_ms}"
        );
    };
    check(BUILD - 1, now.boot_ms, Refusal::Bounds);
    check(0, now.boot_ms, Refusal::Bounds);
    check(BUILD + 16 * YEAR, now.boot_ms, Refusal::Bounds);
    check(u64::MAX, now.boot_ms, Refusal::Bounds);
    check(now.unix_ms, now.boot_ms + 1, Refusal::Age);
    check(now.unix_ms, now.boot_ms - 10_001, Refusal::Age);
    check(now.unix_ms, 0, Refusal::Age);
    assert_eq!(keeper.refused(), 7);
    assert!(keeper.is_synced(now.boot_ms));
    assert_eq!(keeper.remark(now), None);
}

#[test]
fn ten_years_at_once_need_two_rounds_that_agree_and_are_told() {
    let (mut keeper, before) = synced();
    let now = at(before.unix_ms + 60_000, before.boot_ms + 60_000);
    let far = 10 * YEAR;
    assert_eq!(
        keeper.sample(now.unix_ms + far, now.boot_ms, now),
        Ok(Order::Keep)
    );
    let doubted = Remark::Doubted {
        theirs_ms: now.unix_ms + far,
    };
    assert_eq!(keeper.remark(now), Some(doubted));
    assert!(!keeper.is_synced(now.boot_ms), "the clock is in doubt");
    assert!(matches!(
        trouble(&keeper, true, now),
        Some(Trouble::TimeDoubted { .. })
    ));

    // The same round, heard by another card as well.
    let soon = at(now.unix_ms + 1_000, now.boot_ms + 1_000);
    assert_eq!(
        keeper.sample(soon.unix_ms + far, soon.boot_ms, soon),
        Ok(Order::Keep)
    );

    let next = at(now.unix_ms + 60_000, now.boot_ms + 60_000);
    assert_eq!(
        keeper.sample(next.unix_ms + far + 900, next.boot_ms, next),
        Ok(Order::Step(by(0, far + 900)))
    );
    let to = next.unix_ms + far + 900;
    let stepped = Remark::Stepped {
        from_ms: next.unix_ms,
        to_ms: to,
    };
    assert_eq!(keeper.remark(at(to, next.boot_ms)), Some(stepped));
    assert!(keeper.is_synced(next.boot_ms));
    // A day later that is no news any more.
    assert_eq!(keeper.remark(at(to + DAY, next.boot_ms + DAY)), None);

    // And back, by the same way.
    let lied = at(to + 60_000, next.boot_ms + 60_000);
    let honest = next.unix_ms + 60_000;
    assert_eq!(keeper.sample(honest, lied.boot_ms, lied), Ok(Order::Keep));
    let again = at(lied.unix_ms + 60_000, lied.boot_ms + 60_000);
    assert_eq!(
        keeper.sample(honest + 60_000, again.boot_ms, again),
        Ok(Order::Step(by(again.unix_ms, honest + 60_000)))
    );
}

#[test]
fn rounds_that_disagree_confirm_nothing() {
    let (mut keeper, now) = synced();
    for round in 1..20_u64 {
        let now = at(now.unix_ms + round * 60_000, now.boot_ms + round * 60_000);
        let lie = now.unix_ms + 2 * DAY + round * 10_000;
        assert_eq!(keeper.sample(lie, now.boot_ms, now), Ok(Order::Keep));
    }
}

#[test]
fn one_honest_round_ends_the_doubt() {
    let (mut keeper, before) = synced();
    let now = at(before.unix_ms + 60_000, before.boot_ms + 60_000);
    assert_eq!(
        keeper.sample(now.unix_ms + 2 * DAY, now.boot_ms, now),
        Ok(Order::Keep)
    );
    assert!(keeper.remark(now).is_some());
    let next = at(now.unix_ms + 60_000, now.boot_ms + 60_000);
    assert_eq!(keeper.sample(next.unix_ms, next.boot_ms, next), Ok(Order::Keep));
    assert!(keeper.is_synced(next.boot_ms));
    assert_eq!(keeper.remark(next), None);
    // The lie begins from the first round again.
    let last = at(now.unix_ms + 120_000, now.boot_ms + 120_000);
    assert_eq!(
        keeper.sample(last.unix_ms + 2 * DAY, last.boot_ms, last),
        Ok(Order::Keep)
    );
}

#[test]
fn a_clock_that_nobody_confirms_is_trusted_for_a_day() {
    let (keeper, now) = synced();
    let end_ms = now.boot_ms + DAY;
    assert!(keeper.is_synced(end_ms - 1));
    assert!(!keeper.is_synced(end_ms));
    assert_eq!(keeper.deadline_ms(now.boot_ms), Some(end_ms));
    assert_eq!(keeper.deadline_ms(end_ms), None);
    let then = at(now.unix_ms + DAY, end_ms);
    assert_eq!(trouble(&keeper, true, then), Some(Trouble::NoTime(0)));
    assert_eq!(
        trouble(&keeper, false, then),
        None,
        "without a network that is told"
    );
}

#[test]
fn the_page_is_patient_with_the_time_servers() {
    let keeper = keeper(BUILD + 1);
    assert_eq!(trouble(&keeper, true, at(BUILD + 1, 899_999)), None);
    assert_eq!(
        trouble(&keeper, true, at(BUILD + 1, 900_000)),
        Some(Trouble::NoTime(0))
    );
}

#[test]
fn a_firmware_without_a_date_has_no_bounds_that_would_stop_a_clock() {
    let bounds = Bounds::new(0);
    assert!(bounds.has(BUILD) && bounds.has(0) && !bounds.has(u64::MAX));
    assert!(Bounds::new(u64::MAX).has(handoff::UNIX_MS_MAX));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// Whatever is told, the clock stays between floor and ceiling, goes back or on by more than a day only for two
    /// rounds (after the first time), and nothing overflows.
    #[test]
    fn no_sequence_of_times_takes_the_clock_out_of_its_bounds(
        found in prop_oneof![Just(0), BUILD - 2 * DAY..BUILD + 16 * YEAR, 0..1_u64 << 62],
        told in prop::collection::vec(
            (prop_oneof![BUILD - DAY..BUILD + 16 * YEAR, any::<u64>()], 0..20_000_u64, 0..100_000_u64),
            0..12,
        ),
    ) {
        let bounds = Bounds::new(BUILD_S);
        let mut keeper = Keeper::new(bounds, found);
        let mut now = at(found, 1_000);
        let obey = |now: &mut Now, order| match order {
            Order::Keep | Order::Slew(_) => {}
            Order::Step(by) => now.unix_ms = now.unix_ms.saturating_add_signed(by),
        };
        let order = keeper.start(now);
        obey(&mut now, order);
        prop_assert!(bounds.has(now.unix_ms));
        let mut large = 0_u32;
        let mut has_heard = false;
        for (unix_ms, age_ms, pause_ms) in told {
            now = at(now.unix_ms + pause_ms, now.boot_ms + pause_ms);
            let before = now.unix_ms;
            let told = keeper.sample(unix_ms, now.boot_ms.saturating_sub(age_ms), now);
            if let Ok(order) = told {
                obey(&mut now, order);
                if let Order::Slew(by) = order {
                    prop_assert!(by.unsigned_abs() <= 500);
                }
                if matches!(order, Order::Step(_)) {
                    prop_assert!(bounds.has(now.unix_ms));
                    if now.unix_ms.abs_diff(before) > DAY && has_heard {
                        large += 1;
                        let is_told = matches!(keeper.remark(now), Some(Remark::Stepped { .. }));
                        prop_assert!(is_told);
                    }
                }
                has_heard |= keeper.is_synced(now.boot_ms);
            }
        }
        // Random times of sixteen years do not agree within two seconds.
        prop_assert!(large <= 1);
    }
}
