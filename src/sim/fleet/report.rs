//! What a fleet is doing, or did.

use crate::sim::charger::{Finished, Tally};
use serde::Serialize;
use std::collections::BTreeMap;

/// What a fleet is doing, or did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct FleetReport {
    /// Chargers in the fleet.
    pub chargers: u64,
    /// How many of them speak OCPP.
    pub ocpp_chargers: u64,
    /// Number of `HelloAck`s and accepted boots of chargers, on all connections.
    pub greetings: u64,
    /// Chargers with a `HelloAck` on their present connection.
    pub chargers_online: u64,
    /// Sessions without a receipt.
    pub sessions_open: u64,
    /// Recorded sessions that were not begun yet.
    pub sessions_to_come: u64,
    /// Readings that the gate has not acknowledged.
    pub readings_unacknowledged: u64,
    /// What happened at all chargers.
    #[serde(flatten)]
    pub tally: Tally,
    /// Amounts paid by the receipts, in minor units by currency.
    pub paid_minor: BTreeMap<&'static str, i64>,
    /// Energy of the sessions with receipts, in watt hours.
    pub energy_wh: i64,
    /// Attempts to connect.
    pub dials: u64,
    /// Attempts that failed.
    pub dials_failed: u64,
    /// Connections that broke.
    pub disconnects: u64,
    /// Why the last connection or attempt failed.
    pub last_error: Option<String>,
    /// The number of a receipt that came.
    pub receipt: Option<Box<str>>,
    /// Sessions with their receipts, where they are kept.
    #[serde(skip)]
    pub finished: Vec<Finished>,
}

impl FleetReport {
    pub(super) fn add(&mut self, other: &FleetReport) {
        self.chargers += other.chargers;
        self.ocpp_chargers += other.ocpp_chargers;
        self.greetings += other.greetings;
        self.chargers_online += other.chargers_online;
        self.sessions_open += other.sessions_open;
        self.sessions_to_come += other.sessions_to_come;
        self.readings_unacknowledged += other.readings_unacknowledged;
        self.tally.add(&other.tally);
        for (currency, minor) in &other.paid_minor {
            *self.paid_minor.entry(currency).or_default() += minor;
        }
        self.energy_wh += other.energy_wh;
        self.dials += other.dials;
        self.dials_failed += other.dials_failed;
        self.disconnects += other.disconnects;
        if self.receipt.is_none() {
            self.receipt.clone_from(&other.receipt);
        }
        if other.last_error.is_some() {
            self.last_error.clone_from(&other.last_error);
        }
    }
}
