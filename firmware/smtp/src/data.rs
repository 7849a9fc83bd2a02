//! From the octets behind `DATA` to the octets of the message.
//!
//! ```text
//!            . ┌────────────── other ─────────────┐
//!   LineStart ─┴► Dot ── CR ──► DotCr ── LF ──► end, if the line before ended with CRLF too
//!    ▲  ▲  │       └─ LF ─► refused (a dot line) ◄─ LF ─┘ otherwise
//!    │  │  other
//!    │  │  ▼
//!    │  └─ Line ── LF (alone: kept as CRLF)
//!    │      ▼ CR
//!    └─LF─ Cr ── anything else ─► refused (a bare CR)
//! ```
//!
//! # Invariants
//!
//! - Only CRLF `.` CRLF ends the data (RFC 5321 §4.1.1.4, AS1), where the CRLF of the `DATA` line
//!   counts as the first. Whatever is wrong with the content, it is read up to there, so that no
//!   octet of a message is ever taken for a command.
//! - What comes out has no bare CR, no bare LF and no NUL.

use wire::Input;

/// Pieces of a message are about this long: enough for few calls, little enough for a thousand
/// connections.
const PIECE_OCTETS: usize = 16 * 1024;

/// Undoes dot-stuffing and finds the end.
#[derive(Debug)]
pub(crate) struct Decoder {
    place: Place,
    octets: u64,
    octets_max: u64,
    refusal: Option<DataError>,
    is_ended: bool,
}

/// What the decoder found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// The next octets of the message.
    Octets(Vec<u8>),
    /// The end of the data. Without a [`refusal`](Decoder::refusal) the message is whole.
    End,
}

/// Why the content of a message is not taken. Always the sender's doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataError {
    /// S3: more octets than a message may have.
    #[error("the message is too large")]
    TooLarge,
    /// A CR without its LF (S10).
    #[error("there is a bare CR in the message")]
    BareCr,
    /// A line with only a dot whose line ends are not both CRLF: another server may take it for the
    /// end (AS1).
    #[error("there is a dot line with a bare LF in the message")]
    DotLine,
    /// A NUL, which an IMAP literal cannot carry.
    #[error("there is a NUL in the message")]
    Nul,
}

/// Where in a line the decoder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    LineStart(LineEnd),
    /// Behind a dot that began a line.
    Dot(LineEnd),
    /// Behind a dot that began a line, and a CR.
    DotCr(LineEnd),
    Line,
    /// Behind a CR within a line.
    Cr,
}

/// How the line before ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineEnd {
    Crlf,
    BareLf,
}

impl Decoder {
    /// A decoder that stands behind the CRLF of the `DATA` line.
    pub(crate) const fn new(octets_max: u64) -> Decoder {
        Decoder {
            place: Place::LineStart(LineEnd::Crlf),
            octets: 0,
            octets_max,
            refusal: None,
            is_ended: false,
        }
    }

    /// What was wrong first. Nothing more of the message comes out then, up to the end.
    pub(crate) const fn refusal(&self) -> Option<DataError> {
        self.refusal
    }

    /// Takes the next piece, or `None` when more octets are wanted. Nothing is used behind the end.
    pub(crate) fn next(&mut self, input: &mut Input) -> Option<Piece> {
        loop {
            if self.is_ended {
                return Some(Piece::End);
            }
            if input.is_empty() {
                return None;
            }
            let piece = self.take(input);
            // S3: the octets are counted as they are stored.
            self.octets = self.octets.saturating_add(piece.len() as u64);
            if self.octets > self.octets_max {
                self.refuse(DataError::TooLarge);
            }
            if self.refusal.is_none() && !piece.is_empty() {
                return Some(Piece::Octets(piece));
            }
        }
    }

    /// Uses waiting octets up to the end of the data, and no more than give one piece.
    fn take(&mut self, input: &mut Input) -> Vec<u8> {
        let waiting = input.waiting();
        let mut piece = Vec::with_capacity(waiting.len().min(PIECE_OCTETS));
        let mut used = 0;
        while used < waiting.len() && piece.len() < PIECE_OCTETS && !self.is_ended {
            if self.place == Place::Line {
                let room = PIECE_OCTETS - piece.len();
                let rest = &waiting[used..waiting.len().min(used + room)];
                let plain = memchr::memchr3(b'\r', b'\n', 0, rest).unwrap_or(rest.len());
                piece.extend_from_slice(&rest[..plain]);
                used += plain;
                if plain == rest.len() {
                    continue;
                }
            }
            self.step(waiting[used], &mut piece);
            used += 1;
        }
        input.consume(used);
        piece
    }

    /// One step of the picture above.
    fn step(&mut self, octet: u8, piece: &mut Vec<u8>) {
        self.place = match (self.place, octet) {
            (Place::LineStart(before), b'.') => Place::Dot(before),
            (Place::Dot(before), b'\r') => Place::DotCr(before),
            (Place::DotCr(LineEnd::Crlf), b'\n') => {
                self.is_ended = true;
                Place::LineStart(LineEnd::Crlf)
            }
            (Place::DotCr(LineEnd::BareLf), b'\n') => {
                self.refuse(DataError::DotLine);
                Place::LineStart(LineEnd::Crlf)
            }
            (Place::Dot(_), b'\n') => {
                self.refuse(DataError::DotLine);
                Place::LineStart(LineEnd::BareLf)
            }
            (Place::Cr, b'\n') => {
                piece.extend_from_slice(b"\r\n");
                Place::LineStart(LineEnd::Crlf)
            }
            (Place::Cr | Place::DotCr(_), b'\r') => {
                self.refuse(DataError::BareCr);
                Place::Cr
            }
            (Place::Cr | Place::DotCr(_), _) => {
                self.refuse(DataError::BareCr);
                Place::Line
            }
            (Place::LineStart(_) | Place::Line, b'\r') => Place::Cr,
            (Place::LineStart(_) | Place::Line, b'\n') => {
                // Deviation: RFC 5321 §2.3.8 knows no bare LF. Programs that write one mean a line
                // end, and everything that reads mail later needs it to be one (S10).
                piece.extend_from_slice(b"\r\n");
                Place::LineStart(LineEnd::BareLf)
            }
            // RFC 5321 §4.5.2: a dot that begins a line with more on it goes; `Dot` did not keep it.
            (Place::LineStart(_) | Place::Dot(_) | Place::Line, octet) => {
                if octet == 0 {
                    self.refuse(DataError::Nul);
                }
                piece.push(octet);
                Place::Line
            }
        };
    }

    fn refuse(&mut self, error: DataError) {
        self.refusal.get_or_insert(error);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The message, or why it is refused, and what is left behind its end.
    type Decoded = (Result<Vec<u8>, DataError>, Vec<u8>);

    /// What a decoder makes of `octets`, cut before each of `cuts`; `None` when there is no end.
    fn decode(octets: &[u8], cuts: &[usize], octets_max: u64) -> Option<Decoded> {
        let mut decoder = Decoder::new(octets_max);
        let mut input = Input::new();
        let mut message = Vec::new();
        let mut start = 0;
        for end in cuts.iter().copied().chain([octets.len()]) {
            input.extend(&octets[start..end]);
            start = end;
            while let Some(piece) = decoder.next(&mut input) {
                match piece {
                    Piece::Octets(piece) => {
                        assert!(piece.len() <= PIECE_OCTETS + 1);
                        message.extend(piece);
                    }
                    Piece::End => {
                        let left = [input.waiting(), &octets[end..]].concat();
                        let result = decoder.refusal().map_or(Ok(message), Err);
                        return Some((result, left));
                    }
                }
            }
        }
        None
    }

    /// The message in `octets`, which end with it, whichever way they are cut.
    fn check(octets: &[u8], expected: Result<&[u8], DataError>) {
        let expected = expected.map(<[u8]>::to_vec);
        let every: Vec<usize> = (1..octets.len()).collect();
        for cuts in every.iter().map(std::slice::from_ref).chain([&[][..], &every]) {
            let (result, left) = decode(octets, cuts, 1_000_000).unwrap();
            assert_eq!(result, expected, "{} cut at {cuts:?}", octets.escape_ascii());
            assert_eq!(left.len(), 0);
        }
    }

    #[test]
    fn the_line_end_of_the_command_may_be_the_first_of_the_end() {
        check(b".\r\n", Ok(b""));
        check(b"\r\n.\r\n", Ok(b"\r\n"));
    }

    #[test]
    fn a_dot_in_front_of_a_line_goes() {
        check(b"..\r\n...\r\n.a\r\na.\r\n.\r\n", Ok(b".\r\n..\r\na\r\na.\r\n"));
    }

    /// S10
    #[test]
    fn s10_a_bare_lf_becomes_a_line_end() {
        check(
            b"a\nb\n\nc\r\n..d\n..e\r\n.\r\n",
            Ok(b"a\r\nb\r\n\r\nc\r\n.d\r\n.e\r\n"),
        );
    }

    /// S10
    #[test]
    fn s10_a_bare_cr_is_refused_after_the_end() {
        check(b"a\rb\r\n.\r\n", Err(DataError::BareCr));
        check(b"a\r\r\n.\r\n", Err(DataError::BareCr));
        check(b"\r\r\n.\r\n", Err(DataError::BareCr));
    }

    /// AS1: a message in a message, behind what another server may take for the end.
    #[test]
    fn as1_only_crlf_dot_crlf_is_the_end() {
        let shapes: [(&[u8], DataError); 9] = [
            (b"\n.\n", DataError::DotLine),
            (b"\n.\r\n", DataError::DotLine),
            (b"\r\n.\n", DataError::DotLine),
            (b"\r.\r", DataError::BareCr),
            (b"\r\n.\r", DataError::BareCr),
            (b"\r.\r\n", DataError::BareCr),
            (b"\n.\r", DataError::BareCr),
            (b"\r\r\n.\r\r\n", DataError::BareCr),
            (b"\r\n\0.\r\n", DataError::Nul),
        ];
        for (shape, error) in shapes {
            let octets = [
                b"A",
                shape,
                b"MAIL FROM:<e@x.test>\r\nRCPT TO:<anna@firma.test>\r\nDATA\r\nB\r\n.\r\n",
            ]
            .concat();
            check(&octets, Err(error));
        }
    }

    /// S3
    #[test]
    fn s3_stored_octets_are_counted() {
        for (octets, stored) in [
            (&b"ab\r\n.\r\n"[..], 4),
            (b"..b\r\n.\r\n", 4),
            (b"ab\n\r\n.\r\n", 6),
        ] {
            assert!(decode(octets, &[], stored).unwrap().0.is_ok());
            let (result, left) = decode(octets, &[], stored - 1).unwrap();
            assert_eq!((result, left), (Err(DataError::TooLarge), vec![]));
        }
    }

    #[test]
    fn what_follows_the_end_is_left() {
        let (result, left) = decode(b"a\r\n.\r\nQUIT\r\n", &[], 100).unwrap();
        assert_eq!((result.unwrap(), left), (b"a\r\n".to_vec(), b"QUIT\r\n".to_vec()));
    }

    #[test]
    fn without_an_end_there_is_no_message() {
        for octets in [
            &b""[..],
            b"a\r\n.",
            b"a\r\n.\r",
            b"a\r\n.\n",
            b"a.\r\n",
            b"a\r\n. \r\n",
        ] {
            assert_eq!(decode(octets, &[], 100), None, "{}", octets.escape_ascii());
        }
    }

    /// Doubles the dots as a client does (RFC 5321 §4.5.2) and adds the end.
    fn encode(message: &[u8]) -> Vec<u8> {
        let mut octets = Vec::new();
        for line in message.split_inclusive(|octet| *octet == b'\n') {
            if line.starts_with(b".") {
                octets.push(b'.');
            }
            octets.extend_from_slice(line);
        }
        octets.extend_from_slice(b".\r\n");
        octets
    }

    fn noise() -> impl Strategy<Value = Vec<u8>> {
        let octet = prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), Just(b'a'), Just(0)];
        proptest::collection::vec(octet, 0..40)
    }

    proptest! {
        #[test]
        fn what_a_client_encodes_is_what_comes_out(
            lines in proptest::collection::vec("[.a\u{e9}]{0,5}", 0..20),
            cut in 0_usize..100,
        ) {
            let message: Vec<u8> = lines.iter().flat_map(|line| [line.as_bytes(), b"\r\n"].concat()).collect();
            let octets = encode(&message);
            let cut = cut.min(octets.len());
            prop_assert_eq!(decode(&octets, &[cut], 1_000_000), Some((Ok(message), vec![])));
        }

        #[test]
        fn a_long_message_comes_out_in_pieces(line in 0_usize..60_000, count in 1_usize..5) {
            let message = [vec![b'a'; line], b"\r\n".to_vec()].concat().repeat(count);
            prop_assert_eq!(decode(&encode(&message), &[], u64::MAX), Some((Ok(message), vec![])));
        }

        /// AS1: the first CRLF dot CRLF is the end, whatever stands before it; what is accepted holds
        /// nothing that another program could take for an end or cannot carry.
        #[test]
        fn as1_noise_ends_at_the_first_true_end(noise in noise(), cut in 0_usize..50) {
            let octets = [&noise[..], b"\r\n.\r\n"].concat();
            let from_command = [b"\r\n", &octets[..]].concat();
            let end = memchr::memmem::find(&from_command, b"\r\n.\r\n").unwrap() + 5 - 2;
            let whole = decode(&octets, &[], 1_000_000);
            let (result, left) = whole.clone().unwrap();
            prop_assert_eq!(&left[..], &octets[end..]);
            prop_assert_eq!(decode(&octets, &[cut.min(octets.len())], 1_000_000), whole);
            if let Ok(message) = result {
                let without_crlf = String::from_utf8(message).unwrap().replace("\r\n", "");
                prop_assert!(!without_crlf.contains(['\r', '\n', '\0']));
            }
        }
    }
}
