//! The scenarios, in files by what they speak of. Each target takes the files that fit its stage.

mod address;
mod claim;
mod cut;
mod dialogues;
mod imap;
mod load;
mod login;
mod message;
mod ports;
mod size;
mod smuggling;
mod tls;

use e2e::Scenario;

/// The scenarios for both stages.
pub(crate) fn both_stages() -> Vec<Scenario> {
    [
        message::scenarios(),
        address::scenarios(),
        smuggling::scenarios(),
        size::scenarios(),
        ports::scenarios(),
        claim::scenarios(),
        tls::scenarios(),
        login::scenarios(),
        imap::scenarios(),
        dialogues::scenarios(),
        load::scenarios(),
        cut::scenarios(),
    ]
    .concat()
}
