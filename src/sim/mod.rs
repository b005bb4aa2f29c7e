//! Simulated chargers and processors, replay of recorded sessions, load generation.
