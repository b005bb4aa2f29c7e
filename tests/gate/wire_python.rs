//! The Python charger and processor against the gate's own links over plain sockets, and against a whole gate over
//! mutual TLS, on the loopback.
//!
//! Needs a Python with the `protobuf` package, named by `WATTSTILE_PYTHON` (see `tests/python/README.md`); therefore
//! ignored unless asked for: `WATTSTILE_PYTHON=… cargo test --test gate -- --ignored`.

use crate::common::Served;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wattstile::message::*;
use wattstile::payment::{
    Answer, Credential, CredentialKind, DeclineClass, Operation, Outcome, ProcessorRef, Request, VoidReason,
};
use wattstile::units::{
    Amount, ChargerId, Cost, Currency, HoldId, MeterReading, Mono, Now, OpId, ProcessorId, SessionId, SessionKey,
    Timestamp,
};
use wattstile::wire::*;

const NOW: Now = Now { wall: Timestamp::from_unix_ms(1_795_370_400_000), mono: Mono(0) };

fn python(script: &str, arguments: &[&str]) -> Child {
    interpreter(script, arguments).spawn().expect("the interpreter starts")
}

fn interpreter(script: &str, arguments: &[&str]) -> Command {
    let python = std::env::var_os("WATTSTILE_PYTHON").expect("WATTSTILE_PYTHON names a Python that has protobuf");
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/python");
    let mut command = Command::new(python);
    command.arg(folder.join(script)).args(arguments).stdout(Stdio::piped());
    command
}

/// Exit code and the JSON document that it printed.
fn finished(mut child: Child) -> (i32, Value) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    let document = serde_json::from_slice(&output.stdout).expect("one JSON document");
    (output.status.code().expect("no signal"), document)
}

fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    (listener, port)
}

fn accept(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// A gate that accepts every start, acknowledges every reading, and has a receipt for every stop.
#[derive(Default)]
struct Gate {
    readings: BTreeMap<u32, MeterReading>,
    repeated: usize,
    over: bool,
}

impl Gate {
    /// Serves one connection until the charger closes it.
    fn serve(&mut self, mut stream: TcpStream) {
        let peer = PeerIdentity::parse("spiffe://wattstile.example/charger/PY-1").unwrap();
        let mut link = ChargerLink::new(peer, Arc::new(|_, _| false), Mono(0)).unwrap();
        let mut buffer = [0; 4_096];
        loop {
            let read = stream.read(&mut buffer).unwrap_or(0);
            if read == 0 {
                return;
            }
            let (mut incoming, mut out) = (Vec::new(), Vec::new());
            if link.receive(&buffer[..read], NOW, &mut incoming, &mut out).is_err() {
                // The reply has the reason; earlier messages do not matter in these tests.
                stream.write_all(&out).unwrap();
                return;
            }
            for received in incoming {
                for answer in self.answers(received.message) {
                    link.send(Channel::ZERO, &answer, &mut out).unwrap();
                }
            }
            if stream.write_all(&out).is_err() {
                return;
            }
        }
    }

    fn answers(&mut self, message: FromCharger) -> Vec<ToCharger> {
        let session = SessionKey(7);
        let durable = self.readings.last_key_value().map_or(0, |(sequence, _)| *sequence);
        let total = Amount::new(158, Currency::EUR);
        match message {
            FromCharger::Hello(hello) => {
                let standing = if self.over { Standing::Over { durable } } else { Standing::Open { durable } };
                let sessions = hello.sessions.iter().map(|mark| SessionPosition { session: mark.session, standing });
                let sessions = sessions.collect();
                vec![ToCharger::HelloAck(ChargerHelloAck { terms: Terms::CHARGER, server_time: NOW.wall, sessions })]
            }
            FromCharger::Start(start) => {
                assert_eq!((start.session, &*start.credential.token), (session, b"tok_python".as_slice()));
                let limit = Limit { cost: Some(Amount::new(4_500, Currency::EUR)), ..Limit::default() };
                vec![ToCharger::StartAccepted {
                    session,
                    id: SessionId::from_u128(1 << 64),
                    limit,
                    price_text: "".into(),
                }]
            }
            FromCharger::Reading { session: stranger, .. } if stranger != session => {
                let code = Code::SessionUnknown;
                vec![ToCharger::SessionRejected { session: stranger, code, expected: None, text: "".into() }]
            }
            FromCharger::Reading { reading, .. } => {
                self.keep(reading);
                vec![self.ack(session, reading.sequence)]
            }
            FromCharger::Stop { last, reason, .. } => {
                assert_eq!(reason, StopReason::EvDisconnected);
                self.keep(last);
                self.over = true;
                let notice = ReceiptNotice {
                    session,
                    total,
                    cost: Cost::from_major("1.58354".parse().unwrap(), Currency::EUR).unwrap(),
                    receipt: "2026-000007".into(),
                    url: "".into(),
                };
                vec![self.ack(session, last.sequence), ToCharger::Receipt(notice)]
            }
            FromCharger::Status(_) | FromCharger::Unnumbered(_) => vec![],
        }
    }

    fn keep(&mut self, reading: MeterReading) {
        match self.readings.insert(reading.sequence, reading) {
            Some(before) => {
                assert_eq!(before, reading, "a repetition is the same reading");
                self.repeated += 1;
            }
            None => assert_eq!(reading.sequence as usize, self.readings.len(), "no sequence is skipped"),
        }
    }

    fn ack(&self, session: SessionKey, up_to: u32) -> ToCharger {
        ToCharger::MeterAck(MeterAck { session, up_to, cost: Some(Cost::zero(Currency::EUR)) })
    }
}

#[test]
#[ignore = "needs WATTSTILE_PYTHON"]
fn a_python_charger_charges_breaks_resumes_and_gets_its_receipt() {
    let (listener, port) = listen();
    let child = python(
        "charger.py",
        &["--plain", "--port", &port, "--id", "PY-1", "--session-key", "7", "--readings", "10", "--break-after", "6"],
    );
    let mut gate = Gate::default();
    gate.serve(accept(&listener));
    assert!(!gate.over, "the line broke before the stop");
    gate.serve(accept(&listener));
    let (exit, seen) = finished(child);
    assert_eq!(exit, 0, "{seen}");
    assert_eq!(gate.readings.len(), 11);
    let (first, last) = (gate.readings[&1], gate.readings[&11]);
    // 11 kW over ten minutes.
    let energy = last.register.checked_sub(first.register).unwrap();
    assert_eq!(energy.whole_watt_hours(), 1_833);
    assert_eq!(last.at.since(first.at).whole_secs(), 600);
    assert_eq!(seen["connections"], 2);
    assert_eq!(seen["acked_up_to"], 11);
    assert_eq!(seen["receipt"]["total_minor"], 158);
    assert_eq!(seen["receipt"]["cost_exact"], "1.58354");
    assert_eq!(seen["limit"]["cost_minor"], 4_500);
    assert_eq!(seen["error"], Value::Null);
}

/// The gate's end of a processor's connection, one message at a time.
struct TestGate {
    stream: TcpStream,
    link: ProcessorLink,
    incoming: Vec<FromProcessor>,
}

impl TestGate {
    fn open(listener: &TcpListener, mac: &MacKey) -> TestGate {
        let peer = PeerIdentity::parse("spiffe://wattstile.example/processor/py-pay").unwrap();
        let link = ProcessorLink::new(&peer, Some(mac.clone()), Mono(0)).unwrap();
        let mut test_gate = TestGate { stream: accept(listener), link, incoming: Vec::new() };
        let FromProcessor::Hello(hello) = test_gate.next() else { panic!("a Hello comes first") };
        assert_eq!(hello.processor.as_str(), "py-pay");
        assert_eq!((hello.capabilities.kinds.len(), hello.capabilities.currencies.len()), (7, 1));
        test_gate
            .send_message(&ToProcessor::HelloAck(ProcessorHelloAck { terms: Terms::PROCESSOR, server_time: NOW.wall }));
        test_gate
    }

    fn send_message(&mut self, message: &ToProcessor) {
        let mut out = Vec::new();
        self.link.send(message, NOW, &mut out).unwrap();
        self.stream.write_all(&out).unwrap();
    }

    fn next(&mut self) -> FromProcessor {
        let mut buffer = [0; 4_096];
        while self.incoming.is_empty() {
            let read = self.stream.read(&mut buffer).unwrap();
            assert_ne!(read, 0, "the processor closed the connection");
            let mut reply = Vec::new();
            self.link.receive(&buffer[..read], NOW, &mut self.incoming, &mut reply).unwrap();
            self.stream.write_all(&reply).unwrap();
        }
        self.incoming.remove(0)
    }

    fn answer(&mut self) -> Answer {
        match self.next() {
            FromProcessor::Answer(answer) => answer,
            other => panic!("{other:?} instead of an answer"),
        }
    }

    /// Sends a request, gets the answer, and acknowledges it.
    fn ask(&mut self, operation: &Operation) -> Answer {
        self.send_message(&ToProcessor::Operation(operation.clone()));
        let answer = self.answer();
        assert_eq!((answer.operation, answer.hold), (operation.id, operation.hold));
        self.send_message(&ToProcessor::Ack { callback: answer.callback });
        answer
    }
}

fn operation(id: u128, hold: u128, request: Request) -> Operation {
    Operation {
        id: OpId::from_u128(id),
        hold: HoldId(OpId::from_u128(hold)),
        processor: ProcessorId::new("py-pay").unwrap(),
        attempt: 1,
        possible_duplicate: false,
        decide_by: NOW.wall,
        request,
    }
}

fn eur(minor: i64) -> Amount {
    Amount::new(minor, Currency::EUR)
}

fn authorize(id: u128, token: &[u8], minor: i64) -> Operation {
    let credential = Credential { kind: CredentialKind::CardToken, token: token.into() };
    operation(id, id, Request::Authorize { credential, amount: eur(minor), partial_ok: true, stand_in: false })
}

fn approved(answer: &Answer) -> (i64, ProcessorRef) {
    match &answer.outcome {
        Outcome::Approved { amount, processor_ref, .. } => (amount.minor, processor_ref.clone()),
        other => panic!("{other:?}"),
    }
}

#[test]
#[ignore = "needs WATTSTILE_PYTHON"]
fn a_python_processor_keeps_books_and_repeats_itself() {
    let key = [9; 32];
    let mac = MacKey::new(&key);
    let (listener, port) = listen();
    let child = python(
        "processor.py",
        &["--plain", "--port", &port, "--id", "py-pay", "--connections", "1", "--mac-key", &hex::encode(key)],
    );
    let pid = child.id().to_string();
    let mut test_gate = TestGate::open(&listener, &mac);

    // Approved, raised, captured in part; the rest of the hold is released.
    let authorized = test_gate.ask(&authorize(0x10, b"tok_1", 3_000));
    let (minor, processor_ref) = approved(&authorized);
    assert_eq!(minor, 3_000);
    let raise = Request::Increment { processor_ref: processor_ref.clone(), new_total: eur(4_500) };
    assert_eq!(approved(&test_gate.ask(&operation(0x11, 0x10, raise))).0, 4_500);
    let capture = operation(
        0x12,
        0x10,
        Request::Capture { processor_ref: processor_ref.clone(), amount: eur(1_580), last: true },
    );
    let captured = test_gate.ask(&capture);
    assert_eq!(approved(&captured).0, 1_580);

    // The same operation again is the same answer; the same id with another body is not.
    let again = Operation { attempt: 2, possible_duplicate: true, ..capture.clone() };
    assert_eq!(test_gate.ask(&again), captured);
    let inquiry = test_gate.ask(&operation(0x13, 0x10, Request::Inquire { target: capture.id }));
    assert_eq!(inquiry.outcome, captured.outcome);
    let unknown = test_gate.ask(&operation(0x14, 0x10, Request::Inquire { target: OpId::from_u128(0x99) }));
    assert_eq!(unknown.outcome, Outcome::NotFound);
    let refund = Request::Refund { capture: capture.id, processor_ref, amount: eur(80) };
    assert_eq!(approved(&test_gate.ask(&operation(0x15, 0x10, refund))).0, 80);

    // All movements are settled, and the batch adds up; on repetition there is nothing left to settle.
    for _ in 0..2 {
        assert!(Command::new("kill").args(["-USR1", &pid]).status().unwrap().success());
    }
    let FromProcessor::Settlement(batch) = test_gate.next() else { panic!("a settlement batch") };
    let line = |id: u128, kind, gross: i64, fee: i64| SettlementLine {
        operation: Some(OpId::from_u128(id)),
        kind,
        gross,
        fee,
        net: gross + fee,
    };
    assert_eq!(
        batch.lines,
        [line(0x12, SettlementKind::Capture, 1_580, -32), line(0x15, SettlementKind::Refund, -80, 0)]
    );
    assert_eq!((batch.part, batch.currency), (1, Currency::EUR));
    assert_eq!(batch.trailer, SettlementTrailer::of(&batch.lines));
    test_gate.send_message(&ToProcessor::Ack { callback: batch.callback });

    // Refused, partly approved, voided.
    let declined = test_gate.ask(&authorize(0x20, b"tok_decline", 3_000));
    assert!(matches!(declined.outcome, Outcome::Declined(decline) if decline.class == DeclineClass::Hard));
    let (part, _) = approved(&test_gate.ask(&authorize(0x30, b"tok_partial", 3_000)));
    assert_eq!(part, 1_500);
    let void = Request::Void {
        authorization: OpId::from_u128(0x30),
        processor_ref: None,
        reason: VoidReason::PartialTooSmall,
    };
    assert_eq!(approved(&test_gate.ask(&operation(0x31, 0x30, void))).0, 1_500);

    // An answer that is not acknowledged comes again on the next connection, as the same message.
    test_gate.send_message(&ToProcessor::Operation(authorize(0x40, b"tok_2", 2_000)));
    let first = test_gate.answer();
    drop(test_gate);
    let mut test_gate = TestGate::open(&listener, &mac);
    assert_eq!(test_gate.answer(), first);
    test_gate.send_message(&ToProcessor::Ack { callback: first.callback });
    test_gate.ask(&operation(0x41, 0x40, Request::Inquire { target: first.operation }));

    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let mut rest = Vec::new();
    test_gate.stream.read_to_end(&mut rest).unwrap();
    let goodbye = test_gate.link.receive(&rest, NOW, &mut Vec::new(), &mut Vec::new());
    assert!(matches!(goodbye, Err(LinkError::PeerLeft(GoAway { code: Code::PeerLeaves, .. }))));
    let (exit, books) = finished(child);
    assert_eq!(exit, 0, "{books}");
    for (field, expected) in [
        ("holds", 3),
        ("holds_open", 1),
        ("authorized_minor", 8_000),
        ("captured_minor", 1_580),
        ("released_minor", 2_920 + 1_500),
        ("refunded_minor", 80),
        ("connections", 2),
        ("unacknowledged", 0),
        ("repetitions", 1),
        ("settled", 2),
    ] {
        assert_eq!(books[field], expected, "{field} in {books}");
    }
}

/// A frame that comes together with the signal: before Python 3.12 it swallowed the end, and the processor dialled for ever.
#[test]
#[ignore = "needs WATTSTILE_PYTHON"]
fn a_python_processor_ends_when_it_is_told_to_even_if_a_frame_comes_just_then() {
    let mac = MacKey::new(&[9; 32]);
    let (listener, port) = listen();
    let key = hex::encode([9; 32]);
    let child = python(
        "processor.py",
        &["--plain", "--port", &port, "--id", "py-pay", "--connections", "1", "--mac-key", &key],
    );
    let signal = |name: &str| {
        assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
    };
    let mut test_gate = TestGate::open(&listener, &mac);
    test_gate.ask(&authorize(0x10, b"tok_1", 3_000));
    // Until it waits for the next frame.
    std::thread::sleep(Duration::from_millis(100));
    signal("-STOP");
    test_gate.send_message(&ToProcessor::Operation(operation(
        0x12,
        0x10,
        Request::Inquire { target: OpId::from_u128(0x10) },
    )));
    signal("-TERM");
    signal("-CONT");
    let (exit, books) = finished(child);
    assert_eq!((exit, &books["connections"]), (0, &Value::from(1)), "{books}");
}

#[test]
#[ignore = "needs WATTSTILE_PYTHON"]
fn a_python_charger_that_misbehaves_is_told_why_each_time() {
    let (listener, port) = listen();
    let mut child = python("misbehave.py", &["--plain", "--port", &port, "--id", "PY-1"]);
    listener.set_nonblocking(true).unwrap();
    while child.try_wait().unwrap().is_none() {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).unwrap();
                Gate::default().serve(stream);
            }
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    let (exit, report) = finished(child);
    assert_eq!(exit, 0, "{report}");
    assert_eq!(report.as_object().unwrap().len(), 16);
}

#[test]
#[ignore = "needs WATTSTILE_PYTHON"]
fn python_reads_and_writes_every_golden_frame() {
    let (exit, document) = finished(python("golden.py", &[]));
    assert_eq!(exit, 0);
    let lines = include_str!("../golden/wire-v1.txt").lines().filter(|line| line.contains(" = ")).count();
    assert_eq!(document["golden_frames"], lines);
}

/// How a Python peer reaches a gate: its own certificate, the authority, and the gate's address.
fn way_to(gate: &mut Served, subject: Subject) -> Vec<String> {
    // Makes the certificate, unless there is one.
    gate.dialler(&subject);
    let pki = gate.data_dir().join("pki");
    let file = |ending: &str| {
        let name = format!("peers/{}-{}.{ending}", subject.role(), subject.id());
        pki.join(name).to_str().unwrap().to_owned()
    };
    let address = if subject.role() == Role::Processor { gate.processors } else { gate.chargers };
    let root = pki.join("root.pem").to_str().unwrap().to_owned();
    let port = address.port().to_string();
    ["--port", &port, "--id", subject.id(), "--ca", &root, "--cert", &file("pem"), "--key", &file("key")]
        .map(str::to_owned)
        .into()
}

fn run_charger(gate: &mut Served, script: &str, id: &str, more: &[&str]) -> (i32, Value) {
    let way = way_to(gate, Subject::Charger(ChargerId::new(id).unwrap()));
    let arguments: Vec<&str> = way.iter().map(String::as_str).chain(more.iter().copied()).collect();
    finished(python(script, &arguments))
}

#[test]
#[ignore = "needs WATTSTILE_PYTHON"]
fn a_whole_gate_between_a_python_charger_and_a_python_processor() {
    let mut gate = Served::start(&[]);
    let mut way = way_to(&mut gate, Subject::Processor(ProcessorId::new("py-pay").unwrap()));
    way.extend(["--connections".to_owned(), "2".to_owned()]);
    let way: Vec<&str> = way.iter().map(String::as_str).collect();
    let mut processor = interpreter("processor.py", &way).stderr(Stdio::piped()).spawn().unwrap();
    let mut report = BufReader::new(processor.stderr.take().unwrap()).lines();
    let mut connected_twice = || (0..2).for_each(|_| assert_eq!(report.next().unwrap().unwrap(), "connected"));
    connected_twice();

    // 2.016666663 kWh, in steps of a watt hour 2.017, for 0.42, and 0.50 to start, 21 % on top; rounded once. The line
    // breaks meanwhile.
    let paid = |(exit, seen): (i32, Value)| {
        assert_eq!(exit, 0, "{seen}");
        assert_eq!(seen["receipt"]["total_minor"], 163, "{seen}");
        assert_eq!(seen["receipt"]["cost_exact"], "1.6300394");
        assert_eq!(seen["limit"]["cost_minor"], 2_000);
        assert_eq!(seen["acked_up_to"], 11);
    };
    paid(run_charger(&mut gate, "charger.py", "PY-1", &["--session-key", "1", "--break-after", "6"]));

    let (exit, seen) = run_charger(&mut gate, "charger.py", "PY-1", &["--session-key", "2", "--token", "tok_decline"]);
    assert_eq!(exit, 1);
    assert!(seen["error"].as_str().unwrap().contains("no energy: 306"), "{seen}");

    let (exit, told_codes) = run_charger(&mut gate, "misbehave.py", "PY-2", &[]);
    assert_eq!(exit, 0, "{told_codes}");

    // The processor dials again, and the gate has the same state.
    gate.kill();
    gate.start_again();
    connected_twice();
    paid(run_charger(&mut gate, "charger.py", "PY-1", &["--session-key", "3"]));

    assert!(Command::new("kill").args(["-TERM", &processor.id().to_string()]).status().unwrap().success());
    let (exit, books) = finished(processor);
    assert_eq!(exit, 0, "{books}");
    for (field, expected) in [
        ("holds", 2),
        ("holds_open", 0),
        ("authorized_minor", 4_000),
        ("captured_minor", 326),
        ("released_minor", 3_674),
    ] {
        assert_eq!(books[field], expected, "{field} in {books}");
    }
    assert_eq!(gate.terminate(), Some(0));
}
