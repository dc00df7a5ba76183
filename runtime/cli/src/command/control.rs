//! The control plane of `wrt dev` and `wrt serve`: bound, served, and announced to the user.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use wrt::Runtime;
use wrt::admin::{self, AdminConfig, Token};

use super::bind::bind;
use super::replan::Asker;
use super::state::HostFile;
use crate::diagnostics::Report;
use crate::output::Output;
use crate::settings::AdminSettings;

/// How it turned out. Dropping it ends the control plane and removes its token.
pub(super) enum Control {
    /// Nobody wants one.
    Off,
    /// It was not to be had, and nobody had asked for it.
    Without(anyhow::Error),
    Serving(Serving),
}

pub(super) struct Serving {
    address: SocketAddr,
    serving: JoinHandle<()>,
    _file: HostFile,
}

impl Control {
    /// Starts what `settings` want, and leaves its token in `state_dir`.
    ///
    /// # Errors
    ///
    /// When it was asked for and cannot be had.
    pub(super) async fn start(
        settings: &AdminSettings,
        state_dir: Option<&Path>,
        runtime: &Runtime,
        planner: Asker,
    ) -> anyhow::Result<Self> {
        let (address, is_asked_for) = match settings {
            AdminSettings::Off => return Ok(Self::Off),
            AdminSettings::IfFree(address) => (address, false),
            AdminSettings::At(address) => (address, true),
        };
        let started = match bind(address, "--admin").await {
            Ok(listener) => Serving::start(listener, state_dir, runtime, planner),
            Err(error) => Err(error.into()),
        };
        match started {
            Ok(serving) => Ok(Self::Serving(serving)),
            Err(error) if is_asked_for => Err(error),
            Err(error) => Ok(Self::Without(error)),
        }
    }

    /// Says where it is, or why it is not.
    pub(super) fn introduce(&self, output: &mut Output) {
        match self {
            Self::Off => {}
            Self::Without(error) => {
                let (warning, hints) = absence(error);
                output.warn(&warning, &hints);
            }
            Self::Serving(Serving { address, .. }) => {
                output.say(&format!("control plane on http://{address}"));
                if !address.ip().is_loopback() {
                    let warning = "the control plane is open to the network, unencrypted: whoever \
                                   has or reads its token can replace what runs here";
                    let hint = "pass `--admin 127.0.0.1:3001` and reach it over a tunnel";
                    output.warn(warning, &[hint.to_owned()]);
                }
            }
        }
    }
}

/// What is said when there is none because of `error`.
fn absence(error: &anyhow::Error) -> (String, Vec<String>) {
    let Report { message, causes, mut hints, .. } = Report::of(error);
    let why = std::iter::once(message).chain(causes).collect::<Vec<_>>().join(": ");
    hints.push("pass `--admin off` to do without it".to_owned());
    (format!("there is no control plane: {why}"), hints)
}

impl Serving {
    fn start(
        listener: TcpListener,
        state_dir: Option<&Path>,
        runtime: &Runtime,
        planner: Asker,
    ) -> anyhow::Result<Self> {
        let address = listener.local_addr().context("failed to read the address")?;
        let token = Token::generate()?;
        let nowhere = || io::Error::other("neither `HOME` nor `XDG_STATE_HOME` is set");
        let file = state_dir
            .ok_or_else(nowhere)
            .and_then(|dir| HostFile::write(dir, address, token.as_str()))
            .context("failed to leave the token of the control plane in the state directory")?;
        let config = AdminConfig::new(token).bound_to(address).with_planner(Arc::new(planner));
        let router = admin::router(runtime.clone(), config);
        // Ended by the drop below, when nothing is left to be controlled.
        let serving = tokio::spawn(async move {
            admin::serve(listener, router, std::future::pending()).await;
        });
        Ok(Self { address, serving, _file: file })
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[cfg(test)]
mod tests {
    use wrt::RuntimeConfig;
    use wrt::config::ListenAddress;

    use super::*;

    #[tokio::test]
    async fn usual_address_that_is_taken_is_done_without_and_one_asked_for_is_an_error() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let text = taken.local_addr().unwrap().to_string();
        let address = ListenAddress::parse(&text).unwrap();
        let (runtime, temp) =
            (Runtime::new(RuntimeConfig::default()).unwrap(), tempfile::tempdir());
        let (temp, usual) = (temp.unwrap(), AdminSettings::IfFree(address.clone()));
        let Ok(Control::Without(error)) =
            Control::start(&usual, Some(temp.path()), &runtime, Asker::new().0).await
        else {
            panic!("the address is taken")
        };
        let (warning, hints) = absence(&error);
        let listen = "there is no control plane: failed to listen on";
        assert_eq!(
            warning.replace(&text, "[ADDRESS]"),
            format!("{listen} `[ADDRESS]`: Address already in use (os error 98)")
        );
        assert_eq!(hints.len(), 2);
        assert!(
            hints[0].contains("`--admin :0`") && hints[1].contains("`--admin off`"),
            "{hints:?}"
        );
        let asked_for = AdminSettings::At(address);
        assert!(
            Control::start(&asked_for, Some(temp.path()), &runtime, Asker::new().0).await.is_err()
        );
    }

    #[tokio::test]
    async fn without_a_place_for_the_token_there_is_no_control_plane() {
        let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
        let free = AdminSettings::IfFree(ListenAddress::loopback(0));
        let started = Control::start(&free, None, &runtime, Asker::new().0).await;
        assert!(matches!(started, Ok(Control::Without(_))));
        assert!(matches!(
            Control::start(&AdminSettings::Off, None, &runtime, Asker::new().0).await,
            Ok(Control::Off)
        ));
    }
}
