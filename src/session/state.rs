//! State of a session. Each stage has exactly the data that is legal in it.

use super::{Meter, Note, Opening, Origin, Quarantine, StopReason};
use crate::billing::invoice::Issued;
use crate::billing::meter_signature::Judged;
use crate::limits::OCPP_OFFLINE_AFTER;
use crate::payment::{Payment, Shown};
use crate::stored::stored;
use crate::tariff::{Rating, Segments};
use crate::units::{
    Amount, ChargerId, Common, ConnectorId, Cost, Currency, Power, Protocol, SessionId, SessionKey, TariffHash,
    Timestamp,
};
use serde::{Deserialize, Serialize};

/// A charging session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The gate's id.
    pub id: SessionId,
    /// The charger.
    pub charger: ChargerId,
    /// The connector.
    pub connector: ConnectorId,
    /// The charger's number for it.
    pub key: SessionKey,
    /// When it began, by the charger's clock.
    pub opened_at: Timestamp,
    /// The most power that the connector can give.
    pub power_max: Power,
    /// The tariff's version.
    pub tariff: Common<TariffHash>,
    /// The charger's time zone, as an IANA name.
    pub zone: Common<Box<str>>,
    /// Printable form of the credential.
    pub fingerprint: Shown,
    /// The meter.
    pub meter: Meter,
    /// The accrued cost.
    pub rating: Rating,
    /// The trail of the price: one line for every stretch at one component's price.
    pub segments: Segments,
    /// The money.
    pub payment: Payment,
    /// Where it stands.
    pub stage: Stage,
    /// The result: empty while energy flows that is paid for.
    pub(super) outcome: Option<Box<Outcome>>,
    /// Where the gate numbers the session: how it began.
    #[serde(skip)]
    pub origin: Option<Box<Origin>>,
}

stored!(struct Session {
    0: id, 1: charger, 2: connector, 3: key, 4: opened_at, 5: power_max, 6: tariff, 7: zone, 8: fingerprint, 9: meter,
    10: rating, 11: segments, 12: payment, 13: stage, 14: outcome,
    15: origin or None,
});

/// The result of a session, and what is special about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Outcome {
    pub(super) settled_at: Option<Timestamp>,
    pub(super) documents: Vec<Issued>,
    #[serde(skip)]
    pub(super) quarantine: Option<Quarantine>,
    #[serde(skip)]
    pub(super) notes: Vec<Note>,
    #[serde(skip)]
    pub(super) signed: Vec<Judged>,
}

stored!(struct Outcome { 0: settled_at, 1: documents, 2: quarantine or None, 3: notes or Vec::new(), 4: signed or Vec::new() });

/// What is special about sessions, in one word each.
pub const FLAGS: [&str; 6] = ["estimated", "offline", "gap", "quarantined", "signed_verified", "signed_unverified"];

/// Where a session stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Funds have been requested.
    Authorizing,
    /// Energy may flow.
    Charging {
        /// The limit that was sent to the charger.
        limit: Amount,
        /// Reason of the stop order, once it was sent.
        stop_asked: Option<StopReason>,
    },
    /// The last register is known; the hold is being captured or released.
    Settling(Box<Ended>),
    /// Every hold has ended.
    Closed(Box<Ended>),
}

stored!(enum Stage { 0: Authorizing, 1: Charging { 0: limit, 1: stop_asked }, 2: Settling(ended), 3: Closed(ended) });

/// The end of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The reason.
    pub reason: StopReason,
    /// When the last good reading was taken, by the charger's clock.
    pub at: Timestamp,
    /// When the gate knew.
    pub known_at: Timestamp,
    /// The cost, exact, VAT included.
    pub cost: Cost,
    /// The amount that the driver pays: the cost, rounded once.
    pub payable: Amount,
    /// Whether energy was given, or the session was refused before.
    pub admitted: bool,
}

stored!(struct Ended { 0: reason, 1: at, 2: known_at, 3: cost, 4: payable, 5: admitted });

impl Session {
    /// The session that an opening fact makes.
    pub fn new(opening: &Opening, rating: Rating, currency: Currency) -> Session {
        Session {
            id: opening.id,
            charger: opening.charger.clone(),
            connector: opening.connector,
            key: opening.key,
            opened_at: opening.at,
            power_max: opening.power_max,
            tariff: opening.tariff.into(),
            zone: opening.zone.clone().into(),
            fingerprint: Shown::from(&*opening.fingerprint),
            meter: Meter::new(opening.at, opening.register),
            segments: Segments::open(&rating),
            rating,
            payment: Payment::new(opening.id.payment(), currency),
            stage: Stage::Authorizing,
            outcome: None,
            origin: opening.origin.clone(),
        }
    }

    /// When every hold had ended for the first time: the books took the amount owed in then.
    pub fn settled_at(&self) -> Option<Timestamp> {
        self.outcome.as_ref()?.settled_at
    }

    /// Its numbered documents in the order of their numbers: the invoice, then what corrects it. Facts of the series that
    /// numbered them; here as they concern the session.
    pub fn documents(&self) -> &[Issued] {
        self.outcome.as_ref().map_or(&[], |outcome| &outcome.documents)
    }

    /// Keeps a document that a series has numbered.
    pub fn keep_document(&mut self, issued: Issued) {
        self.outcome.get_or_insert_default().documents.push(issued);
    }

    /// Whether this is noted of it.
    pub fn has_note(&self, note: Note) -> bool {
        self.outcome.as_ref().is_some_and(|outcome| outcome.notes.contains(&note))
    }

    /// What the meter signed of it, in the order in which it came.
    pub fn signed(&self) -> &[Judged] {
        self.outcome.as_ref().map_or(&[], |outcome| &outcome.signed)
    }

    /// Its flags: `estimated`, it ended without its charger; `offline`, it was reported later than it was; `gap`, reports of it are
    /// missing; `quarantined`, something that was reported of it is kept for review; `signed_verified`, all that its meter signed
    /// is verified; `signed_unverified`, not all of it.
    pub fn flags(&self) -> impl Iterator<Item = &'static str> {
        let estimated = self.ended().is_some_and(|ended| ended.reason.is_estimate());
        let late = self.origin.is_some() && self.id.begun().since(self.opened_at) > OCPP_OFFLINE_AFTER;
        let offline = late || self.has_note(Note::Offline);
        let (signed, verified) = (!self.signed().is_empty(), self.signed().iter().all(Judged::is_verified));
        let kept = self.kept_energy().is_some();
        let set = [estimated, offline, self.has_note(Note::Gap), kept, signed && verified, signed && !verified];
        FLAGS.into_iter().zip(set).filter(|(_, is_set)| *is_set).map(|(flag, _)| flag)
    }

    /// What its charger spoke when it began.
    pub fn protocol(&self) -> Protocol {
        self.origin.as_ref().map_or(Protocol::Native, |origin| origin.protocol)
    }

    /// Why its charger was ordered to stop, or, of one that no start began, why the charger ended it.
    pub fn ordered_to_stop(&self) -> Option<StopReason> {
        match &self.stage {
            Stage::Charging { stop_asked, .. } => *stop_asked,
            Stage::Authorizing | Stage::Settling(_) | Stage::Closed(_) => None,
        }
    }

    /// The end, if it has ended.
    pub fn ended(&self) -> Option<&Ended> {
        match &self.stage {
            Stage::Authorizing | Stage::Charging { .. } => None,
            Stage::Settling(ended) | Stage::Closed(ended) => Some(ended),
        }
    }
}
