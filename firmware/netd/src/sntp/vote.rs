//! Which of several servers are right.
//!
//! Each server stands for one offset: Unix time minus the time since boot, both in milliseconds.

/// Two servers agree when they are no further apart. An honest server may be wrong by half the delay that is taken from it
/// (500 ms), in either direction. What a mail server needs is the second.
pub(super) const AGREEMENT_MS: i64 = 1_000;

/// The offset on which at least `quorum` of the servers agree, if there is one: the middle one of the largest group that
/// lies within `AGREEMENT_MS`, and of groups equally large the narrowest.
///
/// The middle of a group is never further out than the honest ones in it, as long as they are more than the liars in it: a
/// liar is either outside, and then not the middle, or between two honest ones. So a single liar among four moves the clock
/// to nowhere that an honest server alone would not have put it.
pub(super) fn agreed(mut offsets: Vec<i64>, quorum: usize) -> Option<i64> {
    offsets.sort_unstable();
    let quorum = quorum.max(1);
    let mut groups = (quorum..=offsets.len())
        .rev()
        .map(|size| offsets.windows(size).filter(|group| width(group) <= AGREEMENT_MS));
    let best = groups.find_map(|of_size| of_size.min_by_key(|group| width(group)))?;
    let upper = *best.get(best.len() / 2)?;
    let lower = *best.get((best.len() - 1) / 2)?;
    // Their distance is at most AGREEMENT_MS.
    Some(lower + (upper - lower) / 2)
}

fn width(group: &[i64]) -> i64 {
    match group {
        [first, .., last] => last.saturating_sub(*first),
        _ => 0,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn check(offsets: &[i64], quorum: usize, expected: Option<i64>) {
        assert_eq!(agreed(offsets.to_vec(), quorum), expected, "{offsets:?}");
    }

    #[test]
    fn four_that_agree_give_the_middle() {
        check(&[100, 120, 90, 400], 3, Some(110));
        check(&[0, 0, 0, 0], 3, Some(0));
    }

    #[test]
    fn one_liar_of_four_is_outvoted_wherever_he_lies() {
        for lie in [i64::MIN, -86_400_000, -1_001, 1_101, 86_400_000, i64::MAX] {
            check(&[0, lie, 100, 50], 3, Some(50));
        }
    }

    #[test]
    fn two_liars_of_four_give_nothing_even_when_they_agree() {
        check(&[0, 50, 5_000, 5_050], 3, None);
        check(&[0, 50, 5_000, -5_000], 3, None);
    }

    #[test]
    fn three_of_three_have_to_agree_and_two_are_too_few() {
        check(&[0, 50, 100], 3, Some(50));
        check(&[0, 50, 1_001], 3, None);
        check(&[0, 0], 3, None);
        check(&[], 3, None);
        check(&[], 0, None);
    }

    #[test]
    fn one_and_two_servers_of_the_network_have_to_agree() {
        check(&[7], 1, Some(7));
        check(&[0, 1_000], 2, Some(500));
        check(&[0, 1_001], 2, None);
    }

    #[test]
    fn of_two_groups_the_narrower_counts() {
        check(&[0, 900, 1_000, 1_850], 3, Some(1_000));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        /// Three honest servers, each wrong by up to 500 ms, and a liar: the result lies among the honest ones.
        #[test]
        fn a_liar_never_moves_the_clock_out_of_the_honest_range(
            truth in -4_000_000_000_000_i64..4_000_000_000_000,
            errors in vec(-500_i64..=500, 3),
            lie in prop_oneof![-3_000_i64..3_000, -1_000_000_000_000_i64..1_000_000_000_000],
            at in 0..4_usize,
        ) {
            let honest: Vec<i64> = errors.iter().map(|error| truth + error).collect();
            let mut offsets = honest.clone();
            offsets.insert(at, truth + lie);
            let result = agreed(offsets, 3).unwrap();
            prop_assert!(honest.iter().min().unwrap() <= &result);
            prop_assert!(&result <= honest.iter().max().unwrap());
        }

        /// Two liars who know each other, further away than an agreement reaches.
        #[test]
        fn two_liars_never_win(
            truth in -4_000_000_000_000_i64..4_000_000_000_000,
            errors in vec(-500_i64..=500, 4),
            lie in 2_001_i64..1_000_000_000_000,
            is_ahead in any::<bool>(),
        ) {
            let lie = if is_ahead { lie } else { -lie };
            let offsets = vec![
                truth + errors[0],
                truth + lie + errors[1],
                truth + errors[2],
                truth + lie + errors[3],
            ];
            prop_assert_eq!(agreed(offsets, 3), None);
        }

        #[test]
        fn any_offsets_are_taken(offsets in vec(any::<i64>(), 0..6), quorum in 0..6_usize) {
            if let Some(result) = agreed(offsets.clone(), quorum) {
                let near = offsets.iter().filter(|offset| offset.abs_diff(result) <= 1_000).count();
                prop_assert!(near >= quorum);
            }
        }
    }
}
