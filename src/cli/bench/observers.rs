//! People and programs that look at a gate while it is measured: a browser on the console's overview, which is read again every
//! second with all that it loads, a program on the stream of events, and the reporting database.

use super::super::CliError;
use crate::api::ReportingStatus;
use crate::app::Gate;
use crate::web::Console;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::io::{BufRead, BufReader};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A page is read so often: the console's own script reads it at most every other second.
const EVERY: Duration = Duration::from_secs(1);
/// Between two looks at the reporting database.
const LOOK: Duration = Duration::from_millis(100);
/// A page that takes longer has failed.
const PAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// Those who look, from now on.
pub(super) struct Observers {
    console: Console,
    over: Arc<AtomicBool>,
    browser: JoinHandle<Result<Histogram<u64>, ureq::Error>>,
    reporting: JoinHandle<Result<Histogram<u64>, ureq::Error>>,
    events: JoinHandle<u64>,
}

/// What they got.
#[derive(Debug, Serialize)]
pub(super) struct Observed {
    /// Pages that the browser has read.
    pub pages: u64,
    /// Time until the middle one was read whole, in microseconds.
    pub page_p50_us: u64,
    /// And the slowest in a hundred.
    pub page_p99_us: u64,
    /// Events that the program got.
    pub events: u64,
    /// How long ago the reporting database had every fact, as the slowest in a hundred looks found it, in milliseconds.
    pub reporting_lag_p99_ms: u64,
}

impl Observers {
    /// Opens a console of this gate, waits until its reporting database has every fact, and looks.
    ///
    /// # Errors
    /// The console does not open, or does not let them in; the reporting database does not get there in time.
    pub fn start(gate: &Gate, timeout: Duration) -> Result<Observers, CliError> {
        let console = gate.console(([127, 0, 0, 1], 0).into(), None).map_err(CliError::failed)?;
        let config = ureq::Agent::config_builder().proxy(None).max_redirects(0).max_redirects_will_error(false);
        let agent = config.http_status_as_error(true).build().new_agent();
        let answer = agent.get(console.login().map_err(CliError::failed)?).call().map_err(CliError::failed)?;
        let cookie = answer.headers().get("set-cookie").and_then(|cookie| cookie.to_str().ok());
        let cookie = cookie.and_then(|cookie| cookie.split(';').next()).map(str::to_owned);
        let cookie = cookie.ok_or_else(|| CliError::failed("the console does not sign its own link in"))?;
        let over = Arc::new(AtomicBool::new(false));
        let place = format!("http://{}", console.address);
        let status =
            Status { agent: agent.clone(), url: format!("{place}/api/v1/reporting"), token: console.token.clone() };
        let until = Instant::now() + timeout;
        while status.get().map_err(CliError::failed)?.lag_ms.is_none() {
            if Instant::now() > until {
                return Err(CliError::failed("the reporting database does not get every fact in time"));
            }
            std::thread::sleep(LOOK);
        }
        let (at, its_agent, is_over) = (format!("{place}/"), agent.clone(), over.clone());
        let browser = spawn("browser", move || browse(&its_agent, (&at, &cookie), &is_over))?;
        let feed = agent
            .get(format!("{place}/api/v1/events?after=now"))
            .header("Authorization", format!("Bearer {}", console.token))
            .call()
            .map_err(CliError::failed)?;
        // The stream ends with the console.
        let lines = BufReader::new(feed.into_body().into_reader()).lines();
        let is_over = over.clone();
        let reporting = spawn("reporting", move || status.lags(&is_over))?;
        let is_event = |line: &String| line.starts_with('{');
        let events = spawn("events", move || lines.map_while(Result::ok).filter(is_event).map(|_| 1).sum())?;
        Ok(Observers { console, over, browser, reporting, events })
    }

    /// They look no longer.
    ///
    /// # Errors
    /// A page could not be read.
    pub fn stop(self) -> Result<Observed, CliError> {
        self.over.store(true, Ordering::Relaxed);
        let failed = |_| CliError::failed("a thread of those who look has failed");
        let pages = self.browser.join().map_err(failed)?.map_err(CliError::failed)?;
        let lags = self.reporting.join().map_err(failed)?.map_err(CliError::failed)?;
        self.console.stop();
        let events = self.events.join().map_err(failed)?;
        Ok(Observed {
            pages: pages.len(),
            page_p50_us: pages.value_at_quantile(0.5),
            page_p99_us: pages.value_at_quantile(0.99),
            events,
            reporting_lag_p99_ms: lags.value_at_quantile(0.99),
        })
    }
}

/// Where a gate tells how far its reporting database has come.
struct Status {
    agent: ureq::Agent,
    url: String,
    token: String,
}

impl Status {
    fn get(&self) -> Result<ReportingStatus, ureq::Error> {
        let asked = self.agent.get(&self.url).header("Authorization", format!("Bearer {}", self.token));
        asked.config().timeout_global(Some(PAGE_TIMEOUT)).build().call()?.body_mut().read_json()
    }

    /// Looks again and again; a lag in milliseconds for each.
    fn lags(&self, over: &AtomicBool) -> Result<Histogram<u64>, ureq::Error> {
        let mut lags =
            Histogram::new_with_bounds(1, 3_600_000, 3).expect("three digits, and a highest value above the lowest");
        while !over.load(Ordering::Relaxed) {
            lags.saturating_record(self.get()?.lag_ms.unwrap_or(u64::MAX));
            std::thread::sleep(LOOK);
        }
        Ok(lags)
    }
}

fn spawn<T: Send + 'static>(name: &str, run: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>, CliError> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(CliError::failed)
}

/// Reads the page again and again; a time in microseconds for each.
///
/// # Errors
/// A page could not be read.
fn browse(agent: &ureq::Agent, (page, cookie): (&str, &str), over: &AtomicBool) -> Result<Histogram<u64>, ureq::Error> {
    let most = u64::try_from(PAGE_TIMEOUT.as_micros()).unwrap_or(u64::MAX);
    let mut times = Histogram::new_with_bounds(1, most, 3).expect("three digits, and a highest value above the lowest");
    while !over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let asked = agent.get(page).header("Cookie", cookie).config().timeout_global(Some(PAGE_TIMEOUT)).build();
        asked.call()?.body_mut().read_to_string()?;
        times.saturating_record(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX));
        std::thread::sleep(EVERY.saturating_sub(begun.elapsed()));
    }
    Ok(times)
}
