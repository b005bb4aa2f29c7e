//! Which chargers each site controller has introduced. A certificate that fits any name could make chargers without end,
//! each of which is kept for good.

use crate::units::{ChargerId, SiteId};
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

/// The chargers of each site since the start, at most so many of each.
pub(super) struct Introduced {
    most: usize,
    by_site: Mutex<HashMap<SiteId, HashSet<ChargerId>>>,
}

impl Introduced {
    /// None yet.
    pub fn at_most(most: usize) -> Introduced {
        Introduced { most, by_site: Mutex::default() }
    }

    /// Whether a site may introduce this charger beside those that it has introduced.
    pub fn admits(&self, site: &SiteId, charger: &ChargerId) -> bool {
        let mut by_site = self.by_site.lock().unwrap_or_else(PoisonError::into_inner);
        let known = by_site.entry(site.clone()).or_default();
        if known.contains(charger) {
            return true;
        }
        let admits = known.len() < self.most;
        if admits {
            known.insert(charger.clone());
        }
        admits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_introduces_so_many_chargers_and_another_one_its_own() {
        let introduced = Introduced::at_most(2);
        let admits = |site: &str, charger: &str| introduced.admits(&site.parse().unwrap(), &charger.parse().unwrap());
        assert!(admits("depot", "A-1") && admits("depot", "A-2"));
        assert!(!admits("depot", "A-3"), "one more");
        assert!(admits("depot", "A-1"), "again");
        assert!(admits("hotel", "A-3"), "another site");
    }
}
