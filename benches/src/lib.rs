//! Seeded input of the benches: the same numbers and events on every machine.
//!
//! Micro-benchmarks of pure code and of the local log stand in `benches/`; the program `load`
//! measures a running server. `README.md` says how to read both.

pub mod events;
pub mod random;
