//! Connections that never become any: TCP without a byte, half a handshake, TLS without a Hello.

use super::charger_line::charger_id;
use super::{Attacker, Attacking, Field, Trouble};
use crate::message::Subject;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

pub(super) const ATTACKER: Attacker = Attacker {
    name: "half-open",
    findings: "S4, S5",
    does: "300 TCP connections without a byte, 100 that stop in the handshake, 20 that shake hands and say no Hello",
    expects: "each is closed by the gate: within 10 s without a handshake, within 25 s without a Hello",
    pause: Duration::from_secs(3),
    currency: super::EURO,
    attack: |field| Box::pin(attack(field)) as Attacking,
};

const SILENT: usize = 300;
const HALF: usize = 100;
const GREETINGLESS: u64 = 20;
/// The handshake's deadline is 5 s, and the rest is for a busy machine.
const CLOSED_WITHIN: Duration = Duration::from_secs(30);

/// A ClientHello record that promises more than comes.
const HALF_A_HELLO: &[u8] = &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03];

async fn attack(field: Field) -> Result<(), Trouble> {
    let mut open = JoinSet::new();
    for number in 0..SILENT + HALF {
        let listener = if number % 4 == 0 { field.ways.processors } else { field.ways.chargers };
        let bytes = if number < SILENT { &[][..] } else { HALF_A_HELLO };
        let field = field.clone();
        open.spawn(async move { half_open(&field, listener, bytes).await });
    }
    for number in 0..GREETINGLESS {
        let (field, subject) = (field.clone(), Subject::Charger(charger_id(&field, number)?));
        open.spawn(async move { without_hello(&field, &subject).await });
    }
    let mut trouble = None;
    while let Some(ended) = open.join_next().await {
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(Trouble(why))) => trouble = Some(why),
            Err(error) => trouble = Some(error.to_string()),
        }
    }
    // Some are refused at once when too many of this address are in progress; all of them, and nothing was tried.
    match trouble {
        Some(why) if field.tally.counts().answers.is_empty() => Err(Trouble(why)),
        _ => Ok(()),
    }
}

async fn half_open(field: &Field, listener: SocketAddr, bytes: &[u8]) -> Result<(), Trouble> {
    let mut stream = field.tcp(listener).await?;
    // A connection that the gate has closed already is detected at the next read.
    let _ = stream.write_all(bytes).await;
    closed(field, &mut stream, "half-open connection closed").await;
    Ok(())
}

async fn closed(field: &Field, stream: &mut TcpStream, what: &str) {
    let reading = async {
        let mut buffer = [0; 256];
        while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
    };
    match tokio::time::timeout(CLOSED_WITHIN, reading).await {
        Ok(()) => field.tally.right(what),
        Err(_) => field.tally.violation(format!("open after {} s: {what}", CLOSED_WITHIN.as_secs())),
    }
}

async fn without_hello(field: &Field, subject: &Subject) -> Result<(), Trouble> {
    let mut stream = field.dial(subject).await?;
    let reading = async {
        let mut buffer = [0; 256];
        while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
    };
    match tokio::time::timeout(CLOSED_WITHIN, reading).await {
        Ok(()) => field.tally.right("connection without Hello closed"),
        Err(_) => field.tally.violation("a connection without Hello stays open".to_owned()),
    }
    Ok(())
}
