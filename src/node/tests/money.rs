//! The books and the receipts of a shard, after whatever happens to it.

use super::*;
use crate::accounting::archive_record::{self, ArchiveRecord, Billing};
use crate::accounting::posting::PartitionBooks;
use crate::billing::{Issuer, SigningKey, verify_receipt};
use crate::ledger::Name;
use crate::session::Stage;
use crate::units::Cost;
use proptest::prelude::*;

pub(super) fn books(scene: &Scene) -> PartitionBooks {
    let mut sum = PartitionBooks::default();
    for partition in scene.shard.partitions() {
        sum.merge(&partition.books);
    }
    sum
}

/// Invariants after every step: the books balance, held amounts in the books equal the open holds, and the receipt of
/// every closed session has its total, line by line.
fn check(scene: &Scene) {
    let books = books(scene);
    assert_eq!(books.books.imbalance(), 0);
    assert_eq!(books.books.broken_bounds(), []);
    let balance = |counts: fn(&Name) -> bool| -> i128 {
        let balances = books.books.balances().filter(|(name, _, _)| counts(name));
        balances.map(|(name, _, balance)| balance.natural(name.kind())).sum()
    };
    let (mut held, mut captured, mut shortfall) = (0, 0, 0);
    for partition in scene.shard.partitions() {
        for (_, session) in partition.sessions.iter() {
            let state = session.state();
            held += i128::from(state.payment.authorized().minor);
            captured += i128::from(state.payment.captured().minor);
            shortfall += if state.settled_at().is_some() { i128::from(state.payment.shortfall().minor) } else { 0 };
            if matches!(state.stage, Stage::Closed(_)) {
                let closed = archive_record::closed(state, session.tariff()).unwrap();
                closed.check().unwrap();
                assert_eq!(closed.gross, state.ended().unwrap().cost);
            }
        }
    }
    assert_eq!(balance(|name| matches!(name, Name::Held(_))), held);
    assert_eq!(balance(|name| matches!(name, Name::ProcessorReceivable(_))), captured);
    assert_eq!(balance(|name| matches!(name, Name::Shortfall(_))), shortfall);
    let turnover = books.turnover.get(&Currency::EUR).copied().unwrap_or_default();
    assert_eq!((turnover.captured, turnover.shortfall), (captured, shortfall));
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

#[test]
fn a_session_stands_in_the_books_and_on_its_receipt_with_the_same_figures() {
    let (mut scene, _) = Scene::charging();
    check(&scene);
    let hold = Name::Held(acme());
    assert_eq!(books(&scene).books.natural(&hold, Currency::EUR), 4_500);
    scene.reading(1, 1, 300);
    scene.stop(1, 2, 650);
    let capture = scene.asked();
    scene.approve(&capture);
    check(&scene);
    let after = books(&scene);
    assert_eq!(after.books.natural(&hold, Currency::EUR), 0);
    assert_eq!(after.books.natural(&Name::ProcessorReceivable(acme()), Currency::EUR), 9);
    let turnover = after.turnover[&Currency::EUR];
    assert_eq!((turnover.captured, turnover.released), (9, 4_491));

    let partition = scene.shard.partitions().iter().find(|partition| !partition.sessions.is_empty()).unwrap();
    let (_, session) = partition.sessions.iter().next().unwrap();
    let billing = billing();
    let archive_record = ArchiveRecord::new(session.state().clone(), session.tariff(), &billing);
    assert_eq!(ArchiveRecord::from_bytes(&archive_record.to_bytes()).unwrap(), archive_record);
    let signed = verify_receipt(archive_record.receipt.unwrap().as_bytes(), Some(&billing.key.public_key())).unwrap();
    let receipt = signed.receipt;
    assert_eq!((receipt.gross.to_string().as_str(), receipt.total.to_string().as_str()), ("0.091", "0.09"));
    assert_eq!(receipt.lines.len(), 1);
    assert_eq!(receipt.lines[0].gross, receipt.gross);
    assert_eq!(receipt.payment.captured.to_string(), "0.09");
    assert_eq!(receipt.cdr.get("total_cost").unwrap()["incl_vat"].to_string(), "0.091");
}

#[test]
fn a_prepaid_session_leaves_nothing_on_the_clearing_account() {
    let mut scene = Scene::new();
    scene.open_account("driver-1", 6_000);
    scene.link_contract("driver-1", "DE-8AA-C00000001");
    scene.hello("AMS-0007", Vec::new());
    scene.start(1, CredentialKind::EvAccount, "DE-8AA-C00000001");
    scene.stop(1, 1, 300);
    let before = books(&scene);
    assert_eq!(before.books.imbalance(), 0);
    let account = AccountId::new("driver-1").unwrap();
    assert_eq!(before.books.natural(&Name::Prepaid(account), Currency::EUR), 5_996);
    assert_eq!(before.books.natural(&Name::PrepaidClearing, Currency::EUR), 0);
    assert_eq!(before.turnover[&Currency::EUR].captured, 4);
    assert_eq!(books(&scene.crash()), before, "replay makes the same books");
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Start,
    Approve,
    Partly,
    Decline,
    Reading(i64),
    Stop(i64),
    Pass(i64),
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Start),
        6 => Just(Step::Approve),
        1 => Just(Step::Partly),
        1 => Just(Step::Decline),
        5 => (0_i64..400).prop_map(Step::Reading),
        3 => (0_i64..400).prop_map(Step::Stop),
        2 => (1_i64..1_200).prop_map(Step::Pass),
        1 => Just(Step::Crash),
    ];
    proptest::collection::vec(step, 1..40)
}

/// Goes these steps, and checks after each that the books hold and that replay makes the same ones.
fn go(steps: Vec<Step>) {
    let mut scene = Scene::new();
    scene.hello("AMS-0007", Vec::new());
    let (mut key, mut sequence, mut register) = (0, 0, 0);
    for step in steps {
        match step {
            Step::Start => {
                key += 1;
                sequence = 0;
                register = 0;
                scene.start(key, CredentialKind::CardToken, "tok_visa");
            }
            Step::Approve | Step::Partly | Step::Decline if scene.operations.is_empty() => {}
            Step::Approve => {
                let operation = scene.operations.remove(0);
                scene.approve(&operation);
            }
            Step::Partly => {
                let operation = scene.operations.remove(0);
                let amount = Amount::new(3, Currency::EUR);
                let processor_ref = ProcessorRef("auth-2".into());
                scene.answer(&operation, Outcome::Approved { amount, processor_ref, expires_at: None });
            }
            Step::Decline => {
                let operation = scene.operations.remove(0);
                let decline = Decline { class: DeclineClass::Hard, code: "funds".into(), retry_after: None };
                scene.answer(&operation, Outcome::Declined(decline));
            }
            Step::Reading(wh) => {
                sequence += 1;
                register += wh;
                scene.reading(key, sequence, register);
            }
            Step::Stop(wh) => {
                sequence += 1;
                register += wh;
                scene.stop(key, sequence, register);
            }
            Step::Pass(seconds) => scene.pass(seconds),
            Step::Crash => {
                let before = books(&scene);
                scene = scene.crash();
                assert_eq!(before, books(&scene));
                scene.hello("AMS-0007", Vec::new());
            }
        }
        check(&scene);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn the_books_balance_whatever_happens_and_replay_makes_the_same(steps in steps()) {
        go(steps);
    }
}

#[test]
fn a_capture_that_was_declined_and_then_approved_has_an_invoice_that_agrees_with_itself() {
    use Step::*;
    go(vec![Start, Approve, Reading(0), Pass(900), Reading(36), Decline, Approve]);
}

#[test]
fn a_session_that_never_got_energy_costs_nothing_and_has_a_receipt() {
    let mut scene = Scene::new();
    scene.hello("AMS-0007", Vec::new());
    scene.start(1, CredentialKind::CardToken, "tok_visa");
    let authorize = scene.asked();
    let decline = Decline { class: DeclineClass::Hard, code: "stolen".into(), retry_after: None };
    scene.answer(&authorize, Outcome::Declined(decline));
    check(&scene);
    let partition = scene.shard.partitions().iter().find(|partition| !partition.sessions.is_empty()).unwrap();
    let (_, session) = partition.sessions.iter().next().unwrap();
    let closed = archive_record::closed(session.state(), session.tariff()).unwrap();
    assert_eq!((closed.gross, closed.payable.minor), (Cost::zero(Currency::EUR), 0));
    assert_eq!(&*closed.end_reason, "the credential was declined");
}

#[test]
fn what_a_processor_still_says_of_an_archived_session_finds_it_again() {
    let mut scene = Scene::new();
    scene.archive = Some(Default::default());
    scene.hello("AMS-0007", Vec::new());
    scene.start(1, CredentialKind::CardToken, "tok_visa");
    let authorize = scene.asked();
    scene.approve(&authorize);
    scene.stop(1, 1, 300);
    let capture = scene.asked();
    let callback = scene.next_callback;
    scene.approve(&capture);
    let live = |scene: &Scene| scene.shard.session(capture.id.payment().session()).is_some();
    assert!(!live(&scene), "its cell is vacated");
    let before = books(&scene);
    assert_eq!(before.turnover[&Currency::EUR].captured, 4);

    // The acknowledgement was lost: the processor repeats the message, and it counts once.
    scene.callbacks.clear();
    scene.next_callback = callback;
    scene.approve(&capture);
    assert_eq!(scene.callbacks, [(CallbackId(callback), None)]);
    assert!(!live(&scene), "it is put away again");
    assert_eq!(books(&scene), before);

    // Messages about an unknown session are ignored.
    scene.callbacks.clear();
    let unknown = Operation { id: PaymentId::new(scene.now.wall, PartitionId(1), 7).operation(1), ..capture.clone() };
    scene.approve(&unknown);
    assert!(matches!(scene.callbacks.as_slice(), [(_, Some(Code::OperationUnknown))]));

    // The log has the session twice by now; a replay comes to the same books.
    let archive = scene.archive.take();
    let mut scene = scene.crash();
    assert_eq!(books(&scene), before);
    scene.archive = archive;
    let id = capture.id.payment().session();
    let session = scene.shard.session(id).unwrap().state().clone();
    scene.archived(session);
    assert!(!live(&scene), "what was live again after the restart is put away once more");
}

#[test]
fn a_session_is_not_forgotten_while_its_money_is_under_way() {
    let mut scene = Scene::new();
    scene.archive = Some(Default::default());
    scene.hello("AMS-0007", Vec::new());
    scene.start(1, CredentialKind::CardToken, "tok_visa");
    let authorize = scene.asked();
    let decline = Decline { class: DeclineClass::Hard, code: "stolen".into(), retry_after: None };
    scene.answer(&authorize, Outcome::Declined(decline));
    let live = |scene: &Scene| scene.shard.session(authorize.id.payment().session()).is_some();
    assert!(!live(&scene), "it is closed and put away");

    // It was approved after all: the hold is released, and the processor does not answer at once.
    scene.approve(&authorize);
    let void = scene.asked();
    assert!(matches!(void.request, Request::Void { .. }), "{void:?}");
    assert!(live(&scene), "the operation must be requested again");
    scene.pass(60);
    assert_eq!(scene.asked().id, void.id);
    scene.approve(&void);
    assert!(!live(&scene), "and now nothing is left to do");
}
