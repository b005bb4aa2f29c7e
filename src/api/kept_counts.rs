//! Counts over everything that is kept. They take as long as there is data, so they are made beside the requests for them, which
//! wait a little and then get the last one, with its time.

use super::settled::{Report, SettledSummary};
use super::views::{Unanswered, Views};
use crate::limits::COUNTS_KEPT;
use crate::units::{ProcessorId, TimeSpan};
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a request waits for a count.
const WAIT: Duration = Duration::from_secs(2);
/// A count that took no longer is made for each request.
const CHEAP: Duration = Duration::from_millis(200);
/// Others are made again after so many times what they took.
const REST: u32 = 10;

type Key = (Option<ProcessorId>, TimeSpan);

/// The counts of a gate, by what is counted.
#[derive(Clone, Default)]
pub(super) struct KeptCounts(Arc<Shared>);

#[derive(Default)]
struct Shared {
    counts: Mutex<BTreeMap<Key, Kept>>,
    made: Condvar,
}

/// The last count.
#[derive(Default)]
struct Kept {
    summary: Option<SettledSummary>,
    failure: Option<Unanswered>,
    made_at: Option<Instant>,
    took: Duration,
    /// How many were made.
    rounds: u64,
    is_counting: bool,
}

impl Kept {
    fn is_resting(&self) -> bool {
        self.took > CHEAP && self.made_at.is_some_and(|at| at.elapsed() < self.took.saturating_mul(REST))
    }
}

impl KeptCounts {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Kept>> {
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The count that `make` gives, or the last one. One without a time is still being made.
    fn get<F>(&self, key: &Key, make: impl Fn() -> F) -> Result<SettledSummary, Unanswered>
    where
        F: FnOnce() -> Result<SettledSummary, Unanswered> + Send + 'static,
    {
        let until = Instant::now() + WAIT;
        let mut counts = self.lock();
        if counts.len() >= COUNTS_KEPT && !counts.contains_key(key) {
            counts.retain(|_, kept| kept.is_counting);
        }
        let kept = counts.entry(key.clone()).or_default();
        // One that is being made may have begun before what the request is about.
        let wanted = kept.rounds + if kept.is_counting { 2 } else { 1 };
        loop {
            let kept = counts.entry(key.clone()).or_default();
            let left = until.saturating_duration_since(Instant::now());
            if kept.rounds >= wanted || left.is_zero() || (kept.summary.is_some() && kept.is_resting()) {
                let failure = kept.failure.take();
                return failure.map_or_else(|| Ok(kept.summary.clone().unwrap_or_default()), Err);
            }
            if !kept.is_counting {
                kept.is_counting = self.begin(key.clone(), make());
            }
            counts = self.0.made.wait_timeout(counts, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Begins a count; false: the system gives no thread, and the request tries again or gets the last one.
    fn begin(&self, key: Key, make: impl FnOnce() -> Result<SettledSummary, Unanswered> + Send + 'static) -> bool {
        let shared = self.clone();
        let work = move || {
            let begun = Instant::now();
            let made = make();
            let mut counts = shared.lock();
            let kept = counts.entry(key).or_default();
            (kept.is_counting, kept.took, kept.made_at) = (false, begun.elapsed(), Some(Instant::now()));
            kept.rounds += 1;
            match made {
                Ok(summary) => (kept.summary, kept.failure) = (Some(summary), None),
                Err(failure) => kept.failure = Some(failure),
            }
            drop(counts);
            shared.0.made.notify_all();
        };
        std::thread::Builder::new().name("count".to_owned()).spawn(work).is_ok()
    }
}

impl Views {
    /// How many sessions, lines and batches a report has: counted now, or where that takes long, the last count with its time.
    ///
    /// # Errors
    /// A shard did not answer in time, or the archive cannot be read.
    pub fn settled_kept(&self, report: &Report) -> Result<SettledSummary, Unanswered> {
        let counted = |views: &Views, report: &Report| {
            let at = Some(views.now().to_string());
            views.settled(report).map(|summary| SettledSummary { at, ..summary })
        };
        let Some(directory) = self.directory() else { return counted(self, report) };
        let key = (report.processor.clone(), report.grace);
        self.counts().get(&key, || {
            let views = Views::running(directory.clone(), self.shared_archive().cloned()).with_timeout(self.timeout());
            let report = report.clone();
            move || counted(&views, &report)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    fn key() -> Key {
        (None, TimeSpan::ZERO)
    }

    fn counting(
        number: &Arc<AtomicU64>,
        takes: Duration,
    ) -> impl Fn() -> Box<dyn FnOnce() -> Result<SettledSummary, Unanswered> + Send> {
        let number = number.clone();
        move || {
            let number = number.clone();
            Box::new(move || {
                std::thread::sleep(takes);
                let batches = number.fetch_add(1, Ordering::Relaxed) + 1;
                Ok(SettledSummary { batches, ..SettledSummary::default() })
            })
        }
    }

    #[test]
    fn a_cheap_count_is_made_for_each_request() {
        let (kept, number) = (KeptCounts::default(), Arc::default());
        for expected in 1..=3 {
            let found = kept.get(&key(), counting(&number, Duration::ZERO)).unwrap();
            assert_eq!(found.batches, expected);
        }
    }

    #[test]
    fn a_long_count_is_made_once_and_requests_do_not_wait_for_it() {
        let (kept, number) = (KeptCounts::default(), Arc::new(AtomicU64::new(0)));
        let (end, ends) = std::sync::mpsc::channel::<()>();
        let ends = Arc::new(Mutex::new(ends));
        let endless = || {
            let (number, ends) = (number.clone(), ends.clone());
            move || {
                let _ = ends.lock().unwrap().recv();
                let batches = number.fetch_add(1, Ordering::Relaxed) + 1;
                Ok(SettledSummary { batches, ..SettledSummary::default() })
            }
        };
        std::thread::scope(|scope| {
            let requests: Vec<_> = (0..4).map(|_| scope.spawn(|| kept.get(&key(), endless).unwrap())).collect();
            for request in requests {
                assert_eq!(request.join().unwrap().batches, 0, "it is still being made");
            }
        });
        drop(end);
        while kept.lock()[&key()].rounds == 0 {
            std::thread::yield_now();
        }
        assert_eq!(kept.get(&key(), endless).unwrap().batches, 1, "the last one stands while it rests");
        assert_eq!(number.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_failure_is_reported_and_the_next_request_counts_again() {
        let kept = KeptCounts::default();
        let fails = || || Err(Unanswered::Silent { whom: "shards", silent: 1, of: 2 });
        assert!(kept.get(&key(), fails).is_err());
        assert_eq!(kept.get(&key(), counting(&Arc::default(), Duration::ZERO)).unwrap().batches, 1);
    }
}
