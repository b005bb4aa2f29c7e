//! How unknown outcomes become known, and what comes after the end: the numbered transitions of the operation table.

use super::harness::{Harness, asked, captured, eur, everything, processor, target};
use wattstile::payment::{
    AcknowledgeCode, Alarm, Command, DeclineClass, Discrepancy, Ending, Event, HoldCapabilities, NotificationKind,
    OperationKind, Ordinal, Outcome, Rejection, Request, Stage, VoidReason,
};
use wattstile::units::TimeSpan;

#[test]
fn o11_not_found_binds_only_when_the_last_sending_is_old_enough() {
    let mut harness = Harness::with(|can| can.idempotent_replay = TimeSpan::ZERO).opened(4_500);
    harness.capture(3_000);
    let capture = harness.next();
    harness.wait_s(20);
    let early = harness.next_is(OperationKind::Inquire);
    assert!(harness.reply(&early, Outcome::NotFound).is_empty(), "it may still be on its way");
    harness.wait_s(82);
    harness.sent.drain(..2);
    let late = harness.next_is(OperationKind::Inquire);
    assert_eq!(target(&late), capture.id);
    // It never happened, for certain: sent again, under the same id.
    let events = harness.reply(&late, Outcome::NotFound);
    assert!(matches!(events[..], [Event::OperationRepeated { .. }]));
    assert_eq!(harness.next().id, capture.id);
    // The early answer again: it proves nothing about later messages.
    assert!(harness.reply(&early, Outcome::NotFound).is_empty());
}

#[test]
fn o13_a_reversal_that_finds_nothing_waits_until_the_original_cannot_arrive() {
    let mut harness = Harness::new();
    harness.authorize(4_500);
    harness.wait_s(12);
    harness.sent.drain(..2);
    let void = harness.next_is(OperationKind::Void);
    let events = harness.reply(&void, Outcome::NotFound);
    assert!(matches!(events[..], [Event::VoidRefused { decline: None, .. }]));
    harness.wait_s(29);
    harness.silent();
    harness.wait_s(1);
    let again = harness.next_is(OperationKind::Void);
    assert_ne!(again.id, void.id);
    let events = harness.reply(&again, Outcome::NotFound);
    assert!(matches!(events[..], [Event::NothingToVoid { .. }]));
    assert!(harness.payment.is_settled());
}

#[test]
fn a_reversal_that_is_repeated_says_the_same_though_the_approval_came_meanwhile() {
    let mut harness = Harness::new();
    harness.authorize(4_500);
    let authorize = harness.next();
    harness.wait_s(12);
    harness.sent.retain(|operation| operation.request.kind() == OperationKind::Void);
    let void = harness.next_is(OperationKind::Void);
    // Now the processor's reference is known; a repetition under the same id must have the same body as before.
    harness.approve(&authorize, 4_500);
    harness.sent.clear();
    harness.wait_s(600);
    let again = harness.next_is(OperationKind::Void);
    assert_eq!((again.id, again.request), (void.id, void.request));
}

#[test]
fn o18_a_capture_approved_after_its_refusal_leaves_nothing_to_release() {
    let mut harness = Harness::with(|can| can.multiple_captures = false).opened(4_500);
    harness.capture(3_000);
    let capture = harness.next();
    harness.decline(&capture, DeclineClass::Technical, "91");
    // Before it is repeated the processor reports that it was done after all.
    harness.approve(&capture, 3_000);
    harness.wait_s(5);
    let void = harness.next_is(OperationKind::Void);
    // To the processor the hold ended with the capture: it is not pursued until it lapses.
    let events = harness.decline(&void, DeclineClass::State, "captured");
    assert!(matches!(events[..], [Event::NothingToVoid { .. }, Event::Settled { .. }]), "{events:?}");
    assert_eq!(harness.payment.holds()[0].stage, Stage::Closed(Ending::Captured));
}

#[test]
fn o18_what_was_approved_too_late_is_compensated() {
    // A refused authorization is approved after all: released.
    let mut harness = Harness::new();
    harness.authorize(4_500);
    let authorize = harness.next();
    harness.decline(&authorize, DeclineClass::Soft, "51");
    let events = harness.approve(&authorize, 4_500);
    assert!(matches!(events[..], [Event::LateApproval { .. }, Event::OperationRequested { .. }]));
    let void = harness.next_is(OperationKind::Void);
    assert!(matches!(void.request, Request::Void { reason: VoidReason::LateApproval, processor_ref: Some(_), .. }));
    harness.approve(&void, 4_500);
    assert_eq!(harness.payment.holds()[0].stage, Stage::Closed(Ending::Declined), "it ended once, as it ended");
    assert!(harness.payment.is_settled());
    // A failed capture took the money after all: booked.
    let mut harness = Harness::open(4_500);
    harness.capture(3_000);
    let capture = harness.next();
    harness.decline(&capture, DeclineClass::Hard, "14");
    harness.approve(&capture, 3_000);
    assert_eq!(harness.payment.captured(), eur(3_000));
    assert!(harness.alarms.contains(&Alarm::LateApproval));
}

#[test]
fn o22_a_capture_that_comes_while_the_hold_is_being_released_waits_for_that() {
    let mut harness = Harness::open(4_500);
    harness.release();
    let void = harness.next();
    harness.capture(700);
    harness.silent();
    // Released: the money is owed.
    let mut other = Harness::open(4_500);
    std::mem::swap(&mut harness, &mut other);
    let events = other.approve(&void, 4_500);
    assert!(matches!(events[1], Event::Settled { shortfall, .. } if shortfall == eur(700)));
    // Not released: captured.
    harness.release();
    let void = harness.next();
    harness.capture(700);
    harness.decline(&void, DeclineClass::State, "no");
    assert_eq!(asked(&harness.next_is(OperationKind::Capture)), 700);
}

#[test]
fn o23_an_increment_that_is_approved_after_the_final_capture_leaves_nothing_reserved() {
    let mut harness = Harness::open(4_500);
    harness.order(Command::IncreaseTo(eur(6_000)));
    let increment = harness.next();
    harness.capture(3_000);
    let capture = harness.next();
    harness.approve(&capture, 3_000);
    assert!(harness.payment.is_settled(), "the increment lost its meaning with its hold");
    let events = harness.approve(&increment, 6_000);
    assert!(matches!(events[..], [Event::LateApproval { .. }, Event::OperationRequested { .. }]));
    let void = harness.next_is(OperationKind::Void);
    harness.decline(&void, DeclineClass::State, "closed");
    assert!(harness.payment.is_settled());
    assert_eq!(harness.payment.captured(), eur(3_000));
}

#[test]
fn stand_in_gives_energy_up_to_the_floor_and_asks_for_the_money_when_it_can() {
    let mut harness = Harness::new();
    let stand_in = |floor| Command::StandIn {
        processor: processor("acme"),
        capabilities: HoldCapabilities::of(&everything()),
        credential: super::harness::token(),
        amount: eur(4_500),
        floor: eur(floor),
    };
    harness.order(stand_in(2_001));
    assert_eq!(harness.last_refused(), Rejection::FloorAboveLimit { limit: eur(2_000) });
    harness.order(stand_in(2_000));
    assert_eq!(harness.payment.spendable(), eur(2_000));
    let authorize = harness.next();
    assert!(matches!(authorize.request, Request::Authorize { stand_in: true, .. }));
    harness.not_sent(&authorize);
    // The session ends before a request could be sent: the amount owed waits for the answer.
    harness.capture(1_200);
    assert!(!harness.payment.is_settled());
    harness.wait_s(1);
    let again = harness.next_is(OperationKind::Authorize);
    assert_eq!(again.id, authorize.id);
    harness.approve(&again, 4_500);
    let capture = harness.next_is(OperationKind::Capture);
    assert_eq!(asked(&capture), 1_200);
    harness.approve(&capture, 1_200);
    assert!(harness.payment.is_settled());
    // Refused: what was spent is a shortfall.
    let mut harness = Harness::new();
    harness.order(stand_in(2_000));
    let authorize = harness.next();
    harness.decline(&authorize, DeclineClass::Soft, "51");
    assert_eq!(harness.payment.holds()[0].stage, Stage::Closed(Ending::StandInLost));
    assert_eq!(harness.payment.spendable(), eur(0));
    let events = harness.capture(1_200);
    assert!(matches!(events[1], Event::Settled { shortfall, .. } if shortfall == eur(1_200)));
}

#[test]
fn a_dispute_freezes_what_could_be_refunded() {
    let mut harness = captured(3_000);
    let hold = harness.payment.hold_id(Ordinal(1));
    harness.report(hold, NotificationKind::DisputeOpened, 2_500);
    harness.refund(600);
    assert_eq!(harness.last_refused(), Rejection::RefundTooLarge { refundable: eur(500) });
    harness.report(hold, NotificationKind::DisputeWon, 2_500);
    assert_eq!(harness.payment.refundable(), eur(3_000));
    harness.report(hold, NotificationKind::DisputeWon, 2_500);
    assert_eq!(harness.last_acknowledged(), AcknowledgeCode::Conflict(Discrepancy::DifferentState));
}

#[test]
fn a_report_that_overtakes_the_answer_it_is_about_is_asked_for_again_and_counts_once() {
    let mut harness = Harness::open(10_000);
    let hold = harness.payment.hold_id(Ordinal(1));
    harness.capture(3_000);
    let capture = harness.next();
    // The money was taken, and never came; the report of that is here before the answer is.
    assert!(harness.report(hold, NotificationKind::CaptureFailed, 3_000).is_empty());
    assert_eq!(harness.last_acknowledged(), AcknowledgeCode::Early);
    // What can never fit is not waited for.
    assert!(harness.report(hold, NotificationKind::CaptureFailed, 3_001).is_empty());
    assert_eq!(harness.last_acknowledged(), AcknowledgeCode::Conflict(Discrepancy::DifferentState));
    // Neither does the report wait for ever when the answer was a refusal first, and an approval after all.
    harness.decline(&capture, DeclineClass::Hard, "91");
    assert!(harness.report(hold, NotificationKind::CaptureFailed, 3_000).is_empty());
    assert_eq!(harness.last_acknowledged(), AcknowledgeCode::Early);
    harness.approve(&capture, 3_000);
    assert_eq!(harness.payment.captured(), eur(3_000));
    let events = harness.report(hold, NotificationKind::CaptureFailed, 3_000);
    assert!(matches!(events[..], [Event::CaptureReversed { amount, .. }] if amount == eur(3_000)));
    assert_eq!((harness.last_acknowledged(), harness.payment.captured()), (AcknowledgeCode::Ok, eur(0)));
    harness.report(hold, NotificationKind::CaptureFailed, 3_000);
    assert_eq!(harness.last_acknowledged(), AcknowledgeCode::Conflict(Discrepancy::DifferentState));
}

#[test]
fn the_end_of_a_dispute_that_overtakes_its_beginning_is_asked_for_again() {
    let mut harness = captured(3_000);
    let hold = harness.payment.hold_id(Ordinal(1));
    assert!(harness.report(hold, NotificationKind::DisputeWon, 3_000).is_empty());
    assert_eq!(harness.last_acknowledged(), AcknowledgeCode::Early);
    harness.report(hold, NotificationKind::DisputeOpened, 3_000);
    harness.report(hold, NotificationKind::DisputeWon, 3_000);
    assert_eq!((harness.last_acknowledged(), harness.payment.refundable()), (AcknowledgeCode::Ok, eur(3_000)));
    // A report about nothing that ever was is not waited for longer than a week.
    let mut harness = captured(3_000);
    let report = wattstile::payment::Notification {
        callback: wattstile::payment::CallbackId(70),
        hold,
        kind: NotificationKind::DisputeLost,
        amount: eur(3_000),
        occurred_at: harness.now.wall,
    };
    harness.wait_s(8 * 24 * 3_600);
    harness.order(Command::Notification { from: processor("acme"), notification: report });
    assert_eq!(harness.last_acknowledged(), AcknowledgeCode::Conflict(Discrepancy::DifferentState));
}

#[test]
fn a_refund_that_failed_after_all_can_be_made_again() {
    let mut harness = captured(3_000);
    harness.refund(3_000);
    let refund = harness.next();
    harness.approve(&refund, 3_000);
    assert_eq!(harness.payment.refundable(), eur(0));
    harness.report(harness.payment.hold_id(Ordinal(1)), NotificationKind::RefundFailed, 3_000);
    assert_eq!((harness.payment.refunded(), harness.payment.refundable()), (eur(0), eur(3_000)));
    harness.refund(3_000);
    assert_eq!(asked(&harness.next_is(OperationKind::Refund)), 3_000);
}

#[test]
fn a_card_number_is_refused_at_the_door() {
    let mut harness = Harness::new();
    let mut credential = super::harness::token();
    credential.token = b"4111 1111 1111 1111".as_slice().into();
    let command = Command::Authorize {
        processor: processor("acme"),
        capabilities: HoldCapabilities::of(&everything()),
        credential,
        amount: eur(4_500),
        partial_ok: true,
    };
    assert!(harness.order(command).is_empty());
    assert_eq!(harness.last_refused(), Rejection::CardNumber);
}

#[test]
fn a_capture_that_cannot_be_resolved_warns_before_its_time_is_over() {
    let mut harness = Harness::open(4_500);
    harness.capture(3_000);
    harness.wait_s(4 * 24 * 3_600);
    assert!(harness.alarms.contains(&Alarm::CaptureWindowHalf));
    assert!(!harness.alarms.contains(&Alarm::CaptureWindowClosing));
    harness.wait_s(3 * 24 * 3_600);
    assert!(harness.alarms.contains(&Alarm::CaptureWindowClosing));
    assert_eq!(harness.payment.capturing(), eur(3_000), "an unknown outcome is never a refusal");
}

#[test]
fn a_clock_that_is_set_changes_no_duration() {
    // Set forward by a day: nothing is overdue, and "not found" does not become binding.
    let mut harness = Harness::with(|can| can.idempotent_replay = TimeSpan::ZERO).opened(4_500);
    harness.capture(3_000);
    harness.sent.clear();
    harness.now.wall = harness.now.wall.saturating_add(TimeSpan::from_secs(24 * 3_600));
    assert!(harness.order(Command::Tick).is_empty());
    harness.wait_s(20);
    let inquiry = harness.next_is(OperationKind::Inquire);
    assert!(harness.reply(&inquiry, Outcome::NotFound).is_empty());
    // Set back by a day: what has become too old to be repeated stays too old.
    let mut harness = Harness::with(|can| can.idempotent_replay = TimeSpan::from_secs(120)).opened(4_500);
    harness.capture(3_000);
    harness.now.wall = harness.now.wall.saturating_add(TimeSpan::from_secs(-24 * 3_600));
    harness.wait_s(200);
    let kinds: Vec<OperationKind> = harness.sent.iter().map(|operation| operation.request.kind()).collect();
    assert_eq!(kinds.last(), Some(&OperationKind::Inquire), "{kinds:?}");
}

#[test]
fn a_refused_increment_is_tried_once_more_after_a_pause_and_then_no_more() {
    let mut harness = Harness::open(4_500);
    let raise = |harness: &mut Harness, total| harness.order(Command::IncreaseTo(eur(total)));
    raise(&mut harness, 6_000);
    let increment = harness.next();
    harness.decline(&increment, DeclineClass::Soft, "51");
    raise(&mut harness, 5_000);
    assert_eq!(harness.last_refused(), Rejection::IncrementTooSoon);
    harness.wait_s(60);
    raise(&mut harness, 5_000);
    let smaller = harness.next_is(OperationKind::Increment);
    harness.decline(&smaller, DeclineClass::Soft, "51");
    harness.wait_s(600);
    raise(&mut harness, 5_000);
    assert_eq!(harness.last_refused(), Rejection::IncrementsRefused);
    assert_eq!(harness.payment.spendable(), eur(4_500), "what is reserved stays, and can be taken");
    // A stolen card is not tried again at all; an approval clears the way.
    let mut harness = Harness::open(4_500);
    raise(&mut harness, 6_000);
    let increment = harness.next();
    harness.approve(&increment, 6_000);
    raise(&mut harness, 7_000);
    let increment = harness.next();
    harness.decline(&increment, DeclineClass::Hard, "43");
    harness.wait_s(600);
    raise(&mut harness, 7_000);
    assert_eq!(harness.last_refused(), Rejection::IncrementsRefused);
}

#[test]
fn increments_are_counted() {
    let mut harness = Harness::with(|can| can.increments_max = 2).opened(1_000);
    for total in [2_000, 3_000] {
        harness.order(Command::IncreaseTo(eur(total)));
        let increment = harness.next();
        harness.approve(&increment, total);
    }
    harness.order(Command::IncreaseTo(eur(4_000)));
    assert_eq!(harness.last_refused(), Rejection::IncrementsExhausted);
    harness.order(Command::IncreaseTo(eur(200_000)));
    assert_eq!(harness.last_refused(), Rejection::AmountTooLarge { max: eur(100_000) }, "the lower number goes first");
}

#[test]
fn a_lost_connection_leaves_the_outcome_open() {
    let mut harness = Harness::open(4_500);
    harness.capture(3_000);
    let capture = harness.next();
    let events = harness.connection_lost(&capture);
    assert!(matches!(events[..], [Event::OutcomeUnknown { .. }]));
    // An older attempt's result proves nothing.
    assert!(harness.connection_lost(&capture).is_empty() && harness.not_sent(&capture).is_empty());
    harness.wait_s(2);
    let again = harness.next_is(OperationKind::Capture);
    assert_eq!((again.id, again.possible_duplicate), (capture.id, true));
    // This attempt does not leave; the first one may have arrived all the same.
    assert!(matches!(harness.not_sent(&again)[..], [Event::OutcomeUnknown { .. }]));
}

#[test]
fn a_stored_error_is_never_repeated() {
    let mut harness = Harness::with(|can| can.replay_after_error_safe = false).opened(4_500);
    harness.capture(3_000);
    let capture = harness.next();
    harness.reply(&capture, Outcome::Error);
    harness.wait_s(90);
    let kinds: Vec<OperationKind> = harness.sent.iter().map(|operation| operation.request.kind()).collect();
    assert!(kinds.iter().all(|kind| *kind == OperationKind::Inquire), "{kinds:?}");
    // It never happened, for certain: the same id would bring the error back for ever, so a fresh one goes out.
    let last = harness.sent.pop_back().expect("an inquiry");
    harness.sent.clear();
    let events = harness.reply(&last, Outcome::NotFound);
    assert!(matches!(events[..], [Event::NotExecuted { .. }]), "{events:?}");
    harness.wait_s(5);
    let fresh = harness.next_is(OperationKind::Capture);
    assert_ne!(fresh.id, capture.id);
    harness.approve(&fresh, 3_000);
    assert!(harness.payment.is_settled());
}

#[test]
fn a_processor_that_takes_no_voids_leaves_holds_to_lapse() {
    let mut harness = Harness::with(|can| can.kinds.retain(|kind| *kind != OperationKind::Void)).opened(4_500);
    harness.release();
    harness.silent();
    assert_eq!(harness.payment.spendable(), eur(4_500), "it is still reserved");
    let events = harness.wait_s(7 * 24 * 3_600);
    assert!(matches!(events.last(), Some(Event::Settled { .. })), "{events:?}");
    harness.silent();
    assert_eq!(harness.payment.holds()[0].stage, Stage::Closed(Ending::Expired));
    let command = Command::ReleaseByOperator { hold: Ordinal(1) };
    harness.order(command);
    assert_eq!(harness.last_refused(), Rejection::NotSupported(OperationKind::Void));
}

#[test]
fn an_operator_can_release_one_hold_until_money_is_taken_from_it() {
    let mut harness = Harness::open(4_500);
    let command = || Command::ReleaseByOperator { hold: Ordinal(1) };
    harness.order(command());
    let void = harness.next_is(OperationKind::Void);
    harness.order(command());
    assert_eq!(harness.last_refused(), Rejection::ReleaseUnderWay);
    harness.approve(&void, 4_500);
    assert!(harness.payment.is_settled());
    let mut harness = Harness::open(4_500);
    harness.capture(3_000);
    harness.order(command());
    assert_eq!(harness.last_refused(), Rejection::CaptureUnderWay);
    harness.order(Command::ReleaseByOperator { hold: Ordinal(9) });
    assert_eq!(harness.last_refused(), Rejection::UnknownHold);
}

#[test]
fn equal_payments_have_equal_fingerprints() {
    let (one, mut other) = (Harness::open(4_500), Harness::open(4_500));
    assert_eq!(one.payment.fingerprint(), other.payment.fingerprint());
    other.capture(1);
    assert_ne!(one.payment.fingerprint(), other.payment.fingerprint());
}
