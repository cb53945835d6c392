//! Listening and serving, for all processes.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::serve::ListenerExt;
use ingest::Acceptor;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::error::CommandError;

/// Takes `address`, so that a port in use is found before anything else is done.
pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, CommandError> {
    let listening = TcpListener::bind(address).await;
    listening.map_err(|source| CommandError::Bind {
        what: "the API",
        flag: "listen",
        address,
        source,
    })
}

/// Serves until `shutdown` and open requests have ended.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: CancellationToken,
) -> Result<(), CommandError> {
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "cannot set TCP_NODELAY");
        }
    });
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let serving = axum::serve(listener, service).with_graceful_shutdown(shutdown.cancelled_owned());
    serving.into_future().await.map_err(CommandError::Runtime)
}

/// Serves routes of which ingest is one, and forgets the claims that the processor has passed.
pub(crate) async fn serve_ingest(
    listener: TcpListener,
    router: Router,
    acceptor: Arc<Acceptor>,
    shutdown: CancellationToken,
) -> Result<(), CommandError> {
    let forgetting = async {
        acceptor.forget_processed().await;
        // It ends with whoever tells the progress, whose end is dealt with elsewhere.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        served = serve(listener, router, shutdown) => served,
        () = forgetting => Ok(()),
    }
}
