//! Ingress: accept → route → enter a generation → call → reply. The data plane's only reader of
//! the handlers; it works with their supervisors gone.

mod accept;
mod ahead;
mod authority;
mod batch;
mod body;
pub(crate) mod cloudevents;
mod content;
mod dispatch;
mod obstructed;
mod reply;
mod service;
mod target;
mod upload;

pub(crate) use accept::serve;
#[cfg(feature = "admin")]
pub(crate) use accept::{ConnectionCounts, Lack, Stranger, serve_strangers};
pub(crate) use ahead::budget as answers_budget;
pub use body::{Body, BodyError};
pub(crate) use dispatch::DataPlane;
pub use service::HttpService;
pub(crate) use upload::budget as uploads_budget;
