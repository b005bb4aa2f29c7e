//! The native protocol from outside: whole conversations, golden bytes, and everything that a peer can do wrong.

mod charger;

mod garbage;
mod golden;
mod manual;
mod processor;
mod round_trip;
mod samples;
mod schema;
mod site;
