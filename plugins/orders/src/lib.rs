//! Confirms orders: an event with an order in, an event with its total out.

use serde::{Deserialize, Serialize};
use wrt_guest::{Error, Event, Json, Result, log};

#[derive(Deserialize)]
struct Order {
    number: u64,
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    quantity: u32,
    /// In the smallest unit of the currency.
    price: u64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Confirmation {
    number: u64,
    total: u64,
}

#[wrt_guest::event]
fn handle(event: Event, Json(order): Json<Order>) -> Result<Option<Event>> {
    if event.ty != "order.created" {
        return Ok(None);
    }
    if order.items.is_empty() {
        return Err(Error::rejected(format!("order {} has no items", order.number)));
    }
    let total = total(&order).ok_or_else(|| Error::rejected("order total is too large"))?;
    log::info!("order {} confirmed", order.number);
    let answer = Event::new(format!("{}-confirmed", event.id), "/orders", "order.confirmed")
        .with_subject(order.number.to_string())
        .with_json(&Confirmation { number: order.number, total })?;
    Ok(Some(answer))
}

/// `None` if it does not fit, because a wrong total is worse than none.
fn total(order: &Order) -> Option<u64> {
    order
        .items
        .iter()
        .try_fold(0_u64, |sum, item| sum.checked_add(item.price.checked_mul(item.quantity.into())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wrt_guest::testing::FakeHost;

    fn created(data: &str) -> Event {
        Event::new("1", "/shop", "order.created").with_data("application/json", data)
    }

    #[test]
    fn order_is_confirmed_with_its_total() {
        let order = r#"{"number": 7, "items": [{"quantity": 2, "price": 150}, {"quantity": 1, "price": 5}]}"#;
        let host = FakeHost::new();
        let answer = host.send(handle, created(order)).unwrap().unwrap();
        assert_eq!((answer.ty.as_str(), answer.subject.as_deref()), ("order.confirmed", Some("7")));
        assert_eq!(answer.json::<Confirmation>().unwrap(), Confirmation { number: 7, total: 305 });
        assert_eq!(host.logs()[0].message, "order 7 confirmed");
    }

    #[test]
    fn bad_orders_are_rejected() {
        let huge =
            format!(r#"{{"number": 7, "items": [{{"quantity": 2, "price": {}}}]}}"#, u64::MAX);
        for order in ["[]", r#"{"number": 7, "items": []}"#, &huge] {
            let error = FakeHost::new().send(handle, created(order)).unwrap_err();
            assert!(error.status().is_some(), "{order}: {error}");
        }
    }

    #[test]
    fn other_events_have_no_answer() {
        let mut event = created(r#"{"number": 7, "items": []}"#);
        event.ty = "order.shipped".into();
        assert_eq!(FakeHost::new().send(handle, event).unwrap(), None);
    }
}
