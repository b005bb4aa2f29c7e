//! A charger without messages: the session ends on its last known total, and later messages of the charger are a
//! correction.

use super::*;
use crate::payment::VoidReason;
use crate::session::Stage;

/// A session that was read once (4 cents) and then ended because its charger sent nothing more.
fn silent(multiple_captures: bool) -> Scene {
    let mut scene = Scene::new();
    scene.routes(|routes| {
        routes.registry.processors.get_mut(&acme()).unwrap().capabilities.multiple_captures = multiple_captures;
    });
    scene.hello("AMS-0007", Vec::new());
    scene.start(1, CredentialKind::CardToken, "tok_visa");
    let authorize = scene.asked();
    scene.approve(&authorize);
    scene.reading(1, 1, 300);
    scene.received();
    while scene.operations.is_empty() {
        scene.pass(30);
        assert!(scene.now.mono < Mono(3_600_000), "silence is not endless");
    }
    assert!(matches!(scene.received().as_slice(), [ToCharger::StopNow { .. }]));
    scene
}

fn capture(scene: &mut Scene, minor: i64, last: bool) {
    let operation = scene.asked();
    let Request::Capture { amount, last: message, .. } = operation.request else { panic!("{operation:?}") };
    assert_eq!((amount.minor, message), (minor, last));
    scene.approve(&operation);
}

/// The charger reconnects with three readings, and gets the position from which they are requested.
fn back(scene: &mut Scene) {
    scene.received();
    scene.hello("AMS-0007", vec![SessionMark { session: SessionKey(1), last_sequence: 3 }]);
    let received = scene.received();
    let Some(ToCharger::HelloAck(ack)) = received.first() else { panic!("{received:?}") };
    assert_eq!(ack.sessions[0].standing, Standing::Open { durable: 1 });
}

fn turnover(scene: &Scene) -> (i128, i128) {
    let mut sums = (0, 0);
    for partition in scene.shard.partitions() {
        assert_eq!(partition.books.books.imbalance(), 0);
        let turnover = partition.books.turnover.get(&Currency::EUR).copied().unwrap_or_default();
        sums = (sums.0 + turnover.captured, sums.1 + turnover.shortfall);
    }
    sums
}

#[test]
fn f35_a_silent_charger_is_settled_on_the_last_known_total_and_what_it_tells_later_is_owed() {
    let mut scene = silent(false);
    capture(&mut scene, 4, true);
    assert!(matches!(scene.session().stage, Stage::Closed(_)));
    assert!(matches!(scene.received().as_slice(), [ToCharger::Receipt(receipt)] if receipt.total.minor == 4));
    assert_eq!(turnover(&scene), (4, 0));

    back(&mut scene);
    scene.reading(1, 2, 600);
    let received = scene.received();
    assert!(
        received.iter().any(|message| matches!(message, ToCharger::MeterAck(ack) if ack.up_to == 2))
            && received.iter().any(|message| matches!(message, ToCharger::StopNow { .. })),
        "taken, and it is notified again that the session is over: {received:?}"
    );
    scene.stop(1, 3, 650);
    let received = scene.received();
    assert!(
        received.iter().any(|message| matches!(message, ToCharger::Receipt(receipt) if receipt.total.minor == 9)),
        "{received:?}"
    );
    assert!(scene.operations.is_empty(), "the hold has ended: nothing can be taken from it any more");
    let session = scene.session();
    assert_eq!((session.ended().unwrap().payable.minor, session.payment.shortfall().minor), (9, 5));
    assert_eq!(turnover(&scene), (4, 5), "it stands in the books as owed, once");

    // After its final message it has nothing more to send, and a replay has the same result.
    scene.reading(1, 4, 700);
    assert!(matches!(scene.received().as_slice(), [ToCharger::SessionRejected { code: Code::SessionOver, .. }]));
    let before = scene.session().clone();
    let scene = scene.crash();
    assert_eq!(scene.session(), &before);
    assert_eq!(turnover(&scene), (4, 5));
}

#[test]
fn what_comes_late_is_taken_from_a_hold_that_can_be_captured_again() {
    let mut scene = silent(true);
    capture(&mut scene, 4, false);
    assert!(matches!(scene.session().stage, Stage::Settling(_)), "the rest of the hold is kept for a while");
    back(&mut scene);
    scene.reading(1, 2, 600);
    assert!(scene.operations.is_empty(), "not every late reading is a capture");
    scene.stop(1, 3, 650);
    capture(&mut scene, 5, true);
    assert!(matches!(scene.session().stage, Stage::Closed(_)));
    assert!(
        scene
            .received()
            .iter()
            .any(|message| matches!(message, ToCharger::Receipt(receipt) if receipt.total.minor == 9))
    );
    assert_eq!(turnover(&scene), (9, 0));
}

#[test]
fn a_hold_that_was_kept_for_a_charger_that_never_came_back_is_released() {
    let mut scene = silent(true);
    capture(&mut scene, 4, false);
    let mut scene = scene.crash();
    let began = scene.now.mono;
    while scene.operations.is_empty() {
        scene.pass(60);
        assert!(scene.now.mono.since(began) < TimeSpan::from_secs(2 * 3_600), "an hour");
    }
    let void = scene.asked();
    assert!(matches!(void.request, Request::Void { reason: VoidReason::Remainder, .. }), "{void:?}");
    scene.approve(&void);
    assert!(matches!(scene.session().stage, Stage::Closed(_)));
    assert_eq!(turnover(&scene), (4, 0));
}

#[test]
fn a_charger_that_comes_back_finds_a_session_that_was_put_away() {
    let mut scene = silent(false);
    scene.archive = Some(Default::default());
    capture(&mut scene, 4, true);
    assert!(scene.shard.partitions().iter().all(|partition| partition.sessions.is_empty()), "it is put away");
    back(&mut scene);
    scene.stop(1, 2, 600);
    assert!(scene.received().iter().any(|message| matches!(message, ToCharger::MeterAck(ack) if ack.up_to == 2)));
    assert!(scene.shard.partitions().iter().all(|partition| partition.sessions.is_empty()), "and put away again");
    let archive = scene.archive.as_ref().unwrap();
    let (session, _) = archive.values().next().unwrap();
    assert_eq!((session.ended().unwrap().payable.minor, session.payment.shortfall().minor), (8, 4));
    assert_eq!(turnover(&scene), (4, 4));
}

#[test]
fn f29_f34_a_session_that_never_starts_is_released_in_time_and_says_so() {
    let (mut scene, _) = Scene::charging();
    scene.received();
    let began = scene.now.mono;
    while scene.operations.is_empty() {
        scene.pass(5);
        assert!(scene.now.mono.since(began) <= TimeSpan::from_secs(125), "two minutes");
    }
    let void = scene.asked();
    assert!(matches!(void.request, Request::Void { reason: VoidReason::NoStart, .. }), "{void:?}");
    assert!(matches!(scene.received().as_slice(), [ToCharger::StopNow { .. }]));
    scene.approve(&void);
    assert!(matches!(scene.session().stage, Stage::Closed(_)));

    // One that ends without energy is released at once.
    scene.start(2, CredentialKind::CardToken, "tok_visa");
    let authorize = scene.operations.remove(0);
    scene.approve(&authorize);
    scene.stop(2, 1, 0);
    let void = scene.asked();
    assert!(matches!(void.request, Request::Void { .. }), "{void:?}");
}
