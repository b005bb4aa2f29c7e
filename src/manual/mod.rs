//! The manual. [`architecture`] and [`glossary`] come first.

#[doc = include_str!("architecture.md")]
pub mod architecture {}
#[doc = include_str!("glossary.md")]
pub mod glossary {}

#[doc = include_str!("money.md")]
pub mod money {}
#[doc = include_str!("journal.md")]
pub mod journal {}
#[doc = include_str!("payments.md")]
pub mod payments {}

#[doc = include_str!("pricing.md")]
pub mod pricing {}

#[doc = include_str!("protocol.md")]
#[doc = concat!("\n# The schema\n\n```proto\n", include_str!("../wire/schema/wattstile.proto"), "\n```\n")]
pub mod protocol {}

#[doc = include_str!("ocpp.md")]
pub mod ocpp {}

#[doc = include_str!("simulators.md")]
pub mod simulators {}
#[doc = include_str!("certificates.md")]
pub mod certificates {}

#[doc = include_str!("installation.md")]
pub mod installation {}

#[doc = include_str!("operations.md")]
pub mod operations {}
#[doc = include_str!("console.md")]
pub mod console {}
#[doc = include_str!("api.md")]
pub mod api {}
#[doc = include_str!("events.md")]
pub mod events {}
#[doc = include_str!("reporting.md")]
pub mod reporting {}
#[doc = include_str!("robustness.md")]
pub mod robustness {}
