//! Worlds that run with the tests: few, small, with all faults.

use super::*;
use crate::node::planted::{self, Bug};

fn world(seed: u64, minutes: u64, chargers: u32, faults: Faults) -> Report {
    simulate(&Settings { seed, minutes, chargers, ocpp_percent: OCPP_PERCENT, faults })
}

/// One in which all chargers speak OCPP.
fn of_ocpp(seed: u64, minutes: u64, chargers: u32, faults: Faults) -> Report {
    simulate(&Settings { seed, minutes, chargers, ocpp_percent: 100, faults })
}

#[track_caller]
fn is_good(report: &Report) {
    assert!(report.is_good(), "seed {}: {:#?}\n{:#?}", report.seed, report.violations, report.reckoning);
}

#[test]
fn in_good_weather_every_driver_gets_a_receipt() {
    let report = world(1, 180, 12, Faults::NONE);
    is_good(&report);
    assert!(report.receipts > 20 && report.captured_minor > 0, "{report:#?}");
    assert_eq!((report.crashes, report.readings_acked), (0, report.readings));
}

#[test]
fn the_same_seed_is_the_same_world_and_another_is_another() {
    let story = |seed| world(seed, 120, 12, Faults::ALL);
    let first = story(7);
    assert_eq!(first, story(7));
    assert_ne!(first.ledger_hash, story(8).ledger_hash);
}

#[test]
fn whatever_goes_wrong_every_promise_is_kept() {
    let (mut crashes, mut top_ups) = (0, 0);
    for seed in 100..108 {
        let report = world(seed, 240, 16, Faults::ALL);
        is_good(&report);
        crashes += report.crashes;
        top_ups += report.card_top_ups;
    }
    assert!(crashes > 25 && top_ups > 8, "{crashes} crashes, {top_ups} top-ups by card");
}

#[test]
fn chargers_of_every_ocpp_version_charge_and_are_billed_what_they_gave() {
    let report = of_ocpp(1, 180, 12, Faults::NONE);
    is_good(&report);
    assert!(report.ocpp_sessions_ended > 20 && report.captured_minor > 0, "{report:#?}");
    assert_eq!((report.ocpp_chargers, report.receipts, report.readings_acked), (12, 0, report.readings));
}

#[test]
fn ocpp_chargers_with_the_manners_of_the_field_keep_every_promise() {
    let mut ended = 0;
    // An archive without room, repetitions by a charger without a clock, doubted readings of an archived session.
    for seed in [217, 220, 260, 379, 399] {
        let report = of_ocpp(seed, 240, 12, Faults::ALL);
        is_good(&report);
        ended += report.ocpp_sessions_ended;
    }
    assert!(ended > 100, "{ended} sessions ended");
}

#[test]
fn energy_of_an_ocpp_charger_that_is_lost_or_made_up_is_found() {
    is_found_in(of_ocpp, (Bug::LastReadingForgotten, 100), (120, 12, Faults::NONE), "L22");
    is_found_in(of_ocpp, (Bug::LastReadingRaised, 100), (120, 12, Faults::NONE), "L23");
}

/// What is simulated is the driver that ships: a bug in it is found.
fn is_found(bug: Bug, minutes: u64, chargers: u32, faults: Faults, law: &str) {
    is_found_in(world, (bug, 100), (minutes, chargers, faults), law);
}

fn is_found_in(
    world: fn(u64, u64, u32, Faults) -> Report,
    (bug, first): (Bug, u64),
    (minutes, chargers, faults): (u64, u32, Faults),
    law: &str,
) {
    let violations = |seed: u64| planted::with(bug, || world(seed, minutes, chargers, faults)).violations;
    let mut seen = (first..first + 10).flat_map(violations);
    assert!(seen.any(|violation| violation.what.contains(law)), "{bug:?} was not found");
}

#[test]
fn an_effect_released_before_its_sync_is_found() {
    is_found(Bug::ReleaseBeforeSync, 240, 16, Faults::ALL, "L8");
}

#[test]
fn a_lost_timer_is_found() {
    is_found_in(world, (Bug::LostTimer, 105), (240, 16, Faults::ALL), "without an end");
}

#[test]
fn a_page_acknowledged_before_it_is_archived_is_found() {
    is_found(Bug::PageNotArchived, 240, 16, Faults::NONE, "of the books of partition");
}

#[test]
fn a_long_simulation_is_many_worlds() {
    let (minutes, ocpp_percent) = (2 * WORLD_MINUTES_MAX + 60, 0);
    let worlds = Settings { seed: 5, minutes, chargers: 1, ocpp_percent, faults: Faults::NONE }.worlds();
    let listed: Vec<(u64, u64)> = worlds.iter().map(|world| (world.seed, world.minutes)).collect();
    assert_eq!(listed, [(5, WORLD_MINUTES_MAX), (6, WORLD_MINUTES_MAX), (7, 60)]);
}

/// Times in calm weather are those of the gate only if no peer is still disconnected by an earlier fault.
#[test]
fn when_it_is_calm_whoever_was_cut_off_is_back_at_once() {
    let mut world = World::new(&Settings { seed: 3, minutes: 60, chargers: 8, ocpp_percent: 0, faults: Faults::NONE });
    world.run_until(60_000);
    world.strike(Fault::ProcessorOffline);
    let place = world.processors.iter().position(|processor| processor.offline_until > 0).unwrap();
    world.processors[place].offline_until = 40 * 60_000;
    let is_connected = |world: &World| world.processors[place].lines.iter().all(|line| line.line.is_some());
    world.run_until(2 * 60_000);
    assert!(!is_connected(&world));
    world.events.after(1, event_queue::Event::Calm(true));
    world.run_until(2 * 60_000 + 10_000);
    assert!(is_connected(&world));
}

/// While snapshots are taken, a log at its bound takes nothing: messages of chargers wait, and nothing is lost. Logs of few bytes
/// and frequent slow snapshots meet in some worlds only.
#[test]
fn at_a_log_at_its_bound_chargers_wait_and_nothing_is_lost() {
    let worlds = (100..132).map(|seed| world(seed, 240, 16, Faults::NONE.with(Fault::SlowSnapshots)));
    let found = worlds.inspect(is_good).any(|report| report.reads_delayed > 20 && report.receipts > 100);
    assert!(found, "in no world a message waited for the log");
}
