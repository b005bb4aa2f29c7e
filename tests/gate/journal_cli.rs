//! `wattstile journal` as an operator runs it.

use assert_cmd::Command;
use serde_json::Value;
use std::fs;
use std::path::Path;
use wattstile::journal::{
    Appender, Archive, DataDir, Layout, Log, RecordKind, Sequence, Sequences, SledStore, Snapshots,
};
use wattstile::units::{PartitionId, SessionId, Timestamp};

/// Three records in two partitions, a snapshot, an archived session.
fn make(path: &Path) {
    let dir = DataDir::create(path, Layout { partitions: 4, generation_blocks: 16 }).unwrap();
    let store = SledStore::open(&dir).unwrap();
    let (mut log, _) = Log::open(Box::new(store), &Sequences::new(4), &mut |_| Ok(())).unwrap();
    let mut appender = Appender::new(log.sequences().clone());
    for (partition, text) in [(1, "open"), (1, "tick"), (3, "plug")] {
        let mut permit = appender.reserve().unwrap();
        permit.append(PartitionId(partition), RecordKind::BillingEvent, |out| out.extend(text.bytes()));
    }
    log.commit(&[appender.take_batch().unwrap()]).unwrap();
    Snapshots::open(&dir).unwrap().write(PartitionId(1), Sequence(2), b"state").unwrap();
    let archive = Archive::open(&dir).unwrap();
    archive.put(SessionId::from_u128(1 << 16), Timestamp::from_unix_ms(1), b"history").unwrap();
    archive.sync().unwrap();
    log.close().unwrap();
}

fn journal(arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::cargo_bin("wattstile").unwrap();
    let output = command.arg("journal").args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_whole_directory_is_shown_with_its_totals() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    make(&data);
    let data = data.to_str().unwrap();
    let (code, stdout, stderr) = journal(&["verify", data, "--json"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    let found: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&found["schema"], &found["whole"]), (&"wattstile.journal-check/1".into(), &true.into()));
    assert_eq!((&found["records"], &found["archived_sessions"]), (&3.into(), &1.into()));
    let first = &found["partitions"][0];
    assert_eq!((&first["partition"], &first["last"], &first["snapshot_at"]), (&1.into(), &2.into(), &2.into()));
    let (code, stdout, _) = journal(&["verify", data]);
    assert_eq!(code, 0);
    assert!(stdout.contains("3 records in 1 block,") && stdout.ends_with("whole\n"), "{stdout}");
}

#[test]
fn records_are_dumped_a_line_each() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    make(&data);
    let (code, stdout, _) = journal(&["dump", data.to_str().unwrap(), "--partition", "1"]);
    let lines: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((code, lines.len()), (0, 2));
    assert_eq!((&lines[1]["sequence"], &lines[1]["kind"]), (&2.into(), &"billing_event".into()));
    assert_eq!(lines[1]["payload"], hex::encode("tick"));
    assert_eq!(journal(&["dump", data.to_str().unwrap(), "--kind", "tea"]).0, 2);
}

#[test]
fn damage_anywhere_ends_with_sixty_five_and_is_named() {
    let place = tempfile::tempdir().unwrap();
    for (part, extension, at) in [("log", "db", 0), ("snapshots", "snap", 30), ("archive", "open", 50)] {
        let data = place.path().join(part);
        make(&data);
        // The log's file lies in the directory of its database.
        let files = fs::read_dir(data.join(part)).unwrap().map(|entry| entry.unwrap().path());
        let files = files.map(|path| if path.is_dir() { path.join(extension) } else { path });
        let is_it = |path: &std::path::PathBuf| path.is_file() && path.to_string_lossy().ends_with(extension);
        let file = files.into_iter().find(is_it).unwrap();
        let mut bytes = fs::read(&file).unwrap();
        // In the log the bytes of the block, wherever sled has put them.
        let at = if part == "log" { bytes.windows(4).position(|window| window == b"wBLK").unwrap() + 60 } else { at };
        bytes[at] ^= 0x10;
        fs::write(&file, bytes).unwrap();
        let (code, stdout, stderr) = journal(&["verify", data.to_str().unwrap()]);
        assert_eq!(code, 65, "{part}: {stdout}{stderr}");
        assert!(stdout.contains("damaged    the "), "{part}: {stdout}{stderr}");
    }
}

#[test]
fn a_damaged_log_is_located_by_partition_and_what_is_whole_is_rescued() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let new = place.path().join("new");
    {
        let dir = DataDir::create(&data, Layout { partitions: 4, generation_blocks: 16 }).unwrap();
        let store = SledStore::open(&dir).unwrap();
        let (mut log, _) = Log::open(Box::new(store), &Sequences::new(4), &mut |_| Ok(())).unwrap();
        let mut appender = Appender::new(log.sequences().clone());
        for number in 0..9 {
            for partition in [1, 3] {
                let text = format!("fact {number} of {partition}");
                let mut permit = appender.reserve().unwrap();
                permit.append(PartitionId(partition), RecordKind::BillingEvent, |out| out.extend(text.bytes()));
            }
            let batch = appender.take_batch().unwrap();
            log.commit(std::slice::from_ref(&batch)).unwrap();
            appender.committed(batch);
        }
        Snapshots::open(&dir).unwrap().write(PartitionId(3), Sequence(7), b"state").unwrap();
        log.close().unwrap();
    }
    let database = fs::read_dir(data.join("log")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(database.join("db")).unwrap();
    let at = bytes.windows(9).position(|window| window == b"fact 5 of").unwrap();
    bytes[at] ^= 0x10;
    // And sled itself would not open it any more.
    bytes[..16].fill(0);
    fs::write(database.join("db"), bytes).unwrap();
    let (data, new) = (data.to_str().unwrap(), new.to_str().unwrap());
    let (code, stdout, _) = journal(&["verify", data, "--json"]);
    let found: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &found["holes"]), (65, &serde_json::json!([[5, 5]])), "{stdout}");
    // The snapshot of partition 3 has what was lost of it.
    assert_eq!(found["lost"], serde_json::json!([{"partition": 1, "first": 6, "last": 6}]));
    assert_eq!(found["left"][0], serde_json::json!({"partition": 1, "good_to": 5, "after": 3}));
    let (code, stdout, _) = journal(&["rescue", data, new]);
    assert_eq!(code, 65, "something is lost: {stdout}");
    assert!(
        stdout.contains("partition     1  whole up to            5") && stdout.contains("records 6 to 6"),
        "{stdout}"
    );
    assert_eq!(journal(&["verify", new]).0, 0);
    assert_eq!(journal(&["verify", data]).0, 65, "the damaged one is as it was");
    assert_eq!(journal(&["rescue", data, new]).0, 78, "never over data that is there");
}

#[test]
fn a_directory_in_use_or_not_there_is_told_apart_from_damage() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    assert_eq!(journal(&["verify", data.to_str().unwrap()]).0, 3);
    let _held = DataDir::create(&data, Layout::new(4)).unwrap();
    let (code, _, stderr) = journal(&["verify", data.to_str().unwrap()]);
    assert_eq!(code, 75);
    assert!(stderr.contains(&format!("in use by process {}", std::process::id())), "{stderr}");
}

#[test]
fn a_backup_is_taken_checked_and_restored() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    make(&place.path().join("data"));
    let backup = |arguments: &[&str]| {
        let output = Command::cargo_bin("wattstile").unwrap().arg("backup").args(arguments).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, taken) = backup(&["create", &at("data"), &at("backup"), "--json"]);
    let taken: Value = serde_json::from_str(&taken).unwrap();
    assert_eq!((code, &taken["records"]), (0, &3.into()));
    // A check reads every record as the gate would: those of this test mean nothing to it, an empty log is whole.
    assert_eq!(backup(&["verify", &at("backup"), "--temporary", place.path().to_str().unwrap()]).0, 65);
    let dir = DataDir::create(&place.path().join("empty"), Layout::new(4)).unwrap();
    let store = SledStore::open(&dir).unwrap();
    let (log, _) = Log::open(Box::new(store), &Sequences::new(4), &mut |_| Ok(())).unwrap();
    log.close().unwrap();
    drop(dir);
    assert_eq!(backup(&["create", &at("empty"), &at("nothing")]).0, 0);
    let (code, checked) = backup(&["verify", &at("nothing"), "--temporary", place.path().to_str().unwrap()]);
    assert_eq!(code, 0, "{checked}");
    assert!(checked.starts_with("whole: 0 records, 0 live and 0 archived sessions\nbalanced"), "{checked}");
    assert_eq!(backup(&["restore", &at("backup"), &at("again")]).0, 0);
    assert_eq!(journal(&["verify", &at("again")]).0, 0);
    assert_eq!(backup(&["restore", &at("backup"), &at("again")]).0, 78, "never over data that is there");
    fs::write(place.path().join("backup/log.blocks"), "gone").unwrap();
    assert_eq!(backup(&["verify", &at("backup"), "--temporary", place.path().to_str().unwrap()]).0, 65);
}
