//! A site controller that serves all chargers of a pattern, and invents them.

use super::charger_line::{ANSWER, ChargerLine, Incoming, hello};
use super::{Attacker, Attacking, Field, Trouble};
use crate::message::{Channel, FromCharger, ToCharger};
use crate::units::{ChargerId, Power, SiteId};
use std::time::Duration;

pub(super) const ATTACKER: Attacker = Attacker {
    name: "wildcard-site",
    findings: "S12",
    does: "a site controller introduces 250 chargers a round, up to 20,000 names",
    expects: "each is greeted or refused by a code, and memory stays bounded",
    pause: Duration::from_secs(4),
    currency: super::EURO,
    attack: |field| Box::pin(attack(field)) as Attacking,
};

const EACH_ROUND: u32 = 250;
/// Names in all; then they come again.
const NAMES: u64 = 20_000;

async fn attack(field: Field) -> Result<(), Trouble> {
    let site = SiteId::new(&field.peer_name(0)).map_err(Trouble::of)?;
    let mut line = ChargerLine::dial_site(&field, &site).await?;
    let first = field.round.wrapping_mul(u64::from(EACH_ROUND));
    for number in 1..=EACH_ROUND {
        let name = format!("EVIL-wild-{:06}", (first + u64::from(number)) % NAMES);
        let id = ChargerId::new(&name).map_err(Trouble::of)?;
        let greeting = hello(&id, Power::from_milliwatts(22_000_000), field.now().wall, Vec::new());
        line.send_on(Channel(number), &FromCharger::Hello(greeting));
    }
    for _ in 0..EACH_ROUND {
        match line.receive_on(ANSWER).await {
            Incoming::Message(received) => match received.message {
                ToCharger::HelloAck(_) => field.tally.right("greeted"),
                ToCharger::GoAway(go) => field.tally.right(format!("refused with {}", go.code.number())),
                other => field.tally.violation(format!("a Hello is answered with {other:?}")),
            },
            Incoming::Ended(ended) => {
                field.tally.right(ended.word());
                return Ok(());
            }
            Incoming::Nothing => {
                field.tally.violation("a Hello is not answered");
                return Ok(());
            }
        }
    }
    Ok(())
}
