//! Selects the processor for a new hold.
//!
//! Rules are tried by priority; among the candidates of one priority a random number decides by weight. A candidate
//! must be connected and not draining, must have declared support for this kind of credential and this currency, and
//! its breaker must pass. Only authorizations are routed: everything else belongs to the processor that has the hold.

use super::breaker::Breakers;
use super::{Capabilities, CredentialKind, OperationKind};
use crate::units::{Amount, Currency, ProcessorId, SiteId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Condition for the use of a processor. Empty fields do not restrict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The processor.
    pub processor: ProcessorId,
    /// Lower is tried first.
    #[serde(default)]
    pub priority: u16,
    /// Its share among rules of the same priority; zero: only when all others are out.
    #[serde(default = "one")]
    pub weight: u16,
    /// Kinds of credentials. Empty: cards and wallets; contracts and RFID cards have to be named.
    #[serde(default)]
    pub credentials: Vec<CredentialKind>,
    /// Currencies.
    #[serde(default)]
    pub currencies: Vec<Currency>,
    /// Sites.
    #[serde(default)]
    pub sites: Vec<SiteId>,
    /// Least amount of a hold, at most one for each currency; a hold in another currency has no bound.
    #[serde(default)]
    pub least: Vec<Amount>,
    /// Greatest amount of a hold, likewise.
    #[serde(default)]
    pub greatest: Vec<Amount>,
}

fn one() -> u16 {
    1
}

/// A connected processor with its capabilities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its declaration at its last connection.
    pub capabilities: Capabilities,
    /// Connections that are open.
    pub connections: u32,
    /// It finishes what it has and takes nothing new, by its own wish.
    pub draining: bool,
    /// Operations that it has not answered yet.
    pub inflight: u32,
}

/// The request to route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// The driver's credential.
    pub credential: CredentialKind,
    /// The amount to hold.
    pub amount: Amount,
    /// Where.
    pub site: Option<&'a SiteId>,
    /// Processors that declined already, or whose outcome is unknown.
    pub except: &'a [ProcessorId],
    /// What the driver presented, for products that are not taken for holds.
    pub token: &'a [u8],
}

/// Reason why no processor can be used: the obstacle of the candidate that came furthest. Numbered, in order of
/// precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[repr(u16)]
pub enum NoRoute {
    /// No rule is about this credential, currency, site and amount.
    #[error("no routing rule applies")]
    NoRule = 201,
    /// All that apply had the request already.
    #[error("every processor was asked already")]
    AllAsked = 202,
    /// None of them has ever connected.
    #[error("no processor that may be asked is known")]
    NeverSeen = 203,
    /// None of them takes this kind of credential.
    #[error("no processor takes this credential")]
    NotTaken = 204,
    /// All of them are draining.
    #[error("every processor is draining")]
    Draining = 205,
    /// None of them is connected. A stand-in may be possible.
    #[error("no processor is connected")]
    NotConnected = 206,
    /// None of them answers at the moment. A stand-in may be possible.
    #[error("no processor answers at the moment")]
    NotAnswering = 207,
    /// All of them have as much to do as they can take.
    #[error("every processor is busy")]
    Busy = 208,
    /// With this product a hold is a purchase (buy now, pay later): an account that is topped up can be used instead.
    #[error("a hold on this product is a purchase; an account can be topped up with it instead")]
    HoldIsPurchase = 209,
    /// A contract or an RFID card that is linked to no account, and no processor takes such credentials. What names an
    /// account is no credential of it.
    #[error("the credential is linked to no account")]
    NotLinked = 210,
    /// A processor takes this kind of credential, and none of them this currency.
    #[error("no processor takes this credential's money in the tariff's currency")]
    OtherCurrency = 211,
}

impl NoRoute {
    /// Its stable number.
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The reason of the candidate that came further.
    fn max_by_rank(self, other: NoRoute) -> NoRoute {
        // Its number came later than its place: a processor that takes the currency and is draining came further.
        let rank = |reason: NoRoute| match reason {
            NoRoute::OtherCurrency => (NoRoute::NotTaken.number(), 1),
            other => (other.number(), 0),
        };
        if rank(other) > rank(self) { other } else { self }
    }

    /// Whether the processors exist and take this, and only cannot be reached: the case for a stand-in.
    pub const fn is_outage(self) -> bool {
        matches!(self, NoRoute::NotConnected | NoRoute::NotAnswering)
    }
}

/// The processors and the rules.
///
/// ```
/// use std::collections::BTreeMap;
/// use wattstile::payment::breaker::Breakers;
/// use wattstile::payment::routing::{Listed, NoRoute, Registry, Wanted};
/// use wattstile::payment::{Capabilities, CredentialKind};
/// use wattstile::units::{Amount, Currency, ProcessorId};
///
/// let acme = ProcessorId::new("acme")?;
/// let capabilities = Capabilities::everything(Currency::EUR);
/// let listed = Listed { capabilities, connections: 1, draining: false, inflight: 0 };
/// let registry = Registry { processors: BTreeMap::from([(acme.clone(), listed)]), ..Registry::default() };
///
/// let amount = Amount::new(4_500, Currency::EUR);
/// let wanted = Wanted { credential: CredentialKind::CardToken, amount, site: None, except: &[], token: b"tok_1" };
/// assert_eq!(registry.route(wanted, &Breakers::default(), 7), Ok(&acme));
/// let declined = Wanted { except: &[acme.clone()], ..wanted };
/// assert_eq!(registry.route(declined, &Breakers::default(), 7), Err(NoRoute::AllAsked));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registry {
    /// Every processor that ever connected.
    pub processors: BTreeMap<ProcessorId, Listed>,
    /// Processors that an operator has drained of new holds.
    pub drained: BTreeSet<ProcessorId>,
    /// The rules. Without rules, every processor may be used for everything that it accepts.
    pub rules: Vec<Rule>,
    /// Beginnings of tokens of products that treat a hold as a purchase: no hold is requested for them.
    pub no_holds: Vec<Box<str>>,
}

impl Registry {
    /// The processor for the request. `random` is a random number from outside; the same number gives the same result.
    ///
    /// # Errors
    /// [`NoRoute`]: no candidate passes all conditions; it names the last one that was not met.
    pub fn route(&self, wanted: Wanted<'_>, breakers: &Breakers, random: u64) -> Result<&ProcessorId, NoRoute> {
        if self.no_holds.iter().any(|start| wanted.token.starts_with(start.as_bytes())) {
            return Err(NoRoute::HoldIsPurchase);
        }
        let candidates = self.candidates(wanted);
        // Every candidate has a reason of its own that ranks higher than "no rule".
        let no_candidate = self.rules.is_empty() && candidates.is_empty();
        let mut furthest = if no_candidate { NoRoute::NeverSeen } else { NoRoute::NoRule };
        let mut best: Vec<(&ProcessorId, u16, u16)> = Vec::new();
        for (processor, priority, weight) in candidates {
            match self.check(processor, wanted, breakers) {
                Ok(()) => best.push((processor, priority, weight)),
                Err(reason) => furthest = furthest.max_by_rank(reason),
            }
        }
        let first = best.iter().map(|(_, priority, _)| *priority).min().ok_or(furthest)?;
        best.retain(|(_, priority, _)| *priority == first);
        Ok(pick(&best, random))
    }

    /// The processor that would be used if it were connected: the one that will resolve a stand-in.
    pub fn absent(&self, wanted: Wanted<'_>, breakers: &Breakers) -> Option<&ProcessorId> {
        let candidates = self.candidates(wanted).into_iter();
        let out = candidates.filter(|(id, _, _)| self.check(id, wanted, breakers).is_err_and(NoRoute::is_outage));
        out.min_by_key(|(id, priority, weight)| (*priority, std::cmp::Reverse(*weight), *id)).map(|(id, _, _)| id)
    }

    /// Whether a rule matches, regardless of connections; without rules all processors match.
    pub fn applies(&self, wanted: Wanted<'_>) -> bool {
        self.rules.is_empty() || self.rules.iter().any(|rule| rule.applies(wanted))
    }

    /// Whether a processor may connect: it has a rule, or there are no rules.
    pub fn admits(&self, processor: &ProcessorId) -> bool {
        self.rules.is_empty() || self.rules.iter().any(|rule| rule.processor == *processor)
    }

    /// The processors that rules allow, with priority and weight.
    fn candidates(&self, wanted: Wanted<'_>) -> Vec<(&ProcessorId, u16, u16)> {
        match self.rules.is_empty() {
            true if is_of_accounts(wanted.credential) => Vec::new(),
            true => self.processors.keys().map(|processor| (processor, 0, 1)).collect(),
            false => {
                let rules = self.rules.iter().filter(|rule| rule.applies(wanted));
                rules.map(|rule| (&rule.processor, rule.priority, rule.weight)).collect()
            }
        }
    }

    fn check(&self, processor: &ProcessorId, wanted: Wanted<'_>, breakers: &Breakers) -> Result<(), NoRoute> {
        if wanted.except.contains(processor) {
            return Err(NoRoute::AllAsked);
        }
        let listed = self.processors.get(processor).ok_or(NoRoute::NeverSeen)?;
        let can = &listed.capabilities;
        if !can.kinds.contains(&OperationKind::Authorize) || !can.credentials.contains(&wanted.credential) {
            return Err(NoRoute::NotTaken);
        }
        if !can.currencies.contains(&wanted.amount.currency) {
            return Err(NoRoute::OtherCurrency);
        }
        if listed.draining || self.drained.contains(processor) {
            return Err(NoRoute::Draining);
        }
        if listed.connections == 0 {
            return Err(NoRoute::NotConnected);
        }
        if !breakers.of(processor, OperationKind::Authorize).passes() {
            return Err(NoRoute::NotAnswering);
        }
        if listed.inflight < can.inflight_max { Ok(()) } else { Err(NoRoute::Busy) }
    }
}

impl Rule {
    fn applies(&self, wanted: Wanted<'_>) -> bool {
        let site = self.sites.is_empty() || wanted.site.is_some_and(|site| self.sites.contains(site));
        let kind = self.credentials.contains(&wanted.credential);
        (kind || self.credentials.is_empty() && !is_of_accounts(wanted.credential))
            && (self.currencies.is_empty() || self.currencies.contains(&wanted.amount.currency))
            && site
            && of_currency(&self.least, wanted.amount).is_none_or(|least| wanted.amount.minor >= least)
            && of_currency(&self.greatest, wanted.amount).is_none_or(|greatest| wanted.amount.minor <= greatest)
    }
}

/// Contracts and RFID cards belong to accounts: a processor gets them only by a rule that names the kind.
const fn is_of_accounts(kind: CredentialKind) -> bool {
    matches!(kind, CredentialKind::EvAccount | CredentialKind::Rfid)
}

/// The bound in the currency of an amount, in minor units.
fn of_currency(bounds: &[Amount], amount: Amount) -> Option<i64> {
    bounds.iter().find(|bound| bound.currency == amount.currency).map(|bound| bound.minor)
}

/// One of the candidates (at least one), each with a chance in proportion to its weight.
fn pick<'a>(candidates: &[(&'a ProcessorId, u16, u16)], random: u64) -> &'a ProcessorId {
    let total: u64 = candidates.iter().map(|(_, _, weight)| u64::from(*weight)).sum();
    let mut left = random.checked_rem(total).unwrap_or(0);
    for (processor, _, weight) in candidates {
        match left.checked_sub(u64::from(*weight)) {
            None => return processor,
            Some(rest) => left = rest,
        }
    }
    candidates[0].0
}

#[cfg(test)]
mod tests {
    use super::super::breaker::Signal;
    use super::*;
    use crate::units::{Mono, Now, TimeSpan, Timestamp};

    fn id(name: &str) -> ProcessorId {
        ProcessorId::new(name).unwrap()
    }

    fn listed() -> Listed {
        let capabilities = Capabilities {
            kinds: vec![OperationKind::Authorize],
            credentials: vec![CredentialKind::CardToken],
            currencies: vec![Currency::EUR],
            idempotent_replay: TimeSpan::ZERO,
            replay_after_error_safe: false,
            request_life_max: TimeSpan::ZERO,
            inquiry_authoritative_after: None,
            increments_max: 0,
            overcapture_percent: 0,
            partial_approval: false,
            multiple_captures: false,
            hold_validity: TimeSpan::from_secs(86_400),
            inflight_max: 10,
        };
        Listed { capabilities, connections: 1, draining: false, inflight: 0 }
    }

    fn rule(name: &str, priority: u16, weight: u16) -> Rule {
        Rule {
            processor: id(name),
            priority,
            weight,
            credentials: Vec::new(),
            currencies: Vec::new(),
            sites: Vec::new(),
            least: Vec::new(),
            greatest: Vec::new(),
        }
    }

    fn registry(rules: Vec<Rule>) -> Registry {
        let processors = ["acme", "other", "third"].map(|name| (id(name), listed())).into_iter().collect();
        Registry { processors, rules, no_holds: vec!["bnpl_".into()], ..Registry::default() }
    }

    fn wanted(minor: i64) -> Wanted<'static> {
        let amount = Amount::new(minor, Currency::EUR);
        Wanted { credential: CredentialKind::CardToken, amount, site: None, except: &[], token: b"tok_1" }
    }

    #[test]
    fn priority_comes_first_and_weight_shares_the_rest() {
        let registry = registry(vec![rule("acme", 1, 3), rule("other", 1, 1), rule("third", 2, 100)]);
        let chosen = |random| registry.route(wanted(4_500), &Breakers::default(), random).unwrap().as_str().to_owned();
        let shares: Vec<String> = (0..8).map(chosen).collect();
        assert_eq!(shares, ["acme", "acme", "acme", "other", "acme", "acme", "acme", "other"]);
    }

    #[test]
    fn rules_restrict_by_amount_site_credential_and_currency() {
        let mut cheap = rule("acme", 0, 1);
        cheap.greatest = vec![Amount::new(1_000, Currency::EUR)];
        let mut here = rule("other", 1, 1);
        here.sites = vec![SiteId::new("AMS").unwrap()];
        let mut rfid = rule("third", 2, 1);
        rfid.credentials = vec![CredentialKind::Rfid];
        let registry = registry(vec![cheap, here, rfid]);
        let none = Breakers::default();
        assert_eq!(registry.route(wanted(1_000), &none, 0), Ok(&id("acme")));
        assert_eq!(registry.route(wanted(1_001), &none, 0), Err(NoRoute::NoRule));
        let site = SiteId::new("AMS").unwrap();
        assert_eq!(registry.route(Wanted { site: Some(&site), ..wanted(1_001) }, &none, 0), Ok(&id("other")));
        let rfid = Wanted { credential: CredentialKind::Rfid, ..wanted(5_000) };
        assert_eq!(
            registry.route(rfid, &none, 0),
            Err(NoRoute::NotTaken),
            "the rule allows it, the processor does not"
        );
        let dollars = Wanted { amount: Amount::new(500, "USD".parse().unwrap()), ..wanted(0) };
        assert_eq!(registry.route(dollars, &none, 0), Err(NoRoute::OtherCurrency));
    }

    #[test]
    fn without_rules_everybody_is_asked_who_takes_it() {
        let mut registry = registry(Vec::new());
        registry.processors.get_mut(&id("acme")).unwrap().capabilities.credentials.clear();
        let chosen: Vec<&str> =
            (0..4).map(|random| registry.route(wanted(1), &Breakers::default(), random).unwrap().as_str()).collect();
        assert_eq!(chosen, ["other", "third", "other", "third"]);
    }

    #[test]
    fn the_reason_is_that_of_the_candidate_that_came_furthest() {
        let mut registry = registry(vec![rule("acme", 0, 1), rule("other", 0, 1), rule("third", 0, 1)]);
        let mut breakers = Breakers::default();
        registry.processors.remove(&id("third"));
        registry.processors.get_mut(&id("acme")).unwrap().draining = true;
        registry.processors.get_mut(&id("other")).unwrap().connections = 0;
        let reason = registry.route(wanted(1), &breakers, 0).unwrap_err();
        assert_eq!((reason, reason.is_outage()), (NoRoute::NotConnected, true));
        registry.processors.get_mut(&id("other")).unwrap().connections = 2;
        for second in 0..5 {
            let now = Now { wall: Timestamp::default(), mono: Mono(second) };
            breakers.signal(&id("other"), OperationKind::Authorize, Signal::Fails, now);
        }
        assert_eq!(registry.route(wanted(1), &breakers, 0), Err(NoRoute::NotAnswering));
        registry.processors.get_mut(&id("acme")).unwrap().draining = false;
        assert_eq!(registry.route(wanted(1), &breakers, 0), Ok(&id("acme")));
        let asked = [id("acme")];
        let again = Wanted { except: &asked, ..wanted(1) };
        assert_eq!(registry.route(again, &breakers, 0), Err(NoRoute::NotAnswering));
        registry.processors.get_mut(&id("acme")).unwrap().inflight = 10;
        assert_eq!(registry.route(wanted(1), &breakers, 0), Err(NoRoute::Busy));
    }

    #[test]
    fn f30_a_product_whose_holds_are_purchases_is_never_asked_for_one() {
        let registry = registry(Vec::new());
        let bnpl = Wanted { token: b"bnpl_7", ..wanted(4_500) };
        assert_eq!(registry.route(bnpl, &Breakers::default(), 0), Err(NoRoute::HoldIsPurchase));
        assert!(!NoRoute::HoldIsPurchase.is_outage(), "and energy is not given on our own risk instead");
        assert!(registry.route(wanted(4_500), &Breakers::default(), 0).is_ok());
    }

    #[test]
    fn the_processor_of_a_stand_in_is_one_that_is_only_out_of_reach() {
        let mut registry = registry(vec![rule("acme", 1, 1), rule("other", 0, 1), rule("third", 0, 5)]);
        assert_eq!(registry.absent(wanted(1), &Breakers::default()), None, "all are there");
        registry.processors.remove(&id("third"));
        registry.processors.get_mut(&id("other")).unwrap().draining = true;
        registry.processors.get_mut(&id("acme")).unwrap().connections = 0;
        assert_eq!(registry.absent(wanted(1), &Breakers::default()), Some(&id("acme")));
    }

    #[test]
    fn a_rule_of_no_weight_is_the_last_resort_of_its_priority() {
        let mut registry = registry(vec![rule("acme", 0, 0), rule("other", 0, 1)]);
        let none = Breakers::default();
        assert!((0..100).all(|random| registry.route(wanted(1), &none, random) == Ok(&id("other"))));
        registry.processors.get_mut(&id("other")).unwrap().connections = 0;
        assert_eq!(registry.route(wanted(1), &none, 7), Ok(&id("acme")));
    }
}
