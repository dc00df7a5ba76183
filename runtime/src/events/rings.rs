//! The last events of each class, bounded in number and bytes; whoever tells much displaces its own.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::{Class, Event};
use crate::id::HandlerName;

/// Events of one class that are kept: several seconds of a swap storm, or hours of calm.
pub(crate) const MAX_EVENTS: usize = 1024;

/// Bytes of the events of one class that are kept. Half of what [`MAX_EVENTS`] events with the
/// longest text of a guest take, since few events are that long.
pub(crate) const MAX_BYTES: usize = 4 * 1024 * 1024;

/// An event and its number.
pub(crate) type Numbered = (u64, Arc<Event>);

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Rings([Ring; Class::ALL.len()]);

/// The events of one class, in the order of their numbers.
#[derive(Debug, Default)]
struct Ring {
    events: VecDeque<Numbered>,
    /// How many of them are whose.
    owners: BTreeMap<Option<HandlerName>, usize>,
    bytes: usize,
}

impl Rings {
    /// Keeps `event`, whose number is greater than all before. Returns how many events of its class
    /// had to go for it.
    pub(crate) fn push(&mut self, number: u64, event: Arc<Event>) -> u64 {
        let ring = &mut self.0[event.class() as usize];
        ring.push(number, event);
        let mut displaced = 0;
        while ring.events.len() > MAX_EVENTS || (ring.bytes > MAX_BYTES && ring.events.len() > 1) {
            ring.displace();
            displaced += 1;
        }
        displaced
    }

    /// Takes the event with the smallest number.
    pub(crate) fn pop(&mut self) -> Option<Numbered> {
        let first = |ring: &Ring| ring.events.front().map(|(number, _)| *number);
        let ring = self.0.iter_mut().min_by_key(|ring| first(ring).unwrap_or(u64::MAX))?;
        ring.remove(0)
    }

    /// At most `limit` events whose numbers are greater than `seen`, in order.
    #[cfg(any(feature = "admin", test))]
    pub(crate) fn after(&self, seen: u64, limit: usize) -> Vec<Numbered> {
        let unseen = |ring: &Ring| {
            let start = ring.events.partition_point(|(number, _)| *number <= seen);
            ring.events.range(start..).take(limit).cloned().collect::<Vec<_>>()
        };
        let mut found: Vec<_> = self.0.iter().flat_map(unseen).collect();
        found.sort_unstable_by_key(|(number, _)| *number);
        found.truncate(limit);
        found
    }
}

impl Ring {
    fn push(&mut self, number: u64, event: Arc<Event>) {
        self.bytes += event.bytes();
        match self.owners.get_mut(&event.handler) {
            Some(count) => *count += 1,
            None => drop(self.owners.insert(event.handler.clone(), 1)),
        }
        self.events.push_back((number, event));
    }

    /// Lets the oldest event go of the handler that has the most; the one that came last stays.
    fn displace(&mut self) {
        let owner = self.owners.iter().max_by_key(|(_, count)| **count).map(|(owner, _)| owner);
        let Some(owner) = owner else { return };
        let all_but_last = self.events.len().saturating_sub(1);
        let mut before = self.events.range(..all_but_last);
        let oldest = before.position(|(_, event)| event.handler == *owner);
        self.remove(oldest.unwrap_or(0));
    }

    fn remove(&mut self, at: usize) -> Option<Numbered> {
        let (number, event) = self.events.remove(at)?;
        self.bytes -= event.bytes();
        if let Some(count) = self.owners.get_mut(&event.handler) {
            *count -= 1;
            if *count == 0 {
                self.owners.remove(&event.handler);
            }
        }
        Some((number, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::tests::{event, failed, log};

    fn numbers(rings: &Rings) -> Vec<u64> {
        rings.after(0, usize::MAX).iter().map(|(number, _)| *number).collect()
    }

    #[test]
    fn events_of_one_class_displace_none_of_another() {
        let mut rings = Rings::default();
        rings.push(1, event("a", crate::events::EventKind::Building));
        rings.push(2, failed("a", "x"));
        let displaced: u64 = (3..5000).map(|number| rings.push(number, log("b", "x"))).sum();
        assert_eq!(displaced as usize, 4997 - MAX_EVENTS);
        let left = numbers(&rings);
        assert_eq!((left.len(), &left[..3]), (MAX_EVENTS + 2, &[1, 2, 5000 - 1024][..]));
        assert_eq!(rings.pop().map(|(number, _)| number), Some(1));
        assert_eq!(rings.pop().map(|(number, _)| number), Some(2));
    }

    #[test]
    fn the_failures_of_one_handler_displace_none_of_another() {
        let mut rings = Rings::default();
        for number in 0..50 {
            rings.push(number, failed("quiet", "x"));
        }
        for number in 50..9000 {
            rings.push(number, failed("loud", "x"));
        }
        let left = rings.after(0, usize::MAX);
        let quiet =
            left.iter().filter(|(_, event)| event.handler.as_ref().unwrap().as_str() == "quiet");
        assert_eq!((quiet.count(), left.len()), (49, MAX_EVENTS - 1), "number 0 was seen");
    }

    #[test]
    fn long_events_are_bounded_in_bytes_and_the_last_one_stays() {
        let mut rings = Rings::default();
        let long = "x".repeat(1024 * 1024);
        for number in 1..100 {
            rings.push(number, failed("a", &long));
        }
        assert_eq!(numbers(&rings), [97, 98, 99]);
        rings.push(100, failed("b", &"x".repeat(2 * MAX_BYTES)));
        assert_eq!(numbers(&rings), [100]);
        assert!(rings.pop().is_some() && rings.pop().is_none());
        assert_eq!(rings.0.iter().map(|ring| ring.bytes).sum::<usize>(), 0);
    }

    #[test]
    fn what_was_not_seen_comes_in_order_and_in_parts() {
        let mut rings = Rings::default();
        for number in 1..=6 {
            let is_log = number % 2 == 0;
            rings.push(number, if is_log { log("a", "x") } else { failed("a", "x") });
        }
        let after =
            |seen, limit| rings.after(seen, limit).iter().map(|it| it.0).collect::<Vec<_>>();
        assert_eq!(after(2, 3), [3, 4, 5]);
        assert_eq!(after(5, 3), [6]);
        assert!(after(6, 3).is_empty());
    }
}
