//! Messages of chargers whose sessions the gate numbers: they are given numbers here, and are then messages like any other.
//!
//! How beginnings are recognised is the charger's ([`crate::charger::recognise`]), where a reading belongs the session's.

use super::starts::{Admitted, Refused};
use super::{chargers, late, sessions, starts, unpaid};
use crate::billing::meter_signature::{Judged, MeterKey};
use crate::charger::{self, Charger, Description, Mark, PastSession, Recognised};
use crate::journal::RecordKind;
use crate::message::{
    Answer, Begin, Bill, Code, ConnectorState, Limit, SessionName, StartSession, Ticket, ToCharger, Unnumbered,
};
use crate::node::codes;
use crate::node::delivery::Delivery;
use crate::node::fact;
use crate::node::hosted::Slot;
use crate::node::input::FundsQuery;
use crate::node::output::Output;
use crate::node::partition::Partition;
use crate::node::reply::Ordered;
use crate::node::routing;
use crate::payment::Credential;
use crate::session::{self, Adopted, Cause, Command, Note, Origin, Router, Stage};
use crate::units::{AccountId, ConnectorId, Energy, MeterReading, PartitionId, SessionId, SessionKey};
use smallvec::SmallVec;

/// A message of a charger whose sessions the gate numbers.
pub(super) fn message(delivery: &mut Delivery<'_>, partition: &mut Partition, slot: Slot, message: Unnumbered) {
    match message {
        Unnumbered::Authorize { ticket, credential } => {
            let refused = would_refuse(delivery, partition, slot, &credential);
            match linked_account(delivery, &credential).filter(|_| refused.is_none()) {
                Some(account) => {
                    // A session of this account at the charger is the one that is to be stopped.
                    let is_alone =
                        delivery.node_config.policy.one_session && !pays_here(delivery, partition, slot, &account);
                    ask_funds(delivery, (partition.id, slot), account, (ticket, is_alone));
                }
                None => answer(delivery, slot, Answer::Authorized { ticket, refused }),
            }
        }
        Unnumbered::Begin(begin) => self::begin(delivery, partition, slot, *begin),
        Unnumbered::Status { status, power_max } => {
            describe(delivery, partition, slot, charger::Connector { id: status.connector, power_max });
            chargers::report(delivery, partition, slot, (status.connector, status.state));
            if status.state == ConnectorState::Available {
                left(delivery, partition, slot, Some(status.connector));
            }
        }
        Unnumbered::Sample { session, reading } => {
            let report = Report { reading: Some(reading), credential: None };
            for_named(delivery, partition, slot, (&session, report), Command::Sample(reading));
        }
        Unnumbered::End { session, last, reason, credential } => {
            #[cfg(test)]
            let last = crate::node::planted::last(last);
            let end = Command::End { last, reason: codes::reason(reason) };
            for_named(delivery, partition, slot, (&session, Report { reading: last, credential }), end);
        }
        Unnumbered::Restarted => left(delivery, partition, slot, None),
        Unnumbered::Event { session, sequence, is_offline } => {
            let Some(cell) = live_cell(partition, slot, &session) else {
                // Whether a number is missing is not known of a session that is not live.
                if is_offline && let Some(past) = late::archived_estimate(partition, slot, &session) {
                    partition.keep_late(slot, past, Command::Note(Note::Offline));
                }
                return;
            };
            let Some(id) = partition.sessions.get(cell).map(|hosted| hosted.state().id) else { return };
            let gap = sequence.is_some_and(|sequence| partition.has_skipped(id, sequence));
            for (is_so, note) in [(is_offline, Note::Offline), (gap, Note::Gap)] {
                if is_so {
                    sessions::deliver(delivery, partition, cell, Command::Note(note));
                }
            }
        }
        Unnumbered::Resumed { session } => resumed(delivery, partition, slot, &session),
        Unnumbered::Signed { session, value } => {
            let der = partition.chargers.get(slot).and_then(|hosted| hosted.state().meter_key());
            let key = der.and_then(|der| MeterKey::read(der).ok());
            let verification = value.verify(key.as_ref());
            let signed = Command::Signed(Box::new(Judged { value: *value, verification }));
            match live_cell(partition, slot, &session) {
                Some(cell) => sessions::deliver(delivery, partition, cell, signed),
                None => {
                    let past = late::archived_estimate(partition, slot, &session);
                    past.into_iter().for_each(|past| partition.keep_late(slot, past, signed.clone()));
                }
            }
        }
        Unnumbered::Fence { ticket, session } => {
            if late::fence(delivery, partition, slot, (ticket, session.as_ref())) {
                return;
            }
            let bill = session.and_then(|session| bill(partition, slot, &session));
            answer(delivery, slot, Answer::Passed { ticket, bill });
        }
        Unnumbered::Ordered { number, outcome } => delivery.reply(Some(number.into()), Ordered::Charger(outcome)),
    }
}

fn answer(delivery: &mut Delivery<'_>, slot: Slot, answer: Answer) {
    delivery.send(slot, ToCharger::Answer(answer));
}

/// The description of a charger that does not describe its connectors: those that have shown up.
pub(super) fn description(partition: &Partition, slot: Slot, firmware: &str) -> Description {
    let described = partition.chargers.get(slot).map(|hosted| Description::clone(&hosted.state().described));
    let mut described = described.unwrap_or_default();
    if !firmware.is_empty() {
        described.firmware = firmware.into();
    }
    described
}

/// A connector shows up: it is described, if it was not before.
fn describe(delivery: &mut Delivery<'_>, partition: &mut Partition, slot: Slot, connector: charger::Connector) {
    let Some(hosted) = partition.chargers.get(slot) else { return };
    if hosted.state().described.connectors.iter().any(|known| known.id == connector.id) {
        return;
    }
    let mut described = description(partition, slot, "");
    described.connectors.push(connector);
    chargers::deliver(delivery, partition, slot, charger::Command::Describe(described));
}

/// Tells a charger that is back what its open session is called on both sides.
pub(super) fn open_session(
    delivery: &mut Delivery<'_>,
    partition: &Partition,
    slot: Slot,
    (session, cell): (SessionKey, Slot),
) {
    let hosted = partition.sessions.get(cell);
    let name = hosted.and_then(|hosted| hosted.state().origin.as_ref()?.name.clone());
    answer(delivery, slot, Answer::Open { session, name });
}

/// The cell of the session of this name, where it is live.
fn live_cell(partition: &Partition, slot: Slot, name: &SessionName) -> Option<Slot> {
    let hosted = partition.chargers.get(slot)?;
    let key = key_of(hosted.state(), name)?;
    let past = || partition.find_session(hosted.state().past_session(key)?.session);
    hosted.session(key).or_else(past)
}

/// A car that takes no energy is not reported for long: the session goes on while its charger is connected, and reports the car.
pub(super) fn note_occupied(delivery: &mut Delivery<'_>, partition: &mut Partition, cell: Slot) {
    let Some(hosted) = partition.sessions.get(cell).filter(|hosted| hosted.state().origin.is_some()) else { return };
    let (connector, charger) = (hosted.state().connector, partition.chargers.get(hosted.charger()));
    let Some(charger) = charger.filter(|charger| charger.link().is_some()) else { return };
    let state = charger.statuses().iter().find(|(id, _)| *id == connector).map(|(_, state)| *state);
    let is_there = match state {
        Some(
            ConnectorState::Occupied
            | ConnectorState::Charging
            | ConnectorState::SuspendedEv
            | ConnectorState::SuspendedCharger,
        ) => true,
        Some(ConnectorState::Available | ConnectorState::Unavailable | ConnectorState::Faulted) | None => false,
    };
    if is_there {
        sessions::deliver(delivery, partition, cell, Command::Occupied);
    }
}

/// The charger has started, or this connector of it is free: the stop of what is open is still to come, or was lost.
fn left(delivery: &mut Delivery<'_>, partition: &mut Partition, slot: Slot, connector: Option<ConnectorId>) {
    let Some(hosted) = partition.chargers.get(slot) else { return };
    let is_there = |at: ConnectorId| connector.is_none_or(|connector| connector == at);
    let open = hosted.state().open.iter().filter(|open| is_there(open.connector));
    let cells: SmallVec<[Slot; 2]> = open.filter_map(|open| open.cell.get()).collect();
    for cell in cells {
        sessions::deliver(delivery, partition, cell, Command::Left);
    }
}

/// The charger goes on with a session, which had ended on an estimate meanwhile.
fn resumed(delivery: &mut Delivery<'_>, partition: &mut Partition, slot: Slot, name: &SessionName) {
    let Some(cell) = live_cell(partition, slot, name) else { return };
    let (Some(hosted), Some(session)) = (partition.chargers.get(slot), partition.sessions.get(cell)) else { return };
    let (key, connector) = (session.state().key, session.state().connector);
    // Its connector may have the next session already.
    if hosted.state().open.iter().any(|open| open.connector == connector && open.key != key) {
        return;
    }
    sessions::deliver(delivery, partition, cell, Command::Resumed);
    if partition.chargers.get(slot).is_some_and(|hosted| hosted.session(key).is_some()) {
        open_session(delivery, partition, slot, (key, cell));
    }
}

/// Why a credential would be refused now, as far as that is known without asking for funds.
pub(super) fn would_refuse(
    delivery: &Delivery<'_>,
    partition: &Partition,
    slot: Slot,
    credential: &Credential,
) -> Option<Code> {
    let node_config = delivery.node_config;
    if let Some(code) = node_config.turns_away(credential) {
        return Some(code);
    }
    let charger = &partition.chargers.get(slot)?.state().id;
    let place = match node_config.tariffs.place(charger, ConnectorId(1), delivery.now.wall) {
        Ok(place) => place,
        Err(code) => return Some(code),
    };
    let amount = session::first_hold(&place.tariff, &node_config.policy.of_tariff(&place.tariff));
    let fingerprint = node_config.fingerprint(credential);
    node_config.route(charger, (credential, &fingerprint), amount, &[]).err().map(routing::code_of)
}

/// The account that a credential pays from.
fn linked_account(delivery: &Delivery<'_>, credential: &Credential) -> Option<AccountId> {
    let credentials = &delivery.node_config.credentials;
    credentials.links().find(credentials.mark(credential))
}

/// Whether an open session of a charger is paid for by this account.
fn pays_here(delivery: &Delivery<'_>, partition: &Partition, slot: Slot, account: &AccountId) -> bool {
    let links = delivery.node_config.credentials.links();
    let sessions = partition.chargers.get(slot).into_iter().flat_map(|hosted| hosted.sessions());
    let states = sessions.filter_map(|(_, cell)| partition.sessions.get(cell)).map(|hosted| hosted.state());
    states.filter_map(|state| links.find(state.fingerprint.mark()?)).any(|paying| paying == *account)
}

/// Asks an account what it has; [`Answer::Funds`] comes from there.
fn ask_funds(
    delivery: &mut Delivery<'_>,
    (home, slot): (PartitionId, Slot),
    account: AccountId,
    (ticket, is_alone): (Ticket, bool),
) {
    let charger = delivery.charger_ref(slot);
    delivery.queue(Output::AskFunds(Box::new(FundsQuery { account, home, charger, ticket, is_alone })));
}

/// A session begins: a new one, or one whose beginning is repeated.
fn begin(delivery: &mut Delivery<'_>, partition: &mut Partition, slot: Slot, begin: Begin) {
    let fingerprint = begin.credential.as_ref().map(|credential| delivery.node_config.fingerprint(credential));
    let mark = mark_of(&begin, fingerprint.as_deref().unwrap_or_default());
    let account = begin.credential.as_ref().and_then(|credential| linked_account(delivery, credential));
    let call = Call { ticket: begin.ticket, funds_follow: account.is_some() };
    // Before anything is held: what is available then is what the session may cost.
    if let Some(account) = account {
        ask_funds(delivery, (partition.id, slot), account, (begin.ticket, false));
    }
    let Some(hosted) = partition.chargers.get(slot) else { return };
    let unread = |key| {
        let session = hosted.session(key).and_then(|cell| partition.sessions.get(cell));
        session.is_some_and(|session| session.state().meter.sequence == 0)
    };
    match charger::recognise(hosted.state(), mark, begin.is_first, unread) {
        Recognised::New => begin_new(delivery, partition, slot, begin, (mark, call)),
        Recognised::Open(key) => {
            begun(delivery, slot, call, (key, false));
            chargers::for_session(delivery, partition, slot, key, Command::RepeatStart);
        }
        Recognised::Past(past) => {
            begun(delivery, slot, call, (past.key, false));
            repeat_past(delivery, partition, slot, &past);
        }
        Recognised::Refused(key, code) => {
            begun(delivery, slot, call, (key, false));
            refuse_again(delivery, slot, key, Code::from_number(code));
        }
    }
}

/// The beginning of a session that is over: answered as it was.
fn repeat_past(delivery: &mut Delivery<'_>, partition: &mut Partition, slot: Slot, past: &PastSession) {
    match partition.find_session(past.session) {
        Some(cell) => sessions::deliver(delivery, partition, cell, Command::RepeatStart),
        None if past.refused => refuse_again(delivery, slot, past.key, Code::CredentialDeclined),
        None => {
            let (session, id) = (past.key, past.session);
            let (limit, price_text) = (Limit::default(), Box::default());
            delivery.send(slot, ToCharger::StartAccepted { session, id, limit, price_text });
        }
    }
}

fn refuse_again(delivery: &mut Delivery<'_>, slot: Slot, session: SessionKey, code: Code) {
    delivery.send(slot, ToCharger::StartRejected { session, code, text: code.meaning().into() });
}

fn begun(delivery: &mut Delivery<'_>, slot: Slot, call: Call, (session, is_new): (SessionKey, bool)) {
    let Call { ticket, funds_follow } = call;
    answer(delivery, slot, Answer::Begun { ticket, session, is_new, funds_follow });
}

/// What a charger reports of a session, apart from which one it is.
pub(super) struct Report {
    pub reading: Option<MeterReading>,
    /// What was presented to end it.
    pub credential: Option<Credential>,
}

/// The call by which a session begins.
#[derive(Clone, Copy)]
struct Call {
    ticket: Ticket,
    /// The account of the credential says what it has.
    funds_follow: bool,
}

/// A new session. One that is refused has a number, too.
fn begin_new(
    delivery: &mut Delivery<'_>,
    partition: &mut Partition,
    slot: Slot,
    begin: Begin,
    (mark, call): (Mark, Call),
) {
    let Some(hosted) = partition.chargers.get(slot) else { return };
    let state = hosted.state();
    let is_free = |key| state.open_session(key).is_none() && state.past_session(key).is_none();
    let Some(key) = partition.next_number(delivery.node_config.partitions, is_free) else {
        tracing::error!(charger = %state.id, "all numbers of sessions are used up in its partition: its starts are refused");
        begun(delivery, slot, call, (SessionKey(0), false));
        return refuse_again(delivery, slot, SessionKey(0), Code::Busy);
    };
    begun(delivery, slot, call, (key, true));
    // Its stop has not come, and nothing more can: the connector has the next car.
    let left = state.open.iter().find(|open| open.connector == begin.connector).and_then(|open| open.cell.get());
    let fingerprint = begin.credential.as_ref().map(|credential| delivery.node_config.fingerprint(credential));
    let orphan = unpaid::adoptable(partition, slot, &begin, fingerprint.as_deref());
    let adopted = orphan.map(|(_, adopted)| adopted);
    for cell in left.into_iter().chain(orphan.map(|(cell, _)| cell).filter(|cell| left != Some(*cell))) {
        sessions::deliver(delivery, partition, cell, Command::Omitted);
    }
    refuse_or_admit(delivery, partition, slot, &begin, (key, mark, adopted));
    let opened = partition.chargers.get(slot).and_then(|hosted| {
        let open = hosted.state().open_session(key).map(|open| open.session);
        open.or_else(|| hosted.state().past_session(key).map(|past| past.session))
    });
    if let (Some((cell, _)), Some(session)) = (orphan, opened) {
        sessions::deliver(delivery, partition, cell, Command::Rule(session::Order::Adopt(session)));
    }
}

/// Opens the session that begins, or the one in which it is kept what is reported of a start that is refused.
fn refuse_or_admit(
    delivery: &mut Delivery<'_>,
    partition: &mut Partition,
    slot: Slot,
    begin: &Begin,
    (key, mark, adopted): (SessionKey, Mark, Option<Adopted>),
) {
    let Some(hosted) = partition.chargers.get(slot) else { return };
    let origin = unpaid::origin(hosted.state(), begin, mark, adopted);
    if let Err(refused) = admit(delivery, partition, slot, begin, (key, origin.clone())) {
        let code = refused.0;
        // Its charger may give energy all the same: what it reports has a session.
        let cause = codes::reason_of_refusal(code).map(Cause::Refused);
        let kept =
            cause.is_some_and(|cause| unpaid::refused(delivery, partition, slot, (begin, key, origin), cause).is_ok());
        if !kept {
            let code = code.number();
            note_refused(delivery, partition, slot, &charger::Event::StartRefused { key, mark, code });
        }
        starts::refuse_with(delivery, partition, slot, key, refused);
    }
}

/// Opens the session that begins.
fn admit(
    delivery: &mut Delivery<'_>,
    partition: &mut Partition,
    slot: Slot,
    begin: &Begin,
    (key, origin): (SessionKey, Origin),
) -> Result<(), Refused> {
    let refused = |code: Code| (code, code.meaning().to_owned());
    let connector = charger::Connector { id: begin.connector, power_max: begin.power_max };
    describe(delivery, partition, slot, connector);
    let id = SessionId::new(delivery.now.wall, partition.id, (delivery.node_config.random)());
    let command = charger::Command::Start { key, connector: begin.connector, proposed: id, is_made_here: true };
    match chargers::deliver(delivery, partition, slot, command).into_iter().next() {
        Some(charger::Effect::OpenSession { power_max }) => {
            let Some(credential) = begin.credential.clone() else { return Err(refused(Code::CredentialNotAccepted)) };
            if let Some(code) = delivery.node_config.turns_away(&credential) {
                return Err(refused(code));
            }
            let register = begin.register.unwrap_or(Energy::ZERO);
            let start = StartSession { session: key, connector: begin.connector, credential, at: begin.at, register };
            let origin = Some(Box::new(origin));
            starts::open(delivery, partition, slot, Admitted { id, start: &start, power_max, origin })
        }
        Some(charger::Effect::Refuse(rejection)) => Err((codes::of_charger(rejection), rejection.to_string())),
        Some(charger::Effect::RepeatStart(_) | charger::Effect::RepeatEnd(_)) | None => {
            debug_assert!(false, "a number that was just made is that of no session");
            Err(refused(Code::Busy))
        }
    }
}

/// Journals that a beginning was refused, and remembers it.
fn note_refused(delivery: &mut Delivery<'_>, partition: &mut Partition, slot: Slot, event: &charger::Event) {
    if let charger::Event::StartRefused { key, .. } = event {
        partition.used_number(*key);
    }
    let Some(hosted) = partition.chargers.get_mut(slot) else { return };
    hosted.replay(event);
    let id = &hosted.state().id;
    delivery.permit.append(partition.id, RecordKind::ChargerEvent, |bytes| fact::write(id, event, bytes));
}

/// Delivers a reading or an end to the session of this name, or keeps it where there is none.
fn for_named(
    delivery: &mut Delivery<'_>,
    partition: &mut Partition,
    slot: Slot,
    (name, report): (&SessionName, Report),
    command: Command,
) {
    let Some(hosted) = partition.chargers.get(slot) else { return };
    let state = hosted.state();
    let Some(key) = key_of(state, name) else {
        return unpaid::stray(delivery, partition, slot, (name, report), command);
    };
    if let Some(cell) = hosted.session(key) {
        if unpaid::is_another(partition, cell, &report) {
            sessions::deliver(delivery, partition, cell, Command::Omitted);
            return unpaid::stray(delivery, partition, slot, (name, report), command);
        }
        unpaid::present(delivery, partition, cell, &report);
        return sessions::deliver(delivery, partition, cell, command);
    }
    let estimated = state.begun().any(|begun| begun.key == key && begun.estimated);
    let Some(past) = state.past_session(key).copied() else { return };
    match partition.find_session(past.session) {
        Some(cell) => sessions::deliver(delivery, partition, cell, command),
        // Only an estimate is corrected: nothing else can follow, and the archive is not opened for it.
        None if estimated => partition.keep_late(slot, past.session, command),
        None => {}
    }
}

/// How the beginning is recognised when it is repeated.
fn mark_of(begin: &Begin, fingerprint: &str) -> Mark {
    let stated = begin.stated.as_bytes();
    match &begin.name {
        Some(name) => Mark::new(&[name.as_bytes()], stated),
        None => {
            let register = begin.register.map_or(i64::MIN, Energy::microwatt_hours).to_be_bytes();
            let connector = begin.connector.0.to_be_bytes();
            Mark::new(&[&connector, fingerprint.as_bytes(), &register], stated)
        }
    }
}

/// The number of the session that a message names: of an open one before one that is over.
pub(super) fn key_of(charger: &Charger, name: &SessionName) -> Option<SessionKey> {
    let known = |key: &SessionKey| charger.open_session(*key).is_some() || charger.past_session(*key).is_some();
    let at = |connector: ConnectorId| charger.open.iter().find(|open| open.connector == connector).map(|open| open.key);
    match name {
        SessionName::Number(key, connector) => {
            let is_used = charger.begun().any(|begun| begun.key == *key);
            let only = || charger.open.first().filter(|_| charger.open.len() == 1).map(|open| open.key);
            Some(*key).filter(known).or_else(|| match connector {
                // The number of a start that was refused is no other session's.
                _ if is_used => None,
                Some(connector) => at(*connector),
                None if key.0 == 0 => only(),
                None => None,
            })
        }
        SessionName::Connector(connector) => at(*connector),
        SessionName::Text(text) => {
            let loose = Mark::new(&[text.as_bytes()], b"").loose;
            let named = || charger.begun().filter(|begun| begun.mark.loose == loose).map(|begun| begun.key);
            let open = named().find(|key| charger.open_session(*key).is_some());
            open.or_else(|| named().find(known))
        }
    }
    .or_else(|| unpaid::orphan_of(charger, name))
}

/// What a session costs, where it was admitted and is live.
pub(super) fn bill(partition: &Partition, slot: Slot, name: &SessionName) -> Option<Bill> {
    let charger = partition.chargers.get(slot)?.state();
    let key = key_of(charger, name)?;
    let id = charger.open_session(key).map(|open| open.session);
    let id = id.or_else(|| charger.past_session(key).map(|past| past.session))?;
    let hosted = partition.sessions.get(partition.find_session(id)?)?;
    let (state, tariff) = (hosted.state(), hosted.tariff());
    let (cost, is_final) = match &state.stage {
        _ if state.is_unpaid() => return None,
        Stage::Authorizing => return None,
        Stage::Charging { .. } => (state.rating.running(tariff).ok()?.round(tariff.rounding()).ok()?, false),
        Stage::Settling(ended) | Stage::Closed(ended) if ended.admitted => (ended.payable, true),
        Stage::Settling(_) | Stage::Closed(_) => return None,
    };
    Some(Bill { session: key, cost, is_final })
}
