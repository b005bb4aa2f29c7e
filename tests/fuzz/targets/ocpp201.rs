//! Any content in the calls of OCPP 2.0.1: read, and answered once.
#![no_main]

#[path = "../../rules/ocpp/harness.rs"]
mod harness;

use harness::Harness;
use libfuzzer_sys::fuzz_target;
use wattstile::ocpp::Version;

const ACTIONS: [&str; 7] = [
    "Authorize",
    "BootNotification",
    "DataTransfer",
    "MeterValues",
    "NotifyReport",
    "StatusNotification",
    "TransactionEvent",
];

// The first byte chooses the call; the rest is its content, once in a list and once as it is.
fuzz_target!(|data: &[u8]| {
    let Some((action, content)) = data.split_first() else { return };
    let action = ACTIONS[usize::from(*action) % ACTIONS.len()];
    let mut harness = Harness::new(Version::V201);
    for [before, after] in [["", ""], ["{\"meterValue\":", "}"]] {
        let head = format!("[2,\"1\",\"{action}\",{before}");
        harness.send(&[head.as_bytes(), content, after.as_bytes(), b"]"].concat());
    }
});
