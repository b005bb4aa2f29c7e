use super::*;
use proptest::prelude::*;

fn hexed(value: &impl Stored) -> String {
    hex::encode(to_bytes(value))
}

#[test]
fn the_written_forms_are_those_of_the_documentation() {
    let numbers = [0, 1, 127, 128, 16_383, 16_384, (1 << 56) - 1, 1 << 56, u64::MAX];
    let written = numbers.map(|number: u64| hexed(&number));
    assert_eq!(
        written,
        ["01", "03", "ff", "0202", "feff", "040002", "80ffffffffffffff", "000000000000000001", "00ffffffffffffffff",]
    );
    assert_eq!([0_i64, -1, 1, -2].map(|number| hexed(&number)), ["01", "03", "05", "07"]);
    assert_eq!([0_i128, -1, 128].map(|number| hexed(&number)), ["00", "0101", "020001"]);
    assert_eq!([hexed(&0xa5_u8), hexed(&true), hexed(&None::<u8>), hexed(&Some(7_u8))], ["a5", "01", "00", "0107"]);
    assert_eq!(hexed(&Box::<str>::from("tick")), "097469636b");
    assert_eq!(hexed(&vec![1_u16, 300]), "0503b204");
}

proptest! {
    #[test]
    fn numbers_are_read_as_they_were_written(
        (a, b, c, d) in any::<(u64, i64, u128, i128)>(),
        shift in 0_u32..64,
        behind in prop::collection::vec(any::<u8>(), 0..9),
    ) {
        let (a, b) = (a >> shift, b >> shift);
        let mut bytes = to_bytes(&((a, b), (c, d)));
        let own = bytes.len();
        bytes.extend(&behind);
        let mut rest = &bytes[..];
        prop_assert_eq!(Stored::load(&mut rest), Ok(((a, b), (c, d))));
        prop_assert_eq!(rest, &behind[..]);
        for cut in 0..own {
            prop_assert!(from_bytes::<((u64, i64), (u128, i128))>(&bytes[..cut]).is_err());
        }
    }

    #[test]
    fn lists_and_texts_are_read_as_they_were_written(
        value in any::<(Vec<(u16, Option<i64>)>, (String, std::collections::BTreeMap<u32, bool>))>(),
        garbage in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        prop_assert_eq!(from_bytes(&to_bytes(&value)), Ok(value));
        // Whatever it is, it is read or refused, and takes no room that is not there.
        let _ = from_bytes::<(Vec<(u16, Option<i64>)>, (String, std::collections::BTreeMap<u32, bool>))>(&garbage);
    }
}

/// A type of three versions of a program.
mod first {
    #[derive(Debug, PartialEq)]
    pub struct Reading {
        pub register: i64,
        pub text: String,
    }
    crate::stored::stored!(struct Reading { 0: register, 1: text });

    #[derive(Debug, PartialEq)]
    pub enum Fact {
        Opened,
        Read { reading: Reading },
        Moved(u16, u16),
    }
    crate::stored::stored!(enum Fact { 0: Opened, 4: Read { 0: reading }, 9: Moved(0: from, 1: to) });
}

mod second {
    /// Declared in another order, with two more fields.
    #[derive(Debug, PartialEq)]
    pub struct Reading {
        pub note: Option<String>,
        pub text: String,
        pub factor: u16,
        pub register: i64,
    }
    crate::stored::stored!(struct Reading { 0: register, 1: text, 2: factor or 100, 3: note or None });

    #[derive(Debug, PartialEq)]
    pub enum Fact {
        Closed(Reading),
        Moved(u16, u16),
        Read { at: i64, reading: Reading },
        Opened,
    }
    crate::stored::stored!(enum Fact {
        0: Opened,
        4: Read { 0: reading, 1: at or -1 },
        9: Moved(0: from, 1: to),
        12: Closed(reading),
    });
}

fn old() -> first::Reading {
    first::Reading { register: 5, text: "five".into() }
}

fn new() -> second::Reading {
    second::Reading { note: Some("mended".into()), text: "five".into(), factor: 7, register: 5 }
}

#[test]
fn a_field_that_was_added_has_its_value_in_older_bytes() {
    let read: second::Reading = from_bytes(&to_bytes(&old())).unwrap();
    assert_eq!(read, second::Reading { note: None, factor: 100, ..new() });
    let read: second::Fact = from_bytes(&to_bytes(&first::Fact::Read { reading: old() })).unwrap();
    assert_eq!(read, second::Fact::Read { at: -1, reading: second::Reading { note: None, factor: 100, ..new() } });
}

#[test]
fn fields_behind_the_last_known_one_are_skipped() {
    assert_eq!(from_bytes(&to_bytes(&new())), Ok(old()));
    let pair = (second::Fact::Read { at: 9, reading: new() }, second::Fact::Moved(1, 2));
    let read: (first::Fact, first::Fact) = from_bytes(&to_bytes(&pair)).unwrap();
    assert_eq!(read, (first::Fact::Read { reading: old() }, first::Fact::Moved(1, 2)));
}

#[test]
fn a_variant_that_is_not_known_is_named_with_its_type_and_number() {
    let error = from_bytes::<Vec<first::Fact>>(&to_bytes(&vec![second::Fact::Closed(new())])).unwrap_err();
    assert_eq!(error.to_string(), "`Fact` has no number 12 in this version; a newer version may have written it");
}

#[test]
fn what_is_wrong_is_named_with_its_type_and_field() {
    let whole = to_bytes(&first::Fact::Read { reading: old() });
    assert_eq!(hex::encode(&whole), "090f0d150966697665");
    let refusal_of = |bytes: &[u8]| from_bytes::<first::Fact>(bytes).unwrap_err().to_string();
    assert_eq!(refusal_of(&hex::decode("090303").unwrap()), "Read.reading: the bytes end within a value");
    assert_eq!(refusal_of(&hex::decode("0905030b").unwrap()), "Read.reading.text: field 1 is missing");
    assert_eq!(refusal_of(&hex::decode("090b090b05ffff").unwrap()), "Read.reading.text: a text that is not UTF-8");
    assert_eq!(refusal_of(&[&whole[..], &[0, 0]].concat()), "2 bytes are left behind its end");
    assert_eq!(refusal_of(&[]), "the bytes end within a value");
}

#[test]
fn long_structs_have_their_length_in_front() {
    for length in [0, 100, 125, 126, 127, 128, 300, 16_380, 16_390, 70_000] {
        let long = first::Reading { register: 1, text: "x".repeat(length) };
        let nested = (first::Fact::Read { reading: long }, 7_u16);
        assert_eq!(from_bytes(&to_bytes(&nested)), Ok(nested), "{length}");
    }
}

#[test]
fn numbers_are_counted_and_distinct() {
    assert!(are_counted(&[0, 1, 2]) && !are_counted(&[0, 2]) && !are_counted(&[1, 2]));
    assert!(are_distinct(&[3, 0, 7]) && !are_distinct(&[3, 0, 3]));
}
