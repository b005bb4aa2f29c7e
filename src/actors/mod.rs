//! The shells around the machines: hosted actors, shards, timers, the journal's writer, the processors' registry.

pub mod hosted;
pub mod wheel;
