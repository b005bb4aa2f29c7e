//! Runs the commands of the README.

use serde_json::Value;
use std::process::Command;

const README: &str = include_str!("../../README.md");

#[test]
fn the_demonstration_of_the_readme_runs_and_its_books_balance() {
    let command =
        commands().into_iter().find(|command| command.contains("-- demo")).expect("the README shows the demo");
    let (cargo, arguments) = command.split_once(" -- ").expect("arguments of the binary follow `--`");
    assert_eq!(cargo, "cargo run");
    let folder = tempfile::tempdir().unwrap();
    for start in ["first", "second, on the same data"] {
        let output = Command::new(env!("CARGO_BIN_EXE_wattstile"))
            .args(arguments.split(' '))
            .args(["--for", "15s", "--json"])
            .current_dir(folder.path())
            .output()
            .unwrap();
        let shown = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{start}: {shown}");
        let document: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
        assert!(document["sessions_settled"].as_u64().unwrap() > 0, "{start}: {document}");
        assert_eq!(document["sessions_open"], 0, "{start}: {document}");
        assert_eq!(document["books_imbalance_minor"], 0, "{start}: {document}");
        assert!(document["ticks_durable"].as_u64() >= document["ticks_acked"].as_u64(), "{start}: {document}");
        for name in ["captured_minor", "held_minor", "released_minor", "first_receipt_ms", "journal_sync_p99_us"] {
            assert!(document[name].is_number(), "{start}: {name} in {document}");
        }
        assert!(folder.path().join(".wattstile").is_dir(), "everything is below one folder");
    }
}

#[test]
fn the_tests_of_the_readme_are_what_ci_runs() {
    assert!(commands().iter().any(|command| command == "cargo test"), "{:?}", commands());
    let ci = include_str!("../../.ci/run");
    assert!(ci.contains("cargo test"), "CI runs the README's command");
}

#[test]
fn the_reading_order_names_files_that_exist() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    for quoted in README.split('`').skip(1).step_by(2).filter(|quoted| quoted.starts_with("src/")) {
        assert!(root.join(quoted).exists(), "{quoted}");
        seen += 1;
    }
    assert!(seen >= 10, "the way of a tick is in the README");
}

/// Lines that are typed.
fn commands() -> Vec<String> {
    README.lines().filter_map(|line| line.strip_prefix("$ ")).map(str::to_owned).collect()
}
