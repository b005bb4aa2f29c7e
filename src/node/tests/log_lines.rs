//! Log lines of a session: subject, object and amounts are fields.

use super::*;
use serde_json::Value;
use std::io::{self, Write};
use std::sync::PoisonError;
use tracing_subscriber::fmt::MakeWriter;

/// A log that a test reads.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Kept {
    type Writer = Kept;

    fn make_writer(&'a self) -> Kept {
        self.clone()
    }
}

fn logged(run: impl FnOnce()) -> Vec<Value> {
    let kept = Kept::default();
    let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_writer(kept.clone()).finish();
    tracing::subscriber::with_default(subscriber, run);
    let bytes = kept.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn one<'a>(lines: &'a [Value], text: &str) -> &'a Value {
    let starts = |line: &&Value| line["message"].as_str().is_some_and(|message| message.starts_with(text));
    let found: Vec<_> = lines.iter().filter(starts).collect();
    assert_eq!(found.len(), 1, "{text}: {lines:#?}");
    found[0]
}

#[test]
fn a_session_is_a_line_when_it_begins_when_it_ends_and_when_it_is_settled() {
    let mut id = String::new();
    let lines = logged(|| {
        let mut scene = Scene::new();
        scene.hello("AMS-0007", Vec::new());
        scene.start(1, CredentialKind::CardToken, "tok_visa");
        let authorize = scene.asked();
        id = authorize.id.payment().session().to_string();
        scene.approve(&authorize);
        scene.reading(1, 1, 300);
        scene.stop(1, 2, 650);
        let capture = scene.asked();
        scene.approve(&capture);
    });
    let ended = one(&lines, "a session ends");
    assert_eq!((&ended["session"], &ended["charger"]), (&id.as_str().into(), &"AMS-0007".into()));
    assert_eq!((&ended["energy_wh"], &ended["currency"]), (&650.into(), &"EUR".into()));
    let settled = one(&lines, "a session is settled");
    assert!(settled["amount_minor"].as_i64().is_some_and(|minor| minor > 0), "{settled}");
    assert_eq!(settled["amount_minor"], ended["amount_minor"]);
    assert_eq!(one(&lines, "a session begins")["session"], id);
}

#[test]
fn money_that_needs_a_look_is_named_with_session_processor_and_amount() {
    let mut id = String::new();
    let lines = logged(|| {
        let mut scene = Scene::new();
        scene.hello("AMS-0007", Vec::new());
        scene.start(1, CredentialKind::CardToken, "tok_visa");
        let authorize = scene.asked();
        id = authorize.id.payment().session().to_string();
        scene.approve(&authorize);
        scene.reading(1, 1, 300);
        scene.stop(1, 2, 650);
        let capture = scene.asked();
        // More than was requested.
        scene.answer(
            &capture,
            Outcome::Approved {
                amount: Amount::new(999_999, Currency::EUR),
                processor_ref: ProcessorRef("cap-1".into()),
                expires_at: None,
            },
        );
    });
    let alarm = one(&lines, "the money of a session needs a look: the message has another amount");
    assert_eq!((&alarm["session"], &alarm["charger"]), (&id.as_str().into(), &"AMS-0007".into()));
    assert_eq!(
        (&alarm["processor"], &alarm["kind"], &alarm["currency"]),
        (&"acme-cards".into(), &"Capture".into(), &"EUR".into())
    );
    assert!(alarm["amount_minor"].as_i64().is_some_and(|minor| (1..100_000).contains(&minor)), "{alarm}");
}
