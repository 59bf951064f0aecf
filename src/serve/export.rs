//! Everything that was learned, for who has the token: a stream of bytes, so that its size is
//! nobody's concern here.
//!
//! One at a time. A client that does not take what it asked for is cut off by the listener, and
//! that ends the export.

use std::fmt;
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::serve::AppState;

/// What an export is.
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Bytes handed on at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// Chunks that wait for the client.
const CHUNKS_MAX: usize = 8;

/// Writes everything that was learned; may take as long as it takes.
pub type Exporter = Arc<dyn Fn(&mut dyn Write) -> io::Result<()> + Send + Sync>;

/// Who may have everything that was learned, and what that is.
#[derive(Clone)]
pub struct Exports {
    token: SecretString,
    write: Exporter,
    room: Arc<Semaphore>,
}

impl fmt::Debug for Exports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exports(***)")
    }
}

impl Exports {
    /// Exports for whoever has `token`.
    #[must_use]
    pub fn new(token: SecretString, write: Exporter) -> Self {
        Self { token, write, room: Arc::new(Semaphore::new(1)) }
    }

    /// Whether a request brings the token. Digests are compared, so that the time taken says
    /// nothing about the token.
    fn allows(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
        given.strip_prefix(b"Bearer ").is_some_and(|given| {
            Sha256::digest(given) == Sha256::digest(self.token.expose_secret().as_bytes())
        })
    }
}

/// Answers `/api/v1/baselines`.
pub(super) async fn baselines(State(state): State<AppState>, headers: HeaderMap) -> Response {
    let Some(exports) = state.exports else {
        let words = "exports are off: set `server.export_token_file` to allow them\n";
        return (StatusCode::NOT_FOUND, words).into_response();
    };
    if !exports.allows(&headers) {
        let words = "this takes the token of `server.export_token_file`\n";
        let ask = [(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))];
        return (StatusCode::UNAUTHORIZED, ask, words).into_response();
    }
    let Ok(permit) = Arc::clone(&exports.room).try_acquire_owned() else {
        let words = "another export is under way; try again when it is done\n";
        return (StatusCode::TOO_MANY_REQUESTS, words).into_response();
    };
    match start(exports.write, permit) {
        Ok(chunks) => ([(CONTENT_TYPE, BYTES)], Body::from_stream(chunks)).into_response(),
        Err(error) => {
            tracing::warn!(%error, "an export could not be started");
            (StatusCode::SERVICE_UNAVAILABLE, "no thread can be started\n").into_response()
        }
    }
}

fn start(write: Exporter, permit: OwnedSemaphorePermit) -> io::Result<Chunks> {
    let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
    let run = move || {
        let mut out = Sender { sender, chunk: Vec::with_capacity(CHUNK_BYTES) };
        if let Err(error) = write(&mut out).and_then(|()| out.flush()) {
            tracing::warn!(%error, "an export was cut short");
            // Whoever reads must not take a part for the whole.
            drop(out.sender.blocking_send(Err(error)));
        }
        drop(permit);
    };
    std::thread::Builder::new().name("export".to_owned()).spawn(run)?;
    Ok(Chunks(receiver))
}

/// The end that is written to; waits while the client has enough to take.
struct Sender {
    sender: mpsc::Sender<io::Result<Bytes>>,
    chunk: Vec<u8>,
}

impl Write for Sender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.chunk.extend_from_slice(bytes);
        if self.chunk.len() >= CHUNK_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::take(&mut self.chunk);
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "whoever asked has gone");
        self.sender.blocking_send(Ok(chunk.into())).map_err(gone)
    }
}

/// The end that is read from.
struct Chunks(mpsc::Receiver<io::Result<Bytes>>);

impl Stream for Chunks {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}
