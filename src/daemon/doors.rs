//! Where others ask the daemon: the control socket and the loopback address. A socket whose name is
//! gone is made again.

use std::sync::Arc;

use tokio::{
    net::{TcpListener, UnixListener},
    runtime::Handle,
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

use super::{DaemonError, STOP_MARGIN};
use crate::{
    control::{
        App,
        server::{serve, serve_tcp},
        socket::{SocketFile, bind_tcp},
    },
    settings::Control,
};

/// Both, and what serves them.
pub struct Doors {
    settings: Control,
    app: Arc<App>,
    stop: watch::Receiver<bool>,
    runtime: Handle,
    socket: SocketFile,
    at_socket: JoinHandle<()>,
    at_address: Option<JoinHandle<()>>,
    /// Why the socket could not be made again, as it was told.
    told: Option<String>,
}

impl Doors {
    /// Opens what the settings name, until `stop` turns true.
    pub fn open(
        settings: &Control,
        app: Arc<App>,
        stop: &watch::Receiver<bool>,
        runtime: &Handle,
    ) -> Result<Self, DaemonError> {
        let _inside = runtime.enter();
        let (socket, at_socket) = open_socket(settings, &app, stop)?;
        let at_address = settings.listen.map(|address| {
            let listener = TcpListener::from_std(bind_tcp(address)?)
                .map_err(|source| DaemonError::Start { what: "watch [control] listen", source })?;
            Ok::<_, DaemonError>(tokio::spawn(serve_tcp(listener, Arc::clone(&app), stop.clone())))
        });
        let (settings, stop, runtime) = (settings.clone(), stop.clone(), runtime.clone());
        Ok(Self { settings, app, stop, runtime, socket, at_socket, at_address: at_address.transpose()?, told: None })
    }

    /// Makes the socket again where its name no longer leads to it.
    pub fn look(&mut self) {
        if self.socket.is_in_its_place() {
            self.told = None;
            return;
        }
        let _inside = self.runtime.enter();
        match open_socket(&self.settings, &self.app, &self.stop) {
            Ok((socket, at_socket)) => {
                tracing::warn!(path = %socket.path().display(), "the control socket was removed or replaced; it is there again");
                self.at_socket.abort();
                (self.socket, self.at_socket, self.told) = (socket, at_socket, None);
            }
            Err(why) => {
                let why = why.to_string();
                if self.told.as_ref() != Some(&why) {
                    tracing::error!(error = %why, "the control socket was removed or replaced, and cannot be made again: local programs cannot ask for values or state");
                    self.told = Some(why);
                }
            }
        }
    }

    /// Waits until nobody is served any more.
    pub async fn closed(self) {
        for task in [Some(self.at_socket), self.at_address].into_iter().flatten() {
            let _ = timeout(STOP_MARGIN, task).await;
        }
    }
}

fn open_socket(
    settings: &Control,
    app: &Arc<App>,
    stop: &watch::Receiver<bool>,
) -> Result<(SocketFile, JoinHandle<()>), DaemonError> {
    let (socket, listener) = SocketFile::bind(settings)?;
    let listener = UnixListener::from_std(listener)
        .map_err(|source| DaemonError::Start { what: "watch the control socket", source })?;
    Ok((socket, tokio::spawn(serve(listener, Arc::clone(app), stop.clone()))))
}
