//! Pages of the books on their way to the archive: a crash must not take back what the archive has shown.

use super::*;

/// A session whose capture is asked for.
fn ending(scene: &mut Scene, number: u64) -> Operation {
    scene.start(number, CredentialKind::CardToken, "tok_visa");
    let authorize = scene.asked();
    scene.approve(&authorize);
    scene.stop(number, 1, 300);
    scene.asked()
}

#[test]
fn a_page_of_the_books_leaves_when_the_facts_that_filled_it_are_durable() {
    let mut scene = Scene::new();
    scene.hello("AMS-0007", Vec::new());
    let mut pages = 0;
    for number in 1..=64 {
        let capture = ending(&mut scene, number);
        let answer = scene.approval(&capture);
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
