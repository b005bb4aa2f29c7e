//! Which processor, or account, gets the request for funds: the processors of the gate, and the choice among them.

use super::node_config::NodeConfig;
use crate::message::Code;
use crate::payment::breaker::Breakers;
use crate::payment::known_processor::KnownProcessor;
use crate::payment::routing::{Listed, NoRoute, Registry, Wanted};
use crate::payment::{Credential, CredentialKind, HoldCapabilities};
use crate::session::{Route, Router};
use crate::units::{Amount, ChargerId, Currency, ProcessorId};
use arc_swap::ArcSwap;
use std::sync::Arc;

/// Processors, the rules for their selection, and the breakers.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    /// Processors that ever connected, and the rules.
    pub registry: Registry,
    /// Their circuit breakers.
    pub breakers: Breakers,
}

/// The processors of a gate, as all of its shards see them.
pub trait ProcessorRegistry: Send + Sync {
    /// The processors as they are now.
    fn routes(&self) -> Arc<Routes>;

    /// Changes them in one step. The change may be tried more than once, on what others have changed meanwhile.
    fn change(&self, change: &dyn Fn(&mut Routes));

    /// Publishes a processor's state for routing.
    fn list(&self, id: &ProcessorId, listed: &Listed) {
        self.change(&|routes| drop(routes.registry.processors.insert(id.clone(), listed.clone())));
    }

    /// Publishes a processor's breakers.
    fn judge(&self, id: &ProcessorId, breakers: &Breakers) {
        self.change(&|routes| routes.breakers.adopt(id, breakers));
    }

    /// Lists what is remembered of a processor: as not connected, until it connects. What its connections say of it counts for
    /// more.
    fn remember(&self, id: &ProcessorId, known: &KnownProcessor) {
        self.change(&|routes| {
            let registry = &mut routes.registry;
            if known.drained {
                registry.drained.insert(id.clone());
            } else {
                registry.drained.remove(id);
            }
            let absent =
                || Listed { capabilities: known.capabilities.clone(), connections: 0, draining: false, inflight: 0 };
            registry.processors.entry(id.clone()).or_insert_with(absent);
        });
    }
}

/// The processors of a gate that is a single process.
#[derive(Debug, Default)]
pub struct LocalProcessorRegistry(ArcSwap<Routes>);

impl LocalProcessorRegistry {
    /// These processors.
    pub fn new(routes: Routes) -> LocalProcessorRegistry {
        LocalProcessorRegistry(ArcSwap::from_pointee(routes))
    }
}

impl ProcessorRegistry for LocalProcessorRegistry {
    fn routes(&self) -> Arc<Routes> {
        self.0.load_full()
    }

    fn change(&self, change: &dyn Fn(&mut Routes)) {
        self.0.rcu(|before| {
            let mut after = Routes::clone(before);
            change(&mut after);
            after
        });
    }
}

impl Router for NodeConfig {
    fn route(
        &self,
        charger: &ChargerId,
        (credential, fingerprint): (&Credential, &str),
        amount: Amount,
        except: &[ProcessorId],
    ) -> Result<Route, NoRoute> {
        let vault = self.credentials.vault();
        let credential = &*vault.open(credential).map_err(|_| NoRoute::NotTaken)?;
        if let Some(linked) = self.credentials.links().find(self.mark(credential)) {
            let route = crate::account::account_processor(&linked).map(to_account);
            return route.filter(|route| !except.contains(&route.processor)).ok_or(NoRoute::NotTaken);
        }
        let site = self.tariffs.site(charger);
        let wanted =
            Wanted { credential: credential.kind, amount, site: site.as_ref(), except, token: &credential.token };
        let routes = self.routing.routes();
        let Routes { registry, breakers } = &*routes;
        let (processor, stand_in) = match registry.route(wanted, breakers, (self.random)()) {
            Ok(processor) => (processor, false),
            Err(reason) if reason.is_outage() && self.stands_in_for(fingerprint, amount.currency) => {
                (registry.absent(wanted, breakers).ok_or(reason)?, true)
            }
            Err(reason) => return Err(without_account(credential.kind, reason)),
        };
        let listed = registry.processors.get(processor).ok_or(NoRoute::NeverSeen)?;
        let capabilities = HoldCapabilities::of(&listed.capabilities);
        Ok(Route { processor: processor.clone(), capabilities, stand_in })
    }
}

impl NodeConfig {
    /// Whether energy may be given to this credential on our own risk: by policy, once at a time, and within what may be
    /// at stake in all.
    fn stands_in_for(&self, fingerprint: &str, currency: Currency) -> bool {
        let policy = self.policy.of_currency(currency);
        let floor = Amount::new(policy.payment.floor_limit_minor, currency);
        policy.stand_in
            && floor.minor > 0
            && self.offline_authorizations.allows(fingerprint, floor, policy.stand_in_exposure_minor)
    }
}

/// The code for a request without a route.
pub fn code_of(reason: NoRoute) -> Code {
    match reason {
        NoRoute::NoRule | NoRoute::NotTaken | NoRoute::HoldIsPurchase | NoRoute::NotLinked => {
            Code::CredentialNotAccepted
        }
        NoRoute::OtherCurrency => Code::OtherCurrency,
        NoRoute::Busy => Code::Busy,
        NoRoute::AllAsked | NoRoute::NeverSeen | NoRoute::Draining | NoRoute::NotConnected | NoRoute::NotAnswering => {
            Code::NoProcessor
        }
    }
}

/// The reason for a credential that is linked to no account. Cards and contracts of drivers are for accounts before
/// all: where no processor takes them, the missing link is what an operator has to mend.
fn without_account(kind: CredentialKind, reason: NoRoute) -> NoRoute {
    let untaken = matches!(reason, NoRoute::NoRule | NoRoute::NeverSeen | NoRoute::NotTaken);
    match kind {
        CredentialKind::EvAccount | CredentialKind::Rfid if untaken => NoRoute::NotLinked,
        CredentialKind::EvAccount | CredentialKind::Rfid | CredentialKind::CardToken | CredentialKind::WalletToken => {
            reason
        }
    }
}

/// The route to an account.
pub(super) fn to_account(processor: ProcessorId) -> Route {
    let capabilities = HoldCapabilities::of(&crate::account::capabilities(Vec::new()));
    Route { processor, capabilities, stand_in: false }
}
