//! Certificates lose their worth in mid-session.

use super::{LAYOUT, SEED, TIMEOUT};
use crate::common::Served;
use crate::common::driven::{Driven, charger, reading, runtime};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use wattstile::message::{FromCharger, SessionMark, Standing, Subject, ToCharger};
use wattstile::sim::pace::Pace;
use wattstile::sim::pipe::{Dialler, Dialling};
use wattstile::sim::processor::{Lines, Service, Settings};
use wattstile::units::{ProcessorId, SessionKey};

/// 0.50 to start, 0.42 per kWh, and 21 % on top: 40 Wh are 0.625328.
const AFTER_40_WH: i64 = 63;
/// And 100 Wh are 0.65582.
const AFTER_100_WH: i64 = 66;
/// Long enough for a charger to connect and charge; the gate checks every few seconds besides.
const SHORT_LIFE: Duration = Duration::from_secs(8);

/// Three chargers in mid-session and their processor. One certificate expires, two are revoked: peers without a valid
/// one are closed and get the reason at the next handshake, those with a new one continue, the third is unaffected,
/// and all money ends right.
#[test]
fn a_certificate_that_loses_its_worth_in_mid_session_ends_the_connection_and_no_money() {
    let settings = ["log.level=info", "chargers.silence=5s", "chargers.late_readings=1s", "payment.answer_capture=2s"];
    let mut gate = Served::start_on(LAYOUT, &settings);
    let id = ProcessorId::new("acme-cards").unwrap();
    let acme = Subject::Processor(id.clone());
    let way = Arc::new(Mutex::new(gate.dialler(&acme)));
    let lines = Lines { dialler: whichever(&way), connections: 1, mac: None };
    let (revoked, untouched) = (gate.dialler(&charger("REVOKED-1")), gate.dialler(&charger("UNTOUCHED-1")));

    runtime().block_on(async {
        let service = Service::start(Settings::new(id, SEED), &lines, &Pace::new(1));
        eventually("the processor is there", || service.report(false).connections_open == 1).await;
        let expires = gate.certified_for(&charger("EXPIRES-1"), SHORT_LIFE);
        let expires = gate.dialler_with(expires, gate.chargers);
        let second = charging(&expires, "EXPIRES-1").await;
        let mut first = charging(&revoked, "REVOKED-1").await;
        let third = charging(&untouched, "UNTOUCHED-1").await;
        let (enough, is_enough) = watch::channel(false);
        let third = tokio::spawn(ticks(third, is_enough.clone()));
        let second = tokio::spawn(ticks(second, is_enough));

        // Revoked: cut as soon as the list is read, the processor too.
        gate.revoke(&charger("REVOKED-1"));
        gate.revoke(&acme);
        gate.signal("HUP");
        first.hears().await.expect_err("its connection is cut");
        eventually("the processor is cut", || service.report(false).connections_open == 0).await;
        assert_refused(&revoked, "CertificateRevoked").await;

        // Expired: closed at the next check.
        let (second, shown) = second.await.unwrap();
        assert!(second.is_none(), "its connection is cut");
        assert_refused(&expires, "CertificateExpired").await;

        // With a new certificate it goes on where it was, while its processor is still out; that one renews its own too.
        let renewed = gate.certified(&charger("EXPIRES-1"));
        let mut back = Driven::dial(&gate.dialler_with(renewed, gate.chargers)).await;
        back.comes_back_as("EXPIRES-1", vec![SessionMark { session: SessionKey(1), last_sequence: shown }]).await;
        let durable = match back.hears().await {
            Ok(ToCharger::HelloAck(ack)) => match ack.sessions[0].standing {
                Standing::Open { durable } => durable,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        assert!(durable == shown || durable + 1 == shown, "{durable} of {shown}: all but the last was acknowledged");
        enough.send(true).unwrap();
        let (third, last) = third.await.unwrap();
        let mut third = third.expect("nothing happened to it");
        let renewed = gate.dialler(&acme);
        let renewal = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            *way.lock().unwrap() = renewed;
        };
        let (receipt, other, ()) =
            tokio::join!(back.stops(1, durable + 1, 100), third.stops(1, last + 1, 100), renewal);
        assert_eq!((receipt.total.minor, other.total.minor), (AFTER_100_WH, AFTER_100_WH));

        // The first one's time-out ends its session on the last known total: that is captured, and the rest released.
        let total = AFTER_40_WH + 2 * AFTER_100_WH;
        eventually("all is captured, nothing is held", || {
            let totals = service.report(false).books.totals;
            totals.get("EUR").is_some_and(|totals| totals.captured_minor == total && totals.open_minor == 0)
        })
        .await;
        assert_eq!(service.stop(false).await.books.violations, Default::default());
    });
    let (_, metrics) = gate.asks("/metrics");
    for (role, reason) in [("charger", "revoked"), ("processor", "revoked"), ("charger", "expired")] {
        let refused = format!("{{peer_role=\"{role}\",result=\"refused\",reason=\"{reason}\"}}");
        assert!(metrics.contains(&format!("wattstile_tls_handshakes_total{refused}")), "{refused} in\n{metrics}");
    }
    for cut in ["charger/REVOKED-1", "processor/acme-cards", "charger/EXPIRES-1"] {
        let named = gate.log().lines().any(|line| line.contains("a connection is cut") && line.contains(cut));
        assert!(named, "the log names {cut}");
    }
    assert_eq!(gate.terminate(), Some(0), "{}", gate.log());
}

/// A charger that has begun to charge.
async fn charging(way: &Dialler, id: &str) -> Driven {
    let mut charger = Driven::dial(way).await;
    assert!(matches!(charger.hello(id).await, ToCharger::HelloAck(_)));
    assert!(matches!(charger.start(1, "tok_visa").await, ToCharger::StartAccepted { .. }));
    charger.reads(1, 1, 40).await;
    charger
}

/// A reading now and then, so that it does not time out. Returns it with the last sequence sent; `None`: it was
/// closed.
async fn ticks(mut charger: Driven, enough: watch::Receiver<bool>) -> (Option<Driven>, u32) {
    let mut sequence = 1;
    while !*enough.borrow() {
        sequence += 1;
        charger.says(&FromCharger::Reading { session: SessionKey(1), reading: reading(sequence, 40) }).await;
        if charger.hears().await.is_err() {
            return (None, sequence);
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    (Some(charger), sequence)
}

/// In TLS 1.3 the refusal shows at the first read, as an alert.
async fn assert_refused(way: &Dialler, alert: &str) {
    let shown = match way.dial().await {
        Err(error) => error.to_string(),
        Ok(mut stream) => match stream.read(&mut [0; 1]).await {
            Ok(read) => panic!("came in, and heard {read} bytes"),
            Err(error) => error.to_string(),
        },
    };
    assert!(shown.contains(alert), "{alert}: {shown}");
}

/// A way that can be exchanged for another one between two dials.
fn whichever(way: &Arc<Mutex<Dialler>>) -> Dialler {
    let way = Arc::clone(way);
    Arc::new(move || -> Dialling { way.lock().unwrap_or_else(PoisonError::into_inner).dial() })
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
