//! Batches against operations.

use super::received::Received;
use super::register::{Booking, Line, Part};
use super::*;
use crate::ledger::{Books, Name};
use crate::units::{PartitionId, PaymentId};
use proptest::prelude::*;

const NOON: i64 = 1_763_812_800_000;
const DAY: TimeSpan = TimeSpan::from_secs(24 * 3_600);

fn at(hours: i64) -> Timestamp {
    Timestamp::from_unix_ms(NOON + hours * 3_600_000)
}

fn eur(cents: i64) -> Amount {
    Amount::new(cents, Currency::EUR)
}

fn op(number: u64) -> OpId {
    PaymentId::new(at(0), PartitionId(1), number).operation(3)
}

fn ours(number: u64, kind: Flow, cents: i64) -> Ours {
    Ours { operation: op(number), kind, reference: format!("ref-{number}").into(), amount: eur(cents), at: at(0) }
}

fn line(row: u64, kind: LineKind, operation: Option<OpId>, gross: i64, fee: i64) -> SettlementLine {
    let (gross, fee, net) = (eur(gross), eur(fee), eur(gross - fee));
    SettlementLine { row, kind, operation, reference: None, gross, fee, net }
}

fn batch(lines: Vec<SettlementLine>) -> Batch {
    let processor = ProcessorId::new("acme-cards").unwrap();
    Batch { id: "2026-11-21".into(), processor, currency: Currency::EUR, at: at(48), lines, trailer: None }
}

#[test]
fn every_line_and_every_operation_ends_on_one_pile() {
    let operations = [
        ours(1, Flow::Capture, 960),
        ours(2, Flow::Capture, 500),
        ours(3, Flow::Refund, 100),
        ours(4, Flow::Capture, 700),
        Ours { at: at(47), ..ours(5, Flow::Capture, 800) },
    ];
    let by_reference = SettlementLine { reference: Some("ref-3".into()), ..line(3, LineKind::Refund, None, -100, 0) };
    let lines = vec![
        line(1, LineKind::Capture, Some(op(1)), 960, 10),
        line(2, LineKind::Capture, Some(op(2)), 499, 10),
        by_reference,
        line(4, LineKind::Capture, Some(op(9)), 50, 0),
        line(5, LineKind::Capture, Some(op(1)), 960, 10),
        line(6, LineKind::Refund, Some(op(4)), -700, 0),
        line(7, LineKind::Payout, None, -1_000, 0),
    ];
    let report = reconcile(&operations, &batch(lines), DAY);
    let numbers = |pairs: &[Pair]| pairs.iter().map(|pair| (pair.theirs.row, pair.difference)).collect::<Vec<_>>();
    assert_eq!(numbers(&report.matched), [(1, 0), (3, 0)]);
    assert_eq!(numbers(&report.differs), [(2, -1)]);
    assert_eq!(report.missing, [operations[3].clone()]);
    assert_eq!(report.in_flight, [operations[4].clone()]);
    let extra: Vec<(u64, WhyExtra)> = report.extra.iter().map(|extra| (extra.theirs.row, extra.why)).collect();
    assert_eq!(extra, [(4, WhyExtra::Unknown), (5, WhyExtra::SettledAlready), (6, WhyExtra::OtherKind)]);
    assert_eq!(report.other.len(), 1);
    assert!(report.faults.is_empty() && !report.is_clean());

    let mut table = Vec::new();
    report.write_csv(&mut table).unwrap();
    let table = String::from_utf8(table).unwrap();
    assert_eq!(table.lines().count(), 1 + 9);
    assert!(table.contains("amount differs,") && table.contains(",5.00,4.99,-0.01,EUR"), "{table}");
}

#[test]
fn captures_of_one_hold_are_told_apart_by_their_amounts() {
    let same = |number, cents| Ours { reference: "hold-1".into(), ..ours(number, Flow::Capture, cents) };
    let operations = [same(1, 300), same(2, 500)];
    let by_reference = |row, cents| SettlementLine {
        reference: Some("hold-1".into()),
        ..line(row, LineKind::Capture, None, cents, 0)
    };
    let report =
        reconcile(&operations, &batch(vec![by_reference(1, 500), by_reference(2, 300), by_reference(3, 1)]), DAY);
    let pairs: Vec<(u64, OpId)> = report.matched.iter().map(|pair| (pair.theirs.row, pair.ours.operation)).collect();
    assert_eq!(pairs, [(1, op(2)), (2, op(1))]);
    assert_eq!(report.extra[0].why, WhyExtra::SettledAlready);
}

#[test]
fn a_batch_that_contradicts_itself_is_named() {
    let mut lines = vec![line(1, LineKind::Capture, Some(op(1)), 960, 10), line(2, LineKind::Fee, None, 0, 5)];
    lines[0].net = eur(951);
    lines.push(SettlementLine {
        gross: Amount::new(5, "USD".parse().unwrap()),
        ..line(3, LineKind::Capture, None, 5, 0)
    });
    let trailer = Some(Trailer { count: 3, gross: 965, fee: 16, net: 951 });
    let report = reconcile(&[ours(1, Flow::Capture, 960)], &Batch { trailer, ..batch(lines) }, DAY);
    let faults: Vec<String> = report.faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        faults,
        [
            "line 1: EUR 9.60 less a fee of EUR 0.10 is not EUR 9.51",
            "line 3 is in USD",
            "the trailer says 16 for fee, the lines come to 15",
        ]
    );
}

#[test]
fn a_file_is_read_by_its_column_map() {
    let map: ColumnMap = toml::from_str(
        r#"
        operation = "Merchant reference"
        reference = "PSP ref"
        kind = "Type"
        kinds = { Settled = "capture", Refunded = "refund", MerchantPayout = "payout" }
        gross = "Gross"
        fee = "Fee"
        separator = ";"
        decimal_mark = "comma"
        "#,
    )
    .unwrap();
    let operation = op(1);
    let file = format!(
        "\u{feff}Type;Merchant reference;PSP ref;Gross;Fee\n\
         Settled;{operation};8841;1.234,50;0,25\nRefunded;;\"88;41\";-1,00;0\nMerchantPayout;;;-5;0\n"
    );
    let lines = read_csv(file.as_bytes(), &map, Currency::EUR).unwrap();
    let figures: Vec<(u64, LineKind, i64, i64, i64)> =
        lines.iter().map(|line| (line.row, line.kind, line.gross.minor, line.fee.minor, line.net.minor)).collect();
    assert_eq!(
        figures,
        [
            (2, LineKind::Capture, 123_450, 25, 123_425),
            (3, LineKind::Refund, -100, 0, -100),
            (4, LineKind::Payout, -500, 0, -500),
        ]
    );
    assert_eq!((lines[0].operation, lines[1].reference.as_deref()), (Some(operation), Some("88;41")));
}

#[test]
fn a_file_that_cannot_be_read_names_the_line_and_the_column() {
    let map: ColumnMap = toml::from_str("gross = \"gross\"\nnet = \"net\"\noperation = \"op\"").unwrap();
    let refused = |file: &str| read_csv(file.as_bytes(), &map, Currency::EUR).unwrap_err().to_string();
    assert_eq!(refused("gross,op\n1,\n"), "there is no column `net`; the columns are `gross`, `op`");
    assert_eq!(
        refused("gross,net,op\n1.00,1.00,\n1.005,1,\n"),
        "line 3, column `gross`: `1.005` has more decimals than are kept: EUR has 2"
    );
    assert!(refused("gross,net,op\nmuch,1,\n").starts_with("line 2, column `gross`: `much` is not an amount"));
    assert!(refused("gross,net,op\n1,1,xyz\n").starts_with("line 2, column `op`: "));
    assert_eq!(refused("gross,net,op\n1,1\n"), "line 2: 2 fields, expected 3 as in the line of names");
    assert_eq!(
        refused("gross;net;op\n1;1;\n"),
        "there is no column `op`: the file has one column only, `gross;net;op`; its separator seems to be `;`"
    );
    assert!(toml::from_str::<ColumnMap>("gros = \"gross\"").is_err());
    for separator in [";;", ""] {
        let error =
            toml::from_str::<ColumnMap>(&format!("gross = \"gross\"\nseparator = \"{separator}\"")).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("`separator` is one character, such as") && error.contains("line 2"), "{error}");
    }
}

/// After a public report: a processor's details have debit and credit in two columns, fees in four, and lines of fees and
/// payouts without gross.
#[test]
fn debit_and_credit_columns_and_several_fees_are_added_up() {
    let map: ColumnMap = toml::from_str(
        r#"
        reference = "Ref"
        kind = "Type"
        kinds = { Settled = "capture", Refunded = "refund", Chargeback = "chargeback", Fee = "fee", MerchantPayout = "payout", Sum = "skip" }
        gross = ["GC", "-GD"]
        net = ["NC", "-ND"]
        fee = ["Commission", "Markup", "Scheme", "Interchange"]
        "#,
    )
    .unwrap();
    let file = "Ref,Type,GD,GC,ND,NC,Commission,Markup,Scheme,Interchange\n\
        P1,Settled,,23.40,,23.19,,0.06,0.05,0.10\nP2,Settled,,41.05,,40.70,,0.10,0.07,0.18\nP2,Refunded,5.00,,5.00,,,,,\n\
        P3,Chargeback,12.00,,27.00,,15.00,,,\n,Fee,,,0.44,,,,,\n,MerchantPayout,,,31.45,,,,,\n\n,Sum\n";
    let lines = read_csv(file.as_bytes(), &map, Currency::EUR).unwrap();
    let figures: Vec<(i64, i64, i64)> =
        lines.iter().map(|line| (line.gross.minor, line.fee.minor, line.net.minor)).collect();
    assert_eq!(
        figures,
        [(2340, 21, 2319), (4105, 35, 4070), (-500, 0, -500), (-1200, 1500, -2700), (0, 44, -44), (-3145, 0, -3145)]
    );
    assert!(reconcile(&[], &batch(lines), DAY).faults.is_empty());
    let unknown = read_csv(
        "Ref,Type,GD,GC,ND,NC,Commission,Markup,Scheme,Interchange\n,Loan,,1,,1,,,,\n".as_bytes(),
        &map,
        Currency::EUR,
    );
    let unknown = unknown.unwrap_err().to_string();
    assert!(
        unknown.starts_with("line 2, column `Type`: `Loan` is not among") && unknown.contains("`Settled`"),
        "{unknown}"
    );
    assert!(unknown.contains("\"Loan\" = \"adjustment\""), "{unknown}");
}

/// The same report, with the maps that people begin with: one names credit columns only, the other no net.
#[test]
fn a_map_that_leaves_out_a_side_is_refused_once_with_what_to_write() {
    let names =
        "op,ref,Type,Gross Debit (GC),Gross Credit (GC),Net Debit (NC),Net Credit (NC),Commission (NC),Batch Number\n";
    let file = format!(
        "{names}{},P1,Settled,,23.40,,23.19,0.21,134\n{},P1,Refunded,5.00,,5.00,,,134\n,P3,Chargeback,12.00,,27.00,,15.00,134\n\
         ,,Fee,,,0.44,,,134\nTX1,,MerchantPayout,,,31.45,,,134\n",
        op(1),
        op(1)
    );
    let begin = "operation = \"op\"\nreference = \"ref\"\nkind = \"Type\"\n\
        kinds = { Settled = \"capture\", Refunded = \"refund\", Chargeback = \"chargeback\", Fee = \"fee\", \
        MerchantPayout = \"payout\" }\n";
    let read = |map: &str, file: &str| {
        read_csv(file.as_bytes(), &toml::from_str::<ColumnMap>(&format!("{begin}{map}")).unwrap(), Currency::EUR)
    };
    let (gross, net) =
        ("gross = [\"Gross Credit (GC)\", \"-Gross Debit (GC)\"]", "net = [\"Net Credit (NC)\", \"-Net Debit (NC)\"]");
    let one_side = "gross = \"Gross Credit (GC)\"\nnet = \"Net Credit (NC)\"";
    // Zeros in the place of nothing would have been refunds of nothing.
    for file in [file.clone(), file.replace(",,5.00,,,134", ",0.00,5.00,0.00,,134")] {
        let error = read(one_side, &file).unwrap_err();
        let CsvError::LeftOut { what, write } = &error else { panic!("{error}") };
        assert_eq!(
            what,
            "`gross` of the map names `Gross Credit (GC)` and leaves out `Gross Debit (GC)`, which has amounts in 2 lines (line 3: \
             `5.00`); `net` of the map names `Net Credit (NC)` and leaves out `Net Debit (NC)`, which has amounts in 4 lines (line \
             3: `5.00`)"
        );
        assert_eq!(*write, format!("{gross}, {net}"));
    }
    // Without net the lines of fees and payouts have nothing: one message, one line to write.
    let no_net = format!("{gross}\nfee = \"Commission (NC)\"");
    let CsvError::Rows(bad) = read(&no_net, &file).unwrap_err() else { panic!() };
    assert_eq!((bad.count, bad.listed_rows.len()), (2, 1));
    assert_eq!(
        bad.listed_rows[0],
        "lines 5, 6: no amount in `Gross Credit (GC)`, `-Gross Debit (GC)`, the columns of the map"
    );
    let mend = format!(
        "`Net Debit (NC)` has amounts in 2 of these: write {net} in the map, or leave such lines out with \
         skip = {{ \"Type\" = [\"Fee\", \"MerchantPayout\"] }}"
    );
    assert_eq!(bad.mend.as_deref(), Some(&*mend));
    // The suggested map reads the file.
    for map in [format!("{gross}\n{net}"), format!("{no_net}\n{net}")] {
        let lines = read(&map, &file).unwrap();
        let figures: Vec<(i64, i64, i64)> =
            lines.iter().map(|line| (line.gross.minor, line.fee.minor, line.net.minor)).collect();
        assert_eq!(figures, [(2340, 21, 2319), (-500, 0, -500), (-1200, 1500, -2700), (0, 44, -44), (-3145, 0, -3145)]);
    }
}

/// After the same file: a refund is named by the capture that it gives back.
#[test]
fn a_refund_that_names_its_capture_is_no_extra_line() {
    let capture = |number| PaymentId::new(at(0), PartitionId(1), number).operation(3);
    let refund = |number, id: u16, cents| Ours {
        operation: PaymentId::new(at(0), PartitionId(1), number).operation(id),
        ..ours(number, Flow::Refund, cents)
    };
    let operations = [ours(1, Flow::Capture, 4_105), refund(1, 5, 300), refund(1, 6, 500), ours(2, Flow::Capture, 700)];
    let named = |row, number, gross| line(row, LineKind::Refund, Some(capture(number)), gross, 0);
    let lines = vec![
        line(1, LineKind::Capture, Some(capture(1)), 4_105, 35),
        named(2, 1, -500),
        named(3, 1, -300),
        named(4, 1, -300),
        named(5, 2, -700),
    ];
    let report = reconcile(&operations, &batch(lines.clone()), DAY);
    let pairs: Vec<(u64, OpId)> = report.matched.iter().map(|pair| (pair.theirs.row, pair.ours.operation)).collect();
    assert_eq!(pairs, [(1, operations[0].operation), (2, operations[2].operation), (3, operations[1].operation)]);
    let extra: Vec<(u64, WhyExtra)> = report.extra.iter().map(|extra| (extra.theirs.row, extra.why)).collect();
    assert_eq!(extra, [(4, WhyExtra::SettledAlready), (5, WhyExtra::OtherKind)]);
    // The books follow.
    let (_, figures) = laid(facts(&operations), lines);
    assert_eq!(figures, [4_070 - 500 - 300 - 300 - 700, -4_105 + 800, 35, -1_000]);
}

#[test]
fn debits_without_a_sign_are_told_by_a_column_of_words() {
    let read =
        |map: &str, file: &str| read_csv(file.as_bytes(), &toml::from_str::<ColumnMap>(map).unwrap(), Currency::EUR);
    let map = "gross = \"amount\"\nnet = \"net\"\nreference = \"ref\"\ndebits = { \"D/C\" = [\"D\", \"DR\"] }";
    let lines = read(
        map,
        "ref,D/C,amount,net\nA,C,5.00,4.90\nB,D,2.00,2.10\nC,DR,(1.00),(1.00)\n".replace("(1.00)", "1.00").as_str(),
    )
    .unwrap();
    let figures: Vec<(LineKind, i64, i64, i64)> =
        lines.iter().map(|line| (line.kind, line.gross.minor, line.fee.minor, line.net.minor)).collect();
    let refund = LineKind::Refund;
    assert_eq!(figures, [(LineKind::Capture, 500, 10, 490), (refund, -200, 10, -210), (refund, -100, 0, -100)]);
    let error = read(map, "ref,D/C,amount,net\nB,D,-2.00,2.10\n").unwrap_err().to_string();
    assert!(error.starts_with("line 2, column `amount`: EUR -2.00 is below zero in a line that `debits`"), "{error}");
    let error = read(map, "ref,amount,net\nB,2.00,2.10\n").unwrap_err().to_string();
    assert!(error.starts_with("there is no column `D/C`"), "{error}");
}

/// Each message names all that is wrong with the line of names, and what was probably meant.
#[test]
fn columns_that_are_missing_or_doubled_are_told_at_once() {
    let map = "operation = \"op\"\ngross = \"Gross\"\nfee = \"fee\"";
    let refusal_of = |file: &str| {
        read_csv(file.as_bytes(), &toml::from_str::<ColumnMap>(map).unwrap(), Currency::EUR).unwrap_err().to_string()
    };
    assert_eq!(
        refusal_of("op,GROSS,fees\n,1,0\n"),
        "there are no columns `Gross` (did you mean `GROSS`?), `fee` (did you mean `fees`?); the columns are `op`, `GROSS`, `fees`"
    );
    assert_eq!(refusal_of("op,Gross,fee,Gross\n,1,0,2\n"), "the column `Gross` stands twice, as columns 2 and 4");
    assert!(refusal_of("A1,23.40,0.40\nA2,1.00,0.10\n").ends_with("it does not seem to be a line of names"));
    assert_eq!(refusal_of(""), "the file is empty: expected is a line of names, and rows below");
    assert_eq!(refusal_of(" \nop\n"), "the line of names is empty: expected are the names of the columns");
    let error = refusal_of("op,Gross,fee\n,1.00,0,1\n");
    assert_eq!(
        error,
        "line 2: 4 fields, expected 3 as in the line of names; a value that has the separator in it stands in double quotes"
    );
    let error = refusal_of("op,Gross,fee\n\"op,1.00,0\n,2.00,0\n");
    assert!(error.starts_with("line 2: 1 field, expected 3") && error.contains("never closed"), "{error}");
}

#[test]
fn every_bad_row_is_told_and_the_good_ones_can_go_on() {
    let map: ColumnMap = toml::from_str("gross = \"gross\"\nreference = \"ref\"").unwrap();
    let mut file = String::from("ref,gross\nA,1.00\n");
    (0..150).for_each(|_| file.push_str("B,\"2,54\"\n"));
    file.push_str("C,3.00\n");
    let found = read_rows(file.as_bytes(), &map, Currency::EUR).unwrap();
    assert_eq!((found.rows.len(), found.bad.count, found.bad.listed_rows.len()), (2, 150, 100));
    assert!(
        found.bad.listed_rows[0].starts_with("line 3, column `gross`: `2,54`")
            && found.bad.listed_rows[0].contains("comma")
    );
    let refused = found.all().unwrap_err().to_string();
    assert!(refused.ends_with("and 50 more (150 bad rows in all)"), "{refused}");
}

#[test]
fn files_in_other_encodings_and_minor_units_are_read() {
    let read = |map: &str, file: &[u8]| read_csv(file, &toml::from_str::<ColumnMap>(map).unwrap(), Currency::EUR);
    let latin = b"ref,Betr\xe4ge\nA,1.00\n";
    let error = read("net = \"Betr\u{e4}ge\"", latin).unwrap_err().to_string();
    assert!(error.contains("line 1: byte 9 (0xe4)") && error.contains("latin-1"), "{error}");
    assert_eq!(read("net = \"Betr\u{e4}ge\"\nencoding = \"latin-1\"", latin).unwrap()[0].net.minor, 100);
    let wide: Vec<u8> = "\u{feff}gross\n2.00\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(read("gross = \"gross\"", &wide).unwrap()[0].gross.minor, 200);
    let minor = "gross = \"gross\"\ncurrency = \"cur\"\nminor_units = true\nexponents = { ISK = 2 }\nheader_line = 2";
    let lines = read(minor, b"Export of May\ngross,cur\n800000,ISK\n150,EUR\n").unwrap();
    assert_eq!(lines.iter().map(|line| line.gross.to_string()).collect::<Vec<_>>(), ["ISK 8000", "EUR 1.50"]);
    assert!(read("fee = \"fee\"", b"fee\n1\n").unwrap_err().to_string().contains("neither `gross` nor `net`"));
    // Lines are counted however they end, and a character that no text has is reported with its place.
    for file in ["gross\r1\rmuch\r", "gross\r\n1\r\nmuch\r\n", "\u{feff}gross\n1\nmuch", "gross\r\n1\rmuch\n"] {
        let error = read("gross = \"gross\"", file.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("line 3, column `gross`: `much`"), "{file:?}: {error}");
    }
    let wide: Vec<u8> = "gross\n2.00\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let error = read("gross = \"gross\"", &wide).unwrap_err().to_string();
    assert!(error.starts_with("line 1: character 2 is NUL (U+0000)") && error.contains("\"utf-16\""), "{error}");
    assert_eq!(read("gross = \"gross\"\nencoding = \"utf-16\"", &wide).unwrap()[0].gross.minor, 200);
}

/// What the gate books of a batch, part by part.
fn booked(ours: Vec<Ours>, batch: &Batch) -> Vec<Booking> {
    booked_with(Facts { ours, ..Facts::default() }, batch).0
}

fn booked_with(facts: Facts, batch: &Batch) -> (Vec<Booking>, Received) {
    let line = |line: &SettlementLine| Line {
        kind: line.kind,
        operation: line.operation,
        reference: line.reference.clone(),
        currency: Some(line.gross.currency).filter(|currency| *currency != batch.currency),
        gross: line.gross.minor,
        fee: line.fee.minor,
        net: line.net.minor,
    };
    let part = Part {
        processor: batch.processor.clone(),
        batch: batch.id.clone(),
        revision: 1,
        part: 1,
        at: batch.at,
        currency: batch.currency,
        lines: batch.lines.iter().map(line).collect(),
        last: true,
        trailer: batch.trailer,
        sha256: None,
    };
    let mut received = Received::begin(&part, at(0));
    received.take(&part, at(0));
    let mut bookings = Vec::new();
    facts.book(&(batch.processor.clone(), batch.id.clone()), &received, &mut |booking| bookings.push(booking));
    bookings.iter().for_each(|booking| received.book(booking));
    (bookings, received)
}

/// What the gate finds of each line, and the balances of bank, receivable, fees and suspense.
fn laid(facts: Facts, lines: Vec<SettlementLine>) -> (Vec<Verdict>, [i128; 4]) {
    let batch = batch(lines);
    let (bookings, received) = booked_with(facts, &batch);
    let mut books = Books::default();
    bookings.iter().flat_map(|booking| &booking.entries).for_each(|entry| books.post(entry));
    assert_eq!(books.imbalance(), 0);
    let natural = |name: Name| books.natural(&name, Currency::EUR);
    let id = &batch.processor;
    let names =
        [Name::Bank, Name::ProcessorReceivable(id.clone()), Name::ProcessorFee(id.clone()), Name::Suspense(id.clone())];
    let figures = names.map(natural);
    let sums = received.booked();
    assert_eq!([sums.bank, -sums.settled, sums.fees, sums.suspense], figures, "a report has the ledger's figures");
    (bookings.into_iter().flat_map(|booking| booking.verdicts).collect(), figures)
}

fn facts(ours: &[Ours]) -> Facts {
    Facts { ours: ours.to_vec(), ..Facts::default() }
}

/// After an attack: -1,000,000.00 without a dispute was booked, and reported as nothing.
#[test]
fn a_chargeback_without_a_dispute_is_in_suspense_and_extra() {
    let chargeback = |row, named, gross, fee| line(row, LineKind::Chargeback, named, gross, fee);
    let (verdicts, figures) = laid(facts(&[]), vec![chargeback(1, None, -100_000_000, 0)]);
    assert_eq!(verdicts, [Verdict::Extra(WhyExtra::NoDispute)]);
    assert_eq!(figures, [-100_000_000, 0, 0, -100_000_000]);

    // With a dispute of 1.09, as much is settled; the excess is in suspense.
    let disputed = Ours { operation: op(1), ..ours(1, Flow::Dispute, 109) };
    let capture = PaymentId::new(at(0), PartitionId(1), 1).operation(7);
    let (verdicts, figures) =
        laid(facts(std::slice::from_ref(&disputed)), vec![chargeback(1, Some(capture), -100_000_000, 1_500)]);
    assert_eq!(verdicts, [Verdict::Differs { operation: disputed.operation, difference: -99_999_891 }]);
    assert_eq!(figures, [-100_001_500, 109, 1_500, -99_999_891]);

    // The same amount, its reversal, and both again.
    let won = Ours { operation: op(2), kind: Flow::DisputeWon, ..ours(2, Flow::DisputeWon, 109) };
    let reversal = |row| line(row, LineKind::ChargebackReversal, Some(op(2)), 109, 0);
    let both = [disputed, won];
    let lines =
        vec![chargeback(1, Some(op(1)), -109, 0), reversal(2), chargeback(3, Some(op(1)), -109, 0), reversal(4)];
    let (verdicts, figures) = laid(facts(&both), lines);
    let again = Verdict::Extra(WhyExtra::SettledAlready);
    assert_eq!(verdicts, [Verdict::Matched(op(1)), Verdict::Matched(op(2)), again.clone(), again]);
    assert_eq!(figures, [0, 0, 0, 0]);
}

#[test]
fn lines_that_fit_nothing_are_in_suspense_with_a_reason() {
    let usd = |minor| Amount::new(minor, "USD".parse().unwrap());
    let capture = ours(1, Flow::Capture, 960);
    let elsewhere = Facts { elsewhere: [op(8)].into(), ..facts(&[capture]) };
    let lines = vec![
        line(1, LineKind::Refund, Some(op(7)), -500, 0),
        line(2, LineKind::Capture, Some(op(8)), 300, 0),
        line(3, LineKind::Capture, Some(op(1)), -960, 0),
        line(4, LineKind::Refund, None, 40, 0),
        line(5, LineKind::Fee, None, 0, -1_000_000),
        SettlementLine { gross: usd(70), fee: usd(0), net: usd(70), ..line(6, LineKind::Capture, Some(op(1)), 70, 0) },
    ];
    let (verdicts, figures) = laid(elsewhere, lines);
    let why = [
        WhyExtra::Unknown,
        WhyExtra::OtherProcessor,
        WhyExtra::WrongSign,
        WhyExtra::WrongSign,
        WhyExtra::WrongSign,
        WhyExtra::OtherCurrency,
    ];
    assert_eq!(verdicts, why.map(Verdict::Extra));
    let net = -500 + 300 - 960 + 40 + 1_000_000;
    assert_eq!(figures, [net, 0, 0, net], "nothing is settled, no fee is booked");
}

/// After a public file: a processor gives a fee back on a line of its own.
#[test]
fn a_fee_is_given_back_as_far_as_the_batch_took_fees() {
    let fee = |row, net: i64| line(row, LineKind::Fee, None, 0, -net);
    let lines = vec![line(1, LineKind::Capture, Some(op(1)), 960, 30), fee(2, 25), fee(3, -5), fee(4, 11), fee(5, 10)];
    let (verdicts, figures) = laid(facts(&[ours(1, Flow::Capture, 960)]), lines.clone());
    let wrong = Verdict::Extra(WhyExtra::WrongSign);
    assert_eq!(verdicts[1..], [Verdict::Other, Verdict::Other, wrong, Verdict::Other]);
    assert_eq!(figures, [930 + 25 - 5 + 11 + 10, -960, 30 - 25 + 5 - 10, 11]);
    let report = reconcile(&[ours(1, Flow::Capture, 960)], &batch(lines), DAY);
    assert_eq!((report.other.len(), report.extra.len()), (3, 1));
}

#[test]
fn a_fee_that_gives_money_and_a_net_that_is_none_are_in_suspense() {
    let operations = [ours(1, Flow::Capture, 960), ours(2, Flow::Capture, 500)];
    let gives = line(1, LineKind::Capture, Some(op(1)), 960, -1_000);
    let other = SettlementLine { net: eur(700), ..line(2, LineKind::Capture, Some(op(2)), 500, 20) };
    let faults: Vec<String> =
        [&gives, &other].iter().flat_map(|line| line.faults(Currency::EUR)).map(|fault| fault.to_string()).collect();
    assert!(
        faults[0].contains("gives money")
            && faults[1].contains("line 2: EUR 5.00 less a fee of EUR 0.20 is not EUR 7.00"),
        "{faults:?}"
    );
    let (verdicts, figures) = laid(facts(&operations), vec![gives, other]);
    assert_eq!(verdicts, [Verdict::Matched(op(1)), Verdict::Matched(op(2))]);
    assert_eq!(figures, [1_960 + 700, -1_460, 20, 1_000 + 220]);
}

/// One line that has no place in the books left a whole batch unbooked.
#[test]
fn a_line_that_cannot_be_booked_is_set_aside_and_the_rest_is_booked() {
    let operations = [ours(1, Flow::Capture, 960), ours(2, Flow::Capture, 500)];
    let broken = SettlementLine { net: eur(i64::MIN), ..line(2, LineKind::Capture, Some(op(2)), 500, 0) };
    let (verdicts, figures) = laid(
        facts(&operations),
        vec![line(1, LineKind::Capture, Some(op(1)), 960, 10), broken, line(3, LineKind::Capture, Some(op(2)), 500, 0)],
    );
    assert_eq!((&verdicts[0], &verdicts[2]), (&Verdict::Matched(op(1)), &Verdict::Matched(op(2))));
    let Verdict::SetAside(reason) = &verdicts[1] else { panic!("{verdicts:?}") };
    assert!(!reason.is_empty());
    assert_eq!(figures, [1_450, -1_460, 10, 0]);
    // Money without gross and fee is there all the same.
    let odd = SettlementLine { net: eur(100), ..line(1, LineKind::Capture, Some(op(9)), 0, 0) };
    assert_eq!(laid(facts(&operations), vec![odd]).1, [100, 0, 0, 100]);
}

#[test]
fn what_was_told_before_settles_nothing_and_costs_nothing() {
    let named = |row, kind, gross, fee| SettlementLine {
        reference: Some(format!("R{row}").into()),
        ..line(row, kind, None, gross, fee)
    };
    let lines = vec![
        line(1, LineKind::Capture, Some(op(1)), 960, 10),
        named(2, LineKind::Fee, 0, 44),
        named(3, LineKind::Adjustment, 5, 0),
    ];
    let first = Facts {
        settled: [op(1)].into(),
        reported: lines.iter().filter_map(lay::reference_mark).collect(),
        ..facts(&[ours(1, Flow::Capture, 960)])
    };
    let (verdicts, figures) = laid(first.clone(), lines.clone());
    let repeated = Verdict::Extra(WhyExtra::ReportedAlready);
    assert_eq!(verdicts, [Verdict::Extra(WhyExtra::SettledAlready), repeated.clone(), repeated.clone()]);
    assert_eq!(figures, [950 - 44 + 5, 0, 0, 950 - 44 + 5]);
    // The whole list again: also what has no reference, and what fitted nothing the first time and would fit now.
    let again = Facts { same_as: Some("first.csv".into()), ..facts(&[ours(1, Flow::Capture, 960)]) };
    let (verdicts, figures) = laid(again, vec![lines[0].clone(), line(2, LineKind::Fee, None, 0, 44)]);
    assert_eq!(verdicts, [repeated.clone(), repeated]);
    assert_eq!(figures, [950 - 44, 0, 0, 950 - 44]);
}

proptest! {
    /// L16: the settled amount and the amount in suspense are together what the batch paid out.
    #[test]
    fn l16_settled_and_suspense_are_the_whole_batch(
        operations in proptest::collection::vec((any::<bool>(), 1_i64..500), 0..20),
        lines in proptest::collection::vec((0_u64..25, any::<bool>(), 1_i64..500, 0_i64..20, any::<bool>(), 0_u8..9), 0..30),
    ) {
        let operations: Vec<Ours> = (0..).zip(operations).map(|(number, (refund, cents))| {
            ours(number, if refund { Flow::Refund } else { Flow::Capture }, cents)
        }).collect();
        let lines: Vec<SettlementLine> = (1..).zip(lines).map(|(row, (number, refund, cents, fee, same, other))| {
            let (kind, sign) = match (other, refund) {
                (0, _) => (LineKind::Fee, -1),
                (1, _) => (LineKind::Chargeback, -1),
                (2, _) => (LineKind::Adjustment, 1),
                (3, _) => (LineKind::Payout, -1),
                (_, true) => (LineKind::Refund, -1),
                (_, false) => (LineKind::Capture, 1),
            };
            let known = operations.get(usize::try_from(number).unwrap()).filter(|_| same);
            let cents = known.map_or(cents, |ours| ours.amount.minor);
            let line = line(row, kind, Some(op(number)), sign * cents, fee);
            // Some are wrong about the amount paid out, or about the way money goes.
            match other {
                7 => SettlementLine { net: eur(line.net.minor + 13), ..line },
                8 => SettlementLine { gross: eur(-line.gross.minor), net: eur(-line.gross.minor - fee), ..line },
                _ => line,
            }
        }).collect();
        let batch = batch(lines);
        let report = reconcile(&operations, &batch, DAY);
        let piles = report.matched.len() + report.differs.len() + report.extra.len() + report.other.len();
        prop_assert_eq!(piles, batch.lines.len());
        let of_ours = report.matched.len() + report.differs.len() + report.missing.len() + report.in_flight.len();
        prop_assert_eq!(of_ours, operations.len());

        let mut books = Books::default();
        booked(operations.clone(), &batch).iter().flat_map(|booking| &booking.entries).for_each(|entry| books.post(entry));
        prop_assert_eq!(books.imbalance(), 0);
        let net: i128 = batch.lines.iter().filter(|line| line.kind != LineKind::Payout).map(|line| i128::from(line.net.minor)).sum();
        prop_assert_eq!(books.natural(&Name::Bank, Currency::EUR), net);
    }
}
