//! Dashboard and alert rules: every metric and label that they name is there, and every alert leads to its runbook.

use super::{done, root, tool};
use crate::common::Served;
use crate::common::driven::{Driven, charger, runtime};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;
use wattstile::message::ToCharger;
use wattstile::metrics::{CATALOGUE, Kind, Metric};

const RULES: &str = include_str!("../../../src/packaging/prometheus/wattstile.rules.yml");
const DASHBOARD: &str = include_str!("../../../src/packaging/grafana/wattstile.json");
const OPERATIONS: &str = include_str!("../../../src/manual/operations.md");

/// One alert: its fields and annotations by name.
type Alert = BTreeMap<String, String>;

/// The rules' file has one field a line.
fn alerts() -> Vec<Alert> {
    let mut alerts: Vec<Alert> = Vec::new();
    for line in RULES.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("- alert: ") {
            alerts.push(Alert::from([("alert".to_owned(), name.to_owned())]));
        } else if let Some(alert) = alerts.last_mut()
            && let Some((name, value)) = line.split_once(": ")
        {
            alert.insert(name.to_owned(), value.trim_matches('"').to_owned());
        }
    }
    alerts
}

/// Every expression of the dashboard, with its variables filled in.
fn dashboard() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let notes = dashboard["annotations"]["list"].as_array().unwrap().iter();
    let all = targets.chain(notes).map(|target| target["expr"].as_str().unwrap());
    all.map(|expr| expr.replace("$__rate_interval", "5m").replace("$instance", ".*")).collect()
}

/// The metric of a series' name; parts of a histogram have names of their own.
fn metric(name: &str) -> Option<&'static Metric> {
    CATALOGUE.iter().find(|metric| {
        let part = name.strip_prefix(metric.name).unwrap_or("?");
        part.is_empty() || (metric.kind == Kind::Histogram && ["_bucket", "_sum", "_count"].contains(&part))
    })
}

/// Names and labels in an expression that are not exported.
fn unknown(expr: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let starts = |at: usize| !expr[..at].ends_with(is_part);
    let named = |prefix: &'static str| expr.match_indices(prefix).map(|(at, _)| at).filter(|at| starts(*at));
    let mut labels: BTreeSet<&str> = ["instance", "job"].into();
    let mut used: BTreeSet<&str> = BTreeSet::new();
    for at in named("wattstile_").chain(named("process_")) {
        let end = expr[at..].find(|letter| !is_part(letter)).map_or(expr.len(), |length| at + length);
        let name = &expr[at..end];
        let Some(metric) = metric(name) else {
            wrong.push(name.to_owned());
            continue;
        };
        labels.extend(metric.labels);
        if metric.kind == Kind::Histogram {
            labels.insert("le");
        }
        if metric.kind == Kind::Counter && !["rate(", "increase(", "changes("].iter().any(|f| expr.contains(f)) {
            wrong.push(format!("{name} only ever grows: a rate is meant"));
        }
    }
    for by in expr.split("by (").skip(1) {
        used.extend(by.split(')').next().unwrap().split(',').map(str::trim));
    }
    for selector in expr.split('{').skip(1) {
        let pairs = selector.split('}').next().unwrap().split(',');
        used.extend(pairs.filter_map(|pair| pair.split(['=', '!']).next()).map(str::trim));
    }
    wrong.extend(used.difference(&labels).map(|label| format!("label {label}")));
    wrong
}

#[test]
fn every_metric_and_label_that_is_named_is_exported() {
    let alerts = alerts();
    assert!(alerts.len() > 20, "{alerts:?}");
    for expr in alerts.iter().map(|alert| &alert["expr"]).chain(&dashboard()) {
        assert_eq!(unknown(expr), Vec::<String>::new(), "{expr}");
    }
    for alert in &alerts {
        // Texts name labels that the expression's series have.
        for label in ["summary", "description"].iter().flat_map(|text| alert[*text].split("$labels.").skip(1)) {
            let end = label.find(|letter: char| !letter.is_ascii_lowercase() && letter != '_').unwrap();
            let label = &label[..end];
            let has = |metric: &Metric| alert["expr"].contains(metric.name) && metric.labels.contains(&label);
            assert!(label == "instance" || CATALOGUE.iter().any(has), "{label}: {alert:?}");
        }
    }
    assert_eq!(unknown("rate(wattstile_ticks[5m])"), ["wattstile_ticks"]);
    assert_eq!(unknown("wattstile_ready{peer=\"x\"}"), ["label peer"]);
    assert!(!unknown("wattstile_ticks_total > 5").is_empty());
}

#[test]
fn every_alert_says_how_grave_it_is_and_what_to_do() {
    let slug = |heading: &str| heading.to_lowercase().replace(' ', "-");
    let headings: BTreeSet<String> =
        OPERATIONS.lines().filter_map(|line| line.strip_prefix("### ")).map(slug).collect();
    let mut linked = BTreeSet::new();
    let mut names = BTreeSet::new();
    for alert in alerts() {
        assert!(names.insert(alert["alert"].clone()), "twice: {alert:?}");
        assert!(["critical", "warning"].contains(&alert["severity"].as_str()), "{alert:?}");
        assert!(alert["for"].ends_with(['m', 'h']), "{alert:?}");
        assert!(alert["summary"].len() > 15 && alert["description"].len() > 30, "{alert:?}");
        let page = "file:///usr/share/doc/wattstile/manual/operations.md#";
        let section = alert["runbook_url"].strip_prefix(page).expect("the manual as it is installed");
        assert!(headings.contains(section), "no section {section} in operations.md");
        linked.insert(section.to_owned());
    }
    let runbook = OPERATIONS.split("\n## Alerts\n").nth(1).expect("the runbook").split("\n## ").next().unwrap();
    let runbook: BTreeSet<String> = runbook.lines().filter_map(|line| line.strip_prefix("### ")).map(slug).collect();
    assert_eq!(runbook, linked, "every section is of an alert");
}

#[test]
fn prometheus_reads_the_rules_and_they_fire_when_they_should() {
    let Some(promtool) = tool("promtool") else { return };
    let folder = root().join("src/packaging/prometheus");
    done(Command::new(&promtool).args(["check", "rules", "wattstile.rules.yml"]).current_dir(&folder));
    done(Command::new(&promtool).args(["test", "rules", "wattstile.test.yml"]).current_dir(&folder));
    // The dashboard's queries are in the same language.
    let place = tempfile::tempdir().unwrap();
    let mut rules = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    for (number, expr) in dashboard().iter().enumerate() {
        rules.push_str(&format!("      - record: panel:{number}\n        expr: '{expr}'\n"));
    }
    fs::write(place.path().join("dashboard.yml"), rules).unwrap();
    done(Command::new(&promtool).args(["check", "rules", "dashboard.yml"]).current_dir(place.path()));
}

#[test]
fn a_gate_without_peers_exports_what_the_alerts_look_at() {
    let mut gate = Served::start(&["journal.log_mib_max=256"]);
    let (status, metrics) = gate.asks("/metrics");
    assert_eq!(status, 200);
    assert!(metrics.contains("\nwattstile_ready 1\n"), "{metrics}");
    assert!(metrics.contains(&format!("\nwattstile_wal_bound_bytes {}\n", (256 << 20) / 6 * 6)), "{metrics}");
    assert!(metrics.contains("\nwattstile_snapshot_failures_total 0\n"), "{metrics}");
    assert!(metrics.contains(&format!("wattstile_build_info{{version=\"{}\",commit=\"", env!("CARGO_PKG_VERSION"))));
    let seconds = |name: &str| -> f64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is not in\n{metrics}")).parse().unwrap()
    };
    let now = crate::common::now().unix_ms() as f64 / 1_000.0;
    for name in ["wattstile_clock_timestamp_seconds", "wattstile_snapshot_timestamp_seconds"] {
        assert!((now - seconds(name)).abs() < 60.0, "{name}: {} at {now}", seconds(name));
    }
    assert_eq!(gate.terminate(), Some(0));
}

#[test]
fn starts_that_are_refused_are_counted_by_their_code() {
    let mut gate = Served::start(&[]);
    let dialler = gate.dialler(&charger("CHG-1"));
    let code = runtime().block_on(async {
        let mut charger = Driven::dial(&dialler).await;
        charger.hello("CHG-1").await;
        // No processor has dialled in.
        match charger.start(1, "tok_1").await {
            ToCharger::StartRejected { code, .. } => code.number(),
            other => panic!("not refused: {other:?}"),
        }
    });
    let counted = format!("wattstile_starts_refused_total{{code=\"{code}\"}} 1\n");
    let (_, metrics) = gate.asks("/metrics");
    assert!(metrics.contains(&counted), "{counted} is not in\n{metrics}");
    assert_eq!(gate.terminate(), Some(0));
}
