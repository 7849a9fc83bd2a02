//! What people are told about the slot that was passed over. Pure.

use format::bootstate::TRIES;
use format::{Fault, Slot, State};

/// Why the other slot does not run, if there is anything to say; `running` and `other` are versions, as far as known.
pub(crate) fn fallback(state: &State, slot: Slot, running: u64, other: Option<u64>) -> Option<[String; 2]> {
    let fault = state.slot(slot.other()).fault?;
    let subject = other.map_or_else(
        || format!("Slot {}", slot.other()),
        |version| format!("Version {version}"),
    );
    match fault {
        // An update that was cut off: the other slot is filled from the one that runs, and that is told then.
        Fault::Empty => None,
        Fault::TriesSpent => Some([
            format!("{subject} did not come up (it was tried {TRIES} times); version {running} runs."),
            "The mail is as it was. Install a later version when there is one.".to_owned(),
        ]),
        Fault::Load => Some([
            format!("{subject} could not be started by the firmware; version {running} runs."),
            "The mail is as it was. Install a later version when there is one.".to_owned(),
        ]),
        fault => Some([
            format!("{subject} {fault}; version {running} runs."),
            "The box repairs it by itself. If this comes again, replace the card.".to_owned(),
        ]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(fault: Option<Fault>, other: Option<u64>) -> Option<[String; 2]> {
        let mut state = State::flashed();
        state.slot_mut(Slot::B).fault = fault;
        fallback(&state, Slot::A, 11, other)
    }

    fn check(fault: Fault, other: Option<u64>, expected: &str) {
        assert_eq!(
            told(Some(fault), other).map(|[what, _]| what).as_deref(),
            Some(expected)
        );
    }

    #[test]
    fn d24_a_version_that_did_not_come_up_is_named_with_the_one_that_runs() {
        check(
            Fault::TriesSpent,
            Some(12),
            "Version 12 did not come up (it was tried 3 times); version 11 runs.",
        );
        check(
            Fault::TriesSpent,
            None,
            "Slot B did not come up (it was tried 3 times); version 11 runs.",
        );
        check(Fault::Hash, None, "Slot B is damaged; version 11 runs.");
        check(
            Fault::Board,
            Some(12),
            "Version 12 is for another board; version 11 runs.",
        );
    }

    #[test]
    fn nothing_is_told_where_nothing_is_wrong() {
        assert_eq!(told(None, Some(11)), None);
        assert_eq!(told(Some(Fault::Empty), None), None);
    }

    #[test]
    fn each_story_fits_two_lines_of_the_console() {
        let faults = [
            Fault::Signature,
            Fault::Hash,
            Fault::Board,
            Fault::Loader,
            Fault::Epoch,
            Fault::Version,
            Fault::Unreadable,
            Fault::Load,
            Fault::TriesSpent,
        ];
        for fault in faults {
            for line in told(Some(fault), Some(9999)).unwrap_or_default() {
                assert!(line.len() <= 78 && line.ends_with('.'), "{line}");
            }
        }
    }
}
