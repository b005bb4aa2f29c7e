//! When a log is strained and when it is full.

use super::*;
use crate::journal::{MemoryStore, Sequences};

#[test]
fn a_log_is_full_only_while_snapshots_make_it_shorter() {
    let store = Box::new(MemoryStore::new(4));
    let (log, recovered) = Log::open(store, &Sequences::new(1), &mut |_| Ok(())).expect("an empty log");
    let figures = LogFigures::new(&recovered, &log, 100, Instant::now());
    let with = |used: u64| {
        figures.used.store(used, Ordering::Relaxed);
        (figures.is_strained(), figures.is_full())
    };
    assert_eq!([with(50), with(51), with(97)], [(false, false), (true, false), (true, false)]);
    figures.set_relief(true);
    assert_eq!([with(50), with(96), with(97)], [(false, false), (true, false), (true, true)]);
    figures.set_relief(false);
    assert_eq!(with(1_000), (true, false), "it grows rather than stop all charging");
}
