//! Queries of requests: each parameter known, read once, and of its type.

use std::borrow::Cow;

use super::problem::Problem;
use crate::id::GenerationNumber;

/// Longest cause in bytes: it is a line in a terminal and in each history.
const MAX_CAUSE: usize = 300;

/// What `swap` is told beside the component.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SwapQuery {
    pub(super) cause: Option<String>,
    /// Whether the new version begins with nothing of the old one's state.
    pub(super) is_fresh: bool,
}

impl SwapQuery {
    /// # Errors
    ///
    /// A [`Problem`] that names the parameter.
    pub(super) fn parse(query: &str) -> Result<Self, Problem> {
        let mut parsed = Self::default();
        each(query, |name, value| match name {
            "cause" if value.len() > MAX_CAUSE => Err(Problem::bad_query(format!(
                "expected at most {MAX_CAUSE} bytes in `cause`, found {}",
                value.len()
            ))),
            "cause" => {
                parsed.cause = Some(value.to_owned()).filter(|cause| !cause.trim().is_empty());
                Ok(true)
            }
            "fresh" => {
                parsed.is_fresh = match value {
                    "true" | "" => true,
                    "false" => false,
                    _ => return Err(unexpected(name, "`true` or `false`", value)),
                };
                Ok(true)
            }
            _ => Ok(false),
        })?;
        Ok(parsed)
    }
}

/// The version that `rollback` is told to go back to, if it is told.
///
/// # Errors
///
/// A [`Problem`] that names the parameter.
pub(super) fn version(query: &str) -> Result<Option<GenerationNumber>, Problem> {
    let mut version = None;
    each(query, |name, value| {
        if name != "to" {
            return Ok(false);
        }
        let number: u64 =
            value.parse().map_err(|_| unexpected(name, "a version's number", value))?;
        version = Some(GenerationNumber::new(number));
        Ok(true)
    })?;
    Ok(version)
}

/// Refuses every parameter, for what takes none.
///
/// # Errors
///
/// A [`Problem`] that names the parameter.
pub(super) fn nothing(query: &str) -> Result<(), Problem> {
    each(query, |_, _| Ok(false))
}

/// Gives each parameter of `query` to `take`, which says whether it knows it.
fn each(
    query: &str,
    mut take: impl FnMut(&str, &str) -> Result<bool, Problem>,
) -> Result<(), Problem> {
    let mut seen: Vec<Cow<'_, str>> = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if seen.contains(&name) {
            let detail = format!("`{}` is there more than once", name.escape_debug());
            return Err(Problem::bad_query(detail));
        }
        if !take(&name, &value)? {
            return Err(Problem::bad_query(format!("unknown parameter `{}`", name.escape_debug())));
        }
        seen.push(name);
    }
    Ok(())
}

fn unexpected(name: &str, expected: &str, found: &str) -> Problem {
    let found: String = found.escape_debug().take(80).collect();
    Problem::bad_query(format!("expected {expected} in `{name}`, found `{found}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_decoded() {
        let query = SwapQuery::parse("cause=a%20new+one%21&fresh=true").unwrap();
        assert_eq!(query, SwapQuery { cause: Some("a new one!".to_owned()), is_fresh: true });
        assert_eq!(SwapQuery::parse("").unwrap(), SwapQuery::default());
        assert_eq!(SwapQuery::parse("cause=+&fresh=false").unwrap(), SwapQuery::default());
        assert!(SwapQuery::parse("fresh").unwrap().is_fresh);
        assert_eq!(version("to=7").unwrap(), Some(GenerationNumber::new(7)));
        assert_eq!(version("").unwrap(), None);
        assert!(nothing("").is_ok());
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let long = format!("cause={}", "x".repeat(MAX_CAUSE + 1));
        for query in ["clause=x", "cause=a&cause=b", "fresh=yes", long.as_str()] {
            assert!(SwapQuery::parse(query).is_err(), "{query}");
        }
        for query in ["to=-1", "to=x", "to=", "form=1"] {
            assert!(version(query).is_err(), "{query}");
        }
        assert!(nothing("x=1").is_err());
    }
}
