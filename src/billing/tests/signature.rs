//! A signed receipt is whole or refused.

use super::*;
use ring::rand::SystemRandom;

fn signed() -> (SignedReceipt, PublicKey) {
    let der = SigningKey::generate(&SystemRandom::new()).unwrap();
    let key = SigningKey::from_pkcs8(&der).unwrap();
    (key.sign(receipt()), key.public_key())
}

#[test]
fn a_receipt_is_verified_offline_with_and_without_a_known_key() {
    let (document, key) = signed();
    let json = document.to_json();
    assert_eq!(verify_receipt(json.as_bytes(), None).unwrap(), document);
    assert_eq!(verify_receipt(json.as_bytes(), Some(&key)).unwrap().receipt.total, decimal("9.60"));
    let published = PublicKey::parse(&key.to_pem()).unwrap();
    assert!(verify_receipt(json.as_bytes(), Some(&published)).is_ok());
    let (_, other) = signed();
    let error = verify_receipt(json.as_bytes(), Some(&other)).unwrap_err();
    assert!(matches!(error, SignatureError::OtherKey { .. }), "{error}");
}

#[test]
fn the_form_of_the_document_does_not_matter() {
    let (document, _) = signed();
    let value = serde_json::to_value(&document).unwrap();
    let compact = canonical_json(&value);
    assert!(verify_receipt(compact.as_bytes(), None).is_ok(), "compact, with sorted keys");
    assert!(verify_receipt(document.to_json().as_bytes(), None).is_ok(), "indented, in order of writing");
}

/// Every digit of the receipt is changed, one at a time.
#[test]
fn a_changed_digit_is_detected() {
    let (document, _) = signed();
    let json = document.to_json();
    let receipt_ends = json.find("\"signature\"").unwrap();
    let mut changed = 0;
    for (index, byte) in json.bytes().enumerate().take(receipt_ends).filter(|(_, byte)| byte.is_ascii_digit()) {
        let mut forged = json.clone().into_bytes();
        forged[index] = if byte == b'9' { b'8' } else { byte + 1 };
        let error = verify_receipt(&forged, None).expect_err("a changed digit is detected");
        assert!(matches!(error, SignatureError::Broken | SignatureError::Malformed(_)), "{error}");
        changed += 1;
    }
    assert!(changed > 400, "only {changed} digits were tried");
}

#[test]
fn a_figure_that_stands_twice_is_refused() {
    let (document, _) = signed();
    let json = document.to_json();
    let forged = json.replacen("\"total\": \"9.60\"", "\"total\": \"0.10\", \"total\": \"9.60\"", 1);
    assert_ne!(forged, json);
    let error = verify_receipt(forged.as_bytes(), None).unwrap_err();
    assert!(error.to_string().contains("`total` stands in it twice"), "{error}");
}

#[test]
fn what_is_added_to_a_receipt_is_detected() {
    let (document, _) = signed();
    let forged = document.to_json().replacen("\"total\"", "\"note\": \"paid in cash\", \"total\"", 1);
    assert_eq!(verify_receipt(forged.as_bytes(), None), Err(SignatureError::Broken));
}

#[test]
fn what_is_no_receipt_is_told_apart_from_a_forged_one() {
    for text in ["", "{}", "[1]", "{\"receipt\": {}}", "\u{0}", &"[".repeat(10_000)] {
        let error = verify_receipt(text.as_bytes(), None).unwrap_err();
        assert!(matches!(error, SignatureError::Malformed(_)), "{error}");
    }
}

#[test]
fn keys_are_read_in_three_forms_and_nothing_else() {
    let (document, key) = signed();
    assert_eq!(PublicKey::parse(&document.signature.public_key).unwrap(), key);
    assert!(PublicKey::parse("").is_err());
    assert!(PublicKey::parse("00").is_err());
    assert!(PublicKey::parse("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----").is_err());
    assert!(SigningKey::from_pkcs8(b"no key").is_err());
}

#[test]
fn canonical_text_sorts_keys_and_keeps_digits() {
    let value: serde_json::Value =
        serde_json::from_str(r#"{ "b": 1.50, "a": {"z": [1, 2.0], "ä": "\u00e9\n"}, "B": null }"#).unwrap();
    assert_eq!(canonical_json(&value), "{\"B\":null,\"a\":{\"z\":[1,2.0],\"ä\":\"é\\n\"},\"b\":1.50}");
}

/// A receipt that an earlier build signed. It must verify for ever.
#[test]
fn a_receipt_of_the_first_version_still_verifies() {
    let key = PublicKey::parse(include_str!("../../../tests/data/receipt-key.pem")).unwrap();
    let signed = verify_receipt(include_bytes!("../../../tests/data/receipt.json"), Some(&key)).unwrap();
    // Fields that were added later are derived from the older ones.
    assert_eq!(signed.receipt.to_text(), receipt().to_text());
    assert_eq!((signed.receipt.cdr, signed.receipt.gross), (receipt().cdr, receipt().gross));
}
