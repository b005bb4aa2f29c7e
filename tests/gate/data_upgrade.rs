//! A data directory of version 4, as the program of that time left it, is upgraded: first told, then done, and interrupted at
//! every step. `tests/golden/version-4` is a backup of it, compressed, and what that program answered about it.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use wattstile::app;
use wattstile::journal::upgrade::Step;
use wattstile::journal::{DATA_VERSION, DataDir, Failure};

/// CRC-32 of the books as `ledger export --format hledger` wrote them in version 4.
const EXPORT_CRC32: u32 = 0xf643_00bf;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/version-4")
}

fn verb(arguments: &[&str]) -> (i32, String, String) {
    let ran = Command::new(env!("CARGO_BIN_EXE_wattstile")).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (ran.status.code().unwrap(), text(ran.stdout), text(ran.stderr))
}

/// The same on a directory that this process has just let go of: a program that another test starts meanwhile may have its lock
/// for a moment longer.
fn verb_of_let_go(arguments: &[&str]) -> (i32, String, String) {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let ran = verb(arguments);
        if ran.0 != 75 || Instant::now() > until {
            return ran;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The directory as it was, made by restoring its backup.
fn older(place: &Path) -> PathBuf {
    let (backup, data) = (place.join("backup"), place.join("data"));
    for name in ["snapshots", "archive"] {
        fs::create_dir_all(backup.join(name)).unwrap();
    }
    for folder in ["", "snapshots", "archive"] {
        for entry in fs::read_dir(golden().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "lz4") {
                let bytes = lz4_flex::decompress_size_prepended(&fs::read(&path).unwrap()).unwrap();
                fs::write(backup.join(folder).join(path.file_stem().unwrap()), bytes).unwrap();
            }
        }
    }
    let (code, _, error) = verb(&["backup", "restore", text(&backup), text(&data)]);
    assert_eq!(code, 0, "{error}");
    assert_eq!(DataDir::version_of(&data), Some(4));
    data
}

/// Every file with its bytes.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            // It names the process that held the directory last.
            false if path.ends_with("lock") => {}
            false => drop(found.insert(path.clone(), fs::read(&path).unwrap())),
        }
    }
    found
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Takes members out that answers did not have when these were written.
fn without_newer_members(now: &mut Value, before: &Value) {
    match (now, before) {
        (Value::Object(now), Value::Object(before)) => {
            now.retain(|name, _| before.contains_key(name));
            now.iter_mut().for_each(|(name, value)| without_newer_members(value, &before[name]));
        }
        (Value::Array(now), Value::Array(before)) => {
            now.iter_mut().zip(before).for_each(|(now, before)| without_newer_members(now, before));
        }
        _ => {}
    }
}

/// The data answers every question as the program of version 4 did; answers may have newer members.
fn assert_answers_as_before(place: &Path) {
    let figures: serde_json::Map<String, Value> =
        serde_json::from_slice(&fs::read(golden().join("figures.json")).unwrap()).unwrap();
    assert_eq!(figures.len(), 10);
    if std::env::var_os("WATTSTILE_GOLDEN").is_some_and(|what| what == "write") {
        let answer = |question: &String| {
            let arguments: Vec<&str> = question.split(' ').chain(["--data", text(place), "--json"]).collect();
            serde_json::from_str::<Value>(&verb(&arguments).1).unwrap()
        };
        let answers: serde_json::Map<String, Value> =
            figures.keys().map(|question| (question.clone(), answer(question))).collect();
        fs::write(golden().join("figures.json"), serde_json::to_vec_pretty(&answers).unwrap()).unwrap();
        return;
    }
    for (question, before) in figures {
        let arguments: Vec<&str> = question.split(' ').chain(["--data", text(place), "--json"]).collect();
        let (code, out, error) = verb(&arguments);
        assert!(matches!(code, 0 | 1), "{question}: {error}");
        let mut now: Value = serde_json::from_str(&out).unwrap();
        without_newer_members(&mut now, &before);
        assert_eq!(now, before, "{question}");
    }
    let (_, export, _) = verb(&["ledger", "export", "--format", "hledger", "--data", text(place)]);
    assert_eq!(crc32fast::hash(export.as_bytes()), EXPORT_CRC32, "every entry of the books is as it was");
}

#[test]
fn data_of_version_4_is_upgraded_with_the_same_figures_and_kept_as_backup() {
    let place = tempfile::tempdir().unwrap();
    let data = older(place.path());
    let backup = place.path().join("backup");
    let checked = verb(&["backup", "verify", text(&backup), "--temporary", text(place.path()), "--json"]);
    let found: Value = serde_json::from_str(&checked.1).unwrap();
    assert_eq!((checked.0, &found["sessions_live"], &found["books_imbalance_minor"]), (0, &2.into(), &0.into()));
    fs::remove_dir_all(&backup).unwrap();

    // What serves or shows refuses it in one sentence that names the command; what checks and copies it does not.
    for arguments in [&["ledger", "trial-balance", "--data"][..], &["session", "ls", "--data"]] {
        let (code, _, error) = verb(&[arguments, &[text(place.path())]].concat());
        assert_eq!(code, 78, "{error}");
        assert!(error.contains("is data of version 4") && error.contains("wattstile data upgrade"), "{error}");
    }
    for check in ["verify", "dump"] {
        let (code, out, error) = verb(&["journal", check, text(&data)]);
        assert_eq!(code, 0, "{error}");
        assert!(check == "verify" || (out.contains("\"Opened\"") && !out.contains("\"payload\"")), "{out:.400}");
    }

    // The dry run tells everything and changes nothing.
    let before = files(&data);
    let (code, out, error) = verb(&["data", "upgrade", text(&data), "--dry-run", "--json"]);
    assert_eq!(code, 0, "{error}");
    let dry: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&dry["from_version"], &dry["to_version"]), (&4.into(), &5.into()), "{dry}");
    assert_eq!((&dry["partitions"], &dry["snapshots"], &dry["sessions_live"]), (&8.into(), &4.into(), &2.into()));
    assert_eq!((&dry["accounts"], &dry["books_imbalance_minor"]), (&2.into(), &0.into()), "{dry}");
    assert!(dry["needed_bytes"].as_u64() > Some(0) && dry["backup_bytes"].as_u64() > Some(100_000), "{dry}");
    assert_eq!(files(&data), before);
    assert_eq!(names(place.path()), ["data"]);
    let (code, shown, error) = verb(&["data", "upgrade", text(&data), "--dry-run"]);
    assert!(code == 0 && shown.contains("nothing was changed") && shown.contains("in balance"), "{shown}{error}");

    let (code, out, error) = verb(&["data", "upgrade", text(&data), "--json"]);
    assert_eq!(code, 0, "{error}");
    let done: Value = serde_json::from_str(&out).unwrap();
    for figure in ["records", "sessions", "accounts", "entries", "books", "states_crc32"] {
        assert_eq!(done[figure], dry[figure], "{figure}");
    }
    assert_eq!(names(place.path()), ["data", "data.version-4"]);
    let kept: BTreeMap<PathBuf, Vec<u8>> = files(&place.path().join("data.version-4"))
        .into_iter()
        .map(|(path, bytes)| (data.join(path.strip_prefix(place.path().join("data.version-4")).unwrap()), bytes))
        .collect();
    assert_eq!(kept, before, "the older data is untouched");
    assert_eq!(DataDir::version_of(&data), Some(DATA_VERSION));
    assert_answers_as_before(place.path());
    assert_eq!(verb(&["journal", "verify", text(&data)]).0, 0);

    // Once more there is nothing to do, and the state is that of the golden file's time.
    let (code, out, error) = verb(&["data", "upgrade", text(&data)]);
    assert!(code == 0 && out.contains("nothing to do"), "{out}{error}");
    assert_eq!(names(place.path()), ["data", "data.version-4"]);
}

#[test]
fn an_upgrade_that_stops_after_any_step_leaves_one_whole_directory_and_is_finished_by_the_next() {
    for step in Step::ALL {
        let place = tempfile::tempdir().unwrap();
        let data = older(place.path());
        let stopped = app::upgrade(&data, false, &mut |done| if done == step { Err(Failure::Dead) } else { Ok(()) });
        assert!(stopped.is_err(), "{step:?}");
        let counts = DataDir::version_of(&data);
        let expected = if matches!(step, Step::Swapped | Step::Done) { DATA_VERSION } else { 4 };
        assert_eq!(counts, Some(expected), "{step:?}: one of them has the name, and it is whole");
        let (code, out, error) = verb_of_let_go(&["journal", "verify", text(&data)]);
        assert_eq!(code, 0, "{step:?}: {out}{error}");
        let (code, out, error) = verb(&["data", "upgrade", text(&data)]);
        assert_eq!(code, 0, "{step:?}: {out}{error}");
        assert_eq!(names(place.path()), ["backup", "data", "data.version-4"], "{step:?}");
        assert_answers_as_before(place.path());
    }
}

#[test]
fn an_upgrade_that_is_killed_at_any_step_is_finished_by_the_next() {
    for step in Step::ALL {
        let place = tempfile::tempdir().unwrap();
        let data = older(place.path());
        let mut child = Command::new(env!("CARGO_BIN_EXE_wattstile"))
            .args(["data", "upgrade", text(&data)])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let progress = BufReader::new(child.stderr.take().unwrap());
        progress
            .lines()
            .map_while(Result::ok)
            .find(|line| line.contains(step.as_str()))
            .expect("every step is reported");
        // SIGKILL, unless it is faster.
        let _ = child.kill();
        child.wait().unwrap();
        let (code, out, error) = verb(&["data", "upgrade", text(&data)]);
        assert_eq!(code, 0, "{step:?}: {out}{error}");
        assert_eq!(names(place.path()), ["backup", "data", "data.version-4"], "{step:?}");
        let (_, export, _) = verb(&["ledger", "export", "--format", "hledger", "--data", text(place.path())]);
        assert_eq!(crc32fast::hash(export.as_bytes()), EXPORT_CRC32, "{step:?}");
    }
}

#[test]
fn an_upgrade_refuses_what_stands_in_its_way() {
    let place = tempfile::tempdir().unwrap();
    let data = older(place.path());
    let before = files(&data);
    fs::create_dir(place.path().join("data.version-4")).unwrap();
    for more in [&["--dry-run"][..], &[]] {
        let (code, _, error) = verb(&[&["data", "upgrade", text(&data)], more].concat());
        assert!(code == 78 && error.contains("data.version-4") && error.contains("move it away"), "{code}: {error}");
    }
    fs::remove_dir(place.path().join("data.version-4")).unwrap();
    let held = DataDir::open_any(&data).unwrap();
    let (code, _, error) = verb(&["data", "upgrade", text(&data)]);
    assert!(code == 75 && error.contains("is in use"), "{code}: {error}");
    drop(held);
    assert_eq!(files(&data), before);
}

/// Where two names cannot be exchanged, nothing has the name of the data for a moment: no start makes new data there.
#[test]
fn an_upgrade_that_was_interrupted_between_two_names_is_recognised() {
    let place = tempfile::tempdir().unwrap();
    let data = older(place.path());
    assert_eq!(verb(&["data", "upgrade", text(&data)]).0, 0);
    fs::rename(&data, place.path().join("data.version-5")).unwrap();
    let refused = DataDir::is_fresh(&data).unwrap_err();
    assert!(refused.to_string().contains("wattstile data upgrade"), "{refused}");
    let (code, out, error) = verb(&["data", "upgrade", text(&data)]);
    assert_eq!(code, 0, "{out}{error}");
    assert_eq!(names(place.path()), ["backup", "data", "data.version-4"]);
    assert_answers_as_before(place.path());
}
