//! The one reader of log records and snapshots of version 4, whose payloads are encoded by postcard: by the place of a variant
//! in its enum and of a field in its struct. It serves the upgrade of older data, and never changes.
//!
//! Types keep their `Deserialize` for it. A field that is added to a stored type is left out there (`#[serde(skip)]`), and a
//! variant is added at the end. The archive is not converted: [`crate::accounting::archive_record`] and
//! [`crate::accounting::pages`] read what was archived in version 4 for ever.

use super::certificates::Expiring;
use super::fact::Fact;
use super::partition::Tally;
use super::session_record;
use super::shard::Shard;
use super::snapshot::Rest;
use crate::account::{Account, TopUp};
use crate::accounting::posting::PartitionBooks;
use crate::billing::invoice::{Requests, Series, SeriesId};
use crate::billing::reconciliation::register::Register;
use crate::charger::Charger;
use crate::journal::{Record, RecordKind, Replay, Sequence};
use crate::payment::known_processor::KnownProcessors;
use crate::session::Session;
use crate::units::{Now, PartitionId, PaymentId};
use serde::Deserialize;
use std::collections::BTreeMap;

/// A shard while records of version 4 are replayed.
pub struct RebuildingVersion4 {
    /// The shard.
    pub shard: Shard,
    /// The clocks of the start.
    pub now: Now,
}

impl Replay for RebuildingVersion4 {
    fn snapshot(&mut self, partition: PartitionId, _: Sequence, state: &[u8]) -> Result<(), String> {
        let read: State<'_> = postcard::from_bytes(state).map_err(unreadable)?;
        let mut restoring = self.shard.begin_restoring(partition, self.now);
        read.tariffs.into_iter().try_for_each(|text| restoring.tariff(text))?;
        restoring.reserve(read.chargers.len(), read.sessions.len());
        read.chargers.into_iter().for_each(|charger| restoring.charger(charger));
        read.sessions.into_iter().try_for_each(|session| restoring.session(session))?;
        read.accounts.into_iter().for_each(|account| restoring.account(account));
        restoring.rest(Rest {
            tally: read.tally,
            books: read.books,
            series: read.series,
            requests: read.requests,
            settlements: read.settlements,
            top_ups: read.top_ups,
            processors: read.processors,
            last_number: 0,
            expiring: Expiring::default(),
        });
        Ok(())
    }

    fn record(&mut self, record: Record<'_>) -> Result<(), String> {
        let fact = read(record).map_err(unreadable)?;
        self.shard.replay_fact(record.partition, fact, self.now)
    }
}

/// The state of a partition.
#[derive(Deserialize)]
struct State<'a> {
    #[serde(borrow)]
    tariffs: Vec<&'a str>,
    chargers: Vec<Charger>,
    sessions: Vec<Session>,
    accounts: Vec<Account>,
    tally: Tally,
    books: PartitionBooks,
    series: BTreeMap<SeriesId, Series>,
    requests: Requests,
    settlements: Register,
    top_ups: BTreeMap<PaymentId, TopUp>,
    processors: KnownProcessors,
}

/// Reads the payload of a record of version 4.
///
/// # Errors
/// When it is none.
pub fn read(record: Record<'_>) -> Result<Fact<'_>, postcard::Error> {
    fn both<'a, A: Deserialize<'a>, B: Deserialize<'a>>(
        payload: &'a [u8],
        fact: impl FnOnce(A, B) -> Fact<'a>,
    ) -> Result<Fact<'a>, postcard::Error> {
        postcard::from_bytes(payload).map(|(name, event)| fact(name, event))
    }
    let payload = record.payload;
    match record.kind {
        RecordKind::SessionEvent => {
            let short = postcard::Error::DeserializeUnexpectedEnd;
            let (id, event) = session_record::split(record.partition, payload).ok_or(short)?;
            match session_record::read_plain(id, event) {
                Some(plain) => plain.ok_or(postcard::Error::DeserializeBadEncoding),
                None => postcard::from_bytes(event),
            }
            .map(|event| Fact::Session(id, event))
        }
        RecordKind::ChargerEvent => both(payload, Fact::Charger),
        RecordKind::AccountEvent => both(payload, Fact::Account),
        RecordKind::TariffPinned => both(payload, Fact::TariffPinned),
        RecordKind::BillingEvent => both(payload, Fact::Billing),
        RecordKind::SettlementEvent => postcard::from_bytes(payload).map(Fact::Settlement),
        RecordKind::TopUpEvent => both(payload, Fact::TopUp),
        RecordKind::ProcessorEvent => postcard::from_bytes(payload).map(Fact::Processor),
        RecordKind::DocumentEvent => postcard::from_bytes(payload).map(Fact::Document),
        RecordKind::CertificateEvent => postcard::from_bytes(payload).map(Fact::Certificate),
    }
}

fn unreadable(error: postcard::Error) -> String {
    format!("it cannot be read: {error}")
}
