//! The time and the register that a start states.

use super::*;
use crate::limits::{READ_UNTIL, REGISTER_MAX, START_AGE_MAX};

const HOUR: i64 = 3_600_000;

/// The answer to a start that is `off` ms from the gate's clock: a code, or none while funds are requested.
fn started(scene: &mut Scene, at: i64, register: i64) -> Option<Code> {
    scene.hello("AMS-0007", Vec::new());
    scene.received();
    let credential = Credential { kind: CredentialKind::CardToken, token: b"tok_visa".as_slice().into() };
    let register = Energy::from_microwatt_hours(register);
    let at = Timestamp::from_unix_ms(at);
    let (session, connector) = (SessionKey(1), ConnectorId(1));
    scene.send(FromCharger::Start(StartSession { session, connector, credential, at, register }));
    match scene.received().as_slice() {
        [] => None,
        [ToCharger::StartRejected { code, .. }] => Some(*code),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_start_from_another_time_or_from_no_meter_is_refused_and_nothing_is_held() {
    let now = START;
    let wrong = [
        (now - 30 * 24 * HOUR, 0, "a month of a tariff's time would be billed"),
        (now - 6 * 24 * HOUR, 0, "readings may be that old, starts not: no energy flows before the answer"),
        (now - START_AGE_MAX.ms() - 1, 0, "beyond the hour"),
        (now + 2 * HOUR, 0, "its readings would all seem to come before it"),
        (now + 60_001, 0, "ahead"),
        (253_402_300_799_000, 0, "the year 9999 has no receipt"),
        (i64::MIN, 0, "no time"),
        (i64::MAX, 0, "no time"),
        (0, 0, "a clock that was never set"),
        (now, REGISTER_MAX + 1, "no meter shows this"),
        (now, -REGISTER_MAX - 1, "no meter shows this"),
        (now, i64::MIN, "no meter shows this"),
    ];
    for (at, register, why) in wrong {
        let mut scene = Scene::new();
        assert_eq!(started(&mut scene, at, register), Some(Code::StartImplausible), "{why}: {at} {register}");
        assert!(scene.operations.is_empty(), "{why}");
        // The key is not used up: the charger sets its clock and starts again.
        scene.start(1, CredentialKind::CardToken, "tok_visa");
        assert!(matches!(scene.asked().request, Request::Authorize { .. }), "{why}");
    }
    for (at, register) in [(now, 0), (now + 60_000, 0), (now - START_AGE_MAX.ms(), 0), (now, REGISTER_MAX), (now, -1)] {
        assert_eq!(started(&mut Scene::new(), at, register), None, "{at} {register}");
    }
}

#[test]
fn where_clocks_are_not_compared_a_start_is_still_in_the_years_of_readings() {
    let scene = || Scene::with(|policy| (policy.clock_ahead_max, policy.backlog_max) = (None, None));
    assert_eq!(started(&mut scene(), START - 30 * 24 * HOUR, 0), None);
    assert_eq!(started(&mut scene(), READ_UNTIL - 1, 0), None);
    assert_eq!(started(&mut scene(), READ_UNTIL, 0), Some(Code::StartImplausible));
    assert_eq!(started(&mut scene(), 0, 0), Some(Code::StartImplausible));
}

/// An answered start that comes again is answered as before, however late: the session goes on.
#[test]
fn a_start_that_is_repeated_late_is_the_same_session() {
    let mut scene = Scene::with(|policy| policy.no_start = TimeSpan::from_secs(4 * 3_600));
    assert_eq!(started(&mut scene, START, 0), None);
    let authorize = scene.asked();
    scene.approve(&authorize);
    assert!(matches!(scene.received().as_slice(), [ToCharger::StartAccepted { .. }]));
    let again = scene.now.wall.unix_ms();
    scene.pass(2 * 3_600);
    assert!(again < scene.now.wall.unix_ms() - START_AGE_MAX.ms());
    scene.received();
    let credential = Credential { kind: CredentialKind::CardToken, token: b"tok_visa".as_slice().into() };
    let (session, connector, register) = (SessionKey(1), ConnectorId(1), Energy::ZERO);
    let at = Timestamp::from_unix_ms(START);
    scene.send(FromCharger::Start(StartSession { session, connector, credential, at, register }));
    let received = scene.received();
    let refused =
        |message: &ToCharger| matches!(message, ToCharger::StartRejected { code: Code::StartImplausible, .. });
    assert!(!received.is_empty() && !received.iter().any(refused), "{received:?}");
}
