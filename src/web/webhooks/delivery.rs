//! The thread of an endpoint: one event after the other, each until it is taken.

use super::Shared;
use super::endpoints::{Endpoint, Parked, Progress};
use crate::api::feed::{Cursor, Event, Events};
use crate::host::wall_clock;
use crate::limits::{WEBHOOK_ANSWER_BYTES, WEBHOOK_PAUSE_MAX, WEBHOOK_TRIED_FOR};
use crate::units::{TimeSpan, Timestamp};
use crate::web::events::sent;
use crate::web::paging::cursor;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long a thread without events waits before it looks whether it is still wanted.
const WAIT: Duration = Duration::from_millis(500);
/// The pause after the first failure.
const PAUSE: TimeSpan = TimeSpan::from_secs(1);

/// Delivers to one endpoint.
pub(super) struct Worker {
    pub shared: Arc<Shared>,
    pub endpoint: Arc<Endpoint>,
}

impl Worker {
    /// Runs until the endpoint is removed, or the gate stops.
    pub fn run(&self) {
        while !self.shared.stopping.load(Ordering::Acquire) {
            let Some((progress, moves)) = self.endpoint.progress() else { return };
            let wait = self.turn(progress, moves);
            if let Some(wait) = wait {
                self.endpoint.wait(moves, wait);
            }
        }
    }

    /// Delivers what the feed has behind the cursor. Returns how long there is nothing to do.
    fn turn(&self, mut progress: Progress, moves: u64) -> Option<Duration> {
        let Some(feed) = self.shared.views.feed().filter(|_| !progress.stopped) else { return Some(WAIT) };
        if let Some(wait) = until(progress.next_attempt_at) {
            return Some(wait.min(WAIT));
        }
        let Events { events, next, more } = match feed.behind(&self.shared.views, progress.cursor) {
            Ok(events) => events,
            Err(error) => {
                tracing::warn!(%error, "the feed cannot be read for a webhook; it is tried again");
                return Some(WAIT);
            }
        };
        let mut events = events.into_iter().peekable();
        let mut is_news = false;
        while let Some((event, behind)) = events.next() {
            // The cursor moves behind a fact when all of its events are delivered.
            let is_last = events.peek().is_none_or(|(_, other)| *other != behind);
            let is_parked = progress.parked.iter().any(|parked| parked.id == event.id);
            let is_wanted = self.endpoint.has(&event.r#type) && !is_parked;
            if is_wanted && !self.deliver(&mut progress, event, behind) {
                self.endpoint.keep(progress, moves);
                return None;
            }
            is_news |= is_wanted;
            if is_last {
                progress.go_on(behind);
                // Behind events of other types the cursor is kept once for all of them.
                if std::mem::take(&mut is_news) {
                    self.endpoint.keep(progress.clone(), moves);
                }
            }
            let is_moved = self.endpoint.progress().is_none_or(|(_, now)| now != moves);
            if is_moved || self.shared.stopping.load(Ordering::Acquire) {
                return None;
            }
        }
        if progress.cursor != next {
            progress.go_on(next);
            self.endpoint.keep(progress, moves);
        }
        if !more {
            feed.wait(&next, WAIT);
        }
        None
    }

    /// Sends one event. Returns whether the endpoint is done with it; else it is sent again later, or parked.
    fn deliver(&self, progress: &mut Progress, event: Event, behind: Cursor) -> bool {
        let (id, before) = (event.id.clone(), progress.cursor);
        let body = body(event, &behind);
        let fault = match send(&self.shared, &self.endpoint, &id, &body) {
            Ok(200..=299) => {
                progress.delivered += 1;
                (progress.attempts, progress.failing_since, progress.last_fault) = (0, None, None);
                return true;
            }
            Ok(410) => {
                progress.stopped = true;
                "it answered 410: it is gone".to_owned()
            }
            Ok(status) => format!("it answered {status}"),
            Err(why) => why,
        };
        let now = wall_clock();
        let since = *progress.failing_since.get_or_insert(now);
        progress.attempts = progress.attempts.saturating_add(1);
        progress.last_fault = Some(fault.clone());
        if now.since(since) >= WEBHOOK_TRIED_FOR && !progress.stopped {
            tracing::error!(webhook = self.endpoint.id(), event = id, fault, "an event is parked: three days are over");
            let parked = Parked { id, from: cursor("events", &before), at: now.to_string(), fault };
            progress.park(parked);
            return true;
        }
        let pause = pause(progress.attempts, random());
        progress.next_attempt_at = Some(now.saturating_add(pause));
        false
    }
}

/// Sends a message, once. Returns HTTP's status.
pub(super) fn send(shared: &Shared, endpoint: &Endpoint, id: &str, body: &str) -> Result<u16, String> {
    let url = endpoint.url();
    // A setting may have changed since the endpoint was made.
    super::target::check(&url, &shared.settings).map_err(|problem| problem.message)?;
    let seconds = wall_clock().unix_ms().div_euclid(1_000).to_string();
    let request = shared
        .agent()
        .map_err(|error| error.to_string())?
        .post(&url)
        .header("content-type", "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", &seconds)
        .header("webhook-signature", endpoint.sign(id, &seconds, body));
    let mut answer = request.send(body).map_err(|error| error.to_string())?;
    // Read to its end, the connection serves the next message; of a long answer no more is read.
    let _ = answer.body_mut().with_config().limit(WEBHOOK_ANSWER_BYTES as u64).read_to_vec();
    Ok(answer.status().as_u16())
}

/// The body of a message, as the convention has it.
fn body(event: Event, behind: &Cursor) -> String {
    let (kind, at) = (event.r#type.clone(), event.at.clone());
    json!({ "type": kind, "timestamp": at, "data": sent(event, behind) }).to_string()
}

/// The body of a test.
pub(super) fn test_body(now: Timestamp) -> String {
    json!({ "type": "webhook.test", "timestamp": now.to_string(), "data": {} }).to_string()
}

/// How long it is until a time; none: it is over.
fn until(at: Option<Timestamp>) -> Option<Duration> {
    let ms = at?.since(wall_clock()).ms();
    u64::try_from(ms).ok().filter(|ms| *ms > 0).map(Duration::from_millis)
}

/// The pause after so many failures: doubled each time up to an hour, and up to a quarter more or less by chance.
fn pause(attempts: u32, random: u64) -> TimeSpan {
    let doubled = PAUSE.ms().saturating_mul(1_i64.checked_shl(attempts.saturating_sub(1).min(30)).unwrap_or(i64::MAX));
    let whole = doubled.min(WEBHOOK_PAUSE_MAX.ms());
    let by_chance = i64::try_from(random % 1_001).unwrap_or(0) - 500;
    TimeSpan::from_ms(whole + whole / 2_000 * by_chance)
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    // Without randomness pauses are the same for all, which does no harm.
    let _ = SystemRandom::new().fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_an_hour_with_some_chance() {
        let middle: Vec<i64> = (1..=14).map(|attempts| pause(attempts, 500).ms() / 1_000).collect();
        assert_eq!(middle, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_048, 3_600, 3_600]);
        for random in [0, 1, 1_000, u64::MAX] {
            let ms = pause(13, random).ms();
            assert!((2_700_000..=4_500_000).contains(&ms), "{random}: {ms}");
        }
        assert!(pause(u32::MAX, 0).ms() > 0);
    }
}
