//! Sessions: the list, and one.

use super::paging::{First, Part, Rows};
use crate::account::account_of;
use crate::node::shard::Shard;
use crate::payment::Payment;
use crate::session::{Ended, Session, Stage};

pub use crate::session::FLAGS;
use crate::tariff::Tariff;
use crate::units::{
    AccountId, Amount, ChargerId, ConnectorId, Cost, Energy, PaymentId, ProcessorId, Protocol, SessionId, Timestamp,
    visible,
};
use serde::Deserialize;
use std::cmp::Reverse;
use std::sync::Arc;

/// By what a list of sessions is ordered: the newest first.
pub type Newest = Reverse<SessionId>;

/// The states by which sessions are listed. A refused session is a closed one that was never admitted.
pub const SESSION_STATES: [&str; 5] = ["authorizing", "charging", "settling", "closed", REFUSED];
const REFUSED: &str = "refused";

/// Selection of sessions.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Filter {
    /// One of [`SESSION_STATES`].
    pub state: Option<String>,
    /// The beginning of a charger's id.
    pub charger: Option<String>,
    /// The beginning of the session's id.
    pub id: Option<String>,
    /// One of [`FLAGS`].
    pub flag: Option<String>,
    /// A processor that has, or had, a hold of it.
    pub processor: Option<String>,
    /// An account that pays for it.
    pub account: Option<String>,
    /// It began then or later.
    pub since: Option<Timestamp>,
    /// It began before.
    pub until: Option<Timestamp>,
    /// What its ids, its charger, its credential or one of its documents have, in small letters.
    pub q: Option<String>,
}

impl Filter {
    /// Whether a session is wanted.
    pub fn fits(&self, session: &Session) -> bool {
        let Filter { state, charger, id, flag, processor, account, since, until, q } = self;
        state
            .as_deref()
            .is_none_or(|wanted| wanted == state_name(session) || (wanted == REFUSED && is_refused(session)))
            && charger.as_deref().is_none_or(|start| session.charger.as_str().starts_with(start))
            && id.as_deref().is_none_or(|start| {
                let text = session.id.to_string();
                text.starts_with(start) || text.trim_start_matches("ses_").starts_with(start)
            })
            && flag.as_deref().is_none_or(|wanted| session.flags().any(|flag| flag == wanted))
            && since.is_none_or(|since| since <= session.opened_at)
            && until.is_none_or(|until| session.opened_at < until)
            && processor.as_deref().is_none_or(|wanted| has_hold(session, |id| id.as_str() == wanted))
            && account.as_deref().is_none_or(|wanted| {
                has_hold(session, |id| account_of(id).is_some_and(|account| account.as_str() == wanted))
            })
            && q.as_deref().is_none_or(|wanted| mentions(session, wanted))
    }

    /// Whether closed sessions may fit.
    pub fn takes_closed(&self) -> bool {
        self.state.as_deref().is_none_or(|state| state == "closed" || state == REFUSED)
    }
}

fn has_hold(session: &Session, wanted: impl Fn(&ProcessorId) -> bool) -> bool {
    session.payment.holds().iter().any(|hold| wanted(hold.processor()))
}

/// Whether a text by which a session is looked up has these letters.
fn mentions(session: &Session, wanted: &str) -> bool {
    let has = |text: &str| text.to_lowercase().contains(wanted);
    has(&session.id.to_string())
        || has(session.charger.as_str())
        || has(&session.fingerprint.to_string())
        || has(&transaction(session))
        || session.documents().iter().any(|issued| has(&issued.number.to_string()))
        || has_hold(session, |id| has(id.as_str()))
}

/// Where a session stands, in one word.
pub fn state_name(session: &Session) -> &'static str {
    match session.stage {
        Stage::Authorizing => "authorizing",
        Stage::Charging { .. } => "charging",
        Stage::Settling(_) => "settling",
        Stage::Closed(_) => "closed",
    }
}

/// Whether it ended without having been admitted, and without energy.
fn is_refused(session: &Session) -> bool {
    matches!(&session.stage, Stage::Closed(ended) if !ended.admitted) && session.kept_energy().is_none()
}

/// The charger's name for a session, or the number that the two know it by.
fn transaction(session: &Session) -> String {
    let name = session.origin.as_ref().and_then(|origin| origin.name.as_deref());
    name.map_or_else(|| session.key.to_string(), |name| visible(name).into_owned())
}

/// What a list shows of a session.
#[derive(Clone, Debug)]
pub struct SessionSummary {
    /// Its id.
    pub id: SessionId,
    /// Where it stands: one of [`SESSION_STATES`] but the last.
    pub state: &'static str,
    /// Whether it ended without having been admitted.
    pub is_refused: bool,
    /// The charger.
    pub charger: ChargerId,
    /// The connector.
    pub connector: ConnectorId,
    /// How the credential is shown.
    pub credential: String,
    /// When it began.
    pub opened_at: Timestamp,
    /// Its end, once it has ended.
    pub ended: Option<Ended>,
    /// Energy that is billed.
    pub energy: Energy,
    /// Readings recorded.
    pub readings: u32,
    /// The exact cost, tax included; none: it runs, and its tariff was not at hand.
    pub cost: Option<Cost>,
    /// Reserved now.
    pub held: Amount,
    /// Taken.
    pub captured: Amount,
    /// Energy that is kept for review, if any is.
    pub kept: Option<Energy>,
    /// Its flags.
    pub flags: Vec<&'static str>,
    /// What its charger speaks.
    pub protocol: Protocol,
    /// The charger's name for it, or the number that the two know it by.
    pub transaction: String,
}

impl SessionSummary {
    /// Of a session; while it runs, its cost follows from its tariff.
    pub fn of(session: &Session, tariff: Option<&Tariff>) -> SessionSummary {
        let ended = session.ended().copied();
        let running = || match tariff? {
            tariff if session.is_unpaid() => Some(Cost::zero(tariff.currency())),
            tariff => session.rating.total(tariff).ok().map(|total| total.incl_vat),
        };
        SessionSummary {
            id: session.id,
            state: state_name(session),
            is_refused: is_refused(session),
            charger: session.charger.clone(),
            connector: session.connector,
            credential: session.fingerprint.to_string(),
            protocol: session.protocol(),
            transaction: transaction(session),
            opened_at: session.opened_at,
            cost: ended.map(|ended| ended.cost).or_else(running),
            ended,
            energy: session.meter.energy(),
            kept: session.kept_energy(),
            flags: session.flags().collect(),
            readings: session.meter.sequence,
            held: session.payment.authorized(),
            captured: session.payment.captured(),
        }
    }
}

/// A page of the live sessions that fit, the newest first.
#[derive(Clone, Debug)]
pub struct Sessions {
    /// Which.
    pub filter: Filter,
    /// The page.
    pub part: Part<Newest>,
}

impl Sessions {
    pub(super) fn ask(&self, shard: &Shard) -> Rows<Newest, SessionSummary> {
        self.part.of(shard, |partitions, page| {
            let mut first = First::behind(page.after, page.limit);
            for (_, hosted) in partitions.iter().flat_map(|partition| partition.sessions.iter()) {
                let id = Reverse(hosted.state().id);
                if first.wants(&id) && self.filter.fits(hosted.state()) {
                    first.offer(id, hosted);
                }
            }
            first.rows(|id, hosted| (id, SessionSummary::of(hosted.state(), Some(hosted.tariff()))))
        })
    }
}

/// A live session with its tariff.
#[derive(Clone, Debug)]
pub struct LiveSession {
    /// Its state.
    pub session: Session,
    /// The tariff that it began with.
    pub tariff: Arc<Tariff>,
}

/// A live session.
#[derive(Clone, Copy, Debug)]
pub struct SessionNamed(pub SessionId);

impl SessionNamed {
    pub(super) fn ask(&self, shard: &Shard) -> Option<Box<LiveSession>> {
        let hosted = shard.session(self.0)?;
        Some(Box::new(LiveSession { session: hosted.state().clone(), tariff: hosted.tariff().clone() }))
    }
}

/// A page of the live sessions with their states, the oldest first.
#[derive(Clone, Debug)]
pub struct WholeSessions {
    /// The page.
    pub part: Part<SessionId>,
}

impl WholeSessions {
    pub(super) fn ask(&self, shard: &Shard) -> Rows<SessionId, Box<Session>> {
        self.part.of(shard, |partitions, page| {
            let mut first = First::behind(page.after, page.limit);
            for (_, hosted) in partitions.iter().flat_map(|partition| partition.sessions.iter()) {
                first.offer(hosted.state().id, hosted);
            }
            first.rows(|id, hosted| (id, Box::new(hosted.state().clone())))
        })
    }
}

/// A page of the payments of live sessions and top-ups, the newest first.
#[derive(Clone, Debug)]
pub struct Payments {
    /// The page.
    pub part: Part<Reverse<PaymentId>>,
}

/// A payment, with the charger where it is that of a session.
#[derive(Clone, Debug)]
pub struct OwnedPayment {
    /// The payment.
    pub payment: Payment,
    /// The charger; none: a top-up.
    pub charger: Option<ChargerId>,
}

impl Payments {
    pub(super) fn ask(&self, shard: &Shard) -> Rows<Reverse<PaymentId>, Box<OwnedPayment>> {
        self.part.of(shard, |partitions, page| {
            let mut first = First::behind(page.after, page.limit);
            for (_, hosted) in partitions.iter().flat_map(|partition| partition.sessions.iter()) {
                let session = hosted.state();
                first.offer(Reverse(session.id.payment()), (&session.payment, Some(&session.charger)));
            }
            for top_up in partitions.iter().flat_map(|partition| partition.top_ups.known.values()) {
                first.offer(Reverse(top_up.payment.id()), (&top_up.payment, None));
            }
            first.rows(|id, (payment, charger)| {
                (id, Box::new(OwnedPayment { payment: payment.clone(), charger: charger.cloned() }))
            })
        })
    }
}

/// The payment of a top-up, and its account.
#[derive(Clone, Copy, Debug)]
pub struct TopUpPayment(pub PaymentId);

impl TopUpPayment {
    pub(super) fn ask(&self, shard: &Shard) -> Option<Box<(Payment, AccountId)>> {
        let mut partitions = shard.partitions().iter();
        let top_up = partitions.find_map(|partition| partition.top_ups.known.get(&self.0))?;
        Some(Box::new((top_up.payment.clone(), top_up.account.clone())))
    }
}
