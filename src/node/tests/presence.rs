//! Whether chargers and processors are connected, and which connectors have a fault: facts, also over restarts.

use super::*;
use crate::limits::{ABSENT_AFTER_RESTART, CHARGER_ABSENT_MAX, PROCESSOR_ABSENT_MAX};
use crate::message::{ConnectorState, ConnectorStatus};
use crate::node::certificates::EndsSoon;
use crate::node::fact::Fact;
use crate::node::input::Drains;
use crate::payment::known_processor;
use crate::{charger, node::certificates};

/// What has become durable about chargers, processors and certificates, in words.
fn facts(scene: &Scene) -> Vec<String> {
    let mut told = Vec::new();
    let mut read = |record: crate::journal::Record<'_>| {
        match Fact::read(record).unwrap() {
            Fact::Charger(id, charger::Event::WentOnline { .. }) => told.push(format!("{id} online")),
            Fact::Charger(id, charger::Event::WentOffline { .. }) => told.push(format!("{id} offline")),
            Fact::Charger(id, charger::Event::Faulted { connector, .. }) => {
                told.push(format!("{id} {connector} faulted"))
            }
            Fact::Charger(id, charger::Event::Recovered { connector, .. }) => {
                told.push(format!("{id} {connector} recovered"));
            }
            Fact::Processor(known_processor::Event::Connected { processor, .. }) => {
                told.push(format!("{processor} up"))
            }
            Fact::Processor(known_processor::Event::Disconnected { processor, .. }) => {
                told.push(format!("{processor} down"));
            }
            Fact::Processor(known_processor::Event::DrainWished { processor, on, .. }) => {
                told.push(format!("{processor} drains: {on}"));
            }
            Fact::Certificate(certificates::Event::Expiring { name, days, .. }) => {
                told.push(format!("{name} {days} d"))
            }
            _ => {}
        }
        Ok(())
    };
    Log::open(Box::new(scene.store.clone()), &Sequences::new(8), &mut read).expect("the log is whole");
    told
}

fn secs(span: TimeSpan) -> i64 {
    span.ms() / 1_000
}

#[test]
fn a_charger_that_is_back_in_time_was_not_away() {
    let mut scene = Scene::new();
    scene.hello("AMS-0007", Vec::new());
    scene.hello("AMS-0007", Vec::new());
    scene.shard.disconnected(ConnectionId(1));
    scene.pass(secs(CHARGER_ABSENT_MAX) - 1);
    scene.hello("AMS-0007", Vec::new());
    scene.pass(secs(CHARGER_ABSENT_MAX) + 1);
    assert_eq!(facts(&scene), ["AMS-0007 online"]);
    scene.shard.disconnected(ConnectionId(1));
    // Its time begins with the next tick.
    scene.pass(1);
    scene.pass(secs(CHARGER_ABSENT_MAX));
    scene.pass(secs(CHARGER_ABSENT_MAX));
    scene.hello("AMS-0007", Vec::new());
    assert_eq!(facts(&scene), ["AMS-0007 online", "AMS-0007 offline", "AMS-0007 online"]);
}

#[test]
fn a_restart_is_no_absence_and_a_charger_that_stays_away_is_missed() {
    let mut scene = Scene::new();
    scene.hello("AMS-0007", Vec::new());
    scene.link = Link { connection: ConnectionId(2), channel: Channel::ZERO };
    scene.hello("AMS-0008", Vec::new());
    let mut scene = scene.crash();
    scene.hello("AMS-0007", Vec::new());
    scene.pass(secs(ABSENT_AFTER_RESTART) - 1);
    assert_eq!(facts(&scene), ["AMS-0007 online", "AMS-0008 online"]);
    scene.pass(1);
    scene.pass(1);
    assert_eq!(facts(&scene), ["AMS-0007 online", "AMS-0008 online", "AMS-0008 offline"]);
    let scene = scene.crash();
    assert_eq!(facts(&scene).len(), 3);
}

#[test]
fn a_fault_is_a_fact_once_also_over_a_restart() {
    let mut scene = Scene::new();
    let status = |state| {
        FromCharger::Status(ConnectorStatus {
            connector: ConnectorId(1),
            state,
            at: Timestamp::from_unix_ms(START),
            text: "".into(),
        })
    };
    scene.hello("AMS-0007", Vec::new());
    scene.send(status(ConnectorState::Available));
    scene.send(status(ConnectorState::Faulted));
    scene.send(status(ConnectorState::Faulted));
    let mut scene = scene.crash();
    scene.hello("AMS-0007", Vec::new());
    scene.send(status(ConnectorState::Faulted));
    scene.send(status(ConnectorState::Charging));
    assert_eq!(facts(&scene), ["AMS-0007 online", "AMS-0007 1 faulted", "AMS-0007 1 recovered"]);
}

#[test]
fn a_processor_that_comes_goes_and_drains_is_a_fact_each() {
    let mut scene = Scene::new();
    let stands = |drains: Option<bool>| Input::Stands(acme(), drains.map(Drains));
    // Which of the two comes first does not matter.
    scene.take(stands(Some(false)));
    assert_eq!(facts(&scene), Vec::<String>::new(), "it has declared nothing yet");
    scene.take(Input::Declared(acme(), Box::new(capabilities())));
    scene.take(stands(Some(true)));
    scene.take(stands(None));
    scene.pass(1);
    scene.take(stands(Some(true)));
    scene.pass(2 * secs(PROCESSOR_ABSENT_MAX));
    let known = ["acme-cards up", "acme-cards drains: true"];
    assert_eq!(facts(&scene), known);
    let mut scene = scene.crash();
    scene.pass(secs(ABSENT_AFTER_RESTART));
    scene.pass(1);
    assert_eq!(facts(&scene), [&known[..], &["acme-cards down"]].concat());
    scene.take(stands(Some(false)));
    assert_eq!(facts(&scene).last().map(String::as_str), Some("acme-cards up"));
}

#[test]
fn the_end_of_a_certificate_is_a_fact_once_also_over_a_restart() {
    let mut scene = Scene::new();
    let ends = scene.now.wall.saturating_add(TimeSpan::from_secs(10 * 86_400));
    let soon = |scene: &Scene| {
        Input::CertificateEnds(Box::new(
            EndsSoon::at(scene.now.wall, "charger/A", Some(Timestamp::default()), ends).unwrap(),
        ))
    };
    scene.take(soon(&scene));
    scene.take(soon(&scene));
    let mut scene = scene.crash();
    scene.take(soon(&scene));
    assert_eq!(facts(&scene), ["charger/A 14 d"]);
    scene.pass(9 * 86_400);
    scene.take(soon(&scene));
    assert_eq!(facts(&scene), ["charger/A 14 d", "charger/A 1 d"]);
}
