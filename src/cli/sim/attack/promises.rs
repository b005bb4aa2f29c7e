//! What a gate promises under attack, and whether it kept it.

use super::samples::Sampled;
use crate::api::TrialView;
use crate::cli::output::{BAD, GOOD};
use crate::sim::attack::{AttackReport, HonestReport};
use crate::sim::fleet::FleetReport;
use crate::sim::processor::{ServiceReport, Violations};
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::Value;
use std::io::{self, Write};
use std::time::Duration;

/// What was found.
pub(super) struct Found {
    pub attacked: Duration,
    pub fleet: FleetReport,
    pub honest: HonestReport,
    pub processors: Vec<ServiceReport>,
    pub attackers: Vec<AttackReport>,
    pub samples: Option<Sampled>,
    pub rest: Option<Rest>,
    pub books: Option<TrialView>,
    /// The gate ended by itself: its exit code, if it had one.
    pub ended: Option<Option<i32>>,
    /// Its exit status at the requested end.
    pub exit: Option<Option<i32>>,
    /// Whether it came up again on its data, and how it ended then.
    pub restarted: Option<bool>,
    pub exit_again: Option<Option<i32>>,
}

/// Work under way at the gate in the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Rest {
    pub sessions: u64,
    pub in_doubt: u64,
    /// Held in all currencies, in minor units.
    pub held_minor: i64,
}

impl Rest {
    /// From the gate's figures.
    pub fn of(figures: &Value) -> Rest {
        let count = |name: &str| figures[name].as_u64().unwrap_or(u64::MAX / 4);
        let money = figures["money"].as_object().cloned().unwrap_or_default();
        let held = money.values().map(|sums| sums["held_minor"].as_i64().unwrap_or(i64::MAX / 4)).sum();
        Rest {
            sessions: count("sessions_charging") + count("sessions_authorizing") + count("sessions_settling"),
            in_doubt: count("operations_in_doubt"),
            held_minor: held,
        }
    }

    /// Whether everything came to its end.
    pub fn is_nothing(&self) -> bool {
        *self == Rest::default()
    }
}

/// What may be at most.
pub(super) struct Bounds {
    pub p99: Duration,
    pub memory: u64,
    /// Bytes of the log of facts.
    pub log: u64,
}

/// Log lines for people, at most: so many bytes, and so many more for each second.
const TEXT_LOG_BYTES: u64 = 1 << 20;
const TEXT_LOG_BYTES_PER_SECOND: u64 = 8 << 10;
/// How far memory may have grown from the second quarter of the time to the last one: a quarter, and this.
const GROWTH_BYTES: u64 = 96 << 20;

/// The account of what processors captured, in the chart.
const RECEIVABLE: &str = "1110";

/// A guarantee, and whether it held.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Promise {
    pub promise: &'static str,
    pub kept: bool,
    pub found: String,
}

/// Everything, for people and programs.
#[derive(Serialize)]
pub(super) struct Report {
    seed: u64,
    attacked_s: u64,
    holds: bool,
    promises: Vec<Promise>,
    honest: HonestReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    gate: Option<Sampled>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rest: Option<Rest>,
    attackers: Vec<AttackReport>,
    fleet: FleetReport,
    processors: Vec<ServiceReport>,
}

impl Report {
    /// Judges what was found.
    pub fn of(seed: u64, bounds: &Bounds, found: Found) -> Report {
        let promises = judge(bounds, &found);
        Report {
            seed,
            attacked_s: found.attacked.as_secs(),
            holds: promises.iter().all(|promise| promise.kept),
            promises,
            honest: found.honest,
            gate: found.samples,
            rest: found.rest,
            attackers: found.attackers,
            fleet: found.fleet,
            processors: found.processors,
        }
    }

    /// Whether every guarantee held.
    pub fn holds(&self) -> bool {
        self.holds
    }

    /// For a person.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "seed {}: attacked for {} s by {} kinds", self.seed, self.attacked_s, self.attackers.len())?;
        for promise in &self.promises {
            let (style, word) = if promise.kept { (GOOD, "kept  ") } else { (BAD, "BROKEN") };
            writeln!(out, "  {style}{word}{style:#} {:<52} {}", promise.promise, promise.found)?;
        }
        writeln!(out, "\n  attacker                 rounds  right answers  violations")?;
        for one in &self.attackers {
            let counts = &one.counts;
            let right: u64 = counts.answers.values().sum();
            let style = if counts.violations == 0 { GOOD } else { BAD };
            let violations = counts.violations;
            writeln!(out, "  {:<24} {:>6}  {right:>13}  {style}{violations}{style:#}", one.name, counts.rounds)?;
            for violation in &counts.violations_told {
                writeln!(out, "      {violation}")?;
            }
        }
        for wrong in &self.honest.receipts_wrong {
            writeln!(out, "  not exact: {wrong}")?;
        }
        Ok(())
    }
}

fn judge(bounds: &Bounds, found: &Found) -> Vec<Promise> {
    let mut promises = Vec::new();
    let mut promise =
        |promise: &'static str, kept: bool, found: String| promises.push(Promise { promise, kept, found });
    let Found { fleet, honest, processors, .. } = found;
    let tally = &fleet.tally;
    promise(
        "honest receipts are exact",
        honest.receipts > 0 && honest.receipts_exact == honest.receipts,
        format!("{} of {}", honest.receipts_exact, honest.receipts),
    );
    promise(
        "honest acknowledgements are in time",
        honest.acknowledgements > 0 && u128::from(honest.ack_p99_us) <= bounds.p99.as_micros(),
        format!(
            "p50 {} ms, p99 {} ms, longest {} ms, of {}",
            honest.ack_p50_us / 1_000,
            honest.ack_p99_us / 1_000,
            honest.ack_max_us / 1_000,
            honest.acknowledgements
        ),
    );
    promise(
        "no honest start, reading or connection is refused",
        honest.refused.is_empty() && honest.rejected.is_empty() && fleet.disconnects == 0,
        format!("starts {:?}, readings {:?}, {} disconnects", honest.refused, honest.rejected, fleet.disconnects),
    );
    promise(
        "honest sessions are all settled",
        fleet.sessions_open == 0
            && tally.accepted == tally.receipts
            && tally.readings_lost + tally.sessions_lost + tally.receipts_missed == 0,
        format!("{} of {}, {} open", tally.receipts, tally.accepted, fleet.sessions_open),
    );
    let off = found.books.as_ref().map(|books| processors.iter().map(|one| difference(books, one)).sum::<Decimal>());
    promise(
        "processors' books are the gate's",
        off.is_none_or(|off| off == Decimal::ZERO)
            && processors.iter().all(|one| one.books.violations == Violations::default()),
        off.map_or("only violations are known".to_owned(), |off| format!("off by {off}")),
    );
    let open: u64 = processors.iter().map(|one| one.books.holds.get("open").copied().unwrap_or(0)).sum();
    let refused: u64 = processors.iter().flat_map(|one| one.callbacks_refused.values()).sum();
    promise(
        "honest processors are answered, and have no hold left",
        open == 0 && refused == 0 && processors.iter().all(|one| one.callbacks_pending == 0),
        format!("{open} holds open, {refused} callbacks refused"),
    );
    if let Some(rest) = &found.rest {
        promise(
            "everything at the gate came to its end",
            rest.is_nothing(),
            format!("{} sessions, {} in doubt, {} held", rest.sessions, rest.in_doubt, rest.held_minor),
        );
    }
    if let Some(books) = &found.books {
        promise(
            "the books are in balance",
            books.imbalance_minor == 0 && books.broken.is_empty(),
            format!("off by {}, broken: {:?}", books.imbalance_minor, books.broken),
        );
    }
    if let Some(gate) = &found.samples {
        let mib = |bytes: u64| bytes >> 20;
        promise(
            "memory is bounded",
            gate.memory_most <= bounds.memory && gate.memory_late <= gate.memory_early / 4 * 5 + GROWTH_BYTES,
            format!(
                "most {} MiB, early {} MiB, late {} MiB",
                mib(gate.memory_most),
                mib(gate.memory_early),
                mib(gate.memory_late)
            ),
        );
        let lines = TEXT_LOG_BYTES + TEXT_LOG_BYTES_PER_SECOND * found.attacked.as_secs();
        promise(
            "the log is bounded",
            gate.log_most <= bounds.log && gate.text_log_last <= lines,
            format!(
                "log {} MiB at most, lines {} KiB, archive {} MiB",
                mib(gate.log_most),
                gate.text_log_last >> 10,
                mib(gate.archive_last)
            ),
        );
        let ended = found.ended.is_some() || gate.gone;
        promise("the process never ends", !ended, format!("{:?}", found.ended));
    }
    if let Some(exit) = found.exit {
        promise(
            "it ends in good order, and starts again on its data",
            exit == Some(0) && found.restarted == Some(true) && found.exit_again == Some(Some(0)),
            format!("ended with {exit:?}, then with {:?}", found.exit_again.flatten()),
        );
    }
    let violations: u64 = found.attackers.iter().map(|one| one.counts.violations).sum();
    promise("attackers are answered as they have to be", violations == 0, format!("{violations} violations"));
    let idle: Vec<&str> =
        found.attackers.iter().filter(|one| one.counts.answers.is_empty()).map(|one| one.name).collect();
    promise("every attacker was at work", idle.is_empty(), format!("not: {idle:?}"));
    promises
}

/// What was ever captured by a processor by the gate's books, settled or not, against what the processor took.
fn difference(books: &TrialView, processor: &ServiceReport) -> Decimal {
    let name = format!(":{}:", processor.books.processor);
    let claims = books.rows.iter().filter(|row| &*row.code == RECEIVABLE && row.account.contains(&name));
    let captured: Decimal = claims.map(|row| row.debits).sum();
    let taken: i64 = processor.books.totals.values().map(|sum| sum.captured_minor).sum();
    // Regular processors take euro only.
    (captured - Decimal::new(taken, 2)).abs()
}
