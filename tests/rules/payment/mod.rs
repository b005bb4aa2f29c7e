//! The payment machine, from outside.

mod catalogue;
mod conversation;
mod desk;
mod guards;
mod model;
mod processor;
mod resolution;
mod transitions;
