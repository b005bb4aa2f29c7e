//! Sessions that are not paid for: of starts that were refused, and of reports that name no session that is known. What their
//! chargers report is kept ([`crate::session::Quarantine`]), and operators decide on it.

use super::sessions;
use super::starts::{self, Known, New, Refused};
use super::unnumbered::Report;
use crate::account::account_processor;
use crate::charger::{Charger, Mark};
use crate::limits::OCPP_POWER_UNKNOWN;
use crate::message::{Begin, Numbering, SessionName};
use crate::node::credentials::Credentials;
use crate::node::delivery::Delivery;
use crate::node::hosted::Slot;
use crate::node::input::{Input, ReviewOrder};
use crate::node::output::Output;
use crate::node::partition::Partition;
use crate::node::reply::{Ordered, ReplyTo};
use crate::node::routing;
use crate::node::session::HostedSession;
use crate::session::{Adopted, Cause, Command, Order, Origin, Review, Session};
use crate::units::{ConnectorId, Energy, MeterReading, Protocol, SessionId, SessionKey};

/// In place of the connector of a report that names none.
const NO_CONNECTOR: ConnectorId = ConnectorId(0);

/// How a session began.
pub(super) fn origin(charger: &Charger, begin: &Begin, mark: Mark, adopted: Option<Adopted>) -> Origin {
    Origin {
        protocol: begin.protocol,
        name: begin.name.clone(),
        mark: (mark.exact, mark.loose),
        lacks_register: begin.register.is_none(),
        adopted,
        apart: apart(charger, begin, adopted.as_ref()),
    }
}

/// Registers of earlier reports that a start comes too late to adopt: in their order.
fn apart(charger: &Charger, begin: &Begin, adopted: Option<&Adopted>) -> Vec<(Energy, Energy)> {
    let named = begin.name.as_ref().map(|name| mark_of(name, b"").loose);
    let is_adopted = |key: SessionKey| {
        let past = charger.past_session(key).map(|past| past.session);
        past.is_some() && past == adopted.map(|adopted| adopted.from)
    };
    let belongs = charger.begun().filter(|begun| !is_adopted(begun.key)).filter_map(|begun| {
        let apart = begun.apart.filter(|apart| apart.first < apart.last && begin.at <= apart.last_at)?;
        let belongs = match named {
            Some(loose) => begun.mark.loose == loose,
            None => [begin.connector, NO_CONNECTOR].contains(&apart.connector),
        };
        belongs.then_some((apart.first, apart.last))
    });
    let mut apart: Vec<_> = belongs.collect();
    apart.sort_unstable();
    apart
}

/// Opens a session whose start is refused.
///
/// # Errors
/// There can be no session; nothing has changed.
pub(super) fn refused(
    delivery: &mut Delivery<'_>,
    partition: &mut Partition,
    slot: Slot,
    (begin, key, origin): (&Begin, SessionKey, Origin),
    cause: Cause,
) -> Result<(), Refused> {
    let Some(hosted) = partition.chargers.get(slot) else { return Ok(()) };
    let charger = hosted.state().id.clone();
    let fingerprint = begin.credential.as_ref().map(|credential| delivery.node_config.fingerprint(credential));
    let new = New {
        id: SessionId::new(delivery.now.wall, partition.id, (delivery.node_config.random)()),
        at: begin.at,
        connector: begin.connector,
        key,
        register: begin.register.unwrap_or(Energy::ZERO),
    };
    let known = Known {
        charger,
        power_max: begin.power_max,
        fingerprint: fingerprint.unwrap_or_else(|| Session::NO_CREDENTIAL.into()),
        origin: Some(Box::new(origin)),
    };
    open(delivery, partition, slot, (new, known), cause).map(drop)
}

fn open(
    delivery: &mut Delivery<'_>,
    partition: &mut Partition,
    slot: Slot,
    (new, known): (New, Known),
    cause: Cause,
) -> Result<Slot, Refused> {
    let place = starts::place(delivery, &known.charger, &new, true)?;
    let cell = starts::insert(delivery, partition, slot, new, (known, place))?;
    sessions::deliver(delivery, partition, cell, Command::Quarantine(cause));
    Ok(cell)
}

/// A session that is live.
fn live(partition: &Partition, cell: Slot) -> Option<&Session> {
    partition.sessions.get(cell).map(HostedSession::state)
}

/// What a charger calls a transaction, where it is a name.
fn text_of(name: &SessionName) -> Option<Box<str>> {
    match name {
        SessionName::Number(key, _) => (key.0 > 0).then(|| key.0.to_string().into()),
        SessionName::Text(text) => Some(text.clone()),
        SessionName::Connector(_) => None,
    }
}

/// By what the session is found that was opened for reports under a name. It is no beginning that can be repeated.
fn mark_of(text: &str, stated: &[u8]) -> Mark {
    Mark::new(&[b"orphan", text.as_bytes()], stated)
}

/// The session that was opened for earlier reports under this name: an open one before one that is over.
pub(super) fn orphan_of(charger: &Charger, name: &SessionName) -> Option<SessionKey> {
    let loose = mark_of(&text_of(name)?, b"").loose;
    let named = || charger.begun().filter(|begun| begun.mark.loose == loose).map(|begun| begun.key);
    let open = named().find(|key| charger.open_session(*key).is_some());
    open.or_else(|| named().find(|key| charger.past_session(*key).is_some()))
}

/// Whether a report belongs to another session than the one that was opened for reports before it: the end of that is known.
pub(super) fn is_another(partition: &Partition, cell: Slot, report: &Report) -> bool {
    let Some(session) = live(partition, cell).filter(|session| session.is_ended_orphan()) else { return false };
    report.reading.is_some_and(|reading| reading.register != session.meter.register && reading.at > session.meter.at)
}

/// A report that names no session that is known opens one, in which it is kept.
pub(super) fn stray(
    delivery: &mut Delivery<'_>,
    partition: &mut Partition,
    slot: Slot,
    (name, report): (&SessionName, Report),
    command: Command,
) {
    let Some(hosted) = partition.chargers.get(slot) else { return };
    let state = hosted.state();
    // A number that the gate gave long ago is that of a session which is over: what is repeated of it changes nothing.
    let is_old = matches!(name, SessionName::Number(key, _) if key.0 > 0 && state.is_stale(*key));
    let Some(reading) = report.reading.filter(|_| !is_old) else {
        tracing::warn!(charger = %state.id, session = ?name, "a message names no session that is known, and reports no energy");
        return;
    };
    let connector = match name {
        SessionName::Number(_, connector) => *connector,
        SessionName::Connector(connector) => Some(*connector),
        SessionName::Text(_) => None,
    };
    let connector = connector.unwrap_or(NO_CONNECTOR);
    let described = &state.described.connectors;
    let power = described.iter().find(|known| known.id == connector).map(|known| known.power_max);
    let power = power.or_else(|| described.iter().map(|known| known.power_max).max());
    let is_free = |key| state.open_session(key).is_none() && state.past_session(key).is_none();
    let Some(key) = partition.next_number(delivery.node_config.partitions, is_free) else {
        tracing::error!(charger = %state.id, "all numbers of sessions are used up in its partition: a report is not kept");
        return;
    };
    let text = text_of(name);
    let fingerprint = report.credential.as_ref().map(|credential| delivery.node_config.fingerprint(credential));
    let mark = mark_of(text.as_deref().unwrap_or_default(), &key.0.to_be_bytes());
    let known = Known {
        charger: state.id.clone(),
        power_max: power.unwrap_or(OCPP_POWER_UNKNOWN),
        fingerprint: fingerprint.unwrap_or_else(|| Session::NO_CREDENTIAL.into()),
        origin: Some(Box::new(Origin {
            protocol: match hosted.numbering() {
                Numbering::Gate(protocol) => protocol,
                Numbering::Charger => Protocol::Native,
            },
            name: text,
            mark: (mark.exact, mark.loose),
            lacks_register: false,
            adopted: None,
            apart: Vec::new(),
        })),
    };
    // A connector has one open session.
    let left = state.open.iter().find(|open| open.connector == connector).and_then(|open| open.cell.get());
    if let Some(cell) = left {
        sessions::deliver(delivery, partition, cell, Command::Omitted);
    }
    let id = SessionId::new(delivery.now.wall, partition.id, (delivery.node_config.random)());
    let new = New { id, at: reading.at, connector, key, register: reading.register };
    let charger = known.charger.clone();
    match open(delivery, partition, slot, (new, known), Cause::Orphan) {
        Ok(cell) => sessions::deliver(delivery, partition, cell, command),
        Err((_, why)) => {
            tracing::warn!(%charger, session = ?name, "a report that names no session that is known is not kept: {why}");
        }
    }
}

/// What was presented to end a session that had begun without is kept with it.
pub(super) fn present(delivery: &mut Delivery<'_>, partition: &mut Partition, cell: Slot, report: &Report) {
    let Some(credential) = &report.credential else { return };
    if live(partition, cell).is_some_and(|session| session.fingerprint == *Session::NO_CREDENTIAL) {
        let shown = delivery.node_config.fingerprint(credential);
        sessions::deliver(delivery, partition, cell, Command::Present(shown));
    }
}

/// The open session whose reports belong to a start that comes late, with what it has of them: the same transaction, or the
/// same connector and credential where the start is older than the first report.
pub(super) fn adoptable(
    partition: &Partition,
    slot: Slot,
    begin: &Begin,
    fingerprint: Option<&str>,
) -> Option<(Slot, Adopted)> {
    let hosted = partition.chargers.get(slot)?;
    let belongs = |session: &Session| {
        let shown = session.fingerprint.to_string();
        let same_credential = shown == Session::NO_CREDENTIAL || fingerprint == Some(shown.as_str());
        let same = match &begin.name {
            Some(name) => session.origin.as_ref().is_some_and(|origin| origin.name.as_ref() == Some(name)),
            None => {
                let meter = &session.meter;
                let earlier = begin.at <= session.opened_at && begin.register.is_none_or(|first| first <= meter.first);
                earlier && [begin.connector, NO_CONNECTOR].contains(&session.connector)
            }
        };
        let is_orphan = session.quarantine().is_some_and(|kept| kept.cause == Cause::Orphan);
        is_orphan && same && same_credential
    };
    let (cell, session) = hosted.sessions().find_map(|(_, cell)| {
        let session = live(partition, cell)?;
        belongs(session).then_some((cell, session))
    })?;
    let (meter, ended) = (&session.meter, session.is_ended_orphan().then(|| session.ordered_to_stop()).flatten());
    let (first_at, first, last_at, last) = (session.opened_at, meter.first, meter.at, meter.register);
    Some((cell, Adopted { from: session.id, first_at, first, last_at, last, ended }))
}

/// Delivers what was reported of a session before its start came, once it is decided whether that is paid for.
pub(super) fn adopt(delivery: &mut Delivery<'_>, partition: &mut Partition, cell: Slot) {
    let session = live(partition, cell).filter(|session| session.meter.sequence == 0);
    let Some(adopted) = session.and_then(|session| session.origin.as_ref()?.adopted) else { return };
    for reading in adopted.readings() {
        sessions::deliver(delivery, partition, cell, Command::Sample(reading));
    }
    if let Some(reason) = adopted.ended {
        sessions::deliver(delivery, partition, cell, Command::End { last: None::<MeterReading>, reason });
    }
}

/// Bills what was given after a refused start, where the operator's policy says so.
pub(super) fn bill_by_policy(delivery: &mut Delivery<'_>, partition: &mut Partition, cell: Slot) {
    if !delivery.node_config.policy.bills_refused {
        return;
    }
    let Some(session) = live(partition, cell).filter(|session| session.is_unpaid() && session.ended().is_some()) else {
        return;
    };
    if session.quarantine().is_some_and(|kept| kept.cause != Cause::Orphan) && session.kept_energy().is_some() {
        let id = session.id;
        order(delivery, partition, id, ReviewOrder::Release { energy: None, account: None }, ReplyTo::NONE);
    }
}

/// An operator's order on what is kept of a session. One that was archived is fetched for it.
pub(super) fn order(
    delivery: &mut Delivery<'_>,
    partition: &mut Partition,
    id: SessionId,
    order: ReviewOrder,
    reply: ReplyTo,
) {
    let Some(cell) = partition.find_session(id) else {
        return delivery.queue(Output::LoadArchived(id, Box::new(Input::Review(id, order, reply))));
    };
    // No start has adopted it so far, and from now on none can.
    if live(partition, cell).is_some_and(Session::is_ended_orphan) {
        sessions::deliver(delivery, partition, cell, Command::Omitted);
    }
    let ordered = match review(delivery, partition, cell, order) {
        Ok(()) => {
            let ruled = live(partition, cell).and_then(Session::quarantine).and_then(|kept| kept.ruled);
            ruled.map_or(Ordered::NoSession, Ordered::Ruled)
        }
        Err(why) => Ordered::Declined(why.into()),
    };
    delivery.reply(Some(reply), ordered);
}

fn review(
    delivery: &mut Delivery<'_>,
    partition: &mut Partition,
    cell: Slot,
    order: ReviewOrder,
) -> Result<(), String> {
    let Some(hosted) = partition.sessions.get(cell) else { return Ok(()) };
    let session = hosted.state();
    let order = match order {
        ReviewOrder::Drop => Order::Drop,
        ReviewOrder::Release { energy, account } => {
            let linked = || delivery.node_config.credentials.links().find(session.fingerprint.mark()?);
            let account = account.or_else(|| session.is_unpaid().then(linked).flatten());
            let route = account.as_ref().and_then(account_processor).map(routing::to_account);
            let credential = |route| (delivery.node_config.seal(session.id.payment(), Credentials::by_order()), route);
            Order::Release { energy, by: route.map(credential) }
        }
    };
    match session.review(&order, hosted.tariff(), hosted.zone()).map_err(|why| why.to_string())? {
        Review::Done(_) => Ok(()),
        Review::Billed { .. } if session.is_unpaid() && matches!(order, Order::Release { by: None, .. }) => {
            Err(session.no_payer())
        }
        Review::Billed { .. } | Review::Unbilled => {
            sessions::deliver(delivery, partition, cell, Command::Rule(order));
            Ok(())
        }
    }
}
