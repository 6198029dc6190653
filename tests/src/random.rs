//! A small seeded generator (SplitMix64; Steele, Lea, Flood 2014): the same seed gives the same traffic everywhere.

/// Deterministic random numbers. Not for secrets.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence that belongs to `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any 64 bits.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.word()) * u128::from(bound)) >> 64) as u64
    }

    /// True in `percent` of 100 calls.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A heavy-tailed count of at least 1: Pareto with exponent about 1.2, cut at `max`.
    pub fn heavy_tail(&mut self, max: u64) -> u64 {
        let uniform = (self.word() >> 11) as f64 / (1_u64 << 53) as f64;
        let value = (1.0 - uniform).max(1e-12).powf(-1.0 / 1.2);
        (value as u64).clamp(1, max)
    }
}
