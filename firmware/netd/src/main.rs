//! netd

fn main() {}
