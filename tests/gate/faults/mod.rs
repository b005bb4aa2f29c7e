//! What a real process does when its surroundings fail: the disk, the file system, the clock, memory, certificates, peers
//! by the thousand and peers that misbehave. It ends with a message and a code, or goes on; in either case nothing that was
//! acknowledged is lost, and money ends right.

mod certificates;
mod clock;
mod disk;
mod memory;
mod overload;
mod peers;

use crate::common::business::Business;
use crate::common::{Served, skipped_without};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use wattstile::journal::{self, Layout};

const CHARGERS: u16 = 12;
const SEED: u64 = 20_261_122;
const LAYOUT: Layout = Layout { partitions: 8, generation_blocks: 32 };
const SETTINGS: [&str; 3] = ["payment.answer_authorize=2s", "journal.snapshot_every=50ms", "log.level=warn"];
const TIMEOUT: Duration = Duration::from_secs(30);

/// Business comes to its end, and the data are whole.
fn settle(mut gate: Served, business: Business) {
    std::thread::sleep(Duration::from_secs(2));
    let outcome = business.finish();
    assert!(outcome.fleet.tally.receipts >= 5, "there was work: {:?}", outcome.fleet.tally);
    outcome.assert_nothing_lost();
    assert_eq!(gate.terminate(), Some(0), "{}", gate.log());
    let found = journal::verify(&gate.data_dir().join("data")).unwrap();
    assert!(found.whole, "{:?}", found.damage);
}

/// A part of the system that misbehaves on demand, compiled from `tests/shim`; `None` (with a message) where there is
/// no C compiler.
fn shim(folder: &Path, name: &str) -> Option<PathBuf> {
    let library = folder.join(name).with_extension("so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shim").join(name).with_extension("c");
    let compiled =
        Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).args([&library, &source]).arg("-ldl").status();
    match compiled {
        Ok(status) if status.success() && cfg!(target_os = "linux") => Some(library),
        other => {
            skipped_without(format_args!("Linux and a C compiler, for a {name} that misbehaves ({other:?})"));
            None
        }
    }
}
