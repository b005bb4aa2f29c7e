//! wattstile: the payment gatekeeper of a charging network.
//!
//! Chargers and payment processors connect to it by mutual TLS. Every charger, charging session and prepaid
//! account is an actor that decides in memory; every fact is synced to a log before a peer gets a message about it.
//!
//! Each module has a floor, and imports go strictly downward:
//!
//! | floor | modules |
//! |---|---|
//! | 0 | [`units`], [`stored`], [`machine`], [`limits`], [`metrics`], [`host`], [`version`] |
//! | 1 | [`tariff`], [`ledger`] |
//! | 2 | [`payment`], [`billing`] |
//! | 3 | [`session`], [`charger`], [`account`], [`message`] |
//! | 4 | [`accounting`], [`wire`], [`ocpp`], [`journal`] |
//! | 5 | [`node`] |
//! | 6 | [`actors`] |
//! | 7 | [`transport`] |
//! | 8 | [`sim`] |
//! | 9 | [`config`] |
//! | 10 | [`api`] |
//! | 11 | [`reporting`], [`web`] |
//! | 12 | [`app`] |
//! | 13 | [`mod@bench`] |
//! | 14 | [`cli`], [`manual`] |

#![forbid(unsafe_code)]
// Refusals are typed, and a broken invariant is stated by `expect`; a bare unwrap does neither.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

pub mod account;
pub mod accounting;
pub mod actors;
pub mod api;
pub mod app;
pub mod bench;
pub mod billing;
pub mod charger;
pub mod cli;
pub mod config;
pub mod host;
pub mod journal;
pub mod ledger;
pub mod limits;
pub mod machine;
pub mod manual;
pub mod message;
pub mod metrics;
pub mod node;
pub mod ocpp;
pub mod payment;
pub mod reporting;
pub mod session;
pub mod sim;
pub mod stored;
pub mod tariff;
pub mod transport;
pub mod units;
pub mod version;
pub mod web;
pub mod wire;
