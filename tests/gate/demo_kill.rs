//! The demonstration is killed at random moments and started again: it goes on, settles every session, and leaves neither a
//! hold nor a shortfall behind.

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use wattstile::units::rng::Rng;
use wattstile::web::{ConsoleEndpoint, ENDPOINT_FILE};

/// How often it is killed; more by `WATTSTILE_DEMO_KILLS`.
fn kills() -> u32 {
    std::env::var("WATTSTILE_DEMO_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(4)
}

/// Where the random moments come from.
fn seed() -> u64 {
    std::env::var("WATTSTILE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_261_130)
}

/// How soon after a start readings have to be acknowledged.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(10);

fn start(data: &Path) -> Child {
    let log = fs::OpenOptions::new().create(true).append(true).open(data.with_extension("log")).unwrap();
    Command::new(env!("CARGO_BIN_EXE_wattstile"))
        .args(["demo", "--dir"])
        .arg(data)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// The figures of the process with this id, once its console answers.
fn figures(data: &Path, pid: u32) -> Option<Value> {
    let place: ConsoleEndpoint = serde_json::from_slice(&fs::read(data.join("data").join(ENDPOINT_FILE)).ok()?).ok()?;
    if place.pid != pid {
        return None;
    }
    let agent = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(5))).proxy(None).build();
    let request = ureq::Agent::new_with_config(agent).get(format!("http://{}/api/figures", place.address));
    let mut answer = request.header("Authorization", format!("Bearer {}", place.token)).call().ok()?;
    serde_json::from_str(&answer.body_mut().read_to_string().ok()?).ok()
}

/// Waits until readings are recorded that were not there when the console first answered.
fn wait_for_readings(data: &Path, pid: u32, started: Instant, round: u32) {
    let mut first = None;
    loop {
        let readings = figures(data, pid).and_then(|figures| figures["readings"].as_u64());
        match (first, readings) {
            (None, Some(readings)) => first = Some(readings),
            (Some(before), Some(readings)) if readings > before => return,
            (_, _) => {}
        }
        let log = || fs::read_to_string(data.with_extension("log")).unwrap_or_default();
        assert!(started.elapsed() < ACKNOWLEDGED_WITHIN, "start {round} records no readings\n{}", log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn killed_at_random_moments_the_demonstration_goes_on() {
    let (kills, seed) = (kills(), seed());
    println!("WATTSTILE_DEMO_KILLS={kills} WATTSTILE_SEED={seed}");
    let mut rng = Rng::of(seed, 11);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("demo");
    for round in 0..kills {
        let started = Instant::now();
        let mut demo = start(&data);
        // Some are killed before the first reading, while they make or recover their data.
        let wait = if rng.chance(3_000) {
            rng.between(0, 1_000)
        } else {
            wait_for_readings(&data, demo.id(), started, round);
            rng.between(0, 4_000)
        };
        std::thread::sleep(Duration::from_millis(wait.unsigned_abs()));
        demo.kill().unwrap();
        demo.wait().unwrap();
    }
    let output = Command::new(env!("CARGO_BIN_EXE_wattstile"))
        .args(["demo", "--for", "10s", "--json", "--dir"])
        .arg(&data)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    assert!(document["sessions_settled"].as_u64().unwrap() >= 20, "{document}");
    assert!(document["ticks_acked"].as_u64().unwrap() > 0, "{document}");
    for none in ["sessions_open", "held_minor", "shortfall_minor", "books_imbalance_minor"] {
        assert_eq!(document[none], 0, "{none} in {document}");
    }
    // What was refused is refused by a processor, never because the gate still had the session of a connector.
    assert!(document["starts_refused"].get("302").is_none(), "{document}");
    let processors = document["processors"].as_array().unwrap();
    assert_eq!(processors.len(), 2);
    for processor in processors {
        assert!(processor["holds"].get("open").is_none(), "{processor}");
        let violations = processor["violations"].as_object().unwrap();
        assert!(violations.values().all(|count| count == 0), "{processor}");
    }
}
