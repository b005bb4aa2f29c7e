//! Timers of an account.

use super::{Account, Effect};
use crate::units::{Now, Timestamp};

/// After a restart: no effects. An account sends no requests; sessions that wait for its answer repeat their
/// operations and get the same one.
pub fn resume(_account: &Account, _now: Now) -> Vec<Effect> {
    Vec::new()
}

/// When [`super::Command::ExpirePromotions`] is due: the first moment at which promotional money lapses that no hold
/// reserves.
pub fn next_deadline(account: &Account) -> Option<Timestamp> {
    match account {
        Account::Open(account) => account
            .unreserved_grants()
            .filter(|(_, unreserved)| *unreserved > 0)
            .filter_map(|(grant, _)| grant.expires_at)
            .min(),
        Account::Unopened | Account::Closed(_) => None,
    }
}
