//! Webhooks: a receiver that verifies every message, is away, and comes back, while the gate is killed in between.

use crate::common::Served;
use crate::common::business::Business;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_secs(60);

fn verb(gate: &Served, arguments: &[&str]) -> (i32, String, String) {
    gate.wait_for_console();
    let mut command = Command::new(env!("CARGO_BIN_EXE_wattstile"));
    let ran = command.args(arguments).arg("--data").arg(gate.data_dir()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (ran.status.code().unwrap(), text(ran.stdout), text(ran.stderr))
}

fn json_of(gate: &Served, arguments: &[&str]) -> Value {
    let (code, out, error) = verb(gate, &[arguments, &["--json"]].concat());
    assert_eq!(code, 0, "{arguments:?}: {error}");
    serde_json::from_str(&out).unwrap()
}

/// A secret, and the file with it.
fn secret_file(gate: &Served, name: &str, byte: u8) -> (Vec<u8>, PathBuf) {
    let (secret, path) = (vec![byte; 32], gate.data_dir().join(name));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
    writeln!(file, "whsec_{}", STANDARD.encode(&secret)).unwrap();
    (secret, path)
}

/// What came: the id, and the document of the event.
#[derive(Clone)]
struct Message {
    id: String,
    kind: String,
    event: Value,
    signatures: usize,
}

/// An endpoint that verifies what comes. It can be away, and answer anything.
struct Receiver {
    address: SocketAddr,
    came: Arc<Mutex<Vec<Message>>>,
    answers: Arc<AtomicU16>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Receiver {
    fn begin(address: Option<SocketAddr>, secret: &[u8], came: Arc<Mutex<Vec<Message>>>) -> Receiver {
        let listener = TcpListener::bind(address.unwrap_or(([127, 0, 0, 1], 0).into())).unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU16::new(204)));
        let (stopped, kept, answer, secret) = (stop.clone(), came.clone(), answers.clone(), secret.to_vec());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Acquire) {
                match listener.accept() {
                    Ok((stream, _)) => serve(stream, &secret, &kept, &answer, &stopped),
                    Err(_) => std::thread::sleep(Duration::from_millis(5)),
                }
            }
        });
        Receiver { address, came, answers, stop, thread: Some(thread) }
    }

    /// It goes away: connections to it are refused.
    fn end(mut self) {
        self.stop.store(true, Ordering::Release);
        self.thread.take().unwrap().join().unwrap();
    }

    fn came(&self) -> Vec<Message> {
        self.came.lock().unwrap().clone()
    }

    fn wait_for(&self, what: &str, is_there: impl Fn(&[Message]) -> bool) {
        let until = Instant::now() + TIMEOUT;
        while !is_there(&self.came()) {
            assert!(Instant::now() < until, "{what}: {} messages", self.came().len());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn serve(stream: TcpStream, secret: &[u8], came: &Mutex<Vec<Message>>, answer: &AtomicU16, stopped: &AtomicBool) {
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let (mut reader, mut stream) = (BufReader::new(stream.try_clone().unwrap()), stream);
    while !stopped.load(Ordering::Acquire) {
        let mut line = String::new();
        match reader.read_line(&mut line) {
            Ok(0) => return,
            Ok(_) => {}
            Err(_) if line.is_empty() => continue,
            Err(_) => return,
        }
        assert!(line.starts_with("POST /hook HTTP/1.1"), "{line}");
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.insert(name.to_lowercase(), value.to_owned());
        }
        let mut body = vec![0; headers["content-length"].parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        let body = String::from_utf8(body).unwrap();
        // As the convention has it, without the code that signs.
        let (id, seconds) = (&headers["webhook-id"], &headers["webhook-timestamp"]);
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
        let signed = ring::hmac::sign(&key, format!("{id}.{seconds}.{body}").as_bytes());
        let expected = format!("v1,{}", STANDARD.encode(signed));
        let signatures: Vec<&str> = headers["webhook-signature"].split(' ').collect();
        assert!(signatures.contains(&expected.as_str()), "a message of {id} is not signed right: {signatures:?}");
        let age = wattstile::host::wall_clock().unix_ms() / 1_000 - seconds.parse::<i64>().unwrap();
        assert!((-1..=60).contains(&age), "the time of the attempt: {age} s");
        let document: Value = serde_json::from_str(&body).unwrap();
        let status = answer.load(Ordering::Acquire);
        if status == 204 {
            let (kind, event) = (document["type"].as_str().unwrap().to_owned(), document["data"].clone());
            let message = Message { id: id.clone(), kind, event, signatures: signatures.len() };
            came.lock().unwrap().push(message);
        }
        let more = if status == 302 { "Location: http://127.0.0.1:1/elsewhere\r\n" } else { "" };
        let answered = stream.write_all(format!("HTTP/1.1 {status} X\r\n{more}Content-Length: 0\r\n\r\n").as_bytes());
        if answered.is_err() {
            return;
        }
    }
}

/// What the feed has of these types behind a cursor.
fn fed(gate: &Served, after: &str, types: &str) -> Vec<String> {
    let console = gate.console();
    let agent = ureq::Agent::config_builder().proxy(None).build().new_agent();
    let (mut ids, mut after) = (Vec::new(), after.to_owned());
    loop {
        let address =
            format!("http://{}/api/v1/events?follow=false&limit=1000&types={types}&after={after}", console.address);
        let request = agent.get(address).header("Authorization", format!("Bearer {}", console.token));
        let mut answer = request.call().unwrap();
        let next = answer.headers()["x-next"].to_str().unwrap().to_owned();
        let text = answer.body_mut().read_to_string().unwrap();
        if text.is_empty() && next == after {
            return ids;
        }
        ids.extend(
            text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned()),
        );
        after = next;
    }
}

#[test]
fn a_receiver_that_was_away_gets_everything_signed_and_in_order_over_a_kill_of_the_gate() {
    let mut gate = Served::start(&["payment.answer_authorize=2s", "log.level=warn", "webhooks.allow=127.0.0.1"]);
    let (secret, file) = secret_file(&gate, "hook.secret", 7);
    let came = Arc::new(Mutex::new(Vec::new()));
    let receiver = Receiver::begin(None, &secret, came.clone());
    let (address, url) = (receiver.address, format!("http://{}/hook", receiver.address));
    let types = "session.*,capture.succeeded";
    let file = file.to_str().unwrap();
    let made = json_of(&gate, &["webhook", "create", "--url", &url, "--secret-file", file, "--types", types]);
    let id = made["id"].as_str().unwrap().to_owned();
    assert_eq!((made["schema"].as_str(), made["state"].as_str()), (Some("wattstile.webhook/1"), Some("active")));
    let tested = json_of(&gate, &["webhook", "test", &id]);
    assert_eq!((tested["status"].as_u64(), tested["taken"].as_bool()), (Some(204), Some(true)));
    assert_eq!(receiver.came()[0].kind, "webhook.test");
    came.lock().unwrap().clear();

    let business = Business::begin(&mut gate, 6, 41);
    receiver.wait_for("the first events", |came| came.len() >= 8);
    receiver.end();
    std::thread::sleep(Duration::from_millis(1_500));
    let waiting = json_of(&gate, &["webhook", "ls"]);
    assert_eq!(waiting["items"][0]["state"], "retrying", "{waiting}");
    assert!(waiting["items"][0]["last_fault"].is_string() && waiting["items"][0]["next_attempt_at"].is_string());
    gate.kill();
    gate.start_again();
    std::thread::sleep(Duration::from_millis(500));
    let receiver = Receiver::begin(Some(address), &secret, came);
    let before = receiver.came().len();
    receiver.wait_for("it goes on", |came| came.len() > before);
    business.finish().assert_promises_kept();
    let expected = fed(&gate, "", types);
    assert!(expected.len() > 20, "{}", expected.len());
    let last = expected.last().unwrap().clone();
    receiver.wait_for("the last event", |came| came.iter().any(|message| message.id == last));

    // Everything, in the order of the feed; what came twice has the same id.
    let mut seen = BTreeSet::new();
    let came = receiver.came();
    let delivered: Vec<&Message> = came.iter().filter(|message| seen.insert(&message.id)).collect();
    assert_eq!(delivered.iter().map(|message| message.id.clone()).collect::<Vec<_>>(), expected);
    assert!(
        delivered.iter().all(|message| message.event["id"] == *message.id && message.event["type"] == *message.kind)
    );
    assert!(came.len() < expected.len() + 20, "few come twice: {} for {}", came.len(), expected.len());

    // Two secrets while one takes the place of the other.
    let (second, other) = secret_file(&gate, "other.secret", 9);
    json_of(&gate, &["webhook", "rotate", &id, "--secret-file", other.to_str().unwrap()]);
    json_of(&gate, &["webhook", "test", &id]);
    assert_eq!(receiver.came().last().unwrap().signatures, 2);
    receiver.end();
    let receiver = Receiver::begin(Some(address), &second, Arc::default());
    json_of(&gate, &["webhook", "test", &id]);

    // A redirect is not followed, and no success.
    receiver.answers.store(302, Ordering::Release);
    let (code, out, _) = verb(&gate, &["webhook", "test", &id, "--json"]);
    assert!(code == 4 && out.contains("302"), "{code} {out}");
    // Everything again, on demand.
    receiver.answers.store(204, Ordering::Release);
    json_of(&gate, &["webhook", "replay", &id, "--from", "oldest"]);
    receiver.wait_for("everything again", |came| came.iter().any(|message| message.id == last));
    let again: Vec<String> = receiver.came().into_iter().skip(1).map(|message| message.id).collect();
    assert!(again.starts_with(&expected[..10]), "{again:?}");
    // An endpoint that is gone is left alone.
    receiver.answers.store(410, Ordering::Release);
    json_of(&gate, &["webhook", "replay", &id, "--from", "oldest"]);
    let until = Instant::now() + TIMEOUT;
    while json_of(&gate, &["webhook", "ls"])["items"][0]["state"] != "stopped" {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(50));
    }
    json_of(&gate, &["webhook", "rm", &id]);
    assert_eq!(json_of(&gate, &["webhook", "ls"])["items"], json!([]));
    assert_eq!(verb(&gate, &["webhook", "test", &id]).0, 3);
    for name in ["audit.jsonl", "console.json"] {
        let kept = std::fs::read_to_string(gate.data_dir().join("data").join(name)).unwrap();
        assert!(!kept.contains("whsec_"), "{name} has a secret");
    }
}

#[test]
fn targets_inside_are_refused_unless_they_are_named() {
    let gate = Served::start(&[]);
    let (_, file) = secret_file(&gate, "hook.secret", 7);
    let create = |url: &str, types: &str| {
        let file = file.to_str().unwrap();
        verb(&gate, &["webhook", "create", "--url", url, "--secret-file", file, "--types", types])
    };
    for url in [
        "http://127.0.0.1:1/hook",
        "https://127.0.0.1:1/hook",
        "https://localhost/hook",
        "https://[::1]/hook",
        "https://10.0.0.1/hook",
        "https://169.254.169.254/latest/meta-data",
        "http://1.1.1.1/hook",
        "file:///etc/passwd",
        "hook",
    ] {
        let (code, _, error) = create(url, "*");
        assert!(code == 2 && error.contains("url:"), "{url}: {code} {error}");
    }
    let (code, _, error) = create("https://1.1.1.1/hook", "session.setled");
    assert!(code == 2 && error.contains("session.settled"), "{code} {error}");
    std::fs::write(&file, "hunter2").unwrap();
    let (code, _, error) = create("https://1.1.1.1/hook", "*");
    assert!(code == 2 && error.contains("whsec_") && !error.contains("hunter2"), "{code} {error}");
    assert_eq!(json_of(&gate, &["webhook", "ls"])["items"], json!([]));
}
