//! The frame codec: what a meter reading costs from bytes to message and back, on one core.
//!
//! `cargo bench --bench codec`

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;
use wattstile::message::*;
use wattstile::payment::{Answer, CallbackId, Capabilities, Outcome, ProcessorRef};
use wattstile::units::{
    Amount, ChargerId, Cost, Currency, Current, Energy, HoldId, MeterReading, Mono, Now, OpId, Power, ProcessorId,
    SessionKey, TimeSpan, Timestamp,
};
use wattstile::wire::*;

const AT: Timestamp = Timestamp::from_unix_ms(1_795_370_400_000);
const NOW: Now = Now { wall: AT, mono: Mono(0) };
const FRAMES: usize = 64;

fn reading(sequence: u32) -> MeterReading {
    MeterReading {
        sequence,
        at: AT.saturating_add(TimeSpan::from_secs(60 * i64::from(sequence))),
        register: Energy::from_microwatt_hours(48_000_000_000_000 + 183_000_000 * i64::from(sequence)),
        power: Power::from_watts(11_000),
        current: Some(Current::from_milliamperes(16_000)),
    }
}

fn hello() -> FromCharger {
    FromCharger::Hello(ChargerHello {
        numbering: Default::default(),
        charger: ChargerId::new("NL*WST*E0007").unwrap(),
        connectors: Vec::new(),
        firmware: "1".into(),
        clock: AT,
        sessions: Vec::new(),
    })
}

/// A gate's link that has heard the Hello, and a charger's link that has said it.
fn charger_links() -> (ChargerLink, ChargerClientLink) {
    let peer = PeerIdentity::parse("spiffe://wattstile.example/charger/NL*WST*E0007").unwrap();
    let mut gate = ChargerLink::new(peer, Arc::new(|_, _| false), Mono(0)).unwrap();
    let mut charger = ChargerClientLink::new(Mono(0));
    let mut bytes = Vec::new();
    charger.send(Channel::ZERO, &hello(), Mono(0), &mut bytes).unwrap();
    gate.receive(&bytes, NOW, &mut Vec::new(), &mut Vec::new()).unwrap();
    (gate, charger)
}

fn readings_in(c: &mut Criterion) {
    let mut group = c.benchmark_group("readings in (bytes to messages)");
    for per_frame in [1_usize, 16, 256] {
        let (mut gate, mut charger) = charger_links();
        let mut bytes = Vec::new();
        for frame in 0..FRAMES {
            let readings: Vec<_> = (1..=per_frame).map(|at| reading((frame * per_frame + at) as u32)).collect();
            charger
                .send_readings(
                    Channel::ZERO,
                    MeterValues { session: SessionKey(42), readings: &readings },
                    Mono(0),
                    &mut bytes,
                )
                .unwrap();
        }
        let (mut messages, mut reply) = (Vec::new(), Vec::new());
        group.throughput(Throughput::Elements((FRAMES * per_frame) as u64));
        group.bench_function(format!("{per_frame} per frame, {FRAMES} frames per piece"), |b| {
            b.iter(|| {
                messages.clear();
                gate.receive(black_box(&bytes), NOW, &mut messages, &mut reply).unwrap();
                black_box(messages.len())
            });
        });
        let pieces: Vec<&[u8]> = bytes.chunks(1_400).collect();
        group.bench_function(format!("{per_frame} per frame, pieces of 1400 bytes"), |b| {
            b.iter(|| {
                messages.clear();
                for piece in &pieces {
                    gate.receive(black_box(piece), NOW, &mut messages, &mut reply).unwrap();
                }
                black_box(messages.len())
            });
        });
    }
    group.finish();
}

fn readings_out(c: &mut Criterion) {
    let mut group = c.benchmark_group("readings out (a charger's end)");
    let readings: Vec<_> = (1..=256).map(reading).collect();
    let (_, mut charger) = charger_links();
    let mut bytes = Vec::new();
    for per_frame in [1, 16, 256] {
        group.throughput(Throughput::Elements(256));
        group.bench_function(format!("{per_frame} per frame"), |b| {
            b.iter(|| {
                bytes.clear();
                for readings in readings.chunks(per_frame) {
                    charger
                        .send_readings(
                            Channel::ZERO,
                            MeterValues { session: SessionKey(42), readings },
                            Mono(0),
                            &mut bytes,
                        )
                        .unwrap();
                }
                black_box(bytes.len())
            });
        });
    }
    group.finish();
}

fn acknowledgements(c: &mut Criterion) {
    let mut group = c.benchmark_group("acknowledgements");
    let cost = Cost::from_major("1.58354".parse().unwrap(), Currency::EUR).unwrap();
    let ack = ToCharger::MeterAck(MeterAck { session: SessionKey(42), up_to: 17, cost: Some(cost) });
    let (mut gate, _) = charger_links();
    let mut bytes = Vec::new();
    group.throughput(Throughput::Elements(FRAMES as u64));
    group.bench_function("out (the gate's end)", |b| {
        b.iter(|| {
            bytes.clear();
            for _ in 0..FRAMES {
                gate.send(Channel::ZERO, black_box(&ack), &mut bytes).unwrap();
            }
            black_box(bytes.len())
        });
    });
    let mut charger = ChargerClientLink::new(Mono(0));
    let mut messages = Vec::new();
    group.bench_function("in (a charger's end)", |b| {
        b.iter(|| {
            messages.clear();
            charger.receive(black_box(&bytes), NOW, &mut messages).unwrap();
            black_box(messages.len())
        });
    });
    group.finish();
}

fn answers(c: &mut Criterion) {
    let mut group = c.benchmark_group("answers in (a processor's callbacks)");
    group.throughput(Throughput::Elements(FRAMES as u64));
    for (name, mac) in [("plain", None), ("with MAC", Some(MacKey::new(&[7; 32])))] {
        let id = ProcessorId::new("acme-pay").unwrap();
        let mut bytes = Vec::new();
        let mut processor = ProcessorClientLink::new(id.clone(), mac.clone(), Mono(0));
        let capabilities = Capabilities {
            kinds: Vec::new(),
            credentials: Vec::new(),
            currencies: Vec::new(),
            idempotent_replay: TimeSpan::ZERO,
            replay_after_error_safe: false,
            request_life_max: TimeSpan::ZERO,
            inquiry_authoritative_after: None,
            increments_max: 0,
            overcapture_percent: 0,
            partial_approval: false,
            multiple_captures: false,
            hold_validity: TimeSpan::ZERO,
            inflight_max: 1,
        };
        let hello = ProcessorHello { processor: id, instance: "1".into(), capabilities, clock: AT };
        processor.send(&FromProcessor::Hello(hello), Mono(0), &mut bytes).unwrap();
        for callback in 0..FRAMES as u128 {
            let operation = OpId::from_u128(callback << 16 | 1);
            let outcome = Outcome::Approved {
                amount: Amount::new(4_500, Currency::EUR),
                processor_ref: ProcessorRef("auth_7f3a".into()),
                expires_at: Some(AT),
            };
            let callback = CallbackId(callback);
            let answer = Answer { callback, operation, hold: HoldId(operation), outcome };
            processor.send(&FromProcessor::Answer(answer), Mono(0), &mut bytes).unwrap();
        }
        let peer = PeerIdentity::parse("spiffe://wattstile.example/processor/acme-pay").unwrap();
        let link = || ProcessorLink::new(&peer, mac.clone(), Mono(0)).unwrap();
        group.bench_function(name, |b| {
            b.iter_batched_ref(
                link,
                |gate| {
                    let mut messages = Vec::with_capacity(FRAMES + 1);
                    gate.receive(black_box(&bytes), NOW, &mut messages, &mut Vec::new()).unwrap();
                    messages.len()
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, readings_in, readings_out, acknowledgements, answers);
criterion_main!(benches);
