//! Lists of the console, page by page, while they change, and over a restart.

use crate::common::driven::{Driven, runtime};
use crate::common::{Served, now};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::Command;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wattstile::journal::Layout;
use wattstile::message::*;
use wattstile::sim::pipe::Dialler;
use wattstile::units::{Mono, Now, SiteId};
use wattstile::wire::*;

/// A gate with a site controller whose chargers may have any name.
fn gate() -> (Served, Dialler) {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("wattstile.toml");
    std::fs::write(&config, "[[site]]\nid = \"depot\"\nchargers = [\"*\"]\n").unwrap();
    let layout = Layout { partitions: 8, generation_blocks: 4_096 };
    let mut gate = Served::stopped(folder, layout, &[]);
    gate.arguments = vec!["--config".to_owned(), config.display().to_string()];
    gate.start_again();
    let dialler = gate.dialler(&Subject::Site(SiteId::new("depot").unwrap()));
    (gate, dialler)
}

/// Has the site controller introduce chargers of these names.
fn introduce(dialler: &Dialler, names: &[String]) {
    runtime().block_on(async {
        let mut stream = dialler.dial().await.unwrap();
        let mut link = ChargerClientLink::new(Mono(0));
        let (mut out, mut buffer) = (Vec::new(), vec![0; 16 * 1_024]);
        for (channel, name) in (1..).zip(names) {
            link.send(Channel(channel), &FromCharger::Hello(Driven::describes(name, Vec::new())), Mono(0), &mut out)
                .unwrap();
        }
        stream.write_all(&out).await.unwrap();
        let mut welcome = 0;
        while welcome < names.len() {
            let read = stream.read(&mut buffer).await.unwrap();
            assert!(read > 0, "closed after {welcome}");
            let mut received = Vec::new();
            link.receive(&buffer[..read], Now { wall: now(), mono: Mono(0) }, &mut received).unwrap();
            for Received { message, .. } in received {
                assert!(matches!(message, ToCharger::HelloAck(_)), "{message:?}");
                welcome += 1;
            }
        }
    });
}

fn numbered(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}-{number:04}")).collect()
}

/// What the console answers to a question with its token.
fn ask(gate: &Served, path: &str, query: &[(&str, &str)]) -> (u16, Value) {
    let place = gate.console();
    let agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().new_agent();
    let mut request = agent.get(format!("http://{}/api/{path}", place.address));
    for (name, value) in query {
        request = request.query(*name, *value);
    }
    let mut answer = request.header("Authorization", format!("Bearer {}", place.token)).call().unwrap();
    let text = answer.body_mut().read_to_string().unwrap();
    (answer.status().as_u16(), serde_json::from_str(&text).unwrap())
}

fn order(gate: &Served, path: &str, body: &Value) {
    let place = gate.console();
    let agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().new_agent();
    let request = agent.post(format!("http://{}/api/{path}", place.address));
    let answer = request.header("Authorization", format!("Bearer {}", place.token)).send_json(body).unwrap();
    assert_eq!(answer.status().as_u16(), 200, "{path}");
}

/// The ids on a page, and where the next one begins.
fn page(gate: &Served, path: &str, query: &[(&str, &str)]) -> (Vec<String>, Option<String>) {
    let (status, document) = ask(gate, path, query);
    assert_eq!(status, 200, "{path} {query:?}: {document}");
    assert!(document["schema"].as_str().unwrap().ends_with("-list/1"), "{document}");
    let ids = document["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned());
    (ids.collect(), document["next"].as_str().map(str::to_owned))
}

/// Every id of a list; what happens between two pages is given the number of the one before.
fn walk(gate: &Served, path: &str, query: &[(&str, &str)], mut between: impl FnMut(usize)) -> Vec<Vec<String>> {
    let (mut pages, mut after) = (Vec::new(), None::<String>);
    loop {
        let mut query = query.to_vec();
        query.extend(after.as_deref().map(|after| ("after", after)));
        let (ids, next) = page(gate, path, &query);
        pages.push(ids);
        after = next;
        if after.is_none() {
            return pages;
        }
        between(pages.len());
    }
}

fn verb(gate: &Served, arguments: &[&str]) -> String {
    gate.wait_for_console();
    let ran = Command::new(env!("CARGO_BIN_EXE_wattstile"))
        .args(arguments)
        .arg("--data")
        .arg(gate.data_dir().join("data"))
        .output()
        .unwrap();
    assert!(ran.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

#[test]
fn pages_of_chargers_show_each_once_while_others_come() {
    let (gate, dialler) = gate();
    let lasting = numbered("M", 250);
    introduce(&dialler, &lasting);
    let pages = walk(&gate, "chargers", &[("limit", "100")], |_| {});
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [100, 100, 50]);
    assert_eq!(pages.concat(), lasting);
    // The default is a page too, and a filter goes with pages.
    let (ids, next) = page(&gate, "chargers", &[]);
    assert_eq!((ids.len(), next.is_some()), (100, true));
    let filtered = walk(&gate, "chargers", &[("prefix", "M-01"), ("limit", "30")], |_| {});
    assert_eq!(filtered.iter().map(Vec::len).collect::<Vec<_>>(), [30, 30, 30, 10]);
    assert_eq!(filtered.concat(), lasting[100..200]);

    // Others come before and behind where the reader is: none of the first is left out or shown twice.
    let pages = walk(&gate, "chargers", &[("limit", "100")], |number| {
        introduce(&dialler, &[numbered(&format!("A{number}"), 40), numbered(&format!("Z{number}"), 40)].concat());
    });
    let seen = pages.concat();
    assert!(pages.iter().all(|page| page.len() <= 100) && seen.is_sorted());
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), seen.len(), "none is shown twice");
    assert!(seen.iter().filter(|id| id.starts_with('M')).eq(&lasting));
    assert!(!seen.iter().any(|id| id.starts_with('A')) && seen.iter().any(|id| id.starts_with("Z1")));

    // The command line follows the pages.
    let all = page(&gate, "chargers", &[("limit", "1000")]).0;
    assert!(all.len() >= 250 + 80);
    let document: Value = serde_json::from_str(&verb(&gate, &["charger", "ls", "--json"])).unwrap();
    assert_eq!(document["schema"], "wattstile.charger-list/1");
    let members: Vec<&str> = document.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["schema", "items"]);
    let listed = document["items"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap());
    assert!(listed.eq(all.iter().map(String::as_str)));
    let table = verb(&gate, &["charger", "ls", "M-", "--limit", "120"]);
    assert_eq!(table.lines().count(), 1 + 120);
    assert!(
        table.lines().next().unwrap().starts_with("charger") && table.lines().last().unwrap().starts_with("M-0119")
    );
}

#[test]
fn a_cursor_is_good_after_a_restart_and_a_mangled_one_is_refused() {
    let (mut gate, _) = gate();
    for id in numbered("acc", 120) {
        order(&gate, "accounts", &json!({ "account": id, "currency": "EUR" }));
    }
    let (first, next) = page(&gate, "accounts", &[("limit", "70")]);
    let next = next.expect("there are more");
    gate.kill();
    gate.start_again();
    let (second, end) = page(&gate, "accounts", &[("limit", "70"), ("after", &next)]);
    assert_eq!(([first, second].concat(), end), (numbered("acc", 120), None));
    // Also without a gate, from the data alone, the list is whole.
    assert_eq!(gate.terminate(), Some(0));
    let document: Value = serde_json::from_str(&verb(&gate, &["account", "ls", "--json"])).unwrap();
    assert_eq!(document["items"].as_array().unwrap().len(), 120);
    gate.start_again();

    let changed = format!("{}{}", &next[..next.len() - 2], if next.ends_with("AA") { "BB" } else { "AA" });
    let lists = [
        "chargers",
        "accounts",
        "processors",
        "holds",
        "sessions",
        "invoices",
        "invoices/series",
        "settlement/sessions",
        "settlement/differs",
        "settlement/extra",
        "settlement/batches",
        "ledger/accounts",
    ];
    for list in lists {
        let (status, document) = ask(&gate, list, &[]);
        assert!(status == 200 && document["next"].is_null() || list == "accounts", "{list}: {document}");
        assert!(document["items"].is_array(), "{list}: {document}");
        let of_another = if list == "accounts" { "Zm9v" } else { next.as_str() };
        for (name, value) in [
            ("limit", "0"),
            ("limit", "1001"),
            ("limit", "-1"),
            ("limit", "many"),
            ("after", "not a cursor"),
            ("after", ""),
            ("after", changed.as_str()),
            ("after", of_another),
        ] {
            let (status, problem) = ask(&gate, list, &[(name, value)]);
            assert_eq!((status, &problem["parameter"]), (400, &Value::from(name)), "{list} {name}={value}: {problem}");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.starts_with(name) && detail.contains("leave it out"), "{detail}");
        }
    }
    let (status, problem) = ask(&gate, "settlement", &[("grace_hours", "soon")]);
    assert_eq!((status, &problem["parameter"]), (400, &Value::from("grace_hours")), "{problem}");
}
