//! The native protocol, without any input or output of its own.
//!
//! ```text
//! bytes ─▶ frame ─▶ payload (schema) ─▶ link: allowed now? ─▶ a value of [`message`](crate::message)
//! ```
//!
//! * [`frame`]: cutting messages out of a stream; lengths, checksums, MACs.
//! * [`ChargerLink`], [`ProcessorLink`]: the gate's ends; [`ChargerClientLink`], [`ProcessorClientLink`]: the peers'
//!   ends.
//!
//! The schema is `src/wire/schema/wattstile.proto`; its generated types are private to this module. The manual's page
//! [`protocol`](crate::manual::protocol) specifies it for implementers of the other end.

mod charger_client;
mod charger_codec;
mod charger_link;
mod error;
pub mod frame;
mod meter_values;
mod payload;
mod processor_client;
mod processor_codec;
mod processor_link;
mod schema;
mod watch;

pub use charger_client::{ChargerClientLink, MeterValues};
pub use charger_link::{ChargerLink, MaySpeakFor};
pub use error::{Blame, LinkError, SendError};
pub use frame::MacKey;
pub use payload::PayloadError;
pub use processor_client::ProcessorClientLink;
pub use processor_link::ProcessorLink;
pub use watch::Phase;

/// The compiled schema, as a `google.protobuf.FileDescriptorSet`: for languages that build their messages at run time.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!("schema/wattstile.binpb");
