//! What a live session with its charger takes in memory, beside what it holds on the heap. Millions are live at once: a field
//! that is added here is paid for millions of times.

use crate::charger::Charger;
use crate::node::charger::HostedCharger;
use crate::node::hosted::Arena;
use crate::node::session::HostedSession;
use crate::payment::{Hold, LiveOperation, PastOperation, Payment};
use crate::session::{Meter, Session, Stage};
use crate::tariff::{Rating, Segments};

#[test]
fn a_live_session_and_its_charger_stay_small() {
    let rows = [
        ("cell of a session", Arena::<HostedSession>::CELL_BYTES, 664),
        ("  hosted session", size_of::<HostedSession>(), 656),
        ("    session", size_of::<Session>(), 592),
        ("      meter", size_of::<Meter>(), 48),
        ("      rating", size_of::<Rating>(), 136),
        ("      segments", size_of::<Segments>(), 48),
        ("      payment", size_of::<Payment>(), 224),
        ("        hold", size_of::<Hold>(), 96),
        ("        live operation (heap, while it lives)", size_of::<LiveOperation>(), 120),
        ("        past operation", size_of::<PastOperation>(), 40),
        ("      stage", size_of::<Stage>(), 24),
        ("cell of a charger", Arena::<HostedCharger>::CELL_BYTES, 120),
        ("  hosted charger", size_of::<HostedCharger>(), 112),
        ("    charger", size_of::<Charger>(), 88),
    ];
    for (name, bytes, most) in rows {
        println!("{name:<48} {bytes:>5} B (at most {most})");
    }
    for (name, bytes, most) in rows {
        assert!(bytes <= most, "{name} takes {bytes} bytes");
    }
}
