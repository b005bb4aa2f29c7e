//! What a gate knows of itself beside its shards, for the console: certificates, the log with its snapshots, refused peers.

use crate::api::{CertificateRow, LogSheet, Machine, RefusalRow, SystemSheet};
use crate::host::wall_clock;
use crate::limits::CERTIFICATES_SHOWN;
use crate::node::certificates;
use crate::node::log_figures::LogFigures;
use crate::transport::tls::InUse;
use crate::transport::{Edge, RecentRefusal};
use crate::units::{TimeSpan, Timestamp};
use std::sync::Arc;
use std::time::{Duration, Instant};

const DAY_MS: i64 = 86_400_000;

/// Makes the view of a gate with this log, which recovered in this time.
pub(super) fn machine(edge: Option<&Edge>, log: Arc<LogFigures>, recovery: Duration) -> Machine {
    let (expiring, refusals) = (edge.map(Edge::expiring), edge.map(Edge::refusals));
    Box::new(move || {
        let now = wall_clock();
        let mut used = expiring.as_ref().map(|expiring| expiring(certificates::first_mark(now))).unwrap_or_default();
        used.sort_by(|a, b| a.not_after.cmp(&b.not_after).then_with(|| a.name.cmp(&b.name)));
        let (recent, counts) = refusals.as_ref().map(|refusals| refusals()).unwrap_or_default();
        SystemSheet {
            certificates: used.into_iter().take(CERTIFICATES_SHOWN).map(|used| certificate(used, now)).collect(),
            log: Some(log_sheet(&log, recovery, now)),
            refused: counts.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect(),
            refusals: recent.into_iter().map(refusal).collect(),
            ..SystemSheet::default()
        }
    })
}

fn certificate(used: InUse, now: Timestamp) -> CertificateRow {
    let days = used.not_after.since(now).ms().div_euclid(DAY_MS);
    CertificateRow { name: used.name, expires_at: used.not_after.to_string(), days }
}

fn log_sheet(log: &LogFigures, recovery: Duration, now: Timestamp) -> LogSheet {
    let ago = i64::try_from(log.since_snapshots(Instant::now()).as_millis()).unwrap_or(i64::MAX);
    LogSheet {
        bytes: log.used(),
        bytes_max: log.bound(),
        records: log.last_sequence(),
        snapshots_at: now.saturating_add(TimeSpan::from_ms(ago.saturating_neg())).to_string(),
        snapshot_failures: log.snapshot_failures(),
        trims: log.trims(),
        recovery_ms: u64::try_from(recovery.as_millis()).unwrap_or(u64::MAX),
    }
}

fn refusal(recent: RecentRefusal) -> RefusalRow {
    RefusalRow {
        at: recent.at.to_string(),
        listener: recent.listener.to_string(),
        from: recent.refused.remote.to_string(),
        who: recent.refused.who,
        reason: recent.refused.reason.label().to_owned(),
        text: recent.refused.reason.to_string(),
    }
}
