//! Any bytes as a block of the log, and as records in a block that is otherwise whole: read whole or refused, and never a
//! crash.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wattstile::journal::{BLOCK_HEADER, BLOCK_MAX, BLOCK_VERSION, Log, MemoryStore, Record, Sequences, Store};
use wattstile::node::{fact::Fact, version_4};

/// Offsets of a block's length and checksum.
const LENGTH_AT: usize = 8;
const CRC_AT: usize = BLOCK_HEADER - 4;

// The bytes are read three times: as a block, as one whose checksum is right, and as the content of a whole block, so that
// the fuzzer gets beyond the header.
fuzz_target!(|data: &[u8]| {
    open(data.to_vec());
    let mut mended = data.to_vec();
    if mended.len() >= BLOCK_HEADER {
        mend(&mut mended);
        open(mended);
    }
    // Of up to 255 records: the first byte is their number.
    if let [records, content @ ..] = data
        && content.len() <= BLOCK_MAX - BLOCK_HEADER
    {
        let mut block = [b"wBLK", &[BLOCK_VERSION, 1, *records, 0][..], &[0; BLOCK_HEADER - 8], content].concat();
        mend(&mut block);
        open(block);
    }
});

fn open(block: Vec<u8>) {
    let mut store = MemoryStore::new(64);
    store.append(0, &block).expect("memory takes it");
    let _ = Log::open(Box::new(store), &Sequences::new(4), &mut |record| {
        read(record);
        Ok(())
    });
}

fn read(record: Record<'_>) {
    drop(Fact::read(record));
    drop(version_4::read(record));
}

/// Gives a block the length and the checksum that it should have.
fn mend(block: &mut [u8]) {
    let length = u32::try_from(block.len()).expect("bounded by the fuzzer");
    block[LENGTH_AT..LENGTH_AT + 4].copy_from_slice(&length.to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&block[..CRC_AT]);
    hasher.update(&block[BLOCK_HEADER..]);
    let crc = hasher.finalize();
    block[CRC_AT..BLOCK_HEADER].copy_from_slice(&crc.to_le_bytes());
}
