//! What all shards of a node share, by what it is for.

use super::credentials::Credentials;
use super::numbering::SeriesNames;
use super::offline_authorizations::OfflineAuthorizations;
use super::routing::ProcessorRegistry;
use super::shard::Shard;
use super::tariff_assignment::TariffAssignments;
use crate::message::Code;
use crate::payment::{Credential, Operation};
use crate::session::Policy;
use crate::units::{AccountId, Fingerprint, PartitionId, PaymentId, SessionId};
use std::sync::Arc;

/// What all shards share. What never changes is a value; what operators and processors change stands behind a name of its own.
pub struct NodeConfig {
    /// Partitions of the data directory.
    pub partitions: u16,
    /// Shards that run them.
    pub shards: u16,
    /// How sessions are dealt with.
    pub policy: Arc<Policy>,
    /// Where receipts can be fetched: an address to which a session's id is appended; empty when nowhere.
    pub receipt_base: String,
    /// How documents are numbered.
    pub series: SeriesNames,
    /// Randomness, from outside.
    pub random: Box<dyn Fn() -> u64 + Send + Sync>,
    /// Which tariff applies where.
    pub tariffs: TariffAssignments,
    /// The processors with their capabilities, as the whole gate sees them.
    pub routing: Box<dyn ProcessorRegistry>,
    /// What is done with credentials.
    pub credentials: Credentials,
    /// Sessions that get energy on our own risk.
    pub offline_authorizations: Box<dyn OfflineAuthorizations>,
}

impl NodeConfig {
    /// The shard that runs a partition; none when there is no such partition.
    pub fn shard_of(&self, partition: PartitionId) -> Option<u16> {
        (partition.0 < self.partitions).then(|| Shard::of(partition, self.shards))
    }

    /// The refusal of a credential that must not enter: a possible card number, or one that looks like a sealed
    /// token.
    pub fn refuses(&self, credential: &Credential) -> Option<Code> {
        self.credentials.refuses(credential)
    }

    /// Why no session begins with a credential: it must not enter, or it is blocked, with the account that it paid from.
    pub fn turns_away(&self, credential: &Credential) -> Option<Code> {
        let is_blocked = || self.credentials.links().is_blocked(self.mark(credential));
        self.refuses(credential).or_else(|| is_blocked().then_some(Code::CredentialDeclined))
    }

    /// The credential, sealed for a payment, as it is stored.
    pub fn seal(&self, payment: PaymentId, credential: Credential) -> Credential {
        self.credentials.seal(payment, credential, &self.random)
    }

    /// The operation as it leaves: with the clear token, if it has one. Nothing when that cannot be opened.
    pub fn unseal(&self, operation: Operation) -> Option<Operation> {
        self.credentials.unseal(operation)
    }

    /// By what a credential is recognised. RFID UIDs and contracts are the same whatever their letters and separators.
    pub fn mark(&self, credential: &Credential) -> Fingerprint {
        self.credentials.mark(credential)
    }

    /// The printable form of a credential: its kind, and a keyed fingerprint that does not reveal the token.
    pub fn fingerprint(&self, credential: &Credential) -> Box<str> {
        self.credentials.fingerprint(credential)
    }

    /// The account that an operation is for, when it is not for an outside processor.
    pub fn account_of(operation: &Operation) -> Option<AccountId> {
        crate::account::account_of(&operation.processor)
    }

    /// Where a session's receipt can be fetched.
    pub fn receipt_url(&self, session: SessionId) -> Box<str> {
        match self.receipt_base.as_str() {
            "" => Box::default(),
            base => format!("{base}{session}").into(),
        }
    }
}
