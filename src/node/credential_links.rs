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
    /// The open account that a credential is linked to.
    fn find(&self, credential: Fingerprint) -> Option<AccountId>;

    /// Whether the account of a credential was closed, and it was linked to no other one since.
    fn is_blocked(&self, credential: Fingerprint) -> bool;

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
pub struct LocalCredentialLinks(RwLock<HashMap<Fingerprint, Linked>>);

/// The account of a credential.
#[derive(Clone, Debug)]
struct Linked {
    account: AccountId,
    is_closed: bool,
}

impl CredentialLinks for LocalCredentialLinks {
    fn find(&self, credential: Fingerprint) -> Option<AccountId> {
        self.read().get(&credential).filter(|linked| !linked.is_closed).map(|linked| linked.account.clone())
    }

    fn is_blocked(&self, credential: Fingerprint) -> bool {
        self.read().get(&credential).is_some_and(|linked| linked.is_closed)
    }

    fn claim(&self, credential: Fingerprint, account: &AccountId) -> Result<(), AccountId> {
        let mut links = self.write();
        match links.get(&credential) {
            Some(other) if other.account != *account && !other.is_closed => Err(other.account.clone()),
            _ => {
                links.insert(credential, Linked::new(account, false));
                Ok(())
            }
        }
    }

    fn release(&self, credential: Fingerprint, account: &AccountId) {
        let mut links = self.write();
        if links.get(&credential).is_some_and(|linked| linked.account == *account) {
            links.remove(&credential);
        }
    }

    fn fold(&self, account: &AccountId, event: &Event) {
        match event {
            Event::CredentialLinked { credential, .. } => self.link(*credential, account, false),
            Event::CredentialUnlinked { credential, .. } => self.release(*credential, account),
            Event::Closed { .. } => {
                for linked in self.write().values_mut().filter(|linked| linked.account == *account) {
                    linked.is_closed = true;
                }
            }
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
        let is_closed = matches!(account, Account::Closed(_));
        let Some(opened) = account.opened() else { return };
        for credential in &opened.credentials {
            self.link(*credential, &opened.id, is_closed);
        }
    }
}

impl Linked {
    fn new(account: &AccountId, is_closed: bool) -> Linked {
        Linked { account: account.clone(), is_closed }
    }
}

impl LocalCredentialLinks {
    /// Links a credential, unless it has another open account; accounts are restored in any order.
    fn link(&self, credential: Fingerprint, account: &AccountId, is_closed: bool) {
        let mut links = self.write();
        let linked = links.entry(credential).or_insert_with(|| Linked::new(account, is_closed));
        if linked.is_closed {
            *linked = Linked::new(account, is_closed);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<Fingerprint, Linked>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Fingerprint, Linked>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
