//! Simulated chargers and processors, replay of recorded sessions.

pub mod attack;
pub mod backoff;
pub mod charger;
pub mod driver;
pub mod fleet;
pub mod kept_clock;
pub mod memory;
pub mod ocpp;
pub mod pace;
pub mod pipe;
pub mod processor;
pub mod recording;
pub mod replay;
#[cfg(test)]
mod testing;
pub mod tls;
pub mod world;
