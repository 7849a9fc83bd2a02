//! builder

fn main() {}
