//! Opens the data directory of a stopped gate for reading.

use super::gate::StartError;
use super::tariff_resolver::NoTariffs;
use crate::api::Views;
use crate::journal::{Archive, DataDir, SledStore, Snapshots, recover};
use crate::node::credential_links::LocalCredentialLinks;
use crate::node::credentials::Credentials;
use crate::node::node_config::NodeConfig;
use crate::node::offline_authorizations::LocalOfflineAuthorizations;
use crate::node::replay::Rebuilding;
use crate::node::routing::LocalProcessorRegistry;
use crate::node::shard::Shard;
use crate::node::tariff_assignment::TariffAssignments;
use crate::node::tariff_assignment::TariffResolver;
use crate::session::Policy;
use crate::units::{Mono, Now, Timestamp};
use std::path::Path;
use std::sync::Arc;

/// Rebuilds the gate's state by the same recovery. Makes no decisions, sends no requests, and writes only what
/// recovery itself does (a torn end of the log is cut).
///
/// # Errors
/// The data are damaged, in use, of another version, or not there.
pub fn read(path: &Path) -> Result<Views, StartError> {
    let directory = DataDir::open(path)?;
    let rebuilding = Rebuilding { shard: shard(directory.partitions()), now: NOW };
    let archive = Archive::open(&directory)?;
    let (store, snapshots) = (SledStore::open(&directory)?, Snapshots::open(&directory)?);
    let (log, rebuilt, _) = recover(Box::new(store), &snapshots, vec![rebuilding], &|_| ())?;
    let mut shards: Vec<Shard> = rebuilt.into_iter().map(|rebuilt| rebuilt.shard).collect();
    shards.iter_mut().for_each(|shard| shard.continue_after(log.sequences().clone()));
    Ok(Views::opened(shards, Some(Arc::new(archive))))
}

/// The clocks of a state that is only looked at.
pub(super) const NOW: Now = Now { wall: Timestamp::from_unix_ms(0), mono: Mono(0) };

/// An empty shard of all partitions, which decides nothing and sends nothing.
pub(super) fn shard(partitions: u16) -> Shard {
    let tariff_resolver: Box<dyn TariffResolver> = Box::new(NoTariffs);
    let node_config = Arc::new(NodeConfig {
        partitions,
        shards: 1,
        policy: Arc::new(Policy::default()),
        tariffs: TariffAssignments::new(tariff_resolver),
        routing: Box::new(LocalProcessorRegistry::default()),
        offline_authorizations: Box::new(LocalOfflineAuthorizations::default()),
        random: Box::new(|| 0),
        credentials: Credentials::new(
            &[],
            crate::payment::vault::Keyring::fixed([0; 32]),
            Box::new(LocalCredentialLinks::default()),
        ),
        receipt_base: String::new(),
        series: Default::default(),
    });
    Shard::new(node_config, 0, NOW)
}
