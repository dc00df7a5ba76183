//! The error of a handler: any error at all, and what the caller is told about it.

use http::StatusCode;
use std::error::Error as StdError;
use std::fmt;

/// Shorthand for results whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a handler gave no answer.
///
/// Every error converts into it with `?`, also text and `anyhow::Error`. Such an error is the
/// handler's own failure: the host records it whole, and the client is told 500 and no details.
/// An error made by [`Error::with_status`] is an answer, and its text goes to the client.
///
/// ```
/// use wrt_guest::{Error, Result, StatusCode};
///
/// fn page(number: &str) -> Result<u32> {
///     let number: u32 = number.parse().map_err(Error::rejected)?;
///     if number > 9 {
///         return Err(Error::with_status(StatusCode::NOT_FOUND, "there are nine pages"));
///     }
///     Ok(number)
/// }
///
/// assert_eq!(page("x").unwrap_err().status(), Some(StatusCode::BAD_REQUEST));
/// assert_eq!(page("10").unwrap_err().to_string(), "there are nine pages");
/// ```
pub struct Error {
    status: Option<StatusCode>,
    inner: Box<dyn StdError + Send + Sync>,
}

impl Error {
    /// An error that the client is told: its status, and the text of `error` without its causes.
    pub fn with_status(
        status: StatusCode,
        error: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self { status: Some(status), inner: error.into() }
    }

    /// What was sent is at fault: 400 over HTTP, and `rejected` for an event.
    pub fn rejected(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::with_status(StatusCode::BAD_REQUEST, error)
    }

    /// The status that the client is told, if this error was made for a client.
    pub fn status(&self) -> Option<StatusCode> {
        self.status
    }

    /// The error and its causes, outermost first, with `: ` between them.
    pub fn chain(&self) -> String {
        let mut text = self.inner.to_string();
        let mut cause = self.inner.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

/// Not `std::error::Error` itself, because then the conversion from every error could not exist.
impl<E: Into<Box<dyn StdError + Send + Sync>>> From<E> for Error {
    fn from(error: E) -> Self {
        Self { status: None, inner: error.into() }
    }
}

/// The error without its causes.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// The whole chain, because this is what a failed `unwrap` in a test prints.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(status) = self.status {
            write!(f, "{status}: ")?;
        }
        f.write_str(&self.chain())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Outer(std::num::ParseIntError);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("failed to read the page number")
        }
    }

    impl StdError for Outer {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            Some(&self.0)
        }
    }

    fn fail() -> Result<u32> {
        Ok("x".parse().map_err(Outer)?)
    }

    #[test]
    fn any_error_converts_and_keeps_its_causes() {
        let error = fail().unwrap_err();
        assert_eq!(error.status(), None);
        assert_eq!(error.to_string(), "failed to read the page number");
        assert_eq!(
            format!("{error:?}"),
            "failed to read the page number: invalid digit found in string"
        );
    }

    #[test]
    fn text_converts() {
        assert_eq!(Error::from("no").to_string(), "no");
        assert_eq!(Error::from(String::from("no")).to_string(), "no");
    }

    #[test]
    fn status_is_kept() {
        let error = Error::rejected("page 0 does not exist");
        assert_eq!(error.status(), Some(StatusCode::BAD_REQUEST));
        assert_eq!(format!("{error:?}"), "400 Bad Request: page 0 does not exist");
    }
}
