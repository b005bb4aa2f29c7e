//! Orders of an operator about money, and the acknowledgements of a processor's messages.

use super::*;
use crate::node::input::MoneyOrder;
use crate::payment::Rejection;

/// A session that took 4 cents and was archived.
fn archived() -> (Scene, Operation) {
    let mut scene = Scene::new();
    scene.archive = Some(Default::default());
    scene.hello("AMS-0007", Vec::new());
    scene.start(1, CredentialKind::CardToken, "tok_visa");
    let authorize = scene.asked();
    scene.approve(&authorize);
    scene.stop(1, 1, 300);
    let capture = scene.asked();
    scene.approve(&capture);
    assert!(scene.shard.session(capture.id.payment().session()).is_none(), "its cell is vacated");
    (scene, capture)
}

fn order(scene: &mut Scene, session: SessionId, order: MoneyOrder) -> Ordered {
    scene.take(Input::OrderMoney(session.payment(), order, OPERATOR));
    assert_eq!(scene.ordered.len(), 1, "every order is answered once");
    scene.ordered.remove(0)
}

#[test]
fn a_refund_finds_an_archived_session_and_the_same_total_twice_gives_back_once() {
    let (mut scene, capture) = archived();
    let id = capture.id.payment().session();
    let to = |minor| MoneyOrder::RefundTo(Amount::new(minor, Currency::EUR));
    for _ in 0..2 {
        let Ordered::Asked(standing) = order(&mut scene, id, to(3)) else { panic!("asked for") };
        assert_eq!((standing.captured.minor, standing.refunded.minor, standing.refunding.minor), (4, 0, 3));
    }
    let refund = scene.asked();
    assert!(matches!(refund.request, Request::Refund { amount, .. } if amount.minor == 3));
    scene.approve(&refund);
    assert!(scene.shard.session(id).is_none(), "it is put away again");
    let Ordered::Asked(standing) = order(&mut scene, id, to(3)) else { panic!("done") };
    assert_eq!((standing.refunded.minor, standing.refunding.minor), (3, 0));
    assert!(scene.operations.is_empty());
    let refused = order(&mut scene, id, to(5));
    assert!(
        matches!(refused, Ordered::MoneyRefused(Rejection::RefundTooLarge { refundable }) if refundable.minor == 1),
        "{refused:?}"
    );
    let refused = order(&mut scene, id, to(0));
    assert!(matches!(refused, Ordered::MoneyRefused(Rejection::AmountNotPositive)), "{refused:?}");
    let dollars = MoneyOrder::RefundTo(Amount::new(4, "USD".parse().unwrap()));
    let refused = order(&mut scene, id, dollars);
    assert!(matches!(refused, Ordered::MoneyRefused(Rejection::CurrencyDiffers { .. })), "{refused:?}");
    let unknown = SessionId::new(scene.now.wall, PartitionId(1), 7);
    assert!(matches!(order(&mut scene, unknown, to(1)), Ordered::NoSession));
}

#[test]
fn a_hold_is_released_by_order_until_money_is_taken_from_it() {
    let (mut scene, authorize) = Scene::charging();
    scene.reading(1, 1, 300);
    scene.received();
    let id = authorize.id.payment().session();
    let release = MoneyOrder::Release(crate::payment::Ordinal(1));
    assert!(matches!(order(&mut scene, id, release), Ordered::Asked(_)));
    assert!(matches!(scene.received().as_slice(), [ToCharger::StopNow { .. }]), "nothing covers the energy any longer");
    let void = scene.asked();
    assert!(matches!(void.request, Request::Void { .. }));
    let refused = order(&mut scene, id, release);
    assert!(matches!(refused, Ordered::MoneyRefused(Rejection::ReleaseUnderWay)), "{refused:?}");
    scene.approve(&void);
    scene.stop(1, 2, 310);
    assert_eq!(scene.session().payment.shortfall().minor, 4, "what was given is owed");

    let (mut scene, capture) = archived();
    let refused = order(&mut scene, capture.id.payment().session(), release);
    assert!(matches!(refused, Ordered::MoneyRefused(_)), "{refused:?}");
}

#[test]
fn a_processors_word_is_acknowledged_when_what_follows_from_it_is_durable_and_not_before() {
    let mut scene = Scene::new();
    scene.hello("AMS-0007", Vec::new());
    scene.start(1, CredentialKind::CardToken, "tok_visa");
    let authorize = scene.asked();
    let answer = Answer {
        callback: CallbackId(77),
        operation: authorize.id,
        hold: authorize.hold,
        outcome: Outcome::Approved {
            amount: Amount::new(4_500, Currency::EUR),
            processor_ref: ProcessorRef("auth-1".into()),
            expires_at: None,
        },
    };
    scene.shard.take(Input::Answer(acme(), Box::new(answer.clone())), scene.now).unwrap();
    assert!(scene.shard.release().is_none(), "decided and not durable: nothing is sent");
    let batch = scene.shard.take_batch().expect("its facts");
    assert!(scene.shard.release().is_none(), "being written: nothing is sent");

    // The process crashes here: the processor got no acknowledgement, repeats the message, and it counts once.
    drop(batch);
    let mut scene = scene.crash();
    scene.operations.clear();
    assert!(scene.callbacks.is_empty());
    for _ in 0..2 {
        scene.take(Input::Answer(acme(), Box::new(answer.clone())));
    }
    assert_eq!(scene.callbacks, [(CallbackId(77), None), (CallbackId(77), None)]);
    assert_eq!(scene.session().payment.authorized().minor, 4_500);
}
