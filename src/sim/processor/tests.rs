//! Tests of the processor with a gate that sends requests one by one.

use super::*;
use crate::payment::{Credential, CredentialKind, ProcessorRef, VoidReason};
use crate::units::{PartitionId, SessionId};
use proptest::prelude::*;

const START: Timestamp = Timestamp::from_unix_ms(1_700_000_000_000);

/// A gate that sends one request at a time.
struct Gate {
    processor: Processor,
    session: SessionId,
    now: Timestamp,
}

fn gate_with(change: impl FnOnce(&mut Settings)) -> Gate {
    let mut settings = Settings::new(ProcessorId::new("acme").unwrap(), 1);
    settings.latency = Latency { median: TimeSpan::ZERO, tail: TimeSpan::ZERO };
    change(&mut settings);
    let session = SessionId::new(START, PartitionId(3), 99);
    Gate { processor: Processor::new(settings, START), session, now: START }
}

fn gate() -> Gate {
    gate_with(|_| {})
}

fn eur(minor: i64) -> Amount {
    Amount::new(minor, Currency::EUR)
}

impl Gate {
    fn operation(&self, ordinal: u16, request: Request) -> Operation {
        Operation {
            id: self.session.payment().operation(ordinal),
            hold: HoldId(self.session.payment().operation(1)),
            processor: ProcessorId::new("acme").unwrap(),
            attempt: 1,
            possible_duplicate: false,
            decide_by: self.now.saturating_add(TimeSpan::from_secs(8)),
            request,
        }
    }

    fn ask(&mut self, ordinal: u16, request: Request) -> Vec<Step> {
        let operation = self.operation(ordinal, request);
        self.processor.decide(&operation, self.now)
    }

    /// Sends a request and expects exactly one immediate answer.
    fn outcome(&mut self, ordinal: u16, request: Request) -> Outcome {
        let steps = self.ask(ordinal, request);
        match steps.as_slice() {
            [Step { act: Act::Answer(answer), .. }] => answer.outcome.clone(),
            other => panic!("not one answer: {other:?}"),
        }
    }

    fn authorize(&mut self, token: &str, minor: i64) -> Vec<Step> {
        self.ask(1, authorization(token, minor))
    }

    fn hold(&self) -> &Hold {
        self.processor.books().hold(HoldId(self.session.payment().operation(1))).expect("there is a hold")
    }
}

fn authorization(token: &str, minor: i64) -> Request {
    let credential = Credential { kind: CredentialKind::CardToken, token: token.as_bytes().into() };
    Request::Authorize { credential, amount: eur(minor), partial_ok: true, stand_in: false }
}

fn processor_ref() -> ProcessorRef {
    ProcessorRef("sim".into())
}

fn capture(minor: i64) -> Request {
    Request::Capture { processor_ref: processor_ref(), amount: eur(minor), last: true }
}

fn approved(outcome: &Outcome) -> i64 {
    match outcome {
        Outcome::Approved { amount, .. } => amount.minor,
        other => panic!("not approved: {other:?}"),
    }
}

fn decline_of(outcome: &Outcome) -> (DeclineClass, &str) {
    match outcome {
        Outcome::Declined(decline) => (decline.class, &decline.code),
        other => panic!("not declined: {other:?}"),
    }
}

fn outcomes(steps: &[Step]) -> Vec<Outcome> {
    steps
        .iter()
        .filter_map(|step| match &step.act {
            Act::Answer(answer) => Some(answer.outcome.clone()),
            Act::Notify(_) | Act::Settle(_) | Act::Close | Act::Arrive(_) => None,
        })
        .collect()
}

#[test]
fn a_hold_is_captured_once_and_the_rest_released() {
    let mut gate = gate();
    assert_eq!(approved(&gate.outcome(1, authorization("card", 4_500))), 4_500);
    assert_eq!(approved(&gate.outcome(2, capture(960))), 960);
    let hold = gate.hold();
    assert_eq!((hold.state, hold.captured_minor, hold.released_minor), (HoldState::Captured, 960, 3_540));
    // The same operation again: the same answer, and nothing is taken twice.
    assert_eq!(approved(&gate.outcome(2, capture(960))), 960);
    assert_eq!(gate.hold().captured_minor, 960);
    assert_eq!(gate.processor.books().violations(), Violations::default());
    // A second capture by another operation must never happen.
    assert_eq!(decline_of(&gate.outcome(3, capture(1))), (DeclineClass::State, "captured"));
    assert_eq!(gate.processor.books().violations().double_captures, 1);
}

#[test]
fn the_same_id_with_another_body_is_refused_and_counted() {
    let mut gate = gate();
    gate.authorize("card", 4_500);
    gate.outcome(2, capture(960));
    assert_eq!(decline_of(&gate.outcome(2, capture(961))), (DeclineClass::State, "other_body"));
    assert_eq!(gate.processor.books().violations().other_bodies, 1);
}

#[test]
fn more_than_authorized_is_not_captured() {
    let mut gate = gate();
    gate.authorize("card", 1_000);
    assert_eq!(decline_of(&gate.outcome(2, capture(1_001))), (DeclineClass::State, "over_capture"));
    assert_eq!(gate.processor.books().violations().over_captures, 1);
    assert_eq!(gate.hold().state, HoldState::Open);

    let mut generous = gate_with(|settings| settings.capabilities.overcapture_percent = 15);
    generous.authorize("card", 1_000);
    assert_eq!(approved(&generous.outcome(2, capture(1_150))), 1_150);
}

#[test]
fn refunds_never_exceed_the_capture() {
    let mut gate = gate();
    gate.authorize("card", 10_000);
    gate.outcome(2, capture(10_000));
    let capture = gate.session.payment().operation(2);
    let refund = |minor| Request::Refund { capture, processor_ref: processor_ref(), amount: eur(minor) };
    assert_eq!(approved(&gate.outcome(3, refund(6_000))), 6_000);
    assert_eq!(decline_of(&gate.outcome(4, refund(6_000))), (DeclineClass::State, "over_refund"));
    assert_eq!(decline_of(&gate.outcome(5, refund(-1))), (DeclineClass::State, "amount"));
    assert_eq!(gate.hold().refunded_minor, 6_000);
}

#[test]
fn increments_are_new_totals_and_bounded() {
    let mut gate = gate_with(|settings| settings.capabilities.increments_max = 1);
    gate.authorize("card", 1_000);
    let raise = |minor| Request::Increment { processor_ref: processor_ref(), new_total: eur(minor) };
    assert_eq!(decline_of(&gate.outcome(2, raise(1_000))), (DeclineClass::State, "total"));
    assert_eq!(approved(&gate.outcome(3, raise(1_500))), 1_500);
    assert_eq!(decline_of(&gate.outcome(4, raise(2_000))), (DeclineClass::State, "increments"));
    assert_eq!(gate.hold().authorized, eur(1_500));
}

#[test]
fn what_a_credential_can_spend_comes_back_with_the_hold() {
    let mut gate = gate();
    assert_eq!(approved(&gate.outcome(1, authorization("tok_balance_3000", 5_000))), 3_000, "partial approval");
    let void = Request::Void {
        authorization: gate.session.payment().operation(1),
        processor_ref: None,
        reason: VoidReason::NoStart,
    };
    assert_eq!(approved(&gate.outcome(2, void)), 3_000);
    assert_eq!(gate.hold().state, HoldState::Voided);
    gate.session = SessionId::new(START, PartitionId(3), 100);
    assert_eq!(approved(&gate.outcome(1, authorization("tok_balance_3000", 2_000))), 2_000);
    gate.session = SessionId::new(START, PartitionId(3), 101);
    assert_eq!(approved(&gate.outcome(1, authorization("tok_balance_3000", 2_000))), 1_000);
    gate.session = SessionId::new(START, PartitionId(3), 102);
    assert_eq!(decline_of(&gate.outcome(1, authorization("tok_balance_3000", 2_000))), (DeclineClass::Soft, "51"));
}

#[test]
fn an_unknown_authorization_is_not_found_until_it_arrives() {
    let mut gate = gate();
    let stuck = gate.authorize("tok_delayed", 4_500);
    let [Step { after, act: Act::Arrive(operation) }] = stuck.as_slice() else { panic!("{stuck:?}") };
    assert!(after.ms() > 8_000, "later than the gate waits");
    let void = Request::Void {
        authorization: gate.session.payment().operation(1),
        processor_ref: None,
        reason: VoidReason::OutcomeUnknown,
    };
    let inquiry = Request::Inquire { target: gate.session.payment().operation(1) };
    assert_eq!(gate.outcome(2, void.clone()), Outcome::NotFound);
    assert_eq!(gate.outcome(3, inquiry.clone()), Outcome::NotFound);
    gate.now = gate.now.saturating_add(*after);
    let arrived = gate.processor.arrive(operation, gate.now);
    assert_eq!(approved(&outcomes(&arrived)[0]), 4_500);
    // Both requests are repeated under their old ids and find it now.
    assert_eq!(approved(&gate.outcome(3, inquiry)), 4_500);
    assert_eq!(approved(&gate.outcome(2, void)), 4_500);
    assert_eq!(gate.hold().state, HoldState::Voided);
}

#[test]
fn silence_and_loss_look_alike_and_an_inquiry_tells_them_apart() {
    for (token, found) in [("tok_silent", true), ("tok_timeout", false)] {
        let mut gate = gate();
        assert_eq!(gate.authorize(token, 4_500), [], "{token}");
        let outcome = gate.outcome(2, Request::Inquire { target: gate.session.payment().operation(1) });
        assert_eq!(matches!(outcome, Outcome::Approved { .. }), found, "{token}");
        // Repeated under the same id it is answered, and done once.
        assert_eq!(approved(&gate.outcome(1, authorization(token, 4_500))), 4_500);
        assert_eq!(gate.processor.books().holds().len(), 1);
    }
}

#[test]
fn an_error_comes_back_unless_repeating_is_declared_safe() {
    for (safe, token) in
        [(true, "tok_error"), (false, "tok_error"), (true, "tok_error_lost"), (false, "tok_error_lost")]
    {
        let mut gate = gate_with(|settings| settings.capabilities.replay_after_error_safe = safe);
        assert_eq!(outcomes(&gate.authorize(token, 4_500)), [Outcome::Error]);
        let again = gate.outcome(1, authorization(token, 4_500));
        assert_eq!(matches!(again, Outcome::Approved { .. }), safe, "{token}, safe: {safe}");
        let inquiry = gate.outcome(2, Request::Inquire { target: gate.session.payment().operation(1) });
        assert_eq!(matches!(inquiry, Outcome::Approved { .. }), safe || token == "tok_error");
    }
}

#[test]
fn each_misbehaviour_shows() {
    let acts = |token: &str| -> Vec<String> {
        let steps = gate().authorize(token, 4_500);
        let name = |step: &Step| match &step.act {
            Act::Answer(answer) => match &answer.outcome {
                Outcome::Approved { amount, .. } => format!("approved {}", amount.minor),
                Outcome::Declined(decline) => format!("declined {}", decline.code),
                Outcome::Pending { .. } => "pending".to_owned(),
                Outcome::NotFound => "not found".to_owned(),
                Outcome::Error => "error".to_owned(),
            },
            Act::Notify(_) => "notify".to_owned(),
            Act::Settle(_) => "settle".to_owned(),
            Act::Close => "close".to_owned(),
            Act::Arrive(_) => "arrive".to_owned(),
        };
        steps.iter().map(name).collect()
    };
    let table: [(&str, &[&str]); 20] = [
        ("tok_decline_soft", &["declined 51"]),
        ("tok_decline_hard", &["declined 14"]),
        ("tok_decline_fraud", &["declined 59"]),
        ("tok_decline_technical", &["declined 96"]),
        ("tok_timeout", &[]),
        ("tok_silent", &[]),
        ("tok_slow", &["approved 4500"]),
        ("tok_late", &["approved 4500"]),
        ("tok_delayed", &["arrive"]),
        ("tok_duplicate", &["approved 4500", "approved 4500"]),
        ("tok_duplicate_other", &["approved 4500", "approved 4500"]),
        ("tok_approved_then_declined", &["approved 4500", "declined 96"]),
        ("tok_declined_then_approved", &["declined 91", "approved 4500"]),
        ("tok_pending", &["pending", "approved 4500"]),
        ("tok_error", &["error"]),
        ("tok_error_lost", &["error"]),
        ("tok_drop", &["close"]),
        ("tok_drop_done", &["close"]),
        ("tok_wrong_amount", &["approved 4501", "approved 4500"]),
        ("tok_wrong_hold", &["approved 4500", "approved 4500"]),
    ];
    for (token, expected) in table {
        assert_eq!(acts(token), expected, "{token}");
    }
    assert_eq!(acts("tok_partial_half"), ["approved 2250"]);
    assert_eq!(acts("tok_partial_small"), ["approved 100"]);
}

#[test]
fn one_message_number_twice_or_two_numbers() {
    let numbers = |token: &str| -> Vec<CallbackId> {
        let steps = gate().authorize(token, 4_500);
        steps
            .iter()
            .map(|step| match &step.act {
                Act::Answer(answer) => answer.callback,
                other => panic!("{other:?}"),
            })
            .collect()
    };
    let same = numbers("tok_duplicate");
    assert_eq!(same[0], same[1]);
    let other = numbers("tok_duplicate_other");
    assert_ne!(other[0], other[1]);
}

#[test]
fn money_that_never_came_and_disputes_are_reported_later() {
    let kinds = |token: &str| -> Vec<NotificationKind> {
        let mut gate = gate();
        gate.authorize(token, 4_500);
        let steps = gate.ask(2, capture(960));
        steps
            .iter()
            .filter_map(|step| match &step.act {
                Act::Notify(notification) => Some(notification.kind),
                Act::Answer(_) | Act::Settle(_) | Act::Close | Act::Arrive(_) => None,
            })
            .collect()
    };
    assert_eq!(kinds("tok_capture_fails_later"), [NotificationKind::CaptureFailed]);
    assert_eq!(kinds("tok_dispute_lost"), [NotificationKind::DisputeOpened, NotificationKind::DisputeLost]);
    assert_eq!(kinds("card"), []);
}

#[test]
fn a_hold_lapses_by_itself() {
    let mut gate = gate();
    gate.authorize("tok_expires", 4_500);
    assert_eq!(gate.processor.expire(gate.now), []);
    let due = gate.processor.next_expiry().expect("one open hold");
    let lapsed = gate.processor.expire(due);
    assert_eq!((lapsed[0].kind, lapsed[0].amount), (NotificationKind::AuthorizationExpired, eur(4_500)));
    assert_eq!(gate.hold().state, HoldState::Expired);
    assert_eq!(gate.processor.next_expiry(), None);
}

#[test]
fn a_credential_that_is_not_declared_is_declined() {
    let mut gate = gate_with(|settings| settings.capabilities.credentials = vec![CredentialKind::Rfid]);
    assert_eq!(decline_of(&gate.outcome(1, authorization("card", 4_500))), (DeclineClass::State, "credential"));
    let mut operation = gate.operation(2, authorization("card", 4_500));
    operation.processor = ProcessorId::new("other").unwrap();
    gate.processor.decide(&operation, gate.now);
    assert_eq!(gate.processor.books().violations().wrong_processors, 1);
}

/// One request of a gate that sends arbitrary ones.
#[derive(Clone, Debug)]
struct Question {
    session: u8,
    ordinal: u16,
    what: u8,
    minor: i64,
    after_ms: i64,
}

fn question() -> impl Strategy<Value = Question> {
    (0..4_u8, 1..8_u16, 0..7_u8, -10..6_000_i64, 0..40_000_i64)
        .prop_map(|(session, ordinal, what, minor, after_ms)| Question { session, ordinal, what, minor, after_ms })
}

proptest! {
    /// With any requests in any order, and any faults of the processor, its own books add up.
    #[test]
    fn the_books_add_up(seed in any::<u64>(), questions in proptest::collection::vec(question(), 1..120)) {
        let mut gate = gate_with(|settings| {
            settings.seed = seed;
            settings.rates = Rates::hostile(60);
            settings.opening_balance_minor = 12_000;
            settings.capabilities.multiple_captures = seed % 2 == 0;
        });
        let mut stuck: Vec<(Timestamp, Box<Operation>)> = Vec::new();
        for question in questions {
            gate.session = SessionId::new(START, PartitionId(0), u64::from(question.session));
            gate.now = gate.now.saturating_add(TimeSpan::from_ms(question.after_ms));
            let request = match question.what {
                0 | 1 => authorization("one card", question.minor),
                2 => capture(question.minor),
                3 => Request::Void {
                    authorization: gate.session.payment().operation(1),
                    processor_ref: None,
                    reason: VoidReason::OutcomeUnknown,
                },
                4 => Request::Increment { processor_ref: processor_ref(), new_total: eur(question.minor) },
                5 => Request::Refund {
                    capture: gate.session.payment().operation(2),
                    processor_ref: processor_ref(),
                    amount: eur(question.minor),
                },
                _ => Request::Inquire { target: gate.session.payment().operation(1) },
            };
            let ordinal = if question.what == 0 { 1 } else { question.ordinal };
            for step in gate.ask(ordinal, request) {
                if let Act::Arrive(operation) = step.act {
                    stuck.push((gate.now.saturating_add(step.after), operation));
                }
            }
            let now = gate.now;
            let due: Vec<_> = stuck.extract_if(.., |(at, _)| *at <= now).collect();
            for (_, operation) in due {
                gate.processor.arrive(&operation, now);
            }
            gate.processor.expire(now);

            let report = gate.processor.report(true);
            if let Some(sum) = report.totals.get("EUR") {
                prop_assert_eq!(sum.authorized_minor, sum.captured_minor + sum.released_minor + sum.open_minor);
                prop_assert!(sum.refunded_minor <= sum.captured_minor);
                // The one card never spends more than it has.
                prop_assert!(sum.open_minor + sum.captured_minor - sum.refunded_minor <= 12_000);
            }
            for line in report.hold_lines.unwrap_or_default() {
                prop_assert!(line.captured_minor <= line.authorized_minor && line.captured_minor >= 0);
            }
        }
    }
}
