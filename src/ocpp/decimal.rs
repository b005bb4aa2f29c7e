//! Decimal figures as texts, read exactly.

/// Longest figure that is read, in bytes.
const FIGURE_BYTES_MAX: usize = 64;

/// Largest power of ten, either way, that a figure may name.
const POWER_MAX: i32 = 40;

/// The figure times `10^power`, cut to a whole number; `None`: it is no figure, or does not fit.
///
/// Signs, leading zeros, fractions and exponents are read (`-0.50`, `.5`, `1.5E3`); there are no separators of thousands.
pub(super) fn scaled(text: &str, power: i32) -> Option<i64> {
    let text = text.trim();
    if text.len() > FIGURE_BYTES_MAX {
        return None;
    }
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (figure, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], unsigned[at + 1..].parse::<i32>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = figure.split_once('.').unwrap_or((figure, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    if digits().next().is_none() || !digits().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    // The figure is its digits times ten to this power.
    let shift = exponent.checked_add(power)?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    if !(-POWER_MAX - FIGURE_BYTES_MAX as i32..=POWER_MAX).contains(&shift) {
        return None;
    }
    let kept = match usize::try_from(shift.saturating_neg()) {
        Ok(cut) => (whole.len() + fraction.len()).saturating_sub(cut),
        Err(_) => usize::MAX,
    };
    let add = |sum: i128, digit: u8| sum.checked_mul(10)?.checked_add(i128::from(digit - b'0'));
    let sum = digits().take(kept).try_fold(0_i128, add)?;
    let sum = (0..shift.max(0)).try_fold(sum, |sum, _| sum.checked_mul(10))?;
    i64::try_from(if negative { -sum } else { sum }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rust_decimal::Decimal;

    #[test]
    fn figures_are_read_exactly_and_cut_behind_the_last_place() {
        for (text, power, expected) in [
            ("1500", 6, Some(1_500_000_000)),
            ("1.5", 9, Some(1_500_000_000)),
            ("0.0536", 9, Some(53_600_000)),
            ("53.1234567890123456", 6, Some(53_123_456)),
            ("-0.0000019", 6, Some(-1)),
            ("1.5E3", 6, Some(1_500_000_000)),
            ("15e-1", 0, Some(1)),
            ("+7", 0, Some(7)),
            (" 007.50 ", 2, Some(750)),
            (".5", 1, Some(5)),
            ("5.", 0, Some(5)),
            ("0.00000000000000000000000000000001", 6, Some(0)),
            ("9223372036854775807", 0, Some(i64::MAX)),
            ("9223372036854775808", 0, None),
            ("-9223372036854775808", 0, Some(i64::MIN)),
            ("1e400", 0, None),
            ("1e99999999999", 0, None),
            ("1e-400", 0, None),
            ("", 0, None),
            (".", 0, None),
            ("-", 0, None),
            ("1,5", 0, None),
            ("1.2.3", 0, None),
            ("0x10", 0, None),
            ("NaN", 0, None),
            ("Infinity", 0, None),
            ("1 000", 0, None),
        ] {
            assert_eq!(scaled(text, power), expected, "{text}");
        }
        assert_eq!(scaled(&"9".repeat(65), 0), None);
    }

    proptest! {
        #[test]
        fn they_are_what_decimals_are(mantissa in any::<i64>(), scale in 0_u32..18, power in 0_i32..10) {
            let decimal = Decimal::new(mantissa, scale);
            let moved = decimal.checked_mul(Decimal::from(10_i64.pow(power.unsigned_abs()))).map(|moved| moved.trunc());
            let expected = moved.and_then(|moved| i64::try_from(moved.mantissa() / 10_i128.pow(moved.scale())).ok());
            if moved.is_some() {
                prop_assert_eq!(scaled(&decimal.to_string(), power), expected);
            }
        }

        #[test]
        fn no_text_is_too_odd(text in "\\PC{0,80}", power in any::<i32>()) {
            let _ = scaled(&text, power);
        }
    }
}
