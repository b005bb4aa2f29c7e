//! The whole table: every situation a payment can be in, against every possible command.
//!
//! Nothing panics, a refusal changes nothing, a stored and replayed state is the same, the money bounds hold, and from
//! every cell of the table the payment still comes to its end.

use super::harness::{Harness, approved, declined, eur, everything, processor, token};
use wattstile::payment::{
    Answer, CallbackId, Command, DeclineClass, Extent, HoldCapabilities, Notification, NotificationKind, Operation,
    OperationKind, Ordinal, Outcome, Stage, VoidReason,
};
use wattstile::units::TimeSpan;

/// A situation: how to get there, and the operations that were sent on the way.
type Situation = (&'static str, fn() -> (Harness, Vec<Operation>));

fn taken(mut harness: Harness) -> (Harness, Vec<Operation>) {
    let sent: Vec<Operation> = harness.sent.drain(..).collect();
    (harness, sent)
}

fn situations() -> Vec<Situation> {
    fn answered(mut harness: Harness, outcome: fn(&Operation) -> Outcome) -> (Harness, Vec<Operation>) {
        let last = harness.sent.pop_back().expect("something was sent");
        let outcome = outcome(&last);
        harness.reply(&last, outcome);
        let (harness, mut sent) = taken(harness);
        sent.push(last);
        (harness, sent)
    }
    fn stand_in() -> Harness {
        let mut harness = Harness::new();
        harness.order(Command::StandIn {
            processor: processor("acme"),
            capabilities: HoldCapabilities::of(&everything()),
            credential: token(),
            amount: eur(4_500),
            floor: eur(1_000),
        });
        harness
    }
    fn after(mut harness: Harness, then: impl FnOnce(&mut Harness)) -> Harness {
        then(&mut harness);
        harness
    }
    vec![
        ("nothing yet", || taken(Harness::new())),
        ("authorizing", || taken(after(Harness::new(), |harness| drop(harness.authorize(4_500))))),
        ("authorization unknown", || {
            taken(after(Harness::new(), |harness| {
                harness.authorize(4_500);
                harness.wait_s(8);
            }))
        }),
        ("authorization accepted", || {
            let harness = after(Harness::new(), |harness| drop(harness.authorize(4_500)));
            answered(harness, |_| Outcome::Pending { decide_by: super::harness::START })
        }),
        ("reversing", || {
            taken(after(Harness::new(), |harness| {
                harness.authorize(4_500);
                harness.wait_s(12);
            }))
        }),
        ("reversal found nothing", || {
            let harness = after(Harness::new(), |harness| {
                harness.authorize(4_500);
                harness.wait_s(12);
            });
            answered(harness, |_| Outcome::NotFound)
        }),
        ("declined", || {
            let harness = after(Harness::new(), |harness| drop(harness.authorize(4_500)));
            answered(harness, |_| declined(DeclineClass::Hard, "43"))
        }),
        ("stand-in", || taken(stand_in())),
        ("stand-in lost", || answered(stand_in(), |_| declined(DeclineClass::Hard, "43"))),
        ("open", || taken(Harness::open(4_500))),
        ("open in part", || {
            let harness = after(Harness::new(), |harness| drop(harness.authorize(4_500)));
            answered(harness, |_| approved(3_000))
        }),
        ("incrementing", || {
            taken(after(Harness::open(4_500), |harness| drop(harness.order(Command::IncreaseTo(eur(6_000))))))
        }),
        ("increment unknown", || {
            taken(after(Harness::open(4_500), |harness| {
                harness.order(Command::IncreaseTo(eur(6_000)));
                harness.wait_s(20);
            }))
        }),
        ("decrementing", || {
            taken(after(Harness::open(4_500), |harness| drop(harness.order(Command::DecreaseTo(eur(3_000))))))
        }),
        ("capturing", || taken(after(Harness::open(4_500), |harness| drop(harness.capture(3_000))))),
        ("capture unknown", || {
            taken(after(Harness::open(4_500), |harness| {
                harness.capture(3_000);
                harness.wait_s(25);
            }))
        }),
        ("capture queued", || {
            let mut harness = after(Harness::open(4_500), |harness| drop(harness.capture(3_000)));
            let capture = harness.next();
            harness.not_sent(&capture);
            (harness, vec![capture])
        }),
        ("capture refused for now", || {
            let harness = after(Harness::open(4_500), |harness| drop(harness.capture(3_000)));
            answered(harness, |_| declined(DeclineClass::Technical, "91"))
        }),
        ("capture failed", || {
            let harness = after(Harness::open(4_500), |harness| drop(harness.capture(3_000)));
            answered(harness, |_| declined(DeclineClass::Hard, "14"))
        }),
        ("captured", || {
            let harness = after(Harness::open(4_500), |harness| drop(harness.capture(3_000)));
            answered(harness, |_| approved(3_000))
        }),
        ("refunding", || {
            let harness = after(Harness::open(4_500), |harness| drop(harness.capture(3_000)));
            let (mut harness, mut sent) = answered(harness, |_| approved(3_000));
            harness.refund(1_000);
            sent.extend(harness.sent.drain(..));
            (harness, sent)
        }),
        ("voiding", || taken(after(Harness::open(4_500), |harness| drop(harness.release())))),
        ("void refused", || {
            let harness = after(Harness::open(4_500), |harness| drop(harness.release()));
            answered(harness, |_| declined(DeclineClass::Technical, "96"))
        }),
        ("voided", || {
            let harness = after(Harness::open(4_500), |harness| drop(harness.release()));
            answered(harness, |_| approved(4_500))
        }),
        ("expired", || taken(after(Harness::open(4_500), |harness| drop(harness.wait_s(8 * 24 * 3_600))))),
        ("approved late", || {
            let mut harness = after(Harness::new(), |harness| drop(harness.authorize(4_500)));
            let authorize = harness.next();
            harness.decline(&authorize, DeclineClass::Soft, "51");
            harness.approve(&authorize, 4_500);
            let (harness, mut sent) = taken(harness);
            sent.push(authorize);
            (harness, sent)
        }),
        ("two holds", || {
            let mut harness = Harness::open(4_500);
            harness.authorize_at("other", 2_000);
            let second = harness.next();
            harness.approve(&second, 2_000);
            (harness, vec![second])
        }),
        ("interim capture of a hold that stays open", || {
            let mut harness = Harness::with(|can| can.multiple_captures = true).opened(4_500);
            harness.order(Command::Capture { owed: eur(1_000), extent: Extent::Interim });
            let capture = harness.next();
            harness.approve(&capture, 1_000);
            (harness, vec![capture])
        }),
    ]
}

/// All possible commands, given the operations that are known.
fn commands(known: &[Operation], harness: &Harness) -> Vec<Command> {
    let capabilities = HoldCapabilities::of(&everything());
    let amounts = [0, -1, 1, 999, 1_000, 3_000, 4_500, 6_000, 200_000, i64::MAX, i64::MIN];
    let mut all = vec![Command::Tick];
    for minor in amounts {
        let amount = eur(minor);
        all.extend([
            Command::Authorize {
                processor: processor("acme"),
                capabilities,
                credential: token(),
                amount,
                partial_ok: false,
            },
            Command::StandIn {
                processor: processor("acme"),
                capabilities,
                credential: token(),
                amount: eur(1_000),
                floor: amount,
            },
            Command::IncreaseTo(amount),
            Command::DecreaseTo(amount),
            Command::Capture { owed: amount, extent: Extent::Interim },
            Command::Capture { owed: amount, extent: Extent::Final },
            Command::Refund(amount),
        ]);
    }
    let reasons = [VoidReason::NoStart, VoidReason::DriverCancelled, VoidReason::Remainder];
    all.extend(reasons.map(Command::Release));
    all.extend((0..4).map(|hold| Command::ReleaseByOperator { hold: Ordinal(hold) }));
    let kinds = [
        NotificationKind::AuthorizationExpired,
        NotificationKind::CaptureFailed,
        NotificationKind::RefundFailed,
        NotificationKind::DisputeOpened,
        NotificationKind::DisputeWon,
        NotificationKind::DisputeLost,
    ];
    for kind in kinds {
        for minor in [0, 1_000, 3_000, -7, i64::MAX] {
            for from in ["acme", "other"] {
                let hold = harness.payment.hold_id(Ordinal(1));
                let notification = Notification {
                    callback: CallbackId(5_000),
                    hold,
                    kind,
                    amount: eur(minor),
                    occurred_at: harness.now.wall,
                };
                all.push(Command::Notification { from: processor(from), notification });
            }
        }
    }
    for operation in known {
        for attempt in [0, operation.attempt, operation.attempt + 1] {
            all.push(Command::NotSent { operation: operation.id, attempt });
            all.push(Command::ConnectionLost { operation: operation.id, attempt });
        }
        let decide_by = harness.now.wall.saturating_add(TimeSpan::from_secs(60));
        let mut outcomes = vec![Outcome::Pending { decide_by }, Outcome::NotFound, Outcome::Error];
        outcomes.extend([0, 1, 1_000, 3_000, 4_500, 6_000, -1, i64::MAX, i64::MIN].map(approved));
        let classes =
            [DeclineClass::Soft, DeclineClass::Hard, DeclineClass::Fraud, DeclineClass::Technical, DeclineClass::State];
        outcomes.extend(classes.map(|class| declined(class, "x")));
        for outcome in outcomes {
            for from in ["acme", "other"] {
                let answer = Answer {
                    callback: CallbackId(6_000),
                    operation: operation.id,
                    hold: operation.hold,
                    outcome: outcome.clone(),
                };
                all.push(Command::Answer { from: processor(from), answer });
            }
        }
    }
    all
}

/// Ends the payment with a processor that answers everything from now on, after any earlier commands.
fn ends(mut harness: Harness, name: &str, told_command: &str) {
    match harness.payment.captured().minor + harness.payment.capturing().minor + harness.payment.shortfall().minor {
        0 => drop(harness.release()),
        owed => drop(harness.capture(owed)),
    }
    for _ in 0..200 {
        while let Some(operation) = harness.sent.pop_front() {
            let outcome = match operation.request.kind() {
                OperationKind::Inquire => Outcome::NotFound,
                OperationKind::Void => approved(0),
                _ => approved(super::harness::asked(&operation)),
            };
            harness.reply(&operation, outcome);
        }
        if harness.payment.is_settled() && harness.payment.next_deadline(harness.now, &harness.policy).is_none() {
            return;
        }
        harness.wait(TimeSpan::from_secs(3_600));
    }
    panic!("{name}, {told_command}: does not end: {:?}", harness.payment);
}

#[test]
fn whatever_is_said_in_whatever_situation() {
    let mut cells = 0;
    for (name, reach) in situations() {
        let (harness, known) = reach();
        for index in 0..commands(&known, &harness).len() {
            let (mut harness, known) = reach();
            let command = commands(&known, &harness).swap_remove(index);
            let told_command = format!("{command:?}");
            let before = harness.payment.clone();
            let (refused, events) = (harness.refused.len(), harness.order(command));
            // `say` compares the stored and replayed payment with the live one.
            if harness.refused.len() > refused {
                assert!(
                    events.is_empty() && harness.payment == before,
                    "{name}, {told_command}: a refusal changes nothing"
                );
            }
            let payment = &harness.payment;
            let bound = payment.holds().iter().all(|hold| hold.captured_minor <= hold.authorized_minor.max(3_000));
            assert!(bound, "{name}, {told_command}: {payment:?}");
            assert!(payment.refundable().minor >= 0 && payment.spendable().minor >= 0, "{name}, {told_command}");
            let closed = before.holds().iter().zip(payment.holds());
            for (before, after) in closed {
                let ended_once = !matches!(before.stage, Stage::Closed(_)) || before.stage == after.stage;
                assert!(ended_once, "{name}, {told_command}: {before:?} became {after:?}");
            }
            harness.restart();
            ends(harness, name, &told_command);
            cells += 1;
        }
    }
    println!("{cells} cells");
    assert!(cells > 4_000, "{cells}");
}
