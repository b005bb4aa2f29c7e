//! The console's pages: walked by a real browser over a demonstration that runs, and attacked without one.

use crate::common::{Served, skipped_without};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use wattstile::web::ConsoleEndpoint;

/// Far more than a step takes.
const TIMEOUT: Duration = Duration::from_secs(60);
/// A page with all that it loads, compressed.
const PAGE_BYTES_MAX: i64 = 60_000;

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).proxy(None);
    config.max_redirects_will_error(false).build().new_agent()
}

/// A browser, spoken to by the W3C's WebDriver protocol.
struct Browser {
    driver: Child,
    session: String,
}

impl Browser {
    /// None: there is no browser here.
    fn start() -> Option<Browser> {
        let driver = Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let Ok(mut driver) = driver else {
            skipped_without("`chromedriver`");
            return None;
        };
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        // What it writes afterwards is read, so that it does not wait for a reader.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        let port = port.expect("chromedriver names its port");
        let arguments =
            ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,900"];
        let options = json!({ "args": arguments });
        let wanted = json!({ "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL" } });
        let base = format!("http://127.0.0.1:{port}/session");
        let made = Browser::send("POST", &base, Some(json!({ "capabilities": { "alwaysMatch": wanted } })));
        let id = made["sessionId"].as_str().expect("a session").to_owned();
        Some(Browser { driver, session: format!("{base}/{id}") })
    }

    fn send(method: &str, url: &str, body: Option<Value>) -> Value {
        let (status, document) = Browser::exchange(method, url, body);
        assert_eq!(status, 200, "{method} {url}: {document}");
        document["value"].clone()
    }

    fn exchange(method: &str, url: &str, body: Option<Value>) -> (u16, Value) {
        let mut answer = match (method, body) {
            ("GET", _) => agent().get(url).call(),
            ("DELETE", _) => agent().delete(url).call(),
            (_, body) => agent().post(url).send_json(body.unwrap_or_else(|| json!({}))),
        }
        .unwrap();
        let status = answer.status().as_u16();
        (status, answer.body_mut().read_json().unwrap())
    }

    fn ask(&self, path: &str, body: Value) -> Value {
        Browser::send("POST", &format!("{}/{path}", self.session), Some(body))
    }

    fn open(&self, url: &str) {
        self.ask("url", json!({ "url": url }));
    }

    fn address(&self) -> String {
        Browser::send("GET", &format!("{}/url", self.session), None).as_str().unwrap().to_owned()
    }

    fn script(&self, script: &str) -> Value {
        self.ask("execute/sync", json!({ "script": script, "args": [] }))
    }

    fn text(&self, selector: &str) -> String {
        let found = self.script(&format!("return document.querySelector({selector:?})?.textContent ?? null"));
        found.as_str().unwrap_or_else(|| panic!("{selector} on {}", self.address())).trim().to_owned()
    }

    fn element(&self, selector: &str) -> String {
        let found = self.ask("element", json!({ "using": "css selector", "value": selector }));
        found.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned()
    }

    /// Clicks what sends a form, and waits for the page that answers: the click itself returns before it.
    fn submit(&self, selector: &str) {
        let button = self.element(selector);
        self.leaving(|| drop(self.ask(&format!("element/{button}/click"), json!({}))));
    }

    fn write(&self, selector: &str, text: &str) {
        self.ask(&format!("element/{}/value", self.element(selector)), json!({ "text": text }));
    }

    /// Does what leads to another page, and waits until that page is whole.
    fn leaving(&self, act: impl FnOnce()) {
        self.script("document.documentElement.dataset.left = 'yes'");
        act();
        let arrived = "return document.readyState === 'complete' && !document.documentElement.dataset.left";
        let question = json!({ "script": arrived, "args": [] });
        let until = Instant::now() + TIMEOUT;
        loop {
            // A script that the change of pages interrupts is answered with an error.
            let url = format!("{}/execute/sync", self.session);
            let (status, answer) = Browser::exchange("POST", &url, Some(question.clone()));
            if status == 200 && answer["value"] == true {
                return;
            }
            assert!(Instant::now() < until, "no other page comes: {answer}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What the browser's console shows as an error since it was asked last.
    fn errors(&self) -> Vec<String> {
        let log = self.ask("se/log", json!({ "type": "browser" }));
        let severe = log.as_array().unwrap().iter().filter(|entry| entry["level"] == "SEVERE");
        severe.map(|entry| entry["message"].to_string()).collect()
    }

    fn width(&self, pixels: u32) {
        let wish = json!({ "width": pixels, "height": 900, "deviceScaleFactor": 1, "mobile": pixels < 500 });
        self.ask("goog/cdp/execute", json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": wish }));
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = agent().delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// A demonstration in a process of its own.
struct Shown {
    process: Child,
    folder: tempfile::TempDir,
    console: ConsoleEndpoint,
}

impl Shown {
    fn start() -> Shown {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("demo");
        let process = Command::new(env!("CARGO_BIN_EXE_wattstile"))
            .args(["demo", "--speed", "120", "--chargers", "16", "--for", "5m", "--data"])
            .arg(&data)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut shown = Shown {
            process,
            folder,
            console: ConsoleEndpoint {
                address: ([127, 0, 0, 1], 1).into(),
                token: String::new(),
                login: String::new(),
                pid: 0,
            },
        };
        let file = data.join("data/console.json");
        shown.console = shown.until(|_| serde_json::from_str(&fs::read_to_string(&file).ok()?).ok());
        shown
    }

    /// Waits for something.
    fn until<T>(&self, mut find: impl FnMut(&Shown) -> Option<T>) -> T {
        let until = Instant::now() + TIMEOUT;
        loop {
            match find(self) {
                Some(found) => return found,
                None => assert!(Instant::now() < until, "it does not come"),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("demo/data")
    }

    fn get(&self, path: &str) -> Value {
        let url = format!("http://{}/api/v1/{path}", self.console.address);
        let mut answer =
            agent().get(url).header("Authorization", format!("Bearer {}", self.console.token)).call().unwrap();
        answer.body_mut().read_json().unwrap()
    }

    fn page(&self, path: &str) -> String {
        format!("http://{}{path}", self.console.address)
    }

    /// The newest session that fits.
    fn session(&self, query: &str, fits: impl Fn(&Value) -> bool) -> Option<Value> {
        let found = self.get(&format!("sessions?limit=50&{query}"));
        found["items"].as_array()?.iter().find(|session| fits(session)).cloned()
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn decimal(text: &str) -> Decimal {
    text.trim().trim_start_matches('−').parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn login(data: &Path) -> String {
    let ran = Command::new(env!("CARGO_BIN_EXE_wattstile"))
        .args(["console", "login", "--json", "--data"])
        .arg(data)
        .output()
        .unwrap();
    let document: Value = serde_json::from_slice(&ran.stdout).unwrap();
    document["login"].as_str().unwrap().to_owned()
}

/// axe-core, where `.ci/run` has put it.
fn axe() -> Option<String> {
    let found = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/target/ci/axe/axe.min.js"));
    if found.is_err() {
        skipped_without("axe-core (target/ci/axe/axe.min.js)");
    }
    found.ok()
}

#[test]
fn a_browser_walks_the_console_of_a_demonstration() {
    let Some(browser) = Browser::start() else { return };
    let shown = Shown::start();

    // Without a sign-in it is told what to run; the link signs in.
    browser.open(&shown.page("/"));
    assert!(browser.text("main").contains("wattstile console login"));
    browser.errors();
    browser.open(&login(&shown.data()));
    assert_eq!(browser.text("h1"), "Overview");

    let paid = shown.until(|shown| {
        shown.session("state=closed", |session| {
            session["captured"].as_str().is_some_and(|captured| decimal(captured) > Decimal::ONE)
                && shown.get(&format!("sessions/{}", session["id"].as_str().unwrap()))["operations"][0]["processor"]
                    .as_str()
                    .is_some_and(|processor| !processor.starts_with("account:"))
        })
    });
    let id = paid["id"].as_str().unwrap();

    walk_every_page(&browser, &shown, id);
    session_adds_up(&browser, &shown, id);
    let refunded = give_back(&browser, &shown, id);
    bring_settlement(&browser, &shown, id, refunded);
    stop(&browser, &shown);
}

/// Every page: no error, not too heavy, no wider than the screen, nothing serious for those who cannot see it.
fn walk_every_page(browser: &Browser, shown: &Shown, id: &str) {
    let axe = axe();
    let session = format!("/sessions/{id}");
    let receipt = format!("/receipts/{id}");
    for path in [
        "/",
        "/sessions",
        &session,
        "/receipts",
        &receipt,
        "/invoices",
        "/chargers",
        "/chargers/NL*WST*E0001",
        "/processors",
        "/processors/acme-cards",
        "/accounts",
        "/accounts/driver-001",
        "/reconciliation",
        "/ledger",
        "/tariffs",
        "/tariffs/DEMO-DC?kwh=20&minutes=30&idle_minutes=5",
        "/system",
        "/search?q=driver",
        "/sessions?charger=none",
    ] {
        browser.width(1280);
        browser.open(&shown.page(path));
        assert_eq!(browser.errors(), Vec::<String>::new(), "{path}");
        let weight = browser.script(
            "return performance.getEntriesByType('navigation').concat(performance.getEntriesByType('resource'))
                .reduce((sum, entry) => sum + entry.encodedBodySize, 0)",
        );
        assert!((1_000..PAGE_BYTES_MAX).contains(&weight.as_i64().unwrap()), "{path}: {weight} bytes");
        let foreign = browser.script(
            "return performance.getEntriesByType('resource').map((entry) => entry.name)
                .filter((name) => !name.startsWith(location.origin)).join(' ')",
        );
        assert_eq!(foreign, "", "{path}");
        if let Some(axe) = &axe {
            let run = "const done = arguments[arguments.length - 1];
                axe.run(document, { resultTypes: ['violations'] }).then((found) => done(found.violations
                    .filter((each) => ['serious', 'critical'].includes(each.impact))
                    .map((each) => each.id + ': ' + each.nodes.map((node) => node.target.join(' ')).slice(0, 3).join(', '))));";
            let found = browser.ask("execute/async", json!({ "script": format!("{axe};{run}"), "args": [] }));
            assert_eq!(found, json!([]), "{path}");
        }
        browser.width(390);
        let wide = browser.script("return document.documentElement.scrollWidth - innerWidth");
        assert!(wide.as_i64().unwrap() <= 0, "{path} is {wide} pixels too wide for a telephone");
    }
    browser.width(1280);
}

/// The search finds a session; its price adds up, digit by digit, to that of the receipt.
fn session_adds_up(browser: &Browser, shown: &Shown, id: &str) {
    browser.open(&shown.page("/"));
    browser.write(".search input", &id[..24]);
    browser.leaving(|| browser.write(".search input", "\u{e007}"));
    assert!(browser.address().ends_with(&format!("/sessions/{id}")), "{}", browser.address());
    let rows = browser.script(
        "return [...document.querySelectorAll('#price tbody tr')].map((row) => row.lastElementChild.textContent)
            .concat([...document.querySelectorAll('#price tfoot tr')].slice(1, -1).map((row) => row.lastElementChild.textContent))",
    );
    let sum: Decimal =
        rows.as_array().unwrap().iter().map(|row| row.as_str().unwrap().parse::<Decimal>().unwrap()).sum();
    let payable = browser.script("return document.getElementById('payable').dataset.amount");
    let payable = decimal(payable.as_str().unwrap());
    assert_eq!(sum, payable, "{rows}");
    assert!(
        browser
            .script("return document.querySelector('.waterfall desc').textContent")
            .as_str()
            .unwrap()
            .contains(&format!("total: {payable}"))
    );
    browser.open(&shown.page(&format!("/receipts/{id}")));
    assert_eq!(decimal(&browser.text("#total")), payable);
    assert_eq!(browser.text(".head .state"), "signature right");
    prints_on_one_sheet(browser);
    let document = shown.get(&format!("receipts/{id}.json"));
    assert_eq!(decimal(document["receipt"]["total"].as_str().unwrap()), payable);
}

/// The receipt on paper: one sheet of A4 without the frame of the page.
fn prints_on_one_sheet(browser: &Browser) {
    let wish = json!({ "preferCSSPageSize": true, "printBackground": true });
    let printed = browser.ask("goog/cdp/execute", json!({ "cmd": "Page.printToPDF", "params": wish }));
    let pdf = STANDARD.decode(printed["data"].as_str().unwrap()).unwrap();
    let text = String::from_utf8_lossy(&pdf);
    let sheets = text.matches("/Type /Page").count() - text.matches("/Type /Pages").count();
    let size = text.split_once("/MediaBox [").map(|(_, rest)| rest.split(']').next().unwrap().to_owned()).unwrap();
    assert_eq!(sheets, 1, "{size}");
    assert!(size.contains("594.") && size.contains("841."), "A4: {size}");
    let shown = "return ['.top', 'nav', 'footer'].map((name) => getComputedStyle(document.querySelector(name)).display).join(' ')";
    let media = |media: &str| {
        browser.ask("goog/cdp/execute", json!({ "cmd": "Emulation.setEmulatedMedia", "params": { "media": media } }));
    };
    media("print");
    assert_eq!(browser.script(shown), "none none none");
    media("");
}

/// A refund: what it would do, an amount that is mistyped, and the right one.
fn give_back(browser: &Browser, shown: &Shown, id: &str) -> Decimal {
    let of = |name: &str| {
        let sheet = shown.get(&format!("sessions/{id}"));
        decimal(sheet[name].as_str().unwrap())
    };
    let (captured, amount) = (of("captured"), decimal("0.50"));
    browser.open(&shown.page(&format!("/sessions/{id}")));
    browser.write("form[action$=refund] input[name=amount]", "0.50");
    browser.submit("form[action$=refund] button");
    assert!(browser.text("main").contains("Requests to processors"), "{}", browser.text("main"));
    assert_eq!(of("captured"), captured, "a dry run gives nothing back");
    browser.write("input[name=typed]", "5.00");
    browser.submit(".confirm button");
    assert!(browser.text(".notice").contains("Nothing was done"));
    browser.errors();
    browser.write("input[name=typed]", "0.50");
    browser.submit(".confirm button");
    assert!(browser.text("h1").ends_with("done"), "{}", browser.text("main"));
    let refunds = |sheet: &Value| {
        let operations = sheet["operations"].as_array().unwrap().iter();
        operations.filter(|row| row["kind"] == "refund").cloned().collect::<Vec<Value>>()
    };
    let found = shown.until(|shown| {
        let found = refunds(&shown.get(&format!("sessions/{id}")));
        found.iter().all(|row| row["state"] == "approved").then_some(found).filter(|found| !found.is_empty())
    });
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(decimal(found[0]["amount"].as_str().unwrap()), amount);
    amount
}

/// A settlement file: what fits and what does not is seen before it is booked.
fn bring_settlement(browser: &Browser, shown: &Shown, id: &str, refunded: Decimal) {
    let sheet = shown.get(&format!("sessions/{id}"));
    let operations = sheet["operations"].as_array().unwrap();
    let of = |kind: &str| operations.iter().find(|row| row["kind"] == kind).unwrap().clone();
    let (capture, refund) = (of("capture"), of("refund"));
    let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    let amount = text(&capture, "amount");
    let file = format!(
        "operation,reference,gross,fee,net\n{},,{amount},0.00,{amount}\n{},,-{refunded},0.00,-{refunded}\n,nothing of ours,9.99,0.00,9.99\n",
        text(&capture, "id"),
        text(&refund, "id"),
    );
    browser.open(&shown.page("/reconciliation"));
    browser.write("textarea[name=file]", &file);
    browser
        .script(&format!("document.querySelector('select[name=processor]').value = {:?}", text(&capture, "processor")));
    browser.write("input[name=batch]", "walked");
    browser.submit("form[action$=import] button.primary");
    let seen = browser.text("main");
    assert!(seen.contains("Nothing is booked yet") && seen.contains("nothing of ours"), "{seen}");
    assert!(seen.contains("matched") && seen.contains("extra"), "{seen}");
    assert_eq!(shown.get("settlements")["items"].as_array().unwrap().len(), 0, "it was only tried");
    browser.submit("form[action$=import] button.primary");
    assert!(browser.address().contains("/reconciliation/batch"), "{}", browser.address());
    shown.until(|shown| (shown.get("settlements")["items"][0]["state"] == "booked").then_some(()));
    browser.open(&browser.address());
    assert_eq!(browser.text(".head .state"), "booked");
    // And back.
    browser.write("input[name=reason]", "only a test");
    browser.submit("form[action$=revert] button");
    browser.submit(".confirm button");
    shown.until(|shown| (shown.get("settlements")["items"][0]["state"] == "reverted").then_some(()));
}

fn stop(browser: &Browser, shown: &Shown) {
    let live = shown.until(|shown| shown.session("state=charging", |session| session["protocol"] == "native"));
    let id = live["id"].as_str().unwrap();
    browser.open(&shown.page(&format!("/sessions/{id}")));
    browser.submit("form[action$=stop] button");
    assert!(browser.text("main").contains("carried out at once"));
    browser.submit(".confirm button");
    assert!(browser.text("h1").ends_with("done"), "{}", browser.text("main"));
    shown.until(|shown| (shown.get(&format!("sessions/{id}"))["state"] != "charging").then_some(()));
}

/// Sends bytes and reads the status of the answer.
fn raw(address: SocketAddr, request: &str) -> u16 {
    use std::io::Write as _;
    let mut connection = std::net::TcpStream::connect(address).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = [0; 12];
    match connection.read_exact(&mut answer) {
        Ok(()) => std::str::from_utf8(&answer[9..]).unwrap().parse().unwrap(),
        Err(_) => 0,
    }
}

/// Requests that pages of other sites, thieves of cookies and machines send: each is refused, and nothing has changed.
#[test]
fn abuse_of_the_pages_changes_nothing() {
    let gate = Served::start(&[]);
    let address = gate.console().address;
    let signed_in = raw_header(address, gate.console().login.split_once(&address.to_string()).unwrap().1, "set-cookie");
    let admin = signed_in.split(';').next().unwrap().to_owned();
    let ran = Command::new(env!("CARGO_BIN_EXE_wattstile"))
        .args(["console", "login", "--role", "viewer", "--json", "--data"])
        .arg(gate.data_dir())
        .output()
        .unwrap();
    let link: Value = serde_json::from_slice(&ran.stdout).unwrap();
    let path = link["login"].as_str().unwrap().split_once(&address.to_string()).unwrap().1.to_owned();
    let viewer = raw_header(address, &path, "set-cookie").split(';').next().unwrap().to_owned();

    let (host, own) = (format!("Host: {address}"), format!("Origin: http://{address}"));
    let (admin, viewer) = (format!("Cookie: {admin}"), format!("Cookie: {viewer}"));
    let opening = "account=thief&currency=EUR&confirmed=1";
    let long = "a".repeat(600_000);
    let post = |path: &str, headers: &[&str], body: &str| {
        let headers = headers.join("\r\n");
        format!(
            "POST {path} HTTP/1.1\r\n{headers}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let get = |path: &str, headers: &[&str]| format!("GET {path} HTTP/1.1\r\n{}\r\n\r\n", headers.join("\r\n"));
    let cases: Vec<(&str, String, u16)> = vec![
        ("no cookie", post("/accounts", &[&host, &own], opening), 401),
        ("a guessed cookie", post("/accounts", &[&host, &own, "Cookie: wattstile_session=guess"], opening), 401),
        ("a stolen cookie alone", post("/accounts", &[&host, &admin], opening), 403),
        ("a form of another site", post("/accounts", &[&host, &admin, "Origin: http://evil.example"], opening), 403),
        ("an opaque origin", post("/accounts", &[&host, &admin, "Origin: null"], opening), 403),
        ("another port", post("/accounts", &[&host, &admin, "Origin: http://127.0.0.1:1"], opening), 403),
        ("cross-site", post("/accounts", &[&host, &admin, &own, "Sec-Fetch-Site: cross-site"], opening), 403),
        ("same-site", post("/accounts", &[&host, &admin, "Sec-Fetch-Site: same-site"], opening), 403),
        ("a name that begins alike", post("/accounts", &[&host, &admin, &format!("{own}.evil.example")], opening), 403),
        ("a viewer's form", post("/accounts", &[&host, &viewer, &own], opening), 403),
        ("a viewer's drain", post("/processors/x/drain", &[&host, &viewer, &own], "on=true&confirmed=1"), 403),
        (
            "a viewer's import",
            post(
                "/reconciliation/import",
                &[&host, &viewer, &own],
                "file=a&map=&processor=x&batch=b&currency=EUR&at=x",
            ),
            403,
        ),
        ("rebinding", post("/accounts", &["Host: evil.example", &admin, "Origin: http://evil.example"], opening), 421),
        ("rebinding, reading", get("/", &["Host: evil.example", &admin]), 421),
        ("no host", get("/", &[&admin]), 400),
        ("two hosts", get("/", &[&host, "Host: evil.example", &admin]), 400),
        ("an order by GET", get("/accounts/x/topup?amount=5&confirmed=1", &[&host, &admin]), 405),
        ("a page by POST", post("/sessions", &[&host, &admin, &own], ""), 405),
        ("another method", format!("DELETE /accounts HTTP/1.1\r\n{host}\r\n{admin}\r\n{own}\r\n\r\n"), 405),
        ("traversal", get("/assets/../console.json", &[&host, &admin]), 404),
        ("escaped traversal", get("/assets/%2e%2e%2fconsole.json", &[&host, &admin]), 404),
        ("an asset that there is not", get("/assets/console.map", &[&host]), 404),
        ("a field twice", post("/accounts", &[&host, &admin, &own], "account=a&account=b&currency=EUR"), 400),
        ("no UTF-8", post("/accounts", &[&host, &admin, &own], "account=%ff&currency=EUR"), 400),
        ("a member of no order", post("/accounts", &[&host, &admin, &own], "account=a&currency=EUR&role=admin"), 400),
        ("an oversized form", post("/accounts", &[&host, &admin, &own], &long), 413),
        ("an oversized form without sign-in", post("/reconciliation/import", &[&host, &own], &long), 413),
        ("a head that is too long", get(&format!("/search?q={}", &long[..40_000]), &[&host, &admin]), 414),
        ("a parameter twice", get("/sessions?q=a&q=b", &[&host, &admin]), 400),
        ("a token in the address", get(&format!("/?token={}", gate.console().token), &[&host]), 401),
        ("a used link", get(&path, &[&host]), 401),
        ("an order not confirmed", post("/accounts", &[&host, &admin, &own], "account=thief&currency=EUR"), 200),
        ("sign-out from elsewhere", post("/logout", &[&host, &admin, "Origin: http://evil.example"], ""), 403),
    ];
    assert!(cases.len() >= 30);
    for (name, request, expected) in &cases {
        let found = raw(address, request);
        let is_expected = found == *expected || (*expected == 414 && matches!(found, 431 | 0));
        assert!(is_expected, "{name}: {found} instead of {expected}");
    }
    let accounts = agent()
        .get(format!("http://{address}/api/v1/accounts"))
        .header("Authorization", format!("Bearer {}", gate.console().token));
    let accounts: Value = accounts.call().unwrap().body_mut().read_json().unwrap();
    assert_eq!(accounts["items"], json!([]), "nothing was opened");

    // What is asked for is shown as text, by a page that permits no script of its own making.
    let url = format!("http://{address}/search?q=%3Cscript%3Ealert(1)%3C%2Fscript%3E");
    let mut page = agent().get(url).header("Cookie", admin.trim_start_matches("Cookie: ")).call().unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let text = page.body_mut().read_to_string().unwrap();
    assert!(text.contains("&lt;script&gt;alert(1)") && !text.contains("<script>alert"), "{text}");
}

/// A header of the answer to a question.
fn raw_header(address: SocketAddr, path: &str, name: &str) -> String {
    let answer = agent().get(format!("http://{address}{path}")).call().unwrap();
    answer.headers()[name].to_str().unwrap().to_owned()
}
