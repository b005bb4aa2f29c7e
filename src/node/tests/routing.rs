//! Routing of a driver's request: the first processor, the next one, and the result without any.

use super::*;
use crate::session::Stage;

fn other() -> ProcessorId {
    ProcessorId::new("other-cards").unwrap()
}

/// Two processors, the second only when the first is out.
fn two() -> Scene {
    standing_in(Scene::new())
}

fn standing_in(scene: Scene) -> Scene {
    scene.routes(|routes| {
        routes.registry.processors.insert(other(), listed());
        routes.registry.rules = [(acme(), 0), (other(), 1)]
            .map(|(processor, priority)| crate::payment::routing::Rule {
                processor,
                priority,
                weight: 1,
                credentials: Vec::new(),
                currencies: Vec::new(),
                sites: Vec::new(),
                least: Vec::new(),
                greatest: Vec::new(),
            })
            .to_vec();
    });
    scene
}

fn begin(scene: &mut Scene) {
    scene.hello("AMS-0007", Vec::new());
    scene.received();
    scene.start(1, CredentialKind::CardToken, "tok_visa");
}

fn code(received: &[ToCharger]) -> Code {
    match received {
        [ToCharger::StartRejected { code, .. }] => *code,
        other => panic!("a refused start: {other:?}"),
    }
}

#[test]
fn what_never_left_the_gate_is_asked_of_another_processor() {
    let mut scene = two();
    begin(&mut scene);
    let first = scene.asked();
    assert_eq!(first.processor, acme());
    scene.not_sent(&first);
    let second = scene.asked();
    assert_eq!((second.processor.clone(), second.id != first.id), (other(), true), "under an id of its own");
    scene.approve(&second);
    assert!(matches!(scene.received().as_slice(), [ToCharger::StartAccepted { .. }]));
    scene.stop(1, 1, 300);
    assert_eq!(scene.asked().processor, other(), "later operations go to the processor that has the hold");
}

#[test]
fn a_soft_no_is_asked_elsewhere_once_and_a_hard_one_never() {
    let mut scene = two();
    begin(&mut scene);
    let first = scene.asked();
    scene.decline(&first, DeclineClass::Soft);
    let second = scene.asked();
    assert_eq!(second.processor, other());
    scene.decline(&second, DeclineClass::Soft);
    assert!(scene.operations.is_empty(), "two processors were asked, and no third one");
    assert_eq!(code(&scene.received()), Code::CredentialDeclined);

    scene.start(2, CredentialKind::CardToken, "tok_stolen");
    let first = scene.asked();
    scene.decline(&first, DeclineClass::Hard);
    assert!(scene.operations.is_empty());
    assert_eq!(code(&scene.received()), Code::CredentialDeclined);
}

#[test]
fn an_unknown_outcome_is_reversed_and_never_asked_elsewhere() {
    let mut scene = two();
    begin(&mut scene);
    scene.asked();
    scene.pass(9);
    scene.pass(5);
    let kinds: Vec<_> = scene.operations.iter().map(|operation| operation.request.kind()).collect();
    assert!(scene.operations.iter().all(|operation| operation.processor == acme()), "the driver's money is held once");
    assert!(matches!(kinds.last(), Some(OperationKind::Void)), "{kinds:?}");
    assert_eq!(code(&scene.received()), Code::OutcomeUnknown);
}

#[test]
fn a_failover_survives_a_crash() {
    let mut scene = two();
    begin(&mut scene);
    let first = scene.asked();
    scene.not_sent(&first);
    let second = scene.asked();
    let mut scene = scene.crash();
    let again = scene.asked();
    assert!(again.id == second.id || matches!(again.request, Request::Inquire { target } if target == second.id));
    assert_eq!(again.processor, other());
}

#[test]
fn a_draining_processor_gets_no_new_holds() {
    let mut scene = two();
    scene.routes(|routes| routes.registry.processors.get_mut(&acme()).unwrap().draining = true);
    begin(&mut scene);
    assert_eq!(scene.asked().processor, other());
}

#[test]
fn without_the_operators_word_no_energy_is_given_on_our_own_risk() {
    let mut scene = Scene::new();
    scene.connections(&acme(), 0);
    begin(&mut scene);
    assert_eq!(code(&scene.received()), Code::NoProcessor);
}

fn on_our_own_risk() -> Scene {
    let mut scene = Scene::with(|policy| policy.stand_in = true);
    scene.connections(&acme(), 0);
    begin(&mut scene);
    let received = scene.received();
    let [ToCharger::StartAccepted { limit, .. }] = received.as_slice() else { panic!("{received:?}") };
    assert_eq!(limit.cost, Some(Amount::new(2_000, Currency::EUR)), "up to the floor");
    scene
}

#[test]
fn a_stand_in_is_asked_for_when_the_processor_is_back_and_the_floor_becomes_the_hold() {
    let mut scene = on_our_own_risk();
    let asked = scene.asked();
    assert!(matches!(asked.request, Request::Authorize { stand_in: true, .. }), "{asked:?}");
    scene.not_sent(&asked);
    scene.reading(1, 1, 300);
    scene.received();
    let again = scene.asked();
    assert_eq!(again.id, asked.id, "asked again and again");
    scene.connections(&acme(), 1);
    scene.approve(&again);
    let received = scene.received();
    let [ToCharger::LimitChanged { limit, .. }] = received.as_slice() else { panic!("{received:?}") };
    assert_eq!(limit.cost, Some(Amount::new(4_500, Currency::EUR)));
    assert!(scene.shard.node_config().offline_authorizations.is_empty());
}

#[test]
fn a_stand_in_that_ended_before_the_processor_was_back_is_authorized_and_captured_afterwards() {
    let mut scene = on_our_own_risk();
    let asked = scene.asked();
    scene.not_sent(&asked);
    scene.stop(1, 1, 300);
    let again = scene.asked();
    assert!(matches!(scene.session().stage, Stage::Settling(_)), "the money is awaited");
    scene.approve(&again);
    let capture = scene.asked();
    assert!(matches!(capture.request, Request::Capture { amount, .. } if amount.minor == 4), "{capture:?}");
    scene.approve(&capture);
    assert!(
        scene
            .received()
            .iter()
            .any(|message| matches!(message, ToCharger::Receipt(receipt) if receipt.total.minor == 4))
    );
}

#[test]
fn a_stand_in_that_is_refused_afterwards_stops_the_energy_and_stands_in_the_books_as_owed() {
    let mut scene = on_our_own_risk();
    let asked = scene.asked();
    scene.reading(1, 1, 300);
    scene.received();
    scene.decline(&asked, DeclineClass::Hard);
    assert!(matches!(scene.received().as_slice(), [ToCharger::StopNow { .. }]));
    scene.stop(1, 2, 310);
    assert_eq!(scene.session().payment.shortfall().minor, 4);
    assert!(matches!(scene.session().stage, Stage::Closed(_)));
    let turnover = scene.shard.partitions().iter().find_map(|partition| {
        partition.books.turnover.get(&Currency::EUR).filter(|turnover| turnover.shortfall > 0).copied()
    });
    assert_eq!(turnover.map(|turnover| (turnover.captured, turnover.shortfall)), Some((0, 4)));
}

#[test]
fn on_our_own_risk_every_credential_once_at_a_time_and_all_within_a_bound_also_after_a_crash() {
    let mut scene = on_our_own_risk();
    let mut scene = {
        scene.asked();
        let after = scene.crash();
        after.connections(&acme(), 0);
        after
    };
    assert_eq!(scene.shard.node_config().offline_authorizations.len(), 1, "known again after the restart");
    scene.hello("AMS-0008", Vec::new());
    scene.received();
    scene.start(1, CredentialKind::CardToken, "tok_visa");
    assert_eq!(code(&scene.received()), Code::NoProcessor, "the same credential at another charger");
    scene.start(2, CredentialKind::CardToken, "tok_other");
    assert!(matches!(scene.received().as_slice(), [ToCharger::StartAccepted { .. }]));
    assert!(
        !scene.shard.node_config().offline_authorizations.allows("card:x", Amount::new(2_000, Currency::EUR), 5_999),
        "three floors are more than that"
    );
    assert!(scene.shard.node_config().offline_authorizations.allows(
        "card:x",
        Amount::new(2_000, Currency::EUR),
        6_000
    ));
}

#[test]
fn a_connection_that_breaks_before_the_question_leaves_is_an_outage_too() {
    let mut scene = Scene::with(|policy| policy.stand_in = true);
    begin(&mut scene);
    let asked = scene.asked();
    scene.connections(&acme(), 0);
    scene.not_sent(&asked);
    assert!(matches!(scene.received().as_slice(), [ToCharger::StartAccepted { .. }]));
    let again = scene.asked();
    assert!(again.id != asked.id && matches!(again.request, Request::Authorize { stand_in: true, .. }));
}

/// The same disk with a restarted gate before any processor has connected.
fn begun_anew(scene: Scene) -> Scene {
    let node_config = house_with(Policy::clone(&scene.shard.node_config().policy));
    node_config.routing.change(&|routes| *routes = Routes::default());
    Scene::in_house(scene.store, node_config, scene.now)
}

#[test]
fn after_a_restart_somebody_stands_in_for_a_processor_that_is_not_back_yet() {
    let mut scene = Scene::with(|policy| policy.stand_in = true);
    scene.take(Input::Declared(acme(), Box::new(capabilities())));
    let records = scene.log.sequences().clone();
    scene.take(Input::Declared(acme(), Box::new(capabilities())));
    assert_eq!(scene.log.sequences(), &records, "the same again is no news");
    let mut scene = begun_anew(scene);
    begin(&mut scene);
    let received = scene.received();
    assert!(matches!(received.as_slice(), [ToCharger::StartAccepted { .. }]), "{received:?}");
    assert!(matches!(scene.asked().request, Request::Authorize { stand_in: true, .. }));
    // One that never connected is unknown: there is nothing to stand in for.
    let mut scene = begun_anew(Scene::with(|policy| policy.stand_in = true));
    begin(&mut scene);
    assert_eq!(code(&scene.received()), Code::NoProcessor);
}

#[test]
fn an_operators_drain_outlives_the_process_and_a_snapshot() {
    let mut scene = Scene::new();
    for processor in [acme(), other()] {
        scene.take(Input::Declared(processor, Box::new(capabilities())));
    }
    scene.take(Input::DrainProcessor(acme(), true, OPERATOR));
    let unknown = ProcessorId::new("unknown").unwrap();
    scene.take(Input::DrainProcessor(unknown, true, OPERATOR));
    assert!(matches!(scene.ordered.as_slice(), [Ordered::Noted, Ordered::Declined(_)]));
    let drained = |scene: &Scene| scene.shard.node_config().routing.routes().registry.drained.contains(&acme());
    assert!(drained(&scene));
    let mut scene = begun_anew(scene);
    assert!(drained(&scene), "the log names it");
    // Both connect again; the drained one gets nothing, whatever it declares.
    for processor in [acme(), other()] {
        scene.shard.node_config().routing.list(&processor, &listed());
    }
    begin(&mut scene);
    assert_eq!(scene.asked().processor, other());
    // A snapshot restores the same.
    let partition = crate::accounting::settlement::partition_of(&acme(), 8);
    let state = scene.shard.snapshot(partition);
    let node_config = node_config();
    let mut shard = Shard::new(node_config.clone(), 0, scene.now);
    shard.restore(partition, &state, scene.now).unwrap();
    assert!(node_config.routing.routes().registry.drained.contains(&acme()));
    // Until the operator allows it again.
    scene.take(Input::DrainProcessor(acme(), false, OPERATOR));
    assert!(!drained(&scene) && !drained(&begun_anew(scene)));
}

#[test]
fn a_site_has_a_processor_of_its_own() {
    let site = |name: &str| vec![SiteId::new(name).unwrap()];
    let mut scene = two();
    scene.routes(|routes| {
        // Only for site A, and there first.
        routes.registry.rules[0].sites = site("A");
    });
    for (charger, asked) in [("SITE-A-1", acme()), ("SITE-B-1", other()), ("AMS-0007", other())] {
        scene.hello(charger, Vec::new());
        scene.received();
        scene.start(1, CredentialKind::CardToken, "tok_visa");
        assert_eq!(scene.asked().processor, asked, "at {charger}");
        scene.received();
    }
    // Without a matching rule: refused, and the driver gets the reason.
    scene.routes(|routes| routes.registry.rules[1].sites = site("B"));
    scene.hello("SITE-C-1", Vec::new());
    scene.received();
    scene.start(1, CredentialKind::CardToken, "tok_visa");
    assert_eq!(code(&scene.received()), Code::CredentialNotAccepted);
    assert!(scene.operations.is_empty());
}
