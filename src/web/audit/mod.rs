//! The audit trail: every order that came over the API, who sent it, when, from where and with what outcome.
//!
//! ```text
//!   order ─▶ key known? ─▶ its record is durable ─▶ it is carried out ─▶ its outcome is durable ─▶ the answer
//! ```
//!
//! The trail is also what a repetition is recognised by: an order with an `Idempotency-Key` is carried out once, also where
//! the gate was killed in between. What has no outcome in the trail is carried out under the same pins: the id of an account's
//! operation, or the total of a refund, with which doing it twice does it once.

mod carry_out;
mod rows;
mod trail;

pub(super) use carry_out::{Order, carry_out};
pub use rows::{AuditRow, Verified, rows_before, verify};
pub use trail::{AUDIT_FILE, Trail};
