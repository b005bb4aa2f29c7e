//! The payment machine, from outside.

mod catalogue;
mod conversation;
mod guards;
mod harness;
mod model;
mod processor;
mod resolution;
mod transitions;
