//! Payments from the first request to the last answer, as scenarios.

use super::desk::{Desk, asked, eur, target};
use wattstile::payment::{
    AcknowledgeCode, DeclineClass, Ending, Event, OperationKind, Ordinal, Outcome, Request, Stage, VoidReason,
};

#[test]
fn a_session_that_goes_well() {
    let mut desk = Desk::new();
    // The driver presents a credential; 45.00 are requested.
    desk.authorize(4_500);
    let authorize = desk.next_is(OperationKind::Authorize);
    assert_eq!((authorize.attempt, authorize.possible_duplicate), (1, false));
    assert_eq!(desk.payment.spendable(), eur(0));
    // The processor reserves them.
    let events = desk.approve(&authorize, 4_500);
    assert!(matches!(events[..], [Event::Approved { total, .. }] if total == eur(4_500)));
    assert_eq!(desk.last_acknowledged(), AcknowledgeCode::Ok);
    assert_eq!(desk.payment.spendable(), eur(4_500));
    // 32.10 are owed at the end; they are taken and the rest is released with the same operation.
    desk.capture(3_210);
    let capture = desk.next_is(OperationKind::Capture);
    assert!(matches!(capture.request, Request::Capture { amount, last: true, .. } if amount == eur(3_210)));
    let events = desk.approve(&capture, 3_210);
    assert!(matches!(
        events[..],
        [Event::Captured { amount, .. }, Event::Settled { captured, shortfall, .. }]
            if amount == eur(3_210) && captured == eur(3_210) && shortfall == eur(0)
    ));
    assert!(desk.payment.is_settled());
    assert_eq!(desk.payment.next_deadline(desk.now, &desk.policy), None);
    desk.silent();
}

#[test]
fn a_session_that_never_starts_is_released() {
    let mut desk = Desk::open(4_500);
    desk.release();
    let void = desk.next_is(OperationKind::Void);
    assert_eq!(desk.payment.spendable(), eur(0), "what is being released is not spent");
    desk.approve(&void, 4_500);
    assert!(desk.payment.is_settled());
    assert_eq!(desk.payment.holds()[0].stage, Stage::Closed(Ending::Voided));
}

#[test]
fn an_authorization_without_an_answer_is_asked_again_then_reversed() {
    let mut desk = Desk::new();
    desk.authorize(4_500);
    let first = desk.next();
    let events = desk.wait_s(8);
    assert!(matches!(events[0], Event::OutcomeUnknown { .. }));
    // Once more, under the same id and with the same body.
    let second = desk.next_is(OperationKind::Authorize);
    assert_eq!((second.id, second.attempt, second.possible_duplicate), (first.id, 2, true));
    assert_eq!(second.request, first.request);
    // The driver has waited 12 seconds: it is given up and reversed, in one decision.
    let events = desk.wait_s(4);
    assert!(matches!(
        events[..],
        [Event::OutcomeUnknown { .. }, Event::GivenUp { .. }, Event::OperationRequested { .. }]
    ));
    let void = desk.next_is(OperationKind::Void);
    assert!(
        matches!(void.request, Request::Void { authorization, processor_ref: None, .. } if authorization == first.id)
    );
    desk.approve(&void, 0);
    assert_eq!(desk.payment.holds()[0].stage, Stage::Closed(Ending::Reversed));
    assert!(desk.payment.is_settled());
}

#[test]
fn a_capture_without_an_answer_is_repeated_under_the_same_id() {
    let mut desk = Desk::open(4_500);
    desk.capture(1_000);
    let first = desk.next();
    desk.wait_s(20);
    let second = desk.next_is(OperationKind::Capture);
    assert_eq!((second.id, second.possible_duplicate), (first.id, true));
    assert_eq!(desk.payment.capturing(), eur(1_000), "the amount stays reserved");
    desk.approve(&second, 1_000);
    assert_eq!(desk.payment.captured(), eur(1_000));
}

#[test]
fn a_capture_that_may_not_be_repeated_is_inquired_after() {
    let mut desk = Desk::with(|can| can.idempotent_replay = wattstile::units::TimeSpan::ZERO).opened(4_500);
    desk.capture(1_000);
    let capture = desk.next();
    desk.wait_s(20);
    let inquiry = desk.next_is(OperationKind::Inquire);
    assert_eq!(target(&inquiry), capture.id);
    assert_ne!(inquiry.id, capture.id);
    desk.approve(&inquiry, asked(&capture));
    assert_eq!(desk.payment.captured(), eur(1_000));
    assert!(desk.payment.is_settled());
}

#[test]
fn after_a_restart_everything_in_flight_counts_as_possibly_sent() {
    let mut desk = Desk::open(4_500);
    desk.capture(1_000);
    let first = desk.next();
    let events = desk.restart();
    assert!(matches!(events[..], [Event::OutcomeUnknown { .. }, Event::OperationRepeated { .. }]));
    let again = desk.next_is(OperationKind::Capture);
    assert_eq!((again.id, again.possible_duplicate), (first.id, true));
    desk.approve(&again, 1_000);
    assert!(desk.payment.is_settled());
}

#[test]
fn a_declined_authorization_ends_its_hold_and_leaves_room_for_another_processor() {
    let mut desk = Desk::new();
    desk.authorize_at("acme", 4_500);
    let first = desk.next();
    desk.decline(&first, DeclineClass::Soft, "51");
    assert!(desk.payment.is_settled());
    desk.authorize_at("other", 4_500);
    let second = desk.next();
    assert_ne!(second.id, first.id);
    desk.approve(&second, 4_500);
    assert_eq!(desk.payment.spendable(), eur(4_500));
}

#[test]
fn a_partial_approval_is_a_limit_or_is_released_at_once() {
    let mut desk = Desk::new();
    desk.authorize(4_500);
    let authorize = desk.next();
    desk.approve(&authorize, 1_000);
    assert_eq!(desk.payment.spendable(), eur(1_000));

    let mut desk = Desk::new();
    desk.authorize(4_500);
    let authorize = desk.next();
    let events = desk.approve(&authorize, 100);
    assert!(matches!(events[..], [Event::PartiallyApproved { .. }, Event::OperationRequested { .. }]));
    let void = desk.next_is(OperationKind::Void);
    assert!(matches!(void.request, Request::Void { reason: VoidReason::PartialTooSmall, .. }));
    assert_eq!(desk.payment.spendable(), eur(0));
}

#[test]
fn pending_is_waited_for() {
    let mut desk = Desk::open(4_500);
    desk.capture(1_000);
    let capture = desk.next();
    let decide_by = desk.now.wall.saturating_add(wattstile::units::TimeSpan::from_secs(3_600));
    desk.reply(&capture, Outcome::Pending { decide_by });
    desk.wait_s(3_599);
    desk.silent();
    desk.wait_s(2);
    assert_eq!(desk.next().id, capture.id);
    desk.approve(&capture, 1_000);
    assert_eq!(desk.payment.hold(Ordinal(1)).unwrap().captured_minor, 1_000);
}
