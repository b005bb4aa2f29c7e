//! The manual.

#[doc = include_str!("pricing.md")]
pub mod pricing {}
