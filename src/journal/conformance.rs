//! One suite that every [`Store`] passes: memory, sled, the simulated disk, and whatever comes later.
//!
//! It checks the contract as far as it shows without cutting the power; that has proofs of its own.

#![allow(
    clippy::unwrap_used,
    reason = "a suite of tests, which stands outside the tests so that other rooms can run it"
)]

use super::block::{self, BLOCK_HEADER, BlockHeader};
use super::failure::Failure;
use super::store::{Checkpoint, Store};

/// A place for a store that can be opened again and again, as after a restart. A store is dropped before the place is
/// opened again.
pub trait StoreLocation {
    /// Opens the store, with the existing data. Generations have [`GENERATION_BLOCKS`] blocks.
    fn open(&mut self) -> Box<dyn Store>;
}

impl<F: FnMut() -> Box<dyn Store>> StoreLocation for F {
    fn open(&mut self) -> Box<dyn Store> {
        self()
    }
}

/// Blocks in a generation of the stores under test.
pub const GENERATION_BLOCKS: u32 = 8;

/// Runs the whole suite, each part on a place of its own.
///
/// # Panics
/// When the store breaks the contract.
pub fn check<P: StoreLocation>(mut fresh: impl FnMut() -> P) {
    an_empty_store_shows_nothing(&mut fresh());
    blocks_come_back_in_order_and_as_they_were(&mut fresh());
    a_visitor_can_stop(&mut fresh());
    a_cut_takes_the_end_away_and_other_blocks_take_its_place(&mut fresh());
    whole_generations_are_dropped_and_no_others(&mut fresh());
    the_mark_is_replaced_as_a_whole(&mut fresh());
    used_bytes_follow_the_blocks(&mut fresh());
}

fn an_empty_store_shows_nothing(place: &mut impl StoreLocation) {
    for _ in 0..2 {
        let mut store = place.open();
        assert!(numbers(store.as_mut()).is_empty());
        assert_eq!(store.generation_blocks(), u64::from(GENERATION_BLOCKS));
        store.set_mark(Checkpoint::default()).unwrap();
    }
}

fn blocks_come_back_in_order_and_as_they_were(place: &mut impl StoreLocation) {
    let mut written = Vec::new();
    for round in 0..3 {
        let mut store = place.open();
        for number in round * 11..round * 11 + 11 {
            let block = block(number);
            store.append(number, &block).unwrap();
            written.push((number, block));
        }
        store.sync().unwrap();
        store.set_mark(Checkpoint { next_block: round * 11 + 11, ..Checkpoint::default() }).unwrap();
        drop(store);
        assert_eq!(blocks(place.open().as_mut()), written);
    }
}

fn a_visitor_can_stop(place: &mut impl StoreLocation) {
    let mut store = filled(place, 3);
    let mut shown = 0;
    let stopped = store.replay(&mut |_, _| {
        shown += 1;
        Err(Failure::Dead)
    });
    assert!(matches!(stopped, Err(Failure::Dead)));
    assert_eq!(shown, 1);
}

fn a_cut_takes_the_end_away_and_other_blocks_take_its_place(place: &mut impl StoreLocation) {
    let mut store = filled(place, 20);
    store.cut(5).unwrap();
    drop(store);
    let mut store = place.open();
    assert_eq!(numbers(store.as_mut()), [0, 1, 2, 3, 4]);
    let another = framed(5, *b"another");
    store.append(5, &another).unwrap();
    store.sync().unwrap();
    drop(store);
    let found = blocks(place.open().as_mut());
    assert_eq!(found.last(), Some(&(5, another)));
    assert_eq!(found.len(), 6);
    place.open().cut(0).unwrap();
    assert!(numbers(place.open().as_mut()).is_empty());
}

fn whole_generations_are_dropped_and_no_others(place: &mut impl StoreLocation) {
    let mut store = filled(place, 30);
    let first = u64::from(GENERATION_BLOCKS) * 2;
    // The mark comes first, as in the log: it is what counts after a restart.
    store.set_mark(Checkpoint { first_block: first, next_block: 30, ..Checkpoint::default() }).unwrap();
    store.drop_below(first + 3).unwrap();
    store.append(30, &block(30)).unwrap();
    store.sync().unwrap();
    drop(store);
    for _ in 0..2 {
        let kept: Vec<u64> = numbers(place.open().as_mut()).into_iter().filter(|number| *number >= first).collect();
        assert_eq!(kept, (first..31).collect::<Vec<_>>());
    }
    assert_eq!(numbers(place.open().as_mut())[0], first, "what is below is gone in the end");
}

fn the_mark_is_replaced_as_a_whole(place: &mut impl StoreLocation) {
    assert_eq!(place.open().mark(), None);
    for open_count in 1..4 {
        let mark =
            Checkpoint { open_count, first_block: 8, next_block: 9, last_crc: 10, floor: vec![1; open_count as usize] };
        let mut store = place.open();
        store.set_mark(mark.clone()).unwrap();
        assert_eq!(store.mark(), Some(mark.clone()));
        drop(store);
        assert_eq!(place.open().mark(), Some(mark));
    }
}

fn used_bytes_follow_the_blocks(place: &mut impl StoreLocation) {
    let mut store = filled(place, 20);
    assert_eq!(store.used_bytes(), (0..20).map(|number| block(number).len() as u64).sum::<u64>());
    store.drop_below(16).unwrap();
    assert_eq!(store.used_bytes(), (16..20).map(|number| block(number).len() as u64).sum::<u64>());
}

fn filled(place: &mut impl StoreLocation, blocks: u64) -> Box<dyn Store> {
    let mut store = place.open();
    for number in 0..blocks {
        store.append(number, &block(number)).unwrap();
    }
    store.sync().unwrap();
    store.set_mark(Checkpoint { next_block: blocks, ..Checkpoint::default() }).unwrap();
    store
}

/// A block like no other, of a few bytes or of 32 KiB.
fn block(number: u64) -> Vec<u8> {
    let length = if number.is_multiple_of(3) { super::BLOCK_MAX } else { 100 };
    framed(number, (BLOCK_HEADER as u64..length as u64).map(|at| (at.wrapping_mul(31) ^ number).to_le_bytes()[0]))
}

/// A whole block of this content. Its group and its place in the chain are set by the log.
pub(super) fn framed(number: u64, content: impl IntoIterator<Item = u8>) -> Vec<u8> {
    let mut framed = Vec::new();
    block::begin(&mut framed);
    framed.extend(content);
    block::finish(
        &mut framed,
        BlockHeader { last: true, records: 0, open_count: 1, number, group: number, previous: 0, crc: 0 },
    );
    framed
}

fn blocks(store: &mut dyn Store) -> Vec<(u64, Vec<u8>)> {
    let mut found = Vec::new();
    store
        .replay(&mut |number, block| {
            found.push((number, block.to_vec()));
            Ok(())
        })
        .unwrap();
    found
}

fn numbers(store: &mut dyn Store) -> Vec<u64> {
    blocks(store).into_iter().map(|(number, _)| number).collect()
}
