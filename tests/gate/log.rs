//! What a gate writes into its log: every line a document with fields that can be searched, and never more than peers are
//! worth.

use crate::common::driven::{Driven, charger, runtime};
use crate::common::{Served, now};
use serde_json::Value;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wattstile::message::*;
use wattstile::payment::{Answer, CallbackId, Capabilities, CredentialKind, OperationKind, Outcome};
use wattstile::sim::pipe::{Dialler, Duplex};
use wattstile::units::{Currency, HoldId, Mono, Now, OpId, PartitionId, PaymentId, ProcessorId};
use wattstile::wire::*;

/// Every line, each of which is a document.
fn lines(gate: &Served) -> Vec<Value> {
    let line = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| panic!("not a document: {line}"));
    gate.log().lines().map(line).collect()
}

fn with_text<'a>(lines: &'a [Value], text: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["message"].as_str().is_some_and(|message| message.contains(text))).collect()
}

fn eventually(gate: &Served, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let lines = lines(gate);
        if wanted(&lines) {
            return lines;
        }
        assert!(Instant::now() < deadline, "{lines:#?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

struct Processor {
    stream: Box<dyn Duplex>,
    link: ProcessorClientLink,
}

impl Processor {
    async fn dial(dialler: &Dialler, id: &ProcessorId) -> Processor {
        let stream = dialler.dial().await.unwrap();
        let mut processor = Processor { stream, link: ProcessorClientLink::new(id.clone(), None, Mono(0)) };
        let hello = ProcessorHello {
            processor: id.clone(),
            instance: "test".into(),
            capabilities: capabilities(),
            clock: now(),
        };
        processor.says(&[FromProcessor::Hello(hello)]).await;
        assert!(matches!(processor.hears().await.as_slice(), [ToProcessor::HelloAck(_), ..]));
        processor
    }

    async fn says(&mut self, messages: &[FromProcessor]) {
        let mut out = Vec::new();
        for message in messages {
            self.link.send(message, Mono(0), &mut out).unwrap();
        }
        self.stream.write_all(&out).await.unwrap();
    }

    async fn hears(&mut self) -> Vec<ToProcessor> {
        let (mut received, mut reply, mut buffer) = (Vec::new(), Vec::new(), vec![0; 64 * 1_024]);
        while received.is_empty() {
            let read = tokio::time::timeout(Duration::from_secs(20), self.stream.read(&mut buffer));
            let read = read.await.expect("it answers").unwrap();
            assert!(read > 0, "closed");
            self.link.receive(&buffer[..read], Now { wall: now(), mono: Mono(0) }, &mut received, &mut reply).unwrap();
        }
        received
    }
}

fn capabilities() -> Capabilities {
    Capabilities {
        kinds: vec![OperationKind::Authorize, OperationKind::Capture, OperationKind::Void],
        credentials: vec![CredentialKind::CardToken],
        inquiry_authoritative_after: None,
        ..Capabilities::everything(Currency::EUR)
    }
}

fn answer_to_nothing(number: u128) -> FromProcessor {
    let operation: OpId = PaymentId::new(now(), PartitionId(3), 7).operation(1);
    FromProcessor::Answer(Answer {
        callback: CallbackId(number),
        operation,
        hold: HoldId(operation),
        outcome: Outcome::NotFound,
    })
}

#[test]
fn a_flood_of_refused_answers_is_a_handful_of_lines_and_a_count() {
    const FLOOD: u128 = 20_000;
    let mut gate = Served::start(&[]);
    let id = ProcessorId::new("acme-cards").unwrap();
    let dialler = gate.dialler(&Subject::Processor(id.clone()));
    runtime().block_on(async {
        let mut processor = Processor::dial(&dialler, &id).await;
        let (mut sent, mut refused) = (0, 0);
        while refused < FLOOD {
            let more: Vec<_> = (sent..FLOOD.min(refused + 1_000)).map(|number| answer_to_nothing(number + 1)).collect();
            sent += more.len() as u128;
            processor.says(&more).await;
            let nacks = processor.hears().await.iter().filter(|to| matches!(to, ToProcessor::Nack { .. })).count();
            refused += nacks as u128;
        }
    });
    let counted = |lines: &[Value]| -> u64 {
        let of_refusals = with_text(lines, "more lines like this were left out").into_iter();
        let of_refusals = of_refusals.filter(|line| line["like"].as_str().is_some_and(|like| like.contains("refused")));
        of_refusals.map(|line| line["left_out"].as_u64().expect("a number")).sum()
    };
    gate.terminate();
    let all = lines(&gate);
    let refusals = with_text(&all, "a processor's message is refused");
    assert!((3..10).contains(&refusals.len()), "{refusals:#?}");
    assert_eq!(refusals[0]["processor"], "acme-cards");
    assert!(refusals[0]["code"].is_u64(), "{}", refusals[0]);
    assert_eq!(u128::from(counted(&all)) + refusals.len() as u128, FLOOD);
    assert!(all.len() < 60, "{} lines", all.len());
}

#[test]
fn each_start_stop_connection_and_refusal_is_one_line_with_fields() {
    let mut gate = Served::start(&["log.format=json"]);
    let dialler = gate.dialler(&charger("CHG-001"));
    runtime().block_on(async {
        let mut driven = Driven::dial(&dialler).await;
        driven.hello("CHG-001").await;
        // No processor has ever connected, so no funds can be held.
        assert!(matches!(driven.start(1, "tok_1").await, ToCharger::StartRejected { .. }));
    });
    let wrong = gate.certified(&charger("CHG-002"));
    let wrong = gate.dialler_with(wrong, gate.processors);
    runtime().block_on(async {
        if let Ok(mut stream) = wrong.dial().await {
            let _ = stream.read(&mut [0; 64]).await;
        }
    });
    eventually(&gate, |lines| {
        !with_text(lines, "disconnected").is_empty() && !with_text(lines, "a connection is refused").is_empty()
    });
    assert_eq!(gate.terminate(), Some(0));
    let all = lines(&gate);
    for (text, fields) in [
        ("the gate starts", vec![("pid", Value::is_u64 as fn(&Value) -> bool)]),
        ("the gate is ready", vec![("chargers", Value::is_string), ("shards", Value::is_u64)]),
        ("connected", vec![("peer", Value::is_string), ("remote", Value::is_string)]),
        ("a start is refused", vec![("charger", Value::is_string), ("key", Value::is_u64), ("code", Value::is_u64)]),
        ("disconnected", vec![("peer", Value::is_string), ("reason", Value::is_string)]),
        ("a connection is refused", vec![("peer", Value::is_string), ("remote", Value::is_string)]),
        ("the gate stops", vec![]),
        ("the gate has stopped", vec![]),
    ] {
        let starts = |line: &&Value| line["message"].as_str().is_some_and(|message| message.starts_with(text));
        let known = |line: &&Value| text != "a connection is refused" || line["peer"].is_string();
        let found: Vec<&Value> = all.iter().filter(starts).filter(known).collect();
        assert_eq!(found.len(), 1, "{text}: {all:#?}");
        for (name, is_right) in fields {
            assert!(is_right(&found[0][name]), "{name} of {}", found[0]);
        }
    }
    assert_eq!(with_text(&all, "connected")[0]["peer"], "charger/CHG-001");
    let refused = with_text(&all, "a connection is refused").into_iter().find(|line| line["peer"].is_string()).unwrap();
    let help = format!("this is the processors' listener; chargers connect to {}", gate.chargers);
    assert_eq!(refused["help"], help.as_str(), "{refused}");
}

/// What ends the process is a document of the stream as well.
#[test]
fn an_error_that_ends_the_gate_is_a_line_of_the_stream() {
    let mut gate = Served::start(&["log.format=json"]);
    let taken = gate.processors;
    let mut second = Served::stopped(
        tempfile::tempdir().unwrap(),
        wattstile::journal::Layout { partitions: 8, generation_blocks: 4_096 },
        &["log.format=json"],
    );
    second.processors = taken;
    second.attempt_until_it_ends();
    let last = lines(&second).pop().unwrap();
    assert_eq!(last["level"], "ERROR");
    let shown = last["message"].as_str().unwrap();
    let holder = format!("process {} (wattstile) listens there already", gate.id());
    for part in ["processors.listen", &taken.to_string(), &holder] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(last["exit_code"].is_u64(), "{last}");
    assert_eq!(gate.terminate(), Some(0));
}
