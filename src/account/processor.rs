//! An account as the processor of its own funds: the two ids, one made from the other.

use crate::units::{AccountId, ProcessorId};

/// The account of a processor's id, if it is one.
pub fn account_of(processor: &ProcessorId) -> Option<AccountId> {
    AccountId::new(processor.as_str().strip_prefix(ProcessorId::OF_ACCOUNTS)?).ok()
}

/// The account as the processor of its own funds.
pub fn account_processor(account: &AccountId) -> Option<ProcessorId> {
    ProcessorId::new(&format!("{}{account}", ProcessorId::OF_ACCOUNTS)).ok()
}
