//! Money at a real gate: credentials and accounts, numbered documents, settlement, and books that another program checks.

use crate::common::{Served, skipped_without};
use serde_json::Value;
use std::collections::VecDeque;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;
use wattstile::message::*;
use wattstile::payment::{Credential, CredentialKind};
use wattstile::sim::pace::Pace;
use wattstile::sim::pipe::{Dialler, Duplex};
use wattstile::sim::processor::{Lines, Service, Settings};
use wattstile::units::{
    ChargerId, ConnectorId, Energy, MeterReading, Mono, Now, PaymentId, Power, ProcessorId, SessionKey, TimeSpan,
};
use wattstile::wire::*;

const TOKEN: &str = "tok_9b1e77aa42c0d3f5";
const CARD_NUMBER: &str = "4111111111111111";
const UID: &str = "04A2B3C4D5E6F7";
/// An RFID card and a contract that no account has, and the name of an account.
const UNLINKED: [(CredentialKind, &str); 3] = [
    (CredentialKind::Rfid, "04D7E6F5A4B3C2"),
    (CredentialKind::EvAccount, "NL-TNM-C00122045-K"),
    (CredentialKind::Rfid, "fleet-7"),
];

/// A charger that the test drives.
struct Charger {
    stream: Box<dyn Duplex>,
    link: ChargerClientLink,
    incoming: VecDeque<ToCharger>,
}

impl Charger {
    async fn dial(dialler: &Dialler, id: &str) -> Charger {
        let stream = dialler.dial().await.unwrap();
        let mut charger = Charger { stream, link: ChargerClientLink::new(Mono(0)), incoming: VecDeque::new() };
        charger
            .says(&FromCharger::Hello(ChargerHello {
                numbering: Default::default(),
                charger: ChargerId::new(id).unwrap(),
                connectors: vec![ConnectorInfo { id: ConnectorId(1), power_max: Power::from_watts(22_000).unwrap() }],
                firmware: "test".into(),
                clock: crate::common::now(),
                sessions: Vec::new(),
            }))
            .await;
        assert!(matches!(charger.hears().await, ToCharger::HelloAck(_)));
        charger
    }

    async fn says(&mut self, message: &FromCharger) {
        let mut out = Vec::new();
        self.link.send(Channel::ZERO, message, Mono(0), &mut out).unwrap();
        self.stream.write_all(&out).await.unwrap();
    }

    async fn hears(&mut self) -> ToCharger {
        let mut buffer = [0; 4_096];
        while self.incoming.is_empty() {
            let reading = tokio::time::timeout(Duration::from_secs(20), self.stream.read(&mut buffer)).await;
            let read = reading.expect("an answer in time").unwrap();
            assert!(read > 0, "the connection is open");
            let mut messages = Vec::new();
            let now = Now { wall: crate::common::now(), mono: Mono(0) };
            self.link.receive(&buffer[..read], now, &mut messages).unwrap();
            self.incoming.extend(messages.into_iter().map(|received| received.message));
        }
        self.incoming.pop_front().unwrap()
    }

    async fn start(&mut self, key: u64, kind: CredentialKind, token: &str) -> ToCharger {
        self.says(&FromCharger::Start(StartSession {
            session: SessionKey(key),
            connector: ConnectorId(1),
            credential: Credential { kind, token: token.as_bytes().into() },
            at: crate::common::now().saturating_add(TimeSpan::from_secs(-600)),
            register: Energy::from_watt_hours(1_000).unwrap(),
        }))
        .await;
        self.hears().await
    }

    /// A session of ten minutes that is over already; its id.
    async fn session(&mut self, key: u64, kind: CredentialKind, token: &str, wh: i64) -> String {
        let started = self.start(key, kind, token).await;
        let ToCharger::StartAccepted { id, .. } = started else { panic!("{started:?}") };
        let register = Energy::from_watt_hours(1_000 + wh).unwrap();
        let last = MeterReading { sequence: 1, at: crate::common::now(), register, power: None, current: None };
        self.says(&FromCharger::Stop { session: SessionKey(key), last, reason: StopReason::Local }).await;
        while !matches!(self.hears().await, ToCharger::Receipt(_)) {}
        id.to_string()
    }
}

struct Bench {
    gate: Served,
    runtime: Runtime,
}

impl Bench {
    fn verb(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wattstile"));
        let ran = command.args(arguments).arg("--data").arg(self.gate.data_dir()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (ran.status.code().unwrap(), text(ran.stdout), text(ran.stderr))
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let (code, out, error) = self.verb(&[arguments, &["--json"]].concat());
        assert_eq!(code, 0, "{arguments:?}: {error}\n{out}");
        serde_json::from_str(&out).unwrap()
    }

    /// The document of a verb that finds something wrong.
    fn json_of_failing(&self, arguments: &[&str]) -> Value {
        let (code, out, error) = self.verb(&[arguments, &["--json"]].concat());
        assert_eq!(code, 1, "{arguments:?}: {error}\n{out}");
        serde_json::from_str(&out).unwrap()
    }

    /// Repeats the check until it holds.
    fn until(&self, what: &str, mut so: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !so() {
            assert!(Instant::now() < deadline, "not in time: {what}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// Every file below a folder.
fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// No other user of the machine can read it.
fn assert_private(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mut all = Vec::new();
    files(folder, &mut all);
    assert!(all.len() > 5, "{all:?}");
    let folders = all.iter().filter_map(|path| path.parent()).map(Path::to_path_buf).collect::<Vec<_>>();
    for path in all.iter().chain(&folders) {
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
    }
}

fn assert_nowhere(folder: &Path, secret: &str) {
    let mut all = Vec::new();
    files(folder, &mut all);
    let is_log = |path: &std::path::PathBuf| path.ends_with("db") && path.iter().any(|part| part == "log");
    assert!(all.iter().any(is_log), "the log is among them: {all:?}");
    for path in all {
        let bytes = std::fs::read(&path).unwrap();
        let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{secret} stands in {}", path.display());
    }
}

fn hledger_balances(journal: &str) -> Option<String> {
    let mut child = Command::new("hledger")
        .args(["-f-", "balance", "--flat", "-N"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(child) = child.as_mut() else {
        skipped_without("hledger");
        return None;
    };
    child.stdin.take().unwrap().write_all(journal.as_bytes()).unwrap();
    let mut out = String::new();
    std::io::Read::read_to_string(child.stdout.as_mut().unwrap(), &mut out).unwrap();
    assert!(child.wait().unwrap().success(), "hledger finds fault with it:\n{journal}");
    Some(out)
}

/// A card's payment that fails or is charged back leaves the account again, in the books and at the processor.
#[test]
fn a_top_up_that_fails_or_is_charged_back_leaves_the_account() {
    let mut gate = Served::start(&["log.level=info", "log.format=json"]);
    let id = ProcessorId::new("acme-cards").unwrap();
    let lines = Lines { dialler: gate.dialler(&Subject::Processor(id.clone())), connections: 1, mac: None };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut bench = Bench { gate, runtime };
    let service = {
        let _in_runtime = bench.runtime.enter();
        Service::start(Settings::new(id, 1), &lines, &Pace::new(1))
    };
    bench.until("the processor dials in", || service.report(false).connections_open == 1);
    bench.json(&["account", "open", "driver-1"]);
    let top_up = |amount: &str, token: &str, more: &[&str]| {
        bench.json(&[&["account", "top-up", "driver-1", amount, "--card", token], more].concat())
    };
    // A key of the caller's own: the same order again is the same payment, and another amount is refused.
    let key = ["--operation", "000000000000000000000000000000aa"];
    let first = top_up("7", "tok_dispute_lost", &key);
    let again = top_up("7", "tok_dispute_lost", &key);
    assert_eq!((&first["paid"], &first["top_up"]), (&"7.00".into(), &again["top_up"]), "{first} {again}");
    let other = ["account", "top-up", "driver-1", "8", "--card", "tok_dispute_lost"];
    let (code, _, error) = bench.verb(&[&other[..], &key].concat());
    assert!(code == 4 && error.contains("different amount"), "{code}: {error}");
    top_up("10", "tok_capture_fails_later", &[]);
    let sheet = || bench.json(&["account", "show", "driver-1"]);
    bench.until("both payments are lost", || sheet()["paid"] == "0.00");
    let rows = bench.json(&["account", "statement", "driver-1"])["movements"].as_array().unwrap().clone();
    let mut kinds: Vec<&str> = rows.iter().map(|row| row["kind"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["top-up", "top-up", "top-up charged back", "top-up failed"]);

    // The capture and its chargeback are settled: the processor owes nothing, and no peer bears a loss.
    let moved = |name: &str, text: &str| {
        let path = bench.gate.data_dir().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let map = "operation = \"op\"\nreference = \"ref\"\nkind = \"kind\"\ngross = \"gross\"\nfee = \"fee\"\n\
        kinds = { capture = \"capture\", chargeback = \"chargeback\" }\n";
    let map = moved("lost.toml", map);
    let capture = first["top_up"].as_str().unwrap().parse::<PaymentId>().unwrap().operation(2);
    let (code, held, _) = bench.verb(&["hold", "show", first["hold"].as_str().unwrap()]);
    assert!(code == 0 && held.contains("the dispute over 7.00 is lost"), "{held}");
    let list = format!("op,ref,kind,gross,fee\n{capture},,capture,7.00,0\n{capture},,chargeback,-7.00,0\n");
    let list = moved("lost.csv", &list);
    let import = |processor: &str, at: &str, more: &[&str]| {
        let fixed = ["recon", "import", &list, "--map", &map, "--processor", processor, "--at", at, "--json"];
        bench.verb(&[&fixed[..], more].concat())
    };
    let (code, _, error) = import("acme-cadrs", "2026-11-21T23:00:00Z", &["--dry-run"]);
    assert!(code == 2 && error.contains("never connected") && error.contains("acme-cards"), "{code}: {error}");
    let (code, _, error) = import("acme-cards", "2999-11-21T23:00:00Z", &["--dry-run"]);
    assert!(code == 2 && error.contains("in the future"), "{code}: {error}");
    let (code, out, error) = import("acme-cards", "2026-11-21T23:00:00Z", &[]);
    assert!(code == 0 && out.contains("\"matched\": 2"), "{code}: {out}{error}");
    let trial = bench.json(&["ledger", "trial-balance"]);
    assert_eq!(trial["imbalance_minor"], 0);
    for row in trial["rows"].as_array().unwrap() {
        let (account, balance) = (row["account"].as_str().unwrap(), row["balance"].as_str().unwrap());
        assert_eq!(balance.trim_start_matches('-'), "0.00", "{account}: {trial}");
    }
    let (code, _, error) = bench.verb(&["account", "top-up", "driver-1", "3", "--processor", "nobody"]);
    assert!(code == 2 && error.contains("never connected") && error.contains("acme-cards"), "{code}: {error}");

    assert_eq!(bench.json(&["account", "close", "driver-1", "--dry-run"])["paid_out"], "0.00");
    let log = bench.gate.log();
    for text in ["a dispute is opened", "a dispute is lost", "the capture failed after all", "an account is debited"] {
        let line = log.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("no line: {text}"));
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(line.to_string().contains("amount_minor") && line.to_string().contains("top_up"), "{line}");
    }
    assert_eq!(bench.gate.terminate(), Some(0));
    drop(service);
}

#[test]
fn money_at_a_real_gate_is_numbered_settled_and_balanced_and_tokens_are_nowhere() {
    let mut gate = Served::start(&["log.level=info", "operator.name=Stadtwerke Musterstadt"]);
    let id = ProcessorId::new("acme-cards").unwrap();
    let lines = Lines { dialler: gate.dialler(&Subject::Processor(id.clone())), connections: 1, mac: None };
    let charger = gate.dialler(&Subject::Charger(ChargerId::new("AMS-0007").unwrap()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut bench = Bench { gate, runtime };
    let service = {
        let _in_runtime = bench.runtime.enter();
        Service::start(Settings::new(id, 1), &lines, &Pace::new(1))
    };
    bench.until("the processor dials in", || service.report(false).connections_open == 1);

    // Two drivers with cards, one of whom is refused for showing its number.
    let mut at_charger = bench.runtime.block_on(Charger::dial(&charger, "AMS-0007"));
    let first = bench.runtime.block_on(at_charger.session(1, CredentialKind::CardToken, TOKEN, 1_500));
    bench.runtime.block_on(at_charger.session(2, CredentialKind::WalletToken, TOKEN, 700));
    let refused = bench.runtime.block_on(at_charger.start(3, CredentialKind::CardToken, CARD_NUMBER));
    assert!(matches!(refused, ToCharger::StartRejected { code: Code::CardNumber, .. }), "{refused:?}");

    // A fleet's account: an RFID card is linked to it, and pays from it.
    bench.json(&["account", "open", "fleet-7"]);
    // An amount is read as people write it, and what could be two amounts is refused with both.
    let dry = bench.json(&["account", "topup", "fleet-7", "50,00 EUR", "--dry-run"]);
    assert_eq!((&dry["dry_run"], &dry["paid_after"]), (&true.into(), &"50.00".into()));
    let (code, _, error) = bench.verb(&["account", "topup", "fleet-7", "1,500", "--dry-run"]);
    assert!(code == 2 && error.contains("could be 1.50 EUR or 1500.00 EUR"), "{code}: {error}");
    bench.json(&["account", "topup", "fleet-7", "€50"]);
    bench.json(&["account", "promote", "fleet-7", "EUR 1,00"]);
    let linked = bench.json(&["account", "link", "fleet-7", "--rfid", "04:a2:b3:c4:d5:e6:f7"]);
    let shown = linked["credential"].as_str().unwrap().to_owned();
    assert!(shown.starts_with("fp_"), "{linked}");
    let (code, _, error) = bench.verb(&["account", "link", "fleet-7", "--card", CARD_NUMBER]);
    assert_eq!(code, 2, "{error}");
    bench.json(&["account", "open", "fleet-8"]);
    let (code, _, error) = bench.verb(&["account", "link", "fleet-8", "--rfid", UID]);
    assert!(code != 0 && error.contains("is linked to fleet-7"), "{error}");
    bench.runtime.block_on(at_charger.session(4, CredentialKind::Rfid, UID, 1_000));
    // What is linked to nothing pays from nothing, the account's own name included.
    for (key, (kind, token)) in (41..).zip(UNLINKED) {
        let refused = bench.runtime.block_on(at_charger.start(key, kind, token));
        let ToCharger::StartRejected { code, text, .. } = refused else { panic!("{refused:?}") };
        assert_eq!((code, text.contains(token)), (Code::CredentialNotAccepted, false), "{text}");
    }
    let sheet = bench.json(&["account", "show", "fleet-7"]);
    // 0.50 + 1 kWh at 0.42, and 21 %: 1.1132, of which promotional money paid 1.00.
    assert_eq!((&sheet["paid"], &sheet["promotional"]), (&"49.89".into(), &"0.00".into()), "{sheet}");
    assert_eq!(sheet["credentials"][0], shown.as_str());

    // A card pays onto it: the processor gets the request, and the account is credited with the captured amount.
    let paid = bench.json(&["account", "topup", "fleet-7", "10.00", "--card", TOKEN]);
    assert_eq!(paid["paid"], "59.89", "{paid}");
    let (code, _, error) = bench.verb(&["account", "topup", "fleet-7", "10.00", "--card", "tok_decline_hard"]);
    assert!(code != 0, "{error}");

    // Keys are rotated while the gate runs.
    let keys = bench.json(&["keys", "rotate"]);
    assert_eq!((&keys["seals"], &keys["loaded"]), (&2.into(), &true.into()));
    bench.runtime.block_on(at_charger.session(5, CredentialKind::CardToken, TOKEN, 300));

    // The processor settles; what it paid out meets what was captured.
    assert_eq!(service.settle(), 4);
    bench.until("the batch is booked", || {
        bench.verb(&["recon", "report", "--json"]).1.contains("\"state\": \"booked\"")
    });
    let report = bench.json(&["recon", "report"]);
    assert_eq!(report["states"]["matched"], 4, "{report}");
    let operation = bench.json(&["session", "show", &first])["operations"][1]["id"].as_str().unwrap().to_owned();
    imported_lists_are_told_and_taken_back(&bench, &operation);

    // Every priced session has a number, and the books stand in another program with the same balances.
    let invoices = bench.json(&["invoice", "ls"]);
    assert_eq!(invoices["items"].as_array().unwrap().len(), 4, "{invoices}");
    let whole = bench.verb(&["invoice", "verify-series"]);
    assert_eq!(whole.0, 0, "{whole:?}");
    let receipt = bench.json(&["receipt", "show", &first]);
    assert_eq!(receipt["receipt"]["issuer"]["name"], "Stadtwerke Musterstadt", "{receipt}");
    // A receipt is found by its number, too; a number that is none, and one of a credit note, are named.
    let number = receipt["receipt"]["number"].as_str().unwrap();
    assert!(number.starts_with("R-"), "{number}");
    assert_eq!(bench.json(&["receipt", "show", number]), receipt);
    let (code, _, error) = bench.verb(&["receipt", "show", "R-NONE-999999"]);
    assert!(code == 3 && error.contains("there is no receipt R-NONE-999999"), "{code} {error}");
    let (_, journal, _) = bench.verb(&["ledger", "export", "--format", "hledger"]);
    let trial = bench.json(&["ledger", "trial-balance"]);
    assert_eq!(trial["imbalance_minor"], 0);
    let sales = journal.matches(") sale").count();
    assert_eq!(sales, 4, "every entry is written, not only balances:\n{journal}");
    assert!(!journal.contains("brought forward"));
    if let Some(balances) = hledger_balances(&journal) {
        for row in trial["rows"].as_array().unwrap() {
            let balance = row["balance"].as_str().unwrap();
            if balance.chars().any(|digit| ('1'..='9').contains(&digit)) {
                let line = balances.lines().find(|line| line.ends_with(row["account"].as_str().unwrap()));
                let line = line.unwrap_or_else(|| panic!("{row} is not in\n{balances}"));
                assert!(line.contains(balance.trim_start_matches('-')), "{row}: {line}");
            }
        }
    }

    // Killed and started again, it has the same state.
    bench.gate.kill();
    bench.gate.start_again();
    // Verbs find it by its console.
    bench.gate.console();
    assert_eq!(bench.json(&["invoice", "ls"]), invoices);
    assert_eq!(bench.verb(&["invoice", "verify-series"]).0, 0);
    assert_eq!(bench.verb(&["ledger", "export", "--format", "hledger"]).1, journal);
    assert_eq!(bench.json(&["account", "show", "fleet-7"])["credentials"][0], shown.as_str());

    // The refunded amount has a credit note of its own, which names the invoice.
    bench.until("the processor is back", || service.report(false).connections_open == 1);
    let (code, _, error) = bench.verb(&["refund", &first, "--amount", "99 EUR"]);
    assert!(code == 4 && error.contains("only 1.37 EUR can be given back"), "{code}: {error}");
    let (code, _, error) = bench.verb(&["refund", &first, "--amount", "0,37 EUR", "--json"]);
    assert_eq!(code, 0, "{error}");
    bench.until("the refund has a credit note", || {
        bench.json(&["invoice", "ls"])["items"].as_array().unwrap().len() == 5
    });
    let invoices = bench.json(&["invoice", "ls"]);
    let note = invoices["items"].as_array().unwrap().iter().find(|item| item["kind"] == "credit note").unwrap();
    assert_eq!((&note["total"], note["session"].as_str()), (&"-0.37".into(), Some(first.as_str())), "{note}");
    assert_eq!(bench.verb(&["invoice", "verify-series"]).0, 0);
    assert_eq!(bench.json(&["ledger", "trial-balance"])["imbalance_minor"], 0);

    // Neither the data nor the gate's output contain any credential of a driver.
    let token = std::fs::read(bench.gate.data_dir().join("data/console.json")).unwrap();
    let token = serde_json::from_slice::<Value>(&token).unwrap()["token"].as_str().unwrap().to_owned();
    assert!(!bench.gate.log().contains(&token), "the console's token is in no log");
    assert_eq!(bench.gate.terminate(), Some(0));
    for secret in [TOKEN, CARD_NUMBER, UID, UNLINKED[0].1, UNLINKED[1].1] {
        assert_nowhere(bench.gate.data_dir(), secret);
    }
    assert_private(&bench.gate.data_dir().join("data"));
    drop(service);
}

/// An import reports what the gate booked; the same list twice is detected, and a batch can be reverted.
fn imported_lists_are_told_and_taken_back(bench: &Bench, settled: &str) {
    let file = |bench: &Bench, name: &str, text: &str| {
        let path = bench.gate.data_dir().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let map = file(bench, "map.toml", "operation = \"op\"\nreference = \"ref\"\ngross = \"gross\"\nfee = \"fee\"\n");
    let list = format!("op,ref,gross,fee\n{settled},,1.37,0.10\n,R1,5.00,0.20\n");
    let twice = file(bench, "twice.csv", &list);
    let import = |bench: &Bench, file: &str, more: &[&str]| -> (i32, Value) {
        let fixed = ["--map", &map, "--processor", "acme-cards", "--at", "2026-11-21T23:00:00Z", "--json"];
        let (code, out, error) = bench.verb(&[&["recon", "import", file], &fixed[..], more].concat());
        (code, serde_json::from_str(&out).unwrap_or_else(|_| panic!("{code}: {out}{error}")))
    };
    let balance = |bench: &Bench, account: &str| {
        let trial = bench.json(&["ledger", "trial-balance"]);
        assert_eq!(trial["imbalance_minor"], 0);
        let rows = trial["rows"].as_array().unwrap().clone();
        let row = rows.iter().find(|row| row["account"].as_str().unwrap().contains(account));
        row.map_or("0".to_owned(), |row| row["balance"].as_str().unwrap().to_owned())
    };
    let before = balance(bench, "bank");

    // The dry run reports the same as the import, and sends nothing.
    let (code, dry) = import(bench, &twice, &["--dry-run"]);
    assert_eq!((code, &dry["extra"], &dry["suspense"]), (1, &2.into(), &"6.07".into()), "{dry}");
    assert_eq!(bench.json(&["recon", "report"])["batches"].as_array().unwrap().len(), 1);
    let (code, printed) = import(bench, &twice, &[]);
    assert_eq!((code, &printed["extra"], &printed["suspense"]), (1, &dry["extra"], &dry["suspense"]), "{printed}");
    assert_eq!(
        (&printed["rows"][0]["why"], &printed["rows"][0]["line"]),
        (&"settled already".into(), &2.into()),
        "{printed}"
    );
    assert_eq!(printed["rows"][1]["why"], "unknown");
    let report = bench.json_of_failing(&["recon", "report"]);
    assert_eq!(report["extra"][0]["why"], "settled already", "{report}");
    assert_eq!(report["batches"][1]["suspense"], "6.07");
    let suspense = balance(bench, "suspense");
    assert!(suspense.ends_with("6.07"), "the report has the ledger's figure: {suspense}");

    // Once more is the same batch; under another name its lines are repeated.
    let (_, again) = import(bench, &twice, &[]);
    assert_eq!((&again["already_known"], &again["suspense"]), (&true.into(), &"6.07".into()), "{again}");
    let (code, other) = import(bench, &twice, &["--batch", "other"]);
    assert_eq!((code, &other["same_as"], &other["rows"][1]["why"]), (1, &"twice.csv".into(), &"told already".into()));

    // Both are reverted, one of them twice; the books are as they were.
    let revert = |bench: &Bench, name: &str| bench.json(&["recon", "revert", name, "--reason", "by mistake"]);
    assert_eq!(revert(bench, "other")["already_reverted"], false);
    let (code, dry) = import(bench, &twice, &["--dry-run", "--batch", "third"]);
    assert_eq!((code, &dry["same_as"]), (1, &"twice.csv".into()));
    assert_eq!(revert(bench, "twice.csv")["state"], "reverted");
    assert_eq!(revert(bench, "twice.csv")["already_reverted"], true);
    assert_eq!(balance(bench, "bank"), before);
    assert_eq!(balance(bench, "suspense").trim_start_matches('-'), "0.00");
    assert_eq!(bench.json(&["recon", "report"])["batches"][1]["reason"], "by mistake");
    let (code, _, error) = bench.verb(&["recon", "revert", "nothing", "--reason", "x"]);
    assert_eq!(code, 3, "{error}");

    // The name may be used again, for a list of more than one part with long references.
    let reference = "r".repeat(150);
    let rows: String = (0..700).map(|row| format!(",{reference}{row},1.00,0\n")).collect();
    let long = file(bench, "twice.csv", &format!("op,ref,gross,fee\n{rows}"));
    let (code, printed) = import(bench, &long, &[]);
    assert_eq!((code, &printed["revision"], &printed["extra"]), (1, &2.into(), &700.into()));
    assert_eq!(printed["suspense"], "700.00");
    assert_eq!(revert(bench, "twice.csv")["revision"], 2);
    assert_eq!(balance(bench, "bank"), before);
}
