//! Any bytes as a settlement file, as our side of it, and as recorded sessions: read, or refused with the line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wattstile::billing::reconciliation::{ColumnMap, read_csv, read_ours};
use wattstile::sim::recording::read_sessions;
use wattstile::units::Currency;

const MAP: &str = r#"{"operation": "op", "reference": "ref", "kind": "kind", "kinds": {"CHG": "capture", "RFD": "refund"},
    "gross": "gross", "fee": "fee", "net": "net", "currency": "cur", "separator": ";", "decimal_mark": "comma"}"#;
const HEAD: &[u8] = b"op;ref;kind;gross;fee;net;cur;at\n";
const OURS: &[u8] = b"operation,kind,reference,amount,currency,at\n";
const RECORDED: &[u8] = b"session_id,charger_id,connector,start,end,inactive_s,energy_wh,billed_eur,place\n";

fuzz_target!(|data: &[u8]| {
    let map: ColumnMap = serde_json::from_str(MAP).expect("a map");
    for file in [data.to_vec(), [HEAD, data].concat()] {
        let _ = read_csv(file.as_slice(), &map, Currency::EUR);
    }
    let _ = read_ours([OURS, data].concat().as_slice());
    let _ = read_sessions([RECORDED, data].concat().as_slice());
});
