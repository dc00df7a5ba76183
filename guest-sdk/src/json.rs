//! JSON as an argument and as an answer.

use crate::{Error, IntoResponse, Response, Result};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A value that travels as JSON.
///
/// As an argument it is read from the body of the request or the data of the event, and what is
/// not the JSON of a `T` is answered with 400, or rejected. As an answer it becomes the body.
///
/// ```
/// use wrt_guest::Json;
///
/// fn double(Json(numbers): Json<Vec<i64>>) -> Json<Vec<i64>> {
///     Json(numbers.into_iter().map(|number| number * 2).collect())
/// }
/// # let _ = double;
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Result<Response> {
        let mut response = Response::new(serde_json::to_vec(&self.0)?.into());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(response)
    }
}

/// Reads JSON that came from outside; `what` names it in the error.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| {
        Error::rejected(if bytes.is_empty() {
            format!("{what} is empty, expected JSON")
        } else {
            format!("{what} is not the expected JSON: {error}")
        })
    })
}
