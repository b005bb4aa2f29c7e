//! Mistakes that users make: each has one exit code, and a text that names the fault and what to do.

use crate::common::skipped_without;
use serde_json::Value;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn wattstile(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wattstile")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn printed(output: &Output) -> (i32, String) {
    (output.status.code().unwrap(), String::from_utf8(output.stderr.clone()).unwrap())
}

/// Every command that reads what a gate keeps, with this directory.
fn readers(data: &str) -> Vec<Vec<&str>> {
    let asking = [
        vec!["account", "ls"],
        vec!["account", "show", "driver-1"],
        vec!["charger", "ls"],
        vec!["hold", "ls"],
        vec!["invoice", "ls"],
        vec!["invoice", "verify-series"],
        vec!["ledger", "check"],
        vec!["ledger", "export"],
        vec!["operation", "show", "op_1"],
        vec!["processor", "ls"],
        vec!["receipt", "show", "--last"],
        vec!["recon", "report"],
        vec!["refund", "0198c", "--all"],
        vec!["session", "ls"],
        vec!["session", "explain", "--last"],
    ];
    let mut all: Vec<Vec<&str>> = asking.into_iter().map(|verb| [verb, vec!["--data", data]].concat()).collect();
    all.extend([
        vec!["journal", "verify", data],
        vec!["journal", "dump", data],
        vec!["journal", "rescue", data, "new"],
        vec!["backup", "create", data, "new"],
    ]);
    all
}

#[test]
fn directory_without_data_has_one_text_and_one_exit_code() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("file");
    std::fs::write(&file, "no directory").unwrap();
    std::fs::write(place.path().join("other"), "").unwrap();
    for directory in [place.path().to_owned(), place.path().join("missing"), file] {
        let data = directory.to_str().unwrap();
        for verb in readers(data) {
            let (code, error) = printed(&wattstile(&verb));
            let expected = format!("error: {data}: there is no data directory of wattstile here\n");
            assert!(error.starts_with(&expected), "{verb:?}: {error}");
            assert!(error.contains("./.wattstile/gate"), "{verb:?}: {error}");
            assert_eq!(code, 3, "{verb:?}: {error}");
        }
    }
    assert!(!place.path().join("new").exists());
}

#[test]
fn errors_are_json_where_json_is_wanted() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().to_str().unwrap();
    let wrong = place.path().join("wrong.toml");
    std::fs::write(&wrong, "[gate]\ndata_dirr = 1\n").unwrap();
    let wrong = wrong.to_str().unwrap();
    let mut cases: Vec<(Vec<&str>, i32)> = readers(data).into_iter().map(|verb| (verb, 3)).collect();
    cases.extend([
        (vec!["session", "ls", "--nope"], 2),
        (vec!["session", "ls", "--state", "nope"], 2),
        (vec!["session", "show"], 2),
        (vec!["nope"], 2),
        (vec!["account"], 2),
        (vec![], 2),
        (vec!["receipt", "verify", "missing.json"], 3),
        (vec!["config", "check", "--config", wrong], 78),
        (vec!["serve", "--config", wrong], 78),
        (vec!["doctor", "--config", wrong], 78),
        (vec!["tariff", "explain", "missing.json"], 3),
        (vec!["cert", "inspect", "missing.pem"], 3),
        (vec!["replay", "missing.csv"], 2),
    ]);
    for (verb, expected) in cases {
        for at_the_end in [true, false] {
            let arguments = if at_the_end {
                [verb.clone(), vec!["--json"]].concat()
            } else {
                [vec!["--json"], verb.clone()].concat()
            };
            let (code, error) = printed(&wattstile(&arguments));
            let document: Value = serde_json::from_str(&error).unwrap_or_else(|no| panic!("{verb:?}: {no}: {error}"));
            assert_eq!((code, document["error"]["code"].as_i64()), (expected, Some(expected.into())), "{error}");
            assert!(document["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{error}");
            assert!(document["error"].as_object().unwrap().contains_key("help"), "{error}");
            assert!(!error.contains('\u{1b}') && !error.contains("\\u001b"), "{error}");
        }
    }
}

#[test]
fn unknown_value_of_a_closed_list_names_the_known_ones() {
    for (verb, known) in [
        (vec!["session", "ls", "--state", "nope"], "authorizing, charging, settling, closed, refused"),
        (vec!["ledger", "export", "--format", "nope"], "hledger, beancount, csv"),
        (vec!["receipt", "show", "--last", "--format", "pdf"], "txt, html, json"),
        (vec!["journal", "dump", "--kind", "nope"], "session"),
        (vec!["metrics", "--color", "nope"], "auto, always, never"),
    ] {
        let (code, error) = printed(&wattstile(&verb));
        assert_eq!(code, 2, "{error}");
        assert!(error.contains(known), "{verb:?}: {error}");
    }
}

/// A gate on its own data for a few commands, with some sessions behind it.
struct Running {
    folder: tempfile::TempDir,
    demo: std::process::Child,
}

impl Running {
    fn start() -> Running {
        let folder = tempfile::tempdir().unwrap();
        let demo = Command::new(env!("CARGO_BIN_EXE_wattstile"))
            .args(["demo", "--quiet", "--for", "10min"])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Running { folder, demo }
    }

    fn verb(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_wattstile"))
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// Runs a verb on a pseudo-terminal and types an answer: exit code and what the screen shows.
    fn on_a_terminal(&self, verb: &str, answer: &str) -> (i32, String) {
        let line = format!("{} {verb}", env!("CARGO_BIN_EXE_wattstile"));
        let mut script = Command::new("script")
            .args(["-q", "-e", "-c", &line, "/dev/null"])
            .current_dir(self.folder.path())
            .env("TERM", "xterm")
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("`script`, which makes a pseudo-terminal, is installed");
        let mut keys = script.stdin.take().unwrap();
        let mut screen = script.stdout.take().unwrap();
        let (mut shown, mut bytes) = (String::new(), [0; 4_096]);
        let mut is_answered = false;
        loop {
            let count = screen.read(&mut bytes).unwrap();
            if count == 0 {
                break;
            }
            shown.push_str(&String::from_utf8_lossy(&bytes[..count]));
            if !is_answered && shown.contains("[y/N] ") {
                keys.write_all(answer.as_bytes()).unwrap();
                is_answered = true;
            }
        }
        (script.wait().unwrap().code().unwrap(), shown)
    }

    /// Waits until so many sessions are closed, and gives their ids.
    fn closed(&self, count: usize) -> Vec<String> {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let (_, found, error) = self.verb(&["session", "ls", "--state", "closed", "--json"]);
            let found: Value = serde_json::from_str(&found).unwrap_or_default();
            let ids: Vec<String> = found["items"].as_array().into_iter().flatten().map(id).collect();
            if ids.len() >= count {
                return ids;
            }
            assert!(Instant::now() < until, "sessions end within a minute: {error}");
            std::thread::sleep(Duration::from_millis(300));
        }
    }
}

fn id(row: &Value) -> String {
    row["id"].as_str().unwrap().to_owned()
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.demo.kill();
        let _ = self.demo.wait();
    }
}

#[test]
fn orders_to_a_running_gate_tell_what_is_wrong_with_them() {
    let gate = Running::start();
    let ids = gate.closed(12);

    // A second process on the data.
    let pid = format!("in use by process {}", gate.demo.id());
    for verb in [
        vec!["demo", "--for", "1s"],
        vec!["journal", "verify"],
        vec!["journal", "dump"],
        vec!["journal", "rescue", ".wattstile", "new"],
    ] {
        let (code, _, error) = gate.verb(&verb);
        assert_eq!(code, 75, "{verb:?}: {error}");
        assert!(error.contains(&pid), "{verb:?}: {error}");
        assert!(error.contains("stop it first") && error.contains("wattstile session ls"), "{verb:?}: {error}");
    }

    // A beginning that many ids have.
    let (code, _, error) = gate.verb(&["session", "show", "0"]);
    assert_eq!(code, 4, "{error}");
    assert!(error.contains("more than 10 sessions' ids begin with `0`"), "{error}");
    assert_eq!(error.lines().filter(|line| line.starts_with("  ses_")).count(), 10, "{error}");
    let (one, _) = ids[0].split_at(ids[0].len() - 3);
    assert_eq!(gate.verb(&["session", "show", one]).0, 0);

    // An account on other terms: which, and both values.
    let (code, _, error) = gate.verb(&["account", "open", "driver-001", "--currency", "USD"]);
    assert_eq!(code, 4, "{error}");
    assert!(error.contains("driver-001 exists and was opened with currency EUR, not USD"), "{error}");
    for more in [&[][..], &["--dry-run"][..]] {
        let verb = [&["account", "open", "driver-001", "--credit-limit", "5"], more].concat();
        let (code, _, error) = gate.verb(&verb);
        assert_eq!(code, 4, "{error}");
        assert!(error.contains("credit limit EUR 0.00, not EUR 5.00"), "{error}");
    }
    assert_eq!(gate.verb(&["account", "open", "driver-001"]).0, 0, "on the same terms it is a repetition");

    // Articles.
    for (verb, right) in [
        (vec!["operation", "show", "x"], "an operation id is 32 hexadecimal digits"),
        (vec!["account", "show", "a b"], "an account id may not contain ' '"),
        (vec!["processor", "show", "a b"], "a processor id may not contain ' '"),
    ] {
        let (code, _, error) = gate.verb(&verb);
        assert_eq!(code, 2, "{error}");
        assert!(error.contains(right), "{error}");
    }
    let (code, _, error) = gate.verb(&["processor", "show", "nope"]);
    assert_eq!((code, error.trim()), (3, "error: processor nope has never connected"));
    let (code, _, error) = gate.verb(&["invoice", "ls", "--series", "NOPE"]);
    assert_eq!(code, 3, "{error}");
    assert!(error.contains("known: R-"), "{error}");
    assert_eq!(gate.verb(&["invoice", "verify-series", "--series", "NOPE"]).0, 3);

    // A full refund requires a flag.
    let (code, _, error) = gate.verb(&["refund", &ids[0]]);
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("--all") && error.contains("--amount"), "{error}");
    assert_eq!(gate.verb(&["refund", &ids[0], "--all", "--amount", "1"]).0, 2);
    refund_asks_a_person(&gate, &ids);
}

/// Whether the answer to a refund as JSON names an amount to give back.
fn would_give_back(answer: &str) -> bool {
    serde_json::from_str::<Value>(answer).is_ok_and(|answer| answer["operations"][0]["amount"].is_string())
}

/// On a terminal a refund of everything is shown first, and given back only after `y`.
fn refund_asks_a_person(gate: &Running, ids: &[String]) {
    // A session that is closed may wait for its capture, and one without energy has nothing to give back.
    let answer = |id: &str| gate.verb(&["refund", id, "--all", "--dry-run", "--json"]);
    let until = Instant::now() + Duration::from_secs(60);
    let paid = loop {
        if let Some(paid) = ids.iter().find(|id| matches!(answer(id), (0, shown, _) if would_give_back(&shown))) {
            break paid;
        }
        assert!(Instant::now() < until, "a session paid something: {:?}", answer(&ids[0]));
        std::thread::sleep(Duration::from_millis(300));
    };
    let left = |id: &str| {
        let (code, answer, error) = answer(id);
        assert_eq!(code, 0, "{error}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let amount = answer["operations"][0]["amount"].as_str().map(str::to_owned);
        (amount, answer["refunded"].clone(), answer["refunding"].clone())
    };
    let before = left(paid);
    let amount = before.0.clone().unwrap();
    for no in ["\n", "n\n", "yes please\n", "\u{4}"] {
        let (code, shown) = gate.on_a_terminal(&format!("refund {paid}"), no);
        assert_eq!(code, 4, "{no:?}: {shown}");
        assert!(shown.contains(&format!("would be asked: refund EUR {amount}")), "{shown}");
        assert!(shown.contains("Give all of it back? [y/N]") && shown.contains("nothing was given back"), "{shown}");
        assert_eq!(left(paid), before, "{no:?}");
    }
    let (code, shown) = gate.on_a_terminal(&format!("refund {paid}"), "y\n");
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains(&format!("is asked: refund EUR {amount}")), "{shown}");
    assert_eq!(left(paid).0, None, "nothing is left to give back");
    // An order that names it is not asked about, and a script is never asked.
    let (code, shown) = gate.on_a_terminal(&format!("refund {} --amount 0.01", ids[1]), "");
    assert!(!shown.contains("[y/N]"), "{code}: {shown}");
}

#[test]
fn read_only_disk_ends_with_the_code_of_configuration() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().to_str().unwrap();
    let in_process = |arguments: &[&str]| {
        let mut command = Command::new("bwrap");
        command.args(["--dev-bind", "/", "/", "--ro-bind", data, data, "--", env!("CARGO_BIN_EXE_wattstile")]);
        command.args(arguments).stdin(Stdio::null()).output()
    };
    match in_process(&["metrics"]) {
        Ok(probe) if probe.status.success() => {}
        other => return skipped_without(format_args!("a bubblewrap that can bind ({other:?})")),
    }
    let at = |name: &str| Path::new(data).join(name).to_str().unwrap().to_owned();
    for verb in [
        vec!["demo", "--dir", &at("demo"), "--for", "1s"],
        vec!["config", "init", &at("wattstile.toml")],
        vec!["keys", "init", "--file", &at("credential.keys")],
        vec!["cert", "init", "--pki", &at("pki")],
    ] {
        let (code, error) = printed(&in_process(&verb).unwrap());
        assert_eq!(code, 78, "{verb:?}: {error}");
        assert!(error.contains("Read-only file system") && error.contains(data), "{verb:?}: {error}");
    }
}

#[test]
fn token_file_that_others_can_read_is_no_private_key() {
    let place = tempfile::tempdir().unwrap();
    let token = place.path().join("console.token");
    std::fs::write(&token, "0123456789abcdef0123456789abcdef").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&token, mode).unwrap();
    let data = format!("gate.data_dir={}", place.path().join("gate").display());
    let set = format!("console.token_file={}", token.display());
    let (code, error) = printed(&wattstile(&["serve", "--set", &data, "--set", &set]));
    assert_eq!(code, 78, "{error}");
    assert!(error.contains("console.token: its secret can be read by others (mode 0644)"), "{error}");
    assert!(!error.contains("private key"), "{error}");
}
