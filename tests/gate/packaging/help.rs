//! Completions, manual pages and the question for probes.

use super::{WATTSTILE, done, tool};
use crate::common::Served;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// The completions that bash offers after these arguments.
fn completed(bash: &std::path::Path, script: &std::path::Path, words: &[&str]) -> Vec<String> {
    let last = words.len() - 1;
    let ask = "source \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
               _wattstile wattstile \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD - 1]}\"; \
               printf '%s\\n' \"${COMPREPLY[@]}\"";
    assert!(last > 0);
    let shown = done(Command::new(bash).args(["--norc", "-c", ask, "bash"]).arg(script).args(words));
    shown.lines().map(str::to_owned).collect()
}

#[test]
fn completions_complete_verbs_and_flags() {
    let folder = tempfile::tempdir().unwrap();
    for (shell, check) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let script = folder.path().join(shell);
        fs::write(&script, done(Command::new(WATTSTILE).args(["completions", shell]))).unwrap();
        let text = fs::read_to_string(&script).unwrap();
        assert!(text.contains("serve") && text.contains("trial-balance"), "{shell}");
        // Only bash is on every machine.
        if let Some(program) = (shell == "bash" || super::is_there(shell)).then(|| tool(shell)).flatten() {
            done(Command::new(program).arg(check).arg(&script));
        }
    }
    let Some(bash) = tool("bash") else { return };
    let script = folder.path().join("bash");
    assert_eq!(completed(&bash, &script, &["wattstile", "ser"]), ["serve"]);
    assert_eq!(completed(&bash, &script, &["wattstile", "backup", "rest"]), ["restore"]);
    let flags = completed(&bash, &script, &["wattstile", "serve", "--"]);
    assert!(["--config", "--set", "--json"].iter().all(|flag| flags.iter().any(|word| word == flag)), "{flags:?}");
    let refused = Command::new(WATTSTILE).args(["completions", "cmd.exe"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn every_verb_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    done(Command::new(WATTSTILE).arg("man").arg(&pages));
    assert_eq!(fs::metadata(pages.join("wattstile.1")).unwrap().permissions().mode() & 0o777, 0o644, "for all users");
    let main = fs::read_to_string(pages.join("wattstile.1")).unwrap();
    assert_eq!(done(Command::new(WATTSTILE).arg("man")), main, "without a directory it is printed");
    let help = done(Command::new(WATTSTILE).arg("--help"));
    let verbs = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // What stands further in is the rest of a text that was wrapped.
    let verbs = verbs.filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '));
    let verbs: Vec<&str> = verbs.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(verbs.len() > 20, "{help}");
    for verb in verbs.into_iter().filter(|verb| *verb != "help") {
        assert!(pages.join(format!("wattstile-{verb}.1")).is_file(), "{verb}");
    }
    let serve = fs::read_to_string(pages.join("wattstile-serve.1")).unwrap();
    assert!(serve.contains("\\-\\-config") && serve.contains("SIGHUP"), "{serve}");
    let Some(man) = tool("man") else { return };
    for page in ["wattstile.1", "wattstile-serve.1", "wattstile-cert-issue.1"] {
        let set = Command::new(&man)
            .args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"])
            .arg(pages.join(page))
            .env("MANROFFSEQ", "")
            .env("LC_ALL", "C.UTF-8")
            .output()
            .unwrap();
        assert!(set.status.success() && set.stderr.is_empty(), "{page}: {}", String::from_utf8_lossy(&set.stderr));
    }
}

#[test]
fn health_tells_ready_from_not_running() {
    let mut gate = Served::start(&[]);
    let data = gate.data_dir().to_owned();
    let (status, _) = gate.asks("/readyz");
    assert_eq!(status, 200);
    let health = |more: &[&str]| {
        let ran = Command::new(WATTSTILE).arg("health").args(more).output().unwrap();
        (ran.status.code().unwrap(), String::from_utf8(ran.stdout).unwrap() + &String::from_utf8_lossy(&ran.stderr))
    };
    let data = data.to_str().unwrap();
    let (code, shown) = health(&["--data", data]);
    assert!(code == 0 && shown.contains("ready"), "{code}: {shown}");
    assert_eq!(health(&["--data", data, "--live"]).0, 0);
    let (code, shown) = health(&["--data", data, "--json"]);
    let document: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((code, &document["ready"]), (0, &true.into()), "{shown}");
    let console = document["console"].as_str().unwrap().to_owned();
    assert_eq!(health(&["--console", &console]).0, 0);
    assert_eq!(gate.terminate(), Some(0));
    assert_eq!(health(&["--data", data]).0, 5, "no gate runs");
    assert_eq!(health(&["--console", &console]).0, 5);
}

/// Before the gate has started, the process is live and not ready.
#[test]
fn health_of_a_gate_that_starts_is_a_failure_that_says_how_far_it_is() {
    let starting = Box::new(|| "7 of 9 snapshots taken in".to_owned());
    let console =
        wattstile::web::Console::listen(wattstile::web::Listening::on(([127, 0, 0, 1], 0).into(), None), starting)
            .unwrap();
    let address = console.address.to_string();
    let ran = Command::new(WATTSTILE).args(["health", "--console", &address]).output().unwrap();
    let shown = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.code() == Some(1) && shown.contains("7 of 9 snapshots taken in"), "{shown}");
    let live = Command::new(WATTSTILE).args(["health", "--live", "--console", &address]).status().unwrap();
    assert_eq!(live.code(), Some(0));
}
