//! A settlement batch on its way through a shard: durable before it is acknowledged, booked once.

use super::money::books;
use super::*;
use crate::accounting::settlement;
use crate::billing::reconciliation::register::Part;
use crate::billing::reconciliation::{Facts, Flow, Ours};
use crate::ledger::Name;
use crate::message::{SettlementKind, SettlementLine, SettlementPart, SettlementTrailer};
use crate::node::input::SettlementReply;

fn line(operation: Option<crate::units::OpId>, kind: SettlementKind, gross: i64, fee: i64) -> SettlementLine {
    SettlementLine { operation, kind, gross, fee: -fee, net: gross - fee }
}

fn batch(number: u128, lines: Vec<SettlementLine>) -> SettlementPart {
    SettlementPart {
        callback: CallbackId(7_000 + number),
        batch: number,
        part: 1,
        value_day: 20_400,
        currency: Currency::EUR,
        trailer: SettlementTrailer::of(&lines),
        lines,
    }
}

fn hand_over(scene: &mut Scene, part: &SettlementPart) {
    let read = settlement::read(&acme(), part).expect("the hash is right");
    let reply = SettlementReply::Callback(acme(), part.callback);
    scene.take(Input::Settlement(Box::new(read), reply));
}

/// What the reconciler does: lay every part that is not booked beside what was captured, and take back the ordered amount.
fn book(scene: &mut Scene, ours: &[Ours]) {
    let (mut bookings, mut reversals) = (Vec::new(), Vec::new());
    let facts = Facts { ours: ours.to_vec(), ..Facts::default() };
    for (key, received) in scene.shard.partitions().iter().flat_map(|partition| partition.settlements.batches()) {
        facts.book(key, received, &mut |booking| bookings.push(booking));
        reversals.extend(received.unreverted().map(|part| (key.clone(), part)));
    }
    for booking in bookings {
        scene.take(Input::Booked(Box::new(booking.clone())));
        scene.take(Input::Booked(Box::new(booking)));
    }
    for (key, part) in reversals {
        scene.take(Input::UnbookPart(key.clone(), part));
        scene.take(Input::UnbookPart(key, part));
    }
}

#[test]
fn a_batch_is_durable_before_its_acknowledgement_and_booked_once() {
    let (mut scene, authorize) = Scene::charging();
    scene.reading(1, 1, 300);
    scene.stop(1, 2, 650);
    let capture = scene.asked();
    scene.approve(&capture);
    scene.callbacks.clear();

    let lines = vec![
        line(Some(capture.id), SettlementKind::Capture, 9, 1),
        line(None, SettlementKind::Fee, 0, 5),
        line(Some(authorize.id), SettlementKind::Capture, 40, 2),
    ];
    let part = batch(1, lines);
    hand_over(&mut scene, &part);
    assert_eq!(scene.callbacks, [(part.callback, None)]);
    assert_eq!(scene.whole_batches, 1);

    // It is there again after a crash, and the same part is the same part.
    let mut scene = scene.crash();
    hand_over(&mut scene, &part);
    assert_eq!(scene.callbacks, [(part.callback, None)]);
    let mut other = part.clone();
    other.lines[0].gross = 8;
    other.lines[0].net = 7;
    other.trailer = SettlementTrailer::of(&other.lines);
    hand_over(&mut scene, &other);
    assert_eq!(scene.callbacks.last(), Some(&(part.callback, Some(Code::CallbackDiffers))));

    let ours = [Ours {
        operation: capture.id,
        kind: Flow::Capture,
        reference: "auth-1".into(),
        amount: Amount::new(9, Currency::EUR),
        at: scene.now.wall,
    }];
    book(&mut scene, &ours);
    let after = books(&scene).books;
    let natural = |name: Name| after.natural(&name, Currency::EUR);
    assert_eq!(natural(Name::ProcessorReceivable(acme())), 0, "what was captured is settled");
    assert_eq!(natural(Name::ProcessorFee(acme())), 1 + 5);
    assert_eq!(natural(Name::Suspense(acme())), 38, "what fits nothing waits");
    assert_eq!(natural(Name::Bank), 8 - 5 + 38);
    assert_eq!(after.imbalance(), 0);
    let mut scene = scene.crash();
    assert_eq!(books(&scene).books, after, "and a replay books it once");

    // Taken back, repeated, over a crash: the books are as they were before the batch.
    let key = (acme(), format!("{:032x}", part.batch).into());
    let revert = |scene: &mut Scene| {
        scene.take(Input::RevertBatch(key.clone(), "wrong".into(), SettlementReply::Order(OPERATOR)));
        assert_eq!(scene.settled.pop(), Some(None));
    };
    revert(&mut scene);
    revert(&mut scene);
    let mut scene = scene.crash();
    book(&mut scene, &ours);
    revert(&mut scene);
    book(&mut scene, &ours);
    let before = books(&scene.crash()).books;
    let natural = |name: Name| before.natural(&name, Currency::EUR);
    assert_eq!(natural(Name::ProcessorReceivable(acme())), 9, "owed again");
    assert_eq!([Name::ProcessorFee(acme()), Name::Suspense(acme()), Name::Bank].map(natural), [0, 0, 0]);
    assert_eq!(before.imbalance(), 0);
}

/// A batch that is never finished makes room after a week, also after a restart.
#[test]
fn an_overdue_batch_is_forgotten_by_the_clock() {
    let mut scene = Scene::new();
    let lines = vec![line(None, SettlementKind::Payout, 100, 0)];
    let mut part = batch(4, lines);
    part.trailer = None;
    hand_over(&mut scene, &part);
    let count = |scene: &Scene| scene.shard.partitions().iter().flat_map(|one| one.settlements.batches()).count();
    assert_eq!((count(&scene), scene.callbacks.last().unwrap().1), (1, None));
    let mut scene = scene.crash();
    scene.pass(6 * 24 * 3_600);
    assert_eq!(count(&scene), 1);
    scene.pass(25 * 3_600);
    assert_eq!(count(&scene), 0);
    assert_eq!(count(&scene.crash()), 0);
}

#[test]
fn a_batch_whose_lines_were_changed_on_the_way_is_not_taken() {
    let mut part = batch(2, vec![line(None, SettlementKind::Payout, 100, 0)]);
    part.lines[0].gross = 101;
    assert_eq!(settlement::read(&acme(), &part), None);
}

#[test]
fn a_batch_that_does_not_add_up_is_refused() {
    let mut scene = Scene::new();
    let part = batch(3, vec![line(None, SettlementKind::Payout, 100, 0)]);
    let mut read: Part = settlement::read(&acme(), &part).unwrap();
    read.lines[0].net = 99;
    let reply = SettlementReply::Callback(acme(), part.callback);
    scene.take(Input::Settlement(Box::new(read), reply));
    assert_eq!(scene.callbacks, [(part.callback, Some(Code::SettlementDiffers))]);
    assert_eq!(scene.whole_batches, 0);
}
