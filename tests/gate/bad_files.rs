//! Files that cannot be read as they are: every command that reads one names file, line, column, value and what to do, and none
//! ends with 0.

use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const TARIFF: &str = r#"{"country_code":"NL","party_id":"TST","id":"R1","currency":"EUR","elements":[{"price_components":[
{"type":"ENERGY","price":0.30,"vat":21,"step_size":1}]}],"last_updated":"2026-01-01T00:00:00Z"}"#;
const SESSIONS: &str = "session_id,charger_id,connector,start,end,inactive_s,energy_wh,billed_eur,place\n\
    1,CH-A,1,2026-03-01T10:00:00+01:00,2026-03-01T11:00:00+01:00,600,7000,2.541,work\n";
const SETTLEMENT: &str = "ref,gross,fee,net\nR1,23.40,0.40,23.00\n";
const OURS: &str = "operation,kind,reference,amount,currency,at\n\
    op_00000000000000000000000000000001,capture,R1,23.40,EUR,2026-09-18T10:00:00Z\n";
const MAP: &str = "reference = \"ref\"\ngross = \"gross\"\nfee = \"fee\"\nnet = \"net\"\n";

struct Folder(TempDir);

impl Folder {
    fn new() -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        for (name, text) in [
            ("tariff.json", TARIFF),
            ("sessions.csv", SESSIONS),
            ("settlement.csv", SETTLEMENT),
            ("ours.csv", OURS),
            ("map.toml", MAP),
            ("gate.toml", "[gate]\nname = \"a\"\n"),
        ] {
            folder.write(name, text.as_bytes());
        }
        folder
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path().join(name), bytes).unwrap();
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Exit code, and both outputs in one.
    fn run(&self, line: &str) -> (i32, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_wattstile"))
            .args(line.split_whitespace())
            .current_dir(self.path())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout) + &text(output.stderr))
    }

    #[track_caller]
    fn shown(&self, line: &str, code: i32, words: &[&str]) {
        let (ended, text) = self.run(line);
        assert_eq!(ended, code, "{line}: {text}");
        for word in words {
            assert!(text.contains(word), "{line}: {word}: {text}");
        }
    }
}

const REPORT: &str =
    "recon report settlement.csv --map map.toml --ours ours.csv --processor acme --at 2026-09-20T00:00:00Z";
const REPLAY: &str = "replay -q --sessions sessions.csv --tariff tariff.json";
const DIFF: &str = "tariff diff tariff.json tariff.json --sessions sessions.csv";
const LINT: &str = "tariff lint tariff.json";
const CHECK: &str = "config check --offline --config gate.toml";

/// The file that each command reads last, with its exit code for a file that cannot be read.
const READERS: [(&str, &str, i32); 7] = [
    (REPORT, "settlement.csv", 65),
    (REPORT, "ours.csv", 65),
    (REPORT, "map.toml", 78),
    (REPLAY, "sessions.csv", 1),
    (REPLAY, "tariff.json", 1),
    (DIFF, "sessions.csv", 1),
    (CHECK, "gate.toml", 78),
];

#[test]
fn bytes_that_are_no_text_are_told_with_file_and_place() {
    for (line, name, code) in READERS {
        let folder = Folder::new();
        let whole = std::fs::read(folder.path().join(name)).unwrap();
        let with = |at: usize, byte: u8| {
            let mut bytes = whole.clone();
            bytes.insert(at, byte);
            bytes
        };
        folder.write(name, &with(4, 0xe9));
        folder.shown(line, code, &[&format!("{name}: line 1"), "byte 5 (0xe9) is not UTF-8"]);
        if !name.ends_with(".json") {
            folder.write(name, &with(4, 0));
            folder.shown(line, code, &[&format!("{name}: line 1"), "NUL (U+0000)"]);
        }
        // What editors of other systems write is read, or told.
        let mark = [b"\xef\xbb\xbf".to_vec(), whole.clone()].concat();
        folder.write(name, &mark);
        folder.shown(line, 0, &[]);
        let text = String::from_utf8(whole.clone()).unwrap();
        folder.write(name, text.replace('\n', "\r\n").as_bytes());
        folder.shown(line, 0, &[]);
        let wide: Vec<u8> = format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect();
        folder.write(name, &wide);
        if name.ends_with(".json") { folder.shown(line, code, &[name, "UTF-16"]) } else { folder.shown(line, 0, &[]) }
    }
}

#[test]
fn tables_without_rows_or_with_other_columns_are_refused() {
    let tables = READERS.into_iter().filter(|(_, name, _)| name.ends_with(".csv"));
    for (line, name, code) in tables {
        let folder = Folder::new();
        let text = std::fs::read_to_string(folder.path().join(name)).unwrap();
        let (names, rows) = text.split_once('\n').unwrap();
        for (bad, words) in [
            (String::new(), vec!["the file is empty"]),
            (" \n\n".to_owned(), vec!["the file is empty"]),
            (text.replace(',', ";"), vec!["one column only", "separator seems to be `;`"]),
            (rows.to_owned(), vec!["there are no columns", "does not seem to be a line of names"]),
            (format!("{}\n{rows}", names.to_uppercase()), vec!["did you mean"]),
            (text.lines().map(|line| format!("{line},{line}\n")).collect(), vec!["stands twice, as columns"]),
            (format!("{names}\n{},more\n", rows.trim()), vec!["line 2", "stands in double quotes"]),
            (format!("{names}\n\"{rows}{rows}"), vec!["line 2", "never closed"]),
        ] {
            folder.write(name, bad.as_bytes());
            let mut words = words;
            words.push(name);
            folder.shown(line, code, &words);
        }
        if name == "sessions.csv" {
            folder.write(name, format!("{names}\n").as_bytes());
            folder.shown(line, code, &[name, "there is no session below the line of names"]);
        }
    }
}

#[test]
fn every_bad_row_of_a_comparison_is_told() {
    let folder = Folder::new();
    let row = |start: &str, energy: &str, inactive: &str| {
        format!("1,CH-A,1,{start},2026-03-01T11:00:00+01:00,{inactive},{energy},2.541,work\n")
    };
    let good = "2026-03-01T10:00:00+01:00";
    let rows = [
        row(good, "7000", "600"),
        row("2026-03-01 10:00", "7000", "600"),
        row(good, "-7000", "600"),
        row(good, "7,0", "600").replace("7,0", "\"7,0\""),
        row(good, "7000", "-600"),
        row("2026-03-02T10:00:00+01:00", "7000", "0"),
    ];
    let names = SESSIONS.lines().next().unwrap();
    folder.write("sessions.csv", format!("{names}\n{}", rows.concat()).as_bytes());
    folder.shown(
        DIFF,
        1,
        &[
            "sessions.csv: line 3, column `start`: `2026-03-01 10:00` is not an RFC 3339 time",
            "line 4, column `energy_wh`: `-7000` is not an energy in Wh",
            "line 5, column `energy_wh`: `7,0` is not an energy in Wh",
            "line 6, column `inactive_s`: `-600` is not a whole number from 0",
            "line 7, column `end`: `2026-03-01T11:00:00+01:00` lies before the start",
        ],
    );
    folder.shown(
        "replay -q --sessions sessions.csv --tariff tariff.json --timezone Europe/Pariss",
        2,
        &["`Europe/Pariss` is no time zone", "did you mean `Europe/Paris`?"],
    );
}

/// After a public report: a settlement file with debit and credit in two columns, and the maps that people begin with.
#[test]
fn a_map_that_leaves_out_a_column_is_told_what_to_write() {
    let folder = Folder::new();
    folder.write(
        "settlement.csv",
        b"Reference,Type,Debit (GC),Credit (GC),Debit (NC),Credit (NC)\nR1,Settled,,23.40,,23.00\nR1,Refunded,5.00,,5.00,\n\
          ,Fee,,,0.44,\n",
    );
    let begin = "reference = \"Reference\"\nkind = \"Type\"\nkinds = { Settled = \"capture\", Refunded = \"refund\", Fee = \"fee\" }\n";
    let write = |map: &str| folder.write("map.toml", format!("{begin}{map}\n").as_bytes());
    let (gross, net) = ("gross = [\"Credit (GC)\", \"-Debit (GC)\"]", "net = [\"Credit (NC)\", \"-Debit (NC)\"]");
    write("gross = \"Credit (GC)\"\nnet = \"Credit (NC)\"");
    let mend = format!("help: write {gross}, {net} in map.toml");
    folder.shown(REPORT, 65, &["`gross` of the map names `Credit (GC)` and leaves out `Debit (GC)`", &mend]);
    folder.shown(&format!("{REPORT} --skip-invalid"), 65, &[&mend]);
    write(gross);
    folder.shown(
        REPORT,
        65,
        &["line 4: no amount in `Credit (GC)`, `-Debit (GC)`", &format!("write {net} in the map")],
    );
    write(&format!("{gross}\n{net}"));
    folder.write(
        "ours.csv",
        format!("{OURS}op_00000000000000000000000000000002,refund,R1,5,EUR,2026-09-18T10:00:00Z\n").as_bytes(),
    );
    let counted = |pile: &str, count: u8| format!("{pile:<22}{count:>8}");
    folder.shown(REPORT, 0, &[&counted("matched", 2), &counted("only theirs", 0), "net EUR 17.56"]);

    // Debits without a sign, and amounts in minor units: the report says which key reads them.
    folder.write("settlement.csv", b"ref,way,gross\nR1,C,23.40\nR1,D,5.00\n");
    folder.write(
        "map.toml",
        b"reference = \"ref\"\ngross = \"gross\"\nkind = \"way\"\nkinds = { C = \"capture\", D = \"refund\" }\n",
    );
    folder.shown(
        REPORT,
        1,
        &["line 3  R1  EUR 5.00: wrong sign", "map.toml: where debits are written without a sign, `debits`"],
    );
    folder.write(
        "map.toml",
        b"reference = \"ref\"\ngross = \"gross\"\nkind = \"way\"\nkinds = { C = \"capture\", D = \"refund\" }\ndebits = { way = [\"D\"] }\n",
    );
    folder.shown(REPORT, 0, &["clean"]);
    folder.write("settlement.csv", b"ref,gross\nR1,2340\nR1,-500\n");
    folder.write("map.toml", b"reference = \"ref\"\ngross = \"gross\"\n");
    folder.shown(REPORT, 1, &["line 2  op_0", "EUR 23.40 ours, 2340.00 theirs: by 2316.60", "minor_units = true"]);
    folder.write("map.toml", b"reference = \"ref\"\n");
    folder.shown(REPORT, 78, &["map.toml: it names neither `gross` nor `net`: write the column of the amounts"]);
    folder.shown(LINT, 0, &[]);
}
