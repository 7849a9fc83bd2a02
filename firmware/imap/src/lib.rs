#![doc = include_str!("../README.md")]

mod command;
mod framer;
mod op;
mod parse;
mod response;
mod selected;
mod serve;
mod session;
mod structure;

pub use op::BodySource;
pub use serve::{Host, Imap};
pub use session::{Answer, Need, Session};

/// What is offered before login, with its source.
pub(crate) const CAPABILITIES_BEFORE_LOGIN: [&str; 6] = [
    "IMAP4rev1",  // RFC 3501
    "SASL-IR",    // RFC 4959
    "AUTH=PLAIN", // RFC 4616
    "AUTH=LOGIN", // draft-murchison-sasl-login-00
    "LITERAL+",   // RFC 7888
    "ID",         // RFC 2971
];

/// What is offered after login, with its source.
pub(crate) const CAPABILITIES: [&str; 12] = [
    "IMAP4rev1",            // RFC 3501
    "LITERAL+",             // RFC 7888
    "ID",                   // RFC 2971
    "IDLE",                 // RFC 2177
    "NAMESPACE",            // RFC 2342
    "UIDPLUS",              // RFC 4315
    "UNSELECT",             // RFC 3691
    "MOVE",                 // RFC 6851
    "CHILDREN",             // RFC 3348
    "SPECIAL-USE",          // RFC 6154
    "STATUS=SIZE",          // RFC 8438
    "APPENDLIMIT=52428800", // RFC 7889, S6
];

// S6: what is offered is what is taken. AS12: the bounds that `wire::limits` lists are those of the scan.
const _: () = assert!(
    wire::limits::MESSAGE_OCTETS_MAX == 52_428_800
        && wire::limits::MIME_DEPTH_MAX == mail::structure::DEPTH_MAX
        && wire::limits::MIME_PARTS_MAX == mail::structure::PARTS_MAX
);
