//! Webhooks: events pushed to endpoints by the Standard Webhooks convention: signed, at least once, in order.
//!
//! ```text
//!   feed ─▶ a thread for each endpoint ─▶ POST, signed ─▶ 2xx: the cursor moves, durably
//!                                                    └▶ else: again, later and later, for three days; then it is parked
//! ```
//!
//! An endpoint gets one event at a time, in the order of the feed, so the events of a session come in order. Its cursor is a
//! file of its own: a restart of the gate goes on where it was.

mod delivery;
mod endpoints;
mod secret;
mod target;

pub use endpoints::{Parked, WebhookRow, WebhookWish};
pub use secret::{SecretFault, WebhookSecret};

use super::access::Digest;
use super::problem::Problem;
use crate::api::Views;
use crate::api::feed::Cursor;
use crate::host::wall_clock;
use delivery::Worker;
use endpoints::{Endpoint, Endpoints};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// Which targets webhooks may have.
#[derive(Clone, Debug, Default)]
pub struct WebhookSettings {
    /// Hosts that may be private or of the loopback, and be reached without TLS.
    pub allow: Vec<String>,
    /// Authorities by which targets are recognised; none: those of the system.
    pub roots_file: Option<PathBuf>,
}

/// The webhooks of a gate.
pub(super) struct Webhooks {
    shared: Arc<Shared>,
}

/// What the threads of endpoints have in common.
struct Shared {
    endpoints: Endpoints,
    views: Arc<Views>,
    settings: WebhookSettings,
    agent: OnceLock<ureq::Agent>,
    stopping: AtomicBool,
}

impl Shared {
    /// What sends. It is made when the first message is sent: most gates have no webhooks, and the authorities of a system are
    /// many.
    fn agent(&self) -> io::Result<&ureq::Agent> {
        match self.agent.get() {
            Some(agent) => Ok(agent),
            None => target::agent(&self.settings).map(|agent| self.agent.get_or_init(|| agent)),
        }
    }
}

impl Webhooks {
    /// Begins with the endpoints of a data directory.
    ///
    /// # Errors
    /// The file of endpoints or of authorities cannot be read.
    pub fn start(data: &Path, views: Arc<Views>, settings: WebhookSettings) -> io::Result<Webhooks> {
        let (endpoints, agent) = (Endpoints::open(data)?, OnceLock::new());
        let shared = Arc::new(Shared { endpoints, views, settings, agent, stopping: AtomicBool::new(false) });
        if shared.settings.roots_file.is_some() {
            shared.agent()?;
        }
        let webhooks = Webhooks { shared };
        for endpoint in webhooks.shared.endpoints.all() {
            webhooks.work(endpoint)?;
        }
        Ok(webhooks)
    }

    /// Makes an endpoint; it gets what happens from now on.
    ///
    /// # Errors
    /// An address, a type or a secret that is none; a target that is not allowed; too many endpoints; 500 where the file cannot
    /// be written.
    pub fn create(&self, wish: &WebhookWish) -> Result<WebhookRow, Problem> {
        let types = super::events::read_types(&wish.types)?;
        let secret = WebhookSecret::read(&wish.secret).map_err(|fault| Problem::usage(fault).about("secret"))?;
        target::check(&wish.url, &self.shared.settings)?;
        let cursor = self.feed()?.end();
        let endpoint = self.shared.endpoints.add(wish.url.clone(), types, secret, cursor)?;
        self.work(endpoint.clone()).map_err(Problem::internal)?;
        Ok(endpoint.row())
    }

    /// All endpoints, in the order of their ids.
    pub fn rows(&self) -> Vec<WebhookRow> {
        self.shared.endpoints.all().iter().map(|endpoint| endpoint.row()).collect()
    }

    /// Sends an endpoint a `webhook.test`, once, and returns HTTP's status and how long the answer took, in milliseconds.
    ///
    /// # Errors
    /// 404 for no endpoint, 409 for one that cannot be reached.
    pub fn test(&self, id: &str) -> Result<(u16, u64), Problem> {
        let endpoint = self.named(id)?;
        let random = super::access::secret::<16>().map_err(Problem::internal)?;
        let body = delivery::test_body(wall_clock());
        let begun = std::time::Instant::now();
        let sent = delivery::send(&self.shared, &endpoint, &format!("evt_test_{random}"), &body);
        let status = sent.map_err(|why| Problem::new(409, why))?;
        Ok((status, u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)))
    }

    /// Goes back (or on) to a cursor: what comes behind it is delivered, perhaps again. What was parked is forgotten.
    ///
    /// # Errors
    /// 404 for no endpoint.
    pub fn replay(&self, id: &str, from: Cursor) -> Result<WebhookRow, Problem> {
        let endpoint = self.named(id)?;
        endpoint.move_to(from);
        Ok(endpoint.row())
    }

    /// Takes another secret; the one before stays valid beside it until the next change.
    ///
    /// # Errors
    /// 404 for no endpoint, 400 for a secret that is none.
    pub fn rotate(&self, id: &str, secret: &str) -> Result<WebhookRow, Problem> {
        let secret = WebhookSecret::read(secret).map_err(|fault| Problem::usage(fault).about("secret"))?;
        self.named(id)?;
        Ok(self.shared.endpoints.rotate(id, secret)?.row())
    }

    /// Removes an endpoint.
    ///
    /// # Errors
    /// 404 for none; 500 where the file cannot be written.
    pub fn remove(&self, id: &str) -> Result<(), Problem> {
        self.named(id)?;
        self.shared.endpoints.remove(id)
    }

    /// Ends the threads. A delivery that is under way is not waited for: it comes again after the next start.
    pub fn stop(&self) {
        self.shared.stopping.store(true, Ordering::Release);
    }

    fn named(&self, id: &str) -> Result<Arc<Endpoint>, Problem> {
        let found = self.shared.endpoints.all().into_iter().find(|endpoint| endpoint.id() == id);
        found.ok_or_else(|| Problem::not_found(format!("there is no webhook {id}")))
    }

    fn feed(&self) -> Result<&crate::api::feed::Feed, Problem> {
        self.shared.views.feed().ok_or_else(|| Problem::new(409, "there is no feed of events"))
    }

    fn work(&self, endpoint: Arc<Endpoint>) -> io::Result<()> {
        let worker = Worker { shared: Arc::clone(&self.shared), endpoint };
        std::thread::Builder::new().name("webhook".to_owned()).spawn(move || worker.run()).map(drop)
    }
}

/// HMAC-SHA256 of a text.
fn hmac(key: &[u8], parts: &[&str]) -> Digest {
    let mut context = ring::hmac::Context::with_key(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key));
    parts.iter().for_each(|part| context.update(part.as_bytes()));
    context.sign().as_ref().try_into().expect("SHA-256 has 32 bytes")
}
