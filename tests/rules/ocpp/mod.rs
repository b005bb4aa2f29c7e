//! Frames of OCPP chargers, whole and damaged.

mod harness;
mod mutated;
