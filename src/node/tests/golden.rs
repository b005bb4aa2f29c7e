//! The bytes of every fact and of every state, as this version of the data directory has them: `tests/golden/stored-5.txt`.
//!
//! The examples are made from the numbers of the types ([`crate::stored::example`]), so each variant of each stored type is in
//! the file. What stands there is in the data of gates: lines are added when a variant or a field is, and never changed. With
//! `WATTSTILE_GOLDEN=write` the file is written anew; look at what has changed.

use crate::account::{self, Account, TopUp};
use crate::accounting::posting::PartitionBooks;
use crate::billing::invoice::{self, RequestEvent, Requests, Series};
use crate::billing::reconciliation::register::{self, Register};
use crate::charger::{self, Charger};
use crate::journal::{Record, RecordKind, Sequence};
use crate::ledger::Entry;
use crate::node::certificates::{self, Expiring};
use crate::node::fact::Fact;
use crate::node::partition::Tally;
use crate::node::session_record;
use crate::payment::history::HistoryEntry;
use crate::payment::known_processor::{self, KnownProcessors};
use crate::session::{self, Session};
use crate::stored::{self, Example, Stored, count, example};
use crate::units::SessionId;
use std::fmt::{Debug, Write};
use std::path::{Path, PathBuf};

/// Every example of a type: its name, and its bytes.
fn examples<T: Stored + Example + Debug>(name: &str, write: impl Fn(&T, &mut Vec<u8>), golden: &mut String) {
    for index in 0..count::<T>() {
        let value: T = example(index, &mut 1);
        let mut bytes = Vec::new();
        write(&value, &mut bytes);
        let text = format!("{value:?}");
        let end = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
        writeln!(golden, "{name} {} {}", &text[..end], hex::encode(bytes)).unwrap();
    }
}

fn all<T: Stored + Example + Debug>(name: &str, golden: &mut String) {
    examples::<T>(name, |value, bytes| value.store(bytes), golden);
}

fn session() -> SessionId {
    example(0, &mut 1)
}

fn golden() -> String {
    let mut golden = String::new();
    let of_session = |event: &session::Event, bytes: &mut Vec<u8>| session_record::write(session(), event, bytes);
    examples::<session::Event>("session_event", of_session, &mut golden);
    all::<charger::Event>("charger_event", &mut golden);
    all::<account::Event>("account_event", &mut golden);
    all::<account::TopUpEvent>("top_up_event", &mut golden);
    all::<known_processor::Event>("processor_event", &mut golden);
    all::<register::Event>("settlement_event", &mut golden);
    all::<invoice::Event>("billing_event", &mut golden);
    all::<RequestEvent>("document_event", &mut golden);
    all::<Session>("session", &mut golden);
    all::<HistoryEntry>("history", &mut golden);
    all::<Charger>("charger", &mut golden);
    all::<Account>("account", &mut golden);
    all::<TopUp>("top_up", &mut golden);
    all::<Tally>("tally", &mut golden);
    all::<PartitionBooks>("books", &mut golden);
    all::<Entry>("entry", &mut golden);
    all::<Series>("series", &mut golden);
    all::<Requests>("requests", &mut golden);
    all::<Register>("settlements", &mut golden);
    all::<KnownProcessors>("processors", &mut golden);
    all::<certificates::Event>("certificate_event", &mut golden);
    all::<Expiring>("certificates", &mut golden);
    golden
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/stored-5.txt")
}

#[test]
fn facts_and_states_have_the_bytes_of_this_version() {
    let (path, golden) = (file(), golden());
    if std::env::var_os("WATTSTILE_GOLDEN").is_some_and(|what| what == "write") {
        std::fs::write(&path, &golden).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    for (number, (now, kept)) in golden.lines().zip(kept.lines()).enumerate() {
        assert_eq!(now, kept, "line {} of {}", number + 1, path.display());
    }
    assert_eq!(golden.lines().count(), kept.lines().count(), "{} has another number of lines", path.display());
}

/// What is kept is read, and written as it was.
#[test]
fn what_stands_in_the_golden_file_is_read_back() {
    fn again<T: Stored>(bytes: &[u8]) -> Vec<u8> {
        stored::to_bytes(&stored::from_bytes::<T>(bytes).unwrap())
    }
    let kept = std::fs::read_to_string(file()).unwrap();
    assert!(kept.lines().count() > 300, "it has examples of everything");
    for line in kept.lines() {
        let (name, hexed) = (line.split(' ').next().unwrap(), line.rsplit(' ').next().unwrap());
        let bytes = hex::decode(hexed).unwrap();
        let written = match name {
            "session_event" => {
                let partition = session().partition();
                let record = Record {
                    partition,
                    sequence: Sequence(1),
                    kind: RecordKind::SessionEvent,
                    payload: &bytes,
                    goes_on: false,
                };
                let Ok(Fact::Session(id, event)) = Fact::read(record) else { panic!("{line}") };
                let mut written = Vec::new();
                session_record::write(id, &event, &mut written);
                written
            }
            "charger_event" => again::<charger::Event>(&bytes),
            "account_event" => again::<account::Event>(&bytes),
            "top_up_event" => again::<account::TopUpEvent>(&bytes),
            "processor_event" => again::<known_processor::Event>(&bytes),
            "settlement_event" => again::<register::Event>(&bytes),
            "billing_event" => again::<invoice::Event>(&bytes),
            "document_event" => again::<RequestEvent>(&bytes),
            "session" => again::<Session>(&bytes),
            "history" => again::<HistoryEntry>(&bytes),
            "charger" => again::<Charger>(&bytes),
            "account" => again::<Account>(&bytes),
            "top_up" => again::<TopUp>(&bytes),
            "tally" => again::<Tally>(&bytes),
            "books" => again::<PartitionBooks>(&bytes),
            "entry" => again::<Entry>(&bytes),
            "series" => again::<Series>(&bytes),
            "requests" => again::<Requests>(&bytes),
            "settlements" => again::<Register>(&bytes),
            "processors" => again::<KnownProcessors>(&bytes),
            "certificate_event" => again::<certificates::Event>(&bytes),
            "certificates" => again::<Expiring>(&bytes),
            other => panic!("{other} is no kind"),
        };
        assert_eq!(hex::encode(written), hexed, "{line}");
    }
}

/// A fact's number has to leave the highest bit of its first byte clear, which marks plain readings.
#[test]
fn no_fact_of_a_session_begins_like_a_plain_reading() {
    for index in 0..count::<session::Event>() {
        let event: session::Event = example(index, &mut 1);
        assert_eq!(stored::to_bytes(&event)[0] & 0x80, 0, "{event:?}");
    }
}
