#!/usr/bin/env bash
# Prices one CDR of 30 periods with ocpi-tariffs 0.48.0 and with this crate, on this machine, one after the other.
# ocpi-tariffs is built in a folder of its own outside the tree: it pins an older rust_decimal.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/src"
cat > "$work/Cargo.toml" <<'TOML'
[package]
name = "side-by-side"
version = "0.0.0"
edition = "2024"

[dependencies]
ocpi-tariffs = "=0.48.0"
chrono-tz = "0.10"

[workspace]
TOML
cat > "$work/src/main.rs" <<'RUST'
use ocpi_tariffs::{Version, cdr, price, tariff};
use std::time::Instant;

/// The tariff `rich` and the CDR of 30 periods of benches/rating.rs.
const TARIFF: &str = r#"{"country_code": "NL", "party_id": "TST", "id": "R", "currency": "EUR", "last_updated": "2025-01-01T00:00:00Z",
    "max_price": {"excl_vat": 200, "incl_vat": 242}, "elements": [
    {"price_components": [{"type": "FLAT", "price": 0.50, "vat": 21, "step_size": 1}]},
    {"price_components": [{"type": "ENERGY", "price": 0.31, "vat": 21, "step_size": 1}],
     "restrictions": {"start_time": "22:00", "end_time": "06:00"}},
    {"price_components": [{"type": "ENERGY", "price": 0.36, "vat": 21, "step_size": 1}],
     "restrictions": {"day_of_week": ["SATURDAY", "SUNDAY"]}},
    {"price_components": [{"type": "ENERGY", "price": 0.49, "vat": 21, "step_size": 1}], "restrictions": {"max_kwh": 40}},
    {"price_components": [{"type": "ENERGY", "price": 0.44, "vat": 21, "step_size": 1}]},
    {"price_components": [{"type": "PARKING_TIME", "price": 6, "vat": 21, "step_size": 60}],
     "restrictions": {"min_duration": 1800}}]}"#;

fn main() {
    let mut periods = String::new();
    for index in 0..30 {
        let comma = if index == 0 { "" } else { "," };
        let (minute, kwh) = (index * 2, 30 + index % 7);
        periods += &format!(
            r#"{comma}{{"start_date_time": "2026-11-23T{:02}:{:02}:00Z", "dimensions": [{{"type": "ENERGY", "volume": 0.{kwh}}},
               {{"type": "TIME", "volume": 0.0333}}]}}"#,
            8 + minute / 60,
            minute % 60
        );
    }
    let text = format!(
        r#"{{"country_code": "NL", "party_id": "TST", "id": "1", "start_date_time": "2026-11-23T08:00:00Z",
            "end_date_time": "2026-11-23T12:00:00Z", "currency": "EUR", "tariffs": [], "cdr_location": {{"country": "NLD"}},
            "charging_periods": [{periods}], "total_cost": {{"excl_vat": 0}}, "total_energy": 0, "total_time": 4,
            "last_updated": "2026-11-23T12:00:00Z"}}"#
    );
    let cdr = cdr::parse_with_version(&text, Version::V221).unwrap().cdr;
    let tariff = tariff::parse_with_version(TARIFF, Version::V221).unwrap().tariff;
    let zone = chrono_tz::Europe::Amsterdam;
    let mut best = u128::MAX;
    for _ in 0..20_000 {
        let start = Instant::now();
        let source = price::TariffSource::Override(vec![tariff.clone()]);
        std::hint::black_box(cdr::price(&cdr, source, zone).is_ok());
        best = best.min(start.elapsed().as_nanos());
    }
    println!("ocpi-tariffs 0.48.0, CDR of 30 periods: {best} ns (best of 20,000)");
}
RUST
(cd "$work" && cargo run --release --quiet)
(cd "$here" && cargo bench --bench rating -- 'cdr/rich/30_periods' 2>/dev/null | grep -A1 'cdr/rich')
