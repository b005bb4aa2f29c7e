//! The gate is killed under load, again and again: no acknowledged reading is lost, and every hold ends once. Meanwhile it
//! takes snapshots all the time and lets the log go behind them, so that most of its starts need both.

use crate::common::Served;
use crate::common::business::Business;
use std::time::Duration;
use wattstile::journal::{self, DataDir, Layout, SledStore, Store};
use wattstile::units::rng::Rng;

const CHARGERS: u16 = 24;

/// How often the gate is killed; more by `WATTSTILE_KILLS`.
fn kills() -> u32 {
    std::env::var("WATTSTILE_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

/// Where the random moments come from; the seed of a failure is printed.
fn seed() -> u64 {
    std::env::var("WATTSTILE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_261_122)
}

#[test]
fn killed_at_random_moments_the_gate_loses_nothing_and_charges_nobody_twice() {
    let (kills, seed) = (kills(), seed());
    println!("WATTSTILE_KILLS={kills} WATTSTILE_SEED={seed}");
    let mut rng = Rng::of(seed, 7);
    let layout = Layout { partitions: 8, generation_blocks: 32 };
    let mut gate =
        Served::start_on(layout, &["payment.answer_authorize=2s", "journal.snapshot_every=50ms", "log.level=warn"]);
    let business = Business::begin(&mut gate, CHARGERS, seed);

    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(u64::try_from(rng.between(300, 1_500)).unwrap()));
        gate.kill();
        gate.start_again();
    }

    let outcome = business.finish();
    assert!(outcome.fleet.tally.receipts >= 20, "there was work: {:?}", outcome.fleet.tally);
    assert!(outcome.fleet.disconnects >= u64::from(kills), "the kills were felt");
    outcome.assert_nothing_lost();
    assert_eq!(gate.terminate(), Some(0));

    let data = gate.data_dir().join("data");
    let found = journal::verify(&data).unwrap();
    assert!(found.whole, "{:?}", found.damage);
    assert!(found.partitions.iter().all(|totals| totals.snapshot_at.is_some()), "{:?}", found.partitions);
    {
        let log = SledStore::open(&DataDir::open(&data).unwrap()).unwrap();
        let mark = log.mark().unwrap();
        println!("the log begins at block {} of {}, open count {}", mark.first_block, mark.next_block, mark.open_count);
        assert!(mark.first_block > 0, "the log was let go behind snapshots");
    }
    let figures = wattstile::app::read(&data).unwrap().figures().unwrap();
    assert_eq!(figures.books().books.imbalance(), 0, "the books balance after the last start");
}
