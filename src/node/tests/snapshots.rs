//! Snapshots that are taken beside other work, and the states that they restore.

use super::*;
use crate::account::Account;
use crate::accounting::posting::PartitionBooks;
use crate::charger::Charger;
use crate::journal::{DataDir, Layout, Progress, Snapshots, Store, recover};
use crate::node::replay::Rebuilding;
use crate::node::snapshot::{Sweep, Taken};
use crate::session::Session;

/// The whole state of a shard, in an order that does not depend on cells.
#[derive(Debug, PartialEq)]
struct Known {
    chargers: Vec<Charger>,
    sessions: Vec<Session>,
    accounts: Vec<Account>,
    books: PartitionBooks,
    readings: u64,
}

fn known(shard: &Shard) -> Known {
    let partitions = || shard.partitions().iter();
    let mut chargers: Vec<Charger> =
        partitions().flat_map(|each| each.chargers.iter().map(|(_, charger)| charger.state().clone())).collect();
    chargers.sort_by(|a, b| a.id.cmp(&b.id));
    let mut sessions: Vec<Session> =
        partitions().flat_map(|each| each.sessions.iter().map(|(_, session)| session.state().clone())).collect();
    sessions.sort_by_key(|session| session.id);
    let mut accounts: Vec<(AccountId, Account)> = partitions()
        .flat_map(|each| each.accounts.iter().filter_map(|(_, a)| Some((a.id()?.clone(), a.state().clone()))))
        .collect();
    accounts.sort_by(|a, b| a.0.cmp(&b.0));
    let mut books = PartitionBooks::default();
    partitions().for_each(|each| books.merge(&each.books));
    let readings = partitions().map(|each| each.tally.readings).sum();
    Known { chargers, sessions, accounts: accounts.into_iter().map(|(_, account)| account).collect(), books, readings }
}

fn restored(taken: &[Taken], now: Now) -> Shard {
    let mut shard = Shard::new(node_config(), 0, now);
    for taken in taken {
        shard.restore(taken.partition, &taken.state(), now).unwrap();
    }
    shard
}

/// A day at a few chargers, cut into steps: sessions begin, go on, end and are archived, accounts are filled.
fn step(scene: &mut Scene, number: u32) {
    let charger = format!("AMS-{:04}", number % 5);
    let account = format!("driver-{}", number % 3);
    scene.link = Link { connection: ConnectionId(u64::from(number % 5) + 1), channel: Channel::ZERO };
    let (round, key) = (number / 5 % 4, u64::from(number / 20 + 1));
    match round {
        0 => {
            scene.order(&account, |op| account::Command::Open {
                op,
                account: AccountId::new(&account).unwrap(),
                currency: Currency::EUR,
                credit_limit: Amount::zero(Currency::EUR),
            });
            let source = account::TopUpSource::Bank;
            scene.order(&account, |op| account::Command::TopUp {
                op,
                amount: Amount::new(9_000, Currency::EUR),
                source,
            });
            let contract = format!("DE-8AA-C0000000{}", number % 3);
            scene.link_contract(&account, &contract);
            scene.hello(&charger, Vec::new());
            scene.start(key, CredentialKind::EvAccount, &contract);
        }
        1 | 2 => scene.reading(key, round, i64::from(round) * 300),
        _ => scene.stop(key, 3, 950),
    }
}

#[test]
fn a_snapshot_beside_running_sessions_is_the_state_at_one_moment() {
    for (begins, cells) in [(0, 1), (7, 1), (21, 2), (33, 3), (50, 1), (58, 100)] {
        let mut scene = Scene::new();
        scene.archive = Some(std::collections::BTreeMap::new());
        (0..begins).for_each(|number| step(&mut scene, number));
        let at_that_moment = known(&scene.shard);
        let partitions: Vec<PartitionId> = (0..8).map(PartitionId).collect();
        partitions.iter().for_each(|partition| scene.shard.begin_snapshot(*partition));
        let mut taken: Vec<Taken> = Vec::new();
        for number in begins..begins + 60 {
            step(&mut scene, number);
            for partition in partitions
                .iter()
                .filter(|id| taken.iter().all(|taken| taken.partition != **id))
                .copied()
                .collect::<Vec<_>>()
            {
                if let Sweep::Done(done) = scene.shard.sweep(partition, cells) {
                    taken.push(done);
                }
            }
        }
        assert_eq!(taken.len(), 8, "every partition came to its end");
        let shard = restored(&taken, scene.now);
        assert_eq!(known(&shard), at_that_moment, "begun after {begins} steps");
        assert_eq!(at_that_moment.books.books.imbalance(), 0);
    }
}

#[test]
fn a_snapshot_waits_until_its_records_are_durable() {
    let (mut scene, _) = Scene::charging();
    // A reading that is decided and not yet written.
    scene.pass(60);
    let reading = scene.reading_of(1, 300);
    let message = FromCharger::Reading { session: SessionKey(1), reading };
    scene.shard.on_charger_message(scene.link, message, scene.now).unwrap();
    let partition = PartitionId::of("AMS-0007", 8);
    scene.shard.begin_snapshot(partition);
    assert!(matches!(scene.shard.sweep(partition, 100), Sweep::Waiting));
    let batch = scene.shard.take_batch().unwrap();
    assert!(matches!(scene.shard.sweep(partition, 100), Sweep::Waiting), "under way is not durable");
    scene.log.commit(std::slice::from_ref(&batch)).unwrap();
    scene.shard.committed(batch);
    let Sweep::Done(taken) = scene.shard.sweep(partition, 100) else { panic!("it is durable now") };
    assert_eq!(taken.sequence, scene.log.sequences().last(partition));
    assert_eq!(known(&restored(&[taken], scene.now)).readings, 1);
}

/// Snapshots at different moments, a log that is trimmed below the older ones, and a restart: nothing is different.
#[test]
fn snapshots_and_what_is_left_of_the_log_make_the_same_state() {
    let snapshots = Snapshots::in_memory(8);
    let mut scene = Scene::on(MemoryStore::new(4));
    scene.archive = Some(std::collections::BTreeMap::new());
    let mut trimmed = 0;
    for number in 0..120 {
        step(&mut scene, number);
        let partition = PartitionId(u16::try_from(number % 8).unwrap());
        scene.shard.begin_snapshot(partition);
        let Sweep::Done(taken) = scene.shard.sweep(partition, 1_000) else {
            panic!("everything is durable between two steps")
        };
        let (sequence, state) = (taken.sequence, taken.state());
        snapshots.write(partition, sequence, &state).unwrap();
        trimmed += scene.log.trim(&snapshots.reach()).unwrap();

        let rebuilt = Rebuilding { shard: Shard::new(node_config(), 0, scene.now), now: scene.now };
        let store = Box::new(scene.store.deep_clone());
        let (_, rebuilt, _) = recover(store, &snapshots, vec![rebuilt], &|_: Progress| ()).unwrap();
        // A session that was archived may come back from the log; it is archived again.
        let mut after = known(&rebuilt[0].shard);
        after
            .sessions
            .retain(|session| scene.archive.as_ref().is_none_or(|archive| !archive.contains_key(&session.id)));
        assert_eq!(after, known(&scene.shard), "after step {number}");
    }
    assert!(trimmed > 20, "the log was let go: {trimmed} generations");
}

/// A process that crashes between any two steps of a cycle restarts with the same state; and so does one that finds
/// the newest snapshot of any partition damaged, which is reported.
#[test]
fn a_crash_at_any_step_of_a_round_changes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let layout = Layout { partitions: 8, generation_blocks: 4 };
    let dir = DataDir::create(place.path(), layout).unwrap();
    let folder = place.path().join("snapshots");
    let snapshots = Snapshots::open(&dir).unwrap();
    let mut scene = Scene::on(MemoryStore::new(4));
    scene.archive = Some(std::collections::BTreeMap::new());
    let dies_here = |scene: &Scene, store: &MemoryStore| -> Vec<String> {
        let rebuilt = Rebuilding { shard: Shard::new(node_config(), 0, scene.now), now: scene.now };
        let fresh = Snapshots::open(&dir).unwrap();
        let store = Box::new(store.deep_clone());
        let (_, rebuilt, recovered) = recover(store, &fresh, vec![rebuilt], &|_: Progress| ()).unwrap();
        let mut after = known(&rebuilt[0].shard);
        after
            .sessions
            .retain(|session| scene.archive.as_ref().is_none_or(|archive| !archive.contains_key(&session.id)));
        assert_eq!(after, known(&scene.shard));
        assert_eq!(after.books.books.imbalance(), 0);
        recovered.damaged.iter().map(ToString::to_string).collect()
    };
    let (mut trimmed, mut stood_in) = (0, 0);
    for round in 0..6 {
        (round * 20..round * 20 + 20).for_each(|number| step(&mut scene, number));
        for partition in (0..8).map(PartitionId) {
            scene.shard.begin_snapshot(partition);
            let Sweep::Done(taken) = scene.shard.sweep(partition, 1_000) else {
                panic!("everything is durable between two steps")
            };
            let (sequence, state) = (taken.sequence, taken.state());
            // Cut off while it is written under its other name: half of it, or all.
            let unfinished = folder.join(format!("p{:05}-{:020}.new", partition.0, sequence.0));
            for length in [state.len() / 2, state.len()] {
                std::fs::write(&unfinished, &state[..length]).unwrap();
                assert!(dies_here(&scene, &scene.store).is_empty());
                assert!(!unfinished.exists(), "it was cleared away");
            }
            snapshots.write(partition, sequence, &state).unwrap();
            assert!(dies_here(&scene, &scene.store).is_empty(), "some partitions have it, others not yet");
        }
        // Crashed between the durable trim mark and the removal of the blocks below it.
        let mut before = scene.store.deep_clone();
        trimmed += scene.log.trim(&snapshots.reach()).unwrap();
        before.set_mark(scene.store.mark().unwrap()).unwrap();
        assert!(dies_here(&scene, &before).is_empty());
        assert!(dies_here(&scene, &scene.store).is_empty());
        // The newest of one partition is not what was written.
        let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for pair in files.chunk_by(|a, b| {
            a.file_name().unwrap().as_encoded_bytes()[..6] == b.file_name().unwrap().as_encoded_bytes()[..6]
        }) {
            let newest = pair.last().unwrap();
            let whole = std::fs::read(newest).unwrap();
            let mut damaged = whole.clone();
            damaged[whole.len() / 2] ^= 1;
            std::fs::write(newest, damaged).unwrap();
            let damage = dies_here(&scene, &scene.store);
            assert!(damage.len() == 1 && damage[0].contains(newest.to_str().unwrap()), "{damage:?}");
            std::fs::write(newest, whole).unwrap();
            stood_in += 1;
        }
    }
    assert!(trimmed > 10 && stood_in > 40, "{trimmed} generations went, {stood_in} times an older one stood in");
}

/// A tariff that is no longer in force goes with the last session that had it, and comes back with that session.
#[test]
fn a_tariff_that_nobody_has_is_let_go_and_pinned_again_when_its_session_lives_again() {
    let mut scene = Scene::new();
    scene.archive = Some(std::collections::BTreeMap::new());
    scene.hello("AMS-0007", Vec::new());
    scene.start(1, CredentialKind::CardToken, "tok_visa");
    let authorize = scene.asked();
    scene.approve(&authorize);
    let pinned = |scene: &Scene| scene.shard.partitions().iter().map(|each| each.pinned_all().count()).sum::<usize>();
    let snapshots = Snapshots::in_memory(8);
    let snap = |scene: &mut Scene| {
        for partition in (0..8).map(PartitionId) {
            scene.shard.begin_snapshot(partition);
            let Sweep::Done(taken) = scene.shard.sweep(partition, 1_000) else { panic!("everything is durable") };
            snapshots.write(partition, taken.sequence, &taken.state()).unwrap();
        }
    };
    // Another tariff is in force from now on; the session keeps its own.
    let other = Arc::new(Tariff::parse(&TARIFF.replace("0.42", "0.43")).unwrap().tariff);
    scene.shard.node_config().tariffs.replace(Box::new(OneTariff(other)));
    snap(&mut scene);
    assert_eq!(pinned(&scene), 1, "a session has it");
    scene.stop(1, 1, 300);
    let capture = scene.asked();
    let callback = scene.next_callback;
    scene.approve(&capture);
    assert!(scene.shard.session(capture.id.payment().session()).is_none(), "it is put away");
    snap(&mut scene);
    assert_eq!(pinned(&scene), 0, "no session pins it");
    // A repeated message of its processor makes the session live again, and pins its tariff.
    scene.callbacks.clear();
    scene.next_callback = callback;
    scene.approve(&capture);
    assert_eq!(scene.callbacks, [(CallbackId(callback), None)]);
    assert_eq!(pinned(&scene), 1);
    // The log above the snapshots has the same result.
    let rebuilt = Rebuilding { shard: Shard::new(node_config(), 0, scene.now), now: scene.now };
    let store = Box::new(scene.store.deep_clone());
    let (_, rebuilt, _) = recover(store, &snapshots, vec![rebuilt], &|_: Progress| ()).unwrap();
    assert_eq!(rebuilt[0].shard.partitions().iter().map(|each| each.pinned_all().count()).sum::<usize>(), 1);
}
