//! Payments from the first request to the last answer, as scenarios.

use super::harness::{Harness, asked, eur, target};
use wattstile::payment::{
    AcknowledgeCode, DeclineClass, Ending, Event, OperationKind, Ordinal, Outcome, Request, Stage, VoidReason,
};

#[test]
fn a_session_that_goes_well() {
    let mut harness = Harness::new();
    // The driver presents a credential; 45.00 are requested.
    harness.authorize(4_500);
    let authorize = harness.next_is(OperationKind::Authorize);
    assert_eq!((authorize.attempt, authorize.possible_duplicate), (1, false));
    assert_eq!(harness.payment.spendable(), eur(0));
    // The processor reserves them.
    let events = harness.approve(&authorize, 4_500);
    assert!(matches!(events[..], [Event::Approved { total, .. }] if total == eur(4_500)));
    assert_eq!(harness.last_acknowledged(), AcknowledgeCode::Ok);
    assert_eq!(harness.payment.spendable(), eur(4_500));
    // 32.10 are owed at the end; they are taken and the rest is released with the same operation.
    harness.capture(3_210);
    let capture = harness.next_is(OperationKind::Capture);
    assert!(matches!(capture.request, Request::Capture { amount, last: true, .. } if amount == eur(3_210)));
    let events = harness.approve(&capture, 3_210);
    assert!(matches!(
        events[..],
        [Event::Captured { amount, .. }, Event::Settled { captured, shortfall, .. }]
            if amount == eur(3_210) && captured == eur(3_210) && shortfall == eur(0)
    ));
    assert!(harness.payment.is_settled());
    assert_eq!(harness.payment.next_deadline(harness.now, &harness.policy), None);
    harness.silent();
}

#[test]
fn a_session_that_never_starts_is_released() {
    let mut harness = Harness::open(4_500);
    harness.release();
    let void = harness.next_is(OperationKind::Void);
    assert_eq!(harness.payment.spendable(), eur(0), "what is being released is not spent");
    harness.approve(&void, 4_500);
    assert!(harness.payment.is_settled());
    assert_eq!(harness.payment.holds()[0].stage, Stage::Closed(Ending::Voided));
}

#[test]
fn an_authorization_without_an_answer_is_asked_again_then_reversed() {
    let mut harness = Harness::new();
    harness.authorize(4_500);
    let first = harness.next();
    let events = harness.wait_s(8);
    assert!(matches!(events[0], Event::OutcomeUnknown { .. }));
    // Once more, under the same id and with the same body.
    let second = harness.next_is(OperationKind::Authorize);
    assert_eq!((second.id, second.attempt, second.possible_duplicate), (first.id, 2, true));
    assert_eq!(second.request, first.request);
    // The driver has waited 12 seconds: it is given up and reversed, in one decision.
    let events = harness.wait_s(4);
    assert!(matches!(
        events[..],
        [Event::OutcomeUnknown { .. }, Event::GivenUp { .. }, Event::OperationRequested { .. }]
    ));
    let void = harness.next_is(OperationKind::Void);
    assert!(
        matches!(void.request, Request::Void { authorization, processor_ref: None, .. } if authorization == first.id)
    );
    harness.approve(&void, 0);
    assert_eq!(harness.payment.holds()[0].stage, Stage::Closed(Ending::Reversed));
    assert!(harness.payment.is_settled());
}

#[test]
fn a_capture_without_an_answer_is_repeated_under_the_same_id() {
    let mut harness = Harness::open(4_500);
    harness.capture(1_000);
    let first = harness.next();
    harness.wait_s(20);
    let second = harness.next_is(OperationKind::Capture);
    assert_eq!((second.id, second.possible_duplicate), (first.id, true));
    assert_eq!(harness.payment.capturing(), eur(1_000), "the amount stays reserved");
    harness.approve(&second, 1_000);
    assert_eq!(harness.payment.captured(), eur(1_000));
}

#[test]
fn a_capture_that_may_not_be_repeated_is_inquired_after() {
    let mut harness = Harness::with(|can| can.idempotent_replay = wattstile::units::TimeSpan::ZERO).opened(4_500);
    harness.capture(1_000);
    let capture = harness.next();
    harness.wait_s(20);
    let inquiry = harness.next_is(OperationKind::Inquire);
    assert_eq!(target(&inquiry), capture.id);
    assert_ne!(inquiry.id, capture.id);
    harness.approve(&inquiry, asked(&capture));
    assert_eq!(harness.payment.captured(), eur(1_000));
    assert!(harness.payment.is_settled());
}

#[test]
fn after_a_restart_everything_in_flight_counts_as_possibly_sent() {
    let mut harness = Harness::open(4_500);
    harness.capture(1_000);
    let first = harness.next();
    let events = harness.restart();
    assert!(matches!(events[..], [Event::OutcomeUnknown { .. }, Event::OperationRepeated { .. }]));
    let again = harness.next_is(OperationKind::Capture);
    assert_eq!((again.id, again.possible_duplicate), (first.id, true));
    harness.approve(&again, 1_000);
    assert!(harness.payment.is_settled());
}

#[test]
fn a_declined_authorization_ends_its_hold_and_leaves_room_for_another_processor() {
    let mut harness = Harness::new();
    harness.authorize_at("acme", 4_500);
    let first = harness.next();
    harness.decline(&first, DeclineClass::Soft, "51");
    assert!(harness.payment.is_settled());
    harness.authorize_at("other", 4_500);
    let second = harness.next();
    assert_ne!(second.id, first.id);
    harness.approve(&second, 4_500);
    assert_eq!(harness.payment.spendable(), eur(4_500));
}

#[test]
fn a_partial_approval_is_a_limit_or_is_released_at_once() {
    let mut harness = Harness::new();
    harness.authorize(4_500);
    let authorize = harness.next();
    harness.approve(&authorize, 1_000);
    assert_eq!(harness.payment.spendable(), eur(1_000));

    let mut harness = Harness::new();
    harness.authorize(4_500);
    let authorize = harness.next();
    let events = harness.approve(&authorize, 100);
    assert!(matches!(events[..], [Event::PartiallyApproved { .. }, Event::OperationRequested { .. }]));
    let void = harness.next_is(OperationKind::Void);
    assert!(matches!(void.request, Request::Void { reason: VoidReason::PartialTooSmall, .. }));
    assert_eq!(harness.payment.spendable(), eur(0));
}

#[test]
fn pending_is_waited_for() {
    let mut harness = Harness::open(4_500);
    harness.capture(1_000);
    let capture = harness.next();
    let decide_by = harness.now.wall.saturating_add(wattstile::units::TimeSpan::from_secs(3_600));
    harness.reply(&capture, Outcome::Pending { decide_by });
    harness.wait_s(3_599);
    harness.silent();
    harness.wait_s(2);
    assert_eq!(harness.next().id, capture.id);
    harness.approve(&capture, 1_000);
    assert_eq!(harness.payment.hold(Ordinal(1)).unwrap().captured_minor, 1_000);
}
