//! Reply classes, and the codes that follow from them.

use std::fmt;

/// What a failure means to the peer: whose fault it is and whether trying again can help.
/// The class digit of the reply code and of the enhanced status code both come from here, so they
/// cannot disagree (RFC 2034 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Done.
    Success,
    /// Not now; the same command may succeed later.
    Transient,
    /// Not like this.
    Permanent,
}

impl Class {
    /// The first digit of a reply code and of an enhanced status code (RFC 5321 §4.2.1, RFC 3463 §2).
    pub const fn digit(self) -> u16 {
        match self {
            Class::Success => 2,
            Class::Transient => 4,
            Class::Permanent => 5,
        }
    }
}

/// An SMTP reply code with its enhanced status code, such as `550 5.1.1`.
///
/// Source: RFC 5321 §4.2, RFC 3463 §2, RFC 2034.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    class: Class,
    rest: u16,
    subject: u16,
    detail: u16,
}

impl Code {
    /// The code `{class}{rest} {class}.{subject}.{detail}`; `rest` is the last two digits.
    ///
    /// # Panics
    /// When `rest` has more than two digits, or `subject` or `detail` more than three; codes are constants, so that happens while
    /// compiling.
    pub const fn new(class: Class, rest: u16, subject: u16, detail: u16) -> Code {
        assert!(rest < 100 && subject < 1000 && detail < 1000, "not a reply code");
        Code {
            class,
            rest,
            subject,
            detail,
        }
    }

    /// The class both codes share.
    pub const fn class(self) -> Class {
        self.class
    }

    /// The three-digit reply code.
    pub const fn reply(self) -> u16 {
        self.class.digit() * 100 + self.rest
    }

    /// The enhanced status code, such as `5.1.1`.
    pub fn enhanced(self) -> impl fmt::Display {
        struct Enhanced(Code);
        impl fmt::Display for Enhanced {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}.{}.{}", self.0.class.digit(), self.0.subject, self.0.detail)
            }
        }
        Enhanced(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_codes_share_their_class() {
        let code = Code::new(Class::Permanent, 50, 1, 1);
        assert_eq!(format!("{} {}", code.reply(), code.enhanced()), "550 5.1.1");
    }
}
