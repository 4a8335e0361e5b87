//! What several benchmarks need; the benchmarks are the `[[bench]]` targets beside this folder.
//!
//! `cargo bench -p benches --bench codec` runs one of them.

pub mod curve;
pub mod http;
pub mod process;
pub mod target;
