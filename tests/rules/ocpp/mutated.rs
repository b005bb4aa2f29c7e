//! Good frames of every version, damaged in many ways, repeatably: each call is answered once, and no report of a transaction
//! by an error.

use super::harness::Harness;
use wattstile::ocpp::Version;
use wattstile::units::rng::Rng;

/// Frames of each version; more by `WATTSTILE_OCPP_FRAMES`.
fn frames() -> u32 {
    std::env::var("WATTSTILE_OCPP_FRAMES").ok().and_then(|text| text.parse().ok()).unwrap_or(4_000)
}

const OF_16: [&str; 8] = [
    r#"[2,"1","BootNotification",{"chargePointVendor":"V","chargePointModel":"M","firmwareVersion":"1"}]"#,
    r#"[2,"2","Authorize",{"idTag":"ACCT-0001"}]"#,
    r#"[2,"3","StartTransaction",{"connectorId":1,"idTag":"ACCT-0001","meterStart":1000,"timestamp":"2026-09-21T13:20:00Z"}]"#,
    r#"[2,"4","MeterValues",{"connectorId":1,"transactionId":1,"meterValue":[{"timestamp":"2026-09-21T13:21:00Z","sampledValue":[{"value":"1.5","unit":"kWh","measurand":"Energy.Active.Import.Register","phase":"L1"}]}]}]"#,
    r#"[2,"5","StopTransaction",{"transactionId":1,"meterStop":2000,"timestamp":"2026-09-21T13:22:00Z","idTag":"ACCT-0001","reason":"Local","transactionData":[{"timestamp":"2026-09-21T13:22:00Z","sampledValue":[{"value":"2000"}]}]}]"#,
    r#"[2,"6","StatusNotification",{"connectorId":1,"errorCode":"NoError","status":"Charging"}]"#,
    r#"[2,"7","DataTransfer",{"vendorId":"V","messageId":"m","data":"{}"}]"#,
    r#"[3,"w-1",{"status":"Accepted"}]"#,
];

const OF_2: [&str; 8] = [
    r#"[2,"1","BootNotification",{"reason":"PowerUp","chargingStation":{"model":"M","vendorName":"V","firmwareVersion":"1"}}]"#,
    r#"[2,"2","Authorize",{"idToken":{"idToken":"ACCT-0001","type":"ISO14443"}}]"#,
    r#"[2,"3","TransactionEvent",{"eventType":"Started","timestamp":"2026-09-21T13:20:00Z","triggerReason":"Authorized","seqNo":0,"transactionInfo":{"transactionId":"tx-1","chargingState":"Charging"},"idToken":{"idToken":"ACCT-0001","type":"ISO14443"},"evse":{"id":1,"connectorId":1},"meterValue":[{"timestamp":"2026-09-21T13:20:00Z","sampledValue":[{"value":1000,"context":"Transaction.Begin"}]}]}]"#,
    r#"[2,"4","TransactionEvent",{"eventType":"Updated","timestamp":"2026-09-21T13:21:00Z","triggerReason":"MeterValuePeriodic","seqNo":1,"transactionInfo":{"transactionId":"tx-1"},"meterValue":[{"timestamp":"2026-09-21T13:21:00Z","sampledValue":[{"value":1.5,"unitOfMeasure":{"unit":"Wh","multiplier":3}}]}]}]"#,
    r#"[2,"5","TransactionEvent",{"eventType":"Ended","timestamp":"2026-09-21T13:22:00Z","triggerReason":"EVCommunicationLost","seqNo":2,"transactionInfo":{"transactionId":"tx-1","stoppedReason":"EVDisconnected"}}]"#,
    r#"[2,"6","StatusNotification",{"timestamp":"2026-09-21T13:20:00Z","connectorStatus":"Occupied","evseId":1,"connectorId":1}]"#,
    r#"[2,"7","NotifyEvent",{"generatedAt":"2026-09-21T13:20:00Z","seqNo":0,"eventData":[]}]"#,
    r#"[4,"w-1","NotImplemented","",{}]"#,
];

/// Texts that stand where others are expected.
const ODD: [&str; 16] = [
    "null",
    "-1",
    "1e400",
    "\"\"",
    "[]",
    "{}",
    "true",
    "1970-01-01T00:00:00Z",
    "9223372036854775808",
    "-0.0000000000000001",
    "\\u0000",
    "\u{fffd}",
    "kWh",
    "Transaction.Begin",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    "2,2,2",
];

/// Damages a frame once.
fn damage(frame: &mut Vec<u8>, others: &[&str], rng: &mut Rng) {
    let at = rng.index(frame.len().max(1)).min(frame.len());
    match rng.below(7) {
        0 if !frame.is_empty() => frame[at] ^= 1 << rng.below(8),
        1 => frame.truncate(at),
        2 => {
            let end = (at + rng.index(24)).min(frame.len());
            frame.drain(at..end);
        }
        3 => {
            let end = (at + rng.index(48)).min(frame.len());
            let part = frame[at..end].to_vec();
            frame.splice(at..at, part);
        }
        // A value in place of another: between two of the signs that part them.
        4 | 5 => {
            let is_sign = |byte: &u8| b"\":,[]{}".contains(byte);
            let begin = frame[at..].iter().position(is_sign).map_or(at, |sign| at + sign + 1);
            let end = frame[begin..].iter().position(is_sign).map_or(frame.len(), |sign| begin + sign);
            frame.splice(begin..end, ODD[rng.index(ODD.len())].bytes());
        }
        _ => {
            let other = others[rng.index(others.len())].as_bytes();
            let from = rng.index(other.len());
            let part = &other[from..(from + rng.index(64)).min(other.len())];
            frame.splice(at..at, part.iter().copied());
        }
    }
}

#[test]
fn damaged_frames_are_answered_once_and_reports_never_by_an_error() {
    for version in Version::ALL {
        let good = if version == Version::V16 { OF_16 } else { OF_2 };
        let mut rng = Rng::of(20_261_130, version as u128);
        let mut harness = Harness::new(version);
        let mut ended = 0;
        for number in 0..frames() {
            let mut frame = good[rng.index(good.len())].as_bytes().to_vec();
            for _ in 0..rng.below(4) {
                damage(&mut frame, &good, &mut rng);
            }
            if !harness.send(&frame) {
                ended += 1;
                harness = Harness::new(version);
            }
            if number % 16 == 0 {
                harness.stop();
            }
        }
        assert_eq!(ended, 0, "a damaged frame ends no connection of {version:?}");
    }
}
