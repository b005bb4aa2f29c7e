//! A card pays onto an account: credited when it was captured, and never otherwise.

use super::money::books;
use super::*;
use crate::ledger::Name;
use crate::node::topping_up::TopUpOrder;
use crate::payment::{Decline, DeclineClass};

fn account() -> AccountId {
    AccountId::new("driver-1").unwrap()
}

fn open(scene: &mut Scene) {
    let (currency, credit_limit) = (Currency::EUR, Amount::zero(Currency::EUR));
    scene.order("driver-1", |op| account::Command::Open { op, account: account(), currency, credit_limit });
    scene.ordered.clear();
}

fn top_up(scene: &mut Scene, number: u64, minor: i64) {
    let id = SessionId::new(scene.now.wall, PartitionId::of("driver-1", 8), number);
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
