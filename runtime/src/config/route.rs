//! Which request paths reach a handler, and which of two routes wins.

use std::cmp::Reverse;
use std::fmt;
use std::str::FromStr;

/// A pattern over request paths.
///
/// - `/orders` is that path and no other;
/// - `/hello/*` is `/hello` and every path below it;
/// - `/` and `/*` both are every path: a page at the root is wanted together with what it links to.
///
/// Paths are compared as they are sent, percent-encoding included. Routes order by precedence:
/// exact ones first, then prefixes from long to short, so the first match in a sorted list of
/// different routes is the right one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Route {
    /// The exact path, or the prefix without `/*`; empty for every path.
    path: String,
    below: bool,
}

/// A string that is not a [`Route`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a route such as `/orders`, `/hello/*` or `/`, found `{}`: {problem}", .found.escape_debug())]
pub struct InvalidRoute {
    found: String,
    problem: &'static str,
}

impl Route {
    /// The route of every path: `/`.
    #[must_use]
    pub fn everything() -> Self {
        Self { path: String::new(), below: true }
    }

    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// [`InvalidRoute`] when it does not start with `/`, has a `*` anywhere but as its last
    /// segment, or could not match any path that a client sends.
    pub fn parse(text: &str) -> Result<Self, InvalidRoute> {
        let refuse = |problem| Err(InvalidRoute { found: text.to_owned(), problem });
        if !text.starts_with('/') {
            return refuse("it has to start with `/`");
        }
        if text == "/" {
            return Ok(Self::everything());
        }
        let (path, below) = match text.strip_suffix("/*") {
            Some(path) => (path, true),
            None => (text, false),
        };
        if path.contains('*') {
            return refuse("`*` may only stand at the end, as `/*`");
        }
        if path.contains(['?', '#']) {
            return refuse("a query or fragment is not part of a path");
        }
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return refuse("white space and letters beyond ASCII have to be percent-encoded");
        }
        if path.contains("//") || (below && path.ends_with('/')) {
            return refuse("it has an empty segment");
        }
        if path.split('/').any(|segment| segment == "." || segment == "..") {
            return refuse("clients resolve `.` and `..` before they send a path");
        }
        Ok(Self { path: path.to_owned(), below })
    }

    /// Whether `path`, as sent and without a query, is one of those described.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        match path.strip_prefix(self.path.as_str()) {
            Some("") => true,
            Some(rest) => self.below && rest.starts_with('/'),
            None => false,
        }
    }

    /// Whether precedence cannot decide between the two, because they describe the same paths.
    #[must_use]
    pub fn conflicts_with(&self, other: &Self) -> bool {
        self == other
    }

    /// The path, or with `true` the prefix of every path; empty for every path.
    pub(crate) fn parts(&self) -> (&str, bool) {
        (&self.path, self.below)
    }
}

impl Ord for Route {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let key = |route: &Self| (route.below, Reverse(route.path.len()));
        key(self).cmp(&key(other)).then_with(|| self.path.cmp(&other.path))
    }
}

impl PartialOrd for Route {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl FromStr for Route {
    type Err = InvalidRoute;

    fn from_str(text: &str) -> Result<Self, InvalidRoute> {
        Self::parse(text)
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.path, if self.below { "/*" } else { "" })
    }
}
