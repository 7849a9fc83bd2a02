//! The keeper: one thread that sees to it that the log does not grow for ever, and that what is on the disk can
//! still be read.

mod wakes;

pub(crate) use wakes::Wakes;

/// What the keeper found out, for whoever asks.
#[derive(Debug, Default)]
pub(crate) struct Findings {}
