//! Queries of requests: each parameter known, read once, and of its type.

use std::borrow::Cow;

use super::plan::PlanRequest;
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
    /// Whether bytes that were rolled back are tried once more.
    pub(super) is_again: bool,
    /// Whether the new version may take calls of another kind.
    pub(super) is_other_kind: bool,
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
            "fresh" => flag(name, value, &mut parsed.is_fresh),
            "again" => flag(name, value, &mut parsed.is_again),
            "as-other-kind" => flag(name, value, &mut parsed.is_other_kind),
            _ => Ok(false),
        })?;
        Ok(parsed)
    }
}

/// What `rollback` is told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RollbackQuery {
    /// The version to go back to; the one before when it is absent.
    pub(super) to: Option<GenerationNumber>,
    /// Whether the earlier version begins with nothing of the state of now.
    pub(super) is_fresh: bool,
}

impl RollbackQuery {
    /// # Errors
    ///
    /// A [`Problem`] that names the parameter.
    pub(super) fn parse(query: &str) -> Result<Self, Problem> {
        let mut parsed = Self::default();
        each(query, |name, value| match name {
            "to" => {
                let number: u64 =
                    value.parse().map_err(|_| unexpected(name, "a version's number", value))?;
                parsed.to = Some(GenerationNumber::new(number));
                Ok(true)
            }
            "fresh" => flag(name, value, &mut parsed.is_fresh),
            _ => Ok(false),
        })?;
        Ok(parsed)
    }
}

/// The options of a `PUT /v1/plan` request, from its query string.
///
/// # Errors
///
/// A [`Problem`] that names the parameter.
pub(super) fn plan(query: &str) -> Result<PlanRequest, Problem> {
    let mut request = PlanRequest::default();
    each(query, |name, value| match name {
        "dry-run" => flag(name, value, &mut request.is_dry),
        "again" => flag(name, value, &mut request.is_again),
        _ => Ok(false),
    })?;
    Ok(request)
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

/// Reads a parameter that is there or not, or says it in words.
fn flag(name: &str, value: &str, is_set: &mut bool) -> Result<bool, Problem> {
    *is_set = match value {
        "true" | "" => true,
        "false" => false,
        _ => return Err(unexpected(name, "`true` or `false`", value)),
    };
    Ok(true)
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
        let cause = Some("a new one!".to_owned());
        assert_eq!(query, SwapQuery { cause, is_fresh: true, ..SwapQuery::default() });
        let query = SwapQuery::parse("again&as-other-kind=true").unwrap();
        assert!(query.is_again && query.is_other_kind && !query.is_fresh);
        assert_eq!(SwapQuery::parse("").unwrap(), SwapQuery::default());
        assert_eq!(SwapQuery::parse("cause=+&fresh=false").unwrap(), SwapQuery::default());
        assert!(SwapQuery::parse("fresh").unwrap().is_fresh);
        let to = Some(GenerationNumber::new(7));
        let query = RollbackQuery::parse("to=7&fresh").unwrap();
        assert_eq!(query, RollbackQuery { to, is_fresh: true });
        assert_eq!(RollbackQuery::parse("").unwrap(), RollbackQuery::default());
        assert!(nothing("").is_ok());
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let long = format!("cause={}", "x".repeat(MAX_CAUSE + 1));
        for query in ["clause=x", "cause=a&cause=b", "fresh=yes", long.as_str()] {
            assert!(SwapQuery::parse(query).is_err(), "{query}");
        }
        for query in ["to=-1", "to=x", "to=", "form=1", "fresh=1", "again"] {
            assert!(RollbackQuery::parse(query).is_err(), "{query}");
        }
        assert!(nothing("x=1").is_err());
    }
}
