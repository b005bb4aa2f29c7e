//! The payment machine, from outside.

mod conversation;
mod desk;
mod model;
mod processor;
