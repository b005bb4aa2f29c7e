//! The accounts that credentials are linked to: a projection of the accounts' facts, so that a session finds its
//! account without a message.
//!
//! An account's machine decides who may use it; this map only finds it. CredentialLinks that were not durable are lost in a
//! crash, and the others are restored with the accounts.

use crate::account::{Account, Event};
use crate::units::{AccountId, Fingerprint};
use hashbrown::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Accounts by the fingerprints of the credentials that are linked to them.
#[derive(Debug, Default)]
pub struct CredentialLinks(RwLock<HashMap<Fingerprint, AccountId>>);

impl CredentialLinks {
    /// The account that a credential is linked to.
    pub fn find(&self, credential: Fingerprint) -> Option<AccountId> {
        self.read().get(&credential).cloned()
    }

    /// Reserves a credential for an account, unless it is linked to another one, which is returned.
    ///
    /// # Errors
    /// The account that the credential is linked to.
    pub fn claim(&self, credential: Fingerprint, account: &AccountId) -> Result<(), AccountId> {
        let mut links = self.write();
        match links.get(&credential) {
            Some(other) if other != account => Err(other.clone()),
            _ => {
                links.insert(credential, account.clone());
                Ok(())
            }
        }
    }

    /// A credential is not linked to this account (any more).
    pub fn release(&self, credential: Fingerprint, account: &AccountId) {
        let mut links = self.write();
        if links.get(&credential) == Some(account) {
            links.remove(&credential);
        }
    }

    /// Applies a fact of an account, live and in replay.
    pub fn fold(&self, account: &AccountId, event: &Event) {
        match event {
            Event::CredentialLinked { credential, .. } => {
                self.write().entry(*credential).or_insert_with(|| account.clone());
            }
            Event::CredentialUnlinked { credential, .. } => self.release(*credential, account),
            Event::Closed { .. } => self.write().retain(|_, linked| linked != account),
            Event::Opened { .. }
            | Event::HoldPlaced { .. }
            | Event::Refused { .. }
            | Event::HoldAdjusted { .. }
            | Event::Captured { .. }
            | Event::Released { .. }
            | Event::Reversed { .. }
            | Event::Refunded { .. }
            | Event::ToppedUp { .. }
            | Event::PromotionGranted { .. }
            | Event::PromotionExpired { .. }
            | Event::CreditLimitSet { .. } => {}
        }
    }

    /// Adds the links of a restored account.
    pub fn restore(&self, account: &Account) {
        if let Account::Open(open) = account {
            let mut links = self.write();
            for credential in &open.credentials {
                links.insert(*credential, open.id.clone());
            }
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<Fingerprint, AccountId>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Fingerprint, AccountId>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
