//! Open files: how many the process may have, and how many of them connections may take.
//!
//! A log that cannot open its next generation ends the process. So descriptors are counted before a listener opens:
//! those in use by then, and a reserve beside them, belong to the journal; connections get the rest, each listener
//! its part.

use crate::host::open_files;
use crate::limits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fmt;

/// Most connections of one listener, and most handshakes in progress at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Connections that are up.
    pub connections: usize,
    /// Handshakes in progress.
    pub handshakes: usize,
}

/// Numbers of files that the listeners may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The listener for chargers and site controllers.
    pub chargers: Share,
    /// The listener for processors.
    pub processors: Share,
}

/// The limit of open files is too low for what is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scarce {
    /// Number of files that may be open.
    pub limit: u64,
    /// The number that was requested.
    pub wanted: u64,
}

impl fmt::Display for Scarce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scarce { limit, wanted } = self;
        write!(
            f,
            "{limit} open files are allowed and {wanted} are wanted: raise the limit (LimitNOFILE= of the unit, "
        )?;
        f.write_str("`ulimit -Hn`), or lower `chargers.connections_max` and `processors.connections_max`")
    }
}

impl std::error::Error for Scarce {}

/// Least number of files with which listeners are opened.
const WORTH_IT: usize = 32;

impl Plan {
    /// The requested numbers, without a limit.
    pub fn wanted(chargers: usize, processors: usize) -> Plan {
        Plan {
            chargers: Share { connections: chargers, handshakes: limits::HANDSHAKES_MAX },
            processors: Share { connections: processors, handshakes: limits::PROCESSOR_HANDSHAKES_MAX },
        }
    }

    /// Descriptors that its listeners can take at once.
    pub fn total(&self) -> u64 {
        let Plan { chargers, processors } = self;
        let parts = [chargers.connections, chargers.handshakes, processors.connections, processors.handshakes];
        parts.into_iter().fold(0, |sum: u64, part| sum.saturating_add(part as u64))
    }

    /// Reduces the plan to the limit less the files in use and in reserve, and returns the shortage if there is one.
    /// Processors get up to a quarter of the rest, and handshakes at most a quarter of each part.
    ///
    /// # Errors
    /// There is so little that no listener should open.
    pub fn within(self, limit: u64, in_use: u64) -> Result<(Plan, Option<Scarce>), Scarce> {
        let kept = in_use.saturating_add(limits::DESCRIPTORS_RESERVED);
        let scarce = Scarce { limit, wanted: self.total().saturating_add(kept) };
        if scarce.wanted <= limit {
            return Ok((self, None));
        }
        let room = usize::try_from(limit.saturating_sub(kept)).unwrap_or(usize::MAX);
        if room < WORTH_IT {
            return Err(scarce);
        }
        let processors = self.processors.within((room / 4).max(room.saturating_sub(self.chargers.total())));
        let chargers = self.chargers.within(room - processors.total());
        Ok((Plan { chargers, processors }, Some(scarce)))
    }
}

impl Share {
    fn total(self) -> usize {
        self.connections.saturating_add(self.handshakes)
    }

    fn within(self, room: usize) -> Share {
        if self.total() <= room {
            return self;
        }
        let handshakes = self.handshakes.min((room / 4).max(room.saturating_sub(self.connections))).max(1);
        Share { connections: self.connections.min(room.saturating_sub(handshakes)).max(1), handshakes }
    }
}

/// Raises the limit of open files as far as the system allows, and returns it.
pub fn raise_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum || current.is_none() {
        return current.unwrap_or(u64::MAX);
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum.unwrap_or(u64::MAX),
        Err(error) => {
            tracing::warn!(%error, "the limit of open files stays");
            current.unwrap_or(u64::MAX)
        }
    }
}

/// How many files the process may have open once a gate has raised the limit.
pub fn highest_limit() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

/// Number of files that the process has open; an estimate where the system does not report it.
pub fn in_use() -> u64 {
    open_files(None).unwrap_or(IN_USE_GUESS)
}

const IN_USE_GUESS: u64 = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_share_what_the_journal_does_not_need() {
        let wanted = Plan::wanted(16_000, 256);
        assert_eq!(wanted.within(1 << 20, 60), Ok((wanted, None)));
        for limit in [400, 512, 1_024, 4_096, 20_000] {
            let (plan, scarce) = wanted.within(limit, 60).unwrap();
            assert_eq!(scarce, Some(Scarce { limit, wanted: wanted.total() + 60 + limits::DESCRIPTORS_RESERVED }));
            assert!(plan.total() + 60 + limits::DESCRIPTORS_RESERVED <= limit, "{limit}: {plan:?}");
            let parts = [plan.chargers, plan.processors];
            assert!(parts.iter().all(|part| part.connections >= 10 && part.handshakes >= 2), "{limit}: {plan:?}");
        }
        // Chargers get what processors do not request.
        let (plan, _) = Plan::wanted(16_000, 8).within(8_192, 60).unwrap();
        assert_eq!(plan.processors.connections, 8);
        assert!(plan.total() + 60 + limits::DESCRIPTORS_RESERVED > 8_192 - 8, "{plan:?}");
    }

    #[test]
    fn so_little_that_nothing_should_open_is_refused_with_the_numbers() {
        let refused = Plan::wanted(16_000, 256).within(128, 60).unwrap_err();
        assert!(refused.to_string().starts_with("128 open files are allowed and "), "{refused}");
        assert!(refused.to_string().contains("LimitNOFILE"), "{refused}");
    }

    #[test]
    fn the_limit_is_raised_as_far_as_it_goes() {
        assert_eq!(raise_limit(), highest_limit());
        assert!(in_use() > 2);
    }
}
