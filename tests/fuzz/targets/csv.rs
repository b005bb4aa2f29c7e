//! Any bytes as a settlement file, as our side of it, or as recorded sessions: read, or refused with the line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use wattstile::billing::reconciliation::{ColumnMap, read_csv, read_ours};
use wattstile::sim::recording::read_sessions;
use wattstile::units::Currency;

static MAP: LazyLock<ColumnMap> = LazyLock::new(|| {
    let map = r#"{"operation": "op", "reference": "ref", "kind": "kind", "kinds": {"CHG": "capture", "RFD": "refund"},
        "gross": "gross", "fee": "fee", "net": "net", "currency": "cur", "separator": ";", "decimal_mark": "comma"}"#;
    serde_json::from_str(map).expect("a map")
});
const HEAD: &[u8] = b"op;ref;kind;gross;fee;net;cur;at\n";
const OURS: &[u8] = b"operation,kind,reference,amount,currency,at\n";
const RECORDED: &[u8] = b"session_id,charger_id,connector,start,end,inactive_s,energy_wh,billed_eur,place\n";

// One reader at a time, chosen by the first byte: a reader makes its tables anew for every file, and that takes far
// longer than reading these.
fuzz_target!(|data: &[u8]| {
    let Some((which, data)) = data.split_first() else { return };
    match which % 8 {
        0 => drop(read_csv(data, &MAP, Currency::EUR)),
        1..=3 => drop(read_csv([HEAD, data].concat().as_slice(), &MAP, Currency::EUR)),
        4 | 5 => drop(read_ours([OURS, data].concat().as_slice())),
        _ => drop(read_sessions([RECORDED, data].concat().as_slice())),
    }
});
