//! Decisions of a charger's machine. Pure: reads the state and changes nothing.

use super::{Charger, Command, Decision, Description, Effect, Event, Rejection};
use crate::units::{ConnectorId, SessionId, SessionKey, Timestamp};

/// Decides one command at the gate's time `now`.
pub fn decide(charger: &Charger, command: Command, now: Timestamp) -> Decision {
    match command {
        Command::Describe(description) => describe(charger, description),
        Command::RegisterMeterKey(der) if charger.meter_key() == der.as_deref() => Decision::nothing(),
        Command::RegisterMeterKey(der) => Decision::event(Event::MeterKeyRegistered { der }),
        Command::Start { key, connector, proposed: _, is_made_here } => {
            Decision::reply(start(charger, key, connector, (is_made_here, now)))
        }
        Command::Connected if charger.is_online => Decision::nothing(),
        Command::Connected => Decision::event(Event::WentOnline { at: now }),
        Command::Absent if charger.is_online => Decision::event(Event::WentOffline { at: now }),
        Command::Absent => Decision::nothing(),
        Command::Report { connector, is_faulted } => report(charger, connector, is_faulted, now),
    }
}

/// The session to which a reading or a stop under this key belongs.
///
/// # Errors
/// [`Rejection::SessionOver`], [`Rejection::UnknownSession`].
pub fn route(charger: &Charger, key: SessionKey) -> Result<SessionId, Rejection> {
    match charger.open_session(key) {
        Some(open) => Ok(open.session),
        None if charger.past_session(key).is_some() => Err(Rejection::SessionOver(key)),
        None => Err(Rejection::UnknownSession(key)),
    }
}

fn describe(charger: &Charger, description: Description) -> Decision {
    if *charger.described == description { Decision::nothing() } else { Decision::event(Event::Described(description)) }
}

/// One outside the charger's description is ignored, so that their number is bounded.
fn report(charger: &Charger, connector: ConnectorId, is_faulted: bool, at: Timestamp) -> Decision {
    let is_known = charger.described.connectors.iter().any(|known| known.id == connector);
    match (charger.is_faulted(connector), is_faulted) {
        (false, true) if is_known => Decision::event(Event::Faulted { connector, at }),
        (true, false) => Decision::event(Event::Recovered { connector, at }),
        (false, _) | (true, true) => Decision::nothing(),
    }
}

fn start(charger: &Charger, key: SessionKey, connector: ConnectorId, (is_made_here, now): (bool, Timestamp)) -> Effect {
    let Some(described) = charger.described.connectors.iter().find(|described| described.id == connector) else {
        return Effect::Refuse(Rejection::UnknownConnector(connector));
    };
    if let Some(open) = charger.open_session(key) {
        return if open.connector == connector {
            Effect::RepeatStart(open.session)
        } else {
            Effect::Refuse(Rejection::KeyOnOtherConnector(key, open.connector))
        };
    }
    if let Some(past) = charger.past_session(key) {
        return Effect::RepeatEnd(*past);
    }
    if !is_made_here && charger.is_stale(key) {
        return Effect::Refuse(Rejection::StaleKey(key));
    }
    if let Some(open) = charger.open.iter().find(|open| open.connector == connector) {
        return Effect::Refuse(Rejection::ConnectorOccupied(connector, open.key));
    }
    if let Some(left) = charger.pause_left(now) {
        let seconds = u32::try_from(left.ms().div_euclid(1_000).saturating_add(1)).unwrap_or(u32::MAX);
        return Effect::Refuse(Rejection::TooManyRefusals(seconds));
    }
    Effect::OpenSession { power_max: described.power_max }
}

#[cfg(test)]
mod tests {
    use super::super::{Connector, apply};
    use super::*;
    use crate::limits::{KEYS_REMEMBERED, KEYS_REMEMBERED_MAX, REFUSAL_PAUSE, REFUSALS_BEFORE_PAUSE};
    use crate::units::{ChargerId, PartitionId, Power, TimeSpan};

    const NOW: Timestamp = Timestamp::from_unix_ms(1_000_000);

    fn session(n: u64) -> SessionId {
        SessionId::new(NOW, PartitionId(3), n)
    }

    fn charger() -> Charger {
        let mut charger = Charger::new(ChargerId::new("AMS-0007").unwrap());
        let connectors =
            [1, 2].map(|n| Connector { id: ConnectorId(n), power_max: Power::from_watts(22_000).unwrap() });
        let description = Description { connectors: connectors.to_vec(), firmware: "1.0".into() };
        for event in decide(&charger, Command::Describe(description), NOW).events {
            apply(&mut charger, &event);
        }
        charger
    }

    fn open(charger: &mut Charger, key: u64, connector: u16) {
        let event = Event::SessionOpened {
            key: SessionKey(key),
            session: session(key),
            connector: ConnectorId(connector),
            mark: None,
        };
        apply(charger, &event);
    }

    fn end(charger: &mut Charger, key: u64, refused: bool) {
        let (key, at) = (SessionKey(key), NOW);
        apply(charger, &Event::SessionEnded { key, at, sequence: 0, refused, estimated: false, apart: None });
    }

    fn start_at(charger: &Charger, key: u64, connector: u16, now: Timestamp) -> Effect {
        let command = Command::Start {
            key: SessionKey(key),
            connector: ConnectorId(connector),
            proposed: session(key),
            is_made_here: false,
        };
        decide(charger, command, now).effects.into_iter().next().expect("a start is always answered")
    }

    #[test]
    fn the_same_description_again_is_no_fact() {
        let charger = charger();
        let description = Description { connectors: charger.described.connectors.clone(), firmware: "1.0".into() };
        assert_eq!(decide(&charger, Command::Describe(description), NOW), Decision::nothing());
    }

    #[test]
    fn presence_and_faults_are_facts_only_when_they_change() {
        let mut charger = charger();
        let facts = |charger: &mut Charger, command: Command| {
            let events = decide(charger, command, NOW).events;
            events.iter().for_each(|event| apply(charger, event));
            events.to_vec()
        };
        assert_eq!(facts(&mut charger, Command::Absent), []);
        assert_eq!(facts(&mut charger, Command::Connected), [Event::WentOnline { at: NOW }]);
        assert_eq!(facts(&mut charger, Command::Connected), []);
        assert_eq!(facts(&mut charger, Command::Absent), [Event::WentOffline { at: NOW }]);
        let connector = ConnectorId(2);
        let report = |is_faulted| Command::Report { connector, is_faulted };
        assert_eq!(facts(&mut charger, report(false)), []);
        assert_eq!(facts(&mut charger, report(true)), [Event::Faulted { connector, at: NOW }]);
        assert_eq!(facts(&mut charger, report(true)), []);
        assert_eq!(facts(&mut charger, report(false)), [Event::Recovered { connector, at: NOW }]);
        let unknown = Command::Report { connector: ConnectorId(9), is_faulted: true };
        assert_eq!(facts(&mut charger, unknown), [], "it has no such connector");
    }

    #[test]
    fn a_start_opens_a_session_and_its_repetition_does_not() {
        let mut charger = charger();
        assert!(matches!(start_at(&charger, 7, 1, NOW), Effect::OpenSession { .. }));
        open(&mut charger, 7, 1);
        assert_eq!(start_at(&charger, 7, 1, NOW), Effect::RepeatStart(session(7)));
        let other = Rejection::KeyOnOtherConnector(SessionKey(7), ConnectorId(1));
        assert_eq!(start_at(&charger, 7, 2, NOW), Effect::Refuse(other));
        let occupied = Rejection::ConnectorOccupied(ConnectorId(1), SessionKey(7));
        assert_eq!(start_at(&charger, 8, 1, NOW), Effect::Refuse(occupied));
        assert_eq!(start_at(&charger, 9, 5, NOW), Effect::Refuse(Rejection::UnknownConnector(ConnectorId(5))));
    }

    #[test]
    fn a_start_that_comes_again_after_the_end_opens_nothing() {
        let mut charger = charger();
        open(&mut charger, 7, 1);
        end(&mut charger, 7, false);
        assert!(matches!(start_at(&charger, 7, 1, NOW), Effect::RepeatEnd(past) if past.session == session(7)));
        assert_eq!(route(&charger, SessionKey(7)), Err(Rejection::SessionOver(SessionKey(7))));
        assert_eq!(route(&charger, SessionKey(8)), Err(Rejection::UnknownSession(SessionKey(8))));
    }

    #[test]
    fn a_key_older_than_the_memory_is_stale() {
        let mut charger = charger();
        for key in 9..10 + KEYS_REMEMBERED as u64 {
            open(&mut charger, key, 1);
            end(&mut charger, key, false);
            apply(&mut charger, &Event::SessionClosed { key: SessionKey(key) });
        }
        assert_eq!(start_at(&charger, 9, 1, NOW), Effect::Refuse(Rejection::StaleKey(SessionKey(9))));
        assert!(matches!(start_at(&charger, 100, 1, NOW), Effect::OpenSession { .. }));
    }

    #[test]
    fn a_session_whose_money_is_under_way_is_not_forgotten_for_newer_ones() {
        let mut charger = charger();
        open(&mut charger, 7, 1);
        end(&mut charger, 7, false);
        for key in 10..60 {
            open(&mut charger, key, 1);
            end(&mut charger, key, key % 2 == 0);
            apply(&mut charger, &Event::SessionClosed { key: SessionKey(key) });
        }
        assert!(charger.past_session(SessionKey(7)).is_some(), "its receipt is still to come");
        assert!(charger.past_session(SessionKey(10)).is_none());
        assert_eq!(start_at(&charger, 10, 1, NOW), Effect::Refuse(Rejection::StaleKey(SessionKey(10))));
        // Even then there is a bound.
        for key in 100..100 + 2 * KEYS_REMEMBERED_MAX as u64 {
            open(&mut charger, key, 1);
            end(&mut charger, key, false);
        }
        assert_eq!(charger.past.as_ref().unwrap().sessions.len(), KEYS_REMEMBERED_MAX);
        assert_eq!(start_at(&charger, 7, 1, NOW), Effect::Refuse(Rejection::StaleKey(SessionKey(7))));
    }

    #[test]
    fn refused_credentials_in_a_row_make_the_charger_wait() {
        let mut charger = charger();
        for key in 0..u64::from(REFUSALS_BEFORE_PAUSE) {
            assert!(matches!(start_at(&charger, 100 + key, 1, NOW), Effect::OpenSession { .. }));
            open(&mut charger, 100 + key, 1);
            end(&mut charger, 100 + key, true);
        }
        assert!(matches!(start_at(&charger, 200, 1, NOW), Effect::Refuse(Rejection::TooManyRefusals(_))));
        let later = NOW.saturating_add(REFUSAL_PAUSE);
        assert!(matches!(start_at(&charger, 200, 1, later), Effect::OpenSession { .. }));
        let set_back = NOW.saturating_add(TimeSpan::from_secs(-3_600));
        let most = Rejection::TooManyRefusals(u32::try_from(REFUSAL_PAUSE.whole_secs()).unwrap() + 1);
        assert_eq!(start_at(&charger, 200, 1, set_back), Effect::Refuse(most), "the hour does not count");
    }
}
