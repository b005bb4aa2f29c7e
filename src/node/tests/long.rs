//! Sessions of any length and any course of the meter: bounded in memory and record, and ended by a receipt.

use super::*;
use crate::accounting::archive_record::{ArchiveRecord, Billing};
use crate::billing::{Issuer, SigningKey};
use crate::journal::Archive;
use crate::limits::{SEGMENTS_MAX, SESSION_BYTES_MAX, SESSION_RECORD_BYTES_MAX};
use crate::message::ReceiptNotice;
use crate::session::Session;
use serde_json::Value;

const WEEK: i64 = 604_800;

/// All dimensions, so cheap that a week is within the first hold.
const TIMED: &str = r#"{
    "country_code": "NL", "party_id": "WST", "id": "TIMED", "currency": "EUR",
    "elements": [{"price_components": [{"type": "ENERGY", "price": 0.01, "vat": 21, "step_size": 1},
                                       {"type": "TIME", "price": 0.001, "vat": 21, "step_size": 1},
                                       {"type": "PARKING_TIME", "price": 0.002, "vat": 21, "step_size": 1}]}],
    "last_updated": "2026-01-01T00:00:00Z"
}"#;

/// What a week at a reading per second leaves behind. `course` returns register (µWh since the start) and power (mW)
/// at a second.
struct Left {
    session: Session,
    archive_record: ArchiveRecord,
    receipt: ReceiptNotice,
}

fn a_week(scenario: impl Fn(i64) -> (i64, Option<i64>)) -> Left {
    let node_config = house_of(Policy { release_early: false, ..Policy::default() }, TIMED);
    let mut scene = Scene::in_house(MemoryStore::new(64), node_config, Scene::beginning());
    scene.archive = Some(Default::default());
    scene.routes(|routes| {
        let can = &mut routes.registry.processors.get_mut(&acme()).unwrap().capabilities;
        can.hold_validity = TimeSpan::from_secs(30 * 86_400);
    });
    scene.hello("AMS-0007", Vec::new());
    scene.start(1, CredentialKind::CardToken, "tok_visa");
    let authorize = scene.asked();
    scene.approve(&authorize);
    let first = Energy::from_watt_hours(909_000).unwrap();
    let mut last = None;
    for second in 1..=WEEK {
        let span = TimeSpan::from_secs(1);
        scene.now = Now { wall: scene.now.wall.saturating_add(span), mono: scene.now.mono.after(span) };
        let (register, power) = scenario(second);
        let reading = MeterReading {
            sequence: u32::try_from(second).unwrap(),
            at: scene.now.wall,
            register: first.checked_add(Energy::from_microwatt_hours(register)).unwrap(),
            power: power.map(Power::from_milliwatts),
            current: None,
        };
        last = Some(MeterReading { sequence: reading.sequence + 1, ..reading });
        let message = FromCharger::Reading { session: SessionKey(1), reading };
        scene.shard.on_charger_message(scene.link, message, scene.now).unwrap();
        if second % 512 == 0 || second == WEEK {
            scene.shard.tick(scene.now);
            scene.settle();
            scene.received();
        }
    }
    let (session, last) = (scene.session().clone(), last.unwrap());
    assert_eq!(session.meter.sequence, u32::try_from(WEEK).unwrap());
    let stop = FromCharger::Stop { session: SessionKey(1), last, reason: StopReason::Local };
    scene.send(stop);
    let capture = scene.asked();
    scene.approve(&capture);
    let receipt = scene.received().into_iter().find_map(|seen| match seen {
        ToCharger::Receipt(notice) => Some(notice),
        _ => None,
    });
    let (archived, _) = scene.archive.unwrap().remove(&session.id).expect("it is in the archive");
    let random = ring::rand::SystemRandom::new();
    let key = SigningKey::from_pkcs8(&SigningKey::generate(&random).unwrap()).unwrap();
    let billing = Billing { key, issuer: Issuer::default(), receipt_base: String::new(), sites: Default::default() };
    let tariff = Tariff::parse(TIMED).unwrap().tariff;
    let archive_record = ArchiveRecord::new(archived, &tariff, &billing);
    Left { session, archive_record, receipt: receipt.expect("the charger gets a receipt") }
}

impl Left {
    #[track_caller]
    fn is_bounded(&self) {
        let state = crate::stored::to_bytes(&self.session);
        assert!(state.len() < SESSION_BYTES_MAX, "a state of {} bytes", state.len());
        assert!(self.session.segments.as_slice().len() <= SEGMENTS_MAX);
        let record = self.archive_record.to_bytes();
        assert!(record.len() < SESSION_RECORD_BYTES_MAX, "a record of {} bytes", record.len());
        let archive = Archive::in_memory();
        archive.put(self.session.id, self.session.opened_at, &record).unwrap();
        let receipt: Value = serde_json::from_str(self.archive_record.receipt.as_ref().expect("a receipt")).unwrap();
        let paid: rust_decimal::Decimal = receipt["receipt"]["total"].as_str().unwrap().parse().unwrap();
        assert_eq!(paid, self.receipt.total.major());
    }
}

#[test]
fn a_week_of_a_register_that_moves_every_other_second_is_one_stretch() {
    let left = a_week(|second| (second / 2, None));
    left.is_bounded();
    assert!(left.session.segments.as_slice().len() <= 4, "{:?}", left.session.segments);
}

#[test]
fn an_honest_week_on_a_meter_of_whole_watt_hours_is_no_parking() {
    // 1.38 kW: a watt hour each 2.6 s.
    let left = a_week(|second| (second * 383_333 / 1_000_000 * 1_000_000, None));
    left.is_bounded();
    assert!(left.session.rating.parking_time() < TimeSpan::from_secs(3));
    assert!(left.session.segments.as_slice().len() <= 4, "{:?}", left.session.segments);
}

#[test]
fn a_week_of_power_that_alternates_each_second_is_summed_up() {
    let left = a_week(|second| (0, Some(second % 2)));
    left.is_bounded();
    let hours = |span: TimeSpan| span.whole_secs() / 3_600;
    let rating = &left.session.rating;
    assert_eq!((hours(rating.charging_time()), hours(rating.parking_time())), (84, 84));
    // 84 hours at 0.001 and 84 at 0.002, with VAT: 0.30492.
    assert_eq!(left.receipt.total.to_string(), "EUR 0.30");
    assert_eq!(left.receipt.cost.major().to_string(), "0.30492");
}

#[test]
fn a_session_that_ends_in_silence_decides_what_was_undecided() {
    let mut scene = Scene::in_house(MemoryStore::new(64), house_of(Policy::default(), TIMED), Scene::beginning());
    scene.hello("AMS-0007", Vec::new());
    scene.start(1, CredentialKind::CardToken, "tok_visa");
    let authorize = scene.asked();
    scene.approve(&authorize);
    scene.reading(1, 1, 100);
    scene.pass(30);
    let still = scene.reading_of(2, 100);
    scene.send(FromCharger::Reading { session: SessionKey(1), reading: still });
    assert_eq!(scene.session().rating.undecided(scene.session().meter.at), TimeSpan::from_secs(30));
    for _ in 0..20 {
        scene.pass(60);
    }
    let session = scene.session();
    assert!(session.ended().is_some(), "it was silent for too long");
    assert_eq!(session.rating.undecided(session.meter.at), TimeSpan::ZERO);
    assert_eq!(session.rating.charging_time(), TimeSpan::from_secs(90));
    let tariff = Tariff::parse(TIMED).unwrap().tariff;
    assert_eq!(session.rating.running(&tariff).unwrap(), session.ended().unwrap().cost);
    // A restart rebuilds the same from the log.
    let before = session.clone();
    let after = scene.crash();
    assert_eq!(after.session().rating, before.rating);
    assert_eq!(after.session().segments, before.segments);
}
