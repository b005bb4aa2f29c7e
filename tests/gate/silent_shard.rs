//! A gate with a hanging shard, inspected from outside.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wattstile::actors::blocked_shard::BlockedShard;
use wattstile::api::Views;
use wattstile::app::demo::{Demo, DemoSettings, OcppSettings};
use wattstile::web::{Console, Listening};

/// Far more than it takes; reached only when nothing happens any more.
const TIMEOUT: Duration = Duration::from_secs(90);

fn verb(data: &Path, arguments: &[&str]) -> (i32, String) {
    let ran = Command::new(env!("CARGO_BIN_EXE_wattstile")).args(arguments).arg("--data").arg(data).output().unwrap();
    (ran.status.code().unwrap(), String::from_utf8(ran.stderr).unwrap())
}

fn plain(address: std::net::SocketAddr, path: &str) -> (u16, String) {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().new_agent();
    let mut answer = agent.get(format!("http://{address}{path}")).call().unwrap();
    (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
}

/// A shard that hangs: the gate reports it in time, and so do the verbs.
#[test]
fn a_shard_that_does_not_answer_is_told_apart_from_what_is_not_there() {
    let place = tempfile::tempdir().unwrap();
    let settings = DemoSettings {
        directory: place.path().join("demo"),
        chargers: 4,
        speed: 600,
        seed: 11,
        tariff: None,
        ocpp: OcppSettings::default(),
        reporting: None,
    };
    let mut demo = Demo::start(&settings).unwrap();
    let begun = Instant::now();
    while demo.standing().figures.sessions_charging == 0 {
        assert!(begun.elapsed() < TIMEOUT, "no sessions");
        std::thread::sleep(Duration::from_millis(50));
    }
    let blocked = BlockedShard::block(&demo.gate.directory().shards()[0]);

    // A console that waits less long.
    demo.console.take().unwrap().stop();
    let data = place.path().join("console");
    std::fs::create_dir(&data).unwrap();
    std::fs::copy(place.path().join("demo/data/format.json"), data.join("format.json")).unwrap();
    let mut console = Console::listen(Listening::on(([127, 0, 0, 1], 0).into(), None), Box::new(String::new)).unwrap();
    let views = Views::running(demo.gate.directory().clone(), demo.gate.archive().cloned());
    console.show(Arc::new(views.with_timeout(Duration::from_millis(100))), Vec::new(), Some(&data)).unwrap();
    for arguments in [&["session", "ls"][..], &["session", "show", "last"], &["charger", "ls"], &["account", "ls"]] {
        let (code, error) = verb(&data, arguments);
        assert!(code == 5 && error.contains("1 of 2 shards did not answer in time"), "{arguments:?}: {code} {error}");
    }
    let (status, shown) = plain(console.address, "/readyz");
    assert!(status == 503 && shown.contains("1 of 2 shards answer"), "{shown}");
    let (status, metrics) = plain(console.address, "/metrics");
    assert!(status == 200 && !metrics.contains("wattstile_sessions_active{"), "no figure is shown that may be wrong");

    drop(blocked);
    console.stop();
    demo.finish(TIMEOUT);
}
