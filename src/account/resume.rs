//! What an account does by itself.

use super::{Account, Effect};
use crate::units::{Now, Timestamp};

/// After a restart: nothing. An account asks nobody; who waits for its answer asks again and gets the same one.
pub fn resume(_account: &Account, _now: Now) -> Vec<Effect> {
    Vec::new()
}

/// When the account wants [`super::Command::ExpirePromotions`]: the first moment at which promotional money lapses that no
/// hold reserves.
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
