//! Tariffs: where they are assigned, their week, and what a session would cost.

use super::super::path::segment;
use super::super::problem::Problem;
use super::view::{decimal, object, plain};
use super::{Page, Visit, charts};
use minijinja::{Value, context};
use rust_decimal::Decimal;

pub(super) fn list(visit: &Visit<'_>) -> Result<Page, Problem> {
    let tariffs = visit.document("tariffs")?;
    Ok(Page::new("Tariffs", "tariffs.html").with("items", plain(&tariffs["items"])))
}

pub(super) fn one(visit: &Visit<'_>) -> Result<Page, Problem> {
    let id = visit.name("id");
    let tariff = visit.document(&format!("tariffs/{}", segment(id)))?;
    let currency = tariff["currency"].as_str().unwrap_or_default();
    let mut hours = Vec::new();
    for hour in tariff["week"].as_array().into_iter().flatten() {
        let number = |name: &str| hour[name].as_u64().and_then(|number| usize::try_from(number).ok()).unwrap_or(0);
        let price = hour["price"].as_str().map(decimal);
        hours.push(charts::Hour { day: number("day"), hour: number("hour"), price });
    }
    let mut asked: Vec<(&str, &str)> = Vec::new();
    for name in ["start", "kwh", "minutes", "idle_minutes"] {
        asked.extend(visit.parameter(name).map(|value| (name, value)));
    }
    let page = Page::new(id, "tariff.html")
        .with("tariff", plain(&tariff))
        .with("week", charts::safe(charts::heat("Price of energy by hour of the week", &hours, currency)))
        .with("stretches", stretches(&hours))
        .with("asked", object(asked.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value)))));
    if !asked.iter().any(|(name, _)| *name == "kwh") {
        return Ok(page);
    }
    match visit.document_with(&format!("tariffs/{}/price", segment(id)), &asked) {
        Ok(price) => {
            let mut steps: Vec<(String, Decimal)> = Vec::new();
            for line in price["lines"].as_array().into_iter().flatten() {
                let text = |name: &str| line[name].as_str().unwrap_or_default();
                steps.push((text("dimension").replace('_', " ").to_lowercase(), decimal(text("gross"))));
            }
            let payable = decimal(price["payable"].as_str().unwrap_or_default());
            let gross = decimal(price["gross"].as_str().unwrap_or_default());
            let rounding = payable.checked_sub(gross).unwrap_or_default();
            if !rounding.is_zero() {
                steps.push(("rounded once".to_owned(), rounding));
            }
            let chart = charts::waterfall("Price by component, with VAT", &steps, payable, currency);
            Ok(page.with("price", plain(&price)).with("waterfall", charts::safe(chart)))
        }
        Err(problem) if problem.status == 400 => {
            let page = page.with("wrong", problem.message);
            Ok(Page { status: 400, ..page })
        }
        Err(problem) => Err(problem),
    }
}

/// The week as a table: hours with the same price behind each other are one row.
fn stretches(hours: &[charts::Hour]) -> Vec<Value> {
    const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
    let mut rows: Vec<(usize, usize, usize, Option<Decimal>)> = Vec::new();
    for hour in hours.iter().filter(|hour| hour.day < DAYS.len()) {
        match rows.last_mut() {
            Some((day, _, until, price)) if *day == hour.day && *until == hour.hour && *price == hour.price => {
                *until += 1
            }
            _ => rows.push((hour.day, hour.hour, hour.hour + 1, hour.price)),
        }
    }
    let shown = rows.into_iter().map(|(day, from, until, price)| {
        let price = price.map(|price| price.normalize().to_string());
        context! { day => DAYS[day], from => format!("{from:02}:00"), until => format!("{until:02}:00"), price }
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_of_one_price_are_one_row() {
        let hour = |day, hour, price: i64| charts::Hour { day, hour, price: Some(Decimal::new(price, 2)) };
        let rows = stretches(&[hour(0, 0, 30), hour(0, 1, 30), hour(0, 2, 50), hour(1, 0, 50)]);
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[0].get_attr("until").unwrap().to_string(), "02:00");
    }
}
