//! Sessions that get energy on our own risk, because no processor could be reached, by credential.
//!
//! One at a time for each credential, and all of them together within a bound. The table is rebuilt from the sessions
//! when they resume after a restart.

use crate::payment::Shown;
use crate::units::{Amount, Currency, SessionId};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Sessions that get energy on our own risk, as the whole gate sees them.
pub trait OfflineAuthorizations: Send + Sync {
    /// Whether one more may be begun for this credential, at a floor, within a bound (in minor units) for all of its
    /// currency.
    fn allows(&self, fingerprint: &str, floor: Amount, exposure_minor: i64) -> bool;

    /// Sets whether a session stands in now.
    fn set(&self, session: SessionId, credential: (&Shown, Currency), stands_in: bool);

    /// Sessions without an authorization yet.
    fn sessions(&self) -> Vec<SessionId>;

    /// Their number.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The same of a gate that is a single process, by how the credential is shown.
#[derive(Debug, Default)]
pub struct LocalOfflineAuthorizations {
    open: Mutex<BTreeMap<SessionId, (Shown, Currency)>>,
    /// Their number: almost always zero, and then the lock is not taken.
    count: AtomicUsize,
}

impl OfflineAuthorizations for LocalOfflineAuthorizations {
    fn allows(&self, fingerprint: &str, floor: Amount, exposure_minor: i64) -> bool {
        let (open, fingerprint) = (self.lock(), Shown::from(fingerprint));
        let same = open.values().filter(|(_, currency)| *currency == floor.currency).count();
        let at_stake = i64::try_from(same + 1).unwrap_or(i64::MAX).saturating_mul(floor.minor);
        at_stake <= exposure_minor && open.values().all(|(other, _)| *other != fingerprint)
    }

    fn set(&self, session: SessionId, (fingerprint, currency): (&Shown, Currency), stands_in: bool) {
        if !stands_in && self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut open = self.lock();
        if stands_in {
            open.insert(session, (fingerprint.clone(), currency));
        } else {
            open.remove(&session);
        }
        self.count.store(open.len(), Ordering::Relaxed);
    }

    fn sessions(&self) -> Vec<SessionId> {
        self.lock().keys().copied().collect()
    }

    fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

impl LocalOfflineAuthorizations {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<SessionId, (Shown, Currency)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
