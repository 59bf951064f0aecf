//! The admin listener: metrics, health and state, for machines that scrape and probe.
//!
//! Not a way in: nothing can be changed here, no request body is read, and no answer but an export
//! waits for the pipeline. Liveness only says that the program answers; readiness says that it does its work.

mod export;
mod listener;
mod packed;
mod readiness;

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::telemetry::Metrics;

pub use export::{Exporter, Exports};
use listener::Bounded;
pub use readiness::{Component, Readiness, Waiting};

/// Prometheus' text format, as it names itself.
const EXPOSITION: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// What a portrait is.
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What the admin listener shows.
#[derive(Clone)]
pub struct AppState {
    /// The metrics.
    pub metrics: Metrics,
    /// Whether the instance does its work.
    pub ready: Arc<Readiness>,
    /// Tells the rest of `/api/v1/status`; called once a request, and must not block.
    pub status: Arc<dyn Fn() -> Status + Send + Sync>,
    /// Tells what is known of an agent, by tenant and agent: JSON, or why there is none.
    pub agent: AgentTeller,
    /// Who may have everything that was learned, if anybody may.
    pub exports: Option<Exports>,
}

/// Tells what is known of an agent.
pub type AgentTeller = Arc<dyn Fn(&str, &str) -> Result<String, String> + Send + Sync>;

/// Whose agent is asked for.
#[derive(Debug, Deserialize)]
struct Whose {
    tenant: Option<String>,
}

impl std::fmt::Debug for AppState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AppState").field("ready", &self.ready).finish_non_exhaustive()
    }
}

/// What an instance tells of itself, beside its readiness.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The version that runs.
    pub version: String,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// Agents in memory.
    pub agents: usize,
    /// The most agents there may be.
    pub agents_limit: usize,
    /// Source partitions that this instance owns.
    pub partitions: Vec<OwnedPartition>,
    /// Topics that are not keyed by agent, as far as this instance has seen.
    pub misplaced: Vec<Misplaced>,
}

/// Calls of a topic in partitions that may not be their agents'.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Misplaced {
    /// The topic.
    pub topic: String,
    /// What says so: `no_key`, `other_key` or `two_partitions`.
    pub reason: &'static str,
    /// How many, since the start.
    pub calls: u64,
}

/// A source partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct OwnedPartition {
    /// The topic.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
}

/// The body of `/-/ready`, and the first fields of `/api/v1/status`.
#[derive(Debug, Serialize)]
struct Readable {
    ready: bool,
    waiting: Vec<Waiting>,
}

#[derive(Debug, Serialize)]
struct FullStatus {
    #[serde(flatten)]
    ready: Readable,
    #[serde(flatten)]
    status: Status,
}

/// Everything the admin listener answers.
///
/// `/metrics`, `/-/healthy` (also `/healthz`, `/livez`), `/-/ready` (also `/readyz`),
/// `/api/v1/status`, `/api/v1/agents/{agent}?tenant=` and, with the token, `/api/v1/baselines`, by
/// GET or HEAD.
pub fn router(state: AppState) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/-/healthy", get(healthy))
        .route("/healthz", get(healthy))
        .route("/livez", get(healthy))
        .route("/-/ready", get(ready))
        .route("/readyz", get(ready))
        .route("/api/v1/status", get(status))
        .route("/api/v1/agents/{agent}", get(agent))
        .route("/api/v1/baselines", get(export::baselines))
        .with_state(state)
}

/// Serves `router` until `shutdown` resolves; requests under way are finished.
///
/// A request must have arrived, and its answer must have been taken, within 30 s; at most 256
/// connections are open at a time, more wait.
///
/// # Errors
///
/// None in practice: errors of single connections end those connections.
pub async fn run(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(Bounded::new(listener), router).with_graceful_shutdown(shutdown).await
}

async fn metrics(State(state): State<AppState>, headers: HeaderMap) -> impl IntoResponse {
    ([(CONTENT_TYPE, EXPOSITION)], packed::packed(&headers, state.metrics.encode()))
}

async fn healthy() -> &'static str {
    "healthy\n"
}

async fn ready(State(state): State<AppState>) -> Response {
    let body = readable(&state.ready);
    let code = if body.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(body)).into_response()
}

async fn status(State(state): State<AppState>) -> impl IntoResponse {
    Json(FullStatus { ready: readable(&state.ready), status: (state.status)() })
}

async fn agent(
    State(state): State<AppState>,
    Path(agent): Path<String>,
    Query(whose): Query<Whose>,
) -> Response {
    let Some(tenant) = whose.tenant else {
        return (StatusCode::BAD_REQUEST, "say whose agent it is, with `?tenant=`\n")
            .into_response();
    };
    match (state.agent)(&tenant, &agent) {
        Ok(json) => ([(CONTENT_TYPE, JSON)], json).into_response(),
        Err(words) => (StatusCode::NOT_FOUND, format!("{words}\n")).into_response(),
    }
}

fn readable(readiness: &Readiness) -> Readable {
    let waiting = readiness.waiting();
    Readable { ready: waiting.is_empty(), waiting }
}
