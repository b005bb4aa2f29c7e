//! Any texts, one after the other, to a link of OCPP of any version: each call is answered once.
#![no_main]

#[path = "../../rules/ocpp/harness.rs"]
mod harness;

use harness::Harness;
use libfuzzer_sys::fuzz_target;
use wattstile::ocpp::Version;

// The first byte chooses the version; lines are texts, and an empty one is an order of the gate to stop.
fuzz_target!(|data: &[u8]| {
    let Some((version, texts)) = data.split_first() else { return };
    let mut harness = Harness::new(Version::ALL[usize::from(*version) % Version::ALL.len()]);
    for text in texts.split(|byte| *byte == b'\n') {
        if text.is_empty() {
            harness.stop();
        } else if !harness.send(text) {
            return;
        }
    }
});
