//! A card pays onto an account: credited when it was captured, and never otherwise.

use super::money::books;
use super::*;
use crate::ledger::{Debtor, Name};
use crate::node::input::MoneyOrder;
use crate::node::topping_up::TopUpOrder;
use crate::payment::{Decline, DeclineClass, Notification, NotificationKind};
use crate::units::{HoldId, OpId};

fn account() -> AccountId {
    AccountId::new("driver-1").unwrap()
}

fn open(scene: &mut Scene) {
    let (currency, credit_limit) = (Currency::EUR, Amount::zero(Currency::EUR));
    scene.order("driver-1", |op| account::Command::Open { op, account: account(), currency, credit_limit });
    scene.ordered.clear();
}

fn top_up(scene: &mut Scene, number: u64, minor: i64) {
    let id = PaymentId::new(scene.now.wall, PartitionId::of("driver-1", 8), number);
    let credential = Credential { kind: CredentialKind::CardToken, token: b"tok_visa".as_slice().into() };
    let order = TopUpOrder { id, account: account(), amount: Amount::new(minor, Currency::EUR), credential };
    scene.take(Input::TopUp(Box::new(order), OPERATOR));
}

fn paid(scene: &Scene) -> i128 {
    books(scene).books.natural(&Name::Prepaid(account()), Currency::EUR)
}

#[test]
fn an_account_is_credited_when_the_money_was_captured() {
    let mut scene = Scene::new();
    open(&mut scene);
    top_up(&mut scene, 1, 2_500);
    let authorize = scene.asked();
    scene.approve(&authorize);
    assert_eq!((paid(&scene), scene.ordered.len()), (0, 0), "approved is not paid");
    let capture = scene.asked();
    assert!(matches!(capture.request, Request::Capture { amount, .. } if amount.minor == 2_500));
    scene.approve(&capture);
    assert_eq!(paid(&scene), 2_500);
    assert!(matches!(scene.ordered.as_slice(), [Ordered::Done(balance)] if balance.available() == 2_500));
    let receivable = Name::ProcessorReceivable(acme());
    assert_eq!(books(&scene).books.natural(&receivable, Currency::EUR), 2_500);

    // The processor repeats the message, and the operator the order; after a crash, too.
    scene.approve(&capture);
    top_up(&mut scene, 1, 2_500);
    assert_eq!((paid(&scene), scene.operations.len()), (2_500, 0));
    let mut scene = scene.crash();
    assert_eq!(paid(&scene), 2_500);
    scene.callbacks.clear();
    scene.approve(&capture);
    assert_eq!((paid(&scene), scene.callbacks.len()), (2_500, 1), "acknowledged, and nothing else");
}

#[test]
fn a_crash_between_order_and_capture_asks_again_and_credits_once() {
    let mut scene = Scene::new();
    open(&mut scene);
    top_up(&mut scene, 1, 2_500);
    let authorize = scene.asked();
    let mut scene = scene.crash();
    let again = scene.asked();
    assert_eq!((again.id, again.possible_duplicate), (authorize.id, true));
    scene.approve(&again);
    let capture = scene.asked();
    let mut scene = scene.crash();
    assert_eq!(paid(&scene), 0);
    let again = scene.asked();
    assert_eq!(again.id, capture.id);
    scene.approve(&again);
    assert_eq!(paid(&scene), 2_500);
}

#[test]
fn what_a_card_does_not_pay_is_not_credited() {
    let mut scene = Scene::new();
    open(&mut scene);
    top_up(&mut scene, 1, 2_500);
    let authorize = scene.asked();
    let decline = Decline { class: DeclineClass::Hard, code: "05".into(), retry_after: None };
    scene.answer(&authorize, Outcome::Declined(decline));
    assert!(matches!(scene.ordered.as_slice(), [Ordered::Declined(_)]));
    top_up(&mut scene, 2, 0);
    assert!(matches!(scene.ordered.as_slice(), [_, Ordered::Refused(account::Rejection::AmountNotPositive)]));
    assert_eq!((paid(&scene), books(&scene).books.imbalance()), (0, 0));
}

/// What stands in the memorandum ledger, and what was released by now.
fn held(scene: &Scene) -> (i128, i128) {
    let books = books(scene);
    let released = books.turnover.get(&Currency::EUR).map_or(0, |turnover| turnover.released);
    (books.books.natural(&Name::Held(acme()), Currency::EUR), released)
}

#[test]
fn what_a_top_up_reserves_stands_in_the_memorandum_ledger_as_long_as_its_hold() {
    let mut scene = Scene::new();
    open(&mut scene);
    top_up(&mut scene, 1, 2_500);
    assert_eq!(held(&scene), (0, 0), "asked for is not reserved");
    let authorize = scene.asked();
    scene.approve(&authorize);
    assert_eq!(held(&scene), (2_500, 0));
    let mut scene = scene.crash();
    assert_eq!(held(&scene), (2_500, 0), "and a replay says the same");
    let capture = scene.asked();
    scene.approve(&capture);
    assert_eq!(held(&scene), (0, 0), "taken is not released");
    // A capture that is refused for good ends the hold too.
    top_up(&mut scene, 2, 700);
    let authorize = scene.asked();
    scene.approve(&authorize);
    let capture = scene.asked();
    let decline = Decline { class: DeclineClass::Hard, code: "54".into(), retry_after: None };
    scene.answer(&capture, Outcome::Declined(decline));
    assert_eq!(held(&scene), (0, 700));
}

/// A credited top-up of 25.00, and its hold.
fn credited() -> (Scene, HoldId) {
    let mut scene = Scene::new();
    open(&mut scene);
    let hold = more(&mut scene, 1);
    (scene, hold)
}

/// Another 25.00 are credited.
fn more(scene: &mut Scene, number: u64) -> HoldId {
    top_up(scene, number, 2_500);
    let authorize = scene.asked();
    scene.approve(&authorize);
    let capture = scene.asked();
    scene.approve(&capture);
    authorize.hold
}

/// The code with which a report was refused, if it was.
fn report(scene: &mut Scene, hold: HoldId, kind: NotificationKind) -> Option<Code> {
    report_again(scene, hold, kind, CallbackId(0xabc0_0000 + scene.next_callback))
}

fn report_again(scene: &mut Scene, hold: HoldId, kind: NotificationKind, callback: CallbackId) -> Option<Code> {
    scene.next_callback += 1;
    let amount = Amount::new(2_500, Currency::EUR);
    let notification = Notification { callback, hold, kind, amount, occurred_at: scene.now.wall };
    scene.take(Input::Notification(acme(), notification));
    scene.callbacks.last().expect("every report is answered").1
}

fn natural(scene: &Scene, name: Name) -> i128 {
    books(scene).books.natural(&name, Currency::EUR)
}

/// What the account itself says that it has.
fn posted(scene: &Scene) -> i64 {
    let partition = scene.shard.partitions().iter().find(|found| found.id == PartitionId::of("driver-1", 8)).unwrap();
    let hosted = partition.accounts.get(partition.find_account(&account()).unwrap()).unwrap();
    hosted.state().opened().unwrap().posted().paid
}

/// The books agree with the account; the processor owes `owed`, and nothing is left between a payment and its account.
fn stands(scene: &Scene, paid: i64, owed: i128) {
    assert_eq!(posted(scene), paid);
    assert_eq!(natural(scene, Name::Prepaid(account())), i128::from(paid));
    assert_eq!(natural(scene, Name::ProcessorReceivable(acme())), owed);
    assert_eq!(natural(scene, Name::Shortfall(Debtor::Account(account()))), 0);
    assert_eq!(books(scene).books.imbalance(), 0);
}

fn order_account(scene: &mut Scene, command: impl FnOnce(OpId) -> account::Command) -> Ordered {
    scene.ordered.clear();
    scene.order("driver-1", command);
    scene.ordered.pop().expect("an order is answered")
}

#[test]
fn a_capture_that_fails_after_all_is_taken_back_from_the_account() {
    let (mut scene, hold) = credited();
    more(&mut scene, 2);
    stands(&scene, 5_000, 5_000);
    let callback = CallbackId(77);
    assert_eq!(report_again(&mut scene, hold, NotificationKind::CaptureFailed, callback), None);
    stands(&scene, 2_500, 2_500);
    // The processor repeats its report; the same after a crash, and with a snapshot behind the log.
    assert_eq!(report_again(&mut scene, hold, NotificationKind::CaptureFailed, callback), None);
    stands(&scene, 2_500, 2_500);
    let mut scene = scene.crash();
    assert_eq!(report_again(&mut scene, hold, NotificationKind::CaptureFailed, callback), None);
    assert_eq!(report(&mut scene, hold, NotificationKind::CaptureFailed), Some(Code::OutcomeConflicts));
    scene.pass(3_600);
    stands(&scene, 2_500, 2_500);
}

#[test]
fn a_lost_dispute_debits_the_account_and_a_won_one_does_not() {
    let (mut scene, hold) = credited();
    assert_eq!(report(&mut scene, hold, NotificationKind::DisputeOpened), None);
    stands(&scene, 2_500, 0);
    assert_eq!(natural(&scene, Name::DisputeReceivable(acme())), 2_500);
    let closing = order_account(&mut scene, |op| account::Command::Close { op });
    assert!(matches!(closing, Ordered::Refused(account::Rejection::TopUpOpen)), "the money is disputed");
    assert_eq!(report(&mut scene, hold, NotificationKind::DisputeWon), None);
    stands(&scene, 2_500, 2_500);
    assert_eq!(report(&mut scene, hold, NotificationKind::DisputeOpened), None);
    assert_eq!(report(&mut scene, hold, NotificationKind::DisputeLost), None);
    let mut scene = scene.crash();
    scene.pass(60);
    stands(&scene, 0, 0);
    let (open, lost) = (natural(&scene, Name::DisputeReceivable(acme())), natural(&scene, Name::Chargeback));
    assert_eq!((open, lost), (0, 0), "the account has borne it");
}

#[test]
fn an_account_that_owes_takes_no_hold_until_it_is_paid_and_is_not_paid_out() {
    let (mut scene, hold) = credited();
    let (amount, decide_by) = (Amount::new(2_000, Currency::EUR), scene.now.wall);
    let session = SessionId::new(scene.now.wall, PartitionId::of("driver-1", 8), 900);
    let taken = session.payment().operation(1);
    let reserve =
        account::Command::Hold { op: taken, amount, partial_ok: false, credential: None, decide_by, is_alone: false };
    scene.order("driver-1", |_| reserve);
    let (op, hold_of_session) = (session.payment().operation(2), HoldId(taken));
    scene.order("driver-1", |_| account::Command::Capture { op, hold: hold_of_session, amount, last: true });
    assert_eq!(posted(&scene), 500);
    scene.order("driver-1", |op| account::Command::GrantPromotion { op, amount, expires_at: None });
    assert_eq!(report(&mut scene, hold, NotificationKind::CaptureFailed), None);
    assert_eq!(posted(&scene), -2_000);
    assert_eq!(natural(&scene, Name::Prepaid(account())), -2_000);
    let closing = order_account(&mut scene, |op| account::Command::Close { op });
    assert!(matches!(closing, Ordered::Refused(account::Rejection::OwesMoney)));
    let open_holds = |scene: &Scene| {
        let shard = scene.shard.partitions().iter().find(|found| found.id == PartitionId::of("driver-1", 8)).unwrap();
        let hosted = shard.accounts.get(shard.find_account(&account()).unwrap()).unwrap();
        hosted.state().opened().unwrap().open_holds
    };
    let amount = Amount::new(100, Currency::EUR);
    let small =
        |op| account::Command::Hold { op, amount, partial_ok: true, credential: None, decide_by, is_alone: false };
    scene.order("driver-1", small);
    assert_eq!(open_holds(&scene), 0, "promotional money pays nothing while the account owes");
    let paying = Amount::new(2_000, Currency::EUR);
    order_account(&mut scene, |op| account::Command::TopUp { op, amount: paying, source: account::TopUpSource::Bank });
    scene.order("driver-1", small);
    assert_eq!(open_holds(&scene), 1);
}

#[test]
fn a_closed_account_owes_what_fails_later_and_takes_that_and_no_more() {
    let (mut scene, hold) = credited();
    let closing = order_account(&mut scene, |op| account::Command::Close { op });
    assert!(matches!(closing, Ordered::Done(_)));
    assert_eq!(report(&mut scene, hold, NotificationKind::CaptureFailed), None);
    stands(&scene, -2_500, 0);
    let mut scene = scene.crash();
    stands(&scene, -2_500, 0);
    let pay = |minor| {
        move |op| account::Command::TopUp {
            op,
            amount: Amount::new(minor, Currency::EUR),
            source: account::TopUpSource::Bank,
        }
    };
    let more = order_account(&mut scene, pay(2_501));
    assert!(matches!(more, Ordered::Refused(account::Rejection::AccountClosed)));
    assert!(matches!(order_account(&mut scene, pay(2_500)), Ordered::Done(_)));
    stands(&scene, 0, 0);
    assert!(matches!(order_account(&mut scene, pay(1)), Ordered::Refused(account::Rejection::AccountClosed)));
}

#[test]
fn what_a_closed_account_does_not_take_is_booked_and_given_back() {
    let mut scene = Scene::new();
    open(&mut scene);
    top_up(&mut scene, 1, 2_500);
    let authorize = scene.asked();
    scene.approve(&authorize);
    let capture = scene.asked();
    let closing = order_account(&mut scene, |op| account::Command::Close { op });
    assert!(matches!(closing, Ordered::Refused(account::Rejection::TopUpOpen)), "its money is still to come");
    // An account that is full takes it no more than a closed one.
    let amount = Amount::new(crate::limits::ACCOUNT_AMOUNT_MAX, Currency::EUR);
    order_account(&mut scene, |op| account::Command::TopUp { op, amount, source: account::TopUpSource::Bank });
    scene.approve(&capture);
    let full = crate::limits::ACCOUNT_AMOUNT_MAX;
    stands(&scene, full, 2_500);
    assert_eq!(natural(&scene, Name::RefundInFlight(acme())), 2_500);
    let refund = scene.asked();
    assert!(matches!(refund.request, Request::Refund { amount, .. } if amount.minor == 2_500));
    let mut scene = scene.crash();
    let refund = scene.asked();
    scene.approve(&refund);
    stands(&scene, full, 0);
    assert_eq!(natural(&scene, Name::RefundInFlight(acme())), 0);
    // The refund fails: it is owed to the holder of the card, and the account does not get it meanwhile.
    assert_eq!(report(&mut scene, authorize.hold, NotificationKind::RefundFailed), None);
    stands(&scene, full, 2_500);
    assert_eq!(natural(&scene, Name::RefundInFlight(acme())), 2_500);
}

#[test]
fn a_refund_of_a_top_up_leaves_its_account_and_returns_when_it_fails() {
    let (mut scene, hold) = credited();
    let refund_to = |scene: &mut Scene, minor| {
        scene.ordered.clear();
        let order = MoneyOrder::RefundTo(Amount::new(minor, Currency::EUR));
        scene.take(Input::OrderMoney(hold.payment(), order, OPERATOR));
        scene.ordered.pop().expect("an order is answered")
    };
    assert!(matches!(refund_to(&mut scene, 2_600), Ordered::Declined(_)), "more than the account has");
    assert!(matches!(refund_to(&mut scene, 2_500), Ordered::Asked(_)));
    let refund = scene.asked();
    scene.approve(&refund);
    stands(&scene, 0, 0);
    let mut scene = scene.crash();
    assert!(matches!(refund_to(&mut scene, 2_500), Ordered::Asked(_)), "once");
    assert_eq!(scene.operations.len(), 0);
    assert_eq!(report(&mut scene, hold, NotificationKind::RefundFailed), None);
    stands(&scene, 2_500, 2_500);
    let turnover = books(&scene).turnover.get(&Currency::EUR).copied().unwrap_or_default();
    assert_eq!((turnover.captured, turnover.refunded), (0, 0), "an account's money is no turnover of sessions");
}

#[test]
fn the_same_top_up_with_another_body_is_refused() {
    let (mut scene, _) = credited();
    scene.ordered.clear();
    top_up(&mut scene, 1, 2_600);
    assert!(matches!(scene.ordered.as_slice(), [Ordered::Refused(account::Rejection::ExistsWithDifferentAmount)]));
    stands(&scene, 2_500, 2_500);
}

/// A snapshot has what the account lost, and one of an older version does not name it at all.
#[test]
fn a_snapshot_keeps_what_a_top_up_has_lost() {
    let (mut scene, hold) = credited();
    let partition = PartitionId::of("driver-1", 8);
    let before = scene.shard.snapshot(partition);
    assert_eq!(report(&mut scene, hold, NotificationKind::DisputeOpened), None);
    assert_eq!(report(&mut scene, hold, NotificationKind::DisputeLost), None);
    let after = scene.shard.snapshot(partition);
    for (state, paid) in [(before, 2_500), (after, 0)] {
        let mut restored = Shard::new(node_config(), 0, scene.now);
        restored.restore(partition, &state, scene.now).unwrap();
        scene.shard = restored;
        scene.shard.resume(scene.now);
        scene.settle();
        assert_eq!(posted(&scene), paid);
        assert_eq!(natural(&scene, Name::Prepaid(account())), i128::from(paid));
    }
}
