//! The archived form of a session: its state, the tariff that priced it, and its signed receipt.
//!
//! Pure: the same session makes the same receipt, to the last byte of its signature.

use crate::billing::invoice::Issued;
use crate::billing::{
    BillingError, ChargerLocation, ClosedSession, Issue, Issuer, Party, PaymentSummary, PinnedTariff, Presented,
    PresentedKind, Pricing, Receipt, SignedReceipt, SigningKey,
};
use crate::limits;
use crate::payment::Payment;
use crate::session::{Session, StopReason};
use crate::stored::{self, Stored, StoredError, stored};
use crate::tariff::{Tariff, TaxIncluded};
use crate::units::{Amount, ChargerId, Cost, SessionId, Timestamp};
use serde::Deserialize;

/// A session as it is archived.
#[derive(Clone, Debug, PartialEq)]
pub struct ArchiveRecord {
    /// Its last state.
    pub session: Session,
    /// The text of its tariff.
    pub tariff: String,
    /// The signed receipt in JSON; none when the session's figures contradicted each other, which is a defect.
    pub receipt: Option<String>,
}

stored!(struct ArchiveRecord { 0: session, 1: tariff, 2: receipt });

/// The same in data of version 4, encoded by postcard.
#[derive(Deserialize)]
struct ArchiveRecordInVersion4 {
    #[serde(rename = "version")]
    _version: u8,
    session: Session,
    tariff: String,
    receipt: Option<String>,
}

/// How receipts are made.
#[derive(Debug)]
pub struct Billing {
    /// The key that signs them.
    pub key: SigningKey,
    /// The seller.
    pub issuer: Issuer,
    /// What a receipt's address begins with; empty when it has none.
    pub receipt_base: String,
    /// Where chargers stand.
    pub sites: Sites,
}

/// Finds out where a charger stands.
pub struct Sites(pub Box<LocationOf>);

/// The place of a charger, where one is known.
pub type LocationOf = dyn Fn(&ChargerId) -> Option<ChargerLocation> + Send + Sync;

/// No charger has a site.
impl Default for Sites {
    fn default() -> Sites {
        Sites(Box::new(|_| None))
    }
}

impl std::fmt::Debug for Sites {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sites")
    }
}

/// Why an archive record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveRecordError {
    /// Written by a newer version of the program.
    #[error("an archive record of version {0}, which this program does not know")]
    Version(u8),
    /// Damaged, or no archive record.
    #[error("an archive record cannot be read: {0}")]
    Unreadable(#[from] StoredError),
    /// The same of one that was archived in data of version 4.
    #[error("an archive record of version 1 cannot be read: {0}")]
    UnreadableInVersion4(#[from] postcard::Error),
}

impl ArchiveRecord {
    /// Written in front of its stored form.
    const VERSION: u8 = 2;
    /// The version of archive records in data of version 4. They stay as they are in the archive.
    const VERSION_4: u8 = 1;

    /// The archive record of a session that is over.
    pub fn new(session: Session, tariff: &Tariff, billing: &Billing) -> ArchiveRecord {
        let receipt = match receipt(&session, tariff, billing) {
            Ok(receipt) => Some(receipt.to_json()),
            Err(error) => {
                tracing::error!(session = %session.id, %error, "a session has no receipt");
                None
            }
        };
        // The bounds of sessions, tariffs and credit records leave it room. The state is what counts: a receipt can be made again.
        let receipt = receipt.filter(|receipt| receipt.len() <= limits::ARCHIVE_RECORD_MAX / 2);
        ArchiveRecord { session, tariff: tariff.source().to_owned(), receipt }
    }

    /// As bytes for the archive.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![ArchiveRecord::VERSION];
        self.store(&mut bytes);
        bytes
    }

    /// From the archive.
    ///
    /// # Errors
    /// [`ArchiveRecordError`]: bytes that are no archive record of this version.
    pub fn from_bytes(bytes: &[u8]) -> Result<ArchiveRecord, ArchiveRecordError> {
        match bytes.split_first() {
            Some((&ArchiveRecord::VERSION, rest)) => Ok(stored::from_bytes(rest)?),
            Some((&ArchiveRecord::VERSION_4, _)) => {
                let ArchiveRecordInVersion4 { session, tariff, receipt, .. } = postcard::from_bytes(bytes)?;
                Ok(ArchiveRecord { session, tariff, receipt })
            }
            Some((&other, _)) => Err(ArchiveRecordError::Version(other)),
            None => Err(StoredError::invalid("it is empty").into()),
        }
    }
}

/// When a session was settled, for the order of the archive.
pub fn settled_at(session: &Session) -> Timestamp {
    session.settled_at().or_else(|| session.ended().map(|ended| ended.known_at)).unwrap_or(session.opened_at)
}

/// The signed receipt of a session that is over.
///
/// # Errors
/// [`BillingError`]: figures that contradict each other, which is a defect.
pub fn receipt(session: &Session, tariff: &Tariff, billing: &Billing) -> Result<SignedReceipt, BillingError> {
    let number = invoice(session).map(|invoice| &invoice.number);
    let issue = Issue {
        issuer: billing.issuer.clone(),
        party: Party {
            country_code: String::from_utf8_lossy(&tariff.country()).into_owned(),
            party_id: tariff.party().to_owned(),
        },
        at: settled_at(session),
        number: number.map(ToString::to_string),
        later: session.documents().iter().filter(|issued| Some(&issued.number) != number).cloned().collect(),
        link: link(&billing.receipt_base, session.id),
    };
    let mut figures = closed(session, tariff)?;
    if let Some(place) = (billing.sites.0)(&session.charger) {
        figures.place = place;
    }
    Ok(billing.key.sign(Receipt::new(&figures, &issue)?))
}

/// The invoice of a session: its first, or the first after everything before it was taken back.
pub fn invoice(session: &Session) -> Option<&Issued> {
    let (mut found, mut sum) = (None, 0_i64);
    for issued in session.documents() {
        if sum == 0 && issued.document.total.minor > 0 {
            found = Some(issued);
        }
        sum = sum.saturating_add(issued.document.total.minor);
    }
    found
}

fn link(base: &str, session: SessionId) -> Option<String> {
    (!base.is_empty()).then(|| format!("{base}{session}"))
}

/// What a session was priced at, with every line. A session that ended without energy costs nothing, whatever fee its
/// tariff begins with, and neither does one that is not paid for.
///
/// # Errors
/// [`BillingError`]: figures that contradict each other, which is a defect.
pub fn priced(session: &Session, tariff: &Tariff) -> Result<Pricing, BillingError> {
    let mut pricing = Pricing::of(tariff, &session.rating, &session.segments, session.meter.at)?;
    let nothing = || session.is_unpaid().then(|| Cost::zero(tariff.currency()));
    let cost = session.ended().map(|ended| ended.cost).or_else(nothing);
    if let Some(cost) = cost.filter(|cost| *cost != pricing.gross) {
        if cost.parts() != 0 {
            return Err(BillingError::Lines { lines: pricing.gross, total: cost });
        }
        (pricing.net, pricing.gross) = (cost, cost);
        pricing.lines.clear();
        pricing.vat.clear();
    }
    Ok(pricing)
}

/// The figures of a session for billing. Of a running one: as if it ended now.
///
/// # Errors
/// [`BillingError`]: figures that contradict each other, which is a defect.
pub fn closed(session: &Session, tariff: &Tariff) -> Result<ClosedSession, BillingError> {
    let pricing = priced(session, tariff)?;
    let payable = match session.ended() {
        Some(ended) => ended.payable,
        None => pricing.gross.round(pricing.rounding)?,
    };
    Ok(ClosedSession {
        id: session.id,
        key: session.key,
        charger: session.charger.clone(),
        connector: session.connector,
        place: ChargerLocation { location_id: session.charger.as_str().into(), ..ChargerLocation::default() },
        started_at: session.opened_at,
        ended_at: session.ended().map_or(session.meter.at, |ended| ended.at),
        zone: (**session.zone).into(),
        end_reason: session.ended().map_or("still going on", |ended| in_words(ended.reason)).into(),
        flags: session.flags().collect(),
        first_register: session.meter.first,
        last_register: session.meter.register,
        energy: session.meter.energy(),
        parking: session.rating.parking_time(),
        readings: session.meter.sequence,
        tariff: PinnedTariff {
            id: tariff.id().clone(),
            hash: tariff.hash(),
            text: tariff.source().into(),
            prices_include_vat: tariff.tax_included() == TaxIncluded::Yes,
        },
        lines: pricing.lines,
        vat: pricing.vat,
        net: pricing.net,
        gross: pricing.gross,
        rounding: pricing.rounding,
        payable,
        payment: paid(session),
        presented: presented(&session.fingerprint.to_string()),
    })
}

fn paid(session: &Session) -> PaymentSummary {
    let payment = &session.payment;
    let approved = || payment.holds().iter().filter(|hold| hold.authorized_minor > 0);
    let authorized = approved().map(|hold| hold.authorized_minor).fold(0, i64::saturating_add);
    PaymentSummary {
        processor: approved().next().map(|hold| hold.processor().clone()),
        authorized: Amount::new(authorized, payment.currency()),
        captured: payment.captured(),
        released: released(payment),
        shortfall: payment.shortfall(),
        references: approved().filter_map(|hold| hold.processor_ref.as_ref().map(|name| name.0.clone())).collect(),
        captured_at: session.settled_at().filter(|_| payment.captured().minor > 0),
    }
}

/// The amount that ended holds had reserved and not captured.
pub fn released(payment: &Payment) -> Amount {
    let ended = payment.holds().iter().filter(|hold| hold.is_over());
    let minor = ended.map(|hold| hold.authorized_minor.saturating_sub(hold.captured_minor).max(0));
    Amount::new(minor.fold(0, i64::saturating_add), payment.currency())
}

fn presented(shown: &str) -> Presented {
    let kind = match shown.split(':').next() {
        Some("card") => PresentedKind::Card,
        Some("wallet") => PresentedKind::Wallet,
        Some("rfid") => PresentedKind::Rfid,
        _ => PresentedKind::EvAccount,
    };
    Presented { kind, fingerprint: shown.into() }
}

/// Why a session ended, for people.
pub const fn in_words(reason: StopReason) -> &'static str {
    match reason {
        StopReason::Local => "stopped at the charger",
        StopReason::Unplugged => "unplugged",
        StopReason::Ordered => "stopped as ordered",
        StopReason::LimitReached => "the limit was reached",
        StopReason::EmergencyStop => "emergency stop",
        StopReason::PowerLoss => "the charger lost its power",
        StopReason::Reboot => "the charger restarted",
        StopReason::Fault => "a fault at the charger",
        StopReason::Other => "ended by the charger",
        StopReason::FundsExhausted => "the authorized funds were used up",
        StopReason::AuthorizationLost => "the authorization was lost",
        StopReason::Operator => "stopped by the operator",
        StopReason::Driver => "stopped by the driver",
        StopReason::Silence => "the charger was silent for too long",
        StopReason::Omitted => "the charger no longer knew the session",
        StopReason::Declined => "the credential was declined",
        StopReason::TooLittle => "too little was authorized",
        StopReason::NoFunds => "not enough money (no_funds)",
        StopReason::NoDecision => "no decision on the credential came in time",
        StopReason::NoProcessor => "no processor could be reached",
        StopReason::OtherCurrency => "the funds are in another currency than the tariff",
        StopReason::NotAccepted => "no account and no processor takes the credential",
        StopReason::Expired => "the card has expired",
        StopReason::Concurrent => "the account paid for another session (session_open)",
        StopReason::Unreported => "the charger restarted, or its connector is free, and no stop came",
    }
}
