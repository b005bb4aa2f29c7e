//! Repeats requests that were in flight when the process ended.

use super::{Context, Decision, Effect, Session, Stage, money};

/// After a replay: repeats requests and orders. Operations keep their ids; a stop that the charger may have missed is
/// repeated; a closed session that may not be in the archive is archived again.
pub fn resume(session: &Session, ctx: &Context<'_>) -> Decision {
    let decision = money::resume(session, ctx);
    match &session.stage {
        Stage::Authorizing | Stage::Settling(_) | Stage::Charging { stop_asked: None, .. } => decision,
        Stage::Charging { stop_asked: Some(reason), .. } => decision.and_effect(Effect::StopNow(*reason)),
        Stage::Closed(_) => decision.and_effect(Effect::Archive),
    }
}
