//! A charger's request to start a session: admitted, recognised as a repetition, or refused.

use super::{chargers, sessions};
use crate::charger;
use crate::message::{Code, StartSession, ToCharger};
use crate::metrics::STARTS_REFUSED;
use crate::node::codes;
use crate::node::delivery::Delivery;
use crate::node::hosted::Slot;
use crate::node::log_lines;
use crate::node::partition::Partition;
use crate::node::replay::opened_fact;
use crate::node::routing;
use crate::node::session::{HostedSession, Pricing};
use crate::node::tariff_assignment::TariffAssignment;
use crate::session::{self, Command, Opening, Origin, Router, Session, Stage};
use crate::tariff::Rating;
use crate::units::{ChargerId, ConnectorId, Energy, Power, SessionId, SessionKey, Timestamp};

/// A start that its charger admits.
pub(super) struct Admitted<'a> {
    pub id: SessionId,
    pub start: &'a StartSession,
    /// The most power of the connector.
    pub power_max: Power,
    /// Where the gate numbers the session: how it begins.
    pub origin: Option<Box<Origin>>,
}

/// Why a start is refused, for the charger and in words.
pub(super) type Refused = (Code, String);

/// A start: admitted as a new session, recognised as a repetition, or refused.
pub(super) fn start(delivery: &mut Delivery<'_>, partition: &mut Partition, slot: Slot, start: StartSession) {
    if let Some(code) = delivery.node_config.turns_away(&start.credential) {
        return refuse(delivery, partition, slot, start.session, code);
    }
    let id = SessionId::new(delivery.now.wall, partition.id, (delivery.node_config.random)());
    let (key, connector) = (start.session, start.connector);
    let command = charger::Command::Start { key, connector, proposed: id, is_made_here: false };
    for effect in chargers::deliver(delivery, partition, slot, command) {
        match effect {
            charger::Effect::OpenSession { power_max } => {
                let admitted = Admitted { id, start: &start, power_max, origin: None };
                if let Err(refused) = open(delivery, partition, slot, admitted) {
                    refuse_with(delivery, partition, slot, key, refused);
                }
            }
            charger::Effect::RepeatStart(_) => start_again(delivery, partition, slot, &start),
            charger::Effect::RepeatEnd(past) => {
                let code = if past.refused { Code::CredentialDeclined } else { Code::SessionEnded };
                refuse(delivery, partition, slot, start.session, code);
            }
            charger::Effect::Refuse(rejection) => {
                refuse(delivery, partition, slot, start.session, codes::of_charger(rejection));
            }
        }
    }
}

/// The same start again; or, with another credential while energy flows, a further hold for the same session.
fn start_again(delivery: &mut Delivery<'_>, partition: &mut Partition, slot: Slot, start: &StartSession) {
    let session = partition.chargers.get(slot).and_then(|charger| charger.session(start.session));
    let hosted = session.and_then(|cell| partition.sessions.get(cell));
    let command = hosted.and_then(|hosted| {
        let state = hosted.state();
        let shown = delivery.node_config.fingerprint(&start.credential);
        if !matches!(state.stage, Stage::Charging { .. }) || state.fingerprint == *shown {
            return None;
        }
        let amount = session::first_hold(hosted.tariff(), hosted.policy());
        let route = delivery.node_config.route(&state.charger, (&start.credential, &shown), amount, &[]).ok()?;
        Some(Command::PresentAnotherCredential {
            credential: delivery.node_config.seal(state.id.payment(), start.credential.clone()),
            route,
        })
    });
    chargers::for_session(delivery, partition, slot, start.session, command.unwrap_or(Command::RepeatStart));
}

/// Opens a session: pins the tariff, selects a processor, and requests funds.
///
/// # Errors
/// Why there is no session; nothing has changed.
pub(super) fn open(
    delivery: &mut Delivery<'_>,
    partition: &mut Partition,
    slot: Slot,
    admitted: Admitted<'_>,
) -> Result<(), Refused> {
    let Admitted { id, start, power_max, origin } = admitted;
    let Some(hosted) = partition.chargers.get(slot) else { return Ok(()) };
    let charger = hosted.state().id.clone();
    let fingerprint = delivery.node_config.fingerprint(&start.credential);
    let new = New { id, at: start.at, connector: start.connector, key: start.session, register: start.register };
    let place = place(delivery, &charger, &new, origin.is_some())?;
    let amount = session::first_hold(&place.tariff, &delivery.node_config.policy.of_tariff(&place.tariff));
    let route = delivery.node_config.route(&charger, (&start.credential, &fingerprint), amount, &[]);
    let route = route.map_err(|reason| (routing::code_of(reason), reason.to_string()))?;
    let known = Known { charger, power_max, fingerprint, origin };
    let cell = insert(delivery, partition, slot, new, (known, place))?;
    let credential = delivery.node_config.seal(id.payment(), start.credential.clone());
    sessions::deliver(delivery, partition, cell, Command::Authorize { credential, route });
    Ok(())
}

/// A session that opens: what its charger says of it.
pub(super) struct New {
    pub id: SessionId,
    pub at: Timestamp,
    pub connector: ConnectorId,
    pub key: SessionKey,
    pub register: Energy,
}

/// The rest of what is fixed for its whole life.
pub(super) struct Known {
    pub charger: ChargerId,
    pub power_max: Power,
    /// How its credential is shown.
    pub fingerprint: Box<str>,
    pub origin: Option<Box<Origin>>,
}

/// The tariff of a session that opens, after a check of what its charger says.
///
/// # Errors
/// Why there can be no session; nothing has changed.
pub(super) fn place(
    delivery: &Delivery<'_>,
    charger: &ChargerId,
    new: &New,
    may_be_late: bool,
) -> Result<TariffAssignment, Refused> {
    let node_config = delivery.node_config;
    let checked = session::check_start(new.at, new.register, delivery.now.wall, &node_config.policy, may_be_late);
    if let Err(doubt) = checked {
        let text = format!("{doubt}: the start says {}, the gate's clock {}", new.at, delivery.now.wall);
        return Err((Code::StartImplausible, text));
    }
    let place = node_config.tariffs.place(charger, new.connector, new.at);
    place.map_err(|code| (code, code.meaning().to_owned()))
}

/// Puts a session into a cell, and journals that it exists. Nothing is requested for it yet.
///
/// # Errors
/// Its tariff cannot price it; nothing has changed.
pub(super) fn insert(
    delivery: &mut Delivery<'_>,
    partition: &mut Partition,
    slot: Slot,
    new: New,
    (known, place): (Known, TariffAssignment),
) -> Result<Slot, Refused> {
    let New { id, at, connector, key, register } = new;
    let Known { charger, power_max, fingerprint, origin } = known;
    let rating = Rating::open(&place.tariff, &place.zone, at, Energy::ZERO);
    let rating = rating.map_err(|_| (Code::NoTariff, Code::NoTariff.meaning().to_owned()))?;
    let opening = Opening {
        id,
        charger,
        connector,
        key,
        at,
        received_at: delivery.now.wall,
        register,
        power_max,
        tariff: place.tariff.hash(),
        zone: place.zone_name,
        fingerprint,
        origin,
    };
    log_lines::begun(&opening, place.tariff.id().as_str());
    delivery.pin(partition, &place.tariff);
    // The partition's own copy: its reference count shows whether the tariff may be dropped.
    let tariff = partition.pinned(&opening.tariff).unwrap_or(place.tariff);
    let state = Session::new(&opening, rating, tariff.currency());
    let session = HostedSession::new(
        state,
        slot,
        Pricing { tariff, zone: place.zone },
        delivery.node_config.policy.clone(),
        delivery.now,
    );
    let cell = partition.insert_session(session);
    let fact = opened_fact(&opening);
    if opening.origin.is_some() {
        partition.used_number(opening.key);
    }
    let opened = session::Event::Opened(Box::new(opening));
    partition.tally.count(&opened);
    sessions::append(delivery, id, &opened);
    sessions::project(partition, slot, cell, &fact);
    Ok(cell)
}

fn refuse(delivery: &mut Delivery<'_>, partition: &Partition, slot: Slot, session: SessionKey, code: Code) {
    refuse_with(delivery, partition, slot, session, (code, code.meaning().to_owned()));
}

pub(super) fn refuse_with(
    delivery: &mut Delivery<'_>,
    partition: &Partition,
    slot: Slot,
    session: SessionKey,
    why: Refused,
) {
    let (code, text) = why;
    STARTS_REFUSED.counter(&[&code.number().to_string()]).increment(1);
    if let Some(charger) = partition.chargers.get(slot) {
        log_lines::start_refused(&charger.state().id, session, code, &text);
    }
    delivery.send(slot, ToCharger::StartRejected { session, code, text: text.into() });
}
