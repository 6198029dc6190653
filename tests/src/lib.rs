//! What the cross-process tests and the benchmarks share: made-up traffic that is the same for the same seed.

pub mod random;
pub mod traffic;
