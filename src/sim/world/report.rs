//! What happened in a simulated world, or in several.

use super::audit::{self, Reckoning};
use super::world::World;
use super::{Settings, Violation};
use ring::digest;
use serde::Serialize;
use std::collections::BTreeMap;

/// What happened. The same settings make the same report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The seed of the first world; those of the others count up.
    pub seed: u64,
    /// Worlds.
    pub worlds: u64,
    /// Simulated minutes in which drivers came and things went wrong.
    pub minutes: u64,
    /// Chargers in each world.
    pub chargers: u32,
    /// How many of them speak OCPP.
    pub ocpp_chargers: u64,
    /// What might go wrong.
    pub faults_allowed: String,
    /// Events of the scheduler.
    pub steps: u64,
    /// Drivers that presented a credential.
    pub visits: u64,
    /// Starts that were refused, by code.
    pub starts_refused: BTreeMap<u16, u64>,
    /// Sessions that were put away.
    pub sessions: u64,
    /// Sessions with energy.
    pub sessions_charged: u64,
    /// Receipts that chargers have.
    pub receipts: u64,
    /// Sessions whose end was acknowledged at a charger that speaks OCPP, which has no receipts.
    pub ocpp_sessions_ended: u64,
    /// Readings that chargers took.
    pub readings: u64,
    /// Readings that were acknowledged.
    pub readings_acked: u64,
    /// Operations that were sent, by kind.
    pub operations: BTreeMap<String, u64>,
    /// Processors' messages that were taken in.
    pub callbacks: u64,
    /// Processors' messages that were refused.
    pub callbacks_refused: u64,
    /// Orders of operators that were carried out.
    pub orders: u64,
    /// Times the gate died.
    pub crashes: u64,
    /// Times it could not be started at once.
    pub failed_starts: u64,
    /// Restarts after which every state was compared with what it was before.
    pub replays_compared: u64,
    /// Parts of settlement batches that were taken in and booked.
    pub settlement_parts: u64,
    /// Top-ups by card that were ordered.
    pub card_top_ups: u64,
    /// Group commits.
    pub commits: u64,
    /// Snapshots of partitions that were kept.
    pub snapshots: u64,
    /// Generations of the log that were dropped.
    pub generations_dropped: u64,
    /// Messages of chargers that waited because the log was at its bound.
    pub reads_delayed: u64,
    /// Faults, by kind.
    pub faults: BTreeMap<String, u64>,
    /// Checks of a session's guards.
    pub looks: u64,
    /// Captured, in minor units, by the books.
    pub captured_minor: i64,
    /// Given back, in minor units, by the books.
    pub refunded_minor: i64,
    /// What has to be zero.
    #[serde(flatten)]
    pub reckoning: Reckoning,
    /// How long holds took to end.
    pub settling: Settling,
    /// SHA-256 of the books and of what every session came to, of all worlds.
    pub ledger_hash: String,
    /// Promises that were broken.
    pub violations: Vec<Violation>,
}

/// How long it took from the end of a session until its hold had ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Settling {
    /// Captures, whatever went wrong.
    pub capture: Percentiles,
    /// Voids, whatever went wrong.
    pub void: Percentiles,
    /// Captures while nothing went wrong for five minutes.
    pub capture_in_calm: Percentiles,
    /// Voids while nothing went wrong for five minutes.
    pub void_in_calm: Percentiles,
}

/// Percentiles in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Percentiles {
    /// How many.
    pub count: u64,
    /// The middle one.
    pub p50_ms: u32,
    /// The slowest in a hundred.
    pub p99_ms: u32,
    /// The slowest.
    pub max_ms: u32,
    #[serde(skip)]
    all: Vec<u32>,
}

impl Percentiles {
    /// Of these times.
    pub fn of(mut all: Vec<u32>) -> Percentiles {
        all.sort_unstable();
        let at = |permille: usize| all.get((all.len().saturating_sub(1)) * permille / 1_000).copied().unwrap_or(0);
        Percentiles { count: all.len() as u64, p50_ms: at(500), p99_ms: at(990), max_ms: at(1_000), all }
    }

    fn add(&mut self, other: Percentiles) {
        let mut all = std::mem::take(&mut self.all);
        all.extend(other.all);
        *self = Percentiles::of(all);
    }
}

impl Report {
    pub(super) fn of(world: &World, reckoning: &Reckoning, hash: &[u8; 32]) -> Report {
        let Settings { seed, minutes, chargers, faults, ocpp_percent: _ } = &world.settings;
        let mut fleet = crate::sim::charger::Tally::default();
        for charger in world.fleet.iter().flat_map(|one| &one.chargers) {
            fleet.add(charger.tally());
        }
        let (captured, refunded) = world.process.as_ref().map(audit::turnover).unwrap_or_default();
        let tally = &world.checker.tally;
        let minor = |sum: i128| i64::try_from(sum).unwrap_or(i64::MAX);
        Report {
            seed: *seed,
            worlds: 1,
            minutes: *minutes,
            chargers: *chargers,
            ocpp_chargers: world.fleet.iter().filter(|one| one.ocpp.is_some()).count() as u64,
            faults_allowed: faults.to_string(),
            steps: world.checker.step,
            visits: fleet.visits,
            starts_refused: fleet.refused.clone(),
            sessions: world.checker.closed.len() as u64,
            sessions_charged: world.checker.closed.values().filter(|closed| closed.energy > 0).count() as u64,
            receipts: fleet.receipts,
            ocpp_sessions_ended: fleet.ended,
            readings: fleet.readings,
            readings_acked: fleet.readings_acked,
            operations: tally.operations.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect(),
            callbacks: tally.callbacks,
            callbacks_refused: tally.refused_callbacks,
            orders: world.ordered,
            crashes: world.counts.deaths,
            failed_starts: world.counts.failed_starts,
            replays_compared: world.counts.replays,
            settlement_parts: world.counts.settlement_parts,
            card_top_ups: world.counts.card_top_ups,
            commits: world.counts.commits,
            snapshots: world.counts.snapshots,
            generations_dropped: world.counts.generations_dropped,
            reads_delayed: world.counts.reads_delayed,
            faults: world.faults(),
            looks: tally.looks,
            captured_minor: minor(captured),
            refunded_minor: minor(refunded),
            reckoning: *reckoning,
            settling: Settling {
                capture: Percentiles::of(tally.settle.captures.clone()),
                void: Percentiles::of(tally.settle.voids.clone()),
                capture_in_calm: Percentiles::of(tally.settle.calm_captures.clone()),
                void_in_calm: Percentiles::of(tally.settle.calm_voids.clone()),
            },
            ledger_hash: hex::encode(hash),
            violations: world.checker.violations.clone(),
        }
    }

    /// Whether every invariant held.
    pub fn is_good(&self) -> bool {
        self.violations.is_empty() && self.reckoning == Reckoning::default()
    }

    /// Adds the report of the next world.
    pub fn add(&mut self, other: Report) {
        self.worlds += other.worlds;
        self.minutes += other.minutes;
        self.steps += other.steps;
        self.visits += other.visits;
        for (code, count) in other.starts_refused {
            *self.starts_refused.entry(code).or_default() += count;
        }
        self.sessions += other.sessions;
        self.sessions_charged += other.sessions_charged;
        self.receipts += other.receipts;
        self.ocpp_sessions_ended += other.ocpp_sessions_ended;
        self.readings += other.readings;
        self.readings_acked += other.readings_acked;
        for (kind, count) in other.operations {
            *self.operations.entry(kind).or_default() += count;
        }
        self.callbacks += other.callbacks;
        self.callbacks_refused += other.callbacks_refused;
        self.orders += other.orders;
        self.crashes += other.crashes;
        self.failed_starts += other.failed_starts;
        self.replays_compared += other.replays_compared;
        self.settlement_parts += other.settlement_parts;
        self.card_top_ups += other.card_top_ups;
        self.commits += other.commits;
        self.snapshots += other.snapshots;
        self.generations_dropped += other.generations_dropped;
        self.reads_delayed += other.reads_delayed;
        for (kind, count) in other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        self.looks += other.looks;
        self.captured_minor += other.captured_minor;
        self.refunded_minor += other.refunded_minor;
        self.reckoning.add(&other.reckoning);
        self.settling.capture.add(other.settling.capture);
        self.settling.void.add(other.settling.void);
        self.settling.capture_in_calm.add(other.settling.capture_in_calm);
        self.settling.void_in_calm.add(other.settling.void_in_calm);
        let both = format!("{}{}", self.ledger_hash, other.ledger_hash);
        self.ledger_hash = hex::encode(digest::digest(&digest::SHA256, both.as_bytes()));
        self.violations.extend(other.violations);
    }
}

impl World {
    /// Faults that happened, by name; those of processors are counted by the processors.
    fn faults(&self) -> BTreeMap<String, u64> {
        let mut faults: BTreeMap<String, u64> =
            self.weather.counts().iter().map(|(fault, count)| (fault.name().to_owned(), *count)).collect();
        let misbehaved: u64 =
            self.processors.iter().flat_map(|processor| processor.processor.misbehaved().values()).sum();
        faults.insert(super::Fault::Processor.name().to_owned(), misbehaved);
        faults
    }
}
