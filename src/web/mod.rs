//! The gate over HTTP: documents and orders of [`api`](crate::api), health and metrics, on listeners of their own.
//!
//! ```text
//!   loopback, token ──▶ server ─▶ routes ─┬─▶ documents, orders ─▶ api
//!                                         └─▶ probes   /livez, /readyz, /metrics
//!   browser, cookie ──▶ server ─▶ pages ──▶ the same documents and orders
//!   probes_listen ───▶ server ─▶ routes ───▶ probes
//! ```
//!
//! Every document names its schema in its first member, `schema`. The command line asks the same routes without HTTP,
//! by [`get`], where no gate runs.

pub mod access;
mod asking;
pub mod audit;
mod connections;
mod documents;
mod doors;
mod events;
mod filters;
mod gives;
mod hosts;
mod openapi;
mod orders;
mod pages;
mod paging;
mod parameters;
mod path;
mod problem;
mod prometheus;
mod request;
mod routes;
mod server;
mod webhook_orders;
pub mod webhooks;

pub use doors::{Login, LoginWish, Revoked};
pub use pages::{BarChart, report};
pub use path::segment;
pub use problem::{CODES, Problem};
pub use request::{Answer, Request};
pub use routes::get;
pub use server::{Console, ConsoleEndpoint, ConsoleError, ENDPOINT_FILE, Listening, Starting};
pub use webhook_orders::{Replaying, Rotating};
