//! Funds that run out, and what is done about it: increments, refused ones, a second credential, early release, a hold
//! that lapses.

use super::*;
use crate::session::StopReason as Why;

/// 1 EUR/kWh, and a first hold of 2 EUR: at 22 kW it is used up in five minutes.
fn dear(first_hold_major: u32) -> Scene {
    let policy = Policy { first_hold_minor: i64::from(first_hold_major) * 100, ..Policy::default() };
    let node_config = house_of(policy, &TARIFF.replace("0.14", "1.00"));
    let mut scene = Scene::in_house(MemoryStore::new(64), node_config, Scene::beginning());
    scene.hello("AMS-0007", Vec::new());
    scene.start(1, CredentialKind::CardToken, "tok_visa");
    let authorize = scene.asked();
    scene.approve(&authorize);
    scene.received();
    scene
}

/// Sends readings until the processor gets a request, 0.2 kWh a minute.
fn until_asked(scene: &mut Scene, sequence: &mut u32) -> Operation {
    while scene.operations.is_empty() {
        *sequence += 1;
        assert!(*sequence < 60, "something is asked for in time");
        scene.reading(1, *sequence, i64::from(*sequence) * 200);
    }
    scene.asked()
}

fn new_total(operation: &Operation) -> i64 {
    match &operation.request {
        Request::Increment { new_total, .. } | Request::Decrement { new_total, .. } => new_total.minor,
        other => panic!("a new total: {other:?}"),
    }
}

fn stopped(received: &[ToCharger]) -> bool {
    received.iter().any(|message| matches!(message, ToCharger::StopNow { .. }))
}

#[test]
fn more_is_asked_for_in_time_by_the_rate_of_the_session_and_the_limit_follows() {
    let (mut scene, mut sequence) = (dear(4), 0);
    let increment = until_asked(&mut scene, &mut sequence);
    // 0.20 EUR a minute for half an hour is 6 EUR more than what it had cost by the last reading.
    let cost = new_total(&increment) - 600;
    assert!(
        cost == i64::from(sequence) * 20 || cost == i64::from(sequence - 1) * 20,
        "{cost} after {sequence} minutes"
    );
    assert!(!stopped(&scene.received()), "there is still time for an answer");
    scene.approve(&increment);
    let received = scene.received();
    let [ToCharger::LimitChanged { limit, .. }] = received.as_slice() else { panic!("{received:?}") };
    assert_eq!(limit.cost.map(|cost| cost.minor), Some(new_total(&increment)));
}

#[test]
fn a_part_of_an_increment_is_the_new_limit() {
    let (mut scene, mut sequence) = (dear(4), 0);
    let increment = until_asked(&mut scene, &mut sequence);
    scene.received();
    let (amount, processor_ref) = (Amount::new(450, Currency::EUR), ProcessorRef("auth-1".into()));
    scene.answer(&increment, Outcome::Approved { amount, processor_ref, expires_at: None });
    let received = scene.received();
    let [ToCharger::LimitChanged { limit, .. }] = received.as_slice() else { panic!("{received:?}") };
    assert_eq!(limit.cost, Some(amount));
}

#[test]
fn after_a_soft_no_half_as_much_more_is_asked_for_once_and_after_a_pause() {
    let (mut scene, mut sequence) = (dear(4), 0);
    let first = until_asked(&mut scene, &mut sequence);
    scene.decline(&first, DeclineClass::Soft);
    let asked_at = sequence;
    let second = until_asked(&mut scene, &mut sequence);
    assert!(sequence > asked_at, "not at once");
    assert_eq!(new_total(&second), 400 + (new_total(&first) - 400) / 2);
    scene.decline(&second, DeclineClass::Soft);
    scene.received();
    let mut received = Vec::new();
    while !stopped(&received) {
        sequence += 1;
        scene.reading(1, sequence, i64::from(sequence) * 200);
        assert!(scene.operations.is_empty(), "no third authorization is requested");
        received = scene.received();
    }
    scene.stop(1, sequence + 1, i64::from(sequence) * 200 + 100);
    let capture = scene.asked();
    let Request::Capture { amount, .. } = capture.request else { panic!("{capture:?}") };
    assert!(amount.minor <= 400 && scene.session().payment.shortfall().minor == 0, "{amount}");
}

#[test]
fn after_a_hard_no_nobody_is_asked_again_and_what_is_held_is_used() {
    let (mut scene, mut sequence) = (dear(4), 0);
    let first = until_asked(&mut scene, &mut sequence);
    scene.decline(&first, DeclineClass::Hard);
    scene.received();
    let refused_at = sequence;
    while !stopped(&scene.received()) {
        sequence += 1;
        scene.reading(1, sequence, i64::from(sequence) * 200);
        assert!(scene.operations.is_empty());
    }
    assert!(sequence > refused_at, "the energy goes on as long as the hold covers it");
}

#[test]
fn an_increment_that_never_left_costs_no_attempt_and_is_asked_for_again() {
    let (mut scene, mut sequence) = (dear(10), 0);
    for _ in 0..2 {
        let increment = until_asked(&mut scene, &mut sequence);
        scene.not_sent(&increment);
    }
    let third = until_asked(&mut scene, &mut sequence);
    scene.received();
    scene.approve(&third);
    assert!(matches!(scene.received().as_slice(), [ToCharger::LimitChanged { .. }]));
}

#[test]
fn a_second_credential_at_the_charger_brings_a_second_hold_and_the_first_is_used_up_first() {
    let (mut scene, mut sequence) = (dear(4), 0);
    let increment = until_asked(&mut scene, &mut sequence);
    scene.decline(&increment, DeclineClass::Hard);
    scene.received();
    scene.start(1, CredentialKind::CardToken, "tok_other");
    let second = scene.asked();
    assert!(matches!(second.request, Request::Authorize { .. }) && second.id.ordinal() > increment.id.ordinal());
    assert!(
        matches!(scene.received().as_slice(), [ToCharger::StartAccepted { .. }]),
        "the start is answered as before"
    );
    scene.approve(&second);
    let received = scene.received();
    let [ToCharger::LimitChanged { limit, .. }] = received.as_slice() else { panic!("{received:?}") };
    assert_eq!(limit.cost.map(|cost| cost.minor), Some(800));
    // The first credential again is the start again, and the second one again is no third hold.
    scene.start(1, CredentialKind::CardToken, "tok_visa");
    scene.start(1, CredentialKind::CardToken, "tok_other");
    assert!(scene.operations.is_empty());
    scene.received();
    while sequence < 25 {
        sequence += 1;
        scene.reading(1, sequence, i64::from(sequence) * 200);
    }
    scene.operations.clear();
    scene.stop(1, sequence + 1, 5_100);
    let taken: Vec<i64> = scene
        .operations
        .iter()
        .filter_map(|operation| match operation.request {
            Request::Capture { amount, .. } => Some(amount.minor),
            _ => None,
        })
        .collect();
    assert_eq!(taken, [400, 110], "5.10 EUR: all of the first hold, and the rest of the second");
}

#[test]
fn a_car_that_tapers_gives_the_driver_money_back_before_the_end() {
    let mut scene = dear(60);
    for sequence in 1..=15 {
        scene.reading(1, sequence, i64::from(sequence) * 300);
    }
    assert!(scene.operations.is_empty(), "it takes what it took");
    scene.reading(1, 16, 4_520);
    let decrement = scene.asked();
    assert!(matches!(decrement.request, Request::Decrement { .. }), "{decrement:?}");
    let kept = new_total(&decrement);
    assert!((452 + 1_000..=5_000).contains(&kept), "enough for an hour as it was: {kept}");
    assert!(
        scene.received().iter().any(|seen| matches!(seen, ToCharger::LimitChanged { limit, .. }
            if limit.cost.is_some_and(|cost| cost.minor == kept))),
        "what is being given back is not spent any more"
    );
    scene.approve(&decrement);
    scene.reading(1, 17, 4_530);
    assert!(scene.operations.is_empty(), "once");
    assert!(!stopped(&scene.received()));
}

#[test]
fn a_charger_that_goes_on_or_comes_back_gets_the_stop_again() {
    let (mut scene, mut sequence) = (dear(4), 0);
    let increment = until_asked(&mut scene, &mut sequence);
    scene.decline(&increment, DeclineClass::Hard);
    while !stopped(&scene.received()) {
        sequence += 1;
        scene.reading(1, sequence, i64::from(sequence) * 200);
    }
    scene.reading(1, sequence + 1, i64::from(sequence) * 200 + 1);
    assert!(stopped(&scene.received()), "the order may have been lost");
    scene.hello("AMS-0007", vec![SessionMark { session: SessionKey(1), last_sequence: sequence + 1 }]);
    assert!(stopped(&scene.received()));
}

#[test]
fn a_charger_that_comes_back_learns_the_limit_that_it_may_have_missed() {
    let (mut scene, mut sequence) = (dear(4), 0);
    let increment = until_asked(&mut scene, &mut sequence);
    scene.approve(&increment);
    scene.received();
    scene.hello("AMS-0007", vec![SessionMark { session: SessionKey(1), last_sequence: sequence }]);
    assert!(matches!(scene.received().as_slice(), [ToCharger::HelloAck(_), ToCharger::LimitChanged { .. }]));
}

#[test]
fn a_quiet_charger_is_stopped_before_its_funds_can_have_run_out() {
    let mut scene = dear(4);
    scene.reading(1, 1, 300);
    scene.received();
    let mut quiet = 0;
    while !stopped(&scene.received()) {
        quiet += 5;
        scene.pass(5);
        if let Some(operation) = scene.operations.pop() {
            scene.decline(&operation, DeclineClass::Hard);
        }
        assert!(quiet < 15 * 60, "before the silence itself ends the session");
    }
    // 4.00 EUR less 0.30 lasts 10 minutes at 22 kW and 1 EUR/kWh.
    assert!((7 * 60..=10 * 60 - 30).contains(&quiet), "{quiet} s");
}

/// The energy flows on while the gate is down: what was not metered before the end of the process counts after it.
#[test]
fn a_restart_does_not_make_a_silence_shorter() {
    let mut scene = dear(4);
    scene.reading(1, 1, 300);
    let mut quiet = 0;
    let decline = |scene: &mut Scene| {
        while let Some(operation) = scene.operations.pop() {
            scene.decline(&operation, DeclineClass::Hard);
        }
    };
    while quiet < 5 * 60 {
        quiet += 5;
        scene.pass(5);
        decline(&mut scene);
    }
    assert!(!stopped(&scene.received()));
    let node_config = house_of(Policy::clone(&scene.shard.node_config().policy), &TARIFF.replace("0.14", "1.00"));
    let mut scene = Scene { next_callback: 5_000, ..Scene::in_house(scene.store, node_config, scene.now) };
    scene.hello("AMS-0007", vec![SessionMark { session: SessionKey(1), last_sequence: 1 }]);
    while !stopped(&scene.received()) {
        quiet += 5;
        scene.pass(5);
        decline(&mut scene);
        assert!(quiet < 30 * 60, "it is stopped one day");
    }
    assert!((7 * 60..=10 * 60 - 30).contains(&quiet), "{quiet} s");
}

/// Reduced funds have to cover also the energy that may have been used since the last reading.
#[test]
fn less_than_a_quiet_charger_may_have_used_stops_it_at_once() {
    for (quiet, stops) in [(5, false), (150, true)] {
        let policy = Policy { stand_in: true, ..Policy::default() };
        let node_config = house_of(policy, &TARIFF.replace("0.14", "1.00"));
        let mut scene = Scene::in_house(MemoryStore::new(64), node_config, Scene::beginning());
        scene.connections(&acme(), 0);
        scene.hello("AMS-0007", Vec::new());
        scene.start(1, CredentialKind::CardToken, "tok_visa");
        let asked = scene.asked();
        scene.reading(1, 1, 300);
        scene.pass(quiet);
        scene.received();
        // 0.30 is known, 0.55 is the reserve, and in two and a half minutes the car may have taken 0.92 more.
        let (amount, processor_ref) = (Amount::new(150, Currency::EUR), ProcessorRef("auth-1".into()));
        scene.answer(&asked, Outcome::Approved { amount, processor_ref, expires_at: None });
        assert_eq!(stopped(&scene.received()), stops, "after {quiet} s");
    }
}

#[test]
fn a_hold_that_lapses_soon_is_renewed_by_an_increment_or_the_session_ends_in_time() {
    for renewed in [true, false] {
        let mut scene = dear(100);
        let lapses = scene.session().payment.holds()[0].expires_at;
        let soon = |scene: &Scene| lapses.since(scene.now.wall) <= TimeSpan::from_secs(12 * 3_600 + 300);
        let mut sequence = 1;
        scene.reading(1, 1, 1);
        while !soon(&scene) {
            sequence += 1;
            scene.pass(240);
            scene.reading(1, sequence, i64::from(sequence));
            scene.operations.clear();
        }
        let increment = loop {
            sequence += 1;
            scene.reading(1, sequence, i64::from(sequence));
            if !scene.operations.is_empty() {
                break scene.asked();
            }
        };
        let (amount, processor_ref) = (Amount::new(new_total(&increment), Currency::EUR), ProcessorRef("a".into()));
        let expires_at = renewed.then(|| lapses.saturating_add(TimeSpan::from_secs(7 * 86_400)));
        scene.answer(&increment, Outcome::Approved { amount, processor_ref, expires_at });
        scene.received();
        let mut stop_seen = false;
        while !stop_seen && lapses.since(scene.now.wall) > TimeSpan::ZERO {
            sequence += 1;
            scene.pass(540);
            scene.reading(1, sequence, i64::from(sequence));
            stop_seen = stopped(&scene.received());
        }
        assert_eq!(stop_seen, !renewed);
        if stop_seen {
            let left = lapses.since(scene.now.wall).whole_secs();
            assert!((3_000..=3_600).contains(&left), "an hour before the end: {left}");
            let why = match &scene.session().stage {
                crate::session::Stage::Charging { stop_asked, .. } => *stop_asked,
                other => panic!("{other:?}"),
            };
            assert_eq!(why, Some(Why::AuthorizationLost));
        }
    }
}

#[test]
fn too_little_to_stop_with_is_no_admission() {
    let policy = Policy { first_hold_minor: 100, ..Policy::default() };
    let node_config = house_of(policy, &TARIFF.replace("0.14", "4.00"));
    let mut scene = Scene::in_house(MemoryStore::new(64), node_config, Scene::beginning());
    scene.hello("AMS-0007", Vec::new());
    scene.received();
    scene.start(1, CredentialKind::CardToken, "tok_visa");
    let authorize = scene.asked();
    scene.approve(&authorize);
    let received = scene.received();
    assert!(
        matches!(received.as_slice(), [ToCharger::StartRejected { code: Code::FundsInsufficient, .. }]),
        "22 kW for 90 s at 4 EUR/kWh is 2.20 EUR: {received:?}"
    );
    let void = scene.asked();
    assert!(matches!(void.request, Request::Void { .. }));
    scene.approve(&void);
    assert!(scene.session().payment.is_settled());
}
