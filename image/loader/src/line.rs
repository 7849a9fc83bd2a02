//! What the loader says of each event: one line.

use core::fmt;

use format::boot::{Attempt, Event};
use format::bootstate::{Copy, TRIES};
use format::line::Words;
use format::{Header, Refusal};

/// An event, with what is known beside it.
pub(crate) struct Line<'a> {
    pub(crate) event: Event,
    /// The header of what was loaded last.
    pub(crate) header: Option<&'a Header>,
    /// Why the slot that was looked at last was refused, more exactly than a fault says it.
    pub(crate) refusal: Option<Refusal>,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.event {
            Event::CopyTorn(Copy::First) => {
                to.write_str("the first copy of the bootstate is damaged, the second is used.")
            }
            Event::CopyTorn(Copy::Second) => {
                to.write_str("the second copy of the bootstate is damaged, the first is used.")
            }
            Event::BootstateLost => to.write_str(
                "BOTH COPIES OF THE BOOTSTATE ARE LOST. What is whole and has the higher version is started.",
            ),
            Event::PassedOver(slot, fault) => {
                write!(to, "slot {slot} {fault}")?;
                match self.refusal {
                    // These have no more to tell than the fault.
                    None | Some(Refusal::Empty | Refusal::Board) => to.write_str("."),
                    Some(refusal) => write!(to, ": {refusal}."),
                }
            }
            Event::NotCounted(slot) => write!(
                to,
                "slot {slot} is on trial and its try could not be written down: the other is preferred."
            ),
            Event::Starting(slot, attempt) => {
                write!(to, "slot {slot}")?;
                if let Some(header) = self.header {
                    write!(to, ", {}", Words(&header.name))?;
                }
                match attempt {
                    Attempt::Good => {}
                    Attempt::Trial(number) => write!(to, ", try {number} of {TRIES}")?,
                    Attempt::Uncounted => to.write_str(", not counted")?,
                }
                if self
                    .header
                    .is_some_and(|header| header.certificate.is_development)
                {
                    to.write_str(", DEVELOPMENT KEY")?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use format::header::{About, Part, Parts};
    use format::{Fault, SigningKey, Slot};

    use super::*;

    fn header(is_development: bool) -> Header {
        let about = About {
            boards: 1,
            version: 7,
            min_from: 0,
            loader_min: 1,
            built: 0,
            name: "0.1.0 (abc1234)",
        };
        let parts = Parts {
            kernel: 1,
            cpio: 1,
            command_line: 0,
        };
        let certificate = SigningKey::from_seed([1; 32]).certify([2; 32], 1, is_development);
        Header::unsigned(about, parts, certificate).expect("the name is short and plain")
    }

    fn check(event: Event, header: Option<&Header>, refusal: Option<Refusal>, expected: &str) {
        let line = Line {
            event,
            header,
            refusal,
        };
        assert_eq!(line.to_string(), expected);
    }

    #[test]
    fn what_is_started_is_named() {
        let starting = |attempt, is_development, expected: &str| {
            check(
                Event::Starting(Slot::A, attempt),
                Some(&header(is_development)),
                None,
                expected,
            );
        };
        starting(Attempt::Good, false, "slot A, 0.1.0 (abc1234)");
        starting(Attempt::Trial(2), false, "slot A, 0.1.0 (abc1234), try 2 of 3");
        starting(
            Attempt::Uncounted,
            true,
            "slot A, 0.1.0 (abc1234), not counted, DEVELOPMENT KEY",
        );
    }

    #[test]
    fn what_is_passed_over_is_named_with_why() {
        let passed = |fault, refusal, expected: &str| {
            check(Event::PassedOver(Slot::B, fault), None, refusal, expected);
        };
        passed(
            Fault::Hash,
            Some(Refusal::Hash(Part::Kernel)),
            "slot B is damaged: an octet near its kernel is not as it was signed.",
        );
        passed(
            Fault::Signature,
            Some(Refusal::Untrusted),
            "slot B is not genuine: nobody whom this box trusts vouches for its key.",
        );
        passed(Fault::Empty, Some(Refusal::Empty), "slot B is empty.");
        passed(
            Fault::TriesSpent,
            None,
            "slot B was tried as often as allowed and never came up.",
        );
    }
}
