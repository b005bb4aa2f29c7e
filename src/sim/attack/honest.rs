//! Regular traffic beside the attackers: every receipt is recomputed, and every acknowledgement timed.

use super::{Trouble, Ways};
use crate::message::{FromCharger, ReceiptNotice, Subject, ToCharger};
use crate::payment::CredentialKind;
use crate::sim::charger;
use crate::sim::driver::{Habits, Visitors};
use crate::sim::fleet::{Fleet, FleetReport, Line, Observer, Speaks};
use crate::sim::pace::Pace;
use crate::sim::processor::{Lines, Service, ServiceReport, Settings};
use crate::tariff::{RecordedSession, Tariff};
use crate::units::{ChargerId, Cost, Energy, MeterReading, Power, ProcessorId, SessionKey, TimeSpan, Timestamp};
use hdrhistogram::Histogram;
use jiff::tz::TimeZone;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Numbers of regular peers by kind.
#[derive(Clone, Copy, Debug)]
pub struct HonestSettings {
    /// Chargers, each on its own connection.
    pub chargers: u32,
    /// Time between two readings.
    pub interval: TimeSpan,
    /// Repeats the drivers.
    pub seed: u64,
}

/// Results of the regular peers.
#[derive(Clone, Debug, Default, Serialize)]
pub struct HonestReport {
    /// Receipts that came.
    pub receipts: u64,
    /// Receipts with exactly the cost and amount that the tariff gives for the charger's readings.
    pub receipts_exact: u64,
    /// The others, the first of them as text.
    pub receipts_wrong: Vec<String>,
    /// How many there were.
    pub receipts_wrong_count: u64,
    /// Starts that were refused, by code.
    pub refused: BTreeMap<u16, u64>,
    /// Readings that were refused, by code.
    pub rejected: BTreeMap<u16, u64>,
    /// Acknowledgements that were timed.
    pub acknowledgements: u64,
    /// From a reading's first sending to its acknowledgement, in microseconds: half of them.
    pub ack_p50_us: u64,
    /// 99 of 100.
    pub ack_p99_us: u64,
    /// 999 of 1,000.
    pub ack_p999_us: u64,
    /// The longest.
    pub ack_max_us: u64,
}

/// Wrong receipts that are kept as text.
const WRONG_KEPT: usize = 10;

/// Observes a fleet: computes the expected receipts, and times the acknowledgements.
pub struct Checker {
    tariff: Option<Tariff>,
    zone: TimeZone,
    seen: Mutex<Seen>,
}

struct Seen {
    sessions: BTreeMap<(ChargerId, SessionKey), Reported>,
    latencies: Histogram<u64>,
    report: HonestReport,
}

/// A charger's messages of one session.
struct Reported {
    start: Timestamp,
    first: Energy,
    /// In the order of their sequences.
    readings: Vec<(MeterReading, Option<Instant>)>,
    stopped: bool,
}

impl Checker {
    /// For chargers with this tariff, in this time zone. Without a tariff receipts are only counted.
    pub fn new(tariff: Option<Tariff>, zone: TimeZone) -> Checker {
        // Up to an hour in microseconds, three significant digits.
        let latencies = Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("the bounds are in order");
        let seen = Seen { sessions: BTreeMap::new(), latencies, report: HonestReport::default() };
        Checker { tariff, zone, seen: Mutex::new(seen) }
    }

    /// What was seen so far.
    pub fn report(&self) -> HonestReport {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let at = |quantile| seen.latencies.value_at_quantile(quantile);
        HonestReport {
            acknowledgements: seen.latencies.len(),
            ack_p50_us: at(0.5),
            ack_p99_us: at(0.99),
            ack_p999_us: at(0.999),
            ack_max_us: seen.latencies.max(),
            ..seen.report.clone()
        }
    }

    /// The exact cost of these readings, by the code that the gate charges with.
    fn cost(&self, tariff: &Tariff, reported: &Reported) -> Result<Cost, String> {
        let readings: Vec<MeterReading> = reported.readings.iter().map(|(reading, _)| *reading).collect();
        let end = readings.last().map_or(reported.start, |last| last.at);
        let session = RecordedSession {
            zone: None,
            start: reported.start,
            end,
            first_register: reported.first,
            readings,
            reservation: None,
        };
        let priced = session.price(tariff, &self.zone).map_err(|error| error.to_string())?;
        priced.rating.running(tariff).map_err(|error| error.to_string())
    }

    /// Whether a receipt is what the readings cost.
    fn check(&self, reported: &Reported, receipt: &ReceiptNotice) -> Result<(), String> {
        if !reported.stopped {
            return Err("a receipt for a session that was not stopped".to_owned());
        }
        let Some(tariff) = &self.tariff else { return Ok(()) };
        let cost = self.cost(tariff, reported)?;
        let total = cost.round(tariff.rounding()).map_err(|error| error.to_string())?;
        // The cost travels with twelve decimals.
        if (cost.major(), total) == (receipt.cost.major(), receipt.total) {
            Ok(())
        } else {
            Err(format!("{} ({}) instead of {cost} ({total})", receipt.cost, receipt.total))
        }
    }
}

impl Observer for Checker {
    fn sent(&self, charger: &ChargerId, message: &FromCharger, at: Instant) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match message {
            FromCharger::Start(start) => {
                let reported =
                    Reported { start: start.at, first: start.register, readings: Vec::new(), stopped: false };
                seen.sessions.entry((charger.clone(), start.session)).or_insert(reported);
            }
            FromCharger::Reading { session, reading } => {
                seen.reading(charger, *session, reading, at);
            }
            FromCharger::Stop { session, last, .. } => {
                // A stop carries no power and no current.
                let last = MeterReading { power: None, current: None, ..*last };
                if let Some(reported) = seen.reading(charger, *session, &last, at) {
                    reported.stopped = true;
                }
            }
            FromCharger::Hello(_) | FromCharger::Status(_) | FromCharger::Unnumbered(_) => {}
        }
    }

    fn received(&self, charger: &ChargerId, message: &ToCharger, at: Instant) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match message {
            ToCharger::MeterAck(ack) => seen.acknowledged(charger, ack.session, ack.up_to, at),
            ToCharger::StartRejected { session, code, .. } => {
                seen.sessions.remove(&(charger.clone(), *session));
                *seen.report.refused.entry(code.number()).or_default() += 1;
            }
            ToCharger::SessionRejected { code, .. } => *seen.report.rejected.entry(code.number()).or_default() += 1,
            ToCharger::Receipt(receipt) => {
                // A repeated receipt was checked before.
                let Some(reported) = seen.sessions.remove(&(charger.clone(), receipt.session)) else { return };
                seen.report.receipts += 1;
                match self.check(&reported, receipt) {
                    Ok(()) => seen.report.receipts_exact += 1,
                    Err(wrong) => {
                        seen.report.receipts_wrong_count += 1;
                        if seen.report.receipts_wrong.len() < WRONG_KEPT {
                            seen.report.receipts_wrong.push(format!("{charger}, {}: {wrong}", receipt.receipt));
                        }
                    }
                }
            }
            ToCharger::HelloAck(_)
            | ToCharger::StartAccepted { .. }
            | ToCharger::LimitChanged { .. }
            | ToCharger::StopNow { .. }
            | ToCharger::GoAway(_)
            | ToCharger::HeartbeatAck { .. }
            | ToCharger::Answer(_)
            | ToCharger::Order { .. } => {}
        }
    }
}

impl Seen {
    /// A reading counts once, at its first sending.
    fn reading(
        &mut self,
        charger: &ChargerId,
        session: SessionKey,
        reading: &MeterReading,
        at: Instant,
    ) -> Option<&mut Reported> {
        let reported = self.sessions.get_mut(&(charger.clone(), session))?;
        if reported.readings.last().is_none_or(|(before, _)| before.sequence < reading.sequence) {
            reported.readings.push((*reading, Some(at)));
        }
        Some(reported)
    }

    fn acknowledged(&mut self, charger: &ChargerId, session: SessionKey, up_to: u32, at: Instant) {
        let Some(reported) = self.sessions.get_mut(&(charger.clone(), session)) else { return };
        let until = reported.readings.partition_point(|(reading, _)| reading.sequence <= up_to);
        for (_, sent) in reported.readings.iter_mut().take(until).rev() {
            let Some(sent) = sent.take() else { break };
            let took = u64::try_from(at.saturating_duration_since(sent).as_micros()).unwrap_or(u64::MAX);
            self.latencies.saturating_record(took.max(1));
        }
    }
}

/// The regular peers.
pub struct Honest {
    checker: Arc<Checker>,
    fleet: Fleet,
    processors: Vec<Service>,
}

/// Processors of regular drivers, who present payment cards; the last one serves the wallets that attackers present
/// in ordinary sessions.
const PROCESSORS: [(&str, CredentialKind); 3] = [
    ("honest-a", CredentialKind::CardToken),
    ("honest-b", CredentialKind::CardToken),
    ("honest-wallets", CredentialKind::WalletToken),
];
/// Connections of each.
const CONNECTIONS: u32 = 2;

impl Honest {
    /// Starts them on the current runtime.
    ///
    /// # Errors
    /// [`Trouble`]: the gate cannot be reached, or refuses what must be accepted.
    pub fn start(settings: HonestSettings, ways: &Ways, checker: Checker) -> Result<Honest, Trouble> {
        let pace = Pace { clock: Arc::clone(&ways.clock), speed: 1 };
        let mut processors = Vec::new();
        for (name, takes) in PROCESSORS {
            let id = ProcessorId::new(name).map_err(Trouble::of)?;
            let dialler = ways.dialler(&Subject::Processor(id.clone()))?;
            let mut own = Settings::new(id, settings.seed);
            own.capabilities.credentials = vec![takes];
            own.capabilities.request_life_max = TimeSpan::from_secs(15);
            own.capabilities.inquiry_authoritative_after = Some(TimeSpan::from_secs(15));
            // A driver may come back as often as the attack lasts.
            own.opening_balance_minor = i64::MAX / 4;
            let lines = Lines { dialler, connections: CONNECTIONS, mac: None };
            processors.push(Service::start(own, &lines, &pace));
        }
        let mut lines = Vec::new();
        for number in 1..=settings.chargers {
            let id = ChargerId::new(&format!("HONEST-{number:04}")).map_err(Trouble::of)?;
            let dialler = ways.dialler(&Subject::Charger(id.clone()))?;
            lines.push(Line { dialler, chargers: vec![charger_of(id, settings)], speaks: Speaks::Native });
        }
        let checker = Arc::new(checker);
        let observer: Arc<dyn Observer> = checker.clone();
        let fleet = Fleet::start_observed(lines, &pace, Duration::from_millis(1_500), observer);
        Ok(Honest { checker, fleet, processors })
    }

    /// How the chargers stand.
    pub fn counts(&self) -> FleetReport {
        self.fleet.counts()
    }

    /// What was seen of them so far.
    pub fn report(&self) -> HonestReport {
        self.checker.report()
    }

    /// Sends a settlement batch of each processor; how many operations they settle.
    pub fn settle(&self) -> usize {
        self.processors.iter().map(Service::settle).sum()
    }

    /// Lets no new drivers come, waits until everything came to its end or the time is over, and stops.
    pub async fn finish(self, within: Duration) -> (FleetReport, HonestReport, Vec<ServiceReport>) {
        let deadline = Instant::now() + within;
        let fleet = self.fleet.finish(within).await;
        let is_settled = |one: &Service| one.is_idle() && !one.report(false).books.holds.contains_key("open");
        while Instant::now() < deadline && !self.processors.iter().all(is_settled) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let mut processors = Vec::new();
        for service in self.processors {
            processors.push(service.stop(false).await);
        }
        (fleet, self.checker.report(), processors)
    }
}

fn charger_of(id: ChargerId, settings: HonestSettings) -> charger::Settings {
    let wh = |wh| Energy::from_watt_hours(wh).unwrap_or(Energy::ZERO);
    let habits = Habits {
        pause_max: TimeSpan::from_secs(2),
        energy: (wh(50), wh(500)),
        idle_max: TimeSpan::from_secs(3),
        ..Habits::default()
    };
    charger::Settings {
        id,
        connectors: vec![Power::from_milliwatts(150_000_000)],
        interval: settings.interval,
        visitors: Visitors::Random(habits),
        seed: settings.seed,
        kept_max: 100_000,
    }
}
