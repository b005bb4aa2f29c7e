//! Links that sign a browser in, and cookies of browsers that are. Both live in memory: a restart of the gate ends them.

use super::{Digest, Principal, same};
use crate::limits::{SIGN_IN_LINKS_MAX, SIGNED_IN_MAX};
use crate::units::{TimeSpan, Timestamp};
use std::collections::VecDeque;

/// The name of the cookie.
pub(in crate::web) const COOKIE: &str = "wattstile_session";
/// How long a link may be used.
pub(in crate::web) const LINK_LIFE: TimeSpan = TimeSpan::from_secs(300);
/// How long a browser stays signed in.
const SIGN_IN_LIFE: TimeSpan = TimeSpan::from_secs(12 * 3_600);

/// The oldest stand in front; where there are too many, they end first.
#[derive(Default)]
pub(super) struct SignIns {
    links: VecDeque<Entry>,
    cookies: VecDeque<Entry>,
}

struct Entry {
    digest: Digest,
    principal: Principal,
    until: Timestamp,
}

impl SignIns {
    pub fn add_link(&mut self, digest: Digest, principal: Principal, now: Timestamp) {
        let until = now.saturating_add(LINK_LIFE);
        add(&mut self.links, Entry { digest, principal, until }, SIGN_IN_LINKS_MAX);
    }

    /// The principal of a link, which is used up by that.
    pub fn take_link(&mut self, shown: &Digest, now: Timestamp) -> Option<Principal> {
        let place = position(&self.links, shown)?;
        let link = self.links.remove(place)?;
        (now < link.until).then_some(link.principal)
    }

    pub fn add_cookie(&mut self, digest: Digest, principal: Principal, now: Timestamp) {
        let until = now.saturating_add(SIGN_IN_LIFE);
        add(&mut self.cookies, Entry { digest, principal, until }, SIGNED_IN_MAX);
    }

    pub fn of_cookie(&self, shown: &Digest, now: Timestamp) -> Option<Principal> {
        let entry = &self.cookies[position(&self.cookies, shown)?];
        (now < entry.until).then(|| entry.principal.clone())
    }

    pub fn end(&mut self, shown: &Digest) {
        if let Some(place) = position(&self.cookies, shown) {
            self.cookies.remove(place);
        }
    }
}

fn add(entries: &mut VecDeque<Entry>, entry: Entry, most: usize) {
    while entries.len() >= most {
        entries.pop_front();
    }
    entries.push_back(entry);
}

/// Looks at every entry, wherever the right one is.
fn position(entries: &VecDeque<Entry>, shown: &Digest) -> Option<usize> {
    let mut found = None;
    for (place, entry) in entries.iter().enumerate() {
        if same(&entry.digest, shown) {
            found = Some(place);
        }
    }
    found
}
