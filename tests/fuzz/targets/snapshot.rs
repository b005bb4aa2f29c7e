//! Any bytes as the state of a partition and as a session in the archive: taken or refused, and never a crash.
#![no_main]

use arc_swap::ArcSwap;
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;
use wattstile::accounting::archive_record::ArchiveRecord;
use wattstile::node::node_config::{NodeConfig, TariffAssignment, TariffResolver};
use wattstile::node::shard::Shard;
use wattstile::payment::vault::Keyring;
use wattstile::units::{ChargerId, ConnectorId, Mono, Now, PartitionId, Timestamp};
use wattstile::message::Code;

const NOW: Now = Now { wall: Timestamp::from_unix_ms(0), mono: Mono(0) };

struct Nowhere;

impl TariffResolver for Nowhere {
    fn place(&self, _: &ChargerId, _: ConnectorId, _: Timestamp) -> Result<TariffAssignment, Code> {
        Err(Code::NoTariff)
    }
}

fn shard() -> Shard {
    let tariff_resolver: Box<dyn TariffResolver> = Box::new(Nowhere);
    let node_config = NodeConfig {
        partitions: 1,
        shards: 1,
        policy: Default::default(),
        tariff_resolver: ArcSwap::from_pointee(tariff_resolver),
        routes: ArcSwap::default(),
        offline_authorizations: Default::default(),
        random: Box::new(|| 7),
        fingerprint_key: ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"fuzz"),
        receipt_base: String::new(),
        series: Default::default(),
        keys: Keyring::fixed([7; 32]),
        links: Default::default(),
    };
    Shard::new(Arc::new(node_config), 0, NOW)
}

fuzz_target!(|data: &[u8]| {
    let _ = ArchiveRecord::from_bytes(data);
    let mut shard = shard();
    if shard.restore(PartitionId(0), data, NOW).is_ok() {
        // What was taken can be written, and read again as the same.
        let state = shard.snapshot(PartitionId(0));
        let mut other = self::shard();
        other.restore(PartitionId(0), &state, NOW).expect("its own snapshot");
        assert_eq!(other.snapshot(PartitionId(0)), state);
    }
});
