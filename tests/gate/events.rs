//! The feed of events: nothing is missed over kills of the gate, a stream goes on where it was broken, and who was away longer
//! than the log reaches back gets the sessions from the archive.

use crate::common::Served;
use crate::common::business::Business;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use wattstile::journal::Layout;
use wattstile::message::Subject;
use wattstile::units::ChargerId;

const TIMEOUT: Duration = Duration::from_secs(60);

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None);
    config.timeout_global(Some(TIMEOUT)).build().new_agent()
}

/// A page of events and the cursor behind it; none while the gate is away.
fn page(gate: &Served, query: &str) -> Option<(Vec<Value>, String)> {
    let console = gate.console();
    let address = format!("http://{}/api/v1/events?follow=false&limit=1000{query}", console.address);
    let mut answer = agent().get(address).header("Authorization", format!("Bearer {}", console.token)).call().ok()?;
    let text = answer.body_mut().read_to_string().ok()?;
    assert_eq!(answer.status().as_u16(), 200, "{text}");
    let next = answer.headers()["x-next"].to_str().unwrap().to_owned();
    Some((text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), next))
}

/// A document of the API.
fn document(gate: &Served, path: &str) -> Value {
    let console = gate.console();
    let request = agent().get(format!("http://{}/api/v1/{path}", console.address));
    let mut answer = request.header("Authorization", format!("Bearer {}", console.token)).call().unwrap();
    let text = answer.body_mut().read_to_string().unwrap();
    assert_eq!(answer.status().as_u16(), 200, "{path}: {text}");
    serde_json::from_str(&text).unwrap()
}

/// Minor units of an amount in a document; 0 for none.
fn minor(value: &Value) -> i64 {
    let (whole, cents) = value.as_str().unwrap_or("0.00").split_once('.').unwrap_or(("0", "0"));
    format!("{whole}{cents:0<2}").parse().unwrap()
}

/// Everything behind a cursor.
fn all(gate: &Served, after: &str) -> Vec<Value> {
    let (mut events, mut after) = (Vec::new(), after.to_owned());
    let until = Instant::now() + TIMEOUT;
    loop {
        let (more, next) = page(gate, &format!("&after={after}")).expect("the gate runs");
        let is_over = more.is_empty() && next == after;
        events.extend(more);
        after = next;
        if is_over {
            return events;
        }
        assert!(Instant::now() < until, "the feed does not end");
    }
}

fn text<'a>(event: &'a Value, name: &str) -> &'a str {
    event[name].as_str().unwrap_or_default()
}

fn ids(events: &[Value]) -> BTreeSet<&str> {
    events.iter().map(|event| text(event, "id")).collect()
}

#[test]
fn an_observer_misses_nothing_over_kills_of_the_gate() {
    let mut gate = Served::start(&["payment.answer_authorize=2s", "log.level=warn"]);
    let business = Business::begin(&mut gate, 8, 31);
    let (mut seen, mut after) = (Vec::new(), String::new());
    for round in 0..40 {
        std::thread::sleep(Duration::from_millis(100));
        if round % 13 == 12 {
            gate.kill();
            gate.start_again();
        }
        let (events, next) = page(&gate, &format!("&after={after}")).expect("the gate runs");
        seen.extend(events);
        after = next;
    }
    let outcome = business.finish();
    outcome.assert_nothing_lost();
    seen.extend(all(&gate, &after));

    // The same as read in one go, each once, each partition in order.
    let whole = all(&gate, "");
    assert_eq!(
        seen.iter().map(|event| text(event, "id")).collect::<Vec<_>>(),
        whole.iter().map(|event| text(event, "id")).collect::<Vec<_>>()
    );
    assert_eq!(ids(&seen).len(), seen.len(), "no event twice");
    let mut last: BTreeMap<u64, u64> = BTreeMap::new();
    for event in &seen {
        let (partition, sequence) = (event["partition"].as_u64().unwrap(), event["sequence"].as_u64().unwrap());
        let before = last.insert(partition, sequence).unwrap_or_default();
        assert!(before <= sequence, "{event}");
    }
    // A life of each session, in order; money as in the receipts.
    let mut lives: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for event in seen.iter().filter(|event| event["session"].is_string()) {
        lives.entry(text(event, "session")).or_default().push(text(event, "type"));
    }
    assert!(lives.len() >= 8, "{}", lives.len());
    for (session, types) in &lives {
        assert_eq!(types.first(), Some(&"session.started"), "{session}: {types:?}");
        let at = |name: &str| types.iter().position(|known| *known == name);
        // One whose authorization is not known is settled when that is found out.
        if types.contains(&"capture.succeeded") {
            let (taken, settled, receipt) = (at("capture.succeeded"), at("session.settled"), at("receipt.issued"));
            assert!(taken < settled && settled < receipt, "{session}: {types:?}");
        }
    }
    let settled_count = lives.values().filter(|types| types.contains(&"session.settled")).count();
    assert!(settled_count >= 8, "{settled_count}");
    let captured: i64 = seen
        .iter()
        .filter(|event| text(event, "type") == "capture.succeeded")
        .map(|event| text(event, "amount").replace('.', "").parse::<i64>().unwrap())
        .sum();
    assert_eq!(captured, outcome.fleet.paid_minor.values().sum::<i64>());
    // A session's own lists: its events are those of the feed, its entries balance, and the sale is what was taken.
    let known = ids(&seen);
    for session in lives.iter().filter(|(_, types)| types.contains(&"capture.succeeded")).map(|(session, _)| session) {
        let events = document(&gate, &format!("sessions/{session}/events?limit=1000"));
        let events = events["items"].as_array().unwrap();
        assert!(events.iter().all(|event| known.contains(text(event, "id"))), "{session}: {events:?}");
        assert!(events.iter().any(|event| text(event, "type") == "receipt.issued"), "{session}");
        let entries = document(&gate, &format!("sessions/{session}/entries?limit=1000"));
        let entries = entries["items"].as_array().unwrap();
        for entry in entries {
            let legs = entry["legs"].as_array().unwrap();
            let [debits, credits] =
                ["debit", "credit"].map(|side| legs.iter().map(|leg| minor(&leg[side])).sum::<i64>());
            assert!(debits == credits && debits > 0, "{entry}");
        }
        let kinds: Vec<&str> = entries.iter().map(|entry| text(entry, "kind")).collect();
        assert!(kinds.contains(&"hold approved") && kinds.contains(&"sale"), "{session}: {kinds:?}");
        let sale = entries.iter().find(|entry| text(entry, "kind") == "sale").unwrap();
        let taken = sale["legs"].as_array().unwrap().iter().map(|leg| minor(&leg["debit"])).max().unwrap();
        let captured = document(&gate, &format!("sessions/{session}"))["captured"].clone();
        assert!(taken >= minor(&captured), "{sale}");
    }
    let system = document(&gate, "system");
    assert!(system["shards"].as_array().unwrap().iter().all(|shard| shard["answers"] == true), "{system}");
    assert_eq!(system["shards"].as_array().unwrap().len(), 2);
    assert!(system["log"]["records"].as_u64() > Some(100) && system["log"]["bytes_max"].as_u64() > Some(0), "{system}");
    let certificates = system["certificates"].as_array().unwrap();
    assert!(certificates.iter().any(|row| row["days"].as_i64() > Some(30)), "the gate's own is there: {system}");
    // Only what was asked for; what there is not is refused.
    let (settled, _) = page(&gate, "&types=session.settled").unwrap();
    assert!(settled.iter().all(|event| text(event, "type") == "session.settled") && settled.len() == settled_count);
    let console = gate.console();
    for wrong in ["types=session.setled", "after=x", "limit=0", "follow=perhaps"] {
        let address = format!("http://{}/api/v1/events?{wrong}", console.address);
        let answer = agent().get(address).header("Authorization", format!("Bearer {}", console.token)).call().unwrap();
        assert_eq!(answer.status().as_u16(), 400, "{wrong}");
    }
}

/// Peers that come are events at once, and again only when they were away; so is a certificate that ends soon.
#[test]
fn peers_and_their_certificates_are_events_and_a_kill_is_no_absence() {
    let mut gate = Served::start(&["log.level=warn"]);
    let business = Business::begin(&mut gate, 3, 34);
    let of = |events: &[Value], kind: &str, member: &str| -> Vec<String> {
        let of_kind = events.iter().filter(|event| text(event, "type") == kind);
        let mut found: Vec<String> = of_kind.map(|event| text(event, member).to_owned()).collect();
        found.sort();
        found
    };
    let chargers = ["CHG-001", "CHG-002", "CHG-003"];
    let until = Instant::now() + TIMEOUT;
    while of(&all(&gate, ""), "charger.online", "charger") != chargers
        || of(&all(&gate, ""), "processor.up", "processor") != ["acme-cards"]
    {
        assert!(Instant::now() < until, "{:?}", all(&gate, ""));
        std::thread::sleep(Duration::from_millis(50));
    }
    gate.kill();
    gate.start_again();
    business.finish().assert_promises_kept();
    // A charger whose certificate ends soon is connected when the gate looks.
    let short = Subject::Charger(ChargerId::new("CHG-009").unwrap());
    let own = gate.certified_for(&short, Duration::from_secs(1_800));
    let late = gate.dialler_with(own, gate.chargers);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let connected = runtime.block_on(late.dial()).unwrap();
    let until = Instant::now() + TIMEOUT;
    while !of(&all(&gate, ""), "certificate.expiring", "certificate").contains(&"charger/CHG-009".to_owned()) {
        assert!(Instant::now() < until, "{:?}", all(&gate, ""));
        std::thread::sleep(Duration::from_millis(500));
    }
    drop(connected);
    let events = all(&gate, "");
    assert_eq!(of(&events, "charger.online", "charger"), chargers);
    assert_eq!(of(&events, "processor.up", "processor"), ["acme-cards"]);
    assert!(
        of(&events, "charger.offline", "charger").is_empty() && of(&events, "processor.down", "processor").is_empty()
    );
    let own = events.iter().filter(|event| text(event, "type") == "certificate.expiring");
    for event in own {
        assert!(!text(event, "certificate").is_empty() && text(event, "expires").ends_with('Z'), "{event}");
    }
}

/// A stream of server-sent events over a bare connection.
struct Stream(BufReader<TcpStream>);

impl Stream {
    fn open(gate: &Served, query: &str, last: Option<&str>) -> Stream {
        let console = gate.console();
        let mut stream = TcpStream::connect(console.address).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        let last = last.map_or(String::new(), |last| format!("Last-Event-ID: {last}\r\n"));
        let head = format!(
            "GET /api/v1/events?{query} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n{last}\r\n",
            console.token
        );
        stream.write_all(head.as_bytes()).unwrap();
        Stream(BufReader::new(stream))
    }

    /// The next event: its id, its type and its document.
    fn next(&mut self) -> Option<(String, String, Value)> {
        let (mut id, mut name) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end();
            if let Some(text) = line.strip_prefix("id: ") {
                id = text.to_owned();
            } else if let Some(text) = line.strip_prefix("event: ") {
                name = text.to_owned();
            } else if let Some(text) = line.strip_prefix("data: ") {
                return Some((id, name, serde_json::from_str(text).unwrap()));
            }
        }
    }
}

#[test]
fn a_stream_goes_on_behind_the_last_event_also_over_a_kill() {
    let mut gate = Served::start(&["payment.answer_authorize=2s", "log.level=warn"]);
    let business = Business::begin(&mut gate, 4, 32);
    let mut stream = Stream::open(&gate, "types=session.*", None);
    let mut seen: Vec<Value> = Vec::new();
    let mut last = String::new();
    while seen.len() < 6 {
        let (id, name, event) = stream.next().expect("an event");
        assert_eq!((text(&event, "cursor"), text(&event, "type")), (id.as_str(), name.as_str()));
        last = id;
        seen.push(event);
    }
    gate.kill();
    while let Some((id, _, event)) = stream.next() {
        last = id;
        seen.push(event);
    }
    gate.start_again();
    let mut stream = Stream::open(&gate, "types=session.*", Some(&last));
    for _ in 0..6 {
        let (_, _, event) = stream.next().expect("an event");
        seen.push(event);
    }
    business.finish().assert_promises_kept();
    let whole: Vec<Value> =
        all(&gate, "").into_iter().filter(|event| text(event, "type").starts_with("session.")).collect();
    let begun: Vec<&str> = whole.iter().take(seen.len()).map(|event| text(event, "id")).collect();
    assert_eq!(seen.iter().map(|event| text(event, "id")).collect::<Vec<_>>(), begun);
}

/// The log is let go behind snapshots all the time: what it has no more comes from the archive, under the same ids.
#[test]
fn who_was_away_longer_than_the_log_gets_the_sessions_from_the_archive() {
    let layout = Layout { partitions: 8, generation_blocks: 16 };
    let settings = ["payment.answer_authorize=2s", "journal.snapshot_every=50ms", "log.level=warn"];
    let mut gate = Served::start_on(layout, &settings);
    let business = Business::begin(&mut gate, 8, 33);
    // It follows all the time, so that it sees everything in the log.
    let (mut seen, mut after, mut early) = (Vec::new(), String::new(), String::new());
    let until = Instant::now() + TIMEOUT;
    while seen.iter().filter(|event| text(event, "type") == "session.settled").count() < 20 {
        let (events, next) = page(&gate, &format!("&after={after}")).expect("the gate runs");
        seen.extend(events);
        after = next;
        if early.is_empty() && seen.len() > 10 {
            early.clone_from(&after);
        }
        assert!(Instant::now() < until, "{} events", seen.len());
        std::thread::sleep(Duration::from_millis(20));
    }
    business.finish().assert_promises_kept();
    seen.extend(all(&gate, &after));
    // Nothing of the tail in memory is left.
    gate.kill();
    gate.start_again();
    let late = all(&gate, &early);
    assert_eq!(text(&late[0], "type"), "feed.gap", "the log was let go: {:?}", late.first());
    let known = ids(&late);
    let of_sessions = |event: &&Value| event["session"].is_string() && !matches!(text(event, "reason"), "limit");
    let mut missing = seen.iter().filter(of_sessions).filter(|event| {
        // An order to stop is not kept by the session.
        text(event, "type") != "session.updated" && !known.contains(text(event, "id"))
    });
    assert!(missing.next().is_none(), "{:?}", missing.next());
    assert!(late.iter().filter(|event| text(event, "type") == "session.settled").count() >= 20);
}
