//! The console under floods: its connections are counted and timed, it answers to its own names only, and neither it nor the
//! listener for probes takes from the journal what that needs.

use crate::common::Served;
use crate::common::business::Business;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use wattstile::journal::{DataDir, Layout, SledStore, Store};
use wattstile::limits;
use wattstile::transport::descriptors;
use wattstile::web::{Console, Listening};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn open() -> Console {
    let listening = Listening {
        probes: Some(ANY),
        hosts: vec!["console.example".to_owned()],
        ..Listening::on(ANY, Some("secret".to_owned()))
    };
    Console::listen(listening, Box::new(|| "the store is opened".to_owned())).unwrap()
}

/// Sends a request as it is and reads until the other side closes: the status, and the whole answer.
fn raw(address: SocketAddr, request: &str) -> (u16, String) {
    let mut tcp = TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    tcp.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = tcp.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    (answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0), answer)
}

fn get(address: SocketAddr, host: &str, path: &str) -> (u16, String) {
    raw(address, &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
}

#[test]
fn a_foreign_name_is_refused_with_what_allows_it() {
    let console = open();
    for host in ["localhost", "127.0.0.1:1", "console.example"] {
        assert_eq!(get(console.address, host, "/livez").0, 200, "{host}");
    }
    for path in ["/livez", "/metrics", "/api/figures?token=secret"] {
        let (status, shown) = get(console.address, "evil.example:8490", path);
        assert_eq!(status, 421, "{path}: {shown}");
        assert!(shown.contains("evil.example") && shown.contains("console.hosts"), "{shown}");
    }
    assert_eq!(raw(console.address, "GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n").0, 400);
    // What a name brings in moves no terminal.
    let (_, shown) = get(console.address, "a\u{1b}[2J", "/livez");
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
}

#[test]
fn the_listener_for_probes_answers_health_and_metrics_and_nothing_else() {
    let console = open();
    let probes = console.probes.unwrap();
    assert_eq!(get(probes, "10.1.2.3:9464", "/livez").0, 200);
    assert_eq!(get(probes, "gate.example", "/readyz").0, 503);
    let (status, metrics) = get(probes, "gate.example", "/metrics");
    assert!(status == 200 && metrics.contains("wattstile_build_info"), "{metrics}");
    for path in ["/", "/api/figures?token=secret", "/api/sessions?token=secret", "/metrics/../api/figures", "//livez"] {
        assert_eq!(get(probes, "localhost", path).0, 404, "{path}");
    }
    let post = "POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert_eq!(raw(probes, post).0, 405);
    let order = "POST /api/backup HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\nContent-Length: 2\r\n\
                 Connection: close\r\n\r\n{}";
    assert_eq!(raw(probes, order).0, 404);
}

#[test]
fn each_step_of_a_request_has_its_time_and_its_size() {
    let console = open();
    let address = console.address;
    let timed = move |request: String| {
        std::thread::spawn(move || {
            let begun = Instant::now();
            let (status, _) = raw(address, &request);
            (status, begun.elapsed())
        })
    };
    let second = Duration::from_secs(1);
    let head_max = Duration::from_millis(limits::CONSOLE_HEAD_MAX.ms().unsigned_abs());
    let body_max = Duration::from_millis(limits::CONSOLE_BODY_MAX.ms().unsigned_abs());
    let head = timed("GET /livez HTTP/1.1\r\nHost: localhost\r\nX: ".to_owned());
    let silent = timed(String::new());
    // It gets its answer, and then sends nothing more.
    let idle = timed("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned());
    let body = timed("POST /api/backup HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{".to_owned());
    let large = "x".repeat(limits::CONSOLE_BODY_BYTES + 1);
    let large = timed(format!(
        "POST /api/backup HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{large}",
        large.len()
    ));
    // The length that it states is refused before it comes.
    let stated =
        timed("POST /api/backup HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n{".to_owned());
    let long = "x".repeat(2 * limits::CONSOLE_HEAD_BYTES);
    let long = timed(format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nX: {long}\r\n\r\n"));
    for (slow, status, least, most) in [
        (head, None, head_max - second, head_max + 10 * second),
        (silent, Some(0), head_max - second, head_max + 10 * second),
        (idle, Some(200), head_max - second, head_max + 10 * second),
        (body, Some(408), body_max - second, body_max + head_max + 10 * second),
        (large, Some(413), Duration::ZERO, head_max),
        (stated, Some(413), Duration::ZERO, head_max + 10 * second),
        (long, Some(431), Duration::ZERO, head_max),
    ] {
        let (shown, took) = slow.join().unwrap();
        assert!(status.is_none_or(|status| status == shown), "{status:?}: {shown} after {took:?}");
        assert!((least..most).contains(&took), "{shown} after {took:?}");
    }
}

#[test]
fn floods_of_one_question_do_not_keep_health_waiting() {
    let console = Arc::new(open());
    let over = Arc::new(AtomicBool::new(false));
    let scraped = Arc::new(AtomicUsize::new(0));
    let floods: Vec<_> = (0..60)
        .map(|number| {
            let (console, over, scraped) = (console.clone(), over.clone(), scraped.clone());
            std::thread::spawn(move || {
                let path = if number % 2 == 0 { "/metrics" } else { "/readyz" };
                while !over.load(Ordering::Relaxed) {
                    let (status, _) = get(console.address, "localhost", path);
                    scraped.fetch_add(usize::from(status == 200 && number % 2 == 0), Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut waits: Vec<Duration> = Vec::new();
    for _ in 0..100 {
        let begun = Instant::now();
        assert_eq!(get(console.address, "localhost", "/livez").0, 200);
        waits.push(begun.elapsed());
        std::thread::sleep(Duration::from_millis(10));
    }
    waits.sort();
    // Without a way of its own each would wait behind sixty others; the machine may keep a few of them.
    assert!(waits[75] < Duration::from_secs(2), "{waits:?}");
    over.store(true, Ordering::Relaxed);
    floods.into_iter().for_each(|flood| flood.join().unwrap());
    assert!(scraped.load(Ordering::Relaxed) > 100, "scrapes are answered meanwhile");
}

/// With room for 512 files the console and the probes are held by some two thousand connections without a request.
/// The log turns over beside them, nothing is lost, and actual requests are answered.
#[test]
fn thousands_of_slow_connections_leave_the_journal_its_files_and_others_their_answers() {
    assert!(descriptors::raise_limit() > 4_000, "this test holds many connections");
    let layout = Layout { partitions: 8, generation_blocks: 32 };
    let folder = tempfile::tempdir().unwrap();
    let probes: SocketAddr = std::net::TcpListener::bind(ANY).unwrap().local_addr().unwrap();
    let probes_listen = format!("console.probes_listen={probes}");
    let more = ["payment.answer_authorize=2s", "journal.snapshot_every=50ms", probes_listen.as_str()];
    let mut gate = Served::stopped(folder, layout, &more);
    gate.started_by = ["sh", "-c", "ulimit -n 512; exec \"$@\"", "sh"].map(str::to_owned).to_vec();
    gate.start_again();
    assert_eq!(gate.asks("/livez").0, 200);
    let console = gate.console().address;
    let business = Business::begin(&mut gate, 8, 20_261_130);

    let (over, opened) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let holders: Vec<_> = [console, probes]
        .map(|address| {
            let (over, opened) = (over.clone(), opened.clone());
            std::thread::spawn(move || {
                let mut held: Vec<TcpStream> = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    if let Ok(mut tcp) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) {
                        let _ = tcp.write_all(b"GET /livez HTTP/1.1\r\nHost: loc");
                        held.push(tcp);
                        opened.fetch_add(1, Ordering::Relaxed);
                    }
                    if held.len() > 1_000 {
                        held.drain(..500);
                        std::thread::sleep(Duration::from_millis(20));
                    }
                }
            })
        })
        .into();
    let (least, most) = (Instant::now() + Duration::from_secs(8), Instant::now() + Duration::from_secs(120));
    let mut answered = 0;
    let goes_on = |answered: usize| {
        let now = Instant::now();
        now < least || (now < most && (opened.load(Ordering::Relaxed) <= 2_000 || answered <= 5))
    };
    while goes_on(answered) {
        for address in [console, probes] {
            answered += usize::from(get(address, "localhost", "/livez").0 == 200);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    over.store(true, Ordering::Relaxed);
    holders.into_iter().for_each(|holder| holder.join().unwrap());
    let opened = opened.load(Ordering::Relaxed);
    assert!(opened > 2_000, "{opened} connections");
    assert!(answered > 5, "{answered} answers beside {opened} connections");

    let outcome = business.finish();
    outcome.assert_nothing_lost();
    assert!(outcome.fleet.tally.receipts > 0, "there was work: {:?}", outcome.fleet.tally);
    assert_eq!(gate.terminate(), Some(0));
    let log = SledStore::open(&DataDir::open(&gate.data_dir().join("data")).unwrap()).unwrap();
    assert!(log.mark().unwrap().first_block > 0, "the log was let go behind snapshots");
}
