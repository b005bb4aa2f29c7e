//! The gate's wall clock is set while it runs.

use super::{CHARGERS, LAYOUT, SEED, SETTINGS, settle, shim};
use crate::common::Served;
use crate::common::business::Business;
use std::fs;
use std::time::Duration;

/// Back by an hour and a day, forward again, and a restart while it is wrong. Chargers have correct clocks of their
/// own: their readings seem to come from the future meanwhile.
#[test]
fn a_clock_that_is_set_back_and_forth_costs_nobody_money() {
    let folder = tempfile::tempdir().unwrap();
    let Some(shim) = shim(folder.path(), "clock") else { return };
    let order = folder.path().join("order");
    let settings = [&SETTINGS[..], &["chargers.clock_ahead_max=off"]].concat();
    let mut gate = Served::stopped(folder, LAYOUT, &settings);
    gate.environment = vec![
        ("LD_PRELOAD".to_owned(), shim.display().to_string()),
        ("WATTSTILE_CLOCK".to_owned(), order.display().to_string()),
    ];
    gate.start_again();
    let business = Business::begin(&mut gate, CHARGERS, SEED);
    std::thread::sleep(Duration::from_millis(1_500));
    for off_by in ["-3600", "-86400", "1800", "-600"] {
        fs::write(&order, off_by).unwrap();
        std::thread::sleep(Duration::from_millis(800));
    }
    gate.kill();
    gate.start_again();
    std::thread::sleep(Duration::from_millis(800));
    fs::remove_file(&order).unwrap();
    settle(gate, business);
}
