//! Defects that public payment systems have shipped, as far as they concern this machine: one test each, named by the
//! catalogue's number. Each fails on the implementation that comes to mind first.

use super::harness::{Harness, approved, asked, captured, eur, processor};
use wattstile::payment::{
    AcknowledgeCode, Alarm, Answer, CallbackId, Command, DeclineClass, Discrepancy, Ending, Event, Extent,
    NotExecutedCause, NotificationKind, OperationKind, Ordinal, Outcome, Payment, Phase, ProcessorRef, Rejection,
    Request, Stage, apply,
};
use wattstile::units::{Amount, Currency, HoldId, OpId, PartitionId, PaymentId, TimeSpan, Timestamp};

#[test]
fn f01_two_concurrent_refunds_of_60_on_100_are_one_refund() {
    let mut harness = captured(100);
    harness.refund(60);
    harness.refund(60);
    assert_eq!(harness.last_refused(), Rejection::RefundTooLarge { refundable: eur(40) });
    assert_eq!(harness.sent.len(), 1);
    // The first one stays reserved while its outcome is unknown.
    let refund = harness.next();
    harness.wait_s(3_600);
    harness.refund(60);
    assert_eq!(harness.refused.len(), 2);
    // Refused by the processor, its amount is free again.
    harness.decline(&refund, DeclineClass::Soft, "no");
    harness.sent.clear();
    harness.refund(60);
    assert_eq!(harness.sent.len(), 1);
}

#[test]
fn f02_negative_zero_and_foreign_amounts_never_reach_the_journal() {
    let mut harness = captured(100);
    for minor in [0, -1, i64::MIN] {
        assert!(harness.refund(minor).is_empty());
        assert_eq!(harness.last_refused(), Rejection::AmountNotPositive);
    }
    assert!(harness.refund(i64::MAX).is_empty());
    assert_eq!(harness.last_refused(), Rejection::RefundTooLarge { refundable: eur(100) });
    let dollars = Amount::new(10, "USD".parse().unwrap());
    assert!(harness.order(Command::Refund(dollars)).is_empty());
    assert!(matches!(harness.last_refused(), Rejection::CurrencyDiffers { expected: Currency::EUR, .. }));
    let mut harness = Harness::open(10_000);
    for minor in [0, -5, i64::MIN] {
        assert!(harness.capture(minor).is_empty());
        assert_eq!(harness.last_refused(), Rejection::AmountNotPositive);
        assert!(harness.order(Command::IncreaseTo(eur(minor))).is_empty());
        assert!(harness.authorize(minor).is_empty());
        assert_eq!(harness.last_refused(), Rejection::AmountNotPositive);
    }
    assert!(harness.authorize(i64::MAX).is_empty());
    assert_eq!(harness.last_refused(), Rejection::AmountTooLarge { max: eur(harness.policy.total_max_minor) });
    harness.silent();
}

#[test]
fn f03_a_refund_is_bounded_by_what_was_captured_not_by_what_was_authorized() {
    let mut harness = captured(3_000);
    harness.refund(3_001);
    assert_eq!(harness.last_refused(), Rejection::RefundTooLarge { refundable: eur(3_000) });
    let mut harness = Harness::open(10_000);
    harness.refund(1);
    assert_eq!(harness.last_refused(), Rejection::RefundTooLarge { refundable: eur(0) });
}

#[test]
fn f04_what_never_left_the_gate_is_not_pending() {
    let mut harness = Harness::new();
    harness.authorize(4_500);
    let authorize = harness.next();
    let events = harness.not_sent(&authorize);
    assert!(matches!(events[..], [Event::NotExecuted { cause: NotExecutedCause::NotSent, .. }]));
    assert!(harness.payment.is_settled());
    // A refund that waits for a connection is recorded as queued; it is not "possibly sent" when it leaves at last.
    let mut harness = captured(100);
    harness.refund(60);
    let refund = harness.next();
    assert!(matches!(harness.not_sent(&refund)[..], [Event::Queued { .. }]));
    assert_eq!(harness.payment.live_operations()[0].phase, Phase::Queued);
    harness.wait_s(1);
    let again = harness.next();
    assert_eq!((again.id, again.attempt, again.possible_duplicate), (refund.id, 2, false));
}

#[test]
fn f05_a_refund_that_timed_out_is_matched_by_our_id() {
    let mut harness = captured(100);
    harness.refund(60);
    let refund = harness.next();
    harness.wait_s(31);
    let again = harness.next();
    assert_eq!(again.id, refund.id);
    // The answer names the processor's reference for the first time; our id is all it takes.
    let outcome =
        Outcome::Approved { amount: eur(60), processor_ref: ProcessorRef("never-seen".into()), expires_at: None };
    let events = harness.reply(&refund, outcome);
    assert!(matches!(events[..], [Event::Refunded { amount, .. }] if amount == eur(60)));
}

#[test]
fn f06_an_answer_about_another_object_is_set_aside() {
    let mut harness = Harness::open(4_500);
    harness.capture(1_000);
    let capture = harness.next();
    let stranger = PaymentId::new(Timestamp::default(), PartitionId(9), 5).operation(1);
    let wrong_hold =
        Answer { callback: CallbackId(901), operation: capture.id, hold: HoldId(stranger), outcome: approved(1_000) };
    let events = harness.answer(&capture.processor, wrong_hold.clone());
    assert!(matches!(events[..], [Event::AnswerQuarantined { discrepancy: Discrepancy::DifferentHold, .. }]));
    assert_eq!(harness.last_acknowledged(), AcknowledgeCode::BodyMismatch(Discrepancy::DifferentHold));
    assert!(matches!(harness.payment.live_operations()[0].phase, Phase::Unknown { .. }), "the outcome stays unknown");
    // More of the same changes nothing and is not journaled again.
    assert!(harness.answer(&capture.processor, Answer { callback: CallbackId(902), ..wrong_hold }).is_empty());
    // Another processor's answer does not count.
    let right =
        Answer { callback: CallbackId(903), operation: capture.id, hold: capture.hold, outcome: approved(1_000) };
    assert!(harness.answer(&processor("other"), right).is_empty());
    assert_eq!(harness.last_acknowledged(), AcknowledgeCode::Conflict(Discrepancy::DifferentProcessor));
    // An unknown operation.
    let unknown = Answer { callback: CallbackId(904), operation: stranger, hold: capture.hold, outcome: approved(5) };
    assert!(harness.answer(&capture.processor, unknown).is_empty());
    assert_eq!(harness.last_acknowledged(), AcknowledgeCode::UnknownOperation);
    assert_eq!(harness.payment.captured(), eur(0));
    // More money than requested, or another currency.
    let mut harness = Harness::open(4_500);
    harness.capture(1_000);
    let capture = harness.next();
    harness.approve(&capture, 1_001);
    assert_eq!(harness.last_acknowledged(), AcknowledgeCode::BodyMismatch(Discrepancy::DifferentAmount));
    let dollars = Amount::new(1_000, "USD".parse().unwrap());
    harness.reply(
        &capture,
        Outcome::Approved { amount: dollars, processor_ref: ProcessorRef("r".into()), expires_at: None },
    );
    assert_eq!(harness.last_acknowledged(), AcknowledgeCode::BodyMismatch(Discrepancy::DifferentCurrency));
    assert_eq!(harness.payment.captured(), eur(0));
    // The right answer still counts.
    harness.approve(&capture, 1_000);
    assert_eq!(harness.payment.captured(), eur(1_000));
}

#[test]
fn f07_a_message_repeats_its_fact_not_the_present_state() {
    let mut harness = Harness::open(4_500);
    harness.order(Command::IncreaseTo(eur(6_000)));
    let increment = harness.next();
    let events = harness.approve(&increment, 6_000);
    let fact = events[0].clone();
    harness.order(Command::DecreaseTo(eur(5_000)));
    let decrement = harness.next();
    harness.approve(&decrement, 5_000);
    assert!(matches!(fact, Event::IncrementApproved { total, .. } if total == eur(6_000)), "whatever happened since");
}

#[test]
fn f08_an_increment_names_the_new_total_so_a_repetition_adds_nothing() {
    let mut harness = Harness::open(4_500);
    harness.order(Command::IncreaseTo(eur(6_000)));
    let increment = harness.next();
    assert!(matches!(increment.request, Request::Increment { new_total, .. } if new_total == eur(6_000)));
    assert_eq!(harness.payment.spendable(), eur(4_500), "what is not confirmed is not spent");
    harness.approve(&increment, 6_000);
    harness.approve(&increment, 6_000);
    assert_eq!(harness.last_acknowledged(), AcknowledgeCode::Duplicate);
    assert_eq!(harness.payment.authorized(), eur(6_000));
}

#[test]
fn f09_an_increment_to_the_present_total_is_refused_here() {
    let mut harness = Harness::open(4_500);
    harness.order(Command::IncreaseTo(eur(4_500)));
    assert_eq!(harness.last_refused(), Rejection::TotalUnchanged);
    harness.order(Command::IncreaseTo(eur(4_000)));
    assert_eq!(harness.last_refused(), Rejection::WrongDirection);
    harness.silent();
}

#[test]
fn f10_a_declined_increment_keeps_its_reason_and_the_old_total() {
    let mut harness = Harness::open(4_500);
    harness.order(Command::IncreaseTo(eur(6_000)));
    let increment = harness.next();
    let events = harness.decline(&increment, DeclineClass::Soft, "51");
    assert!(matches!(&events[..], [Event::IncrementDeclined { decline, .. }] if &*decline.code == "51"));
    assert_eq!(harness.payment.spendable(), eur(4_500));
    harness.capture(4_500);
    assert_eq!(asked(&harness.next_is(OperationKind::Capture)), 4_500);
}

#[test]
fn f11_an_unknown_authorization_is_reversed_before_the_driver_is_asked_for_more() {
    let mut harness = Harness::new();
    harness.authorize(4_500);
    let first = harness.next();
    harness.authorize(4_500);
    assert_eq!(harness.last_refused(), Rejection::AuthorizationPending);
    harness.wait_s(12);
    harness.authorize(4_500);
    assert_eq!(harness.last_refused(), Rejection::ReversalPending);
    // Where policy allows it, the driver may see two holds: the first one's reversal is journaled already.
    harness.policy.double_hold = true;
    harness.sent.clear();
    harness.authorize_at("other", 4_500);
    let second = harness.next();
    harness.approve(&second, 4_500);
    // And when the first one succeeds after all, it is released, not kept.
    let void = harness.payment.operation_id(Ordinal(2));
    assert!(matches!(harness.approve(&first, 4_500)[..], [Event::LateApproval { .. }]));
    assert_eq!(harness.payment.spendable(), eur(4_500), "the late one never counts");
    let release = Answer { callback: CallbackId(700), operation: void, hold: first.hold, outcome: approved(4_500) };
    harness.answer(&first.processor, release);
    // That void may have been overtaken by the approval: one requested afterwards is proof.
    let again = harness.next_is(OperationKind::Void);
    assert_ne!(again.id, void);
    harness.approve(&again, 4_500);
    assert_eq!(harness.payment.holds()[0].stage, Stage::Closed(Ending::Reversed));
}

#[test]
fn f12_after_a_crash_the_state_is_the_journal_and_nothing_else() {
    let mut harness = Harness::new();
    harness.authorize(4_500);
    let authorize = harness.next();
    harness.approve(&authorize, 4_500);
    harness.order(Command::IncreaseTo(eur(6_000)));
    harness.wait_s(20);
    harness.capture(3_000);
    let log = harness.log.clone();
    let mut live = Payment::new(harness.payment.id(), Currency::EUR);
    for event in &log {
        apply(&mut live, event);
    }
    assert_eq!(live, harness.payment);
}

#[test]
fn f14_a_hold_that_ended_cannot_be_captured_or_ended_again() {
    let mut harness = Harness::new();
    harness.authorize(4_500);
    let authorize = harness.next();
    harness.decline(&authorize, DeclineClass::Hard, "43");
    harness.capture(1_000);
    harness.silent();
    assert_eq!(harness.payment.holds()[0].stage, Stage::Closed(Ending::Declined));
    assert_eq!(harness.payment.shortfall(), eur(1_000));
    let mut harness = captured(1_000);
    harness.report(harness.payment.hold_id(Ordinal(1)), NotificationKind::AuthorizationExpired, 0);
    assert_eq!(harness.payment.holds()[0].stage, Stage::Closed(Ending::Captured));
}

#[test]
fn f15_a_capture_said_twice_is_taken_once() {
    let mut harness = Harness::open(4_500);
    harness.capture(3_000);
    harness.capture(3_000);
    assert_eq!(harness.sent.len(), 1, "owed is a total");
    harness.capture(4_500);
    assert_eq!(harness.sent.len(), 1, "one capture at a time");
    assert_eq!(harness.payment.capturing(), eur(3_000));
}

#[test]
fn f17_what_is_held_is_derived_from_the_operations_never_from_a_flag() {
    let mut harness = Harness::open(4_500);
    assert_eq!(harness.payment.authorized(), eur(4_500));
    harness.capture(3_000);
    let capture = harness.next();
    harness.approve(&capture, 3_000);
    assert_eq!(harness.payment.authorized(), eur(0));
    assert_eq!(harness.payment.spendable(), eur(0));
}

#[test]
fn f18_a_late_refusal_does_not_undo_what_was_approved() {
    let mut harness = captured(3_000);
    let capture = harness.payment.operation_id(Ordinal(2));
    let hold = harness.payment.hold_id(Ordinal(1));
    let late = Answer {
        callback: CallbackId(800),
        operation: capture,
        hold,
        outcome: super::harness::declined(DeclineClass::Hard, "late"),
    };
    harness.answer(&processor("acme"), late.clone());
    assert_eq!(harness.last_acknowledged(), AcknowledgeCode::Conflict(Discrepancy::DifferentOutcome));
    assert_eq!(harness.payment.captured(), eur(3_000));
    assert!(harness.alarms.contains(&Alarm::Discrepancy(Discrepancy::DifferentOutcome)));
    // Only the report made for that purpose undoes a capture.
    let events = harness.report(hold, NotificationKind::CaptureFailed, 3_000);
    assert!(matches!(events[..], [Event::CaptureReversed { amount, .. }] if amount == eur(3_000)));
    assert_eq!((harness.payment.captured(), harness.payment.shortfall()), (eur(0), eur(3_000)));
    harness.report(hold, NotificationKind::CaptureFailed, 3_000);
    assert_eq!(harness.last_acknowledged(), AcknowledgeCode::Conflict(Discrepancy::DifferentState));
}

#[test]
fn f19_a_repeated_message_is_booked_once_and_acknowledged_again() {
    let mut harness = Harness::open(4_500);
    harness.capture(3_000);
    let capture = harness.next();
    let answer =
        Answer { callback: CallbackId(55), operation: capture.id, hold: capture.hold, outcome: approved(3_000) };
    harness.answer(&capture.processor, answer.clone());
    // Recorded once, with its source; further ones are not.
    let noted = harness.answer(&capture.processor, answer.clone());
    assert!(matches!(noted[..], [Event::AnswerRepeated { .. }]), "{noted:?}");
    assert_eq!(harness.last_acknowledged(), AcknowledgeCode::Duplicate);
    assert!(harness.answer(&capture.processor, answer.clone()).is_empty());
    assert_eq!(harness.last_acknowledged(), AcknowledgeCode::Duplicate);
    // The same again under another number.
    assert!(harness.answer(&capture.processor, Answer { callback: CallbackId(56), ..answer.clone() }).is_empty());
    assert_eq!(harness.last_acknowledged(), AcknowledgeCode::Duplicate);
    // The same number with another body.
    let other = Answer { outcome: approved(2_000), ..answer.clone() };
    assert!(harness.answer(&capture.processor, other.clone()).is_empty());
    assert_eq!(harness.last_acknowledged(), AcknowledgeCode::BodyMismatch(Discrepancy::DifferentBody));
    // Another number with another amount.
    harness.answer(&capture.processor, Answer { callback: CallbackId(57), ..other });
    assert_eq!(harness.last_acknowledged(), AcknowledgeCode::Conflict(Discrepancy::DifferentAmount));
    assert_eq!(harness.payment.captured(), eur(3_000));
    // A repeated report.
    let hold = capture.hold;
    let notification = wattstile::payment::Notification {
        callback: CallbackId(60),
        hold,
        kind: NotificationKind::DisputeOpened,
        amount: eur(3_000),
        occurred_at: harness.now.wall,
    };
    let order = |notification| Command::Notification { from: processor("acme"), notification };
    assert_eq!(harness.order(order(notification.clone())).len(), 1);
    assert!(harness.order(order(notification)).is_empty());
    assert_eq!(harness.last_acknowledged(), AcknowledgeCode::Duplicate);
}

#[test]
fn f20_every_operation_on_every_path_has_an_id_of_its_own() {
    let mut harness = Harness::with(|can| can.idempotent_replay = TimeSpan::ZERO).opened(4_500);
    harness.order(Command::IncreaseTo(eur(6_000)));
    harness.wait_s(400);
    harness.capture(1_000);
    harness.wait_s(400);
    let mut ids: Vec<OpId> = harness.sent.iter().map(|operation| operation.id).collect();
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "inquiries too: an answer that a processor remembers is no answer");
    assert!(ids.iter().all(|id| id.payment() == harness.payment.id()));
}

#[test]
fn f21_more_owed_than_authorized_is_captured_as_far_as_it_goes() {
    let mut harness = Harness::open(4_500);
    let events = harness.capture(5_000);
    assert!(matches!(events[0], Event::CaptureOrdered { shortfall, .. } if shortfall == eur(500)));
    let capture = harness.next();
    assert_eq!(asked(&capture), 4_500);
    let events = harness.approve(&capture, 4_500);
    assert!(matches!(events[1], Event::Settled { shortfall, .. } if shortfall == eur(500)));
    // Where the processor allows more, more is taken.
    let mut harness = Harness::with(|can| can.overcapture_percent = 10).opened(4_500);
    harness.capture(5_000);
    assert_eq!(asked(&harness.next()), 4_950);
}

#[test]
fn f22_no_hold_is_left_behind_when_the_order_fails() {
    let mut harness = Harness::open(4_500);
    harness.capture(3_000);
    let capture = harness.next();
    let events = harness.decline(&capture, DeclineClass::Hard, "14");
    // The failure and the release stand in the journal together.
    assert!(matches!(events[..], [Event::CaptureFailed { .. }, Event::OperationRequested { .. }]));
    let void = harness.next_is(OperationKind::Void);
    assert!(!harness.payment.is_settled());
    let events = harness.approve(&void, 4_500);
    assert!(matches!(events[..], [Event::Voided { .. }, Event::Settled { shortfall, .. }] if shortfall == eur(3_000)));
    assert_eq!(harness.payment.holds()[0].stage, Stage::Closed(Ending::CaptureFailed));
}

#[test]
fn f27_an_answer_finds_its_operation_by_its_id_alone() {
    let mut harness = Harness::open(4_500);
    harness.authorize_at("other", 2_000);
    let second = harness.next();
    harness.approve(&second, 2_000);
    harness.capture(6_000);
    let (first, second) = (harness.next(), harness.next());
    assert_eq!((asked(&first), asked(&second)), (4_500, 1_500), "oldest hold first");
    // Answered the other way round, and across processors.
    harness.answer(
        &processor("other"),
        Answer { callback: CallbackId(1), operation: first.id, hold: first.hold, outcome: approved(4_500) },
    );
    assert_eq!(harness.payment.captured(), eur(0));
    harness.approve(&second, 1_500);
    harness.approve(&first, 4_500);
    assert_eq!(harness.payment.captured(), eur(6_000));
    assert!(harness.payment.is_settled());
}

#[test]
fn f28_an_answer_that_comes_after_days_is_still_known() {
    let mut harness = Harness::with(|can| can.idempotent_replay = TimeSpan::ZERO).opened(4_500);
    harness.capture(3_000);
    let capture = harness.next();
    harness.wait_s(3 * 24 * 3_600);
    harness.restart();
    harness.approve(&capture, 3_000);
    assert_eq!(harness.payment.captured(), eur(3_000));
    assert!(harness.payment.is_settled());
}

#[test]
fn f29_the_end_of_a_hold_without_a_session_is_a_fact_that_the_owner_hears() {
    let mut harness = Harness::open(4_500);
    harness.release();
    let void = harness.next();
    let events = harness.approve(&void, 4_500);
    assert!(matches!(events[..], [Event::Voided { .. }, Event::Settled { .. }]));
}

#[test]
fn f31_we_own_the_expiry() {
    let mut harness = Harness::open(4_500);
    let week = 7 * 24 * 3_600;
    let events = harness.wait_s(week - 12 * 3_600);
    assert!(matches!(events[..], [Event::HoldExpiring { .. }]), "{events:?}");
    let events = harness.wait_s(12 * 3_600);
    assert!(matches!(events[..], [Event::HoldExpired { .. }]), "{events:?}");
    assert_eq!(harness.payment.spendable(), eur(0));
    // The processor reports it first.
    let mut harness = Harness::open(4_500);
    let events = harness.report(harness.payment.hold_id(Ordinal(1)), NotificationKind::AuthorizationExpired, 0);
    assert!(matches!(events[..], [Event::HoldExpired { source: Some(_), .. }]));
    // While money is being taken, the capture's own answer decides.
    let mut harness = Harness::open(4_500);
    harness.capture(3_000);
    let capture = harness.next();
    assert!(harness.report(harness.payment.hold_id(Ordinal(1)), NotificationKind::AuthorizationExpired, 0).is_empty());
    harness.approve(&capture, 3_000);
    assert_eq!(harness.payment.holds()[0].stage, Stage::Closed(Ending::Captured));
}

#[test]
fn f32_a_first_request_that_races_with_itself_is_one_request() {
    let mut harness = Harness::new();
    harness.authorize(4_500);
    harness.authorize(4_500);
    assert_eq!((harness.sent.len(), harness.last_refused()), (1, Rejection::AuthorizationPending));
}

#[test]
fn f33_what_may_be_spent_never_counts_what_is_not_confirmed() {
    let mut harness = Harness::open(4_500);
    harness.order(Command::IncreaseTo(eur(6_000)));
    harness.wait_s(60);
    assert_eq!(harness.payment.spendable(), eur(4_500), "an unknown increment is no money");
    let mut harness = Harness::open(4_500);
    harness.order(Command::DecreaseTo(eur(2_000)));
    assert_eq!(harness.payment.spendable(), eur(2_000), "a decrement counts from the moment it is asked for");
}

#[test]
fn f34_every_payment_that_was_ordered_to_end_says_that_it_ended() {
    for minor in [0, 3_000, 9_000] {
        let mut harness = Harness::open(4_500);
        match minor {
            0 => harness.release(),
            _ => harness.capture(minor),
        };
        harness.restart();
        // No answer ever comes: the dense part of the schedule passes, an alarm is raised, attempts continue.
        harness.wait_s(3 * 24 * 3_600);
        assert!(harness.alarms.contains(&Alarm::Unresolved));
        assert!(!harness.payment.is_settled());
        let last = harness.sent.pop_back().expect("attempts never cease");
        let outcome = approved(asked(&last).max(1));
        let answered = match last.request.kind() {
            OperationKind::Inquire => {
                let capture = harness.payment.live_operations()[0].amount_minor;
                harness.reply(&last, approved(capture))
            }
            _ => harness.reply(&last, outcome),
        };
        assert!(matches!(answered.last(), Some(Event::Settled { .. })), "{answered:?}");
    }
}

#[test]
fn f35_a_silent_charger_is_settled_on_the_last_known_total_and_corrected_later() {
    // The processor can capture several times: the hold stays open for a correction upwards.
    let mut harness = Harness::with(|can| can.multiple_captures = true).opened(4_500);
    harness.order(Command::Capture { owed: eur(2_000), extent: Extent::Interim });
    let interim = harness.next();
    assert!(matches!(interim.request, Request::Capture { last: false, .. }));
    harness.approve(&interim, 2_000);
    harness.capture(2_600);
    let rest = harness.next();
    assert_eq!(asked(&rest), 600, "owed is a total; the difference is taken");
    harness.approve(&rest, 600);
    assert_eq!((harness.payment.captured(), harness.payment.shortfall()), (eur(2_600), eur(0)));
    // It cannot: more is a shortfall, and less is a refund.
    let mut harness = Harness::open(4_500);
    harness.order(Command::Capture { owed: eur(2_000), extent: Extent::Interim });
    let interim = harness.next();
    assert!(matches!(interim.request, Request::Capture { last: true, .. }));
    harness.approve(&interim, 2_000);
    let events = harness.capture(2_600);
    assert!(matches!(events[1], Event::Settled { shortfall, .. } if shortfall == eur(600)));
    harness.capture(1_500);
    assert_eq!(harness.last_refused(), Rejection::OwedFalls);
    harness.refund(500);
    assert_eq!(asked(&harness.next_is(OperationKind::Refund)), 500);
}
