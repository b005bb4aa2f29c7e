//! Translates refusals, reasons and orders of the machines into codes of the protocol.

use crate::charger;
use crate::message;
use crate::message::{Code, StopOrder};
use crate::payment::AcknowledgeCode;
use crate::payment::Discrepancy;
use crate::session::{self, Doubt, StopReason};

/// Why a charger's machine refuses.
pub fn of_charger(rejection: charger::Rejection) -> Code {
    match rejection {
        charger::Rejection::UnknownConnector(_) => Code::ConnectorUnknown,
        charger::Rejection::KeyOnOtherConnector(..) => Code::SessionKeyInUse,
        charger::Rejection::StaleKey(_) => Code::SessionKeyStale,
        charger::Rejection::ConnectorOccupied(..) => Code::ConnectorOccupied,
        charger::Rejection::TooManyRefusals(_) => Code::TooManyRefusals,
        charger::Rejection::UnknownSession(_) => Code::SessionUnknown,
        charger::Rejection::SessionOver(_) => Code::SessionOver,
    }
}

/// Why a session's machine refuses.
pub fn of_session(rejection: session::Rejection) -> Code {
    match rejection {
        session::Rejection::NotAdmitted => Code::SessionNotStarted,
        session::Rejection::Gap { .. } => Code::SequenceGap,
        session::Rejection::Over => Code::SessionOver,
        session::Rejection::NotBelieved { doubt, .. } => match doubt {
            Doubt::RegisterFell => Code::RegisterFalls,
            Doubt::TooMuchEnergy => Code::RegisterJumps,
            Doubt::TimeWentBack => Code::TimeBackwards,
            Doubt::ClockOff | Doubt::Unpriceable => Code::TimeImplausible,
        },
    }
}

/// Why there is no energy.
pub fn of_refused_start(reason: StopReason) -> Code {
    match reason {
        StopReason::Declined => Code::CredentialDeclined,
        StopReason::TooLittle | StopReason::NoFunds | StopReason::FundsExhausted => Code::FundsInsufficient,
        StopReason::NoDecision => Code::OutcomeUnknown,
        StopReason::NoProcessor => Code::NoProcessor,
        StopReason::OtherCurrency => Code::OtherCurrency,
        StopReason::NotAccepted => Code::CredentialNotAccepted,
        StopReason::Expired => Code::CredentialExpired,
        StopReason::Concurrent => Code::ConcurrentSession,
        StopReason::Operator | StopReason::Driver => Code::OutOfService,
        StopReason::Local
        | StopReason::Unplugged
        | StopReason::Ordered
        | StopReason::LimitReached
        | StopReason::EmergencyStop
        | StopReason::PowerLoss
        | StopReason::Reboot
        | StopReason::Fault
        | StopReason::Other
        | StopReason::AuthorizationLost
        | StopReason::Silence
        | StopReason::Unreported
        | StopReason::Omitted => Code::SessionEnded,
    }
}

/// The reason of a session that was refused for this code, where such a session has its energy recorded. The others are refused
/// for what their start says, or because too many were.
pub fn reason_of_refusal(code: Code) -> Option<StopReason> {
    Some(match code {
        Code::CredentialDeclined => StopReason::Declined,
        Code::CredentialNotAccepted | Code::CardNumber => StopReason::NotAccepted,
        Code::CredentialExpired => StopReason::Expired,
        Code::ConcurrentSession => StopReason::Concurrent,
        Code::FundsInsufficient => StopReason::NoFunds,
        Code::NoProcessor | Code::Busy => StopReason::NoProcessor,
        Code::OutcomeUnknown => StopReason::NoDecision,
        Code::OtherCurrency => StopReason::OtherCurrency,
        _ => return None,
    })
}

/// Why the gate stops the energy.
pub fn order(reason: StopReason) -> StopOrder {
    match reason {
        StopReason::FundsExhausted | StopReason::LimitReached => StopOrder::MoneyExhausted,
        StopReason::Operator => StopOrder::Operator,
        StopReason::Driver => StopOrder::Driver,
        StopReason::Local
        | StopReason::Unplugged
        | StopReason::Ordered
        | StopReason::EmergencyStop
        | StopReason::PowerLoss
        | StopReason::Reboot
        | StopReason::Fault
        | StopReason::Other
        | StopReason::AuthorizationLost
        | StopReason::Silence
        | StopReason::Unreported
        | StopReason::Omitted
        | StopReason::Declined
        | StopReason::TooLittle
        | StopReason::NoFunds
        | StopReason::NoDecision
        | StopReason::NoProcessor
        | StopReason::OtherCurrency
        | StopReason::NotAccepted
        | StopReason::Concurrent
        | StopReason::Expired => StopOrder::AuthorizationLost,
    }
}

/// The reason of a session's end, as the charger reports it.
pub fn reason(reason: message::StopReason) -> StopReason {
    match reason {
        message::StopReason::Local => StopReason::Local,
        message::StopReason::EvDisconnected => StopReason::Unplugged,
        message::StopReason::Remote => StopReason::Ordered,
        message::StopReason::LimitReached => StopReason::LimitReached,
        message::StopReason::EmergencyStop => StopReason::EmergencyStop,
        message::StopReason::PowerLoss => StopReason::PowerLoss,
        message::StopReason::Reboot => StopReason::Reboot,
        message::StopReason::Fault => StopReason::Fault,
        message::StopReason::Other => StopReason::Other,
    }
}

/// How a processor's message is answered; `None`: taken in, now or before.
pub fn of_callback(code: AcknowledgeCode) -> Option<Code> {
    match code {
        AcknowledgeCode::Ok | AcknowledgeCode::Duplicate => None,
        AcknowledgeCode::UnknownOperation => Some(Code::OperationUnknown),
        AcknowledgeCode::Early => Some(Code::NotYet),
        AcknowledgeCode::BodyMismatch(discrepancy) | AcknowledgeCode::Conflict(discrepancy) => {
            Some(match discrepancy {
                Discrepancy::DifferentProcessor => Code::OperationOfAnother,
                Discrepancy::DifferentHold => Code::HoldDiffers,
                Discrepancy::DifferentCurrency => Code::CurrencyDiffers,
                Discrepancy::DifferentAmount => Code::AmountDiffers,
                Discrepancy::DifferentOutcome | Discrepancy::DifferentState => Code::OutcomeConflicts,
                Discrepancy::DifferentBody => Code::CallbackDiffers,
            })
        }
    }
}
