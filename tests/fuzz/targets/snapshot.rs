//! Any bytes as the state of a partition and as a session in the archive: taken or refused, and never a crash.
#![no_main]

use wattstile::node::credential_links::LocalCredentialLinks;
use wattstile::node::credentials::Credentials;
use wattstile::node::offline_authorizations::LocalOfflineAuthorizations;
use wattstile::node::routing::LocalProcessorRegistry;
use wattstile::node::tariff_assignment::TariffAssignments;
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;
use wattstile::accounting::archive_record::ArchiveRecord;
use wattstile::node::node_config::NodeConfig;
use wattstile::node::tariff_assignment::{TariffAssignment, TariffResolver};
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
        tariffs: TariffAssignments::new(tariff_resolver),
        routing: Box::new(LocalProcessorRegistry::default()),
        offline_authorizations: Box::new(LocalOfflineAuthorizations::default()),
        random: Box::new(|| 7),
        credentials: Credentials::new(b"fuzz", Keyring::fixed([7; 32]), Box::new(LocalCredentialLinks::default())),
        receipt_base: String::new(),
        series: Default::default(),
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
