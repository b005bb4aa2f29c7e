//! The accounts that credentials are linked to: a projection of the accounts' facts, so that a session finds its
//! account without a message.
//!
//! An account's machine decides who may use it; this map only finds it. Links that were not durable are lost in a
//! crash, and the others are restored with the accounts.

use crate::account::{Account, Event};
use crate::units::{AccountId, Fingerprint};
use hashbrown::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The accounts that credentials are linked to, as the whole gate sees them.
pub trait CredentialLinks: Send + Sync {
    /// The account that a credential is linked to.
    fn find(&self, credential: Fingerprint) -> Option<AccountId>;

    /// Reserves a credential for an account, unless it is linked to another one, which is returned.
    ///
    /// # Errors
    /// The account that the credential is linked to.
    fn claim(&self, credential: Fingerprint, account: &AccountId) -> Result<(), AccountId>;

    /// A credential is not linked to this account (any more).
    fn release(&self, credential: Fingerprint, account: &AccountId);

    /// Applies a fact of an account, live and in replay.
    fn fold(&self, account: &AccountId, event: &Event);

    /// Adds the links of a restored account.
    fn restore(&self, account: &Account);
}

/// The links of a gate that is a single process.
#[derive(Debug, Default)]
pub struct LocalCredentialLinks(RwLock<HashMap<Fingerprint, AccountId>>);

impl CredentialLinks for LocalCredentialLinks {
    fn find(&self, credential: Fingerprint) -> Option<AccountId> {
        self.read().get(&credential).cloned()
    }

    fn claim(&self, credential: Fingerprint, account: &AccountId) -> Result<(), AccountId> {
        let mut links = self.write();
        match links.get(&credential) {
            Some(other) if other != account => Err(other.clone()),
            _ => {
                links.insert(credential, account.clone());
                Ok(())
            }
        }
    }

    fn release(&self, credential: Fingerprint, account: &AccountId) {
        let mut links = self.write();
        if links.get(&credential) == Some(account) {
            links.remove(&credential);
        }
    }

    fn fold(&self, account: &AccountId, event: &Event) {
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
            | Event::Debited { .. }
            | Event::PromotionGranted { .. }
            | Event::PromotionExpired { .. }
            | Event::CreditLimitSet { .. } => {}
        }
    }

    fn restore(&self, account: &Account) {
        if let Account::Open(open) = account {
            let mut links = self.write();
            for credential in &open.credentials {
                links.insert(*credential, open.id.clone());
            }
        }
    }
}

impl LocalCredentialLinks {
    fn read(&self) -> RwLockReadGuard<'_, HashMap<Fingerprint, AccountId>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Fingerprint, AccountId>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
