//! The tables of the manual's page on the protocol are compared with the code's.

use wattstile::limits;
use wattstile::message::Code;
use wattstile::payment::{Credential, ProcessorRef};
use wattstile::wire::frame::{Direction, FrameType};

const PAGE: &str = include_str!("../../../src/manual/protocol.md");

/// Cells of the table rows that begin with this.
fn rows(start: &str) -> Vec<Vec<&str>> {
    let rows = PAGE.lines().filter(|line| line.starts_with(start));
    rows.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

#[test]
fn every_code_is_in_the_table() {
    let table: Vec<_> = rows("| ").into_iter().filter(|row| row[0].parse::<u16>().is_ok()).collect();
    let expected: Vec<Vec<String>> = Code::ALL
        .iter()
        .map(|code| vec![code.number().to_string(), format!("{code:?}"), code.meaning().to_owned()])
        .collect();
    assert_eq!(table, expected);
}

/// Codes that the gate never sends are not in the table: each is named by shipped code outside it.
#[test]
fn every_code_of_the_table_is_said_somewhere() {
    fn sources(folder: &std::path::Path, all: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let name = entry.file_name().unwrap().to_str().unwrap().to_owned();
            match (entry.is_dir(), name.as_str()) {
                (true, "sim" | "tests") | (false, "code.rs" | "tests.rs") => {}
                (true, _) => sources(&entry, all),
                (false, name) if name.ends_with(".rs") => {
                    let text = std::fs::read_to_string(&entry).unwrap();
                    all.push_str(text.split("#[cfg(test)]\nmod tests {").next().unwrap());
                }
                (false, _) => {}
            }
        }
    }
    let mut all = String::new();
    sources(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut all);
    let is_listed = |code: &Code| {
        let name = format!("Code::{code:?}");
        let ends = |at: usize| !all[at + name.len()..].starts_with(|c: char| c.is_ascii_alphanumeric());
        all.match_indices(&name).any(|(at, _)| ends(at))
    };
    let silent: Vec<&Code> = Code::ALL.iter().filter(|code| !is_listed(code)).collect();
    assert_eq!(silent, Vec::<&Code>::new());
}

#[test]
fn every_type_of_frame_is_in_the_table() {
    let table = rows("| 0x");
    assert_eq!(table.len(), FrameType::ALL.len());
    for (row, kind) in table.iter().zip(FrameType::ALL) {
        assert_eq!(row[0], format!("{:#04x}", kind.number()));
        let from = match kind.direction() {
            Direction::ChargerToGate => "charger",
            Direction::ProcessorToGate => "processor",
            Direction::GateToCharger | Direction::GateToProcessor => "gate",
        };
        assert_eq!(row[2], from, "{kind:?}");
    }
}

#[test]
fn the_heartbeat_that_is_taken_apart_is_the_golden_one() {
    let golden =
        include_str!("../../golden/wire-v1.txt").lines().find_map(|line| line.strip_prefix("heartbeat = ")).unwrap();
    let shown = PAGE.lines().find(|line| line.starts_with("0000001b")).unwrap();
    assert_eq!(shown.replace(' ', ""), golden);
}

#[test]
fn the_limits_are_the_codes() {
    let with_commas = |number: u64| {
        let digits = number.to_string();
        match digits.split_at_checked(digits.len().saturating_sub(3)) {
            Some((thousands, rest)) if !thousands.is_empty() => format!("{thousands},{rest}"),
            _ => digits,
        }
    };
    for (what, number) in [
        ("frame, after its length field", u64::from(limits::FRAME_MAX)),
        ("channels on a site's connection", limits::CHANNELS_PER_LINK as u64),
        ("readings in one MeterValues", limits::READINGS_PER_FRAME as u64),
        ("connectors of a charger", limits::CONNECTORS_PER_CHARGER as u64),
        ("sessions in one Hello", limits::SESSIONS_PER_HELLO as u64),
        ("unacknowledged readings of a session", limits::CHARGER_WINDOW.into()),
        ("unacknowledged callbacks of a connection", limits::PROCESSOR_WINDOW.into()),
        ("entries in each list of capabilities", limits::CAPABILITIES_LISTED as u64),
        ("lines in one part of a settlement batch", limits::SETTLEMENT_LINES_PER_PART as u64),
        ("token of a credential", Credential::MAX_TOKEN as u64),
        ("processor's reference", ProcessorRef::MAX_LEN as u64),
        ("Hello after the handshake", limits::HELLO_TIMEOUT.whole_secs().unsigned_abs()),
        ("a frame from its first byte to its last", limits::FRAME_TIMEOUT.whole_secs().unsigned_abs()),
        ("heartbeat", limits::HEARTBEAT.whole_secs().unsigned_abs()),
    ] {
        let row = rows("| ").into_iter().find(|row| row[0] == what).unwrap_or_else(|| panic!("no row for {what}"));
        assert!(row[1].starts_with(&with_commas(number)), "{what}: {} is not {number}", row[1]);
    }
    assert_eq!(limits::HEARTBEATS_MISSED, 3);
}
