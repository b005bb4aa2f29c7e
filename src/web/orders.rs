//! Orders: each handler is given the body with its type and reads the named segments, and hands the order to
//! [`api`](crate::api).

use super::gives::Sheet;
use super::problem::Problem;
use super::request::{Call, NoMembers};
use crate::api::{
    self, AccountOrdered, BackUp, BackedUp, BatchPart, BatchView, ChargerOrdered, Closing, CreditLimit, Draining,
    KeysLoaded, Linking, MeterKeyOrder, MeterKeyRegistered, MoneyOrdered, Opening, PartBrought, ProcessorOrdered,
    ProcessorTested, Promotion, QuarantineBilling, QuarantineDropping, QuarantineOrdered, Refunding, Releasing,
    RemoteStart, ReportingStatus, RevertBatch, SessionStopped, TopUp, Triggering, hold_id,
};

type Ordered<T> = Result<Sheet<T>, Problem>;

pub(super) fn open(call: &Call<'_>, order: Opening) -> Ordered<AccountOrdered> {
    Ok(Sheet(api::open_account(call.views, &order)?))
}

pub(super) fn top_up(call: &Call<'_>, order: TopUp) -> Ordered<AccountOrdered> {
    Ok(Sheet(api::top_up(call.views, &call.segment("id")?, &order)?))
}

pub(super) fn promote(call: &Call<'_>, order: Promotion) -> Ordered<AccountOrdered> {
    Ok(Sheet(api::promote(call.views, &call.segment("id")?, &order)?))
}

pub(super) fn link(call: &Call<'_>, order: Linking) -> Ordered<AccountOrdered> {
    Ok(Sheet(api::link(call.views, &call.segment("id")?, &order)?))
}

pub(super) fn unlink(call: &Call<'_>, order: Linking) -> Ordered<AccountOrdered> {
    Ok(Sheet(api::unlink(call.views, &call.segment("id")?, &order)?))
}

pub(super) fn limit(call: &Call<'_>, order: CreditLimit) -> Ordered<AccountOrdered> {
    Ok(Sheet(api::set_credit_limit(call.views, &call.segment("id")?, &order)?))
}

pub(super) fn close(call: &Call<'_>, order: Closing) -> Ordered<AccountOrdered> {
    Ok(Sheet(api::close_account(call.views, &call.segment("id")?, &order)?))
}

pub(super) fn start_at_charger(call: &Call<'_>, order: RemoteStart) -> Ordered<ChargerOrdered> {
    Ok(Sheet(api::start_at_charger(call.views, &call.segment("id")?, &order)?))
}

pub(super) fn register_meter_key(call: &Call<'_>, order: MeterKeyOrder) -> Ordered<MeterKeyRegistered> {
    Ok(Sheet(api::register_meter_key(call.views, &call.segment("id")?, &order)?))
}

pub(super) fn trigger_at_charger(call: &Call<'_>, order: Triggering) -> Ordered<ChargerOrdered> {
    Ok(Sheet(api::trigger_at_charger(call.views, &call.segment("id")?, &order)?))
}

pub(super) fn stop(call: &Call<'_>, NoMembers {}: NoMembers) -> Ordered<SessionStopped> {
    Ok(Sheet(api::stop_session(call.views, call.segment("id")?)?))
}

pub(super) fn bill_quarantined(call: &Call<'_>, order: QuarantineBilling) -> Ordered<QuarantineOrdered> {
    Ok(Sheet(api::bill_quarantined(call.views, call.segment("id")?, &order)?))
}

pub(super) fn drop_quarantined(call: &Call<'_>, order: QuarantineDropping) -> Ordered<QuarantineOrdered> {
    Ok(Sheet(api::drop_quarantined(call.views, call.segment("id")?, &order)?))
}

pub(super) fn refund(call: &Call<'_>, order: Refunding) -> Ordered<MoneyOrdered> {
    Ok(Sheet(api::refund(call.views, call.segment("id")?, &order)?))
}

pub(super) fn release(call: &Call<'_>, order: Releasing) -> Ordered<MoneyOrdered> {
    Ok(Sheet(api::release(call.views, hold_id(call.text("id"))?, &order)?))
}

pub(super) fn drain(call: &Call<'_>, order: Draining) -> Ordered<ProcessorOrdered> {
    Ok(Sheet(api::drain_processor(call.views, &call.segment("id")?, &order)?))
}

pub(super) fn test(call: &Call<'_>, NoMembers {}: NoMembers) -> Ordered<ProcessorTested> {
    Ok(Sheet(api::test_processor(call.views, &call.segment("id")?)?))
}

pub(super) fn bring_part(call: &Call<'_>, part: BatchPart) -> Ordered<PartBrought> {
    Ok(Sheet(api::bring_part(call.views, part)?))
}

pub(super) fn preview(call: &Call<'_>, list: BatchPart) -> Ordered<BatchView> {
    Ok(Sheet(api::preview(call.views, list)?))
}

pub(super) fn revert(call: &Call<'_>, order: RevertBatch) -> Ordered<BatchView> {
    Ok(Sheet(api::revert_batch(call.views, order)?))
}

pub(super) fn reload_keys(call: &Call<'_>, NoMembers {}: NoMembers) -> Ordered<KeysLoaded> {
    Ok(Sheet(api::reload_keys(call.views)?))
}

pub(super) fn rebuild_reporting(call: &Call<'_>, NoMembers {}: NoMembers) -> Ordered<ReportingStatus> {
    Ok(Sheet(call.views.rebuild_reporting()?))
}

pub(super) fn back_up(call: &Call<'_>, order: BackUp) -> Ordered<BackedUp> {
    Ok(Sheet(api::back_up(call.views, order)?))
}
