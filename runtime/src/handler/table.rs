//! The routing table: request path to handler. Immutable; replaced whole when handlers change.

use std::sync::Arc;

use super::Handler;
use crate::config::Route;
use crate::id::HandlerName;

/// Handlers by route and by name, in order of precedence.
#[derive(Debug)]
pub(crate) struct RouteTable<R> {
    /// Most specific route first, so that the first match is the right one.
    routes: Vec<(Route, Arc<Handler<R>>)>,
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
        Self { routes: Vec::new() }
    }

    /// This table with `handler` added. A handler without a route is called by name only.
    ///
    /// # Errors
    ///
    /// [`TableError::SameRoute`] when its route is taken.
    pub(crate) fn with(&self, handler: Arc<Handler<R>>) -> Result<Self, TableError> {
        let mut routes = self.routes.clone();
        let Some(route) = handler.config().route.clone() else { return Ok(Self { routes }) };
        if let Some((route, taken)) = routes.iter().find(|(it, _)| it.conflicts_with(&route)) {
            return Err(TableError::SameRoute {
                first: taken.name().clone(),
                second: handler.name().clone(),
                route: route.clone(),
            });
        }
        let place = routes.partition_point(|(it, _)| *it < route);
        routes.insert(place, (route, handler));
        Ok(Self { routes })
    }

    /// This table without the handler called `name`.
    pub(crate) fn without(&self, name: &HandlerName) -> Self {
        let keep = self.routes.iter().filter(|(_, handler)| handler.name() != name);
        Self { routes: keep.cloned().collect() }
    }

    /// The handler for `path`.
    pub(crate) fn find(&self, path: &str) -> Option<&Arc<Handler<R>>> {
        self.routes.iter().find(|(route, _)| route.matches(path)).map(|(_, handler)| handler)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::Semaphore;

    use super::*;
    use crate::config::HandlerConfig;

    fn table(entries: &[(&str, &str)]) -> Result<RouteTable<()>, TableError> {
        entries.iter().try_fold(RouteTable::empty(), |table, (name, route)| {
            let config = HandlerConfig::new(HandlerName::new(name).unwrap())
                .with_route(Route::parse(route).unwrap())
                .with_timeout(Duration::from_secs(1));
            table.with(Arc::new(Handler::new(config, Arc::new(Semaphore::new(1)), Duration::ZERO)))
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
            ] {
                let found = table.find(path).map(|handler| handler.name().as_str());
                assert_eq!(found, Some(expected), "for {path}");
            }
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
