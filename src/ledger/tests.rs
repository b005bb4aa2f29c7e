//! The invariants of the books, one entry of each kind, and the balances that hledger computes from the export.

use super::*;
use crate::stored;
use crate::units::{
    AccountId, Amount, Currency, Fingerprint, OpId, OperatorId, PartitionId, PaymentId, ProcessorId, Timestamp,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::process::Command;

const NOON: i64 = 1_763_812_800_000;

fn at(minute: i64) -> Timestamp {
    Timestamp::from_unix_ms(NOON + minute * 60_000)
}

fn op(number: u64) -> OpId {
    PaymentId::new(at(0), PartitionId(1), number).operation(1)
}

fn id(number: u64) -> EntryId {
    EntryId::of(op(number))
}

fn eur(cents: i64) -> Amount {
    Amount::new(cents, Currency::EUR)
}

fn acme() -> ProcessorId {
    ProcessorId::new("acme-cards").unwrap()
}

fn operator() -> OperatorId {
    OperatorId::new("wst*north").unwrap()
}

fn driver() -> AccountId {
    AccountId::new("driver:7").unwrap()
}

fn vat19() -> Tax {
    Tax { country: *b"DE", rate: TaxRate(190_000) }
}

/// 32.10 with 19 % VAT inside and a fee of 1.00, as in the recipe.
fn share() -> Share {
    Share { operator: operator(), net: eur(2_597), fee: eur(100), taxes: vec![(vat19(), eur(513))], rounding: eur(0) }
}

fn sale(number: u64, hold: i64, captured: i64, shortfall: i64) -> Entry {
    let debtor = Debtor::Credential(Fingerprint([7; 8]));
    let (hold, captured, shortfall) = (eur(hold), eur(captured), eur(shortfall));
    let funding = Funding::Processor(acme());
    Entry::sale(&Sale { id: id(number), at: at(2), funding, hold, captured, shortfall, debtor, share: share() })
        .unwrap()
}

/// One of each kind of entry.
fn evening() -> Vec<Entry> {
    let prepaid = Funding::Prepaid(ProcessorId::new("prepaid").unwrap());
    let debtor = || Debtor::Credential(Fingerprint([7; 8]));
    let refund = Entry::refund_accepted(id(20), at(20), &Funding::Processor(acme()), &share()).unwrap();
    let unmatched = Entry::unmatched(id(30), at(30), &acme(), eur(777)).unwrap();
    let wrong = Entry::operator_paid(id(40), at(40), &operator(), eur(5_000)).unwrap();
    let mut evening = vec![
        Entry::hold_approved(id(1), at(0), &acme(), eur(4_500)).unwrap(),
        Entry::hold_adjusted(id(2), at(1), &acme(), eur(4_500), eur(5_000)).unwrap(),
        Entry::hold_adjusted(id(3), at(1), &acme(), eur(5_000), eur(4_800)).unwrap(),
        sale(4, 4_800, 3_000, 210),
        Entry::hold_approved(id(5), at(3), &acme(), eur(900)).unwrap(),
        Entry::hold_released(id(6), at(4), &acme(), eur(900)).unwrap(),
        Entry::top_up(id(7), at(5), &driver(), Some(&acme()), eur(10_000)).unwrap(),
        Entry::top_up(id(8), at(5), &driver(), None, eur(50)).unwrap(),
        Entry::promotion_granted(id(9), at(6), &driver(), eur(500)).unwrap(),
        Entry::prepaid_capture(id(10), at(7), &driver(), eur(2_810), eur(400)).unwrap(),
        Entry::promotion_expired(id(11), at(8), &driver(), eur(100)).unwrap(),
        Entry::sale(&Sale {
            id: id(10).number(1),
            at: at(7),
            funding: prepaid.clone(),
            hold: eur(0),
            captured: eur(3_210),
            shortfall: eur(0),
            debtor: Debtor::Account(driver()),
            share: share(),
        })
        .unwrap(),
        Entry::settlement(id(12), at(9), &acme(), eur(10_000), eur(100)).unwrap(),
        Entry::refund_accepted(id(13), at(10), &prepaid, &share().portion(eur(1_000)).unwrap()).unwrap(),
        Entry::prepaid_refund(id(14), at(10), &driver(), eur(1_000), eur(0)).unwrap(),
        refund.clone(),
        Entry::refund_failed(id(21), at(21), &refund),
        Entry::refund_accepted(id(22), at(22), &Funding::Processor(acme()), &share().portion(eur(100)).unwrap())
            .unwrap(),
        Entry::refund_confirmed(id(23), at(23), &acme(), eur(100)).unwrap(),
        Entry::dispute_opened(id(24), at(24), &acme(), eur(300), eur(150)).unwrap(),
        Entry::dispute_won(id(25), at(25), &acme(), eur(100)).unwrap(),
        Entry::dispute_lost(id(26), at(26), &acme(), eur(100), None).unwrap(),
        Entry::dispute_lost(id(27), at(27), &acme(), eur(100), Some(&operator())).unwrap(),
        Entry::shortfall_paid(id(28), at(28), &acme(), debtor(), eur(110)).unwrap(),
        Entry::shortfall_written_off(id(29), at(29), debtor(), eur(100)).unwrap(),
        unmatched,
        Entry::matched(id(31), at(31), &acme(), eur(777), eur(8)).unwrap(),
        wrong.clone(),
        wrong.correction(id(41), at(41)),
        Entry::operator_paid(id(42), at(42), &operator(), eur(1_000)).unwrap(),
        Entry::capture_failed(id(43), at(43), &Funding::Processor(acme()), debtor(), eur(10)).unwrap(),
        Entry::account_paid_out(id(44), at(44), &driver(), eur(8_240), eur(0)).unwrap(),
    ];
    // Another currency, without decimals.
    let yen = Amount::new(1_500, "JPY".parse().unwrap());
    evening.push(Entry::top_up(id(50), at(50), &AccountId::new("Tokyo=1").unwrap(), None, yen).unwrap());
    evening
}

fn books(entries: &[Entry]) -> Books {
    let mut books = Books::default();
    entries.iter().for_each(|entry| books.post(entry));
    books
}

#[test]
fn an_entry_that_does_not_balance_cannot_be_made() {
    let leg = |account: Name, side, cents| Leg { account, side, amount: eur(cents) };
    let make = |legs: Vec<Leg>| Entry::new(id(1), at(0), EntryKind::TopUp, legs);
    let to_driver = || Name::Prepaid(driver());
    assert_eq!(make(vec![]), Err(EntryError::Empty));
    assert_eq!(make(vec![leg(Name::Bank, Side::Debit, 1)]), Err(EntryError::Empty));
    let off = make(vec![leg(Name::Bank, Side::Debit, 100), leg(to_driver(), Side::Credit, 99)]);
    assert_eq!(off, Err(EntryError::Unbalanced { currency: Currency::EUR, debits: 100, credits: 99 }));
    for nothing in [0, -100, i64::MIN] {
        let legs = vec![leg(Name::Bank, Side::Debit, nothing), leg(to_driver(), Side::Credit, nothing)];
        assert!(matches!(make(legs), Err(EntryError::NotPositive { .. })));
    }
    let yen = Leg { amount: Amount::new(100, "JPY".parse().unwrap()), ..leg(to_driver(), Side::Credit, 1) };
    let mixed = make(vec![leg(Name::Bank, Side::Debit, 100), yen]);
    assert!(matches!(mixed, Err(EntryError::Unbalanced { .. })), "currencies do not pay for each other");
    let across = make(vec![leg(Name::Bank, Side::Debit, 100), leg(Name::HeldContra(acme()), Side::Credit, 100)]);
    assert!(matches!(across, Err(EntryError::Unbalanced { .. })), "the ledgers do not pay for each other");
}

#[test]
fn an_entry_that_does_not_balance_is_not_read_either() {
    let good = serde_json::to_string(&sale(1, 4_800, 3_000, 210)).unwrap();
    assert!(serde_json::from_str::<Entry>(&good).is_ok());
    let forged = good.replace("\"minor\":3000", "\"minor\":3001");
    assert_ne!(forged, good);
    assert!(serde_json::from_str::<Entry>(&forged).unwrap_err().to_string().contains("do not balance"));
}

#[test]
fn a_session_with_a_shortfall_is_booked_as_if_it_had_been_paid() {
    let hold = Entry::hold_approved(id(1), at(0), &acme(), eur(3_000)).unwrap();
    let books = books(&[hold, sale(2, 3_000, 3_000, 210)]);
    let natural = |name: &Name| books.natural(name, Currency::EUR);
    assert_eq!(natural(&Name::ProcessorReceivable(acme())), 3_000);
    assert_eq!(natural(&Name::Shortfall(Debtor::Credential(Fingerprint([7; 8])))), 210);
    assert_eq!(natural(&Name::OperatorPayable(operator())), 2_597);
    assert_eq!(natural(&Name::Tax(vat19())), 513);
    assert_eq!(natural(&Name::FeeRevenue), 100);
    assert_eq!(natural(&Name::Held(acme())), 0, "L4: the hold is gone from the memorandum");
}

#[test]
fn parts_that_are_not_what_was_paid_are_refused() {
    let debtor = Debtor::Account(driver());
    let funding = Funding::Processor(acme());
    let (hold, captured, shortfall) = (eur(4_800), eur(3_209), eur(0));
    let sale = Sale { id: id(1), at: at(0), funding, hold, captured, shortfall, debtor, share: share() };
    assert!(matches!(Entry::sale(&sale), Err(EntryError::Unbalanced { debits: 3_209, credits: 3_210, .. })));
    let same = Entry::hold_adjusted(id(1), at(0), &acme(), eur(100), eur(100));
    assert_eq!(same, Err(EntryError::Empty));
}

#[test]
fn every_event_of_an_evening_balances_and_breaks_no_bound() {
    let books = books(&evening());
    assert_eq!(books.imbalance(), 0);
    assert_eq!(books.broken_bounds(), []);
    assert_eq!(books.natural(&Name::PrepaidClearing, Currency::EUR), 0, "at rest nothing is in between");
    assert_eq!(books.natural(&Name::Prepaid(driver()), Currency::EUR), 0);
    assert_eq!(books.natural(&Name::Suspense(acme()), Currency::EUR), 0);
    assert_eq!(books.natural(&Name::DisputeReceivable(acme()), Currency::EUR), 0);
}

#[test]
fn what_falls_below_zero_is_named() {
    let books = books(&[Entry::hold_released(id(1), at(0), &acme(), eur(5)).unwrap()]);
    let broken: Vec<String> = books.broken_bounds().iter().map(ToString::to_string).collect();
    let expected = [
        "memorandum:held:acme-cards is at -5 minor units of EUR",
        "memorandum:contra:acme-cards is at -5 minor units of EUR",
    ];
    assert_eq!(broken, expected);
}

#[test]
fn a_dispute_after_the_payout_breaks_no_bound() {
    let paid_out = Entry::settlement(id(1), at(0), &acme(), eur(300), eur(0)).unwrap();
    let disputed = Entry::dispute_opened(id(2), at(1), &acme(), eur(100), eur(0)).unwrap();
    let books = books(&[paid_out, disputed]);
    assert_eq!(books.natural(&Name::ProcessorReceivable(acme()), Currency::EUR), -400);
    assert_eq!(books.broken_bounds(), [], "the processor deducts it from its next payout");
}

#[test]
fn a_correction_takes_back_exactly_what_it_corrects() {
    let wrong = sale(4, 4_800, 3_000, 210);
    let correction = wrong.correction(id(5), at(9));
    assert_eq!(correction.corrects(), Some(wrong.id()));
    let books = books(&[wrong, correction]);
    assert!(books.balances().all(|(_, _, balance)| balance.net_debit() == 0));
}

proptest! {
    /// L1, L2, L19: whatever the legs, an entry is refused or balances; a part of a share is that part to the cent.
    #[test]
    fn l1_l2_entries_balance_or_do_not_exist(
        cents in proptest::collection::vec((-50_i64..1_000, any::<bool>(), 0_u8..4), 0..6),
    ) {
        let legs = cents.iter().map(|(cents, debit, account)| Leg {
            account: match account {
                0 => Name::Bank,
                1 => Name::FeeRevenue,
                2 => Name::Prepaid(driver()),
                _ => Name::Rounding,
            },
            side: if *debit { Side::Debit } else { Side::Credit },
            amount: eur(*cents),
        });
        if let Ok(entry) = Entry::new(id(1), at(0), EntryKind::TopUp, legs) {
            prop_assert!(entry.legs().iter().all(|leg| leg.amount.minor > 0));
            let mut books = Books::default();
            books.post(&entry);
            prop_assert_eq!(books.imbalance(), 0);
        }
    }

    #[test]
    fn a_portion_of_a_share_is_that_portion(part in 0_i64..=3_210) {
        let portion = share().portion(eur(part)).unwrap();
        prop_assert_eq!(portion.total().unwrap(), eur(part));
        prop_assert!(portion.net.minor >= 0 && portion.fee.minor >= 0);
    }

    /// L2: however entries are spread over partitions, the node's trial balance is the same and is zero.
    #[test]
    fn l2_the_books_of_a_node_are_the_sum_of_its_partitions(homes in proptest::collection::vec(0_usize..5, 64)) {
        let entries = evening();
        let mut partitions = vec![Books::default(); 5];
        for (entry, home) in entries.iter().zip(&homes) {
            partitions[*home].post(entry);
        }
        let mut node = Books::default();
        partitions.iter().for_each(|partition| node.merge(partition));
        prop_assert_eq!(&node, &books(&entries));
        prop_assert_eq!(node.imbalance(), 0);
        prop_assert!(partitions.iter().all(|partition| partition.imbalance() == 0));
    }

    /// L4: the memorandum shows the sum of the open holds, whatever is opened, changed and ended.
    #[test]
    fn l4_the_memorandum_is_the_sum_of_the_open_holds(steps in proptest::collection::vec((0_u64..4, 0_i64..50), 0..60)) {
        let mut open: BTreeMap<u64, i64> = BTreeMap::new();
        let mut books = Books::default();
        for (hold, cents) in steps {
            let before = open.get(&hold).copied().unwrap_or(0);
            let entry = match (before, cents) {
                (0, _) => Entry::hold_approved(id(hold), at(0), &acme(), eur(cents)),
                (_, 0) => Entry::hold_released(id(hold), at(0), &acme(), eur(before)),
                (_, _) => Entry::hold_adjusted(id(hold), at(0), &acme(), eur(before), eur(cents)),
            };
            if let Ok(entry) = entry {
                books.post(&entry);
                open.insert(hold, cents);
            }
            let sum: i128 = open.values().map(|cents| i128::from(*cents)).sum();
            prop_assert_eq!(books.natural(&Name::Held(acme()), Currency::EUR), sum);
            prop_assert_eq!(books.natural(&Name::HeldContra(acme()), Currency::EUR), sum);
        }
    }

    /// L7: books that were written down and read again are the same books.
    #[test]
    fn l7_books_survive_being_written_down(count in 0_usize..33) {
        let entries = evening();
        let bytes: Vec<Vec<u8>> =
            entries[..count].iter().map(stored::to_bytes).collect();
        let replayed: Vec<Entry> = bytes.iter().map(|bytes| stored::from_bytes(bytes).unwrap()).collect();
        prop_assert_eq!(&replayed[..], &entries[..count]);
        let live = books(&entries[..count]);
        let snapshot: Books = stored::from_bytes(&stored::to_bytes(&live)).unwrap();
        prop_assert_eq!(snapshot, books(&replayed));
    }
}

fn export(format: Format) -> String {
    let entries = evening();
    let mut exporter = Exporter::new(Vec::new(), format).unwrap();
    entries.iter().for_each(|entry| exporter.entry(entry).unwrap());
    String::from_utf8(exporter.finish(&books(&entries)).unwrap()).unwrap()
}

#[test]
fn the_table_has_a_line_for_every_leg() {
    let table = export(Format::Csv);
    let legs: usize = evening().iter().map(|entry| entry.legs().len()).sum();
    assert_eq!(table.lines().count(), legs + 1);
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let mut debits: BTreeMap<String, rust_decimal::Decimal> = BTreeMap::new();
    for record in reader.records() {
        let record = record.unwrap();
        let amount: rust_decimal::Decimal = record[7].parse().unwrap();
        *debits.entry(record[8].to_owned()).or_default() += if &record[6] == "debit" { amount } else { -amount };
    }
    assert!(debits.len() == 2 && debits.values().all(rust_decimal::Decimal::is_zero), "{debits:?}");
    assert!(table.contains("2010,liabilities:account:Tokyo=1:prepaid,credit,1500,JPY"), "{table}");
}

#[test]
fn names_for_beancount_stay_apart_and_within_its_rules() {
    let ledger = export(Format::Beancount);
    let opens: Vec<&str> = ledger.lines().filter_map(|line| line.strip_prefix("1970-01-01 open ")).collect();
    let evening = books(&evening());
    let names: std::collections::BTreeSet<&Name> = evening.balances().map(|(name, _, _)| name).collect();
    assert_eq!(opens.len(), names.len());
    for name in opens {
        for part in name.split(':') {
            assert!(part.starts_with(|first: char| first.is_ascii_uppercase() || first.is_ascii_digit()), "{name}");
            assert!(part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{name}");
        }
    }
    assert!(ledger.contains("Liabilities:Account:N-driver-x3a7:Prepaid"), "{ledger}");
}

#[test]
fn no_two_ids_become_one_name_for_beancount() {
    let ids = ["acme", "Acme", "N-acme", "n-acme", "a-x3a", "a:", "a-", "a-x", "-x3a", ":", "9", "N-9"];
    let names: std::collections::BTreeSet<String> =
        ids.iter().map(|id| export::beancount_name(&Name::Held(ProcessorId::new(id).unwrap()))).collect();
    assert_eq!(names.len(), ids.len(), "{names:?}");
}

/// The real hledger reads the export, checks its assertions, and comes to the same balances.
#[test]
fn hledger_comes_to_the_same_balances() {
    if Command::new("hledger").arg("--version").output().is_err() {
        let must_be_there = std::env::var_os("WATTSTILE_TEST_TOOLS").is_some();
        assert!(!must_be_there, "`hledger` is missing, and WATTSTILE_TEST_TOOLS is set");
        println!("skipped: hledger is not installed (Debian package hledger)");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("books.journal");
    std::fs::write(&path, export(Format::Hledger)).unwrap();
    let hledger = |arguments: &[&str]| {
        let output =
            Command::new("hledger").arg("-f").arg(&path).args(arguments).env("LC_ALL", "C.UTF-8").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    hledger(&["check", "balancednoautoconversion", "assertions", "accounts", "commodities"]);

    let table = hledger(&["balance", "--flat", "-N", "-E", "--layout=bare", "-O", "csv"]);
    let theirs: BTreeMap<(String, String), rust_decimal::Decimal> = csv::Reader::from_reader(table.as_bytes())
        .records()
        .map(|record| {
            let record = record.unwrap();
            ((record[0].to_owned(), record[1].to_owned()), record[2].parse().unwrap())
        })
        .filter(|(_, balance): &(_, rust_decimal::Decimal)| !balance.is_zero())
        .collect();
    let ours: BTreeMap<(String, String), rust_decimal::Decimal> = books(&evening())
        .balances()
        .filter(|(_, _, balance)| balance.net_debit() != 0)
        .map(|(name, currency, balance)| {
            let exponent = u32::from(currency.exponent());
            let balance = rust_decimal::Decimal::from_i128_with_scale(balance.net_debit(), exponent);
            ((name.to_string(), currency.to_string()), balance)
        })
        .collect();
    assert_eq!(theirs, ours);
    assert!(ours.len() > 8);
}

/// Numbers grew from two bytes to four within version 4: what was written before is read as it was.
#[test]
fn an_entry_id_of_two_bytes_is_read_by_one_of_four() {
    let before = postcard::to_stdvec(&(id(10).cause, 0xffff_u16)).unwrap();
    assert_eq!(postcard::from_bytes::<EntryId>(&before).unwrap(), id(10).number(0xffff));
}
