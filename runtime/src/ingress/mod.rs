//! Ingress: accept → route → enter a generation → call → reply. The data plane's only reader of
//! the handlers; it works with their supervisors gone.

mod accept;
mod authority;
mod body;
pub(crate) mod cloudevents;
mod dispatch;
mod reply;
mod service;

pub(crate) use accept::serve;
#[cfg(feature = "admin")]
pub(crate) use accept::serve_tower;
pub use body::{Body, BodyError};
pub(crate) use dispatch::DataPlane;
pub use service::HttpService;
