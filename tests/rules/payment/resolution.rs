//! How unknown outcomes become known, and what comes after the end: the numbered transitions of the operation table.

use super::desk::{Desk, asked, captured, eur, everything, processor, target};
use wattstile::payment::{
    AcknowledgeCode, Alarm, Command, DeclineClass, Discrepancy, Ending, Event, HoldCapabilities, NotificationKind,
    OperationKind, Ordinal, Outcome, Rejection, Request, Stage, VoidReason,
};
use wattstile::units::TimeSpan;

#[test]
fn o11_not_found_binds_only_when_the_last_sending_is_old_enough() {
    let mut desk = Desk::with(|can| can.idempotent_replay = TimeSpan::ZERO).opened(4_500);
    desk.capture(3_000);
    let capture = desk.next();
    desk.wait_s(20);
    let early = desk.next_is(OperationKind::Inquire);
    assert!(desk.reply(&early, Outcome::NotFound).is_empty(), "it may still be on its way");
    desk.wait_s(82);
    desk.sent.drain(..2);
    let late = desk.next_is(OperationKind::Inquire);
    assert_eq!(target(&late), capture.id);
    // It never happened, for certain: sent again, under the same id.
    let events = desk.reply(&late, Outcome::NotFound);
    assert!(matches!(events[..], [Event::OperationRepeated { .. }]));
    assert_eq!(desk.next().id, capture.id);
    // The early answer again: it proves nothing about later messages.
    assert!(desk.reply(&early, Outcome::NotFound).is_empty());
}

#[test]
fn o13_a_reversal_that_finds_nothing_waits_until_the_original_cannot_arrive() {
    let mut desk = Desk::new();
    desk.authorize(4_500);
    desk.wait_s(12);
    desk.sent.drain(..2);
    let void = desk.next_is(OperationKind::Void);
    let events = desk.reply(&void, Outcome::NotFound);
    assert!(matches!(events[..], [Event::VoidRefused { decline: None, .. }]));
    desk.wait_s(29);
    desk.silent();
    desk.wait_s(1);
    let again = desk.next_is(OperationKind::Void);
    assert_ne!(again.id, void.id);
    let events = desk.reply(&again, Outcome::NotFound);
    assert!(matches!(events[..], [Event::NothingToVoid { .. }]));
    assert!(desk.payment.is_settled());
}

#[test]
fn a_reversal_that_is_repeated_says_the_same_though_the_approval_came_meanwhile() {
    let mut desk = Desk::new();
    desk.authorize(4_500);
    let authorize = desk.next();
    desk.wait_s(12);
    desk.sent.retain(|operation| operation.request.kind() == OperationKind::Void);
    let void = desk.next_is(OperationKind::Void);
    // Now the processor's reference is known; a repetition under the same id must have the same body as before.
    desk.approve(&authorize, 4_500);
    desk.sent.clear();
    desk.wait_s(600);
    let again = desk.next_is(OperationKind::Void);
    assert_eq!((again.id, again.request), (void.id, void.request));
}

#[test]
fn o18_a_capture_approved_after_its_refusal_leaves_nothing_to_release() {
    let mut desk = Desk::with(|can| can.multiple_captures = false).opened(4_500);
    desk.capture(3_000);
    let capture = desk.next();
    desk.decline(&capture, DeclineClass::Technical, "91");
    // Before it is repeated the processor reports that it was done after all.
    desk.approve(&capture, 3_000);
    desk.wait_s(5);
    let void = desk.next_is(OperationKind::Void);
    // To the processor the hold ended with the capture: it is not pursued until it lapses.
    let events = desk.decline(&void, DeclineClass::State, "captured");
    assert!(matches!(events[..], [Event::NothingToVoid { .. }, Event::Settled { .. }]), "{events:?}");
    assert_eq!(desk.payment.holds()[0].stage, Stage::Closed(Ending::Captured));
}

#[test]
fn o18_what_was_approved_too_late_is_compensated() {
    // A refused authorization is approved after all: released.
    let mut desk = Desk::new();
    desk.authorize(4_500);
    let authorize = desk.next();
    desk.decline(&authorize, DeclineClass::Soft, "51");
    let events = desk.approve(&authorize, 4_500);
    assert!(matches!(events[..], [Event::LateApproval { .. }, Event::OperationRequested { .. }]));
    let void = desk.next_is(OperationKind::Void);
    assert!(matches!(void.request, Request::Void { reason: VoidReason::LateApproval, processor_ref: Some(_), .. }));
    desk.approve(&void, 4_500);
    assert_eq!(desk.payment.holds()[0].stage, Stage::Closed(Ending::Declined), "it ended once, as it ended");
    assert!(desk.payment.is_settled());
    // A failed capture took the money after all: booked.
    let mut desk = Desk::open(4_500);
    desk.capture(3_000);
    let capture = desk.next();
    desk.decline(&capture, DeclineClass::Hard, "14");
    desk.approve(&capture, 3_000);
    assert_eq!(desk.payment.captured(), eur(3_000));
    assert!(desk.alarms.contains(&Alarm::LateApproval));
}

#[test]
fn o22_a_capture_that_comes_while_the_hold_is_being_released_waits_for_that() {
    let mut desk = Desk::open(4_500);
    desk.release();
    let void = desk.next();
    desk.capture(700);
    desk.silent();
    // Released: the money is owed.
    let mut other = Desk::open(4_500);
    std::mem::swap(&mut desk, &mut other);
    let events = other.approve(&void, 4_500);
    assert!(matches!(events[1], Event::Settled { shortfall, .. } if shortfall == eur(700)));
    // Not released: captured.
    desk.release();
    let void = desk.next();
    desk.capture(700);
    desk.decline(&void, DeclineClass::State, "no");
    assert_eq!(asked(&desk.next_is(OperationKind::Capture)), 700);
}

#[test]
fn o23_an_increment_that_is_approved_after_the_final_capture_leaves_nothing_reserved() {
    let mut desk = Desk::open(4_500);
    desk.say(Command::IncreaseTo(eur(6_000)));
    let increment = desk.next();
    desk.capture(3_000);
    let capture = desk.next();
    desk.approve(&capture, 3_000);
    assert!(desk.payment.is_settled(), "the increment lost its meaning with its hold");
    let events = desk.approve(&increment, 6_000);
    assert!(matches!(events[..], [Event::LateApproval { .. }, Event::OperationRequested { .. }]));
    let void = desk.next_is(OperationKind::Void);
    desk.decline(&void, DeclineClass::State, "closed");
    assert!(desk.payment.is_settled());
    assert_eq!(desk.payment.captured(), eur(3_000));
}

#[test]
fn stand_in_gives_energy_up_to_the_floor_and_asks_for_the_money_when_it_can() {
    let mut desk = Desk::new();
    let stand_in = |floor| Command::StandIn {
        processor: processor("acme"),
        capabilities: HoldCapabilities::of(&everything()),
        credential: super::desk::token(),
        amount: eur(4_500),
        floor: eur(floor),
    };
    desk.say(stand_in(2_001));
    assert_eq!(desk.last_refused(), Rejection::FloorAboveLimit { limit: eur(2_000) });
    desk.say(stand_in(2_000));
    assert_eq!(desk.payment.spendable(), eur(2_000));
    let authorize = desk.next();
    assert!(matches!(authorize.request, Request::Authorize { stand_in: true, .. }));
    desk.not_sent(&authorize);
    // The session ends before a request could be sent: what is owed waits for the answer.
    desk.capture(1_200);
    assert!(!desk.payment.is_settled());
    desk.wait_s(1);
    let again = desk.next_is(OperationKind::Authorize);
    assert_eq!(again.id, authorize.id);
    desk.approve(&again, 4_500);
    let capture = desk.next_is(OperationKind::Capture);
    assert_eq!(asked(&capture), 1_200);
    desk.approve(&capture, 1_200);
    assert!(desk.payment.is_settled());
    // Refused: what was spent is a shortfall.
    let mut desk = Desk::new();
    desk.say(stand_in(2_000));
    let authorize = desk.next();
    desk.decline(&authorize, DeclineClass::Soft, "51");
    assert_eq!(desk.payment.holds()[0].stage, Stage::Closed(Ending::StandInLost));
    assert_eq!(desk.payment.spendable(), eur(0));
    let events = desk.capture(1_200);
    assert!(matches!(events[1], Event::Settled { shortfall, .. } if shortfall == eur(1_200)));
}

#[test]
fn a_dispute_freezes_what_could_be_refunded() {
    let mut desk = captured(3_000);
    let hold = desk.payment.hold_id(Ordinal(1));
    desk.report(hold, NotificationKind::DisputeOpened, 2_500);
    desk.refund(600);
    assert_eq!(desk.last_refused(), Rejection::RefundTooLarge { refundable: eur(500) });
    desk.report(hold, NotificationKind::DisputeWon, 2_500);
    assert_eq!(desk.payment.refundable(), eur(3_000));
    desk.report(hold, NotificationKind::DisputeWon, 2_500);
    assert_eq!(desk.last_acknowledged(), AcknowledgeCode::Conflict(Discrepancy::DifferentState));
}

#[test]
fn a_report_that_overtakes_the_answer_it_is_about_is_asked_for_again_and_counts_once() {
    let mut desk = Desk::open(10_000);
    let hold = desk.payment.hold_id(Ordinal(1));
    desk.capture(3_000);
    let capture = desk.next();
    // The money was taken, and never came; the report of that is here before the answer is.
    assert!(desk.report(hold, NotificationKind::CaptureFailed, 3_000).is_empty());
    assert_eq!(desk.last_acknowledged(), AcknowledgeCode::Early);
    // What can never fit is not waited for.
    assert!(desk.report(hold, NotificationKind::CaptureFailed, 3_001).is_empty());
    assert_eq!(desk.last_acknowledged(), AcknowledgeCode::Conflict(Discrepancy::DifferentState));
    // Neither does the report wait for ever when the answer was a refusal first, and an approval after all.
    desk.decline(&capture, DeclineClass::Hard, "91");
    assert!(desk.report(hold, NotificationKind::CaptureFailed, 3_000).is_empty());
    assert_eq!(desk.last_acknowledged(), AcknowledgeCode::Early);
    desk.approve(&capture, 3_000);
    assert_eq!(desk.payment.captured(), eur(3_000));
    let events = desk.report(hold, NotificationKind::CaptureFailed, 3_000);
    assert!(matches!(events[..], [Event::CaptureReversed { amount, .. }] if amount == eur(3_000)));
    assert_eq!((desk.last_acknowledged(), desk.payment.captured()), (AcknowledgeCode::Ok, eur(0)));
    desk.report(hold, NotificationKind::CaptureFailed, 3_000);
    assert_eq!(desk.last_acknowledged(), AcknowledgeCode::Conflict(Discrepancy::DifferentState));
}

#[test]
fn the_end_of_a_dispute_that_overtakes_its_beginning_is_asked_for_again() {
    let mut desk = captured(3_000);
    let hold = desk.payment.hold_id(Ordinal(1));
    assert!(desk.report(hold, NotificationKind::DisputeWon, 3_000).is_empty());
    assert_eq!(desk.last_acknowledged(), AcknowledgeCode::Early);
    desk.report(hold, NotificationKind::DisputeOpened, 3_000);
    desk.report(hold, NotificationKind::DisputeWon, 3_000);
    assert_eq!((desk.last_acknowledged(), desk.payment.refundable()), (AcknowledgeCode::Ok, eur(3_000)));
    // A report about nothing that ever was is not waited for longer than a week.
    let mut desk = captured(3_000);
    let report = wattstile::payment::Notification {
        callback: wattstile::payment::CallbackId(70),
        hold,
        kind: NotificationKind::DisputeLost,
        amount: eur(3_000),
        occurred_at: desk.now.wall,
    };
    desk.wait_s(8 * 24 * 3_600);
    desk.say(Command::Notification { from: processor("acme"), notification: report });
    assert_eq!(desk.last_acknowledged(), AcknowledgeCode::Conflict(Discrepancy::DifferentState));
}

#[test]
fn a_refund_that_failed_after_all_can_be_made_again() {
    let mut desk = captured(3_000);
    desk.refund(3_000);
    let refund = desk.next();
    desk.approve(&refund, 3_000);
    assert_eq!(desk.payment.refundable(), eur(0));
    desk.report(desk.payment.hold_id(Ordinal(1)), NotificationKind::RefundFailed, 3_000);
    assert_eq!((desk.payment.refunded(), desk.payment.refundable()), (eur(0), eur(3_000)));
    desk.refund(3_000);
    assert_eq!(asked(&desk.next_is(OperationKind::Refund)), 3_000);
}

#[test]
fn a_card_number_is_refused_at_the_door() {
    let mut desk = Desk::new();
    let mut credential = super::desk::token();
    credential.token = b"4111 1111 1111 1111".as_slice().into();
    let command = Command::Authorize {
        processor: processor("acme"),
        capabilities: HoldCapabilities::of(&everything()),
        credential,
        amount: eur(4_500),
        partial_ok: true,
    };
    assert!(desk.say(command).is_empty());
    assert_eq!(desk.last_refused(), Rejection::CardNumber);
}

#[test]
fn a_capture_that_cannot_be_resolved_warns_before_its_time_is_over() {
    let mut desk = Desk::open(4_500);
    desk.capture(3_000);
    desk.wait_s(4 * 24 * 3_600);
    assert!(desk.alarms.contains(&Alarm::CaptureWindowHalf));
    assert!(!desk.alarms.contains(&Alarm::CaptureWindowClosing));
    desk.wait_s(3 * 24 * 3_600);
    assert!(desk.alarms.contains(&Alarm::CaptureWindowClosing));
    assert_eq!(desk.payment.capturing(), eur(3_000), "an unknown outcome is never a refusal");
}

#[test]
fn a_clock_that_is_set_changes_no_duration() {
    // Set forward by a day: nothing is overdue, and "not found" does not become binding.
    let mut desk = Desk::with(|can| can.idempotent_replay = TimeSpan::ZERO).opened(4_500);
    desk.capture(3_000);
    desk.sent.clear();
    desk.now.wall = desk.now.wall.saturating_add(TimeSpan::from_secs(24 * 3_600));
    assert!(desk.say(Command::Tick).is_empty());
    desk.wait_s(20);
    let inquiry = desk.next_is(OperationKind::Inquire);
    assert!(desk.reply(&inquiry, Outcome::NotFound).is_empty());
    // Set back by a day: what has become too old to be repeated stays too old.
    let mut desk = Desk::with(|can| can.idempotent_replay = TimeSpan::from_secs(120)).opened(4_500);
    desk.capture(3_000);
    desk.now.wall = desk.now.wall.saturating_add(TimeSpan::from_secs(-24 * 3_600));
    desk.wait_s(200);
    let kinds: Vec<OperationKind> = desk.sent.iter().map(|operation| operation.request.kind()).collect();
    assert_eq!(kinds.last(), Some(&OperationKind::Inquire), "{kinds:?}");
}

#[test]
fn a_refused_increment_is_tried_once_more_after_a_pause_and_then_no_more() {
    let mut desk = Desk::open(4_500);
    let raise = |desk: &mut Desk, total| desk.say(Command::IncreaseTo(eur(total)));
    raise(&mut desk, 6_000);
    let increment = desk.next();
    desk.decline(&increment, DeclineClass::Soft, "51");
    raise(&mut desk, 5_000);
    assert_eq!(desk.last_refused(), Rejection::IncrementTooSoon);
    desk.wait_s(60);
    raise(&mut desk, 5_000);
    let smaller = desk.next_is(OperationKind::Increment);
    desk.decline(&smaller, DeclineClass::Soft, "51");
    desk.wait_s(600);
    raise(&mut desk, 5_000);
    assert_eq!(desk.last_refused(), Rejection::IncrementsRefused);
    assert_eq!(desk.payment.spendable(), eur(4_500), "what is reserved stays, and can be taken");
    // A stolen card is not tried again at all; an approval clears the way.
    let mut desk = Desk::open(4_500);
    raise(&mut desk, 6_000);
    let increment = desk.next();
    desk.approve(&increment, 6_000);
    raise(&mut desk, 7_000);
    let increment = desk.next();
    desk.decline(&increment, DeclineClass::Hard, "43");
    desk.wait_s(600);
    raise(&mut desk, 7_000);
    assert_eq!(desk.last_refused(), Rejection::IncrementsRefused);
}

#[test]
fn increments_are_counted() {
    let mut desk = Desk::with(|can| can.increments_max = 2).opened(1_000);
    for total in [2_000, 3_000] {
        desk.say(Command::IncreaseTo(eur(total)));
        let increment = desk.next();
        desk.approve(&increment, total);
    }
    desk.say(Command::IncreaseTo(eur(4_000)));
    assert_eq!(desk.last_refused(), Rejection::IncrementsExhausted);
    desk.say(Command::IncreaseTo(eur(200_000)));
    assert_eq!(desk.last_refused(), Rejection::AmountTooLarge { max: eur(100_000) }, "the lower number goes first");
}

#[test]
fn a_lost_connection_leaves_the_outcome_open() {
    let mut desk = Desk::open(4_500);
    desk.capture(3_000);
    let capture = desk.next();
    let events = desk.connection_lost(&capture);
    assert!(matches!(events[..], [Event::OutcomeUnknown { .. }]));
    // An older attempt's result proves nothing.
    assert!(desk.connection_lost(&capture).is_empty() && desk.not_sent(&capture).is_empty());
    desk.wait_s(2);
    let again = desk.next_is(OperationKind::Capture);
    assert_eq!((again.id, again.possible_duplicate), (capture.id, true));
    // This attempt does not leave; the first one may have arrived all the same.
    assert!(matches!(desk.not_sent(&again)[..], [Event::OutcomeUnknown { .. }]));
}

#[test]
fn a_stored_error_is_never_repeated() {
    let mut desk = Desk::with(|can| can.replay_after_error_safe = false).opened(4_500);
    desk.capture(3_000);
    let capture = desk.next();
    desk.reply(&capture, Outcome::Error);
    desk.wait_s(90);
    let kinds: Vec<OperationKind> = desk.sent.iter().map(|operation| operation.request.kind()).collect();
    assert!(kinds.iter().all(|kind| *kind == OperationKind::Inquire), "{kinds:?}");
    // It never happened, for certain: the same id would bring the error back for ever, so a fresh one goes out.
    let last = desk.sent.pop_back().expect("an inquiry");
    desk.sent.clear();
    let events = desk.reply(&last, Outcome::NotFound);
    assert!(matches!(events[..], [Event::NotExecuted { .. }]), "{events:?}");
    desk.wait_s(5);
    let fresh = desk.next_is(OperationKind::Capture);
    assert_ne!(fresh.id, capture.id);
    desk.approve(&fresh, 3_000);
    assert!(desk.payment.is_settled());
}

#[test]
fn a_processor_that_takes_no_voids_leaves_holds_to_lapse() {
    let mut desk = Desk::with(|can| can.kinds.retain(|kind| *kind != OperationKind::Void)).opened(4_500);
    desk.release();
    desk.silent();
    assert_eq!(desk.payment.spendable(), eur(4_500), "it is still reserved");
    let events = desk.wait_s(7 * 24 * 3_600);
    assert!(matches!(events.last(), Some(Event::Settled { .. })), "{events:?}");
    desk.silent();
    assert_eq!(desk.payment.holds()[0].stage, Stage::Closed(Ending::Expired));
    let command = Command::ReleaseByOperator { hold: Ordinal(1) };
    desk.say(command);
    assert_eq!(desk.last_refused(), Rejection::NotSupported(OperationKind::Void));
}

#[test]
fn an_operator_can_release_one_hold_until_money_is_taken_from_it() {
    let mut desk = Desk::open(4_500);
    let command = || Command::ReleaseByOperator { hold: Ordinal(1) };
    desk.say(command());
    let void = desk.next_is(OperationKind::Void);
    desk.say(command());
    assert_eq!(desk.last_refused(), Rejection::ReleaseUnderWay);
    desk.approve(&void, 4_500);
    assert!(desk.payment.is_settled());
    let mut desk = Desk::open(4_500);
    desk.capture(3_000);
    desk.say(command());
    assert_eq!(desk.last_refused(), Rejection::CaptureUnderWay);
    desk.say(Command::ReleaseByOperator { hold: Ordinal(9) });
    assert_eq!(desk.last_refused(), Rejection::UnknownHold);
}

#[test]
fn equal_payments_have_equal_fingerprints() {
    let (one, mut other) = (Desk::open(4_500), Desk::open(4_500));
    assert_eq!(one.payment.fingerprint(), other.payment.fingerprint());
    other.capture(1);
    assert_ne!(one.payment.fingerprint(), other.payment.fingerprint());
}
