//! OCPP-J 1.6, 2.0.1 and 2.1, the gate's end, without any input or output of its own.
//!
//! ```text
//! text ─▶ frame (RPC) ─▶ call, read tolerantly ─▶ link: one after the other ─▶ values of [`message`](crate::message)
//! ```
//!
//! * [`frame`]: calls, results and failures; bounds of size and depth.
//! * [`OcppLink`]: the gate's end of a charger's connection.
//!
//! Reading is tolerant, because content must never cost a charger its answer: numbers may be texts, members may be null or
//! missing, times may have no offset, energy may be in watt hours or kilowatt hours. Writing is strict. These protocols number
//! neither sessions nor readings; the gate does it, where the state is ([`crate::message::Unnumbered`]).

mod call;
mod decimal;
pub mod frame;
mod json;
mod link;
mod meter;
mod signed;
#[cfg(test)]
mod tests;
mod time;
mod v16;
mod v2;

pub use link::{LinkSettings, OcppError, OcppLink};

use crate::limits::OCPP_HEARTBEAT;
use crate::units::{ChargerId, Protocol, TimeSpan};

/// A version of OCPP, as the two ends agreed on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 1.6J, edition 2.
    V16,
    /// 2.0.1, edition 3.
    V201,
    /// 2.1, edition 1.
    V21,
}

impl Version {
    /// All versions that are spoken here, the one that is chosen first.
    pub const ALL: [Version; 3] = [Version::V21, Version::V201, Version::V16];

    /// Its name as a subprotocol of WebSocket.
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Version::V16 => "ocpp1.6",
            Version::V201 => "ocpp2.0.1",
            Version::V21 => "ocpp2.1",
        }
    }

    /// The version that is chosen among those that a charger offers.
    pub fn chosen<'a>(offered: impl Iterator<Item = &'a str> + Clone) -> Option<Version> {
        let offers = |version: &Version| offered.clone().any(|name| name.trim() == version.subprotocol());
        Version::ALL.into_iter().find(offers)
    }

    /// The protocol of a charger that speaks it.
    pub const fn protocol(self) -> Protocol {
        match self {
            Version::V16 => Protocol::Ocpp16,
            Version::V201 => Protocol::Ocpp201,
            Version::V21 => Protocol::Ocpp21,
        }
    }
}

/// The interval of a charger's heartbeats: up to a fifth shorter than the longest one, so that chargers which were cut at once
/// do not call at once for ever.
pub fn heartbeat_of(charger: &ChargerId) -> TimeSpan {
    let spread = OCPP_HEARTBEAT.whole_secs() / 5;
    let earlier = i64::from(crc32fast::hash(charger.as_str().as_bytes())) % (spread + 1);
    TimeSpan::from_secs(OCPP_HEARTBEAT.whole_secs() - earlier)
}
