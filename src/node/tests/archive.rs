//! What goes to the archive is durable in the log before: a crash must not take back what the archive has shown.

use super::*;
use crate::node::input::MoneyOrder;

/// A session whose capture is asked for.
fn ending(scene: &mut Scene, number: u64) -> Operation {
    scene.start(number, CredentialKind::CardToken, "tok_visa");
    let authorize = scene.asked();
    scene.approve(&authorize);
    scene.stop(number, 1, 300);
    scene.asked()
}

/// What a processor answers to a capture.
fn approved(scene: &mut Scene, capture: &Operation) -> Input {
    let Request::Capture { amount, .. } = &capture.request else { panic!("{capture:?}") };
    let outcome = Outcome::Approved { amount: *amount, processor_ref: ProcessorRef("auth-1".into()), expires_at: None };
    let callback = CallbackId(scene.next_callback);
    scene.next_callback += 1;
    let answer = Answer { callback, operation: capture.id, hold: capture.hold, outcome };
    Input::Answer(capture.processor.clone(), Box::new(answer))
}

#[test]
fn a_change_that_is_not_durable_yet_does_not_reach_the_archive() {
    let mut scene = Scene::new();
    scene.archive = Some(Default::default());
    scene.hello("AMS-0007", Vec::new());
    let capture = ending(&mut scene, 1);
    let id = capture.id.payment().session();
    // The archiver has no room when the session is closed.
    scene.loses = |output| matches!(output, Output::Archive(_));
    scene.approve(&capture);
    scene.loses = |_| false;
    scene.shard.take(Input::ArchiveAgain(id), scene.now).unwrap();
    // Before it leaves, an operator gives something back, which is not durable yet.
    let refund = MoneyOrder::RefundTo(Amount::new(3, Currency::EUR));
    scene.shard.take(Input::OrderMoney(id.payment(), refund, OPERATOR), scene.now).unwrap();
    let mut outputs: Vec<Output> = std::iter::from_fn(|| scene.shard.release()).collect();
    let at = outputs.iter().position(|output| matches!(output, Output::Archive(_))).expect("it is for the archive");
    let Output::Archive(closed) = outputs.remove(at) else { unreachable!() };
    assert!(scene.shard.session(id).is_some_and(|live| live.state() != &*closed), "it has changed since");
    scene.archived(*closed);
    assert_eq!(scene.archive.as_ref().unwrap().len(), 0, "the log may still lose the refund");
    // The refund is durable: with it the session is put away.
    scene.settle();
    let refund = scene.asked();
    scene.approve(&refund);
    assert!(scene.shard.session(id).is_none());
    let archived = scene.archive.take().unwrap();
    let after = scene.crash();
    assert!(after.shard.session(id).is_none_or(|live| live.state() == &archived[&id].0));
}

#[test]
fn a_page_of_the_books_leaves_when_the_facts_that_filled_it_are_durable() {
    let mut scene = Scene::new();
    scene.hello("AMS-0007", Vec::new());
    let mut pages = 0;
    for number in 1..=64 {
        let capture = ending(&mut scene, number);
        let answer = approved(&mut scene, &capture);
        scene.shard.take(answer, scene.now).unwrap();
        let early =
            std::iter::from_fn(|| scene.shard.release()).find(|output| matches!(output, Output::ArchivePage(..)));
        assert!(early.is_none(), "session {number}: {early:?} has entries whose facts are not durable");
        let batch = scene.shard.take_batch().expect("the session is closed");
        scene.log.commit(std::slice::from_ref(&batch)).unwrap();
        scene.shard.committed(batch);
        pages += std::iter::from_fn(|| scene.shard.release())
            .filter(|output| matches!(output, Output::ArchivePage(..)))
            .count();
        scene.settle();
    }
    assert!(pages > 0, "a capture filled a page");
}
