//! Defects of public payment systems that only a whole gate can have; the others are beside the machines.

use super::*;
use crate::ledger::Name;
use crate::node::input::MoneyOrder;

const CONTRACT: &str = "DE-8AA-C00000001";

fn open_account(scene: &mut Scene, name: &str, minor: i64) {
    scene.order(name, |op| account::Command::Open {
        op,
        account: AccountId::new(name).unwrap(),
        currency: Currency::EUR,
        credit_limit: Amount::zero(Currency::EUR),
    });
    scene.order(name, |op| account::Command::TopUp {
        op,
        amount: Amount::new(minor, Currency::EUR),
        source: account::TopUpSource::Bank,
    });
    scene.link_contract(name, CONTRACT);
}

/// The disk is slow and the state changes meanwhile: a message carries what was decided then, not the present state.
#[test]
fn f07_a_message_repeats_its_fact_even_when_the_disk_was_slow() {
    let mut scene = Scene::new();
    scene.hello("AMS-0007", Vec::new());
    scene.received();
    scene.start(1, CredentialKind::CardToken, "tok_visa");
    let authorize = scene.asked();
    let (callback, hold) = (CallbackId(9_000), authorize.hold);
    let outcome = Outcome::Approved {
        amount: Amount::new(4_500, Currency::EUR),
        processor_ref: ProcessorRef("auth-1".into()),
        expires_at: None,
    };
    let answer = Answer { callback, operation: authorize.id, hold, outcome };
    scene.shard.take(Input::Answer(acme(), Box::new(answer)), scene.now).unwrap();
    let release = MoneyOrder::Release(crate::payment::Ordinal(1));
    let reply = ReplyTo::NONE;
    scene.shard.take(Input::OrderMoney(authorize.id.payment(), release, reply), scene.now).unwrap();
    assert_eq!(scene.session().payment.spendable().minor, 0, "nothing may be spent by now");
    scene.settle();
    let received = scene.received();
    let [ToCharger::StartAccepted { limit, .. }, ToCharger::StopNow { .. }] = received.as_slice() else {
        panic!("{received:?}")
    };
    assert_eq!(limit.cost, Some(Amount::new(4_500, Currency::EUR)), "and yet it was admitted for this much");
}

/// 17.715 is 17.72 for the account, the invoice, the receipt and the books; or it is 17.71 for all of them.
#[test]
fn f23_account_invoice_receipt_and_books_round_once_and_together() {
    let mut scene = Scene::in_house(
        MemoryStore::new(64),
        house_of(Policy::default(), &TARIFF.replace("0.14", "59.05")),
        Scene::beginning(),
    );
    open_account(&mut scene, "driver-1", 10_000);
    scene.hello("AMS-0007", Vec::new());
    scene.start(1, CredentialKind::EvAccount, CONTRACT);
    scene.received();
    scene.stop(1, 1, 300);
    let session = scene.session();
    let ended = session.ended().unwrap();
    assert_eq!(ended.cost.major().to_string(), "17.715");
    let payable = ended.payable.minor;
    assert!(payable == 1_771 || payable == 1_772);
    let taken = session.payment.captured().minor;
    let billed: i64 = session.documents().iter().map(|issued| issued.document.total.minor).sum();
    let paid = scene.received().iter().find_map(|message| match message {
        ToCharger::Receipt(receipt) => Some(receipt.total.minor),
        _ => None,
    });
    assert_eq!((taken, billed, paid), (payable, payable, Some(payable)));
    let account = AccountId::new("driver-1").unwrap();
    let left: i128 = scene
        .shard
        .partitions()
        .iter()
        .map(|partition| partition.books.books.natural(&Name::Prepaid(account.clone()), Currency::EUR))
        .sum();
    assert_eq!(left, i128::from(10_000 - payable));
}

/// Buy now, pay later: a hold is a purchase there. It is refused, and money on an account does instead.
#[test]
fn f30_a_product_whose_holds_are_purchases_is_refused_and_an_account_is_not() {
    let mut scene = Scene::new();
    scene.routes(|routes| routes.registry.no_holds = vec!["bnpl_".into()]);
    open_account(&mut scene, "driver-1", 6_000);
    scene.hello("AMS-0007", Vec::new());
    scene.received();
    scene.start(1, CredentialKind::CardToken, "bnpl_7f3a");
    assert!(scene.operations.is_empty(), "no hold is asked for");
    let received = scene.received();
    assert!(
        matches!(received.as_slice(), [ToCharger::StartRejected { code: Code::CredentialNotAccepted, text, .. }]
            if text.contains("purchase")),
        "{received:?}"
    );
    scene.start(2, CredentialKind::EvAccount, CONTRACT);
    assert!(matches!(scene.received().as_slice(), [ToCharger::StartAccepted { .. }]));
}

/// The process ends between any two of its group commits: the account's payments equal the books.
#[test]
fn f12_after_a_crash_at_any_commit_the_account_and_the_books_tell_the_same() {
    for dies_after in 0..6 {
        let mut scene = Scene::new();
        open_account(&mut scene, "driver-1", 6_000);
        scene.hello("AMS-0007", Vec::new());
        scene.start(1, CredentialKind::EvAccount, CONTRACT);
        scene.reading(1, 1, 300);
        let last = scene.reading_of(2, 320);
        let stop = FromCharger::Stop { session: SessionKey(1), last, reason: StopReason::Local };
        scene.shard.on_charger_message(scene.link, stop, scene.now).unwrap();
        // So many commits more reach the disk.
        for _ in 0..dies_after {
            if let Some(batch) = scene.shard.take_batch() {
                scene.log.commit(std::slice::from_ref(&batch)).unwrap();
                scene.shard.committed(batch);
            }
            match scene.shard.release() {
                Some(Output::Account(ask)) => {
                    let input = Input::AskAccount(ask.0, Box::new(ask.1));
                    scene.shard.take(input, scene.now).unwrap();
                }
                Some(Output::AccountAnswer(answer)) => {
                    let input = Input::Answer(answer.0, Box::new(answer.1));
                    scene.shard.take(input, scene.now).unwrap();
                }
                Some(_) | None => {}
            }
        }
        let mut scene = scene.crash();
        scene.hello("AMS-0007", Vec::new());
        if !matches!(scene.session().stage, crate::session::Stage::Closed(_)) {
            if scene.session().ended().is_none() {
                let last = scene.reading_of(2, 320);
                scene.send(FromCharger::Stop { session: SessionKey(1), last, reason: StopReason::Local });
            }
            scene.pass(60);
        }
        let paid = scene.session().payment.captured().minor;
        assert_eq!(paid, 4, "0.32 kWh at 0.14, once; died after {dies_after} commits");
        let account = AccountId::new("driver-1").unwrap();
        let (mut left, mut clearing) = (0, 0);
        for partition in scene.shard.partitions() {
            left += partition.books.books.natural(&Name::Prepaid(account.clone()), Currency::EUR);
            clearing += partition.books.books.natural(&Name::PrepaidClearing, Currency::EUR);
        }
        assert_eq!((left, clearing), (6_000 - i128::from(paid), 0));
    }
}
