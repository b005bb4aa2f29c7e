//! The gate over HTTP: the API's documents and orders, health and metrics, on listeners of their own.
//!
//! ```text
//!   loopback, token ─▶ server ─┬─▶ api        /api/...
//!                              └─▶ probes     /livez, /readyz, /metrics
//!   probes_listen ──────────────▶ probes
//! ```

mod connections;
mod hosts;
mod prometheus;
mod server;

pub use server::{Console, ConsoleEndpoint, ConsoleError, ENDPOINT_FILE, Listening, Starting};
