//! The money's messages over mutual TLS, against the gate as a process: false ones change nothing and get their
//! codes, and an operator's orders become requests to the processor.

use crate::common::{Served, now};
use serde_json::Value;
use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use wattstile::journal::Layout;
use wattstile::message::Subject;
use wattstile::message::{
    Channel, ChargerHello, ConnectorInfo, FromCharger, FromProcessor, ProcessorHello, StartSession, StopReason,
    ToCharger, ToProcessor,
};
use wattstile::payment::{
    Answer, CallbackId, Capabilities, Credential, CredentialKind, Decline, DeclineClass, Operation, Outcome,
    ProcessorRef, Request,
};
use wattstile::sim::pipe::{Dialler, Pipe, PipeEvent};
use wattstile::units::{
    Amount, ChargerId, ConnectorId, Currency, Energy, HoldId, MeterReading, Mono, Now, Power, ProcessorId, SessionKey,
    TimeSpan,
};
use wattstile::wire::{ChargerClientLink, LinkError, MacKey, ProcessorClientLink};

const TIMEOUT: Duration = Duration::from_secs(20);
const KEY: [u8; 32] = [7; 32];

fn clock() -> Now {
    Now { wall: now(), mono: Mono(1) }
}

fn eur(minor: i64) -> Amount {
    Amount::new(minor, Currency::EUR)
}

fn capabilities() -> Capabilities {
    Capabilities {
        credentials: vec![CredentialKind::CardToken],
        request_life_max: TimeSpan::from_secs(20),
        inquiry_authoritative_after: None,
        ..Capabilities::everything(Currency::EUR)
    }
}

/// A processor that sends scripted messages.
struct ProcessorStand {
    pipe: Pipe,
    link: ProcessorClientLink,
    came: VecDeque<ToProcessor>,
}

impl ProcessorStand {
    async fn dial(dialler: &Dialler, name: &str, key: Option<[u8; 32]>) -> ProcessorStand {
        let processor = ProcessorId::new(name).unwrap();
        let mut processor_stand = ProcessorStand {
            pipe: Pipe::new(dialler.dial().await.unwrap()),
            link: ProcessorClientLink::new(processor.clone(), key.map(|key| MacKey::new(&key)), Mono(1)),
            came: VecDeque::new(),
        };
        let hello = ProcessorHello { processor, instance: "test".into(), capabilities: capabilities(), clock: now() };
        processor_stand.send_message(&FromProcessor::Hello(hello)).await;
        processor_stand
    }

    async fn welcomed(dialler: &Dialler, name: &str, key: Option<[u8; 32]>) -> ProcessorStand {
        let mut processor_stand = ProcessorStand::dial(dialler, name, key).await;
        assert!(matches!(processor_stand.next_message().await.unwrap(), ToProcessor::HelloAck(_)));
        processor_stand
    }

    async fn send_message(&mut self, message: &FromProcessor) {
        self.link.send(message, clock().mono, self.pipe.out()).unwrap();
        while !self.turn().await.unwrap() {}
    }

    /// Sends what is to be sent, takes what comes: whether everything is sent.
    async fn turn(&mut self) -> Result<bool, LinkError> {
        let until = Instant::now() + TIMEOUT;
        let bytes = match self.pipe.turn(until.into()).await.unwrap() {
            PipeEvent::Bytes(bytes) => bytes.to_vec(),
            PipeEvent::Sent => return Ok(true),
            PipeEvent::Time => panic!("the gate says nothing"),
        };
        let (mut messages, mut reply) = (Vec::new(), Vec::new());
        self.link.receive(&bytes, clock(), &mut messages, &mut reply)?;
        self.pipe.out().extend(reply);
        self.came.extend(messages);
        Ok(false)
    }

    /// The next message, or the gate's reason to close.
    async fn next_message(&mut self) -> Result<ToProcessor, LinkError> {
        while self.came.is_empty() {
            self.turn().await?;
        }
        Ok(self.came.pop_front().unwrap())
    }

    /// The next operation, whatever other messages arrive.
    async fn asked(&mut self) -> Operation {
        loop {
            if let ToProcessor::Operation(operation) = self.next_message().await.unwrap() {
                return operation;
            }
        }
    }

    /// The code with which a callback is refused, or 0 when it is taken.
    async fn verdict(&mut self, number: u128) -> u16 {
        loop {
            match self.next_message().await.unwrap() {
                ToProcessor::Ack { callback } if callback == CallbackId(number) => return 0,
                ToProcessor::Nack { callback, code, .. } if callback == CallbackId(number) => return code.number(),
                _ => {}
            }
        }
    }

    async fn answers(&mut self, number: u128, operation: &Operation, outcome: Outcome) -> u16 {
        self.send_message(&answer(number, operation, outcome)).await;
        self.verdict(number).await
    }
}

fn answer(number: u128, operation: &Operation, outcome: Outcome) -> FromProcessor {
    let (callback, hold) = (CallbackId(number), operation.hold);
    FromProcessor::Answer(Answer { callback, operation: operation.id, hold, outcome })
}

fn approved(amount: Amount) -> Outcome {
    Outcome::Approved { amount, processor_ref: ProcessorRef("auth-1".into()), expires_at: None }
}

struct Stand {
    pipe: Pipe,
    link: ChargerClientLink,
    came: VecDeque<ToCharger>,
}

impl Stand {
    async fn dial(dialler: &Dialler) -> Stand {
        let pipe = Pipe::new(dialler.dial().await.unwrap());
        let mut stand = Stand { pipe, link: ChargerClientLink::new(Mono(1)), came: VecDeque::new() };
        stand
            .send_message(&FromCharger::Hello(ChargerHello {
                numbering: Default::default(),
                charger: ChargerId::new("CHG-001").unwrap(),
                connectors: vec![ConnectorInfo { id: ConnectorId(1), power_max: Power::from_watts(150_000).unwrap() }],
                firmware: "test".into(),
                clock: now(),
                sessions: Vec::new(),
            }))
            .await;
        assert!(matches!(stand.next_message().await, ToCharger::HelloAck(_)));
        stand
    }

    async fn send_message(&mut self, message: &FromCharger) {
        self.link.send(Channel::ZERO, message, clock().mono, self.pipe.out()).unwrap();
        while !self.turn().await {}
    }

    async fn turn(&mut self) -> bool {
        let until = Instant::now() + TIMEOUT;
        let bytes = match self.pipe.turn(until.into()).await.unwrap() {
            PipeEvent::Bytes(bytes) => bytes.to_vec(),
            PipeEvent::Sent => return true,
            PipeEvent::Time => panic!("the gate says nothing"),
        };
        let mut messages = Vec::new();
        self.link.receive(&bytes, clock(), &mut messages).unwrap();
        self.came.extend(messages.into_iter().map(|received| received.message));
        false
    }

    async fn next_message(&mut self) -> ToCharger {
        while self.came.is_empty() {
            self.turn().await;
        }
        self.came.pop_front().unwrap()
    }

    async fn start(&mut self, key: u64) {
        self.send_message(&FromCharger::Start(StartSession {
            session: SessionKey(key),
            connector: ConnectorId(1),
            credential: Credential { kind: CredentialKind::CardToken, token: b"tok_visa".as_slice().into() },
            at: now(),
            register: Energy::from_watt_hours(1_000).unwrap(),
        }))
        .await;
    }
}

/// A gate where acme-cards has a key for its messages and other-cards has none.
fn gate() -> Served {
    let layout = Layout { partitions: 8, generation_blocks: 4_096 };
    let mut gate = Served::stopped(tempfile::tempdir().unwrap(), layout, &[]);
    let mac = gate.data_dir().join("acme.mac");
    fs::write(&mac, hex::encode(KEY)).unwrap();
    fs::set_permissions(&mac, fs::Permissions::from_mode(0o600)).unwrap();
    let config = gate.data_dir().join("wattstile.toml");
    let text = format!(
        "[[processor]]\nid = \"acme-cards\"\nmac_key_file = \"{}\"\npriority = 1\n\n[[processor]]\nid = \"other-cards\"\n",
        mac.display()
    );
    fs::write(&config, text).unwrap();
    gate.arguments = vec!["--config".to_owned(), config.display().to_string()];
    gate.start_again();
    gate
}

fn processor(gate: &mut Served, name: &str) -> Dialler {
    gate.dialler(&Subject::Processor(ProcessorId::new(name).unwrap()))
}

/// Runs a verb of the command line against the running gate: its exit code, and its document.
fn verb(gate: &Served, arguments: &[&str]) -> (i32, Value) {
    gate.wait_for_console();
    let mut command = Command::new(env!("CARGO_BIN_EXE_wattstile"));
    let ran = command.args(arguments).arg("--json").arg("--data").arg(gate.data_dir()).output().unwrap();
    let shown = if ran.stdout.is_empty() { &ran.stderr } else { &ran.stdout };
    let text = String::from_utf8_lossy(shown).into_owned();
    (ran.status.code().unwrap(), serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

#[test]
fn what_is_false_changes_nothing_and_is_told_its_number() {
    let mut gate = gate();
    let (acme, other) = (processor(&mut gate, "acme-cards"), processor(&mut gate, "other-cards"));
    let charger = gate.dialler(&Subject::Charger(ChargerId::new("CHG-001").unwrap()));
    Runtime::new().unwrap().block_on(async {
        // With another key, or without one, not even the hello is taken.
        for (dialler, name, key) in
            [(&acme, "acme-cards", Some([8; 32])), (&acme, "acme-cards", None), (&other, "other-cards", Some(KEY))]
        {
            let mut processor_stand = ProcessorStand::dial(dialler, name, key).await;
            assert!(closes(&mut processor_stand).await);
        }

        let mut processor_stand = ProcessorStand::welcomed(&acme, "acme-cards", Some(KEY)).await;
        let mut rival = ProcessorStand::welcomed(&other, "other-cards", None).await;
        let mut stand = Stand::dial(&charger).await;
        stand.start(1).await;
        let authorize = processor_stand.asked().await;
        assert!(matches!(authorize.request, Request::Authorize { amount, .. } if amount == eur(2_000)));

        // An approval whose MAC was made with another key ends its connection, and the driver still waits.
        let mut forger = ProcessorStand::welcomed(&acme, "acme-cards", Some(KEY)).await;
        let mut forged =
            ProcessorClientLink::new(ProcessorId::new("acme-cards").unwrap(), Some(MacKey::new(&[8; 32])), Mono(1));
        let mut bytes = Vec::new();
        let hello = ProcessorHello {
            processor: ProcessorId::new("acme-cards").unwrap(),
            instance: "test".into(),
            capabilities: capabilities(),
            clock: now(),
        };
        forged.send(&FromProcessor::Hello(hello), Mono(1), &mut bytes).unwrap();
        bytes.clear();
        forged.send(&answer(1, &authorize, approved(eur(2_000))), Mono(1), &mut bytes).unwrap();
        forger.pipe.out().extend(bytes);
        assert_eq!(goodbye(&mut forger).await, 110);

        // Another processor's answer, an unknown operation, another hold.
        assert_eq!(rival.answers(2, &authorize, approved(eur(2_000))).await, 502);
        let mut elsewhere = authorize.clone();
        elsewhere.id = authorize.id.payment().operation(9);
        assert_eq!(processor_stand.answers(3, &elsewhere, approved(eur(2_000))).await, 501);
        let mut mistaken = authorize.clone();
        mistaken.hold = HoldId(elsewhere.id);
        assert_eq!(processor_stand.answers(4, &mistaken, approved(eur(2_000))).await, 503);
        // Amounts that contradict the request, and another currency.
        for (number, amount, code) in [
            (5, eur(0), 504),
            (11, eur(-2_000), 504),
            (6, eur(2_001), 504),
            (7, eur(i64::MAX), 504),
            (8, Amount::new(2_000, "USD".parse().unwrap()), 505),
        ] {
            assert_eq!(processor_stand.answers(number, &authorize, approved(amount)).await, code, "{amount}");
        }
        assert!(stand.came.is_empty(), "the driver got no message of all this");

        // The true answer; the same again; its number with another body; another outcome under another number.
        assert_eq!(processor_stand.answers(9, &authorize, approved(eur(2_000))).await, 0);
        assert!(matches!(stand.next_message().await, ToCharger::StartAccepted { .. }));
        assert_eq!(processor_stand.answers(9, &authorize, approved(eur(2_000))).await, 0, "duplicate, the same");
        assert_eq!(
            processor_stand.answers(9, &authorize, approved(eur(1_999))).await,
            506,
            "duplicate, with another amount"
        );
        let no = Outcome::Declined(Decline { class: DeclineClass::Hard, code: "no".into(), retry_after: None });
        assert_eq!(processor_stand.answers(10, &authorize, no).await, 507);
        let (_, document) = verb(&gate, &["hold", "ls"]);
        let holds = document["items"].as_array().unwrap();
        assert_eq!((holds.len(), holds[0]["authorized"].as_str()), (1, Some("20.00")), "one hold, and what it was");
    });
}

/// Whether the gate closes. A gate that has a key signs its goodbye, and a peer with another one cannot read it.
async fn closes(processor_stand: &mut ProcessorStand) -> bool {
    processor_stand.next_message().await.is_err()
}

/// The code with which the gate closes.
async fn goodbye(processor_stand: &mut ProcessorStand) -> u16 {
    loop {
        match processor_stand.next_message().await {
            Ok(_) => {}
            Err(LinkError::PeerLeft(go)) => return go.code.number(),
            Err(error) => panic!("no goodbye: {error}"),
        }
    }
}

#[test]
fn an_operator_sees_gives_back_and_drains_what_a_processor_holds() {
    let mut gate = gate();
    let acme = processor(&mut gate, "acme-cards");
    let charger = gate.dialler(&Subject::Charger(ChargerId::new("CHG-001").unwrap()));
    let runtime = Runtime::new().unwrap();
    let mut processor_stand = runtime.block_on(ProcessorStand::welcomed(&acme, "acme-cards", Some(KEY)));
    let session = runtime.block_on(async {
        let mut stand = Stand::dial(&charger).await;
        stand.start(1).await;
        let authorize = processor_stand.asked().await;
        assert_eq!(processor_stand.answers(1, &authorize, approved(eur(2_000))).await, 0);
        assert!(matches!(stand.next_message().await, ToCharger::StartAccepted { .. }));
        let register = Energy::from_watt_hours(1_060).unwrap();
        let last = MeterReading { sequence: 1, at: now(), register, power: None, current: None };
        stand.send_message(&FromCharger::Stop { session: SessionKey(1), last, reason: StopReason::Local }).await;
        assert!(matches!(stand.next_message().await, ToCharger::MeterAck(_)));
        let capture = processor_stand.asked().await;
        let Request::Capture { amount, .. } = capture.request else { panic!("{capture:?}") };
        assert_eq!(amount, eur(64), "0.50 and 0.06 kWh at 0.42, and 21 %");
        assert_eq!(processor_stand.answers(2, &capture, approved(amount)).await, 0);
        assert!(matches!(stand.next_message().await, ToCharger::Receipt(_)));
        capture.id.payment().session()
    });
    let id = session.to_string();
    // Put away by now, or soon: the ordered amount finds it in either place.
    std::thread::sleep(Duration::from_millis(600));

    let (code, document) = verb(&gate, &["refund", &id, "--amount", "0.20", "--dry-run"]);
    assert_eq!((code, document["operations"][0]["kind"].as_str()), (0, Some("refund")), "{document}");
    assert_eq!(document["operations"][0]["amount"], "0.20");
    let (code, document) = verb(&gate, &["refund", &id, "--amount", "0.65"]);
    assert_eq!(code, 4, "more than was taken is refused: {document}");
    for _ in 0..2 {
        let (code, document) = verb(&gate, &["refund", &id, "--total", "0.20"]);
        assert_eq!((code, document["refunding"].as_str()), (0, Some("0.20")), "{document}");
    }
    runtime.block_on(async {
        let refund = processor_stand.asked().await;
        let Request::Refund { amount, .. } = refund.request else { panic!("{refund:?}") };
        assert_eq!(amount, eur(20), "once, although it was ordered twice");
        assert_eq!(processor_stand.answers(3, &refund, approved(amount)).await, 0);
    });
    let (_, document) = verb(&gate, &["refund", &id, "--dry-run"]);
    assert_eq!(document["operations"][0]["amount"], "0.44", "what is left: {document}");
    let hold = document["operations"][0]["operation"].as_str().unwrap().to_owned();
    let first = session.payment().operation(1).to_string();
    let (code, document) = verb(&gate, &["hold", "show", &first]);
    assert_eq!((code, document["state"].as_str(), document["refunded"].as_str()), (0, Some("captured"), Some("0.20")));
    assert_eq!(document["operations"].as_array().map(Vec::len), Some(3), "{document}");
    assert_eq!(verb(&gate, &["operation", "show", &session.payment().operation(2).to_string()]).1["kind"], "capture");
    assert_eq!(verb(&gate, &["operation", "show", &hold]).0, 3, "a dry run has asked for nothing");
    let (code, document) = verb(&gate, &["hold", "release", &first, "--dry-run"]);
    assert_eq!(code, 4, "it has ended: {document}");

    assert_eq!(verb(&gate, &["processor", "show", "nobody"]).0, 3);
    assert_eq!(verb(&gate, &["processor", "show", "acme-cards"]).1["priority"], 1);
    let test = std::thread::spawn({
        let data = gate.data_dir().to_path_buf();
        move || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_wattstile"));
            command.args(["processor", "test", "acme-cards", "--data"]).arg(data).output().unwrap()
        }
    });
    runtime.block_on(async {
        let probe = processor_stand.asked().await;
        assert!(matches!(probe.request, Request::Inquire { .. }), "a probe changes nothing: {probe:?}");
        assert_eq!(processor_stand.answers(4, &probe, Outcome::NotFound).await, 0);
    });
    let tested = test.join().unwrap();
    assert_eq!(tested.status.code(), Some(0), "{}", String::from_utf8_lossy(&tested.stdout));

    assert_eq!(verb(&gate, &["processor", "drain", "acme-cards", "--dry-run"]).1["draining"], false);
    assert_eq!(verb(&gate, &["processor", "drain", "acme-cards"]).0, 0);
    assert_eq!(verb(&gate, &["processor", "show", "acme-cards"]).1["draining"], true);
    runtime.block_on(async {
        let mut stand = Stand::dial(&charger).await;
        stand.start(2).await;
        let refused = stand.next_message().await;
        assert!(matches!(&refused, ToCharger::StartRejected { code, .. } if code.number() == 311), "{refused:?}");
    });
}
