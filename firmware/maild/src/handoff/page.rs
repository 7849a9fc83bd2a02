//! maild's lines on the console page.

use crate::house::House;
use handoff::{ConsoleLine, FromMaild, Status};
use std::time::Duration;
use tokio::time::Instant;

/// Each new status is a page on the console: on a box where mail comes all the time, so far apart.
const GAP: Duration = Duration::from_secs(60);

/// What the page shows of ours.
pub(super) struct Page {
    shown: String,
    /// Not before then does it change by itself.
    may_change: Option<Instant>,
    /// What was wrong with a `postolka.toml`; told until the box has an owner, who has seen it or did without.
    mistakes: Vec<String>,
}

impl Page {
    pub(super) const fn new(mistakes: Vec<String>) -> Page {
        Page {
            shown: String::new(),
            may_change: None,
            mistakes,
        }
    }

    /// The lines as they are now, whatever was shown before. The first change after it, such as the first message on a
    /// new box, is shown as soon as it is seen.
    pub(super) fn anew(&mut self, house: &House, now: Instant) -> FromMaild {
        self.shown = self.text(house);
        self.may_change = Some(now);
        status(&self.shown)
    }

    /// The lines, if they are others than those that are shown, and it is time. Nothing before [`Page::anew`].
    pub(super) fn changed(&mut self, house: &House, now: Instant) -> Option<FromMaild> {
        self.may_change.filter(|may_change| now >= *may_change)?;
        let text = self.text(house);
        if text == self.shown {
            return None;
        }
        self.may_change = Some(now + GAP);
        self.shown = text;
        Some(status(&self.shown))
    }

    fn text(&self, house: &House) -> String {
        let summary = house.summary();
        let mut text = summary.unwrap_or_else(|error| format!("The mail cannot be read: {error}"));
        if !house.is_claimed() {
            for mistake in &self.mistakes {
                text.push('\n');
                text += mistake;
            }
        }
        text
    }
}

/// Text for the console page: wrapped at its width, as many lines as there are.
pub(super) fn status(text: &str) -> FromMaild {
    let mut status = Status::default();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            if !line.is_empty() && line.len() + 1 + word.len() > ConsoleLine::OCTETS_MAX {
                let _ = status.lines.push(ConsoleLine::lossy(&line));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        // What does not fit the page is in the log.
        let _ = status.lines.push(ConsoleLine::lossy(&line));
    }
    FromMaild::Status(status)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        let FromMaild::Status(status) = status(text) else {
            panic!("it is a status")
        };
        status.lines.iter().map(|line| line.as_str().to_owned()).collect()
    }

    #[test]
    fn a_sentence_is_wrapped_at_the_width_of_the_console() {
        let wrapped = lines(&"word ".repeat(40));
        assert_eq!(wrapped.len(), 3);
        assert!(wrapped.iter().all(|line| line.len() <= ConsoleLine::OCTETS_MAX));
        assert_eq!(lines("one\ntwo"), ["one", "two"]);
        assert_eq!(lines(&"line\n".repeat(50)).len(), handoff::STATUS_LINES_MAX);
        assert_eq!(lines("h\u{e1}\u{10d}ky\x1b"), ["h??ky?"]);
    }
}
