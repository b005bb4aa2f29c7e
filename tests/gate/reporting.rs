//! The reporting database beside a gate: what SQL says is what the books say, whatever is killed in between.

use crate::common::business::{Business, Outcome};
use crate::common::postgres::Postgres;
use crate::common::{Served, skipped_without};
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};
use wattstile::config::reporting_url::ReportingUrl;
use wattstile::journal::Layout;
use wattstile::reporting::{Store, store};
use wattstile::units::rng::Rng;

const CHARGERS: u16 = 16;

/// How often something is killed.
const KILLS: u32 = 5;

/// Tables of which each row follows from the state of the gate, whatever way it took.
const STATES: [&str; 13] = [
    "sessions",
    "session_taxes",
    "holds",
    "operations",
    "disputes",
    "invoices",
    "invoice_taxes",
    "receipts",
    "ledger_entries",
    "ledger_legs",
    "accounts",
    "chargers",
    "processors",
];

fn open(url: &str) -> Box<dyn Store> {
    store::open_for_reading(&url.parse::<ReportingUrl>().unwrap()).unwrap()
}

/// A question that the database may have no answer to at the moment.
fn rows(url: &str, sql: &str) -> Vec<Vec<String>> {
    let found = open(url).rows(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    found.into_iter().map(|row| row.into_iter().map(Option::unwrap_or_default).collect()).collect()
}

fn document(gate: &Served, path: &str) -> Value {
    let console = gate.console();
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let asked = agent.get(format!("http://{}{path}", console.address));
    let mut answer = asked.header("Authorization", format!("Bearer {}", console.token)).call().unwrap();
    let body = answer.body_mut().read_to_string().unwrap();
    assert_eq!(answer.status(), 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

fn items(gate: &Served, path: &str) -> Vec<Value> {
    let (mut items, mut after) = (Vec::new(), String::new());
    loop {
        let page = document(gate, &format!("{path}?limit=1000{after}"));
        items.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return items,
        }
    }
}

/// Waits until every durable fact is in the database.
fn wait_until_current(gate: &Served) -> Value {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let status = document(gate, "/api/v1/reporting");
        if status["is_current"] == true {
            return status;
        }
        assert!(Instant::now() < deadline, "it does not catch up: {status}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// 14.20 with two decimals is 1420.
fn minor(major: &Value) -> i128 {
    let text = major.as_str().unwrap();
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{rest:0<2}").parse().unwrap()
}

/// The balances of the books by account, in minor units.
fn balances(gate: &Served) -> BTreeMap<String, (i128, i128, i128)> {
    let rows = items(gate, "/api/v1/ledger/trial-balance");
    let of = |row: &Value| {
        let name = format!("{} {}", row["account"].as_str().unwrap(), row["currency"].as_str().unwrap());
        (name, (minor(&row["debits"]), minor(&row["credits"]), minor(&row["balance"])))
    };
    rows.iter().map(of).collect()
}

/// Sums by one name, from rows of name and sum.
fn sums(url: &str, sql: &str) -> BTreeMap<String, i128> {
    rows(url, sql).into_iter().map(|row| (row[0].clone(), row[1].parse().unwrap())).collect()
}

/// Every sum that finance asks for is that of the books, and every series is whole.
fn assert_equals_the_books(gate: &Served, url: &str) {
    let books = balances(gate);
    assert!(books.len() > 4, "there was business: {books:?}");
    let number = |text: &String| text.parse::<i128>().unwrap();
    let sql = "SELECT account, currency, debits_minor, credits_minor, balance_minor FROM v_trial_balance";
    let of = |row: Vec<String>| (format!("{} {}", row[0], row[1]), (number(&row[2]), number(&row[3]), number(&row[4])));
    let found: BTreeMap<String, (i128, i128, i128)> = rows(url, sql).into_iter().map(of).collect();
    assert_eq!(found, books, "the trial balance");

    let sql = "SELECT account, SUM(debits_minor - credits_minor) FROM v_daily_accounts GROUP BY account";
    for (account, sum) in sums(url, sql) {
        let (debits, credits, _) = books[&format!("{account} EUR")];
        assert_eq!(sum, debits - credits, "{account} by day");
    }
    let sql = "SELECT processor, SUM(captured_minor - settled_minor) FROM v_daily_processors GROUP BY processor";
    for (processor, owed) in sums(url, sql) {
        assert_eq!(owed, books[&format!("assets:processor:{processor}:receivable EUR")].2, "{processor}");
    }
    let sql = "SELECT country || ':' || percent, SUM(tax_minor) FROM v_vat_by_rate GROUP BY country, percent";
    let taxes = sums(url, sql);
    assert!(!taxes.is_empty());
    for (rate, tax) in &taxes {
        assert_eq!(*tax, books[&format!("liabilities:tax:{rate}% EUR")].2, "tax at {rate}");
    }
    let sold = |account: &str| {
        books.iter().filter(|(name, _)| name.starts_with(account)).map(|(_, sums)| sums.2).sum::<i128>()
    };
    let revenue = sums(url, "SELECT currency, SUM(net_minor) FROM v_daily_revenue GROUP BY currency");
    assert_eq!(revenue["EUR"], sold("liabilities:operator:"));

    let series: BTreeMap<String, (i128, i128, i128)> = items(gate, "/api/v1/invoices/series")
        .iter()
        .map(|row| {
            assert_eq!(row["fault"], Value::Null, "{row}");
            let count = |name: &str| i128::from(row[name].as_u64().unwrap());
            (row["series"].as_str().unwrap().to_owned(), (count("documents"), count("last"), minor(&row["total"])))
        })
        .filter(|(_, (documents, ..))| *documents > 0)
        .collect();
    let sql = "SELECT series, documents, last, total_minor FROM v_invoice_series";
    let found: BTreeMap<String, (i128, i128, i128)> = rows(url, sql)
        .into_iter()
        .map(|row| (row[0].clone(), (number(&row[1]), number(&row[2]), number(&row[3]))))
        .collect();
    assert_eq!(found, series, "the series of invoices");
    let billed = sums(
        url,
        "SELECT country || ':' || percent, SUM(tax_minor) FROM v_invoice_taxes_by_rate GROUP BY country, percent",
    );
    assert_eq!(billed, taxes, "what is billed as tax is what the books owe");

    assert_eq!(rows(url, "SELECT COUNT(*) FROM sessions")[0][0], items(gate, "/api/v1/sessions").len().to_string());
    assert_eq!(rows(url, "SELECT COUNT(*) FROM operations")[0][0], items(gate, "/api/v1/operations").len().to_string());
}

/// The rows of every table that follows from the state of the gate.
fn states(url: &str) -> BTreeMap<&'static str, Vec<Vec<String>>> {
    let of = |table: &'static str| {
        let mut found = rows(url, &format!("SELECT * FROM {table}"));
        found.sort();
        (table, found)
    };
    STATES.into_iter().map(of).collect()
}

/// There was business, and its sessions, holds and captures are those that the gate itself shows.
fn assert_took_everything_in(gate: &Served, outcome: &Outcome, url: &str) {
    outcome.assert_nothing_lost();
    assert!(outcome.fleet.tally.receipts >= 20, "there was work: {:?}", outcome.fleet.tally);
    let operations = items(gate, "/api/v1/operations");
    let captures = operations.iter().filter(|row| row["kind"] == "capture" && row["state"] == "approved");
    let taken: i128 = captures.map(|row| minor(&row["amount"])).sum();
    assert!(taken > 0);
    assert_eq!(rows(url, "SELECT SUM(amount_minor) FROM v_captures")[0][0], taken.to_string());
    let holds: Vec<Vec<String>> = rows(url, "SELECT id FROM v_open_holds ORDER BY id");
    let known: Vec<Vec<String>> =
        items(gate, "/api/v1/holds").iter().map(|row| vec![row["id"].as_str().unwrap().to_owned()]).collect();
    assert_eq!(holds, known, "open holds");
    let sessions = rows(url, "SELECT id, state, readings FROM sessions ORDER BY id DESC");
    let known = items(gate, "/api/v1/sessions");
    let text = |row: &Value, name: &str| row[name].as_str().map_or_else(|| row[name].to_string(), str::to_owned);
    let known: Vec<Vec<String>> =
        known.iter().map(|row| ["id", "state", "readings"].iter().map(|name| text(row, name)).collect()).collect();
    assert_eq!(sessions, known);
}

fn reporting(gate: &Served, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wattstile"));
    let output = command.arg("reporting").args(arguments).arg("--data").arg(gate.data_dir()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout) + &text(&output.stderr))
}

/// While the database is away the gate goes on, and afterwards nothing is missing and nothing is there twice.
#[test]
fn reporting_equals_the_books_after_the_database_is_killed() {
    let Some(mut postgres) = Postgres::start() else { return skipped_without("postgresql") };
    let url = postgres.url();
    let setting = format!("reporting.url={url}");
    let layout = Layout { partitions: 8, generation_blocks: 32 };
    let more = [setting.as_str(), "payment.answer_authorize=2s", "journal.snapshot_every=50ms", "log.level=warn"];
    let mut gate = Served::start_on(layout, &more);
    let business = Business::begin(&mut gate, CHARGERS, 20_261_202);
    let mut rng = Rng::of(20_261_202, 3);
    for _ in 0..KILLS {
        let pause = |rng: &mut Rng| Duration::from_millis(u64::try_from(rng.between(500, 2_000)).unwrap());
        std::thread::sleep(pause(&mut rng));
        postgres.kill();
        std::thread::sleep(pause(&mut rng));
        let readings = || document(&gate, "/api/v1/figures")["readings"].as_u64().unwrap();
        let before = readings();
        std::thread::sleep(Duration::from_millis(300));
        assert!(readings() > before, "the gate goes on without the database");
        postgres.start_again();
    }
    let outcome = business.finish();
    wait_until_current(&gate);
    assert_took_everything_in(&gate, &outcome, &url);
    assert_equals_the_books(&gate, &url);
    let before = states(&url);
    let (code, text) = reporting(&gate, &["rebuild", "--wait", "60s"]);
    assert_eq!(code, 0, "{text}");
    let after = states(&url);
    for (table, rows) in &before {
        assert_eq!(&after[table], rows, "{table}");
    }
}

#[test]
fn reporting_equals_the_books_after_kills_and_after_a_rebuild() {
    let layout = Layout { partitions: 8, generation_blocks: 32 };
    let more = ["reporting.url=sqlite", "payment.answer_authorize=2s", "journal.snapshot_every=50ms", "log.level=warn"];
    let mut gate = Served::start_on(layout, &more);
    let url = format!("sqlite:{}", gate.data_dir().join("data/reporting.sqlite").display());
    let business = Business::begin(&mut gate, CHARGERS, 20_261_201);
    let mut rng = Rng::of(20_261_201, 3);
    for _ in 0..KILLS {
        std::thread::sleep(Duration::from_millis(u64::try_from(rng.between(500, 2_000)).unwrap()));
        gate.kill();
        gate.start_again();
    }
    let outcome = business.finish();
    wait_until_current(&gate);
    assert_took_everything_in(&gate, &outcome, &url);
    assert_equals_the_books(&gate, &url);
    let (code, text) = reporting(&gate, &["status"]);
    assert!(code == 0 && text.contains("following") && text.contains("every durable fact"), "{text}");

    // Made anew, beside the gate and without it, every row is as it was.
    let before = states(&url);
    let (code, text) = reporting(&gate, &["rebuild", "--wait", "60s"]);
    assert_eq!(code, 0, "{text}");
    let difference = |after: &BTreeMap<&str, Vec<Vec<String>>>| {
        for (table, rows) in &before {
            assert_eq!(&after[table], rows, "{table}");
        }
    };
    difference(&states(&url));
    assert_equals_the_books(&gate, &url);
    assert_eq!(gate.terminate(), Some(0));
    let (code, text) = reporting(&gate, &["rebuild"]);
    assert_eq!(code, 0, "{text}");
    let mut after = states(&url);
    // Which processors there are is known to a running gate only.
    after.insert("processors", before["processors"].clone());
    difference(&after);
    gate.start_again();
    wait_until_current(&gate);
    assert_equals_the_books(&gate, &url);
}
