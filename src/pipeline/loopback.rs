//! An HTTP receiver within the process, for what shows or measures the product.

use std::net::SocketAddr;

use anyhow::Context as _;
use axum::Router;

/// Serves `router` on a free port of the loopback interface, as long as the runtime runs; tells where.
pub(super) async fn serve(router: Router) -> anyhow::Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .context("cannot listen for alerts on the loopback interface")?;
    let address = listener.local_addr().context("cannot tell where alerts are listened for")?;
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}
