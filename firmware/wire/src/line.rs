//! Octets to lines.

use crate::Input;

/// Takes lines out of an [`Input`].
///
/// Only CRLF ends a line: a bare CR or LF is an octet of the line (S10, RFC 5321 §2.3.8), and what
/// it means there is the caller's to refuse. Going over the limit is a state, not an accident: the
/// rest of the line is skipped up to its CRLF, and the caller learns once that there was such a line.
#[derive(Debug)]
pub struct LineReader {
    octets_max: usize,
    /// How much of the waiting input is known to hold no CRLF, so that a line which arrives octet
    /// by octet is not searched again from its start.
    searched: usize,
    is_skipping: bool,
}

/// What [`LineReader::next`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// A line, without its CRLF.
    Complete(Vec<u8>),
    /// A line over the limit. Its octets have been dropped.
    TooLong,
}

impl LineReader {
    /// A reader of lines of at most `octets_max` octets, CRLF included (RFC 5321 §4.5.3.1.4 counts so).
    pub const fn new(octets_max: usize) -> LineReader {
        LineReader {
            octets_max,
            searched: 0,
            is_skipping: false,
        }
    }

    /// Changes the limit for the lines that follow.
    pub fn set_octets_max(&mut self, octets_max: usize) {
        self.octets_max = octets_max;
    }

    /// Takes the next line, or `None` when its end has not arrived.
    pub fn next(&mut self, input: &mut Input) -> Option<Line> {
        let waiting = input.waiting();
        let Some(end) = find_crlf(waiting, self.searched) else {
            return self.unfinished(input);
        };
        let length = end + 2;
        let is_too_long = self.is_skipping || length > self.octets_max;
        let line = if is_too_long {
            Line::TooLong
        } else {
            Line::Complete(waiting[..end].to_vec())
        };
        input.consume(length);
        self.searched = 0;
        self.is_skipping = false;
        Some(line)
    }

    fn unfinished(&mut self, input: &mut Input) -> Option<Line> {
        // A CR at the end may be the first half of the CRLF.
        let certain = input.len() - usize::from(input.waiting().ends_with(b"\r"));
        if self.is_skipping || input.len() >= self.octets_max {
            self.is_skipping = true;
            input.consume(certain);
            self.searched = 0;
        } else {
            self.searched = certain;
        }
        None
    }
}

fn find_crlf(octets: &[u8], searched: usize) -> Option<usize> {
    let mut from = searched;
    while let Some(offset) = memchr::memchr(b'\r', &octets[from..]) {
        let cr = from + offset;
        if octets.get(cr + 1) == Some(&b'\n') {
            return Some(cr);
        }
        from = cr + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds `octets` in pieces that end at `cuts` and gives the lines found.
    fn lines(octets_max: usize, octets: &[u8], cuts: &[usize]) -> Vec<Line> {
        let mut reader = LineReader::new(octets_max);
        let mut input = Input::new();
        let mut found = Vec::new();
        let mut start = 0;
        for end in cuts.iter().copied().chain([octets.len()]) {
            input.extend(&octets[start..end]);
            start = end;
            while let Some(line) = reader.next(&mut input) {
                found.push(line);
            }
            assert!(input.len() <= octets_max, "more waits than a line may have");
        }
        found
    }

    fn check(octets_max: usize, octets: &[u8], expected: &[Line]) {
        assert_eq!(lines(octets_max, octets, &[]), expected, "in one piece");
        let every: Vec<usize> = (1..octets.len()).collect();
        assert_eq!(lines(octets_max, octets, &every), expected, "octet by octet");
        for cut in every {
            assert_eq!(lines(octets_max, octets, &[cut]), expected, "cut at {cut}");
        }
    }

    fn complete(text: &str) -> Line {
        Line::Complete(text.as_bytes().to_vec())
    }

    #[test]
    fn two_lines_in_one_read_are_two_lines() {
        check(512, b"NOOP\r\nQUIT\r\n", &[complete("NOOP"), complete("QUIT")]);
    }

    /// S10
    #[test]
    fn s10_a_bare_cr_or_lf_does_not_end_a_line() {
        check(
            512,
            b"A\nB\rC\r\r\nD\r\n",
            &[complete("A\nB\rC\r"), complete("D")],
        );
    }

    #[test]
    fn a_line_at_the_limit_is_a_line_and_one_octet_more_is_too_long() {
        check(
            8,
            b"123456\r\n1234567\r\nok\r\n",
            &[complete("123456"), Line::TooLong, complete("ok")],
        );
    }

    #[test]
    fn the_command_behind_a_long_line_is_not_swallowed() {
        check(
            8,
            b"aaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nNOOP\r\n",
            &[Line::TooLong, complete("NOOP")],
        );
    }

    proptest! {
        #[test]
        fn cuts_make_no_difference(
            octets in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'a')], 0..60),
            cut in 0_usize..60,
        ) {
            let cut = cut.min(octets.len());
            prop_assert_eq!(lines(9, &octets, &[cut]), lines(9, &octets, &[]));
        }
    }
}
