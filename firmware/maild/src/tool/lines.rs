//! Line ends: CRLF in the store and on the wire, LF in files.

/// CRLF becomes LF, in pieces that end anywhere. CR and LF that stand alone stay.
#[derive(Debug, Default)]
pub(super) struct ToLf {
    /// The last octet was a CR that has not been written.
    has_cr: bool,
}

impl ToLf {
    pub(super) fn push(&mut self, octets: &[u8], into: &mut Vec<u8>) {
        for &octet in octets {
            if self.has_cr && octet != b'\n' {
                into.push(b'\r');
            }
            self.has_cr = octet == b'\r';
            if !self.has_cr {
                into.push(octet);
            }
        }
    }

    pub(super) fn end(&mut self, into: &mut Vec<u8>) {
        if std::mem::take(&mut self.has_cr) {
            into.push(b'\r');
        }
    }
}

/// LF becomes CRLF, in pieces that end anywhere. CRLF stays.
#[derive(Debug, Default)]
pub(super) struct ToCrlf {
    had_cr: bool,
}

impl ToCrlf {
    pub(super) fn push(&mut self, octets: &[u8], into: &mut Vec<u8>) {
        for &octet in octets {
            if octet == b'\n' && !self.had_cr {
                into.push(b'\r');
            }
            self.had_cr = octet == b'\r';
            into.push(octet);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to_lf(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut lines, mut into) = (ToLf::default(), Vec::new());
        for piece in pieces {
            lines.push(piece, &mut into);
        }
        lines.end(&mut into);
        into
    }

    fn to_crlf(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut lines, mut into) = (ToCrlf::default(), Vec::new());
        for piece in pieces {
            lines.push(piece, &mut into);
        }
        into
    }

    #[test]
    fn a_message_comes_back_wherever_it_was_cut() {
        let message = b"Subject: x\r\n\r\none\rtwo\r\r\n\r\nthree\r\n";
        let file = b"Subject: x\n\none\rtwo\r\n\nthree\n";
        for at in 0..=message.len() {
            let (before, behind) = message.split_at(at);
            assert_eq!(to_lf(&[before, behind]), file, "{at}");
        }
        let plain = b"Subject: x\n\none\n";
        for at in 0..=plain.len() {
            let (before, behind) = plain.split_at(at);
            assert_eq!(to_crlf(&[before, behind]), b"Subject: x\r\n\r\none\r\n", "{at}");
        }
        assert_eq!(to_lf(&[b"x\r"]), b"x\r");
        assert_eq!(to_crlf(&[b"x\r", b"\ny\n"]), b"x\r\ny\r\n");
    }
}
