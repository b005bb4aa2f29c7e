//! What a session came to has a number, and document, receipt, record, capture and books say the same.

use super::money::books;
use super::*;
use crate::actors::dossier::{self, Billing, Dossier};
use crate::billing::invoice::{Issued, Series, content, verify_series};
use crate::billing::{Issuer, SigningKey, verify_receipt};
use crate::ledger::Name;
use crate::payment::{Decline, DeclineClass};
use rust_decimal::Decimal;

/// Every document of the live sessions, in the order of their numbers.
fn documents(scene: &Scene) -> Vec<Issued> {
    let sessions = scene.shard.partitions().iter().flat_map(|partition| partition.sessions.iter());
    let mut all: Vec<Issued> = sessions.flat_map(|(_, session)| session.state().documents().to_vec()).collect();
    all.sort_by(|a, b| a.number.cmp(&b.number));
    all
}

/// The series of the one partition that has any: last number and hash.
fn series(scene: &Scene) -> Vec<(String, u64)> {
    let all = scene.shard.partitions().iter().flat_map(|partition| partition.series.values());
    all.filter_map(|series| match series {
        Series::Unopened => None,
        Series::Open(open) | Series::Closed(open) => Some((open.id.to_string(), open.last)),
    })
    .collect()
}

fn session(scene: &mut Scene, key: u64, wh: i64) {
    scene.start(key, CredentialKind::CardToken, "tok_visa");
    let authorize = scene.asked();
    scene.approve(&authorize);
    scene.reading(key, 1, wh / 2);
    scene.stop(key, 2, wh);
    let capture = scene.asked();
    scene.approve(&capture);
}

#[test]
fn a_settled_session_has_the_next_number_also_after_a_crash() {
    let mut scene = Scene::new();
    scene.hello("AMS-0007", Vec::new());
    session(&mut scene, 1, 650);
    session(&mut scene, 2, 700);
    let before = documents(&scene);
    assert_eq!(before.len(), 2);
    let mut scene = scene.crash();
    assert_eq!(documents(&scene), before, "replay finds the same numbers");
    scene.hello("AMS-0007", Vec::new());
    session(&mut scene, 3, 300);
    let after = documents(&scene);
    let summary = verify_series(&after).unwrap();
    assert_eq!((summary.count, summary.totals[&Currency::EUR]), (3, 9 + 10 + 4));
    let name = summary.series.unwrap().to_string();
    assert!(name.starts_with("R-2025-0") && name.ends_with("-EUR"), "{name}");
    assert_eq!(series(&scene), [(name, 3)]);
}

#[test]
fn a_snapshot_continues_the_series() {
    let mut scene = Scene::new();
    scene.hello("AMS-0007", Vec::new());
    session(&mut scene, 1, 650);
    let partition = scene.shard.partitions().iter().find(|partition| !partition.series.is_empty()).unwrap().id;
    let state = scene.shard.snapshot(partition);
    let mut restored = Shard::new(house(), 0, scene.now);
    restored.restore(partition, &state, scene.now).unwrap();
    let known = |shard: &Shard| shard.partitions()[usize::from(partition.0)].series.clone();
    assert_eq!(known(&restored), known(&scene.shard));
}

#[test]
fn who_was_refused_and_who_paid_nothing_takes_no_number() {
    let mut scene = Scene::new();
    scene.hello("AMS-0007", Vec::new());
    scene.start(1, CredentialKind::CardToken, "tok_visa");
    let authorize = scene.asked();
    let decline = Decline { class: DeclineClass::Hard, code: "stolen".into(), retry_after: None };
    scene.answer(&authorize, Outcome::Declined(decline));
    scene.start(2, CredentialKind::CardToken, "tok_visa");
    let authorize = scene.asked();
    scene.approve(&authorize);
    scene.stop(2, 1, 0);
    let void = scene.asked();
    scene.approve(&void);
    assert_eq!(documents(&scene), []);
    session(&mut scene, 3, 650);
    assert_eq!(documents(&scene)[0].number.number, 1, "nothing was skipped");
}

#[test]
fn receipt_record_capture_and_books_say_the_same_as_the_invoice() {
    let mut scene = Scene::new();
    scene.hello("AMS-0007", Vec::new());
    session(&mut scene, 1, 654);
    let issued = documents(&scene).remove(0);
    let partition = scene.shard.partitions().iter().find(|partition| !partition.sessions.is_empty()).unwrap();
    let (_, hosted) = partition.sessions.iter().next().unwrap();
    let closed = dossier::closed(hosted.state(), hosted.tariff()).unwrap();
    let total = issued.document.total;
    assert_eq!(issued.document.content, content(&closed, total));

    let random = ring::rand::SystemRandom::new();
    let key = SigningKey::from_pkcs8(&SigningKey::generate(&random).unwrap()).unwrap();
    let billing =
        Billing { key, issuer: Issuer { name: "Stadtwerke".into(), ..Issuer::default() }, receipt_base: String::new() };
    let dossier = Dossier::new(hosted.state().clone(), hosted.tariff(), &billing);
    let receipt = verify_receipt(dossier.receipt.unwrap().as_bytes(), None).unwrap().receipt;
    assert_eq!(receipt.number, Some(issued.number.to_string()));
    assert_eq!(receipt.issuer.name, "Stadtwerke");
    assert_eq!((receipt.total, receipt.payment.captured), (total.major(), total.major()));
    assert_eq!(receipt.cdr.get("invoice_reference_id").unwrap(), &issued.number.to_string());
    assert_eq!(receipt.cdr.get("total_cost").unwrap()["incl_vat"].to_string(), receipt.gross.normalize().to_string());

    let books = books(&scene).books;
    let natural = |counts: fn(&Name) -> bool| -> i128 {
        let balances = books.balances().filter(|(name, _, _)| counts(name));
        balances.map(|(name, _, balance)| balance.natural(name.kind())).sum()
    };
    let total = i128::from(total.minor);
    assert_eq!(natural(|name| matches!(name, Name::ProcessorReceivable(_))), total);
    let taxes: i128 = issued.document.taxes.iter().map(|(_, amount)| i128::from(amount.minor)).sum();
    assert_eq!(natural(|name| matches!(name, Name::Tax(_))), taxes);
    let sold = natural(|name| matches!(name, Name::OperatorPayable(_))) + taxes;
    assert_eq!(sold - natural(|name| matches!(name, Name::Rounding)), total);
    let declared: Decimal = receipt.vat.iter().map(|rate| rate.vat_amount).sum();
    assert_eq!(declared, Amount::new(i64::try_from(taxes).unwrap(), Currency::EUR).major());
}

/// A shortfall splits the sale in two; the taxes of both are those of the whole, to the minor unit.
#[test]
fn a_sale_in_two_parts_has_the_taxes_of_the_whole() {
    let mut scene = Scene::new();
    scene.hello("VAT-0001", Vec::new());
    scene.start(1, CredentialKind::CardToken, "tok_visa");
    let authorize = scene.asked();
    scene.approve(&authorize);
    scene.reading(1, 1, 327);
    scene.stop(1, 2, 654);
    let capture = scene.asked();
    let processor_ref = ProcessorRef("auth-1".into());
    scene.answer(
        &capture,
        Outcome::Approved { amount: Amount::new(10, Currency::EUR), processor_ref, expires_at: None },
    );
    scene.pass(60);
    let issued = documents(&scene).remove(0);
    assert!(issued.document.total.minor > 10 && issued.document.taxes.len() == 1, "{issued:?}");
    let books = books(&scene).books;
    let taxes: i128 = books
        .balances()
        .filter(|(name, _, _)| matches!(name, Name::Tax(_)))
        .map(|(name, _, balance)| balance.natural(name.kind()))
        .sum();
    assert_eq!(taxes, i128::from(issued.document.taxes[0].1.minor));
}

/// What is given back is credited, piece by piece, and the pieces are the whole: total and taxes.
#[test]
fn a_refund_in_pieces_makes_credit_notes_that_take_the_invoice_back() {
    use crate::actors::delivery::Delivery;
    use crate::actors::output::Output as Out;
    use crate::actors::wheel::Wheel;
    use crate::journal::{Appender, Gate};
    use crate::payment;
    use crate::session::Event;

    let mut scene = Scene::new();
    scene.hello("VAT-0001", Vec::new());
    session(&mut scene, 1, 654);
    let invoice = documents(&scene).remove(0);
    let whole = invoice.document.total.minor;
    let now = scene.now;
    let house = scene.shard.house().clone();
    let id = invoice.document.id.session();
    let partition = scene.shard.partition_mut(id.partition());
    let cell = partition.find_session(id).unwrap();
    let mut appender = Appender::new(Sequences::new(8));
    let (mut gate, mut wheel) = (Gate::<Out>::new(), Wheel::new(now.mono));
    let policy = payment::Policy::default();

    for part in [7, whole - 7 - 1, 1] {
        let mut given_back = Vec::new();
        let mut decided = {
            let payment = &partition.sessions.get(cell).unwrap().state().payment;
            payment::decide(payment, payment::Command::Refund(Amount::new(part, Currency::EUR)), now, &policy)
        };
        for round in 0..2 {
            let mut entries = Vec::new();
            let hosted = partition.sessions.get_mut(cell).unwrap();
            for event in decided.events.drain(..) {
                let event = Event::Payment(Box::new(event));
                hosted.fold(&event, &mut |entry| entries.push(entry));
                given_back.push(event);
            }
            let sent = decided.effects.iter().find_map(|effect| match effect {
                payment::Effect::Send(operation) => Some(operation.clone()),
                _ => None,
            });
            entries.iter().for_each(|entry| partition.books.post(entry));
            let payment = &partition.sessions.get(cell).unwrap().state().payment;
            if let (0, Some(refund)) = (round, sent) {
                let (callback, amount) =
                    (CallbackId(u128::try_from(part).unwrap() + 900), Amount::new(part, Currency::EUR));
                let outcome =
                    Outcome::Approved { amount, processor_ref: ProcessorRef("auth-1".into()), expires_at: None };
                let answer = Answer { callback, operation: refund.id, hold: refund.hold, outcome };
                decided = payment::decide(payment, payment::Command::Answer { from: acme(), answer }, now, &policy);
            }
        }
        let permit = appender.reserve().unwrap();
        let mut delivery = Delivery { permit, gate: &mut gate, wheel: &mut wheel, house: &house, local: 0, now };
        delivery.bill(partition, cell, &given_back);
    }

    let documents = documents(&scene);
    let credits: Vec<&Issued> = documents.iter().filter(|issued| issued.document.total.minor < 0).collect();
    assert_eq!(credits.iter().map(|note| note.document.total.minor).collect::<Vec<_>>(), [-7, 8 - whole, -1]);
    assert!(credits.iter().all(|note| note.document.corrects.as_ref() == Some(&invoice.number)));
    assert!(credits[0].number.to_string().starts_with("C-2025-"), "{}", credits[0].number);
    assert_eq!(verify_series(credits.iter().copied()).unwrap().count, 3);
    let taxes = |documents: &[&Issued]| -> i64 {
        documents.iter().flat_map(|issued| &issued.document.taxes).map(|(_, amount)| amount.minor).sum()
    };
    assert_eq!(taxes(&credits), -taxes(&[&invoice]));
    let books = books(&scene).books;
    let left: i128 = books
        .balances()
        .filter(|(name, _, _)| matches!(name, Name::Tax(_) | Name::OperatorPayable(_) | Name::Rounding))
        .map(|(_, _, balance)| balance.net_debit().abs())
        .sum();
    assert_eq!((left, books.imbalance()), (0, 0), "nothing of the sale is left, in any account");
}
