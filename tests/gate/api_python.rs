//! Programs of integrators, made of public Python packages: a receiver of webhooks that verifies with `standardwebhooks`, and a
//! client that `openapi-python-client` has made of the API's document.
//!
//! Needs a Python with these packages, named by `WATTSTILE_PYTHON`; therefore ignored unless asked for.

use crate::common::Served;
use crate::common::business::Business;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_secs(60);

fn interpreter() -> PathBuf {
    std::env::var_os("WATTSTILE_PYTHON").expect("WATTSTILE_PYTHON names a Python with the packages").into()
}

/// A script that runs until its standard input ends.
struct Script {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Script {
    fn run(name: &str, arguments: &[&str]) -> Script {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(name);
        let mut command = Command::new(interpreter());
        command.arg(script).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the interpreter starts");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Script { child, lines }
    }

    fn document(&mut self) -> Value {
        let line = self.lines.next().expect("the script has not ended").unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// Ends its input; what it says until it ends.
    fn finish(mut self) -> Vec<Value> {
        drop(self.child.stdin.take());
        let said = self.lines.by_ref().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
        assert!(self.child.wait().unwrap().success(), "the script has failed");
        said
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn gate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wattstile"));
    command.args(arguments);
    command
}

#[test]
#[ignore = "needs WATTSTILE_PYTHON"]
fn a_public_library_verifies_every_webhook_of_a_demo() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("hook.secret");
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&secret).unwrap();
    writeln!(file, "whsec_{}", STANDARD.encode([0x5a; 32])).unwrap();
    let mut receiver = Script::run("webhook_receiver.py", &[secret.to_str().unwrap()]);
    let port = receiver.document().as_u64().unwrap();

    let place = folder.path().join("demo");
    let directory = place.to_str().unwrap();
    let mut demo = gate(&["demo", "--dir", directory, "--for", "25s", "--json"]);
    let demo = demo.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + TIMEOUT;
    while !place.join("data/console.json").exists() {
        assert!(Instant::now() < until, "the demo does not begin");
        std::thread::sleep(Duration::from_millis(50));
    }
    let url = format!("http://127.0.0.1:{port}/hook");
    let (data, secret) = (place.join("data"), secret.to_str().unwrap());
    let mut create = gate(&["webhook", "create", "--url", &url, "--secret-file", secret, "--types", "*", "--json"]);
    let made = create.arg("--data").arg(&data).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert!(demo.wait_with_output().unwrap().status.success());

    let came = receiver.finish();
    let is_good = |message: &&Value| message["verified"] == true && message["forged"].is_null();
    assert_eq!(came.iter().filter(is_good).count(), came.len(), "{:?}", came.iter().find(|each| !is_good(each)));
    assert!(came.iter().all(|message| message["id"] == message["event"]), "the event's id is that of the message");
    let types: BTreeSet<&str> = came.iter().filter_map(|message| message["type"].as_str()).collect();
    for wanted in
        ["session.started", "authorization.approved", "capture.succeeded", "session.settled", "receipt.issued"]
    {
        assert!(types.contains(wanted), "{wanted}: {types:?}");
    }
    println!("{} messages of {} types verified", came.len(), types.len());
}

/// Makes a client of the gate's document, and returns the folder with it.
fn generated(document: &str, folder: &Path) -> PathBuf {
    let (spec, config, client) = (folder.join("openapi.json"), folder.join("client.yaml"), folder.join("client"));
    std::fs::write(&spec, document).unwrap();
    let settings = "package_name_override: wattstile_client\npost_hooks: []\ncontent_type_overrides:\n  \
                    application/jsonl: text/plain\n  text/event-stream: text/plain\n";
    std::fs::write(&config, settings).unwrap();
    let mut generator = Command::new(interpreter().with_file_name("openapi-python-client"));
    generator.arg("generate").arg("--path").arg(&spec).arg("--config").arg(&config);
    let made = generator.arg("--output-path").arg(&client).arg("--overwrite").output().expect("the generator starts");
    let said = String::from_utf8_lossy(&made.stdout).into_owned() + &String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success() && !said.contains("WARNING"), "{said}");
    client
}

#[test]
#[ignore = "needs WATTSTILE_PYTHON"]
fn a_generated_client_refunds_once_and_misses_no_event_over_a_restart() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listen = format!("console.listen=127.0.0.1:{port}");
    let mut served = Served::start(&["payment.answer_authorize=2s", "log.level=warn", &listen]);
    let console = served.console();
    let agent = ureq::Agent::config_builder().proxy(None).build().new_agent();
    let document = agent.get(format!("http://{}/api/v1/openapi.json", console.address));
    let document = document.header("Authorization", format!("Bearer {}", console.token)).call().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let client = generated(&document.into_body().read_to_string().unwrap(), folder.path());
    let mut create = gate(&["token", "create", "--name", "till", "--role", "finance", "--json"]);
    let made = create.arg("--data").arg(served.data_dir()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();

    let business = Business::begin(&mut served, 6, 51);
    let arguments = [client.to_str().unwrap(), &console.address.to_string(), made["token"].as_str().unwrap()];
    let mut script = Script::run("generated_client.py", &arguments);
    let listed = script.document();
    assert!(listed["listed"].as_u64() > Some(6) && listed["listed"] == listed["distinct"], "{listed}");
    let refunded = script.document();
    assert_eq!((&refunded["statuses"], &refunded["same"]), (&json!([200, 200]), &json!(true)), "{refunded}");
    assert_eq!(refunded["refunds"], json!([{ "amount": "0.10", "state": "approved" }]), "{refunded}");
    assert!(refunded["other"].as_u64() >= Some(400), "the key is that of another order: {refunded}");

    std::thread::sleep(Duration::from_secs(1));
    served.kill();
    std::thread::sleep(Duration::from_millis(500));
    served.start_again();
    let outcome = business.finish();
    outcome.assert_promises_kept();
    let given: i64 = outcome.processor.books.totals.values().map(|totals| totals.refunded_minor).sum();
    assert_eq!(given, 10, "the processor has given back once");
    let followed = script.finish().pop().expect("it reports what it followed");
    assert!(followed["broken"].as_u64() > Some(0), "the gate was away: {followed}");
    assert!(followed["whole"] == true && followed["seen"] == followed["distinct"], "{followed}");
    assert!(followed["refunded"] == 1 && followed["seen"].as_u64() > Some(50), "{followed}");
}
