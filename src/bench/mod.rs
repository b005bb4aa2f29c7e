//! Loads that measure a gate. Only `wattstile bench` and tests use this room; nothing that serves chargers does.

mod approving_processor;
mod in_process_load;
pub mod load;
#[cfg(test)]
mod tests;

pub use in_process_load::{InProcessLoad, InProcessSettings, LoadError};
