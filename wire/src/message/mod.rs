//! What travels between sensor and SOC: types with serde, in postcard and JSON alike.

pub mod answer;
