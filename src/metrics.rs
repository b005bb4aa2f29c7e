//! The names of all metrics, and the exporter that renders them for Prometheus.
//!
//! Base units (seconds, bytes, joules), never a label per charger, session or account. Each component makes its
//! handles once and keeps them: making one takes a lock and a few allocations, counting takes neither.
//!
//! Most series live for the whole process. Those that end (a certificate that was replaced) are not kept by the
//! recorder: a collector writes the values of the moment of the scrape.

use crate::host::{ProcessUsage, open_files, wall_clock};
use ::metrics::{Counter, Gauge, Histogram, Label};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use serde::Serialize;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// One metric: its name, what it measures, and the labels that every series of it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Metric {
    /// The name with its unit, as Prometheus sees it.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// The names of its labels, each with few values.
    pub labels: &'static [&'static str],
    /// The help text in Prometheus's format.
    pub help: &'static str,
}

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Only ever grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution in buckets.
    Histogram,
}

impl Kind {
    /// The type's name in Prometheus's text format.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

macro_rules! catalogue {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(#[doc = $help] pub const $constant: Metric =
            Metric { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };)*

        /// Every metric that the process exports, in the order of the manual.
        pub const CATALOGUE: &[Metric] = &[$($constant),*];
    };
}

catalogue! {
    BUILD_INFO = Gauge "wattstile_build_info" ["version", "commit"]
        "Always 1; tells the version, and the commit that it was built from.";
    READY = Gauge "wattstile_ready" []
        "1 when the gate has recovered and every shard answers; 0 during a start, and while a shard is silent.";
    CLOCK = Gauge "wattstile_clock_timestamp_seconds" [] "The machine's clock at the moment of the scrape.";
    SESSIONS_ACTIVE = Gauge "wattstile_sessions_active" ["state"] "Sessions that are not settled, by state.";
    SESSIONS = Counter "wattstile_sessions_total" ["outcome"] "Sessions that ended, by how.";
    SESSIONS_DOUBTFUL = Counter "wattstile_sessions_doubtful_total" []
        "Sessions of which half the readings, or the last one, were rejected when they ended: a person should look.";
    ENERGY_DELIVERED = Counter "wattstile_energy_delivered_joules_total" [] "Energy of accepted meter readings.";
    TICKS = Counter "wattstile_ticks_total" ["result"] "Meter readings, by what became of them.";
    TICK_DURATION = Histogram "wattstile_tick_duration_seconds" []
        "From the arrival of a meter reading until its acknowledgement was allowed to leave.";
    AUTHORIZATION_DURATION = Histogram "wattstile_authorization_duration_seconds" ["processor", "outcome"]
        "From an authorization's first sending to its final answer.";
    CAPTURE_DURATION = Histogram "wattstile_capture_duration_seconds" ["processor", "outcome"]
        "From a capture's first sending to its final answer.";
    AUTHORIZATIONS = Counter "wattstile_authorizations_total" ["processor", "outcome", "reason"]
        "Authorizations that ended, by how.";
    CAPTURED = Counter "wattstile_captured_minor_units_total" ["currency"] "Money captured.";
    RELEASED = Counter "wattstile_released_minor_units_total" ["currency"] "Money held and given free again.";
    REFUNDED = Counter "wattstile_refunded_minor_units_total" ["currency"] "Money given back after a capture.";
    SHORTFALL = Counter "wattstile_shortfall_minor_units_total" ["currency"]
        "Money owed for energy and not captured when its session was settled.";
    DISPUTED = Gauge "wattstile_disputed_minor_units" ["currency", "processor"]
        "Money that processors took back while a dispute is open.";
    SUSPENSE = Gauge "wattstile_suspense_minor_units" ["currency", "processor"]
        "Money settled by a processor and not matched with anything.";
    STARTS_REFUSED = Counter "wattstile_starts_refused_total" ["code"]
        "Starts of sessions that were refused at once, by the code that the charger was given.";
    HOLDS_OUTSTANDING = Gauge "wattstile_holds_outstanding_minor_units" ["currency", "processor"]
        "Money held and neither captured nor released.";
    UNSECURED_EXPOSURE = Gauge "wattstile_unsecured_exposure_minor_units" ["currency"]
        "What running sessions cost so far for which no processor has reserved anything.";
    IN_DOUBT_OPERATIONS = Gauge "wattstile_in_doubt_operations" ["processor"]
        "Operations whose outcome is unknown and is being asked for.";
    PROCESSOR_UP = Gauge "wattstile_processor_up" ["processor"] "1 while a processor's connection is up.";
    PROCESSOR_BREAKER_STATE = Gauge "wattstile_processor_breaker_state" ["processor", "state"]
        "1 for the state that the processor's breaker is in.";
    WAL_APPEND_DURATION = Histogram "wattstile_wal_append_duration_seconds" []
        "One group commit: packing its records, writing them, and waiting for the disk.";
    WAL_SYNC_DURATION = Histogram "wattstile_wal_sync_duration_seconds" []
        "The part of a group commit that is waiting for the disk.";
    WAL_SIZE = Gauge "wattstile_wal_size_bytes" [] "Size of the log on disk.";
    WAL_BOUND = Gauge "wattstile_wal_bound_bytes" [] "What the log may take on disk (journal.log_mib_max).";
    REPORTING_LAG = Gauge "wattstile_reporting_lag_seconds" []
        "How long ago the reporting database had every durable fact.";
    REPORTING_ROWS = Counter "wattstile_reporting_rows_total" [] "Rows written to the reporting database.";
    SNAPSHOT_TIME = Gauge "wattstile_snapshot_timestamp_seconds" []
        "When all partitions last had their snapshots, or the gate started. Without new records there are no new ones.";
    SNAPSHOT_FAILURES = Counter "wattstile_snapshot_failures_total" []
        "Rounds of snapshots that came to no end, mostly because the disk was full.";
    WAL_LAST_SEQUENCE = Gauge "wattstile_wal_last_sequence" []
        "Records of all partitions since the data directory was made.";
    WAL_RECORDS = Counter "wattstile_wal_records_total" []
        "Records that became durable, and those found at the start.";
    LEDGER_IMBALANCE = Gauge "wattstile_ledger_imbalance_minor_units" ["currency"]
        "Debits minus credits; anything but 0 is a defect.";
    MAILBOX_DEPTH = Gauge "wattstile_mailbox_depth" ["actor"]
        "Messages that an actor has taken out of its mailbox and that wait for room in the log.";
    MAILBOX_REJECTED = Counter "wattstile_mailbox_rejected_total" ["actor"]
        "Starts that were refused as busy because the actor that would decide them was behind.";
    CONNECTIONS = Gauge "wattstile_connections" ["peer_role"] "Connections that are up, by the peer's role.";
    TLS_HANDSHAKES = Counter "wattstile_tls_handshakes_total" ["peer_role", "result", "reason"]
        "TLS handshakes that ended, by how.";
    TLS_CERTIFICATE_NOT_AFTER = Gauge "wattstile_tls_certificate_not_after_timestamp_seconds" ["role", "serial"]
        "When a certificate in use expires.";
    CRL_NEXT_UPDATE = Gauge "wattstile_crl_next_update_timestamp_seconds" ["issuer"]
        "When a revocation list in use becomes stale; then its peers are refused.";
    RECOVERY_DURATION = Gauge "wattstile_recovery_duration_seconds" [] "How long the last start took to recover.";
    RECOVERED_SESSIONS = Gauge "wattstile_recovered_sessions" [] "Open sessions found by the last start.";
    RESIDENT_MEMORY = Gauge "process_resident_memory_bytes" [] "Resident memory of the process.";
    OPEN_FILES = Gauge "process_open_fds" [] "Open file descriptors of the process.";
    CPU_SECONDS = Counter "process_cpu_seconds_total" [] "Processor time used, user and system.";
}

impl Metric {
    /// The series of a counter with these label values, in the order of [`Metric::labels`].
    pub fn counter(&self, values: &[&str]) -> Counter {
        debug_assert_eq!(self.kind, Kind::Counter, "{}", self.name);
        ::metrics::counter!(self.name, self.series(values))
    }

    /// The series of a gauge with these label values, in the order of [`Metric::labels`].
    pub fn gauge(&self, values: &[&str]) -> Gauge {
        debug_assert_eq!(self.kind, Kind::Gauge, "{}", self.name);
        ::metrics::gauge!(self.name, self.series(values))
    }

    /// The series of a histogram with these label values, in the order of [`Metric::labels`].
    pub fn histogram(&self, values: &[&str]) -> Histogram {
        debug_assert_eq!(self.kind, Kind::Histogram, "{}", self.name);
        ::metrics::histogram!(self.name, self.series(values))
    }

    fn series(&self, values: &[&str]) -> Vec<Label> {
        debug_assert_eq!(values.len(), self.labels.len(), "{}", self.name);
        self.labels.iter().zip(values).map(|(name, value)| Label::new(*name, value.to_string())).collect()
    }

    /// Writes the two comment lines that precede the series of a metric in Prometheus's text format.
    pub fn write_head(&self, text: &mut String) {
        let _ = writeln!(text, "# HELP {} {}\n# TYPE {} {}", self.name, self.help, self.name, self.kind.name());
    }

    /// Writes one series in Prometheus's text format.
    pub fn write_series(&self, text: &mut String, values: &[&str], value: impl std::fmt::Display) {
        debug_assert_eq!(values.len(), self.labels.len(), "{}", self.name);
        text.push_str(self.name);
        for (index, (name, value)) in self.labels.iter().zip(values).enumerate() {
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(text, "{}{name}=\"{escaped}\"", if index == 0 { '{' } else { ',' });
        }
        let _ = writeln!(text, "{} {value}", if self.labels.is_empty() { "" } else { "}" });
    }
}

/// A histogram of durations that any thread updates without a lock and without keeping samples.
#[derive(Debug, Default)]
pub struct Durations {
    /// Counts by bucket of [`SECONDS`]; the last one is for longer durations.
    counts: [AtomicU64; SECONDS.len() + 1],
    micros: AtomicU64,
}

impl Durations {
    /// Counts one duration.
    pub fn observe(&self, took: Duration) {
        self.observe_many(took, 1);
    }

    /// Counts `times` equal durations.
    pub fn observe_many(&self, took: Duration, times: u64) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = SECONDS.partition_point(|bound| Duration::from_secs_f64(*bound) < took);
        self.counts[bucket].fetch_add(times, Ordering::Relaxed);
        self.micros.fetch_add(micros.saturating_mul(times), Ordering::Relaxed);
    }

    /// Writes them as the histogram of a metric without labels.
    pub fn write(&self, metric: &Metric, text: &mut String) {
        metric.write_head(text);
        let mut sum = 0;
        for (count, bound) in
            self.counts.iter().zip(SECONDS.iter().map(|bound| bound.to_string()).chain(["+Inf".into()]))
        {
            sum += count.load(Ordering::Relaxed);
            let _ = writeln!(text, "{}_bucket{{le=\"{bound}\"}} {sum}", metric.name);
        }
        let micros = self.micros.load(Ordering::Relaxed);
        let _ = writeln!(text, "{}_sum {}.{:06}", metric.name, micros / 1_000_000, micros % 1_000_000);
        let _ = writeln!(text, "{}_count {sum}", metric.name);
    }
}

/// Writes series with the values of the moment of the scrape.
pub type Collector = Arc<dyn Fn(&mut String) + Send + Sync>;

/// The recorder of this process, which renders `/metrics`.
#[derive(Clone)]
pub struct Exporter {
    recorded: PrometheusHandle,
    collectors: Arc<Mutex<Vec<Collector>>>,
}

/// Upper bounds of the buckets of all durations, in seconds: fine for the log's sync and acknowledgements (0.1 to 50
/// ms), coarse up to the longest time-out of a processor.
const SECONDS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 30.0,
];

/// Makes the recorder of this process, once; a second call gives the same exporter. Handles made before do not count.
///
/// # Errors
/// A recorder is installed already, or a bucket of a histogram is wrong.
pub fn install() -> Result<Exporter, BuildError> {
    static INSTALLED: OnceLock<Exporter> = OnceLock::new();
    static GATE: Mutex<()> = Mutex::new(());
    let _one_at_a_time = GATE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(exporter) = INSTALLED.get() {
        return Ok(exporter.clone());
    }
    let recorded = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?
        .install_recorder()?;
    for metric in CATALOGUE {
        match metric.kind {
            Kind::Counter => ::metrics::describe_counter!(metric.name, metric.help),
            Kind::Gauge => ::metrics::describe_gauge!(metric.name, metric.help),
            Kind::Histogram => ::metrics::describe_histogram!(metric.name, metric.help),
        }
    }
    BUILD_INFO.gauge(&[crate::version::VERSION, crate::version::COMMIT]).set(1.0);
    let exporter = Exporter { recorded, collectors: Arc::new(Mutex::new(vec![Arc::new(process)])) };
    Ok(INSTALLED.get_or_init(|| exporter).clone())
}

impl Exporter {
    /// Adds a collector, for the rest of the process.
    pub fn collect(&self, collector: Collector) {
        self.collectors.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(collector);
    }

    /// Renders all series in Prometheus's text format. [`Exporter::upkeep`] has to be called even without scrapes.
    pub fn render(&self) -> String {
        let mut text = self.recorded.render();
        let collectors = self.collectors.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
        for collector in collectors {
            collector(&mut text);
        }
        text
    }

    /// Folds recorded samples into their buckets, which bounds their memory. Every few seconds is often enough.
    pub fn upkeep(&self) {
        self.recorded.run_upkeep();
    }
}

/// Writes the metrics of this process that the system reports; missing ones are left out.
fn process(text: &mut String) {
    let now = wall_clock().unix_ms();
    CLOCK.write_head(text);
    CLOCK.write_series(text, &[], format_args!("{}.{:03}", now / 1_000, now % 1_000));
    if let Some(usage) = ProcessUsage::of(std::process::id()) {
        RESIDENT_MEMORY.write_head(text);
        RESIDENT_MEMORY.write_series(text, &[], usage.resident_bytes);
        CPU_SECONDS.write_head(text);
        CPU_SECONDS.write_series(text, &[], format_args!("{}.{:03}", usage.cpu_ms / 1_000, usage.cpu_ms % 1_000));
    }
    if let Some(files) = open_files(None) {
        OPEN_FILES.write_head(text);
        OPEN_FILES.write_series(text, &[], files);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_end_in_their_unit_and_are_used_once() {
        const UNITS: &[&str] = &[
            "_total",
            "_seconds",
            "_bytes",
            "_minor_units",
            "_info",
            "_ready",
            // Plain numbers of things.
            "_active",
            "_operations",
            "_up",
            "_state",
            "_connections",
            "_sessions",
            "_fds",
            "_depth",
            "_sequence",
        ];
        let mut seen = BTreeSet::new();
        for metric in CATALOGUE {
            assert!(seen.insert(metric.name), "{} twice", metric.name);
            assert!(UNITS.iter().any(|unit| metric.name.ends_with(unit)), "{}", metric.name);
            assert_eq!(metric.kind == Kind::Counter, metric.name.ends_with("_total"), "{}", metric.name);
            assert!(metric.name.starts_with("wattstile_") || metric.name.starts_with("process_"), "{}", metric.name);
        }
    }

    #[test]
    fn the_manual_names_no_metric_that_does_not_exist() {
        for page in [include_str!("manual/operations.md"), include_str!("manual/certificates.md")] {
            let words = page.split(|character: char| !character.is_ascii_lowercase() && character != '_');
            for word in words.filter(|word| word.starts_with("wattstile_")) {
                let name = word.trim_end_matches("_bucket");
                assert!(CATALOGUE.iter().any(|metric| metric.name == name), "{word}");
            }
        }
    }

    #[test]
    fn a_collector_speaks_the_text_format() {
        let mut text = String::new();
        TLS_CERTIFICATE_NOT_AFTER.write_head(&mut text);
        TLS_CERTIFICATE_NOT_AFTER.write_series(&mut text, &["server", "0a\"1"], 1_700_000_000);
        assert_eq!(
            text,
            "# HELP wattstile_tls_certificate_not_after_timestamp_seconds When a certificate in use expires.\n\
             # TYPE wattstile_tls_certificate_not_after_timestamp_seconds gauge\n\
             wattstile_tls_certificate_not_after_timestamp_seconds{role=\"server\",serial=\"0a\\\"1\"} 1700000000\n"
        );
    }

    #[test]
    fn what_was_counted_is_rendered_with_its_labels() {
        let exporter = install().unwrap();
        TICKS.counter(&["accepted"]).increment(3);
        WAL_SYNC_DURATION.histogram(&[]).record(0.0004);
        let text = exporter.render();
        assert!(text.contains("wattstile_ticks_total{result=\"accepted\"}"), "{text}");
        assert!(text.contains("wattstile_wal_sync_duration_seconds_bucket{le=\"0.0005\"} 1"), "{text}");
        assert!(text.contains("wattstile_build_info{version="), "{text}");
        assert!(text.contains("process_resident_memory_bytes "), "{text}");
    }
}
