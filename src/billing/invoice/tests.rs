//! Conversations with a series.

use super::*;
use crate::ledger::TaxRate;
use crate::limits;
use crate::stored;
use crate::units::{Mono, Now, PartitionId, SessionId};
use proptest::prelude::*;

const NOON: i64 = 1_763_812_800_000;

fn document(number: u64, cents: i64) -> Document {
    let session = SessionId::new(Timestamp::from_unix_ms(NOON), PartitionId(1), number);
    Document {
        id: session.payment().operation(0),
        final_at: Timestamp::from_unix_ms(NOON + i64::try_from(number).unwrap()),
        total: Amount::new(cents, Currency::EUR),
        taxes: vec![(Tax { country: *b"DE", rate: TaxRate(190_000) }, Amount::new(cents / 6, Currency::EUR))],
        content: Digest([u8::try_from(number % 251).unwrap(); 32]),
        corrects: None,
    }
}

fn name(text: &str) -> SeriesId {
    SeriesId::new(text).unwrap()
}

/// A series with its log, driven by hand.
struct Bench {
    series: Series,
    log: Vec<Event>,
    /// The document of each request of the one requesting partition, and the oldest whose answer it has not recorded.
    requests: Vec<OpId>,
    oldest: u64,
}

impl Bench {
    fn new(text: &str, kind: SeriesKind) -> Bench {
        let mut bench = Bench { series: Series::default(), log: Vec::new(), requests: Vec::new(), oldest: 0 };
        let open = Command::Open { series: name(text), kind, currency: Currency::EUR };
        assert_eq!(bench.order(open), Effect::Opened(name(text)));
        bench
    }

    fn order(&mut self, command: Command) -> Effect {
        let now = Now { wall: Timestamp::from_unix_ms(NOON), mono: Mono(0) };
        let decision = decide(&self.series, command, now);
        decision.events.iter().for_each(|event| apply(&mut self.series, event));
        self.log.extend(decision.events);
        decision.effects.into_iter().next().expect("a series always answers")
    }

    /// Requests a number for a document: the same one always by the same request.
    fn number(&mut self, document: Document) -> Result<String, Rejection> {
        let asked = self.requests.iter().position(|asked| *asked == document.id);
        let request = asked.unwrap_or_else(|| {
            self.requests.push(document.id);
            self.requests.len() - 1
        });
        let request = u64::try_from(request).unwrap();
        self.ask(document, RequestNumbers { partition: PartitionId(1), request, oldest: self.oldest.min(request) })
    }

    fn ask(&mut self, document: Document, numbers: RequestNumbers) -> Result<String, Rejection> {
        match self.order(Command::Finalize { document: Box::new(document), numbers }) {
            Effect::Numbered { issued, .. } => Ok(issued.number.to_string()),
            Effect::Refused { rejection, .. } => Err(rejection),
            other => panic!("a document is numbered or refused: {other:?}"),
        }
    }

    fn issued(&self) -> Vec<Issued> {
        let issued = self.log.iter().filter_map(|event| match event {
            Event::Finalized { issued, .. } => Some((**issued).clone()),
            Event::Opened { .. } | Event::Closed { .. } => None,
        });
        issued.collect()
    }
}

/// F26: a shop gave one number to nineteen invoices under load.
#[test]
fn f26_a_document_has_one_number_and_a_number_one_document() {
    let mut bench = Bench::new("R-2026", SeriesKind::Invoice);
    assert_eq!(bench.number(document(1, 960)), Ok("R-2026-000001".into()));
    assert_eq!(bench.number(document(2, 0)), Ok("R-2026-000002".into()));
    assert_eq!(bench.number(document(1, 960)), Ok("R-2026-000001".into()), "asked again");
    assert_eq!(bench.number(document(3, 5)), Ok("R-2026-000003".into()));
    let mut other = document(1, 960);
    other.content = Digest([9; 32]);
    assert_eq!(bench.number(other), Err(Rejection::ExistsWithDifferentContent));
    let summary = verify_series(&bench.issued()).unwrap();
    assert_eq!((summary.count, summary.totals[&Currency::EUR]), (3, 965));
}

#[test]
fn a_refused_document_leaves_no_gap() {
    let mut bench = Bench::new("R-2026", SeriesKind::Invoice);
    let corrects = Some(InvoiceNumber { series: name("R-2025"), number: 1 });
    let dollars = Amount::new(1, Currency::from_numeric(840).unwrap());
    let tax = |cents| vec![(Tax { country: *b"DE", rate: TaxRate(190_000) }, Amount::new(cents, Currency::EUR))];
    assert_eq!(bench.number(document(1, -1)), Err(Rejection::WrongSign));
    assert_eq!(bench.number(Document { corrects, ..document(1, 5) }), Err(Rejection::WrongReference));
    assert_eq!(bench.number(Document { total: dollars, ..document(1, 5) }), Err(Rejection::CurrencyDiffers));
    assert_eq!(bench.number(Document { taxes: tax(6), ..document(1, 5) }), Err(Rejection::TaxesDoNotFit));
    assert_eq!(bench.number(Document { taxes: tax(-1), ..document(1, 5) }), Err(Rejection::TaxesDoNotFit));
    assert_eq!(bench.number(document(1, 5)), Ok("R-2026-000001".into()));
    assert_eq!(verify_series(&bench.issued()).unwrap().count, 1);
}

#[test]
fn a_credit_note_has_a_series_of_its_own_and_names_what_it_corrects() {
    let mut bench = Bench::new("C-2026", SeriesKind::CreditNote);
    let corrects = Some(InvoiceNumber { series: name("R-2026"), number: 7 });
    assert_eq!(bench.number(document(1, -500)), Err(Rejection::WrongReference));
    assert_eq!(bench.number(Document { corrects: corrects.clone(), ..document(1, 0) }), Err(Rejection::WrongSign));
    assert_eq!(bench.number(Document { corrects, ..document(1, -500) }), Ok("C-2026-000001".into()));
}

#[test]
fn a_series_that_ended_still_tells_its_numbers() {
    let mut bench = Bench::new("R-2025", SeriesKind::Invoice);
    assert_eq!(bench.number(document(1, 5)), Ok("R-2025-000001".into()));
    assert_eq!(bench.order(Command::Close), Effect::Closed);
    assert_eq!(bench.order(Command::Close), Effect::Closed);
    assert_eq!(bench.number(document(1, 5)), Ok("R-2025-000001".into()));
    assert_eq!(bench.number(document(2, 5)), Err(Rejection::SeriesClosed));
}

/// Numbers are kept for repetitions until the requesting partition has recorded the answer, and no shorter.
#[test]
fn a_number_is_remembered_until_it_is_recorded() {
    let mut bench = Bench::new("R-2026", SeriesKind::Invoice);
    let most = limits::DOCUMENTS_ASKED;
    for number in 1..=most {
        assert!(bench.number(document(number, 5)).is_ok());
    }
    assert_eq!(bench.number(document(most + 1, 5)), Err(Rejection::TooManyRequests));
    assert_eq!(bench.number(document(1, 5)), Ok("R-2026-000001".into()), "asked again");
    bench.oldest = 2;
    assert_eq!(bench.number(document(most + 1, 5)), Ok(format!("R-2026-{:06}", most + 1)));
    assert_eq!(bench.number(document(1, 5)), Err(Rejection::Recorded));
    assert_eq!(bench.number(document(3, 5)), Ok("R-2026-000003".into()));
    assert_eq!(bench.series.opened().unwrap().known.len(), usize::try_from(most).unwrap() - 1);
    // The same document by another request would be numbered twice.
    let numbers = RequestNumbers { partition: PartitionId(1), request: most + 1, oldest: 2 };
    assert_eq!(bench.ask(document(3, 5), numbers), Err(Rejection::ExistsWithDifferentContent));
}

#[test]
fn opening_twice_is_opening_once() {
    let mut bench = Bench::new("R-2026", SeriesKind::Invoice);
    let open = |kind| Command::Open { series: name("R-2026"), kind, currency: Currency::EUR };
    assert_eq!(bench.order(open(SeriesKind::Invoice)), Effect::Opened(name("R-2026")));
    let refused = Effect::Refused { document: None, rejection: Rejection::SeriesExists };
    assert_eq!(bench.order(open(SeriesKind::CreditNote)), refused);
    assert!(SeriesId::new("").is_err() && SeriesId::new("R 2026").is_err() && SeriesId::new(&"R".repeat(25)).is_err());
}

/// L20: whatever is changed in the log of a series is found, and where.
#[test]
fn l20_whatever_is_changed_in_a_series_is_found() {
    let mut bench = Bench::new("R-2026", SeriesKind::Invoice);
    for number in 1..=5 {
        bench.number(document(number, 100)).unwrap();
    }
    let good = bench.issued();
    let broken = |change: fn(&mut Vec<Issued>)| {
        let mut documents = good.clone();
        change(&mut documents);
        verify_series(&documents).unwrap_err()
    };
    assert!(matches!(broken(|it| drop(it.remove(2))), SeriesBroken::Number { expected: 3, .. }));
    assert!(matches!(broken(|it| it.swap(1, 2)), SeriesBroken::Number { expected: 2, .. }));
    assert!(matches!(broken(|it| it.insert(1, it[0].clone())), SeriesBroken::Number { expected: 2, .. }));
    assert!(
        matches!(broken(|it| it[3].document.total.minor = 99), SeriesBroken::Changed(number) if number.number == 4)
    );
    assert!(matches!(broken(|it| it[3].document.taxes.clear()), SeriesBroken::Changed(_)));
    assert!(matches!(broken(|it| it[3].at = Timestamp::from_unix_ms(0)), SeriesBroken::Changed(_)));
    let rehashed = |it: &mut Vec<Issued>| {
        it[3].document.total.minor = 99;
        it[3].hash = chain(&it[3].number, it[3].at, &it[3].document, it[3].previous);
    };
    assert!(matches!(broken(rehashed), SeriesBroken::Chain(number) if number.number == 5));
    assert!(matches!(broken(|it| it[0].previous = Digest([0; 32])), SeriesBroken::Chain(_)));
}

/// Computed by another program (Python's hashlib) from the description of [`chain`], so that a change is noticed.
#[test]
fn the_form_of_the_chain_never_changes() {
    let mut bench = Bench::new("R-2026", SeriesKind::Invoice);
    bench.number(document(1, 960)).unwrap();
    let golden = "89a09855f3c51b56f09be84b4db28e3dfa39344d78216b47a6dfa49f14ef239f";
    assert_eq!(bench.issued()[0].hash.to_string(), golden);
}

proptest! {
    /// L12: in any order and with repetitions, the numbers are 1 to n; and the written log makes the same series.
    #[test]
    fn l12_numbers_have_no_gap(asked in proptest::collection::vec((1_u64..20, -1_i64..3), 0..60)) {
        let mut bench = Bench::new("R-2026", SeriesKind::Invoice);
        for (number, cents) in asked {
            let _ = bench.number(document(number, cents));
        }
        let summary = verify_series(&bench.issued()).unwrap();
        let Series::Open(open) = &bench.series else { unreachable!("it was opened") };
        prop_assert_eq!(open.last, summary.count);
        let mut replayed = Series::default();
        for event in &bench.log {
            apply(&mut replayed, &stored::from_bytes(&stored::to_bytes(event)).unwrap());
        }
        prop_assert_eq!(&replayed, &bench.series);
        let json = serde_json::to_string(&bench.issued()).unwrap();
        prop_assert_eq!(serde_json::from_str::<Vec<Issued>>(&json).unwrap(), bench.issued());
    }
}
