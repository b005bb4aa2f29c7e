//! Values that a meter has signed, as the protocols carry them: 1.6 as a sampled value of the format `SignedData`, later versions as
//! a member of a sampled value, in base64.

use super::json::Object;
use crate::billing::meter_signature::{ReadingContext, SignedValue};
use crate::limits;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

/// The signed values of a list of meter values. One that does not say when it was signed is of the moment `default`; without
/// one it is none of the beginning and none of the end, and is not kept.
pub(super) fn values<'a>(
    values: impl Iterator<Item = Object<'a>>,
    default: Option<ReadingContext>,
) -> Vec<SignedValue> {
    let mut signed = Vec::new();
    for value in values {
        for sampled in value.list("sampledValue") {
            let moment = match sampled.text("context").as_deref() {
                Some("Transaction.Begin") => Some(ReadingContext::Begin),
                Some("Transaction.End") => Some(ReadingContext::End),
                _ => default,
            };
            let Some(moment) = moment else { continue };
            let Some((encoding, data)) = text(sampled) else { continue };
            // What is not kept is not verified either: that is to be seen.
            let (encoding, data) = match data.len() {
                0..=limits::SIGNED_VALUE_BYTES_MAX => (encoding, data),
                _ => (TOO_LONG.to_owned(), String::new()),
            };
            if signed.len() < limits::SIGNED_VALUES_MAX {
                signed.push(SignedValue { moment, encoding: encoding.into(), data: data.into() });
            }
        }
    }
    signed
}

/// Stands for the format of a value that was longer than is kept.
const TOO_LONG: &str = "too long";

/// The encoding and the signed text of a sampled value.
fn text(sampled: Object<'_>) -> Option<(String, String)> {
    let named = |encoding: Option<&str>, data: &str| match encoding.filter(|encoding| !encoding.is_empty()) {
        Some(encoding) => encoding.chars().filter(|c| !c.is_control()).take(50).collect(),
        None if data.starts_with("OCMF|") => "OCMF".to_owned(),
        None => "unknown".to_owned(),
    };
    if sampled.text("format").as_deref() == Some("SignedData") {
        let data = sampled.text("value")?.into_owned();
        // Some chargers put the object of later versions into the text.
        let inner = serde_json::from_str(&data).ok().and_then(|value| member(Object::of(&value)));
        return Some(inner.map_or_else(
            || (named(None, &data), data.clone()),
            |(encoding, inner)| (named(encoding.as_deref(), &inner), inner),
        ));
    }
    let (encoding, data) = member(sampled.object("signedMeterValue"))?;
    Some((named(encoding.as_deref(), &data), data))
}

/// The encoding and the data of a SignedMeterValueType. What is no text in base64 stays as it is.
fn member(object: Object<'_>) -> Option<(Option<String>, String)> {
    let data = object.text("signedMeterData")?;
    let decoded = BASE64.decode(data.as_bytes()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let encoding = object.text("encodingMethod").map(|encoding| encoding.into_owned());
    Some((encoding, decoded.unwrap_or_else(|| data.into_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_ways_of_carrying_a_signed_text_give_the_same() {
        let text = r#"OCMF|{"FV":"1.0"}|{"SD":"00"}"#;
        let sampled = |value| json!({"meterValue": [{"sampledValue": [{"value": "7"}, value]}]});
        let of = |value: &serde_json::Value, default| values(Object::of(value).list("meterValue"), default);
        let expected = |moment| vec![SignedValue { moment, encoding: "OCMF".into(), data: text.into() }];
        let in_16 = sampled(json!({"value": text, "format": "SignedData", "context": "Transaction.End"}));
        assert_eq!(of(&in_16, None), expected(ReadingContext::End));
        let member = json!({"signedMeterData": BASE64.encode(text), "signingMethod": "", "encodingMethod": "OCMF", "publicKey": "no"});
        let in_2 = sampled(json!({"value": 7, "signedMeterValue": member}));
        assert_eq!(of(&in_2, Some(ReadingContext::Begin)), expected(ReadingContext::Begin));
        assert_eq!(of(&in_2, None), [], "in between, none is kept");
        let nested = sampled(json!({"value": member.to_string(), "format": "SignedData"}));
        assert_eq!(of(&nested, Some(ReadingContext::End)), expected(ReadingContext::End));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let long = "x".repeat(limits::SIGNED_VALUE_BYTES_MAX + 1);
        let value = |data: &str| json!({"sampledValue": [{"value": data, "format": "SignedData"}]});
        let list = json!({"meterValue": [value(&long), value("a"), value("b"), value("c"), value("d"), value("e"), value("f")]});
        let kept = values(Object::of(&list).list("meterValue"), Some(ReadingContext::End));
        assert_eq!(kept.len(), limits::SIGNED_VALUES_MAX);
        assert_eq!((&*kept[0].data, &*kept[0].encoding), ("", "too long"), "its lack is to be seen");
        assert_eq!((&*kept[1].data, &*kept[1].encoding), ("a", "unknown"));
    }
}
