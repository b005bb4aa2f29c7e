//! Webhooks over the API: made, listed, tested, sent back, given another secret, removed.

use super::doors::Revoked;
use super::gives::{List, Sheet};
use super::paging::read_cursor;
use super::problem::Problem;
use super::request::{Call, NoMembers};
use super::webhooks::{WebhookRow, WebhookWish, Webhooks};
use crate::api::feed::Cursor;
use crate::units::shape::described;
use serde::{Deserialize, Serialize};

described! {
/// An endpoint after an order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WebhookOrdered {
    /// `wattstile.webhook/1`
    pub schema: String,
    /// The endpoint.
    #[serde(flatten)]
    pub row: WebhookRow,
}
}

described! {
/// The answer of an endpoint to a test.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WebhookTested {
    /// `wattstile.webhook-test/1`
    pub schema: String,
    /// The endpoint.
    pub id: String,
    /// HTTP's status of its answer.
    pub status: u16,
    /// Whether it took the message: a status from 200 to 299.
    pub taken: bool,
    /// How long the answer took, in milliseconds.
    pub took_ms: u64,
}
}

described! {
/// An endpoint is to go elsewhere in the feed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replaying {
    /// A cursor of an event, behind which it goes on; `oldest`: with the oldest event of the log; `now`: with the next one.
    pub from: String,
}
}

described! {
/// An endpoint gets another secret.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotating {
    /// `whsec_` and the base64 of 24 to 64 random bytes.
    pub secret: String,
}
}

fn webhooks<'a>(call: &Call<'a>) -> Result<&'a Webhooks, Problem> {
    call.over()?.webhooks.ok_or_else(|| Problem::new(409, "this gate keeps no data directory, and so no webhooks"))
}

fn ordered(row: WebhookRow) -> Sheet<WebhookOrdered> {
    Sheet(WebhookOrdered { schema: "wattstile.webhook/1".to_owned(), row })
}

pub(super) fn list(call: &Call<'_>) -> Result<List<WebhookRow>, Problem> {
    Ok(List { schema: "webhook-list/1", items: webhooks(call)?.rows(), next: None })
}

pub(super) fn create(call: &Call<'_>, wish: WebhookWish) -> Result<Sheet<WebhookOrdered>, Problem> {
    webhooks(call)?.create(&wish).map(ordered)
}

pub(super) fn test(call: &Call<'_>, NoMembers {}: NoMembers) -> Result<Sheet<WebhookTested>, Problem> {
    let id = call.text("id");
    let (status, took_ms) = webhooks(call)?.test(id)?;
    let taken = (200..300).contains(&status);
    let schema = "wattstile.webhook-test/1".to_owned();
    Ok(Sheet(WebhookTested { schema, id: id.to_owned(), status, taken, took_ms }))
}

pub(super) fn replay(call: &Call<'_>, wish: Replaying) -> Result<Sheet<WebhookOrdered>, Problem> {
    let from = match wish.from.as_str() {
        "oldest" => Cursor::BEGINNING,
        "now" => {
            let feed = call.views.feed().ok_or_else(|| Problem::new(409, "there is no feed of events"))?;
            feed.end()
        }
        text => read_cursor("events", text).ok_or_else(|| {
            Problem::usage("from: no cursor of an event; wanted one, or `oldest`, or `now`").about("from")
        })?,
    };
    webhooks(call)?.replay(call.text("id"), from).map(ordered)
}

pub(super) fn rotate(call: &Call<'_>, wish: Rotating) -> Result<Sheet<WebhookOrdered>, Problem> {
    webhooks(call)?.rotate(call.text("id"), &wish.secret).map(ordered)
}

pub(super) fn remove(call: &Call<'_>, NoMembers {}: NoMembers) -> Result<Sheet<Revoked>, Problem> {
    let id = call.text("id");
    webhooks(call)?.remove(id)?;
    Ok(Sheet(Revoked::of(id)))
}
