//! A bound on the log: so many lines of each place in the program, and of each peer there; the others are counted.
//!
//! It is applied before the writers, so code that a peer can reach needs no bound of its own. Debug and trace lines
//! pass: they are written only where they were enabled.

use std::collections::HashMap;
use std::fmt::{self, Write};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// Lines at once, and then one in so many ms.
struct Rate {
    burst: u64,
    interval_ms: u64,
}

/// Of one place in the program, whatever peers caused them.
const OF_PLACE: Rate = Rate { burst: 200, interval_ms: 200 };
/// Of one place and one peer.
const OF_PEER: Rate = Rate { burst: 5, interval_ms: 60_000 };
/// Of one place, where a line names no peer.
const OF_NONE: Rate = Rate { burst: 20, interval_ms: 10_000 };

/// Buckets for the peers of one place; peers with the same hash share one.
const PEERS: usize = 256;

/// The first count of dropped lines is logged after this time, later ones after [`LATER_COUNT_MS`].
const FIRST_COUNT_MS: u64 = 1_000;
const LATER_COUNT_MS: u64 = 60_000;

/// Most characters of a line that its count repeats.
const TEXT_MAX: usize = 120;

/// Targets whose lines no peer causes: those of the command line and the configuration, and the counts themselves.
const UNLIMITED: [&str; 3] = ["wattstile::cli", SETUP, COUNTS];
/// The target of lines about configured files, of which there may be many at a start.
pub const SETUP: &str = "wattstile::setup";
const COUNTS: &str = "wattstile::log";

/// Fields that name the cause of a line; the first one of a line counts.
const CAUSES: [&str; 5] = ["peer", "charger", "processor", REMOTE, "series"];
const REMOTE: &str = "remote";

/// When the next line is due, in ms: lines may be early by the burst of their rate.
#[derive(Clone, Copy, Default)]
struct Bucket(u64);

impl Bucket {
    fn has_room(self, rate: &Rate, now_ms: u64) -> bool {
        self.0.saturating_sub(now_ms) <= (rate.burst - 1) * rate.interval_ms
    }

    fn take(&mut self, rate: &Rate, now_ms: u64) {
        self.0 = self.0.max(now_ms) + rate.interval_ms;
    }
}

/// The lines of one place in the program.
struct CallSite {
    all: Bucket,
    unnamed: Bucket,
    peers: Option<Box<[Bucket; PEERS]>>,
    left_out: u64,
    text: String,
    is_info: bool,
    /// When the next count of dropped lines is logged, in ms.
    count_due: u64,
}

impl CallSite {
    fn new(level: Level) -> CallSite {
        let (all, unnamed) = (Bucket::default(), Bucket::default());
        let is_info = level == Level::INFO;
        CallSite { all, unnamed, peers: None, left_out: 0, text: String::new(), is_info, count_due: 0 }
    }

    /// Whether a line may be written now.
    fn lets(&mut self, cause: Option<u64>, now_ms: u64) -> bool {
        let (own, rate) = match cause {
            None => (&mut self.unnamed, &OF_NONE),
            Some(hash) => {
                let peers = self.peers.get_or_insert_with(|| Box::new([Bucket::default(); PEERS]));
                (&mut peers[usize::try_from(hash % PEERS as u64).unwrap_or(0)], &OF_PEER)
            }
        };
        let lets = own.has_room(rate, now_ms) && self.all.has_room(&OF_PLACE, now_ms);
        if lets {
            own.take(rate, now_ms);
            self.all.take(&OF_PLACE, now_ms);
        }
        lets
    }
}

/// How many lines of one place were left out.
#[derive(Debug, PartialEq, Eq)]
struct Count {
    left_out: u64,
    text: String,
    is_info: bool,
}

/// The bound, as a layer of the subscriber.
#[derive(Clone)]
pub struct Limiter {
    began: Instant,
    hashes: RandomState,
    places: Arc<Mutex<HashMap<Identifier, CallSite>>>,
}

impl Limiter {
    /// A bound under which nothing was written yet.
    pub fn new() -> Limiter {
        Limiter { began: Instant::now(), hashes: RandomState::new(), places: Arc::default() }
    }

    fn places(&self) -> MutexGuard<'_, HashMap<Identifier, CallSite>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn lets(&self, event: &Event<'_>, now_ms: u64) -> bool {
        let metadata = event.metadata();
        let free = UNLIMITED.iter().any(|target| metadata.target().starts_with(target));
        if free || *metadata.level() > Level::INFO {
            return true;
        }
        let mut cause = Cause { rank: CAUSES.len(), hash: None, hashes: &self.hashes };
        event.record(&mut cause);
        let mut places = self.places();
        let place = places.entry(metadata.callsite()).or_insert_with(|| CallSite::new(*metadata.level()));
        if place.lets(cause.hash, now_ms) {
            return true;
        }
        if place.left_out == 0 {
            place.count_due = place.count_due.max(now_ms + FIRST_COUNT_MS);
            place.text.clear();
            event.record(&mut Message(&mut place.text));
        }
        place.left_out += 1;
        false
    }

    /// The counts that are due; at the end of the process all.
    fn counts(&self, now_ms: u64, at_the_end: bool) -> Vec<Count> {
        let mut counts = Vec::new();
        for place in self.places().values_mut() {
            if place.left_out > 0 && (at_the_end || place.count_due <= now_ms) {
                let left_out = std::mem::take(&mut place.left_out);
                counts.push(Count { left_out, text: place.text.clone(), is_info: place.is_info });
                place.count_due = now_ms + LATER_COUNT_MS;
            }
        }
        counts
    }

    /// Writes how many lines were left out, where that is due; at the end of the process all of it.
    pub fn report(&self, at_the_end: bool) {
        for Count { left_out, text, is_info } in self.counts(self.now_ms(), at_the_end) {
            if is_info {
                tracing::info!(target: COUNTS, left_out, like = text, "more lines like this were left out")
            } else {
                tracing::warn!(target: COUNTS, left_out, like = text, "more lines like this were left out")
            }
        }
    }

    /// Logs the counts of dropped lines once a second, from a thread that ends with the process.
    pub fn report_regularly(&self) {
        let limiter = self.clone();
        let report_loop = move || {
            loop {
                std::thread::sleep(Duration::from_secs(1));
                limiter.report(false);
            }
        };
        // Without the thread lines are still bounded, and counted at the end.
        let _ = std::thread::Builder::new().name("log".to_owned()).spawn(report_loop);
    }
}

impl<S: Subscriber> Layer<S> for Limiter {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        self.lets(event, self.now_ms())
    }
}

/// Finds the cause of a line.
struct Cause<'a> {
    rank: usize,
    hash: Option<u64>,
    hashes: &'a RandomState,
}

impl Visit for Cause<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let Some(rank) = CAUSES.iter().position(|name| *name == field.name()) else { return };
        if rank < self.rank {
            let mut hashed = Hashed(self.hashes.build_hasher());
            let _ = match field.name() {
                // Each connection has another port.
                REMOTE => {
                    let address = format!("{value:?}");
                    hashed.write_str(address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host))
                }
                _ => write!(hashed, "{value:?}"),
            };
            (self.rank, self.hash) = (rank, Some(hashed.0.finish()));
        }
    }
}

struct Hashed<H>(H);

impl<H: Hasher> Write for Hashed<H> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

/// Keeps the beginning of a line's message.
struct Message<'a>(&'a mut String);

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.0, "{value:?}");
            if let Some((end, _)) = self.0.char_indices().nth(TEXT_MAX) {
                self.0.truncate(end);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    /// The target of a part that peers can reach.
    const PEERS: &str = "wattstile::app::connection";

    /// Counts the lines that come through.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Written {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut text = String::new();
            event.record(&mut Message(&mut text));
            self.0.lock().unwrap().push(text);
        }
    }

    fn written(limiter: &Limiter, write: impl FnOnce()) -> Vec<String> {
        let written = Written::default();
        let subscriber = tracing_subscriber::registry().with(written.clone()).with(limiter.clone());
        tracing::subscriber::with_default(subscriber, write);
        written.0.lock().unwrap().clone()
    }

    #[test]
    fn a_flood_of_one_peer_is_a_handful_of_lines_and_a_count() {
        let limiter = Limiter::new();
        let refuse = |processor| tracing::warn!(target: PEERS, processor, "a message is refused");
        let lines = written(&limiter, || (0..20_000).for_each(|_| refuse("acme")));
        assert!((5..10).contains(&lines.len()), "{}", lines.len());
        // Another peer at the same place is logged.
        assert_eq!(written(&limiter, || refuse("other")).len(), 1);
        let now = limiter.now_ms();
        assert_eq!(limiter.counts(now, false), []);
        let count =
            Count { left_out: 20_000 - lines.len() as u64, text: "a message is refused".to_owned(), is_info: false };
        assert_eq!(limiter.counts(now + FIRST_COUNT_MS, false), [count]);
        assert_eq!(limiter.counts(now + FIRST_COUNT_MS, true), []);
        let report_loop = written(&limiter, || {
            (0..50).for_each(|_| refuse("acme"));
            limiter.report(true);
        });
        assert_eq!(report_loop.last().map(String::as_str), Some("more lines like this were left out"));
    }

    #[test]
    fn a_flood_of_many_peers_and_of_none_is_bounded_as_well() {
        let limiter = Limiter::new();
        let lines = written(&limiter, || {
            for number in 0..20_000 {
                tracing::warn!(target: PEERS, charger = format!("AMS-{number}"), "a start is refused");
            }
        });
        assert!((200..300).contains(&lines.len()), "{}", lines.len());
        let lines =
            written(&limiter, || (0..20_000).for_each(|_| tracing::error!(target: PEERS, "a document has no number")));
        assert!((20..40).contains(&lines.len()), "{}", lines.len());
    }

    #[test]
    fn an_address_is_one_peer_whatever_its_ports() {
        let limiter = Limiter::new();
        let lines = written(&limiter, || {
            for port in 1_000..2_000 {
                let remote = std::net::SocketAddr::from(([10, 0, 0, 1], port));
                tracing::warn!(target: PEERS, %remote, "a connection is refused");
            }
        });
        assert_eq!(lines.len(), 5);
    }

    #[test]
    fn lines_about_files_and_those_for_debugging_are_all_written() {
        let limiter = Limiter::new();
        let lines = written(&limiter, || {
            for number in 0..500 {
                tracing::warn!(target: SETUP, number, "a tariff's finding");
                tracing::debug!(target: PEERS, peer = "charger/A", "an acknowledgement");
            }
        });
        assert_eq!(lines.len(), 1_000);
    }

    #[test]
    fn a_place_is_heard_again_when_its_time_has_come() {
        let mut place = CallSite::new(Level::WARN);
        let lets = |place: &mut CallSite, now_ms| (0..1_000).filter(|_| place.lets(Some(7), now_ms)).count();
        assert_eq!(lets(&mut place, 5_000), 5);
        assert_eq!(lets(&mut place, 64_999), 0);
        assert_eq!(lets(&mut place, 65_000), 1);
        assert_eq!(lets(&mut place, 10_000_000), 5);
    }
}
