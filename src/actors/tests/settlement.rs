//! A settlement batch on its way through a shard: durable before it is acknowledged, booked once.

use super::money::books;
use super::*;
use crate::actors::output::SettlementReply;
use crate::actors::settling;
use crate::billing::reconciliation::register::{Booking, Part};
use crate::billing::reconciliation::{Flow, Ours, reconcile};
use crate::ledger::Name;
use crate::wire::{SettlementKind, SettlementLine, SettlementPart, SettlementTrailer};

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
    let read = settling::read(&acme(), part).expect("the hash is right");
    let reply = SettlementReply::Callback(acme(), part.callback);
    scene.take(Input::Settlement(Box::new(read), reply));
}

/// What the reconciler does: lay every part that is not booked beside what was captured.
fn book(scene: &mut Scene, ours: &[Ours]) {
    let found: Vec<Booking> = scene
        .shard
        .partitions()
        .iter()
        .flat_map(|partition| partition.settlements.batches())
        .flat_map(|(key, received)| {
            received.unbooked().map(|part| {
                let lines = received.batch(key, Some(part));
                let report = reconcile(ours, &lines, TimeSpan::from_secs(0));
                let (processor, batch) = key.clone();
                let settled = report.matched.iter().map(|pair| pair.ours.operation).collect();
                Booking { processor, batch, part, entries: report.entries(&lines).unwrap(), settled }
            })
        })
        .collect();
    for booking in found {
        scene.take(Input::Booked(Box::new(booking.clone())));
        scene.take(Input::Booked(Box::new(booking)));
    }
}

#[test]
fn a_batch_is_durable_before_its_acknowledgement_and_booked_once() {
    let mut scene = Scene::new();
    scene.hello("AMS-0007", Vec::new());
    scene.start(1, CredentialKind::CardToken, "tok_visa");
    let authorize = scene.asked();
    scene.approve(&authorize);
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
    assert_eq!(books(&scene.crash()).books, after, "and a replay books it once");
}

#[test]
fn a_batch_whose_lines_were_changed_on_the_way_is_not_taken() {
    let mut part = batch(2, vec![line(None, SettlementKind::Payout, 100, 0)]);
    part.lines[0].gross = 101;
    assert_eq!(settling::read(&acme(), &part), None);
}

#[test]
fn a_batch_that_does_not_add_up_is_refused() {
    let mut scene = Scene::new();
    let part = batch(3, vec![line(None, SettlementKind::Payout, 100, 0)]);
    let mut read: Part = settling::read(&acme(), &part).unwrap();
    read.lines[0].net = 99;
    let reply = SettlementReply::Callback(acme(), part.callback);
    scene.take(Input::Settlement(Box::new(read), reply));
    assert_eq!(scene.callbacks, [(part.callback, Some(Code::SettlementDiffers))]);
    assert_eq!(scene.whole_batches, 0);
}
