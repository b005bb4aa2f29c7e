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
use crate::node::routing;
use crate::node::session::{HostedSession, Pricing};
use crate::session::{self, Command, Opening, Router, Session, Stage};
use crate::tariff::Rating;
use crate::units::{Energy, Power, SessionId, SessionKey};

/// A start that its charger admits.
struct Admitted<'a> {
    id: SessionId,
    start: &'a StartSession,
    /// The most power of the connector.
    power_max: Power,
}

/// A start: admitted as a new session, recognised as a repetition, or refused.
pub(super) fn start(delivery: &mut Delivery<'_>, partition: &mut Partition, slot: Slot, start: StartSession) {
    if let Some(code) = delivery.node_config.refuses(&start.credential) {
        return refuse(delivery, partition, slot, start.session, code);
    }
    let id = SessionId::new(delivery.now.wall, partition.id, (delivery.node_config.random)());
    let command = charger::Command::Start { key: start.session, connector: start.connector, proposed: id };
    for effect in chargers::deliver(delivery, partition, slot, command) {
        match effect {
            charger::Effect::OpenSession { power_max } => {
                open(delivery, partition, slot, &Admitted { id, start: &start, power_max })
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
fn open(delivery: &mut Delivery<'_>, partition: &mut Partition, slot: Slot, admitted: &Admitted<'_>) {
    let Admitted { id, start, power_max } = *admitted;
    let Some(hosted) = partition.chargers.get(slot) else { return };
    let charger = hosted.state().id.clone();
    if let Err(doubt) = session::check_start(start.at, start.register, delivery.now.wall, &delivery.node_config.policy)
    {
        let text = format!("{doubt}: the start says {}, the gate's clock {}", start.at, delivery.now.wall);
        return refuse_with(delivery, partition, slot, start.session, (Code::StartImplausible, text));
    }
    let place = match delivery.node_config.tariffs.place(&charger, start.connector, start.at) {
        Ok(place) => place,
        Err(code) => return refuse(delivery, partition, slot, start.session, code),
    };
    let amount = session::first_hold(&place.tariff, &delivery.node_config.policy.of_tariff(&place.tariff));
    let fingerprint = delivery.node_config.fingerprint(&start.credential);
    let route = match delivery.node_config.route(&charger, (&start.credential, &fingerprint), amount, &[]) {
        Ok(route) => route,
        Err(reason) => {
            let refused = (routing::code_of(reason), reason.to_string());
            return refuse_with(delivery, partition, slot, start.session, refused);
        }
    };
    let Ok(rating) = Rating::open(&place.tariff, &place.zone, start.at, Energy::ZERO) else {
        return refuse(delivery, partition, slot, start.session, Code::NoTariff);
    };
    let opening = Opening {
        id,
        charger,
        connector: start.connector,
        key: start.session,
        at: start.at,
        heard_at: delivery.now.wall,
        register: start.register,
        power_max,
        tariff: place.tariff.hash(),
        zone: place.zone_name,
        fingerprint,
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
    let opened = session::Event::Opened(Box::new(opening));
    partition.tally.count(&opened);
    sessions::append(delivery, id, &opened);
    sessions::project(
        partition,
        slot,
        cell,
        &charger::Event::SessionOpened { key: start.session, session: id, connector: start.connector },
    );
    let credential = delivery.node_config.seal(id.payment(), start.credential.clone());
    sessions::deliver(delivery, partition, cell, Command::Authorize { credential, route });
}

fn refuse(delivery: &mut Delivery<'_>, partition: &Partition, slot: Slot, session: SessionKey, code: Code) {
    refuse_with(delivery, partition, slot, session, (code, code.meaning().to_owned()));
}

fn refuse_with(
    delivery: &mut Delivery<'_>,
    partition: &Partition,
    slot: Slot,
    session: SessionKey,
    why: (Code, String),
) {
    let (code, text) = why;
    STARTS_REFUSED.counter(&[&code.number().to_string()]).increment(1);
    if let Some(charger) = partition.chargers.get(slot) {
        log_lines::start_refused(&charger.state().id, session, code, &text);
    }
    delivery.send(slot, ToCharger::StartRejected { session, code, text: text.into() });
}
