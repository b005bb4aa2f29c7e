//! A session's total has a number, and document, receipt, record, capture and books agree.

use super::money::books;
use super::*;
use crate::accounting::archive_record::{self, ArchiveRecord, Billing};
use crate::billing::invoice::{Issued, Series, content, verify_series};
use crate::billing::{Issuer, SigningKey, verify_receipt};
use crate::ledger::Name;
use crate::node::input::MoneyOrder;
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
    assert_eq!(name, "R-2025-EUR");
    assert_eq!(series(&scene), [(name, 3)]);
}

#[test]
fn a_snapshot_continues_the_series() {
    let mut scene = Scene::new();
    scene.hello("AMS-0007", Vec::new());
    session(&mut scene, 1, 650);
    let partition = scene.shard.partitions().iter().find(|partition| !partition.series.is_empty()).unwrap().id;
    let state = scene.shard.snapshot(partition);
    let mut restored = Shard::new(node_config(), 0, scene.now);
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
    let closed = archive_record::closed(hosted.state(), hosted.tariff()).unwrap();
    let total = issued.document.total;
    assert_eq!(issued.document.content, content(&closed, total));

    let archive_record = ArchiveRecord::new(hosted.state().clone(), hosted.tariff(), &billing());
    let receipt = verify_receipt(archive_record.receipt.unwrap().as_bytes(), None).unwrap().receipt;
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

/// The refunded amount is credited, piece by piece, and the pieces are the whole: total and taxes.
#[test]
fn a_refund_in_pieces_makes_credit_notes_that_take_the_invoice_back() {
    let mut scene = Scene::new();
    scene.hello("VAT-0001", Vec::new());
    session(&mut scene, 1, 654);
    let invoice = documents(&scene).remove(0);
    let whole = invoice.document.total.minor;
    let id = invoice.document.id.payment().session();
    for total in [7, whole - 1, whole] {
        give_back(&mut scene, id, total);
    }
    let documents = documents(&scene);
    let credits: Vec<&Issued> = documents.iter().filter(|issued| issued.document.total.minor < 0).collect();
    assert_eq!(credits.iter().map(|note| note.document.total.minor).collect::<Vec<_>>(), [-7, 8 - whole, -1]);
    assert!(credits.iter().all(|note| note.document.corrects.as_ref() == Some(&invoice.number)));
    assert_eq!(credits[0].number.to_string(), "C-2025-EUR-000001");
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

fn give_back(scene: &mut Scene, session: SessionId, total: i64) {
    let order = MoneyOrder::RefundTo(Amount::new(total, Currency::EUR));
    scene.take(Input::OrderMoney(session.payment(), order, ReplyTo::NONE));
    let refund = scene.asked();
    scene.approve(&refund);
}

/// Chargers whose sessions are in different partitions.
const FLEET: [&str; 4] = ["AMS-0007", "AMS-0001", "UTR-0003", "ROT-0009"];

#[test]
fn one_series_numbers_the_documents_of_all_partitions() {
    let mut scene = Scene::new();
    for (key, charger) in (1..).zip(FLEET) {
        scene.hello(charger, Vec::new());
        session(&mut scene, key, 650);
    }
    let documents = documents(&scene);
    let partitions: std::collections::BTreeSet<PartitionId> =
        documents.iter().map(|issued| issued.document.id.payment().partition()).collect();
    assert!(partitions.len() > 1, "{partitions:?}");
    assert_eq!(verify_series(&documents).unwrap().count, 4);
    assert_eq!(series(&scene), [("R-2025-EUR".to_owned(), 4)]);
}

#[test]
fn a_series_for_each_partition_is_a_choice() {
    let mut node_config = Arc::into_inner(node_config()).unwrap();
    node_config.series.per_partition = true;
    let mut scene = Scene::in_house(MemoryStore::new(64), Arc::new(node_config), Scene::beginning());
    scene.hello("AMS-0007", Vec::new());
    session(&mut scene, 1, 650);
    let partition = documents(&scene)[0].document.id.payment().partition();
    assert_eq!(series(&scene), [(format!("R-2025-{:02}-EUR", partition.0), 1)]);
}

/// At whatever point the process ends, the document has one number, and the numbers no gap.
#[test]
fn a_crash_between_document_and_number_loses_and_doubles_nothing() {
    let nothing: fn(&Output) -> bool = |_| false;
    let question: fn(&Output) -> bool = |output| matches!(output, Output::AskNumber(_));
    let answer: fn(&Output) -> bool = |output| matches!(output, Output::Numbered(_));
    for (lost, crash, waiting) in
        [(question, true, 1), (answer, true, 1), (question, false, 1), (answer, false, 1), (nothing, true, 0)]
    {
        let mut scene = Scene::new();
        scene.archive = Some(Default::default());
        scene.hello("AMS-0007", Vec::new());
        scene.loses = lost;
        session(&mut scene, 1, 650);
        let waits = |scene: &Scene| scene.shard.partitions().iter().map(|one| one.requests.len()).sum::<usize>();
        assert_eq!(waits(&scene), waiting);
        if waiting > 0 {
            assert_eq!(documents(&scene), []);
            assert_eq!(scene.archive.as_ref().unwrap().len(), 0, "what waits for its number is not put away");
        }
        let archived = scene.archive.take();
        let mut scene = if crash { scene.crash() } else { scene };
        scene.loses = nothing;
        scene.archive = archived;
        scene.hello("AMS-0007", Vec::new());
        scene.pass(5);
        assert_eq!(waits(&scene), 0);
        session(&mut scene, 2, 650);
        let archived = scene.archive.as_ref().unwrap().values().map(|(session, _)| session);
        let mut all: Vec<Issued> = archived.flat_map(|session| session.documents().to_vec()).collect();
        all.extend(documents(&scene));
        all.sort_by(|a, b| a.number.cmp(&b.number));
        // Sessions that were archived before the crash are live again after it.
        all.dedup();
        assert_eq!(verify_series(&all).unwrap().count, 2);
        assert_eq!(series(&scene), [("R-2025-EUR".to_owned(), 2)]);
    }
}

/// Money that is given back while the invoice has no number yet is credited when it has one.
#[test]
fn a_credit_note_waits_for_the_number_of_its_invoice() {
    let mut scene = Scene::new();
    scene.hello("VAT-0001", Vec::new());
    scene.loses = |output| matches!(output, Output::AskNumber(_));
    session(&mut scene, 1, 654);
    let id = scene
        .shard
        .partitions()
        .iter()
        .find_map(|one| one.requests.documents().next())
        .unwrap()
        .1
        .id
        .payment()
        .session();
    give_back(&mut scene, id, 4);
    assert_eq!(documents(&scene), []);
    scene.loses = |_| false;
    scene.pass(5);
    let documents = documents(&scene);
    let numbers: Vec<String> = documents.iter().map(|issued| issued.number.to_string()).collect();
    assert_eq!(numbers, ["C-2025-EUR-000001", "R-2025-EUR-000001"]);
    assert_eq!(documents[0].document.total.minor, -4);
    assert_eq!(documents[0].document.corrects.as_ref(), Some(&documents[1].number));
}

/// The year is the operator's, and a clock that is set back does not open the old one again.
#[test]
fn the_year_is_that_of_the_operators_calendar() {
    let mut node_config = Arc::into_inner(node_config()).unwrap();
    node_config.series.zone = TimeZone::get("Asia/Tokyo").unwrap();
    let evening = Timestamp::parse_rfc3339("2025-12-31T14:30:00Z").unwrap();
    // Half past two in the afternoon of the 31st in London is half past eleven at night in Tokyo.
    let mut scene =
        Scene::in_house(MemoryStore::new(64), Arc::new(node_config), Now { wall: evening, mono: Mono(1_000) });
    scene.hello("AMS-0007", Vec::new());
    session(&mut scene, 1, 650);
    scene.pass(1_800);
    session(&mut scene, 2, 650);
    scene.now.wall = evening;
    session(&mut scene, 3, 650);
    assert_eq!(series(&scene), [("R-2025-EUR".to_owned(), 1), ("R-2026-EUR".to_owned(), 2)]);
}

/// Prices below zero: nothing is due, and receipt, books and documents agree.
#[test]
fn a_total_below_zero_is_nothing_due_and_nothing_given_back() {
    let tariff = TARIFF_WITH_VAT.replace("0.59", "-0.05");
    assert_ne!(tariff, TARIFF_WITH_VAT);
    let mut scene = Scene::in_house(MemoryStore::new(64), house_of(Policy::default(), &tariff), Scene::beginning());
    scene.hello("AMS-0007", Vec::new());
    scene.start(1, CredentialKind::CardToken, "tok_visa");
    let authorize = scene.asked();
    scene.approve(&authorize);
    scene.stop(1, 1, 300);
    let void = scene.asked();
    assert!(matches!(void.request, Request::Void { .. }), "{void:?}");
    scene.approve(&void);
    let partition = scene.shard.partitions().iter().find(|partition| !partition.sessions.is_empty()).unwrap();
    let (_, hosted) = partition.sessions.iter().next().unwrap();
    let receipt = archive_record::receipt(hosted.state(), hosted.tariff(), &billing()).unwrap().receipt;
    assert_eq!((receipt.total.to_string(), receipt.gross.to_string()), ("0.00".to_owned(), "0".to_owned()));
    assert_eq!((receipt.lines.len(), receipt.payment.overpaid, receipt.number.as_deref()), (2, None, None));
    assert_eq!(receipt.vat.iter().map(|rate| rate.vat).sum::<Decimal>(), Decimal::ZERO);
    assert_eq!(receipt.cdr.get("total_cost").unwrap()["incl_vat"].to_string(), "0");
    let text = receipt.to_text();
    assert!(text.contains("not paid out") && !text.contains("given back"), "{text}");
    assert_eq!((documents(&scene), partition.requests.len()), (Vec::new(), 0));
    let books = books(&scene).books;
    assert!(books.balances().all(|(_, _, balance)| balance.net_debit() == 0), "nothing is booked");
}

fn billing() -> Billing {
    let random = ring::rand::SystemRandom::new();
    let key = SigningKey::from_pkcs8(&SigningKey::generate(&random).unwrap()).unwrap();
    Billing {
        key,
        issuer: Issuer { name: "Stadtwerke".into(), ..Issuer::default() },
        receipt_base: String::new(),
        sites: Default::default(),
    }
}
