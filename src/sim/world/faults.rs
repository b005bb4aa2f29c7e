//! What goes wrong in a simulated world, and how often: drawn anew for each world, so that many kinds of weather are seen.

use crate::units::rng::Rng;
use std::collections::BTreeMap;
use std::str::FromStr;

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal, $mean:expr;)*) => {
        /// Kinds of faults.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Fault { $($(#[$doc])* $name = $number,)* }

        impl Fault {
            /// Every kind.
            pub const ALL: &[Fault] = &[$(Fault::$name),*];

            /// Its name on the command line and in reports.
            pub const fn name(self) -> &'static str {
                match self { $(Fault::$name => $text,)* }
            }

            /// How often it happens in ordinary weather.
            const fn mean(self) -> Often {
                match self { $(Fault::$name => $mean,)* }
            }
        }
    };
}

/// How often something goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Often {
    /// Once in so many seconds of the world, on average.
    Seconds(u64),
    /// With so many in a million of the things that it can befall.
    PerMillion(u32),
}

faults! {
    /// The gate is killed; the page cache survives.
    Kill = 0, "kill", Often::Seconds(2_400);
    /// The power fails: of what was not synced any part survives.
    PowerCut = 1, "power-cut", Often::Seconds(2_400);
    /// The power fails while a commit is being written.
    TornCommit = 2, "torn-commit", Often::Seconds(2_400);
    /// Writing or syncing fails once; the gate ends and is started again.
    DiskError = 3, "disk-error", Often::Seconds(5_000);
    /// The disk is full for a while.
    DiskFull = 4, "disk-full", Often::Seconds(9_000);
    /// A commit takes up to half a minute.
    SlowDisk = 5, "slow-disk", Often::PerMillion(300);
    /// A restart is killed again before it has come far.
    Nested = 6, "nested", Often::PerMillion(250_000);
    /// Bytes are delivered late, by up to a minute.
    Delay = 7, "delay", Often::PerMillion(300);
    /// Bytes are lost; the connection breaks some time later.
    Loss = 8, "loss", Often::PerMillion(60);
    /// Bytes arrive twice; the connection breaks some time later.
    Duplicate = 9, "duplicate", Often::PerMillion(60);
    /// Bytes overtake others; the connection breaks some time later.
    Reorder = 10, "reorder", Often::PerMillion(60);
    /// A bit is flipped on the way.
    Corrupt = 11, "corrupt", Often::PerMillion(60);
    /// A connection breaks.
    Cut = 12, "cut", Often::Seconds(120);
    /// A connection breaks, and one side only detects it by its time-out.
    HalfOpen = 13, "half-open", Often::Seconds(900);
    /// The gate's wall clock is set wrong for a while, by up to a day.
    Clock = 14, "clock", Often::Seconds(7_200);
    /// A charger or a whole site is cut off for up to an hour.
    Offline = 15, "offline", Often::Seconds(600);
    /// A processor is cut off for up to half an hour.
    ProcessorOffline = 16, "processor-offline", Often::Seconds(5_400);
    /// Processors answer late, twice, wrongly or not at all.
    Processor = 17, "processor", Often::PerMillion(100_000);
    /// A processor sends messages about operations of others, or about unknown ones.
    Forgery = 18, "forgery", Often::Seconds(1_200);
    /// Notices of disputes, failed captures and failed refunds; partial approvals, low balances.
    Aftermath = 19, "aftermath", Often::PerMillion(80_000);
    /// Operators stop sessions and give money back.
    Operator = 20, "operator", Often::Seconds(120);
    /// While the gate is down, a bit of the newest snapshot of a partition changes.
    SnapshotRot = 21, "snapshot-rot", Often::PerMillion(250_000);
    /// A bit of an archived session changes; some time later the gate is stopped and the archive mended.
    ArchiveRot = 22, "archive-rot", Often::Seconds(3_600);
    /// A charger is reset or replaced: it has no sessions, and perhaps another meter.
    Replaced = 23, "replaced", Often::Seconds(1_200);
    /// The disk of the snapshots is full for up to three hours: the log grows beyond its bound.
    SnapshotDiskFull = 24, "snapshot-disk-full", Often::Seconds(9_000);
    /// A shard goes on with a snapshot only after up to ten minutes: the log comes to its bound meanwhile.
    SlowSnapshots = 25, "slow-snapshots", Often::PerMillion(100_000);
    /// A shard is closed as a whole, and opened again up to two minutes later.
    ShardClosed = 26, "shard-closed", Often::Seconds(1_200);
    /// Chargers that speak OCPP have bad manners, each its own.
    Manners = 27, "manners", Often::PerMillion(600_000);
}

/// Which faults there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults(u32);

/// A text that names no fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no fault; there are all, none, {names}", names = Fault::ALL.iter().map(|fault| fault.name()).collect::<Vec<_>>().join(", "))]
pub struct UnknownFault(String);

impl Faults {
    /// None.
    pub const NONE: Faults = Faults(0);

    /// All of them.
    pub const ALL: Faults = Faults((1 << Fault::ALL.len()) - 1);

    /// Whether this kind may happen.
    pub const fn has(self, fault: Fault) -> bool {
        self.0 & 1 << fault as u8 != 0
    }

    /// These and one more.
    pub const fn with(self, fault: Fault) -> Faults {
        Faults(self.0 | 1 << fault as u8)
    }

    /// These without one.
    pub const fn without(self, fault: Fault) -> Faults {
        Faults(self.0 & !(1 << fault as u8))
    }
}

/// `all`, `none`, or names with commas between; a name with a minus in front is taken away.
impl FromStr for Faults {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Faults, UnknownFault> {
        let mut faults = if text.trim_start().starts_with('-') { Faults::ALL } else { Faults::NONE };
        for word in text.split(',').map(str::trim) {
            let find = |name: &str| Fault::ALL.iter().copied().find(|fault| fault.name() == name);
            faults = match (word, word.strip_prefix('-')) {
                ("all", _) => Faults::ALL,
                ("none", _) => Faults::NONE,
                (_, Some(name)) => faults.without(find(name).ok_or_else(|| UnknownFault(word.to_owned()))?),
                (name, None) => faults.with(find(name).ok_or_else(|| UnknownFault(word.to_owned()))?),
            };
        }
        Ok(faults)
    }
}

impl std::fmt::Display for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Faults::ALL => f.write_str("all"),
            Faults::NONE => f.write_str("none"),
            some => {
                let names: Vec<_> = Fault::ALL.iter().filter(|fault| some.has(**fault)).map(|one| one.name()).collect();
                f.write_str(&names.join(","))
            }
        }
    }
}

/// Kinds of faults whose rates are rolled with the world's own random numbers.
const ROLLED_FIRST: usize = Fault::ShardClosed as usize;

/// How often a fault happens in a world, in tenths of the ordinary rate; 0 when it is not wanted.
fn rate(faults: Faults, fault: Fault, rng: &mut Rng) -> u32 {
    let rolled = rng.below(10);
    if !faults.has(fault) {
        return 0;
    }
    match rolled {
        0 | 1 => 0,
        2..=4 => 2,
        5..=7 => 10,
        _ => 40,
    }
}

/// The weather of one world: each allowed fault is on or off, and rare, ordinary or frequent.
#[derive(Clone, Debug)]
pub(super) struct Weather {
    /// Tenths of the ordinary rate; 0: off.
    rates: [u32; Fault::ALL.len()],
    /// No fault happens while this is set.
    pub calm: bool,
    counts: BTreeMap<Fault, u64>,
    rng: Rng,
}

impl Weather {
    pub fn new(faults: Faults, rng: &mut Rng) -> Weather {
        let mut rates = [0; Fault::ALL.len()];
        // Rolled for all, so that one fault more or less does not change the rest of the world; nor does a kind that is new.
        let (known, new) = Fault::ALL.split_at(ROLLED_FIRST);
        for fault in known {
            rates[*fault as usize] = rate(faults, *fault, rng);
        }
        let own = Rng::new(rng.bits());
        let mut of_new = own.clone();
        for fault in new {
            rates[*fault as usize] = rate(faults, *fault, &mut of_new);
        }
        Weather { rates, calm: false, counts: BTreeMap::new(), rng: own }
    }

    /// When a fault that comes by itself comes next, in milliseconds from now; `None`: never.
    pub fn next(&mut self, fault: Fault) -> Option<u64> {
        let Often::Seconds(mean) = fault.mean() else { return None };
        let rate = u64::from(self.rates[fault as usize]);
        (rate > 0).then(|| 1 + self.rng.below(mean * 20_000 / rate))
    }

    /// Whether this thing is befallen by a fault now, which is counted.
    pub fn strikes(&mut self, fault: Fault) -> bool {
        let struck = self.would_strike(fault);
        if struck {
            self.happened(fault);
        }
        struck
    }

    /// The same, and the caller counts it.
    pub fn would_strike(&mut self, fault: Fault) -> bool {
        let Often::PerMillion(mean) = fault.mean() else { return false };
        let rate = u64::from(self.rates[fault as usize]);
        rate > 0 && !self.calm && self.rng.below(10_000_000) < u64::from(mean) * rate
    }

    /// A share of the ordinary rate, in ten thousandths of whatever it befalls.
    pub fn share(&self, fault: Fault) -> u16 {
        let Often::PerMillion(mean) = fault.mean() else { return 0 };
        u16::try_from(u64::from(mean) * u64::from(self.rates[fault as usize]) / 1_000).unwrap_or(u16::MAX).min(8_000)
    }

    pub fn happened(&mut self, fault: Fault) {
        *self.counts.entry(fault).or_default() += 1;
    }

    pub fn counts(&self) -> &BTreeMap<Fault, u64> {
        &self.counts
    }

    /// The random numbers of faults.
    pub fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_named_added_and_taken_away() {
        assert_eq!("all".parse(), Ok(Faults::ALL));
        assert_eq!("none".parse(), Ok(Faults::NONE));
        let some: Faults = "kill,delay".parse().unwrap();
        assert!(some.has(Fault::Kill) && some.has(Fault::Delay) && !some.has(Fault::Cut));
        assert_eq!(some.to_string(), "kill,delay");
        assert_eq!("-kill".parse(), Ok(Faults::ALL.without(Fault::Kill)));
        assert_eq!("all,-kill".parse(), Ok(Faults::ALL.without(Fault::Kill)));
        assert!("rain".parse::<Faults>().unwrap_err().to_string().contains("kill, power-cut"));
    }

    #[test]
    fn every_world_has_another_weather() {
        let weather = |seed| Weather::new(Faults::ALL, &mut Rng::new(seed)).rates;
        assert_eq!(weather(1), weather(1));
        assert_ne!(weather(1), weather(2));
        assert_eq!(Weather::new(Faults::NONE, &mut Rng::new(1)).rates, [0; Fault::ALL.len()]);
    }
}
