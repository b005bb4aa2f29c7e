//! The whole table: every situation a payment can be in, against every possible command.
//!
//! Nothing panics, a refusal changes nothing, what is stored and replayed is the same, the money bounds hold, and from
//! every cell of the table the payment still comes to its end.

use super::desk::{Desk, approved, declined, eur, everything, processor, token};
use wattstile::payment::{
    Answer, CallbackId, Command, DeclineClass, Extent, HoldCapabilities, Notification, NotificationKind, Operation,
    OperationKind, Ordinal, Outcome, Stage, VoidReason,
};
use wattstile::units::TimeSpan;

/// A situation: how to get there, and the operations that were sent on the way.
type Situation = (&'static str, fn() -> (Desk, Vec<Operation>));

fn taken(mut desk: Desk) -> (Desk, Vec<Operation>) {
    let sent: Vec<Operation> = desk.sent.drain(..).collect();
    (desk, sent)
}

fn situations() -> Vec<Situation> {
    fn answered(mut desk: Desk, outcome: fn(&Operation) -> Outcome) -> (Desk, Vec<Operation>) {
        let last = desk.sent.pop_back().expect("something was sent");
        let outcome = outcome(&last);
        desk.reply(&last, outcome);
        let (desk, mut sent) = taken(desk);
        sent.push(last);
        (desk, sent)
    }
    fn stand_in() -> Desk {
        let mut desk = Desk::new();
        desk.say(Command::StandIn {
            processor: processor("acme"),
            capabilities: HoldCapabilities::of(&everything()),
            credential: token(),
            amount: eur(4_500),
            floor: eur(1_000),
        });
        desk
    }
    fn after(mut desk: Desk, then: impl FnOnce(&mut Desk)) -> Desk {
        then(&mut desk);
        desk
    }
    vec![
        ("nothing yet", || taken(Desk::new())),
        ("authorizing", || taken(after(Desk::new(), |desk| drop(desk.authorize(4_500))))),
        ("authorization unknown", || {
            taken(after(Desk::new(), |desk| {
                desk.authorize(4_500);
                desk.wait_s(8);
            }))
        }),
        ("authorization accepted", || {
            let desk = after(Desk::new(), |desk| drop(desk.authorize(4_500)));
            answered(desk, |_| Outcome::Pending { decide_by: super::desk::START })
        }),
        ("reversing", || {
            taken(after(Desk::new(), |desk| {
                desk.authorize(4_500);
                desk.wait_s(12);
            }))
        }),
        ("reversal found nothing", || {
            let desk = after(Desk::new(), |desk| {
                desk.authorize(4_500);
                desk.wait_s(12);
            });
            answered(desk, |_| Outcome::NotFound)
        }),
        ("declined", || {
            let desk = after(Desk::new(), |desk| drop(desk.authorize(4_500)));
            answered(desk, |_| declined(DeclineClass::Hard, "43"))
        }),
        ("stand-in", || taken(stand_in())),
        ("stand-in lost", || answered(stand_in(), |_| declined(DeclineClass::Hard, "43"))),
        ("open", || taken(Desk::open(4_500))),
        ("open in part", || {
            let desk = after(Desk::new(), |desk| drop(desk.authorize(4_500)));
            answered(desk, |_| approved(3_000))
        }),
        ("incrementing", || taken(after(Desk::open(4_500), |desk| drop(desk.say(Command::IncreaseTo(eur(6_000))))))),
        ("increment unknown", || {
            taken(after(Desk::open(4_500), |desk| {
                desk.say(Command::IncreaseTo(eur(6_000)));
                desk.wait_s(20);
            }))
        }),
        ("decrementing", || taken(after(Desk::open(4_500), |desk| drop(desk.say(Command::DecreaseTo(eur(3_000))))))),
        ("capturing", || taken(after(Desk::open(4_500), |desk| drop(desk.capture(3_000))))),
        ("capture unknown", || {
            taken(after(Desk::open(4_500), |desk| {
                desk.capture(3_000);
                desk.wait_s(25);
            }))
        }),
        ("capture queued", || {
            let mut desk = after(Desk::open(4_500), |desk| drop(desk.capture(3_000)));
            let capture = desk.next();
            desk.not_sent(&capture);
            (desk, vec![capture])
        }),
        ("capture refused for now", || {
            let desk = after(Desk::open(4_500), |desk| drop(desk.capture(3_000)));
            answered(desk, |_| declined(DeclineClass::Technical, "91"))
        }),
        ("capture failed", || {
            let desk = after(Desk::open(4_500), |desk| drop(desk.capture(3_000)));
            answered(desk, |_| declined(DeclineClass::Hard, "14"))
        }),
        ("captured", || {
            let desk = after(Desk::open(4_500), |desk| drop(desk.capture(3_000)));
            answered(desk, |_| approved(3_000))
        }),
        ("refunding", || {
            let desk = after(Desk::open(4_500), |desk| drop(desk.capture(3_000)));
            let (mut desk, mut sent) = answered(desk, |_| approved(3_000));
            desk.refund(1_000);
            sent.extend(desk.sent.drain(..));
            (desk, sent)
        }),
        ("voiding", || taken(after(Desk::open(4_500), |desk| drop(desk.release())))),
        ("void refused", || {
            let desk = after(Desk::open(4_500), |desk| drop(desk.release()));
            answered(desk, |_| declined(DeclineClass::Technical, "96"))
        }),
        ("voided", || {
            let desk = after(Desk::open(4_500), |desk| drop(desk.release()));
            answered(desk, |_| approved(4_500))
        }),
        ("expired", || taken(after(Desk::open(4_500), |desk| drop(desk.wait_s(8 * 24 * 3_600))))),
        ("approved late", || {
            let mut desk = after(Desk::new(), |desk| drop(desk.authorize(4_500)));
            let authorize = desk.next();
            desk.decline(&authorize, DeclineClass::Soft, "51");
            desk.approve(&authorize, 4_500);
            let (desk, mut sent) = taken(desk);
            sent.push(authorize);
            (desk, sent)
        }),
        ("two holds", || {
            let mut desk = Desk::open(4_500);
            desk.authorize_at("other", 2_000);
            let second = desk.next();
            desk.approve(&second, 2_000);
            (desk, vec![second])
        }),
        ("interim capture of a hold that stays open", || {
            let mut desk = Desk::with(|can| can.multiple_captures = true).opened(4_500);
            desk.say(Command::Capture { owed: eur(1_000), extent: Extent::Interim });
            let capture = desk.next();
            desk.approve(&capture, 1_000);
            (desk, vec![capture])
        }),
    ]
}

/// All possible commands, given the operations that are known.
fn commands(known: &[Operation], desk: &Desk) -> Vec<Command> {
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
                let hold = desk.payment.hold_id(Ordinal(1));
                let notification = Notification {
                    callback: CallbackId(5_000),
                    hold,
                    kind,
                    amount: eur(minor),
                    occurred_at: desk.now.wall,
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
        let decide_by = desk.now.wall.saturating_add(TimeSpan::from_secs(60));
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
fn ends(mut desk: Desk, name: &str, told: &str) {
    match desk.payment.captured().minor + desk.payment.capturing().minor + desk.payment.shortfall().minor {
        0 => drop(desk.release()),
        owed => drop(desk.capture(owed)),
    }
    for _ in 0..200 {
        while let Some(operation) = desk.sent.pop_front() {
            let outcome = match operation.request.kind() {
                OperationKind::Inquire => Outcome::NotFound,
                OperationKind::Void => approved(0),
                _ => approved(super::desk::asked(&operation)),
            };
            desk.reply(&operation, outcome);
        }
        if desk.payment.is_settled() && desk.payment.next_deadline(desk.now, &desk.policy).is_none() {
            return;
        }
        desk.wait(TimeSpan::from_secs(3_600));
    }
    panic!("{name}, {told}: does not end: {:?}", desk.payment);
}

#[test]
fn whatever_is_said_in_whatever_situation() {
    let mut cells = 0;
    for (name, reach) in situations() {
        let (desk, known) = reach();
        for index in 0..commands(&known, &desk).len() {
            let (mut desk, known) = reach();
            let command = commands(&known, &desk).swap_remove(index);
            let told = format!("{command:?}");
            let before = desk.payment.clone();
            let (refused, events) = (desk.refused.len(), desk.say(command));
            // `say` compares the stored and replayed payment with the live one.
            if desk.refused.len() > refused {
                assert!(events.is_empty() && desk.payment == before, "{name}, {told}: a refusal changes nothing");
            }
            let payment = &desk.payment;
            let bound = payment.holds().iter().all(|hold| hold.captured_minor <= hold.authorized_minor.max(3_000));
            assert!(bound, "{name}, {told}: {payment:?}");
            assert!(payment.refundable().minor >= 0 && payment.spendable().minor >= 0, "{name}, {told}");
            let closed = before.holds().iter().zip(payment.holds());
            for (before, after) in closed {
                let ended_once = !matches!(before.stage, Stage::Closed(_)) || before.stage == after.stage;
                assert!(ended_once, "{name}, {told}: {before:?} became {after:?}");
            }
            desk.restart();
            ends(desk, name, &told);
            cells += 1;
        }
    }
    println!("{cells} cells");
    assert!(cells > 4_000, "{cells}");
}
