//! Disputes, refunds and failed captures in any order: what an issuer can take back is what was captured and not given
//! back yet, and a report beyond that is refused with a code.

use super::money::books;
use super::*;
use crate::ledger::{Books, Name};
use crate::node::input::MoneyOrder;
use crate::payment::{Notification, NotificationKind};
use crate::units::HoldId;
use proptest::prelude::*;

/// A closed session of which 0.09 EUR were captured, and its hold.
fn captured() -> (Scene, HoldId) {
    let (mut scene, authorize) = Scene::charging();
    scene.reading(1, 1, 300);
    scene.stop(1, 2, 650);
    let capture = scene.asked();
    scene.approve(&capture);
    assert_eq!(scene.session().payment.captured().minor, 9);
    (scene, authorize.hold)
}

/// The code with which a report was refused, if it was.
fn report(scene: &mut Scene, hold: HoldId, kind: NotificationKind, minor: i64) -> Option<Code> {
    let callback = CallbackId(scene.next_callback);
    scene.next_callback += 1;
    let amount = Amount::new(minor, Currency::EUR);
    let notification = Notification { callback, hold, kind, amount, occurred_at: scene.now.wall };
    scene.take(Input::Notification(acme(), notification));
    let (answered, code) = *scene.callbacks.last().expect("every report is answered");
    assert_eq!(answered, callback);
    code
}

fn refund_to(scene: &mut Scene, minor: i64) {
    let (id, order) = (scene.session().id, MoneyOrder::RefundTo(Amount::new(minor, Currency::EUR)));
    scene.take(Input::OrderMoney(id.payment(), order, ReplyTo::NONE));
}

fn natural(books: &Books, name: Name) -> i128 {
    books.natural(&name, Currency::EUR)
}

/// The disputes in the books match those that are possible, and the processor owes the rest.
fn check(scene: &Scene) {
    let books = books(scene).books;
    assert_eq!(books.imbalance(), 0);
    let payment = &scene.session().payment;
    let kept = i128::from(payment.captured().minor - payment.refunded().minor);
    let open = natural(&books, Name::DisputeReceivable(acme()));
    let lost = natural(&books, Name::Chargeback);
    assert!(open >= 0 && lost >= 0, "open {open}, lost {lost}");
    assert!(open + lost == 0 || open + lost <= kept, "open {open} and lost {lost} of {kept} that were kept");
    assert_eq!(natural(&books, Name::ProcessorReceivable(acme())), kept - open - lost);
}

#[test]
fn disputes_together_are_at_most_what_was_captured() {
    let (mut scene, hold) = captured();
    assert_eq!(report(&mut scene, hold, NotificationKind::DisputeOpened, 9), None);
    for _ in 0..2 {
        let refused = report(&mut scene, hold, NotificationKind::DisputeOpened, 9);
        assert_eq!(refused, Some(Code::AmountDiffers), "the whole amount is disputed already");
    }
    assert_eq!(report(&mut scene, hold, NotificationKind::DisputeLost, 9), None);
    assert_eq!(report(&mut scene, hold, NotificationKind::DisputeLost, 9), Some(Code::OutcomeConflicts));
    assert_eq!(report(&mut scene, hold, NotificationKind::CaptureFailed, 9), Some(Code::OutcomeConflicts));
    let books = books(&scene).books;
    assert_eq!(natural(&books, Name::Chargeback), 9);
    check(&scene);
}

#[test]
fn what_was_given_back_cannot_be_disputed() {
    let (mut scene, hold) = captured();
    refund_to(&mut scene, 5);
    // A capture in progress may still be refused: the report is requested again.
    assert_eq!(report(&mut scene, hold, NotificationKind::DisputeOpened, 9), Some(Code::NotYet));
    let refund = scene.asked();
    scene.approve(&refund);
    assert_eq!(report(&mut scene, hold, NotificationKind::DisputeOpened, 9), Some(Code::AmountDiffers));
    assert_eq!(report(&mut scene, hold, NotificationKind::DisputeOpened, 4), None);
    assert_eq!(report(&mut scene, hold, NotificationKind::DisputeWon, 4), None);
    assert_eq!(report(&mut scene, hold, NotificationKind::DisputeOpened, 3), None);
    assert_eq!(scene.session().payment.refundable().minor, 1);
    check(&scene);
}

#[test]
fn two_reports_that_say_the_same_are_two_entries() {
    let (mut scene, hold) = captured();
    let before = books(&scene).books.entries();
    assert_eq!(report(&mut scene, hold, NotificationKind::DisputeOpened, 4), None);
    assert_eq!(report(&mut scene, hold, NotificationKind::DisputeOpened, 4), None);
    let ids: std::collections::BTreeSet<_> = scene
        .shard
        .partitions()
        .iter()
        .flat_map(|partition| partition.books.pages.all())
        .flat_map(|page| page.entries())
        .map(|entry| entry.id())
        .collect();
    assert_eq!(u64::try_from(ids.len()).unwrap(), before + 2, "every entry has an id of its own");
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Report(NotificationKind, i64),
    Refund(i64),
    Approve,
    Decline,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let kinds = prop::sample::select(vec![
        NotificationKind::DisputeOpened,
        NotificationKind::DisputeOpened,
        NotificationKind::DisputeWon,
        NotificationKind::DisputeLost,
        NotificationKind::CaptureFailed,
        NotificationKind::RefundFailed,
    ]);
    let minor = prop_oneof![Just(9_i64), Just(4), 0_i64..11];
    let step = prop_oneof![
        6 => (kinds, minor.clone()).prop_map(|(kind, minor)| Step::Report(kind, minor)),
        2 => (1_i64..10).prop_map(Step::Refund),
        2 => Just(Step::Approve),
        1 => Just(Step::Decline),
    ];
    proptest::collection::vec(step, 1..24)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_any_order_disputes_are_covered_by_what_was_kept(steps in steps()) {
        let (mut scene, hold) = captured();
        for step in steps {
            match step {
                Step::Report(kind, minor) => {
                    let before = books(&scene);
                    if report(&mut scene, hold, kind, minor).is_some() {
                        prop_assert_eq!(&before, &books(&scene), "what is refused is not booked");
                    }
                }
                Step::Refund(minor) => refund_to(&mut scene, minor),
                Step::Approve if !scene.operations.is_empty() => {
                    let operation = scene.operations.remove(0);
                    scene.approve(&operation);
                }
                Step::Decline if !scene.operations.is_empty() => {
                    let operation = scene.operations.remove(0);
                    scene.decline(&operation, DeclineClass::Hard);
                }
                Step::Approve | Step::Decline => {}
            }
            check(&scene);
        }
        let before = books(&scene);
        prop_assert_eq!(books(&scene.crash()), before, "replay makes the same books");
    }
}
