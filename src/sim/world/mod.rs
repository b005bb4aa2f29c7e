//! Deterministic simulation: a whole gate with its fleet and its processors, run by one seeded scheduler on a virtual clock,
//! a simulated disk and a simulated network.
//!
//! ```text
//!   controller ──bytes──▶ network ──▶ ChargerLink ──▶ Driver ──▶ Log ──▶ SimulatedDisk
//!   (chargers)  ◀─bytes── (faults) ◀── ChargerLink ◀── gate  ◀── durable
//!   processor  ◀─bytes──▶ network ◀─▶ ProcessorLink ◀─▶ ProcessorActor ◀─▶ Driver
//!                                   witness: after every step        audit: when all is over
//! ```
//!
//! Everything that decides is what ships: the drivers of shards with their machines, timers and gates
//! ([`node::driver`](crate::node::driver)), log writer, recovery, snapshot schedule and trimming, archiver, links with real
//! frames, processors' actors. What is simulated is what surrounds them: threads and mailboxes (method calls in the event queue's
//! order; a full mailbox is a random choice), sockets, the disk, clocks, and the peers.
//!
//! The same settings make the same world, to the last byte: there is one thread, one stream of random numbers for each purpose, and
//! no reading of any clock. A world lasts at most a day; longer simulations are many worlds, each with another seed and
//! another weather of faults.

mod audit;
mod checker;
mod controller;
mod durable;
mod event_queue;
mod fault_injection;
mod faults;
mod invariants;
mod network;
mod outbox;
mod peers;
mod process;
mod report;
mod settlement;
mod simulated_processor;
#[cfg(test)]
mod tests;
#[allow(clippy::module_inception)]
mod world;

pub use audit::Reckoning;
pub use checker::Violation;
pub use faults::{Fault, Faults, UnknownFault};
pub use report::{Percentiles, Report, Settling};

use crate::journal::Store;
use crate::units::{PartitionId, SessionId};
use faults::Weather;
use process::Process;
use world::World;

/// A world to be simulated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Repeats everything.
    pub seed: u64,
    /// How long things go wrong and drivers come, in minutes; afterwards everything comes to its end.
    pub minutes: u64,
    /// Chargers.
    pub chargers: u32,
    /// Percent of the chargers that speak OCPP, each version as often as the others.
    pub ocpp_percent: u8,
    /// What may go wrong.
    pub faults: Faults,
}

/// The share of chargers that speak OCPP, in percent, unless another is wanted.
pub const OCPP_PERCENT: u8 = 33;

/// Bits of the log that are changed in the end, one at a time.
const BITS_CHANGED: u32 = 4;

/// The longest that one world lasts, in minutes.
pub const WORLD_MINUTES_MAX: u64 = 24 * 60;

impl Settings {
    /// The worlds that a long simulation consists of: seeds count up.
    pub fn worlds(&self) -> Vec<Settings> {
        let count = self.minutes.div_ceil(WORLD_MINUTES_MAX).max(1);
        let world = |number: u64| Settings {
            seed: self.seed.wrapping_add(number),
            minutes: (self.minutes - number * WORLD_MINUTES_MAX).min(WORLD_MINUTES_MAX),
            ..self.clone()
        };
        (0..count).map(world).collect()
    }

    /// Percent of the operations at which processors misbehave in some weather.
    fn misbehave(&self, weather: &Weather) -> u8 {
        u8::try_from(weather.share(Fault::Processor) / 100).unwrap_or(u8::MAX).min(60)
    }
}

/// Simulates one world from its beginning to its end.
pub fn simulate(settings: &Settings) -> Report {
    let mut world = World::new(settings);
    world.run_until(settings.minutes * 60_000);
    let rested = world.come_to_rest();
    if !rested {
        let left = audit::left_over(&world);
        world.checker.violated(|| format!("not everything has come to its end in time: {left}"));
    }
    let reckoning = audit::reckon(&mut world);
    invariants::check(&mut world);
    if rested {
        world.settle_up();
    }
    world.begin_anew();
    world.rot();
    world.begin_on_older_snapshots();
    world.check_archive();
    let hash = audit::ledger_hash(&world);
    Report::of(&world, &reckoning, &hash)
}

impl World {
    /// A bit of the log changes at rest: a gate that begins anew on it finds that, and refuses. The last block is no part of
    /// this: damage there may be what a loss of power left.
    fn rot(&mut self) {
        let blocks = self.disk.at_rest();
        for _ in 0..BITS_CHANGED {
            let Some((_, but_last)) = blocks.split_last() else { return };
            let which = usize::try_from(self.rng.below(but_last.len() as u64)).unwrap_or(0);
            let Some((number, bytes)) = but_last.get(which).copied() else { return };
            let bit = usize::try_from(self.rng.below(bytes as u64 * 8)).unwrap_or(0);
            let copy = self.disk.copy();
            if copy.flip_bit(number, bit) && Process::start(&self.durable, copy.store(), u32::MAX, self.now()).is_ok() {
                self.checker.violated(|| format!("bit {bit} of block {number} changed, and it was not detected"));
            }
        }
    }

    /// The gate is killed while nothing is in progress, and begins anew: nothing may differ.
    fn begin_anew(&mut self) {
        let store = self.kill_disk();
        self.begin_on(store, 0);
    }

    /// The same, while a bit of the newest snapshot of every partition has changed: older ones and the log stand in.
    fn begin_on_older_snapshots(&mut self) {
        let mut damaged = 0;
        for partition in (0..durable::PARTITIONS).map(PartitionId) {
            let bit = self.rng.bits();
            damaged += usize::from(self.durable.rot_snapshot(partition, bit));
        }
        let store = self.disk.copy().store();
        self.begin_on(store, damaged);
    }

    fn begin_on(&mut self, store: Box<dyn Store>, damaged: usize) {
        match Process::start(&self.durable, store, u32::MAX, self.now()) {
            Ok(again) => {
                if let Some(live) = &self.process {
                    for what in audit::compare_replay(live, &again) {
                        self.checker.violated(|| what);
                    }
                }
                let seen = again.damaged.len();
                // One more may have been damaged before.
                if seen < damaged {
                    self.checker.violated(|| format!("{damaged} snapshots changed, and {seen} were found damaged"));
                }
                self.checker.recovered(&again);
            }
            Err(failure) => self.checker.violated(|| format!("the gate cannot begin anew: {failure}")),
        }
    }

    /// Everything that was archived is in the archive as it was the last time.
    fn check_archive(&mut self) {
        let mut wrong: Vec<SessionId> = Vec::new();
        for (session, whole) in &self.checker.archived {
            let found = self.durable.archive.get(*session).ok().flatten();
            if found.is_none_or(|found| crc32fast::hash(&found.archive_record) != *whole) {
                wrong.push(*session);
            }
        }
        wrong.sort();
        for session in wrong {
            self.checker.violated(|| format!("{session} is not in the archive as it was put away"));
        }
    }
}
