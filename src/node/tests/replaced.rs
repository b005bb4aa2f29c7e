//! A charger that was replaced or reset: its Hello omits a session that is open at the gate.

use super::*;
use crate::limits;
use crate::session::{self, Stage};

/// A session that is charging, read once (4 cents), whose charger then connects without it.
fn omitted() -> Scene {
    let (mut scene, _) = Scene::charging();
    scene.reading(1, 1, 300);
    scene.received();
    scene.hello("AMS-0007", Vec::new());
    scene
}

fn capture(scene: &mut Scene, minor: i64) {
    let operation = scene.asked();
    let Request::Capture { amount, last, .. } = operation.request else { panic!("{operation:?}") };
    assert_eq!((amount.minor, last), (minor, true));
    scene.approve(&operation);
}

#[test]
fn a_session_that_a_hello_omits_ends_at_its_last_total_at_once() {
    let mut scene = omitted();
    capture(&mut scene, 4);
    let session = scene.session().clone();
    assert!(matches!(session.stage, Stage::Closed(_)), "captured, and the rest is released: {:?}", session.stage);
    assert_eq!(session.ended().unwrap().reason, session::StopReason::Omitted);
    scene.received();
    let before = session;
    scene.start(2, CredentialKind::CardToken, "tok_visa");
    assert!(matches!(scene.asked().request, Request::Authorize { .. }), "the connector is free");
    let after = scene.crash();
    assert_eq!(after.shard.session(before.id).map(|session| session.state()), Some(&before));
}

#[test]
fn what_a_replaced_charger_tells_later_corrects_the_estimate() {
    let mut scene = omitted();
    capture(&mut scene, 4);
    scene.received();
    scene.hello("AMS-0007", vec![SessionMark { session: SessionKey(1), last_sequence: 2 }]);
    let received = scene.received();
    let Some(ToCharger::HelloAck(ack)) = received.first() else { panic!("{received:?}") };
    assert_eq!(ack.sessions[0].standing, Standing::Open { durable: 1 });
    scene.stop(1, 2, 650);
    let received = scene.received();
    assert!(
        received.iter().any(|message| matches!(message, ToCharger::Receipt(receipt) if receipt.total.minor == 9)),
        "{received:?}"
    );
    assert_eq!(scene.session().payment.shortfall().minor, 5, "the hold has ended: the rest is owed");
}

#[test]
fn a_session_whose_credential_is_still_decided_on_leaves_no_hold_behind() {
    let mut scene = Scene::new();
    scene.hello("AMS-0007", Vec::new());
    scene.start(1, CredentialKind::CardToken, "tok_visa");
    let authorize = scene.operations.remove(0);
    scene.hello("AMS-0007", Vec::new());
    assert!(matches!(scene.session().stage, Stage::Settling(_)));
    // The void goes out at once; an approval that comes all the same is voided too.
    scene.approve(&authorize);
    while let Some(release) = scene.operations.pop() {
        assert!(matches!(release.request, Request::Void { .. }), "{release:?}");
        scene.approve(&release);
    }
    assert!(matches!(scene.session().stage, Stage::Closed(_)));
    assert_eq!(scene.session().payment.authorized().minor, 0);
    scene.start(2, CredentialKind::CardToken, "tok_visa");
    assert!(matches!(scene.asked().request, Request::Authorize { .. }), "the connector is free");
}

#[test]
fn a_session_that_a_hello_names_goes_on() {
    let (mut scene, _) = Scene::charging();
    scene.hello("AMS-0007", vec![SessionMark { session: SessionKey(1), last_sequence: 0 }]);
    assert!(matches!(scene.session().stage, Stage::Charging { .. }));
}

#[test]
fn an_operators_stop_does_not_wait_for_a_charger_that_is_gone() {
    let (mut scene, _) = Scene::charging();
    scene.reading(1, 1, 300);
    let id = scene.session().id;
    scene.take(Input::StopSession(id, session::StopReason::Operator));
    let ordered = scene.now.mono;
    while scene.operations.is_empty() {
        scene.pass(10);
        let waited = scene.now.mono.since(ordered);
        assert!(waited <= TimeSpan::from_secs(120), "the charger's silence is waited for no longer: {waited:?}");
    }
    capture(&mut scene, 4);
}

/// With a slow disk effects wait: a Hello with the most sessions finds room for all of them, or is refused as busy.
#[test]
fn a_hello_reserves_an_effect_for_each_session_that_it_names() {
    let mut scene = Scene::new();
    let sessions: Vec<SessionMark> = (1..=limits::SESSIONS_PER_HELLO as u64)
        .map(|key| SessionMark { session: SessionKey(key), last_sequence: 0 })
        .collect();
    let hello = ChargerHello {
        numbering: Default::default(),
        charger: ChargerId::new("AMS-0007").unwrap(),
        connectors: vec![ConnectorInfo { id: ConnectorId(1), power_max: Power::from_watts(22_000).unwrap() }],
        firmware: "1.0".into(),
        clock: scene.now.wall,
        sessions,
    };
    // Past sessions, so that each mark may request a receipt.
    scene.hello("AMS-0007", Vec::new());
    for key in 1..=40 {
        scene.start(key, CredentialKind::CardToken, "tok_visa");
        let authorize = scene.asked();
        scene.approve(&authorize);
        scene.stop(key, 1, 300);
        let operation = scene.asked();
        scene.approve(&operation);
    }
    // Nothing is committed and released from here on: the disk is slow.
    let mut taken = 0;
    while scene.shard.hello(scene.link, &hello, scene.now).is_ok() {
        taken += 1;
        assert!(taken < 100_000, "the bound is reached");
    }
    assert!(taken > 10, "{taken}");
}
