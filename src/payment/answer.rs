//! Handles messages of a processor: answers to operations and inquiries, repeated and late ones, and notifications.
//!
//! No message is refused with an error: it is applied, recognised as a repetition, or ignored with an alarm, and in
//! each case acknowledged when its consequences are durable.

use super::draft::Draft;
use super::state::{INQUIRY_IDS, Seen, target_of};
use super::{
    AcknowledgeCode, Alarm, Answer, Ask, CallbackId, Decline, DeclineClass, Discrepancy, Dispute, DisputeState, Effect,
    Ending, Event, Final, Hold, LiveOperation, NotExecutedCause, Notification, NotificationKind, OperationKind,
    Ordinal, Outcome, PastOperation, Phase, ProcessorRef, Source, Stage, UnknownCause, VoidReason,
};
use crate::limits::DISPUTES_PER_PAYMENT;
use crate::units::{Amount, ProcessorId, TimeSpan, Timestamp};

/// How long a premature notification is requested again.
const EARLY_FOR: TimeSpan = TimeSpan::from_secs(7 * 24 * 3_600);

/// An answer, and how it came.
struct Received {
    answer: Answer,
    /// The number of the inquiry that it answers; `None` when it answers the operation itself.
    inquiry: Option<u8>,
    source: Source,
}

/// What a processor approved.
struct Approval {
    amount: Amount,
    processor_ref: ProcessorRef,
    expires_at: Option<Timestamp>,
}

impl Draft<'_> {
    /// A processor answers an operation, or an inquiry after one.
    pub(super) fn answer(&mut self, from: ProcessorId, answer: Answer) {
        let callback = answer.callback;
        let code = self.take_in(&from, answer);
        self.acknowledge(from, callback, code);
    }

    fn acknowledge(&mut self, to: ProcessorId, callback: CallbackId, code: AcknowledgeCode) {
        self.effect(Effect::Acknowledge { to, callback, code });
    }

    fn take_in(&mut self, from: &ProcessorId, answer: Answer) -> AcknowledgeCode {
        if answer.operation.payment() != self.state().id() {
            return AcknowledgeCode::UnknownOperation;
        }
        let (number, inquiry) = target_of(Ordinal(answer.operation.ordinal()));
        let source = source_of(&answer, inquiry.is_some(), self.now.wall);
        if let Some(live) = self.state().live(number) {
            let live = live.clone();
            return self.answer_live(from, &live, Received { answer, inquiry, source });
        }
        match self.state().past(number).copied() {
            Some(past) => self.answer_past(from, past, answer, source),
            None => AcknowledgeCode::UnknownOperation,
        }
    }

    fn answer_live(
        &mut self,
        from: &ProcessorId,
        live: &LiveOperation,
        Received { answer, inquiry, source }: Received,
    ) -> AcknowledgeCode {
        let hold = self.hold_of(live).clone();
        if *hold.processor() != *from {
            self.alarm(live.number, Alarm::Discrepancy(Discrepancy::DifferentProcessor));
            return AcknowledgeCode::Conflict(Discrepancy::DifferentProcessor);
        }
        if let Some(code) = repetition(live.seen, source) {
            return code;
        }
        let checked = if answer.hold == self.state().hold_id(hold.number) {
            self.check_amount(live.ask, live.amount_minor, &hold, &answer.outcome)
        } else {
            Err(Discrepancy::DifferentHold)
        };
        if let Err(discrepancy) = checked {
            return self.quarantine(live.number, live.disputed, discrepancy, source);
        }
        match answer.outcome {
            Outcome::Approved { amount, processor_ref, expires_at } => {
                self.approved(live, &hold, Approval { amount, processor_ref, expires_at }, source);
            }
            Outcome::Declined(decline) => self.declined(live, &hold, decline, source),
            Outcome::Pending { decide_by } => {
                self.fact(Event::Accepted { operation: live.number, decide_by, source });
            }
            Outcome::NotFound if let Some(index) = inquiry => self.not_found(live, &hold, index),
            Outcome::NotFound => match live.ask {
                Ask::Void { .. } => self.void_refused(live, &hold, None, source),
                Ask::Authorize { .. } | Ask::Increment | Ask::Decrement | Ask::Capture { .. } | Ask::Refund { .. } => {
                    let decline = Decline { class: DeclineClass::State, code: "not_found".into(), retry_after: None };
                    self.declined(live, &hold, decline, source);
                }
            },
            // A failed inquiry has no result, and neither has a second error; the schedule continues.
            Outcome::Error if inquiry.is_some() || live.phase == (Phase::Unknown { cause: UnknownCause::Error }) => {}
            Outcome::Error => {
                let at = self.now.wall;
                self.fact(Event::OutcomeUnknown { operation: live.number, cause: UnknownCause::Error, at });
            }
        }
        self.advance();
        AcknowledgeCode::Ok
    }

    /// Quarantines an answer. The first one for an operation is journaled and makes its outcome unknown; more of them
    /// change nothing, so that a faulty processor cannot fill the journal.
    fn quarantine(
        &mut self,
        operation: Ordinal,
        disputed: bool,
        discrepancy: Discrepancy,
        source: Source,
    ) -> AcknowledgeCode {
        if !disputed {
            self.fact(Event::AnswerQuarantined { operation, discrepancy, source, at: self.now.wall });
            self.alarm(operation, Alarm::Discrepancy(discrepancy));
        }
        AcknowledgeCode::BodyMismatch(discrepancy)
    }

    /// Whether an approval matches the requested amount.
    fn check_amount(&self, ask: Ask, asked: i64, hold: &Hold, outcome: &Outcome) -> Result<(), Discrepancy> {
        let Outcome::Approved { amount, .. } = outcome else { return Ok(()) };
        if amount.currency != self.state().currency() {
            return Err(Discrepancy::DifferentCurrency);
        }
        let fits = match ask {
            // Less is a partial approval.
            Ask::Authorize { .. } | Ask::Capture { .. } => amount.minor > 0 && amount.minor <= asked,
            Ask::Increment => amount.minor > hold.authorized_minor && amount.minor <= asked,
            Ask::Decrement | Ask::Refund { .. } => amount.minor == asked,
            // What a reversal released is not known before.
            Ask::Void { .. } => amount.minor >= 0,
        };
        if fits { Ok(()) } else { Err(Discrepancy::DifferentAmount) }
    }

    fn approved(
        &mut self,
        live: &LiveOperation,
        hold: &Hold,
        Approval { amount, processor_ref, expires_at }: Approval,
        source: Source,
    ) {
        let (operation, at) = (live.number, self.now.wall);
        match live.ask {
            Ask::Authorize { partial_ok, stand_in } => {
                let expires_at = expires_at.unwrap_or(at.saturating_add(hold.capabilities().validity()));
                let total = amount;
                if amount.minor == live.amount_minor {
                    self.fact(Event::Approved { operation, total, processor_ref, expires_at, source });
                    return;
                }
                self.fact(Event::PartiallyApproved { operation, total, processor_ref, expires_at, source });
                let useful = partial_ok && amount.minor >= self.policy.partial_min_minor;
                if !useful && !stand_in && !self.is_ending() {
                    self.void_now(operation, VoidReason::PartialTooSmall);
                }
            }
            Ask::Increment => self.fact(Event::IncrementApproved { operation, total: amount, expires_at, source }),
            Ask::Decrement => self.fact(Event::DecrementApproved { operation, total: amount, source }),
            Ask::Capture { .. } => {
                let shortfall = self.state().amount(live.amount_minor.saturating_sub(amount.minor));
                self.fact(Event::Captured { operation, amount, shortfall, source });
            }
            Ask::Void { .. } => self.fact(Event::Voided { operation, source, at }),
            Ask::Refund { .. } => self.fact(Event::Refunded { operation, amount, source }),
        }
    }

    fn void_now(&mut self, hold: Ordinal, reason: VoidReason) {
        if self.void(hold, reason).is_err() {
            self.alarm(hold, Alarm::Unresolved);
        }
    }

    fn declined(&mut self, live: &LiveOperation, hold: &Hold, decline: Decline, source: Source) {
        let operation = live.number;
        match live.ask {
            Ask::Authorize { .. } => self.fact(Event::Declined { operation, decline, source }),
            Ask::Increment => self.fact(Event::IncrementDeclined { operation, decline, source }),
            Ask::Decrement => self.fact(Event::DecrementDeclined { operation, decline, source }),
            Ask::Capture { .. } => {
                let passing = match decline.class {
                    DeclineClass::Technical => true,
                    DeclineClass::Soft => decline.retry_after.is_some(),
                    DeclineClass::Hard | DeclineClass::Fraud | DeclineClass::State => false,
                };
                if passing && hold.refusals < self.policy.capture_refusals_max {
                    self.fact(Event::CaptureDeclined { operation, decline, source });
                } else {
                    let amount = self.state().amount(live.amount_minor);
                    self.fact(Event::CaptureFailed { operation, amount, decline, source });
                    self.alarm(operation, Alarm::CaptureFailed);
                }
            }
            Ask::Void { .. } => self.void_refused(live, hold, Some(decline), source),
            Ask::Refund { .. } => self.fact(Event::RefundDeclined { operation, decline, source }),
        }
    }

    /// A void found nothing, or was refused. For a hold that was never confirmed (or already ended) that is the end of
    /// it, once the authorization is too old to arrive any more; a confirmed hold is pursued until it lapses.
    fn void_refused(&mut self, live: &LiveOperation, hold: &Hold, decline: Option<Decline>, source: Source) {
        let operation = live.number;
        let nothing_there = match &decline {
            None => true,
            Some(decline) => matches!(decline.class, DeclineClass::State | DeclineClass::Hard),
        };
        let confirmed = hold.stage == Stage::Open;
        // An authorization that was answered in time is not in transit any more; any other is not after one void was
        // refused and the next one waited for the longest lifetime of a request.
        let answered = matches!(
            hold.stage,
            Stage::Closed(Ending::Captured | Ending::CaptureFailed | Ending::Expired | Ending::Voided)
        );
        // A capture that was approved after its refusal ended the hold at the processor, and here it is still open.
        let taken = confirmed && hold.captured_minor > 0;
        let taken = taken && (!hold.capabilities().multiple_captures() || hold.refusals > 0);
        if nothing_there && (taken || (!confirmed && (answered || hold.refusals > 0))) {
            self.fact(Event::NothingToVoid { operation, source, at: self.now.wall });
            return;
        }
        self.fact(Event::VoidRefused { operation, decline, source });
        if confirmed {
            self.alarm(operation, Alarm::VoidRefused);
        }
    }

    /// The processor never received the operation, or has not processed it yet.
    ///
    /// It counts when the inquiry was binding at the time it was made. A delayed answer to an earlier inquiry proves
    /// nothing about later messages.
    fn not_found(&mut self, live: &LiveOperation, hold: &Hold, index: u8) {
        let operation = live.number;
        let inquiries_since = live.inquiries.wrapping_sub(1).wrapping_sub(index) % INQUIRY_IDS;
        let definite = inquiries_since < live.binding;
        match live.ask {
            // Releasing twice does no harm, so a fresh void may follow one that would only repeat its error.
            Ask::Void { .. } if live.is_spoiled(hold) => {
                self.fact(Event::VoidAbandoned { operation, at: self.now.wall });
            }
            _ if !definite => {}
            Ask::Authorize { stand_in: false, .. } | Ask::Increment | Ask::Decrement => {
                let cause = NotExecutedCause::NotFound;
                self.fact(Event::NotExecuted { operation, cause, at: self.now.wall });
            }
            // It never happened, for certain; what has to happen goes out under a fresh id.
            Ask::Authorize { .. } | Ask::Capture { .. } | Ask::Refund { .. } if live.is_spoiled(hold) => {
                let cause = NotExecutedCause::NotFound;
                self.fact(Event::NotExecuted { operation, cause, at: self.now.wall });
            }
            // Required operations are sent again under the same id, so they take effect once at most.
            Ask::Authorize { stand_in: true, .. } | Ask::Capture { .. } | Ask::Void { .. } | Ask::Refund { .. } => {
                self.repeat(operation);
            }
        }
    }

    /// An answer to an operation that has its outcome already: a repetition, a contradiction, or a late approval.
    fn answer_past(
        &mut self,
        from: &ProcessorId,
        past: PastOperation,
        answer: Answer,
        source: Source,
    ) -> AcknowledgeCode {
        let Some(hold) = self.state().hold(past.hold).cloned() else { return AcknowledgeCode::UnknownOperation };
        if *hold.processor() != *from {
            self.alarm(past.number, Alarm::Discrepancy(Discrepancy::DifferentProcessor));
            return AcknowledgeCode::Conflict(Discrepancy::DifferentProcessor);
        }
        if let Some(code) = repetition(past.seen, source) {
            return match code {
                AcknowledgeCode::Duplicate => self.repeated_answer(past, source),
                code => code,
            };
        }
        if answer.hold != self.state().hold_id(hold.number) {
            return self.quarantine(past.number, past.disputed, Discrepancy::DifferentHold, source);
        }
        let done = matches!(past.result, Final::Approved | Final::Undone);
        match answer.outcome {
            Outcome::Approved { amount, .. } if amount.currency != self.state().currency() => {
                self.quarantine(past.number, past.disputed, Discrepancy::DifferentCurrency, source)
            }
            Outcome::Approved { amount, .. } if done => {
                if past.kind == OperationKind::Void || amount.minor == past.amount_minor {
                    self.repeated_answer(past, source)
                } else {
                    self.conflict(past, Discrepancy::DifferentAmount, source)
                }
            }
            Outcome::Approved { amount, .. } if amount.minor < 0 || amount.minor > past.amount_minor => {
                self.quarantine(past.number, past.disputed, Discrepancy::DifferentAmount, source)
            }
            Outcome::Approved { amount, processor_ref, .. } => {
                self.late_approval(past, amount, processor_ref, source);
                AcknowledgeCode::Ok
            }
            // Only a report of its own kind undoes what was approved; a plain refusal contradicts it.
            Outcome::Declined(_) | Outcome::NotFound if done => {
                self.conflict(past, Discrepancy::DifferentOutcome, source)
            }
            Outcome::Declined(_) | Outcome::NotFound | Outcome::Pending { .. } | Outcome::Error => {
                self.repeated_answer(past, source)
            }
        }
    }

    /// Handles a repeated answer. The first repetition for an operation is recorded in its history; more of them are
    /// not, so that a faulty processor cannot fill the journal.
    fn repeated_answer(&mut self, past: PastOperation, source: Source) -> AcknowledgeCode {
        if !past.repeated {
            self.fact(Event::AnswerRepeated { operation: past.number, source });
        }
        AcknowledgeCode::Duplicate
    }

    fn conflict(&mut self, past: PastOperation, discrepancy: Discrepancy, source: Source) -> AcknowledgeCode {
        self.quarantine(past.number, past.disputed, discrepancy, source);
        AcknowledgeCode::Conflict(discrepancy)
    }

    fn late_approval(&mut self, past: PastOperation, amount: Amount, processor_ref: ProcessorRef, source: Source) {
        let (operation, at) = (past.number, self.now.wall);
        self.fact(Event::LateApproval { operation, amount, processor_ref, source, at });
        self.alarm(operation, Alarm::LateApproval);
        self.advance();
    }

    /// Handles a notification, which a processor sends without a request.
    pub(super) fn notification(&mut self, from: ProcessorId, notification: Notification) {
        let callback = notification.callback;
        let code = self.report(&from, notification);
        self.acknowledge(from, callback, code);
    }

    fn report(&mut self, from: &ProcessorId, report: Notification) -> AcknowledgeCode {
        let known = self.state().holds().iter().find(|hold| self.state().hold_id(hold.number) == report.hold);
        let Some(hold) = known.cloned() else { return AcknowledgeCode::UnknownOperation };
        if *hold.processor() != *from {
            self.alarm(hold.number, Alarm::Discrepancy(Discrepancy::DifferentProcessor));
            return AcknowledgeCode::Conflict(Discrepancy::DifferentProcessor);
        }
        let body = digest(&(report.hold, report.kind, report.amount));
        let source = Source { callback: report.callback, digest: body, at: self.now.wall, inquiry: false };
        let remembered = self.state().rare.iter().flat_map(|rare| &rare.reports);
        if let Some(seen) = remembered.copied().find(|seen| seen.callback == source.callback) {
            return repetition(Some(Seen::from(seen)), source).unwrap_or(AcknowledgeCode::Duplicate);
        }
        if report.amount.currency != self.state().currency() || report.amount.minor < 0 {
            return self.misfit(&hold, Discrepancy::DifferentCurrency);
        }
        let (number, amount) = (hold.number, report.amount);
        let event = match report.kind {
            NotificationKind::AuthorizationExpired => match self.expiry(&hold, source) {
                Some(event) => event,
                None => return AcknowledgeCode::Ok,
            },
            NotificationKind::CaptureFailed
                if self.has_done(number, OperationKind::Capture, amount) && self.covers_disputes(&hold, amount) =>
            {
                Event::CaptureReversed { hold: number, amount, source }
            }
            NotificationKind::RefundFailed if self.has_done(number, OperationKind::Refund, amount) => {
                Event::RefundReversed { hold: number, amount, source }
            }
            NotificationKind::DisputeOpened if self.state().disputes().count() >= DISPUTES_PER_PAYMENT => {
                return self.misfit(&hold, Discrepancy::DifferentState);
            }
            NotificationKind::DisputeOpened
                if amount.minor > 0 && amount.minor <= self.state().refundable_minor(&hold) =>
            {
                Event::DisputeOpened { hold: number, amount, source }
            }
            NotificationKind::DisputeWon | NotificationKind::DisputeLost if self.is_disputed(number, amount) => {
                let won = report.kind == NotificationKind::DisputeWon;
                Event::DisputeClosed { hold: number, amount, won, source }
            }
            NotificationKind::CaptureFailed
            | NotificationKind::RefundFailed
            | NotificationKind::DisputeOpened
            | NotificationKind::DisputeWon
            | NotificationKind::DisputeLost => match self.is_early(&hold, &report, source) {
                true => return AcknowledgeCode::Early,
                false if report.kind == NotificationKind::DisputeOpened && hold.captured_minor > 0 => {
                    return self.misfit(&hold, Discrepancy::DifferentAmount);
                }
                false => return self.misfit(&hold, Discrepancy::DifferentState),
            },
        };
        let (kind, alarm) = match &event {
            Event::CaptureReversed { amount, .. } => (OperationKind::Capture, Some(Alarm::CaptureReversed(*amount))),
            Event::RefundReversed { amount, .. } => (OperationKind::Refund, Some(Alarm::RefundReversed(*amount))),
            Event::DisputeOpened { amount, .. } => (OperationKind::Capture, Some(Alarm::DisputeOpened(*amount))),
            Event::DisputeClosed { amount, won: true, .. } => {
                (OperationKind::Capture, Some(Alarm::DisputeWon(*amount)))
            }
            Event::DisputeClosed { amount, won: false, .. } => {
                (OperationKind::Capture, Some(Alarm::DisputeLost(*amount)))
            }
            _ => (OperationKind::Authorize, None),
        };
        let subject = self.subject(number, kind, amount.minor);
        self.fact(event);
        if let Some(alarm) = alarm {
            self.alarm(subject, alarm);
        }
        self.advance();
        AcknowledgeCode::Ok
    }

    /// The processor reports that a hold lapsed: accepted for an open hold without a capture in progress. A hold with
    /// a capture in progress ends with that capture's answer; a reversal continues until it is answered.
    fn expiry(&self, hold: &Hold, source: Source) -> Option<Event> {
        let capturing = self.state().live_on(hold, OperationKind::Capture).is_some();
        let open = hold.stage == Stage::Open && !capturing;
        open.then_some(Event::HoldExpired { hold: hold.number, source: Some(source), at: self.now.wall })
    }

    fn misfit(&mut self, hold: &Hold, discrepancy: Discrepancy) -> AcknowledgeCode {
        self.alarm(hold.number, Alarm::Discrepancy(discrepancy));
        AcknowledgeCode::Conflict(discrepancy)
    }

    /// Whether a report may have overtaken what it is about: the answer to a capture or a refund, which may be on its way
    /// although the operation was given up or refused meanwhile, or the opening of the dispute that it closes. One that is
    /// older than a week waits fif any.
    fn is_early(&self, hold: &Hold, report: &Notification, source: Source) -> bool {
        let minor = report.amount.minor;
        let asked = |kind: OperationKind| {
            let live = self.state().live_on(hold, kind).is_some_and(|live| minor <= live.amount_minor);
            let mut past = self.state().past_operations().iter();
            live || past.any(|past| {
                let open = !matches!(past.result, Final::Approved | Final::Undone);
                open && past.hold == hold.number && past.kind == kind && minor <= past.amount_minor
            })
        };
        let is_reported =
            || self.state().rare.iter().flat_map(|rare| &rare.reports).any(|seen| seen.digest == source.digest);
        let expected = match report.kind {
            NotificationKind::AuthorizationExpired => false,
            NotificationKind::CaptureFailed => asked(OperationKind::Capture),
            // It may fit when the capture is answered, or when a refund in progress turns out to be refused.
            NotificationKind::DisputeOpened => {
                asked(OperationKind::Capture) || minor <= self.state().disputable_minor(hold)
            }
            NotificationKind::RefundFailed => asked(OperationKind::Refund),
            NotificationKind::DisputeWon | NotificationKind::DisputeLost => {
                asked(OperationKind::Capture) || (!is_reported() && minor <= self.state().disputable_minor(hold))
            }
        };
        expected && minor > 0 && self.now.wall.since(report.occurred_at) < EARLY_FOR
    }

    /// The operation that a report is about: it names only the hold. The one of its amount, or else the last one.
    fn subject(&self, hold: Ordinal, kind: OperationKind, minor: i64) -> Ordinal {
        let done = |past: &&PastOperation| past.hold == hold && past.kind == kind && past.result == Final::Approved;
        let past = self.state().past_operations();
        let same = past.iter().filter(done).find(|past| past.amount_minor == minor);
        same.or_else(|| past.iter().rev().find(done)).map_or(hold, |past| past.number)
    }

    fn has_done(&self, hold: Ordinal, kind: OperationKind, amount: Amount) -> bool {
        self.state().past_operations().iter().any(|past| {
            let same = past.hold == hold && past.kind == kind && past.amount_minor == amount.minor;
            same && past.result == Final::Approved
        })
    }

    /// Whether the amount without a capture still covers the disputes, open and lost: that money was already taken by
    /// the processor.
    fn covers_disputes(&self, hold: &Hold, capture: Amount) -> bool {
        let left = hold.captured_minor.saturating_sub(hold.refunded_minor).saturating_sub(capture.minor);
        let disputed = self.state().disputed_minor(hold.number);
        disputed == 0 || disputed <= left
    }

    fn is_disputed(&self, hold: Ordinal, amount: Amount) -> bool {
        let open = Dispute { hold, amount_minor: amount.minor, state: DisputeState::Open };
        self.state().disputes().any(|dispute| *dispute == open)
    }
}

/// The verdict on a message that has the number of an earlier one; `None` when it has not.
fn repetition(seen: Option<Seen>, source: Source) -> Option<AcknowledgeCode> {
    let seen = seen.filter(|seen| seen.callback() == source.callback)?;
    if seen == Seen::from(source) {
        Some(AcknowledgeCode::Duplicate)
    } else {
        Some(AcknowledgeCode::BodyMismatch(Discrepancy::DifferentBody))
    }
}

fn source_of(answer: &Answer, inquiry: bool, at: Timestamp) -> Source {
    let digest = digest(&(answer.operation, answer.hold, &answer.outcome));
    Source { callback: answer.callback, digest, at, inquiry }
}

/// CRC-32 of a message's postcard encoding. Payments keep it to recognise a message that comes again, so it stays what it is.
fn digest(body: &impl serde::Serialize) -> u32 {
    let encoded = postcard::to_stdvec(body).expect("messages are plain values and always encode");
    crc32fast::hash(&encoded)
}
