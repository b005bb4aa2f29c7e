//! Scenarios of the log as a whole, on a store in memory.

use super::*;
use crate::units::PartitionId;

const PARTITIONS: u16 = 4;

/// What was recorded, as (partition, sequence, text).
type Replayed = Vec<(u16, u64, String)>;

fn empty() -> Sequences {
    Sequences::new(PARTITIONS)
}

/// Opens a log and returns what it replays.
fn open(store: &MemoryStore, base: &Sequences) -> Result<(Log, Recovered, Replayed), Failure> {
    let mut replayed = Replayed::new();
    let (log, recovered) = Log::open(Box::new(store.clone()), base, &mut |record| {
        let text = String::from_utf8(record.payload.to_vec()).map_err(|wrong| wrong.to_string())?;
        replayed.push((record.partition.0, record.sequence.0, text));
        Ok(())
    })?;
    Ok((log, recovered, replayed))
}

/// Records texts through an appender, each commit its own group; an empty text ends a group.
fn write(log: &mut Log, texts: &[(u16, &str)]) {
    let mut appender = Appender::new(log.sequences().clone());
    for chunk in texts.split(|(_, text)| text.is_empty()) {
        for (partition, text) in chunk {
            let mut permit = appender.reserve().unwrap();
            permit.append(PartitionId(*partition), RecordKind::SessionEvent, |out| out.extend(text.bytes()));
        }
        let batch = appender.take_batch().expect("something was recorded");
        let durable = log.commit(std::slice::from_ref(&batch)).unwrap();
        assert_eq!(durable.records, batch.records());
        appender.committed(batch);
    }
    assert!(appender.is_idle());
}

fn damage(result: Result<(Log, Recovered, Replayed), Failure>) -> Damage {
    match result {
        Err(Failure::Damaged(damage)) => *damage,
        Err(other) => panic!("{other}"),
        Ok((_, recovered, replayed)) => panic!("opened: {recovered:?} {replayed:?}"),
    }
}

/// Three groups of one block each; a block of two records, then one, then two.
fn three_groups() -> MemoryStore {
    let store = MemoryStore::new(64);
    let (mut log, ..) = open(&store, &empty()).unwrap();
    write(&mut log, &[(0, "open"), (1, "plug"), (0, ""), (0, "tick"), (0, ""), (3, "plug"), (0, "stop")]);
    store
}

fn all_replayed() -> Replayed {
    [(0, 1, "open"), (1, 1, "plug"), (0, 2, "tick"), (3, 1, "plug"), (0, 3, "stop")]
        .map(|(partition, sequence, text)| (partition, sequence, text.to_owned()))
        .to_vec()
}

#[test]
fn what_was_committed_is_replayed_in_order_and_the_log_goes_on() {
    let store = three_groups();
    let (mut log, recovered, replayed) = open(&store, &empty()).unwrap();
    assert_eq!(replayed, all_replayed());
    assert_eq!((recovered.blocks, recovered.records, recovered.torn), (3, 5, None));
    assert_eq!(log.sequences().last(PartitionId(0)), Sequence(3));
    write(&mut log, &[(1, "unplug")]);
    log.close().unwrap();
    let (log, recovered, replayed) = open(&store, &empty()).unwrap();
    assert_eq!(replayed.last(), Some(&(1, 2, "unplug".to_owned())));
    assert_eq!((recovered.records, log.open_count()), (6, 3));
}

#[test]
fn records_below_a_snapshot_are_not_shown_again() {
    let store = three_groups();
    let mut base = empty();
    base.set_last(PartitionId(0), Sequence(2));
    let (_, recovered, replayed) = open(&store, &base).unwrap();
    let expected: Replayed = all_replayed().into_iter().filter(|(partition, n, _)| *partition != 0 || *n > 2).collect();
    assert_eq!((recovered.records, replayed), (5, expected));
}

#[test]
fn many_batches_share_blocks_and_one_group() {
    let store = MemoryStore::new(64);
    let (mut log, ..) = open(&store, &empty()).unwrap();
    let mut appenders: Vec<Appender> = (0..2).map(|_| Appender::new(empty())).collect();
    let text = vec![b'x'; 1000];
    for (partition, appender) in (0..).map(PartitionId).zip(&mut appenders) {
        for _ in 0..40 {
            let mut permit = appender.reserve().unwrap();
            permit.append(partition, RecordKind::SessionEvent, |out| out.extend_from_slice(&text));
        }
    }
    let batches: Vec<Batch> = appenders.iter_mut().filter_map(Appender::take_batch).collect();
    let durable = log.commit(&batches).unwrap();
    assert_eq!((durable.records, durable.blocks), (80, 3));
    assert!((0..3).all(|number| store.block_len(number).unwrap() <= BLOCK_MAX));
    let (_, recovered, replayed) = open(&store, &empty()).unwrap();
    assert_eq!((recovered.records, replayed.len()), (80, 80));
    // Half a group is no group.
    store.lose(2);
    let error = damage(open(&store, &empty()));
    assert!(
        matches!(error.place, DamageLocation::End { expected: 3, found: 0 }),
        "{error}: the mark was set when it was opened"
    );
}

#[test]
fn a_record_longer_than_a_block_comes_back_as_one() {
    let store = MemoryStore::new(2);
    let (mut log, ..) = open(&store, &empty()).unwrap();
    let long = "tariff ".repeat(30_000);
    write(&mut log, &[(1, "open"), (1, &long), (2, "plug"), (2, &long), (1, "tick")]);
    let (log, recovered, replayed) = open(&store, &empty()).unwrap();
    let texts: Vec<(u16, &str)> = replayed.iter().map(|(partition, _, text)| (*partition, text.as_str())).collect();
    assert_eq!(texts, [(1, "open"), (1, &long), (2, "plug"), (2, &long), (1, "tick")]);
    assert_eq!((recovered.records, log.sequences().last(PartitionId(1))), (17, Sequence(9)));
}

#[test]
fn a_group_that_is_not_whole_is_cut_away_and_stays_away() {
    let store = MemoryStore::new(64);
    let (mut log, ..) = open(&store, &empty()).unwrap();
    write(&mut log, &[(0, "open"), (1, "plug")]);
    let big = "x".repeat(20_000);
    write(&mut log, &[(0, &big), (1, &big), (2, &big)]);
    for missing in [3, 2] {
        store.lose(missing);
        let (_, recovered, replayed) = open(&store.deep_clone(), &empty()).unwrap();
        let torn = recovered.torn.unwrap();
        assert_eq!((torn.from_block, torn.blocks), (1, missing - 1));
        assert_eq!(replayed.len(), 2);
    }
    let (mut log, ..) = open(&store, &empty()).unwrap();
    write(&mut log, &[(0, "tick")]);
    let (_, recovered, replayed) = open(&store, &empty()).unwrap();
    assert_eq!(recovered.torn, None);
    assert_eq!(replayed.last(), Some(&(0, 2, "tick".to_owned())));
}

#[test]
fn every_flipped_bit_is_found_and_located() {
    let store = three_groups();
    for number in 0..3 {
        for bit in 0..store.block_len(number).unwrap() * 8 {
            let damaged = store.deep_clone();
            damaged.flip_bit(number, bit);
            let found = damage(open(&damaged, &empty()));
            assert!(
                matches!(found.place, DamageLocation::Block { number: at, .. } if at == number),
                "bit {bit}: {found}"
            );
        }
    }
}

#[test]
fn damage_names_the_block_and_the_records_that_are_lost() {
    let store = three_groups();
    store.flip_bit(0, BLOCK_HEADER * 8 + 40);
    let found = damage(open(&store, &empty()));
    assert_eq!(found.place, DamageLocation::Block { number: 0 });
    // Record 1 of partition 1 is lost too, but no later record shows it.
    assert_eq!(found.lost, [Lost { partition: PartitionId(0), first: 1, last: 1 }]);
    assert!(found.to_string().contains("records 1 to 1 of partition 0 are lost"), "{found}");
}

#[test]
fn a_hole_is_damage_and_a_lost_end_below_the_mark_too() {
    let store = three_groups();
    let hole = store.deep_clone();
    hole.lose(1);
    let found = damage(open(&hole, &empty()));
    assert_eq!(found.place, DamageLocation::Block { number: 1 });
    assert_eq!(found.lost, [Lost { partition: PartitionId(0), first: 2, last: 2 }]);
    open(&store, &empty()).unwrap().0.close().unwrap();
    store.lose(2);
    assert_eq!(damage(open(&store, &empty())).place, DamageLocation::End { expected: 3, found: 2 });
}

#[test]
fn a_log_that_ends_before_a_snapshot_is_damaged() {
    let store = three_groups();
    let mut base = empty();
    base.set_last(PartitionId(0), Sequence(4));
    let found = damage(open(&store, &base));
    assert_eq!(found.lost, [Lost { partition: PartitionId(0), first: 4, last: 4 }]);
}

#[test]
fn the_log_is_trimmed_by_whole_generations_below_every_snapshot() {
    let store = MemoryStore::new(2);
    let (mut log, ..) = open(&store, &empty()).unwrap();
    for _ in 0..5 {
        write(&mut log, &[(0, "tick"), (1, "tick")]);
    }
    assert_eq!(log.full_generations(), 2);
    let mut verified = empty();
    verified.set_last(PartitionId(0), Sequence(5));
    assert_eq!(log.trim(&verified).unwrap(), 0, "partition 1 has no snapshot");
    verified.set_last(PartitionId(1), Sequence(3));
    assert_eq!(log.trim(&verified).unwrap(), 1);
    assert_eq!(store.block_len(1), None);
    write(&mut log, &[(0, "stop")]);
    let (_, recovered, replayed) = open(&store, &verified).unwrap();
    assert_eq!(recovered.blocks, 4);
    assert_eq!(replayed, [(1, 4, "tick".to_owned()), (1, 5, "tick".to_owned()), (0, 6, "stop".to_owned())]);
    // An older snapshot does not reach the start of the log any more.
    let mut older = verified.clone();
    older.set_last(PartitionId(1), Sequence(1));
    let found = damage(open(&store, &older));
    assert_eq!(found.lost, [Lost { partition: PartitionId(1), first: 2, last: 2 }]);
    older.set_last(PartitionId(1), Sequence(3));
    older.set_last(PartitionId(0), Sequence(1));
    assert!(matches!(damage(open(&store, &older)).place, DamageLocation::Block { number: 2, .. }));
}

#[test]
fn records_out_of_order_are_refused_and_the_log_is_dead_afterwards() {
    let (mut log, ..) = open(&MemoryStore::new(64), &empty()).unwrap();
    let mut appender = Appender::new(empty());
    let mut batch = |text: &str| {
        let mut permit = appender.reserve().unwrap();
        permit.append(PartitionId(2), RecordKind::SessionEvent, |out| out.extend(text.bytes()));
        appender.take_batch().unwrap()
    };
    let (_first, second) = (batch("one"), batch("two"));
    let refused = log.commit(&[second]).unwrap_err();
    assert!(matches!(refused, Failure::OutOfOrder { partition: PartitionId(2), expected: 1, found: 2 }), "{refused}");
    assert!(matches!(log.commit(&[]), Err(Failure::Dead)));
}

#[test]
fn a_batch_that_outgrows_a_group_takes_more_than_one_sync_and_nothing_is_empty() {
    let (mut log, ..) = open(&MemoryStore::new(4096), &empty()).unwrap();
    assert_eq!(log.commit(&[]).unwrap(), Durable::default());
    assert_eq!(log.commit(&[Batch::default()]).unwrap(), Durable::default());
}

#[test]
fn memory_keeps_the_contract_of_a_store() {
    conformance::check(|| {
        let store = MemoryStore::new(u64::from(conformance::GENERATION_BLOCKS));
        move || -> Box<dyn Store> { Box::new(store.clone()) }
    });
}
