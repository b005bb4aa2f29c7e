//! The schema, and what follows from a state of the gate.

use super::batch::{Batch, Value};
use super::progress::{Found, Progress, Stage};
use super::rows;
use super::schema::{Dialect, PROGRESS, SCHEMA_VERSION, TABLES, VIEWS, create};
use super::sqlite::SqliteStore;
use super::store::Store;
use crate::journal::LogPosition;
use crate::ledger::{Entry, EntryId, Name};
use crate::units::{Amount, Currency, PartitionId, ProcessorId, SessionId, Timestamp};
use std::collections::BTreeSet;

fn store(folder: &tempfile::TempDir) -> SqliteStore {
    let mut store = SqliteStore::open(&folder.path().join("reporting.sqlite")).unwrap();
    store.reset().unwrap();
    store
}

#[test]
fn the_manual_lists_every_table_and_view_with_its_columns() {
    let manual = include_str!("../manual/reporting.md");
    let quoted = |names: &mut dyn Iterator<Item = &'static str>| {
        names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" ")
    };
    for table in TABLES {
        let (key, others) = table.columns.split_at(table.key);
        let names = |columns: &'static [super::schema::Column]| quoted(&mut columns.iter().map(|column| column.name));
        let line = format!("| `{}` | {} | {} | {} |", table.name, table.about.trim(), names(key), names(others));
        assert!(manual.contains(&line), "the manual does not have\n{line}");
    }
    for view in VIEWS {
        let line = format!("| `{}` | {} |", view.name, view.about);
        assert!(manual.contains(&line), "the manual does not have\n{line}");
    }
}

#[test]
fn names_are_unique_and_every_view_can_be_read() {
    let names: Vec<&str> = TABLES.iter().map(|table| table.name).chain(VIEWS.iter().map(|view| view.name)).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    assert!(create(Dialect::Postgres).iter().all(|statement| !statement.contains("WITHOUT ROWID")));
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder);
    for name in names {
        store.rows(&format!("SELECT * FROM {name} LIMIT 1")).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn an_entry_taken_in_twice_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder);
    let at = Timestamp::from_unix_ms(1_796_000_000_120);
    let id = EntryId::of_session(SessionId::new(at, PartitionId(3), 7), 1);
    let acme = ProcessorId::new("acme-cards").unwrap();
    let entry = Entry::hold_approved(id, at, &acme, Amount::new(4_500, Currency::EUR)).unwrap();
    for _ in 0..2 {
        let mut batch = Batch::default();
        rows::entry(&mut batch, (PartitionId(3), 0, 0), &entry);
        store.write(&batch).unwrap();
    }
    let text = |text: &str| Some(text.to_owned());
    let found = store
        .rows("SELECT code, account, debits_minor, credits_minor, balance_minor FROM v_trial_balance ORDER BY code");
    let (held, contra) = (Name::Held(acme.clone()), Name::HeldContra(acme));
    assert_eq!(
        found.unwrap(),
        [
            vec![text("M010"), text(&held.to_string()), text("4500"), text("0"), text("4500")],
            vec![text("M020"), text(&contra.to_string()), text("0"), text("4500"), text("4500")],
        ]
    );
    let found = store.rows("SELECT at, day, kind, operation FROM ledger_entries").unwrap();
    assert_eq!(found, [vec![text("2026-11-30T00:53:20.120Z"), text("2026-11-30"), text("hold approved"), None]]);
}

#[test]
fn progress_is_found_again_and_other_tables_are_not_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("reporting.sqlite");
    let mut fresh = SqliteStore::open(&path).unwrap();
    assert!(matches!(Progress::find(&mut fresh).unwrap(), Found::Nothing));
    let mut store = store(&folder);
    assert!(matches!(Progress::find(&mut store).unwrap(), Found::Nothing), "tables without progress are not finished");
    let progress = Progress {
        stage: Stage::Accounts { after: Some("fleet-7".to_owned()) },
        ..Progress::filling(LogPosition { block: 70_000, index: 12 }, 1_796_000_000_000, Some(5))
    };
    let mut batch = Batch::default();
    progress.put(&mut batch);
    store.write(&batch).unwrap();
    let Found::Progress(found, places) = Progress::find(&mut store).unwrap() else { panic!("it is there") };
    assert_eq!((found, places.len()), (progress, 0));
    let mut batch = Batch::default();
    batch.put(PROGRESS, [("name", "schema".into()), ("value", Value::from(format!("{SCHEMA_VERSION}0")))]);
    store.write(&batch).unwrap();
    assert!(matches!(Progress::find(&mut store).unwrap(), Found::OtherSchema(version) if version == "10"));
}
