//! Orders: each handler reads the body and the named segments, and hands the typed order to [`api`](crate::api).

use super::problem::Problem;
use super::request::{Answer, Call};
use crate::api::{self, hold_id};

type Ordered = Result<Answer, Problem>;

pub(super) fn open(call: &Call<'_>) -> Ordered {
    Ok(Answer::Json(api::open_account(call.views, &call.body()?)?))
}

pub(super) fn top_up(call: &Call<'_>) -> Ordered {
    let order = call.body()?;
    Ok(Answer::Json(api::top_up(call.views, &call.segment("id")?, &order)?))
}

pub(super) fn promote(call: &Call<'_>) -> Ordered {
    let order = call.body()?;
    Ok(Answer::Json(api::promote(call.views, &call.segment("id")?, &order)?))
}

pub(super) fn link(call: &Call<'_>) -> Ordered {
    let order = call.body()?;
    Ok(Answer::Json(api::link(call.views, &call.segment("id")?, &order)?))
}

pub(super) fn unlink(call: &Call<'_>) -> Ordered {
    let order = call.body()?;
    Ok(Answer::Json(api::unlink(call.views, &call.segment("id")?, &order)?))
}

pub(super) fn limit(call: &Call<'_>) -> Ordered {
    let order = call.body()?;
    Ok(Answer::Json(api::set_credit_limit(call.views, &call.segment("id")?, &order)?))
}

pub(super) fn close(call: &Call<'_>) -> Ordered {
    let order = call.body()?;
    Ok(Answer::Json(api::close_account(call.views, &call.segment("id")?, &order)?))
}

pub(super) fn start_at_charger(call: &Call<'_>) -> Ordered {
    let order = call.body()?;
    Ok(Answer::Json(api::start_at_charger(call.views, &call.segment("id")?, &order)?))
}

pub(super) fn trigger_at_charger(call: &Call<'_>) -> Ordered {
    let order = call.body()?;
    Ok(Answer::Json(api::trigger_at_charger(call.views, &call.segment("id")?, &order)?))
}

pub(super) fn stop(call: &Call<'_>) -> Ordered {
    call.no_members()?;
    Ok(Answer::Json(api::stop_session(call.views, call.segment("id")?)?))
}

pub(super) fn bill_quarantined(call: &Call<'_>) -> Ordered {
    let order = call.body()?;
    Ok(Answer::Json(api::bill_quarantined(call.views, call.segment("id")?, &order)?))
}

pub(super) fn drop_quarantined(call: &Call<'_>) -> Ordered {
    let order = call.body()?;
    Ok(Answer::Json(api::drop_quarantined(call.views, call.segment("id")?, &order)?))
}

pub(super) fn refund(call: &Call<'_>) -> Ordered {
    let order = call.body()?;
    Ok(Answer::Json(api::refund(call.views, call.segment("id")?, &order)?))
}

pub(super) fn release(call: &Call<'_>) -> Ordered {
    let order = call.body()?;
    Ok(Answer::Json(api::release(call.views, hold_id(call.text("id"))?, &order)?))
}

pub(super) fn drain(call: &Call<'_>) -> Ordered {
    let order = call.body()?;
    Ok(Answer::Json(api::drain_processor(call.views, &call.segment("id")?, &order)?))
}

pub(super) fn test(call: &Call<'_>) -> Ordered {
    call.no_members()?;
    Ok(Answer::Json(api::test_processor(call.views, &call.segment("id")?)?))
}

pub(super) fn bring_part(call: &Call<'_>) -> Ordered {
    Ok(Answer::Json(api::bring_part(call.views, call.body()?)?))
}

pub(super) fn preview(call: &Call<'_>) -> Ordered {
    Ok(Answer::Json(api::preview(call.views, call.body()?)?))
}

pub(super) fn revert(call: &Call<'_>) -> Ordered {
    Ok(Answer::Json(api::revert_batch(call.views, call.body()?)?))
}

pub(super) fn reload_keys(call: &Call<'_>) -> Ordered {
    call.no_members()?;
    Ok(Answer::Json(api::reload_keys(call.views)?))
}

pub(super) fn back_up(call: &Call<'_>) -> Ordered {
    Ok(Answer::Json(api::back_up(call.views, call.body()?)?))
}
