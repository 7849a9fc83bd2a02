//! maild

fn main() {}
