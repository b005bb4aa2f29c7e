//! Any bytes as records of the log, and as a block of it: read whole or refused, and never a crash.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wattstile::journal::{Log, MemoryStore, RECORD_HEADER, RecordKind, Sequences, Store, decode};
use wattstile::{account, charger, session};

/// Where the checksum of a record stands.
const CRC_AT: usize = RECORD_HEADER - 4;

// The bytes are read twice: as they are, and with the checksum that the first record should have, so that the fuzzer gets
// beyond it.
fuzz_target!(|data: &[u8]| {
    let _ = decode(data);
    let mut store = MemoryStore::new(64);
    store.append(0, data).expect("memory takes it");
    let _ = Log::open(Box::new(store), &Sequences::new(4), &mut |_| Ok(()));

    let mut bytes = data.to_vec();
    mend(&mut bytes);
    let mut rest = bytes.as_slice();
    while let Ok((record, size)) = decode(rest) {
        match record.kind {
            RecordKind::SessionEvent => drop(postcard::from_bytes::<session::Event>(record.payload)),
            RecordKind::ChargerEvent => drop(postcard::from_bytes::<charger::Event>(record.payload)),
            RecordKind::AccountEvent => drop(postcard::from_bytes::<account::Event>(record.payload)),
            _ => {}
        }
        rest = &rest[size..];
    }
});

fn mend(bytes: &mut [u8]) {
    if bytes.len() < RECORD_HEADER {
        return;
    }
    let size = RECORD_HEADER + usize::from(u16::from_le_bytes([bytes[6], bytes[7]]));
    let Some(record) = bytes.get_mut(..size) else { return };
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&record[..CRC_AT]);
    hasher.update(&record[RECORD_HEADER..]);
    let crc = hasher.finalize();
    record[CRC_AT..RECORD_HEADER].copy_from_slice(&crc.to_le_bytes());
}
