//! What a record of the log states, read from its payload.

use super::{certificates, session_record};
use crate::account;
use crate::billing::invoice::{self, RequestEvent, SeriesId};
use crate::billing::reconciliation::register;
use crate::charger;
use crate::journal::{Record, RecordKind};
use crate::payment::known_processor;
use crate::session;
use crate::stored::{self, Stored, StoredError, load_text, store_text};
use crate::units::{AccountId, ChargerId, PaymentId, SessionId, TariffHash};

/// A fact, with the name of what it is about where the fact itself does not have it.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact<'a> {
    /// Of a session.
    Session(SessionId, session::Event),
    /// Of a charger.
    Charger(ChargerId, charger::Event),
    /// Of an account.
    Account(AccountId, account::Event),
    /// A tariff is used from here on: its hash and its text.
    TariffPinned(TariffHash, &'a str),
    /// Of an invoice series.
    Billing(SeriesId, invoice::Event),
    /// Of settlement.
    Settlement(register::Event),
    /// Of a top-up.
    TopUp(PaymentId, account::TopUpEvent),
    /// Of a processor.
    Processor(known_processor::Event),
    /// Of documents that wait for their numbers.
    Document(RequestEvent),
    /// Of a certificate.
    Certificate(certificates::Event),
}

impl<'a> Fact<'a> {
    /// Reads the payload of a record.
    ///
    /// # Errors
    /// [`StoredError`] names the type and field that cannot be read.
    pub fn read(record: Record<'a>) -> Result<Fact<'a>, StoredError> {
        let payload = record.payload;
        match record.kind {
            RecordKind::SessionEvent => {
                session_record::read(record.partition, payload).map(|(id, event)| Fact::Session(id, event))
            }
            RecordKind::ChargerEvent => stored::from_bytes(payload).map(|(id, event)| Fact::Charger(id, event)),
            RecordKind::AccountEvent => stored::from_bytes(payload).map(|(id, event)| Fact::Account(id, event)),
            RecordKind::TariffPinned => {
                let mut rest = payload;
                let hash = TariffHash::load(&mut rest)?;
                load_text(&mut rest).map(|text| Fact::TariffPinned(hash, text))
            }
            RecordKind::BillingEvent => stored::from_bytes(payload).map(|(id, event)| Fact::Billing(id, event)),
            RecordKind::SettlementEvent => stored::from_bytes(payload).map(Fact::Settlement),
            RecordKind::TopUpEvent => stored::from_bytes(payload).map(|(id, event)| Fact::TopUp(id, event)),
            RecordKind::ProcessorEvent => stored::from_bytes(payload).map(Fact::Processor),
            RecordKind::DocumentEvent => stored::from_bytes(payload).map(Fact::Document),
            RecordKind::CertificateEvent => stored::from_bytes(payload).map(Fact::Certificate),
        }
    }
}

/// Writes a fact behind the name of what it is about.
pub(super) fn write(name: &impl Stored, event: &impl Stored, bytes: &mut Vec<u8>) {
    name.store(bytes);
    event.store(bytes);
}

/// Writes the fact that a tariff is used from here on.
pub(super) fn write_pinned(hash: TariffHash, text: &str, bytes: &mut Vec<u8>) {
    hash.store(bytes);
    store_text(text, bytes);
}
