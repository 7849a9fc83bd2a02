//! Numbers that must not be mixed up.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::num::NonZeroU32;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// An account. Given once, never again.
    AccountId(u32)
}
number! {
    /// A mailbox (a folder of an account), whatever its name is now. Unique on the box, given once,
    /// never again.
    MailboxId(u32)
}
number! {
    /// The unique identifier of a message in its mailbox (RFC 9051 §2.3.1.1).
    Uid(NonZeroU32)
}
number! {
    /// The position of a message in a client's view of a mailbox, from 1 (RFC 9051 §2.3.1.2).
    SeqNum(NonZeroU32)
}
number! {
    /// Under one value of it, a UID means one message for ever (RFC 9051 §2.3.1.1).
    UidValidity(NonZeroU32)
}
number! {
    /// The modification sequence of RFC 7162. Ascends per account; 0 is before every change.
    /// At most 63 bits (RFC 7162 §3.1).
    ModSeq(u64)
}

impl Uid {
    /// The first UID of a mailbox.
    pub const FIRST: Uid = Uid(NonZeroU32::MIN);

    /// The UID with this number; `None` for 0.
    pub const fn new(number: u32) -> Option<Uid> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Uid(number)),
            None => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0.get()
    }

    /// The UID after this one; `None` after 4 294 967 295.
    pub const fn next(self) -> Option<Uid> {
        match self.0.checked_add(1) {
            Some(number) => Some(Uid(number)),
            None => None,
        }
    }
}

impl SeqNum {
    /// The sequence number with this value; `None` for 0.
    pub const fn new(number: u32) -> Option<SeqNum> {
        match NonZeroU32::new(number) {
            Some(number) => Some(SeqNum(number)),
            None => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl UidValidity {
    /// The UIDVALIDITY with this value; `None` for 0.
    pub const fn new(number: u32) -> Option<UidValidity> {
        match NonZeroU32::new(number) {
            Some(number) => Some(UidValidity(number)),
            None => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}
