//! After any number of corrections and refunds of a session, its documents, books and receipt agree, tax by tax and
//! to the minor unit.

use super::money::books;
use super::*;
use crate::accounting::archive_record::{self, Billing};
use crate::billing::{Issuer, SigningKey};
use crate::ledger::Name;
use crate::node::input::MoneyOrder;
use crate::session::Session;
use proptest::prelude::*;

/// Energy and a start fee, each with VAT of its own, on prices of four decimals.
fn tariff(energy: u32, energy_vat: &str, fee: u32, fee_vat: &str) -> String {
    format!(
        r#"{{"country_code": "DE", "party_id": "TNM", "id": "MIX", "currency": "EUR",
        "elements": [{{"price_components": [
            {{"type": "ENERGY", "price": 0.{energy:04}, "vat": {energy_vat}, "step_size": 1}},
            {{"type": "FLAT", "price": 0.{fee:04}, "vat": {fee_vat}, "step_size": 1}}
        ]}}], "last_updated": "2025-06-01T00:00:00Z"}}"#
    )
}

fn the_session(scene: &Scene) -> Session {
    match scene.archive.as_ref().and_then(|archive| archive.values().next()) {
        Some((session, _)) => session.clone(),
        None => scene.session().clone(),
    }
}

fn approve_all(scene: &mut Scene) {
    while !scene.operations.is_empty() {
        let operation = scene.operations.remove(0);
        scene.approve(&operation);
    }
}

/// Compares the three.
fn check(scene: &Scene, node_config: &NodeConfig) {
    let session = the_session(scene);
    let place = node_config.tariffs.place(&session.charger, session.connector, session.opened_at).unwrap();
    let documents = || session.documents().iter().map(|issued| &issued.document);
    let billed: i64 = documents().map(|document| document.total.minor).sum();
    let declared: i64 = documents().flat_map(|document| &document.taxes).map(|(_, amount)| amount.minor).sum();
    let shown = (
        session.payment.captured(),
        session.payment.refunded(),
        session.ended().map(|e| e.payable),
        session.settled_at(),
        documents().map(|d| (d.total, d.taxes.clone())).collect::<Vec<_>>(),
    );
    let books = books(scene).books;
    assert_eq!(books.imbalance(), 0);
    let natural = |counts: fn(&Name) -> bool| -> i128 {
        let balances = books.balances().filter(|(name, _, _)| counts(name));
        balances.map(|(_, _, balance)| -balance.net_debit()).sum()
    };
    assert_eq!(
        natural(|name| matches!(name, Name::Tax(_))),
        i128::from(declared),
        "taxes: books and documents {shown:?}"
    );
    let sold = natural(|name| matches!(name, Name::Tax(_) | Name::OperatorPayable(_) | Name::Rounding));
    assert_eq!(sold, i128::from(billed), "money: books and documents {shown:?}");
    for (tax, _) in documents().flat_map(|document| &document.taxes) {
        let here = documents().flat_map(|document| &document.taxes).filter(|(of, _)| of == tax);
        let here: i64 = here.map(|(_, amount)| amount.minor).sum();
        let there = books.balances().filter(|(name, _, _)| matches!(name, Name::Tax(of) if of == tax));
        let there: i128 = there.map(|(_, _, balance)| -balance.net_debit()).sum();
        assert_eq!(there, i128::from(here), "{tax:?}");
    }
    let random = ring::rand::SystemRandom::new();
    let key = SigningKey::from_pkcs8(&SigningKey::generate(&random).unwrap()).unwrap();
    let billing = Billing { key, issuer: Issuer::default(), receipt_base: String::new(), sites: Default::default() };
    let receipt = archive_record::receipt(&session, &place.tariff, &billing).unwrap().receipt;
    let refunded = session.payment.refunded();
    assert_eq!(receipt.total, Amount::new(billed, Currency::EUR).major() + refunded.major());
    let invoice = archive_record::invoice(&session).map_or(0, |invoice| invoice.document.total.minor);
    let later: rust_decimal::Decimal = receipt.documents.iter().map(|document| document.total).sum();
    let listed = later + Amount::new(invoice, Currency::EUR).major();
    assert_eq!(listed, Amount::new(billed, Currency::EUR).major(), "the receipt lists every document");
    for note in receipt.documents.iter().filter(|document| document.kind == "credit_note") {
        let cdr = note.cdr.as_ref().expect("a credit note goes with a credit record");
        assert_eq!(cdr.get("credit_reference_id").unwrap(), &session.id.to_string());
        let total = cdr.get("total_cost").unwrap();
        assert_eq!(total["incl_vat"].to_string(), note.total.normalize().to_string());
        assert_eq!(total["excl_vat"].to_string(), (note.total - note.vat).normalize().to_string());
    }
    if refunded.minor == 0 {
        let vat: rust_decimal::Decimal = receipt.vat.iter().map(|rate| rate.vat_amount).sum();
        assert_eq!(vat, Amount::new(declared, Currency::EUR).major(), "taxes: receipt and documents");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn books_documents_and_receipt_agree_however_a_session_is_corrected(
        prices in (1_u32..10_000, 0_usize..4, 0_u32..10_000, 0_usize..4),
        first in 1_i64..300,
        late in proptest::collection::vec(1_i64..300, 0..4),
        refunds in proptest::collection::vec(1_i64..60, 0..3),
        several in any::<bool>(),
        archived in any::<bool>(),
    ) {
        const RATES: [&str; 4] = ["7.0", "19.0", "21.0", "5.5"];
        let text = tariff(prices.0, RATES[prices.1], prices.2, RATES[prices.3]);
        let node_config = house_of(Policy::default(), &text);
        let mut scene = Scene::in_house(MemoryStore::new(64), node_config.clone(), Scene::beginning());
        scene.archive = archived.then(Default::default);
        scene.routes(|routes| {
            routes.registry.processors.get_mut(&acme()).unwrap().capabilities.multiple_captures = several;
        });
        scene.hello("AMS-0007", Vec::new());
        scene.start(1, CredentialKind::CardToken, "tok_visa");
        approve_all(&mut scene);
        scene.reading(1, 1, first);
        // Its charger sends nothing more, and the session ends on its last known total.
        let began = scene.now.mono;
        while scene.operations.is_empty() && scene.now.mono.since(began) < TimeSpan::from_secs(1_800) {
            scene.pass(60);
        }
        approve_all(&mut scene);
        let (mut wh, mut sequence) = (first, 1);
        scene.hello("AMS-0007", vec![SessionMark { session: SessionKey(1), last_sequence: 1 + late.len() as u32 }]);
        for more in &late {
            (wh, sequence) = (wh + more, sequence + 1);
            if usize::try_from(sequence) == Ok(late.len() + 1) {
scene.stop(1, sequence, wh)
} else {
scene.reading(1, sequence, wh)
}
            approve_all(&mut scene);
        }
        // What was kept for a charger that may come back is released, and everything has ended.
        for _ in 0..70 {
            scene.pass(60);
            approve_all(&mut scene);
        }
        check(&scene, &node_config);
        let mut total = 0;
        for minor in refunds {
            let session = the_session(&scene);
            total += minor.min(session.payment.refundable().minor);
            if total > 0 {
                let order = MoneyOrder::RefundTo(Amount::new(total, Currency::EUR));
                scene.take(Input::OrderMoney(session.id.payment(), order, ReplyTo::NONE));
                approve_all(&mut scene);
                check(&scene, &node_config);
            }
        }
        // All of it, to the last minor unit.
        let session = the_session(&scene);
        let all = session.payment.refunded().minor + session.payment.refundable().minor;
        if all > 0 {
            let order = MoneyOrder::RefundTo(Amount::new(all, Currency::EUR));
            scene.take(Input::OrderMoney(session.id.payment(), order, ReplyTo::NONE));
            approve_all(&mut scene);
        }
        check(&scene, &node_config);
    }
}
