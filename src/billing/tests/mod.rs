//! One session in all its documents.

mod documents;
mod pricing;
mod signature;

use super::*;
use crate::units::{
    Amount, ChargerId, ConnectorId, Cost, Currency, Energy, PartitionId, ProcessorId, Rounding, SessionId, SessionKey,
    TariffHash, TariffId, TimeSpan, Timestamp,
};
use rust_decimal::Decimal;

pub(super) fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

pub(super) fn cost(text: &str) -> Cost {
    Cost::from_major(decimal(text), Currency::EUR).unwrap()
}

pub(super) fn cents(minor: i64) -> Amount {
    Amount::new(minor, Currency::EUR)
}

pub(super) fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(&format!("2026-11-22T{text}+01:00")).unwrap()
}

/// 18.402 kWh with a start fee, two prices of energy and parking time in steps of a minute, VAT 21 %.
pub(super) fn session() -> ClosedSession {
    let percent = Some(decimal("21"));
    let line = |element, reason: &str, dimension, from, to, measured, billed, price, net: &str| {
        let net = decimal(net);
        Line {
            element,
            reason: reason.into(),
            dimension,
            from: at(from),
            to: at(to),
            measured,
            billed,
            price: decimal(price),
            vat_percent: percent,
            net: Cost::from_major(net, Currency::EUR).unwrap(),
            gross: Cost::from_major(net * decimal("1.21"), Currency::EUR).unwrap(),
        }
    };
    let energy = |kwh: &str| Quantity::Energy(Energy::from_kwh(decimal(kwh)).unwrap());
    let time = |seconds| Quantity::Time(TimeSpan::from_secs(seconds));
    let kwh = |text: &str| Energy::from_kwh(decimal(text)).unwrap();
    use Dimension::{Energy as OfEnergy, Flat, ParkingTime};
    ClosedSession {
        id: SessionId::new(at("14:02:11"), PartitionId(5), 7),
        key: SessionKey(19),
        charger: ChargerId::new("NL*WST*E0007").unwrap(),
        connector: ConnectorId(1),
        place: ChargerLocation {
            location_id: "AMS-01".into(),
            name: Some("Oosterdok <P&R>".into()),
            address: "Oosterdokskade 12".into(),
            city: "Amsterdam".into(),
            postal_code: Some("1011 AE".into()),
            country: "NLD".into(),
            coordinates: Some(("52.37589".into(), "4.90893".into())),
            evse_id: None,
            plug: Plug::default(),
        },
        started_at: at("14:02:11"),
        ended_at: at("14:19:50"),
        zone: "Europe/Amsterdam".into(),
        end_reason: "unplugged".into(),
        flags: Vec::new(),
        first_register: kwh("81234.5"),
        last_register: kwh("81252.902"),
        energy: kwh("18.402"),
        parking: TimeSpan::from_secs(42),
        readings: 147,
        tariff: PinnedTariff {
            id: TariffId::new("AMS-DAY").unwrap(),
            hash: TariffHash([0x9c; 32]),
            text: r#"{"id":"AMS-DAY","currency":"EUR"}"#.into(),
            prices_include_vat: false,
        },
        lines: vec![
            line(1, "", Flat, "14:02:11", "14:02:11", Quantity::Once, Quantity::Once, "0.50", "0.50"),
            line(
                2,
                "07:00-19:00",
                OfEnergy,
                "14:02:11",
                "14:16:00",
                energy("15.12"),
                energy("15.12"),
                "0.42",
                "6.3504",
            ),
            line(
                3,
                "at 60 kW or more",
                OfEnergy,
                "14:16:00",
                "14:18:00",
                energy("3.282"),
                energy("3.282"),
                "0.31",
                "1.01742",
            ),
            line(4, "after 5 min", ParkingTime, "14:19:08", "14:19:50", time(42), time(60), "4.20", "0.07"),
        ],
        vat: vec![VatTotal { percent, net: cost("7.93782"), vat: cost("1.6669422") }],
        net: cost("7.93782"),
        gross: cost("9.6047622"),
        rounding: Rounding::HalfEven,
        payable: cents(960),
        payment: PaymentSummary {
            processor: Some(ProcessorId::new("acme-cards").unwrap()),
            authorized: cents(4_500),
            captured: cents(960),
            released: cents(3_540),
            shortfall: cents(0),
            references: vec!["8841".into()],
            captured_at: Some(at("14:19:53")),
        },
        presented: Presented { kind: PresentedKind::Card, fingerprint: "fp_5b0e".into() },
    }
}

pub(super) fn issue() -> Issue {
    Issue {
        later: Vec::new(),
        issuer: Issuer {
            name: "Wattstile Charging B.V.".into(),
            address: "Keizersgracht 1, Amsterdam".into(),
            vat_id: "NL001234567B01".into(),
        },
        party: Party { country_code: "NL".into(), party_id: "WST".into() },
        at: at("14:19:55"),
        number: Some("R-2026-000001".into()),
        link: Some("https://example.com/r/0198c3".into()),
    }
}

pub(super) fn receipt() -> Receipt {
    Receipt::new(&session(), &issue()).unwrap()
}
