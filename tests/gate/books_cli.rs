//! `wattstile invoice verify-series` and `wattstile recon report` as a person runs them.

use assert_cmd::Command;
use std::path::Path;
use wattstile::billing::invoice::{self, Digest, Document, Series, SeriesId, SeriesKind};
use wattstile::units::{Amount, Currency, Mono, Now, OpId, PartitionId, PaymentId, Timestamp};

fn wattstile(arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::cargo_bin("wattstile").unwrap();
    let output = command.args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn file(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn op(number: u64) -> OpId {
    PaymentId::new(Timestamp::from_unix_ms(1_763_812_800_000), PartitionId(1), number).operation(3)
}

/// A series of so many invoices, one per line.
fn series(count: u64) -> String {
    let mut series = Series::default();
    let mut lines = String::new();
    let now = Now { wall: Timestamp::from_unix_ms(1_763_812_800_000), mono: Mono(0) };
    let (id, currency) = (SeriesId::new("R-2026").unwrap(), Currency::EUR);
    let open = invoice::Command::Open { series: id, kind: SeriesKind::Invoice, currency };
    let documents = (1..=count).map(|number| {
        let document = Document {
            id: op(number),
            final_at: now.wall,
            total: Amount::new(960, Currency::EUR),
            taxes: Vec::new(),
            content: Digest([1; 32]),
            corrects: None,
        };
        let numbers = invoice::RequestNumbers { partition: PartitionId(1), request: number - 1, oldest: number - 1 };
        invoice::Command::Finalize { document: Box::new(document), numbers }
    });
    for command in std::iter::once(open).chain(documents) {
        for event in invoice::decide(&series, command, now).events {
            invoice::apply(&mut series, &event);
            if let invoice::Event::Finalized { issued, .. } = &event {
                lines.push_str(&serde_json::to_string(issued).unwrap());
                lines.push('\n');
            }
        }
    }
    lines
}

#[test]
fn a_whole_series_ends_with_zero_and_a_broken_one_with_one() {
    let directory = tempfile::tempdir().unwrap();
    let text = series(4);
    let whole = file(directory.path(), "whole.jsonl", &text);
    let (code, stdout, stderr) = wattstile(&["invoice", "verify-series", &whole, "--json"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    let document: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&document["documents"], &document["totals"]["EUR"]), (&4.into(), &"38.40".into()));
    let head = document["head"].as_str().unwrap();

    let gap: String =
        text.lines().enumerate().filter(|(index, _)| *index != 1).map(|(_, line)| format!("{line}\n")).collect();
    let (code, _, stderr) = wattstile(&["invoice", "verify-series", &file(directory.path(), "gap.jsonl", &gap)]);
    assert_eq!(code, 1);
    assert!(stderr.contains("number 2 was expected and R-2026-000003 was found"), "{stderr}");

    let changed = file(directory.path(), "changed.jsonl", &text.replacen("960", "950", 1));
    let (code, _, stderr) = wattstile(&["invoice", "verify-series", &changed]);
    assert_eq!(code, 1);
    assert!(stderr.contains("R-2026-000001 was changed"), "{stderr}");

    let cut =
        file(directory.path(), "cut.jsonl", &text.lines().take(3).map(|line| format!("{line}\n")).collect::<String>());
    assert_eq!(wattstile(&["invoice", "verify-series", &cut]).0, 0, "nothing in it tells that the end is missing");
    let (code, _, stderr) = wattstile(&["invoice", "verify-series", &cut, "--head", head]);
    assert_eq!(code, 1);
    assert!(stderr.contains("missing at the end"), "{stderr}");
}

#[test]
fn a_settlement_file_is_laid_beside_our_captures() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = (op(1), op(2));
    let at = "2026-11-18T10:00:00Z";
    let ours = file(
        directory.path(),
        "ours.csv",
        &format!(
            "operation,kind,reference,amount,currency,at\n\
             {first},capture,8841,9.60,EUR,{at}\n{second},capture,8842,5.00,EUR,{at}\n"
        ),
    );
    let map = file(
        directory.path(),
        "map.toml",
        "operation = \"op\"\nreference = \"ref\"\ngross = \"gross\"\nfee = \"fee\"\n",
    );
    let clean = format!("op,ref,gross,fee\n{first},,9.60,0.10\n,8842,5.00,0.10\n");
    let clean = file(directory.path(), "clean.csv", &clean);
    let report = |settlement: &str| {
        let fixed = ["--processor", "acme-cards", "--at", "2026-11-21T23:00:00Z", "--map", &map, "--ours", &ours];
        wattstile(&[&["recon", "report", settlement], &fixed[..]].concat())
    };
    let (code, stdout, stderr) = report(&clean);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.contains("clean  net EUR 14.40"), "{stdout}");

    let wrong = format!("op,ref,gross,fee\n{first},,9.50,0.10\n,9999,1.00,0\n");
    let (code, stdout, _) = report(&file(directory.path(), "wrong.csv", &wrong));
    assert_eq!(code, 1);
    for line in ["by -0.10", "missing", "extra    line 3  9999  EUR 1.00: unknown"] {
        assert!(stdout.contains(line), "{line} is missing in {stdout}");
    }
    let (code, _, stderr) = report(&file(directory.path(), "bad.csv", "op,ref,gross,fee\n,,much,0\n"));
    assert_eq!(code, 65);
    assert!(stderr.contains("line 2, column `gross`: `much` is not an amount"), "{stderr}");
}
