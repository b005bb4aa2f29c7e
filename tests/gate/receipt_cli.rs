//! `wattstile receipt verify` as a person runs it.

use assert_cmd::Command;
use std::path::Path;

const RECEIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/receipt.json");
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/receipt-key.pem");

fn verify(arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::cargo_bin("wattstile").unwrap();
    let output = command.args(["receipt", "verify"]).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn file(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_good_receipt_is_shown_and_ends_with_zero() {
    let (code, stdout, stderr) = verify(&[RECEIPT, "--key", KEY]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.contains("total EUR   9.60"), "{stdout}");
    let (code, stdout, _) = verify(&[RECEIPT, "--json"]);
    let verdict: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &verdict["valid"], &verdict["total"]), (0, &true.into(), &"9.60".into()));
}

#[test]
fn a_changed_digit_ends_with_one() {
    let directory = tempfile::tempdir().unwrap();
    let receipt = std::fs::read_to_string(RECEIPT).unwrap();
    let forged = file(directory.path(), "forged.json", &receipt.replace("\"9.60\"", "\"8.60\""));
    let (code, stdout, stderr) = verify(&[&forged]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("was changed after it was signed"), "{stderr}");
}

#[test]
fn another_key_ends_with_one_and_no_receipt_with_sixty_five() {
    let directory = tempfile::tempdir().unwrap();
    let other = file(directory.path(), "other.hex", &"11".repeat(32));
    let (code, _, stderr) = verify(&[RECEIPT, "--key", &other]);
    assert_eq!(code, 1, "{stderr}");
    let nonsense = file(directory.path(), "nonsense.json", "{\"receipt\": 1");
    assert_eq!(verify(&[&nonsense]).0, 65);
    let missing = directory.path().join("missing.json");
    assert_eq!(verify(&[missing.to_str().unwrap()]).0, 3);
}
