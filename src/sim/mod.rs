//! Simulated chargers and processors, replay of recorded sessions, load.

pub mod dice;
pub mod processor;
pub mod recording;
