//! The console in foreign hands: other hosts' names, wrong tokens, floods of scrapes, connections that never finish.

use super::field::ConsoleWay;
use super::http::{ask, get};
use super::{Attacker, Attacking, Field, Trouble};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

pub(super) const ATTACKER: Attacker = Attacker {
    name: "console-abuse",
    findings: "S4, S17",
    does: "asks in the name of another host, with a wrong token, scrapes 60 times at once, holds 200 slow connections",
    expects: "other hosts (403, 421, 400) and wrong tokens (401) are refused, slow connections closed, probes answered",
    pause: Duration::from_secs(5),
    currency: super::EURO,
    attack: |field| Box::pin(attack(field)) as Attacking,
};

const SCRAPES: usize = 60;
const SLOW: usize = 200;
/// One byte each second.
const DRIP: Duration = Duration::from_secs(1);
const CLOSED_WITHIN: Duration = Duration::from_secs(60);

async fn attack(field: Field) -> Result<(), Trouble> {
    let Some(console) = field.ways.console.clone() else {
        return Err(Trouble("the address of the console was not given".to_owned()));
    };
    names_and_tokens(&field, &console).await?;
    scrapes(&field, &console).await?;
    slow(&field, &console).await
}

async fn names_and_tokens(field: &Field, console: &ConsoleWay) -> Result<(), Trouble> {
    let (own, token) = (console.address.to_string(), Some(&*console.token));
    for host in ["evil.example", "evil.example:80", ""] {
        let answer = ask(field, console.address, &get("/api/figures", host, token)).await?;
        match answer.status {
            400 | 403 | 421 => field.tally.right(format!("foreign host: {}", answer.status)),
            status => field.tally.violation(format!("a question to the host `{host}` is answered: {status}")),
        }
    }
    for wrong in [None, Some(""), Some("wrong"), Some("0123456789abcdef0123456789abcdef")] {
        for path in ["/api/figures", "/api/ledger", "/api/sessions"] {
            let answer = ask(field, console.address, &get(path, &own, wrong)).await?;
            match answer.status {
                401 => field.tally.right("wrong token: 401"),
                status => field.tally.violation(format!("{path} with a wrong token: {status}")),
            }
        }
    }
    let answer = ask(field, console.address, &get("/api/figures", &own, token)).await?;
    match answer.status {
        200 => field.tally.right("right token"),
        // Others may take all places for a moment.
        503 | 429 | 0 => field.tally.right("busy"),
        status => field.tally.violation(format!("a right token: {status}")),
    }
    Ok(())
}

/// Many scrapes at once, and a probe beside them.
async fn scrapes(field: &Field, console: &ConsoleWay) -> Result<(), Trouble> {
    let mut asking = JoinSet::new();
    for _ in 0..SCRAPES {
        let (field, address) = (field.clone(), console.address);
        asking.spawn(async move { ask(&field, address, &get("/metrics", &address.to_string(), None)).await });
    }
    let probe = ask(field, console.probes, &get("/livez", &console.probes.to_string(), None)).await?;
    match probe.status {
        200 => field.tally.right("probe answered during scrapes"),
        status => field.tally.violation(format!("/livez during scrapes: {status}")),
    }
    while let Some(asked) = asking.join_next().await {
        match asked {
            // Refused because there are many, or closed because there are more.
            Ok(Ok(answer)) if matches!(answer.status, 200 | 429 | 503 | 0) => field.tally.right("scrape answered"),
            Ok(Ok(answer)) => field.tally.violation(format!("/metrics: {}", answer.status)),
            Ok(Err(_)) => field.tally.right("scrape not taken in"),
            Err(error) => return Err(Trouble::of(error)),
        }
    }
    Ok(())
}

/// Requests that come a byte at a time.
async fn slow(field: &Field, console: &ConsoleWay) -> Result<(), Trouble> {
    let mut open = JoinSet::new();
    for _ in 0..SLOW {
        let (field, address) = (field.clone(), console.address);
        open.spawn(async move { drip(&field, address).await });
    }
    // While they are open.
    field.pause(Duration::from_secs(2)).await;
    let probe = ask(field, console.probes, &get("/livez", &console.probes.to_string(), None)).await?;
    match probe.status {
        200 => field.tally.right("probe answered beside slow connections"),
        status => field.tally.violation(format!("/livez beside slow connections: {status}")),
    }
    while let Some(closed) = open.join_next().await {
        match closed {
            Ok(Some(true)) => field.tally.right("slow connection closed"),
            Ok(Some(false)) => {
                field.tally.violation(format!("a slow connection is open after {} s", CLOSED_WITHIN.as_secs()));
            }
            Ok(None) => {}
            Err(error) => return Err(Trouble::of(error)),
        }
    }
    Ok(())
}

/// Whether it is closed in time; `None`: it was given up before.
async fn drip(field: &Field, address: std::net::SocketAddr) -> Option<bool> {
    let Ok(mut stream) = field.tcp(address).await else { return Some(true) };
    let request = get("/metrics", &address.to_string(), None);
    let mut buffer = [0; 512];
    for byte in request.as_bytes().chunks(1).cycle().take(usize::try_from(CLOSED_WITHIN.as_secs()).unwrap_or(60)) {
        if !field.goes_on() {
            return None;
        }
        if stream.write_all(byte).await.is_err() {
            return Some(true);
        }
        if let Ok(Ok(0) | Err(_)) = tokio::time::timeout(DRIP, stream.read(&mut buffer)).await {
            return Some(true);
        }
    }
    Some(false)
}
