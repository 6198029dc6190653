//! What the cross-process tests and the benchmarks share: made-up traffic that is the same for the same
//! seed, a savefile reader of its own, and the ways to run our programs and other people's.

pub mod authority;
pub mod branch;
pub mod judges;
pub mod netns;
pub mod process;
pub mod random;
pub mod savefile;
pub mod sensor;
pub mod tools;
pub mod traffic;
