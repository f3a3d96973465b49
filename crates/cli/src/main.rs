//! The ternlight command line.
fn main() {}
