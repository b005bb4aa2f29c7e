//! Orders of operators to a charger that belong to no session, and what becomes of them.

use super::numbered::numbered;
use crate::payment::Credential;
use crate::units::ConnectorId;

/// Where the outcome of an order goes: the node of its asker, and the asker's number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OrderNumber {
    /// The node.
    pub node: u16,
    /// The number; 0: the outcome is not wanted.
    pub number: u64,
}

/// An order to a charger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChargerOrder {
    /// Begin a session as if this credential had been presented. The session is a fact when the charger begins it.
    Start {
        /// Where; none: the charger chooses.
        connector: Option<ConnectorId>,
        /// What counts as presented.
        credential: Credential,
    },
    /// Send a message now.
    Trigger {
        /// Which.
        message: Triggered,
        /// About this connector; none: about the charger.
        connector: Option<ConnectorId>,
    },
}

numbered! {
    /// A message that a charger can be ordered to send.
    Triggered {
        /// BootNotification.
        Boot = 1,
        /// Heartbeat.
        Heartbeat = 2,
        /// MeterValues.
        MeterValues = 3,
        /// StatusNotification.
        Status = 4,
    }
}

/// What becomes of an order to a charger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderOutcome {
    /// The charger carries it out.
    Accepted,
    /// The charger does not, in its own word.
    Refused(Box<str>),
    /// It cannot be carried out, for this reason.
    NotPossible(Box<str>),
    /// The charger has not answered in time.
    Unanswered,
}
