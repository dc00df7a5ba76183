//! The routing table: request path to handler. Immutable; replaced whole when handlers change.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::Handler;
use crate::config::{Binding, Route};
use crate::id::HandlerName;

/// Handlers by route. A lookup costs a step for each segment of the path, however many there are.
#[derive(Debug)]
pub(crate) struct RouteTable<R> {
    exact: HashMap<Box<str>, Arc<Handler<R>>>,
    /// By prefix, without the `/` that a longer path goes on with.
    below: HashMap<Box<str>, Arc<Handler<R>>>,
    /// Bytes of the longest prefix: beyond it a path is not looked at.
    longest: usize,
}

/// Two handlers want one route, or one name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// Two handlers would answer the same paths.
    #[error("handlers `{first}` and `{second}` both have the route `{route}`")]
    SameRoute {
        /// The handler that has it.
        first: HandlerName,
        /// The one that wants it.
        second: HandlerName,
        /// The route.
        route: Route,
    },
    /// Two handlers have one name.
    #[error("there is a handler named `{name}` already")]
    SameName {
        /// The name.
        name: HandlerName,
    },
}

impl<R> RouteTable<R> {
    pub(crate) fn empty() -> Self {
        Self { exact: HashMap::new(), below: HashMap::new(), longest: 0 }
    }

    /// The table of `handlers`, each with what it is bound to.
    ///
    /// # Errors
    ///
    /// [`TableError::SameRoute`] when two want one route.
    pub(crate) fn of<'a>(
        handlers: impl IntoIterator<Item = (&'a Arc<Handler<R>>, &'a Binding)>,
    ) -> Result<Self, TableError>
    where
        R: 'a,
    {
        let mut table = Self::empty();
        for (handler, binding) in handlers {
            table.add(handler, binding)?;
        }
        Ok(table)
    }

    /// This table with `handlers` added. A handler without a route is called by name only.
    ///
    /// # Errors
    ///
    /// [`TableError::SameRoute`] when the route of one is taken.
    pub(crate) fn with<'a>(
        &self,
        handlers: impl IntoIterator<Item = &'a Arc<Handler<R>>>,
    ) -> Result<Self, TableError>
    where
        R: 'a,
    {
        let (exact, below) = (self.exact.clone(), self.below.clone());
        let mut table = Self { exact, below, longest: self.longest };
        for handler in handlers {
            table.add(handler, &handler.binding())?;
        }
        Ok(table)
    }

    fn add(&mut self, handler: &Arc<Handler<R>>, binding: &Binding) -> Result<(), TableError> {
        let Some(route) = &binding.route else { return Ok(()) };
        let (path, is_below) = route.parts();
        let routes = if is_below { &mut self.below } else { &mut self.exact };
        match routes.entry(path.into()) {
            Entry::Vacant(place) => drop(place.insert(Arc::clone(handler))),
            Entry::Occupied(taken) => {
                return Err(TableError::SameRoute {
                    first: taken.get().name().clone(),
                    second: handler.name().clone(),
                    route: route.clone(),
                });
            }
        }
        self.longest = self.longest.max(path.len());
        Ok(())
    }

    /// This table without the handler called `name`.
    pub(crate) fn without(&self, name: &HandlerName) -> Self {
        let without = |routes: &HashMap<Box<str>, Arc<Handler<R>>>| {
            let keep = routes.iter().filter(|(_, handler)| handler.name() != name);
            keep.map(|(path, handler)| (path.clone(), Arc::clone(handler))).collect()
        };
        let (exact, below) = (without(&self.exact), without(&self.below));
        Self { exact, below, longest: self.longest }
    }

    /// The handler for `path`: the exact route, or else the longest prefix.
    pub(crate) fn find(&self, path: &str) -> Option<&Arc<Handler<R>>> {
        if path.len() <= self.longest
            && let Some(handler) = self.exact.get(path)
        {
            return Some(handler);
        }
        let mut prefix = path;
        loop {
            if prefix.len() <= self.longest
                && let Some(handler) = self.below.get(prefix)
            {
                return Some(handler);
            }
            prefix = &prefix[..prefix.rfind('/')?];
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::HandlerConfig;
    use crate::handler::Everywhere;

    fn table(entries: &[(&str, &str)]) -> Result<RouteTable<()>, TableError> {
        entries.iter().try_fold(RouteTable::empty(), |table, (name, route)| {
            let config = HandlerConfig::new(HandlerName::new(name).unwrap())
                .with_route(Route::parse(route).unwrap())
                .with_timeout(Duration::from_secs(1));
            let everywhere = Everywhere::new(1);
            table.with([&Arc::new(Handler::new(config, everywhere, Duration::ZERO))])
        })
    }

    #[test]
    fn the_most_specific_route_wins_in_any_order_of_registration() {
        let entries = [("all", "/"), ("exact", "/a/b"), ("deep", "/a/b/*"), ("wide", "/a/*")];
        let mut reversed = entries;
        reversed.reverse();
        for entries in [entries, reversed] {
            let table = table(&entries).unwrap();
            for (path, expected) in [
                ("/", "all"),
                ("/a", "wide"),
                ("/a/b", "exact"),
                ("/a/b/c", "deep"),
                ("/ab", "all"),
                ("/a/", "wide"),
                ("/a/b/", "deep"),
                ("/some/path/longer/than/any/route", "all"),
            ] {
                let found = table.find(path).map(|handler| handler.name().as_str());
                assert_eq!(found, Some(expected), "for {path}");
            }
        }
    }

    #[test]
    fn only_its_own_paths_reach_a_handler() {
        let table = table(&[("exact", "/a"), ("deep", "/b/c/*")]).unwrap();
        for path in ["/", "/a/", "/a/b", "/b", "/b/cd", "a"] {
            assert!(table.find(path).is_none(), "for {path}");
        }
    }

    #[test]
    fn a_route_belongs_to_one_handler_and_is_free_when_that_is_gone() {
        let error = table(&[("one", "/a"), ("two", "/a")]).unwrap_err();
        assert_eq!(error.to_string(), "handlers `one` and `two` both have the route `/a`");
        let table = table(&[("one", "/a")]).unwrap();
        assert!(table.without(&HandlerName::new("one").unwrap()).find("/a").is_none());
    }
}
