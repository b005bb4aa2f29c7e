//! Tokens, roles and sign-ins of the API: made by the command line, taken by a running gate.

use crate::common::Served;
use serde_json::Value;
use std::net::SocketAddr;
use std::process::Command;
use ureq::http::Response;

fn verb(gate: &Served, arguments: &[&str]) -> (i32, String, String) {
    gate.wait_for_console();
    let data = gate.data_dir().to_str().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_wattstile"));
    let ran = command.args(arguments).args(["--data", data]).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (ran.status.code().unwrap(), text(ran.stdout), text(ran.stderr))
}

fn json(gate: &Served, arguments: &[&str]) -> Value {
    let (code, out, error) = verb(gate, &[arguments, &["--json"]].concat());
    assert_eq!(code, 0, "{arguments:?}: {error}");
    serde_json::from_str(&out).unwrap()
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).proxy(None);
    config.max_redirects_will_error(false).build().new_agent()
}

fn get(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Response<ureq::Body> {
    let mut request = agent().get(format!("http://{address}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.call().unwrap()
}

fn post(address: SocketAddr, path: &str, headers: &[(&str, &str)], body: &str) -> Response<ureq::Body> {
    let mut request = agent().post(format!("http://{address}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send(body).unwrap()
}

fn status(answer: Response<ureq::Body>) -> u16 {
    answer.status().as_u16()
}

#[test]
fn a_running_gate_takes_new_tokens_with_their_roles_and_drops_revoked_ones() {
    let gate = Served::start(&[]);
    let address = gate.console().address;
    let bearer = |token: &str| format!("Bearer {token}");
    let mut tokens = Vec::new();
    for role in ["viewer", "operator", "finance", "admin"] {
        let made = json(&gate, &["token", "create", "--name", role, "--role", role]);
        assert_eq!((made["schema"].as_str(), made["role"].as_str()), (Some("wattstile.token/1"), Some(role)));
        tokens.push(bearer(made["token"].as_str().unwrap()));
    }
    // By role: a question, an order of operators, one of finance, one of administrators. What is permitted is not there (404, 400).
    for (token, expected) in
        tokens.iter().zip([[200, 403, 403, 403], [200, 404, 403, 403], [200, 403, 404, 403], [200, 404, 404, 400]])
    {
        let sent = [("Authorization", token.as_str())];
        let found = [
            status(get(address, "/api/v1/figures", &sent)),
            status(post(address, "/api/v1/processors/none/drain", &sent, r#"{"on": true}"#)),
            status(post(address, "/api/v1/accounts/none/topup", &sent, r#"{"amount": "1.00"}"#)),
            status(post(address, "/api/v1/tokens", &sent, r#"{"name": "a b", "role": "admin"}"#)),
        ];
        assert_eq!(found, expected, "{token}");
    }
    let mut refused = post(address, "/api/v1/backup", &[("Authorization", &tokens[0])], "{}");
    let problem: Value = refused.body_mut().read_json().unwrap();
    assert_eq!(problem["code"], "forbidden", "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("admin"), "{problem}");

    // The same name is not given twice; a list has no secret.
    assert_eq!(verb(&gate, &["token", "create", "--name", "viewer", "--role", "admin"]).0, 4);
    assert_eq!(verb(&gate, &["token", "create", "--name", "x", "--role", "king"]).0, 2);
    let listed = json(&gate, &["token", "ls"]);
    assert_eq!(listed["items"].as_array().unwrap().len(), 4);
    let kept = std::fs::read_to_string(gate.data_dir().join("data/tokens.json")).unwrap();
    for token in &tokens {
        let secret = token.strip_prefix("Bearer ").unwrap();
        assert!(!listed.to_string().contains(secret) && !kept.contains(secret) && !gate.log().contains(secret));
    }

    json(&gate, &["token", "revoke", "viewer"]);
    assert_eq!(verb(&gate, &["token", "revoke", "viewer"]).0, 3);
    assert_eq!(status(get(address, "/api/v1/figures", &[("Authorization", &tokens[0])])), 401);
    assert_eq!(status(get(address, "/api/v1/figures", &[("Authorization", &tokens[1])])), 200);
    // A short life ends by itself.
    let made = json(&gate, &["token", "create", "--name", "brief", "--role", "viewer", "--expires", "1s"]);
    let brief = bearer(made["token"].as_str().unwrap());
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    assert_eq!(status(get(address, "/api/v1/figures", &[("Authorization", &brief)])), 401);
}

/// Without a gate the command line writes the same file, and the gate has the tokens when it starts.
#[test]
fn tokens_outlive_a_gate_that_was_killed() {
    let mut gate = Served::start(&[]);
    gate.console();
    gate.kill();
    let made = json(&gate, &["token", "create", "--name", "night", "--role", "viewer"]);
    assert_eq!(json(&gate, &["token", "ls"])["items"][0]["name"], "night");
    gate.start_again();
    let address = gate.console().address;
    let token = format!("Bearer {}", made["token"].as_str().unwrap());
    assert_eq!(status(get(address, "/api/v1/figures", &[("Authorization", &token)])), 200);
}

#[test]
fn a_browser_signs_in_once_by_a_link_and_orders_only_from_the_console() {
    let gate = Served::start(&[]);
    let place = gate.console();
    let path =
        place.login.strip_prefix(&format!("http://{}", place.address)).expect("a link to the console").to_owned();
    let address = place.address;
    assert_eq!(status(get(address, "/", &[])), 401);
    let signed_in = get(address, &path, &[]);
    assert_eq!(signed_in.status().as_u16(), 303);
    let set = signed_in.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(set.contains("HttpOnly") && set.contains("SameSite=Strict") && !set.contains("Secure"), "{set}");
    assert_eq!(status(get(address, &path, &[])), 401, "it works once");
    let cookie = set.split(';').next().unwrap();
    assert_eq!(status(get(address, "/", &[("Cookie", cookie)])), 200);
    assert_eq!(status(get(address, "/api/v1/figures", &[("Cookie", cookie)])), 200);

    // The cookie alone changes nothing; with the header of a page of the console it does.
    let own = format!("http://{address}");
    for foreign in [&[][..], &[("Origin", "http://evil.example")], &[("Sec-Fetch-Site", "cross-site")]] {
        let sent = [&[("Cookie", cookie)], foreign].concat();
        let body = r#"{"account": "driver-1", "currency": "EUR"}"#;
        let mut refused = post(address, "/api/v1/accounts", &sent, body);
        let problem: Value = refused.body_mut().read_json().unwrap();
        assert_eq!((refused.status().as_u16(), problem["code"].as_str()), (403, Some("other_origin")), "{foreign:?}");
    }
    assert_eq!(json(&gate, &["account", "ls"])["items"].as_array().unwrap().len(), 0);
    let sent = [("Cookie", cookie), ("Origin", own.as_str())];
    assert_eq!(status(post(address, "/api/v1/accounts", &sent, r#"{"account": "driver-1", "currency": "EUR"}"#)), 200);

    // Another link, for a browser that only looks, behind a proxy that takes TLS.
    let link = json(&gate, &["console", "login", "--role", "viewer"]);
    let path = link["login"].as_str().unwrap().strip_prefix(&own).unwrap().to_owned();
    let signed_in = get(address, &path, &[("X-Forwarded-Proto", "https")]);
    let set = signed_in.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(set.contains("; Secure"), "{set}");
    let viewer = [("Cookie", set.split(';').next().unwrap()), ("Origin", own.as_str())];
    assert_eq!(
        status(post(address, "/api/v1/accounts", &viewer, r#"{"account": "driver-2", "currency": "EUR"}"#)),
        403
    );

    assert_eq!(status(post(address, "/logout", &[("Cookie", cookie)], "")), 403, "not from elsewhere");
    assert_eq!(status(post(address, "/logout", &sent, "")), 204);
    assert_eq!(status(get(address, "/api/v1/figures", &[("Cookie", cookie)])), 401);
    assert!(!gate.log().contains("code="), "no link stands in the log");
}
