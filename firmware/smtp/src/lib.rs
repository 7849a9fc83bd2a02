#![doc = include_str!("../README.md")]

mod command;
mod data;
mod reply;
mod serve;
mod session;

pub use command::{ClientName, Command, CommandError, Mail};
pub use data::DataError;
pub use serve::{Host, Smtp};
pub use session::{Answer, Need, SequenceError, Session};

/// What `EHLO` lists, in this order. Behind each stands where it is done.
const OFFERED: [(&str, When); 6] = [
    // RFC 1870, S1: declared sizes in `session::mail`, real ones in `data`.
    ("SIZE 52428800", When::Always),
    // RFC 2920: `session` takes commands as they come and answers in order.
    ("PIPELINING", When::Always),
    // RFC 6152: no octet is changed on its way through `data`.
    ("8BITMIME", When::Always),
    // RFC 3207: `session` forgets, `net` shakes hands.
    ("STARTTLS", When::BeforeTls),
    // RFC 2034: every reply in `reply` has its code.
    ("ENHANCEDSTATUSCODES", When::Always),
    // RFC 5321 §4.1.1.8: one line that names the commands.
    ("HELP", When::Always),
];

/// When an extension is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// Before and within TLS.
    Always,
    /// Not within TLS.
    BeforeTls,
}

#[cfg(test)]
mod tests {
    use super::OFFERED;

    /// S1
    #[test]
    fn s1_the_size_that_is_listed_is_the_limit() {
        assert_eq!(OFFERED[0].0, format!("SIZE {}", wire::limits::MESSAGE_OCTETS_MAX));
    }
}
