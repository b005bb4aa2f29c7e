//! Peers by the thousand, slow peers, and peers that send garbage: they obstruct no others, and need little memory.

use super::memory::SmallRoom;
use super::{CHARGERS, LAYOUT, SEED, SETTINGS, settle};
use crate::common::Served;
use crate::common::business::Business;
use crate::common::driven::{Driven, charger, reading, runtime};
use serde_json::Value;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wattstile::journal;
use wattstile::message::{Channel, FromCharger, StartSession, StopReason, ToCharger};
use wattstile::payment::{Credential, CredentialKind};
use wattstile::sim::pipe::Dialler;
use wattstile::units::rng::Rng;
use wattstile::units::{ConnectorId, Energy, Mono, SessionKey};
use wattstile::wire::ChargerClientLink;
use wattstile::wire::frame::{FrameHead, FrameType, HEADER, write_frame};

/// What a gate with the business of these tests may take, its own pages of files included.
const ROOM_MB: u64 = 200;
/// Longer than any deadline of a connection.
const DEADLINES: Duration = Duration::from_secs(40);

#[test]
fn thousands_who_connect_and_say_nothing_are_in_nobodys_way() {
    let room = SmallRoom::of("silent", ROOM_MB);
    let mut gate = gate_in(room.as_ref(), &SETTINGS);
    let business = Business::begin(&mut gate, CHARGERS, SEED);
    let mut silent = Vec::new();
    for _ in 0..20 {
        for address in [gate.chargers, gate.processors] {
            silent.extend((0..100).filter_map(|_| TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()));
        }
        std::thread::sleep(Duration::from_millis(150));
    }
    // While they last, a charger that was sent away comes in again by a handshake of its own.
    gate.kill();
    gate.start_again();
    for address in [gate.chargers, gate.processors] {
        silent.extend((0..500).filter_map(|_| TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()));
    }
    assert!(silent.len() >= 1_000, "{} came in", silent.len());
    settle(gate, business);
}

/// One sends requests for ever and never reads the answers, one connects and sends nothing, one sends a frame byte by
/// byte in mid-session.
#[test]
fn who_reads_or_writes_too_slowly_is_closed_and_nobody_waits_for_them() {
    let room = SmallRoom::of("slow", ROOM_MB);
    let mut gate = gate_in(room.as_ref(), &[&SETTINGS[..3], &["log.level=info,wattstile::app=debug"]].concat());
    let business = Business::begin(&mut gate, CHARGERS, SEED);
    let [greedy, mute, dribbling] = ["GREEDY-1", "MUTE-1", "DRIBBLING-1"].map(|id| (id, gate.dialler(&charger(id))));
    let before = gate.resident();
    let wrote = runtime().block_on(async {
        let (greedy, mute, dribbling) =
            tokio::join!(never_reads(&greedy.1), never_greets(&mute.1), dribbles(&dribbling.1));
        assert_eq!(mute, Some(205), "no Hello in time");
        assert_eq!(dribbling, Some(111), "a frame was begun and not finished");
        greedy
    });
    let after = gate.resident();
    println!("closed after {wrote} bytes of questions; resident {before} before, {after} afterwards");
    let log = gate.log();
    assert!(log.lines().any(|line| line.contains("GREEDY-1") && line.contains("does not read")), "{log}");
    settle(gate, business);
}

/// Frames of every kind, changed by a seeded generator: bits, lengths, whole pieces; half of them with a checksum that fits, so that
/// they reach the messages behind. Sent over live connections, at every stage of a session.
#[test]
fn nonsense_from_a_fuzzer_closes_its_own_connection_and_costs_nobody_else() {
    let room = SmallRoom::of("nonsense", ROOM_MB);
    let settings =
        ["payment.answer_authorize=2s", "chargers.silence=2s", "chargers.no_start=2s", "chargers.late_readings=1s"];
    let mut gate = gate_in(room.as_ref(), &[&settings[..], &["log.level=error"]].concat());
    let business = Business::begin(&mut gate, CHARGERS, SEED);
    let ways: Vec<_> = (0..8).map(|n| format!("FUZZ-{n}")).map(|id| (gate.dialler(&charger(&id)), id)).collect();
    let mut ends = [0_u32; 2];
    runtime().block_on(async {
        for number in 0..CONVERSATIONS {
            let (way, id) = &ways[usize::try_from(number).unwrap() % ways.len()];
            let shown = nonsense(way, id, &mut Rng::of(SEED, u128::from(number))).await;
            ends[usize::from(shown)] += 1;
        }
    });
    println!("{} connections were told why they are closed, {} left by themselves", ends[1], ends[0]);
    assert!(ends[1] > CONVERSATIONS / 4, "most nonsense is noticed: {ends:?}");
    std::thread::sleep(Duration::from_secs(1));
    let outcome = business.finish();
    assert!(outcome.fleet.tally.receipts >= 5, "there was work: {:?}", outcome.fleet.tally);
    outcome.assert_promises_kept();
    assert_eq!(gate.terminate(), Some(0), "{}", gate.log());
    assert!(journal::verify(&gate.data_dir().join("data")).unwrap().whole);
}

/// The whole fleet reconnects at once: the load generator drops its connections, and measures how long each waits.
#[test]
fn a_fleet_that_comes_back_all_at_once_loses_no_session() {
    let output = Command::new(env!("CARGO_BIN_EXE_wattstile"))
        .args(["bench", "--connections", "300", "--chargers", "300", "--sessions", "300"])
        .args(["--rate", "300", "--for", "1s", "--storm", "--json", "--quiet"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let storm = &report["storm"];
    assert_eq!((&storm["connections"], &storm["returned"]), (&300.into(), &300.into()), "{report}");
    assert_eq!((&storm["sessions_failed"], &report["lost"]), (&0.into(), &0.into()), "{report}");
}

/// Conversations of the fuzzer, and frames in each.
const CONVERSATIONS: u32 = 120;
const FRAMES: u32 = 12;

fn gate_in(room: Option<&SmallRoom>, settings: &[&str]) -> Served {
    let mut gate = Served::stopped(tempfile::tempdir().unwrap(), LAYOUT, settings);
    gate.started_by = room.map(SmallRoom::enter).unwrap_or_default();
    gate.start_again();
    gate
}

/// Heartbeats without end, and none of the answers read. How many bytes it takes until the gate has enough.
async fn never_reads(way: &Dialler) -> u64 {
    let mut greedy = Driven::dial(way).await;
    assert!(matches!(greedy.hello("GREEDY-1").await, ToCharger::HelloAck(_)));
    let mut many = Vec::new();
    while many.len() < 64 * 1_024 {
        let clock = |out: &mut Vec<u8>| out.extend_from_slice(&[0x08, 1]);
        write_frame(&mut many, FrameHead::new(FrameType::Heartbeat, Channel::ZERO), None, clock).unwrap();
    }
    let mut wrote = 0;
    let writing = async {
        while greedy.stream.write_all(&many).await.is_ok() {
            wrote += u64::try_from(many.len()).unwrap();
        }
    };
    tokio::time::timeout(DEADLINES, writing).await.expect("it is closed although it could go on for ever");
    wrote
}

/// Connects and sends nothing. Returns the code that it gets.
async fn never_greets(way: &Dialler) -> Option<u16> {
    farewell(Driven::dial(way).await).await
}

/// A byte of a frame now and then: never complete.
async fn dribbles(way: &Dialler) -> Option<u16> {
    let mut slow = Driven::dial(way).await;
    assert!(matches!(slow.hello("DRIBBLING-1").await, ToCharger::HelloAck(_)));
    for byte in [0, 0, 1, 0, 1, 6, 0, 0] {
        if slow.stream.write_all(&[byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    farewell(slow).await
}

/// The code of the goodbye, if there is one.
async fn farewell(mut charger: Driven) -> Option<u16> {
    let shown = tokio::time::timeout(DEADLINES, charger.hears()).await.expect("it is closed in time").unwrap_err();
    shown.split(' ').find_map(|word| word.trim_matches(|c: char| !c.is_ascii_digit()).parse().ok())
}

/// One run of the fuzzer. Returns whether it got the reason of the close.
async fn nonsense(way: &Dialler, id: &str, rng: &mut Rng) -> bool {
    let mut stream = way.dial().await.unwrap();
    let sound = sound_frames(id, rng);
    let stage = usize::try_from(rng.below(u64::try_from(sound.len()).unwrap())).unwrap();
    // The beginning is valid, so that the garbage hits every stage of a session.
    let mut bytes: Vec<u8> = sound[..stage].concat();
    for _ in 0..FRAMES {
        let frame = usize::try_from(rng.below(u64::try_from(sound.len()).unwrap())).unwrap();
        bytes.extend(changed(&mut sound[frame].clone(), rng));
    }
    // The gate may close before it has read all of it.
    let _ = stream.write_all(&bytes).await;
    let _ = stream.shutdown().await;
    let mut received = Vec::new();
    let reading = tokio::time::timeout(DEADLINES, stream.read_to_end(&mut received));
    let _ = reading.await.expect("the gate ends the conversation");
    // The frame's type stands behind its length and version.
    let mut rest = received.as_slice();
    let mut last = 0;
    while let Some(length) = rest.first_chunk::<4>().map(|length| u32::from_be_bytes(*length) as usize) {
        last = rest.get(5).copied().unwrap_or(0);
        rest = rest.get(4 + length..).unwrap_or_default();
    }
    last == FrameType::ChargerGoAway.number()
}

/// Frames of a regular charger in a session.
fn sound_frames(id: &str, rng: &mut Rng) -> Vec<Vec<u8>> {
    let key = SessionKey(rng.below(1 << 40));
    let mut link = ChargerClientLink::new(Mono(0));
    let mut frames = Vec::new();
    let mut say = |message: FromCharger| {
        let mut out = Vec::new();
        link.send(Channel::ZERO, &message, Mono(0), &mut out).unwrap();
        frames.push(out);
    };
    say(FromCharger::Hello(Driven::describes(id, Vec::new())));
    say(FromCharger::Start(StartSession {
        session: key,
        connector: ConnectorId(1),
        credential: Credential { kind: CredentialKind::CardToken, token: b"tok_visa".as_slice().into() },
        at: crate::common::now(),
        register: Energy::from_watt_hours(1_000).unwrap(),
    }));
    for sequence in 1..4 {
        say(FromCharger::Reading { session: key, reading: reading(sequence, i64::from(sequence) * 10) });
    }
    say(FromCharger::Stop { session: key, last: reading(4, 50), reason: StopReason::Local });
    frames
}

/// A frame with something wrong about it, or (seldom) nothing.
fn changed(frame: &mut Vec<u8>, rng: &mut Rng) -> Vec<u8> {
    for _ in 0..=rng.below(3) {
        let at = usize::try_from(rng.below(u64::try_from(frame.len()).unwrap())).unwrap();
        let random = rng.bits().to_le_bytes();
        match rng.below(6) {
            0 => frame[at] ^= 1 << (random[0] % 8),
            1 => frame[at] = random[0],
            2 => drop(frame.splice(at..at, random)),
            3 if frame.len() > HEADER => frame.truncate(at.max(HEADER)),
            4 => frame.extend_from_within(at..),
            _ => frame[at..].iter_mut().zip(random).for_each(|(byte, random)| *byte = random),
        }
    }
    match FrameType::from_number(frame.get(5).copied().unwrap_or(0)) {
        // Made whole again: length and checksum fit what is in it now.
        Some(kind) if rng.below(2) == 0 && frame.len() > HEADER => {
            let payload = frame[HEADER..frame.len().saturating_sub(4).max(HEADER)].to_vec();
            let mut whole = Vec::new();
            let append = |out: &mut Vec<u8>| out.extend_from_slice(&payload);
            match write_frame(&mut whole, FrameHead::new(kind, Channel::ZERO), None, append) {
                Ok(()) => whole,
                Err(_) => frame.clone(),
            }
        }
        _ => frame.clone(),
    }
}
