//! Delivery to a real HTTP receiver on loopback. The clock and the waits are the test's, so nothing
//! here depends on how fast the machine is.

use std::collections::{BTreeSet, VecDeque};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use secrecy::SecretString;
use toolwarden::alert::{
    Alert, AlertStatus, Expected, Learning, LearningState, SCHEMA, Severity, Window,
};
use toolwarden::deliver::{
    Dispatch, Done, Failure, Job, LookUpName, Manner, Message, Next, OPEN_MAX, POSSIBLE_DUPLICATE,
    Place, RETRY_WAIT_MAX, Webhook, WebhookSettings,
};
use toolwarden::event::Timestamp;
use toolwarden::telemetry::{BuildInfo, FailureReason, Metrics};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OLD_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// What the receiver answers: a status, headers, a body; or nothing at all.
pub(crate) enum Reply {
    Answer(u16, Vec<(&'static str, String)>, &'static str),
    /// 200, after so long on the bench's clock.
    Late(Duration),
    Never,
}

fn status(status: u16) -> Reply {
    Reply::Answer(status, Vec::new(), "")
}

#[derive(Clone, Default)]
pub(crate) struct Receiver {
    script: Arc<Mutex<VecDeque<Reply>>>,
    seen: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    /// The clock of the bench that has a say in how long an answer takes.
    clock: Arc<Mutex<Arc<AtomicI64>>>,
}

impl Receiver {
    /// A receiver that answers as told, then 200.
    pub(crate) async fn start(script: impl IntoIterator<Item = Reply>) -> (Self, SocketAddr) {
        let receiver = Self::default();
        receiver.script.lock().unwrap().extend(script);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().fallback(answer).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (receiver, address)
    }

    pub(crate) fn seen(&self) -> Vec<(HeaderMap, Bytes)> {
        self.seen.lock().unwrap().clone()
    }

    fn header(&self, request: usize, name: &str) -> String {
        self.seen.lock().unwrap()[request].0[name].to_str().unwrap().to_owned()
    }
}

async fn answer(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> Response {
    receiver.seen.lock().unwrap().push((headers, body));
    let reply = receiver.script.lock().unwrap().pop_front();
    match reply.unwrap_or(status(200)) {
        Reply::Answer(status, headers, body) => {
            let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response
        }
        Reply::Late(span) => {
            let nanos = i64::try_from(span.as_nanos()).unwrap();
            receiver.clock.lock().unwrap().fetch_add(nanos, Ordering::SeqCst);
            StatusCode::OK.into_response()
        }
        Reply::Never => std::future::pending().await,
    }
}

/// What became of one alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    Delivered { attempts: u32 },
    Skipped,
    Dead(Dead),
}

/// Why it was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dead {
    pub(crate) reason: FailureReason,
    pub(crate) status: Option<u16>,
    pub(crate) attempts: u32,
    pub(crate) detail: String,
}

impl Dead {
    fn of(failure: Failure, attempts: u32) -> Self {
        let reason = failure.reason();
        Self { reason, status: failure.status, attempts, detail: failure.detail }
    }
}

/// How long the tests' alerts are tried.
#[derive(Clone)]
pub(crate) struct Tried {
    pub(crate) webhook: WebhookSettings,
    pub(crate) retry_for: Duration,
}

/// A clock that only moves when a delivery waits.
pub(crate) struct Bench {
    now: Arc<AtomicI64>,
    waits: Mutex<Vec<Duration>>,
    metrics: Metrics,
}

impl Bench {
    fn at(now: Timestamp) -> Self {
        let metrics = Metrics::new(&BuildInfo::default());
        Self { now: Arc::new(AtomicI64::new(now.as_nanos())), waits: Mutex::default(), metrics }
    }

    pub(crate) fn new() -> Self {
        Self::at("2026-01-05T12:00:00Z".parse().unwrap())
    }

    async fn deliver(&self, settings: Tried) -> Delivery {
        let alert = alert();
        let body = serde_json::to_vec(&alert).unwrap();
        self.deliver_body(settings, &alert, &body).await
    }

    /// The same, where names stand for what `look_up` says.
    pub(crate) async fn deliver_to_name(
        &self,
        settings: Tried,
        look_up: Arc<LookUpName>,
    ) -> Delivery {
        let metrics = self.metrics.clone();
        let webhook = Webhook::with_names(settings.webhook, metrics, look_up).unwrap();
        let alert = alert();
        let body = serde_json::to_vec(&alert).unwrap();
        let message = Message::new(&alert, &body).unwrap();
        self.dispatch(&webhook, &message, settings.retry_for).await
    }

    /// One alert through the dispatch and over the wire, as the pipeline sends it.
    async fn deliver_body(&self, settings: Tried, alert: &Alert, body: &[u8]) -> Delivery {
        let webhook = Webhook::new(settings.webhook, self.metrics.clone()).unwrap();
        if !webhook.wants(alert) {
            return Delivery::Skipped;
        }
        let message = match Message::new(alert, body) {
            Ok(message) => message,
            Err(detail) => {
                let reason = FailureReason::Other;
                return Delivery::Dead(Dead { reason, status: None, attempts: 0, detail });
            }
        };
        self.dispatch(&webhook, &message, settings.retry_for).await
    }

    async fn dispatch(
        &self,
        webhook: &Webhook,
        message: &Message,
        retry_for: Duration,
    ) -> Delivery {
        let clock = || Timestamp::from_nanos(self.now.load(Ordering::SeqCst));
        let retry_for = i64::try_from(retry_for.as_millis()).unwrap();
        let mut dispatch = Dispatch::new(1_000);
        dispatch.take(Job {
            place: Place { appended_ms: clock().as_millis(), partition: 0, offset: 0 },
            incident: "x".into(),
            is_urgent: false,
            deadline: clock().plus_millis(retry_for),
            is_repeat: false,
            item: (),
        });
        loop {
            let attempt = match dispatch.next(clock()) {
                Next::Send(attempt) => attempt,
                Next::Wait(until) => {
                    let pause = until.as_nanos() - clock().as_nanos();
                    self.now.fetch_add(pause, Ordering::SeqCst);
                    self.waits
                        .lock()
                        .unwrap()
                        .push(Duration::from_nanos(pause.try_into().unwrap()));
                    continue;
                }
                Next::Idle => panic!("an alert that waits for nothing"),
            };
            let result = webhook.attempt(message, attempt.manner, &clock).await.map(|_| ());
            match dispatch.done(attempt.number, result, clock(), fastrand::f64()).unwrap() {
                Done::Again => {}
                Done::Delivered { attempts, .. } => return Delivery::Delivered { attempts },
                Done::Dead { attempts, failure, .. } => {
                    return Delivery::Dead(Dead::of(failure, attempts));
                }
            }
        }
    }

    pub(crate) fn waits(&self) -> Vec<u64> {
        self.waits.lock().unwrap().iter().map(Duration::as_secs).collect()
    }

    pub(crate) fn counts_none(&self, family: &str) {
        assert!(!self.metrics.encode().contains(&format!("toolwarden_{family}{{")), "{family}");
    }

    pub(crate) fn counts(&self, line: &str) {
        let text = self.metrics.encode();
        assert!(
            text.lines().any(|it| it == format!("toolwarden_{line}")),
            "{line} not in:\n{text}"
        );
    }
}

pub(crate) fn settings(address: SocketAddr) -> Tried {
    let webhook = WebhookSettings {
        name: "pager".into(),
        url: SecretString::from(format!("http://{address}/hook/T0KEN")),
        signing_secret: SecretString::from(SECRET),
        previous_signing_secret: None,
        min_score: 40.0,
        send_resolved: true,
        timeout: Duration::from_secs(60),
        allow_networks: vec!["127.0.0.1/32".parse().unwrap()],
    };
    Tried { webhook, retry_for: Duration::from_secs(86_400) }
}

fn alert() -> Alert {
    Alert {
        schema: SCHEMA.into(),
        alert_id: "0f2c9a0f2c9a0f2c9a0f2c9a0f2c9a0f".into(),
        revision: 2,
        status: AlertStatus::Updated,
        dedup_key: "0f2c9a0f2c9a0f2c9a0f2c9a0f2c9a0f".into(),
        duplicate_of: None,
        time: "2026-01-05T11:59:59.000Z".into(),
        rule_id: "call-rate".into(),
        detector: "call_rate".into(),
        severity: Severity::High,
        score: 62.0,
        tenant_id: "acme".into(),
        agent_id: "bot".into(),
        agent_version: None,
        title: "Far more calls than usual".into(),
        summary: "bot made 41 acting calls in 60 s".into(),
        expected: Expected { low: 0.0, high: 2.0, unit: "calls".into(), basis: "9 days".into() },
        observed: 41.0,
        probability: 0.001,
        window: Window { start: String::new(), end: String::new() },
        learning: Learning {
            state: LearningState::Active,
            progress: 1.0,
            since: String::new(),
            active_days: 9,
            peers: 3,
            version: None,
            group: toolwarden::alert::PeerGroup::default(),
        },
        calibration: None,
        trigger: None,
        is_cut: false,
        evidence: Vec::new(),
        evidence_total: 41,
        subjects: Vec::new(),
        counterfactual: String::new(),
        tags: Vec::new(),
        runbook_url: String::new(),
        links: Vec::new(),
    }
}

pub(crate) fn dead(delivery: Delivery) -> Dead {
    match delivery {
        Delivery::Dead(dead) => dead,
        other => panic!("expected to be given up, got {other:?}"),
    }
}

#[tokio::test]
async fn a_receiver_can_verify_what_it_gets() {
    let (receiver, address) = Receiver::start([]).await;
    let now = Timestamp::from_nanos(i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap());
    let bench = Bench::at(now);
    // Odd spacing and number forms: the alert must arrive byte for byte.
    let bytes = br#"{"alert_id" : "x","score":6.20e1,"agent_id":"\u202ebot"}"#;
    let delivery = bench.deliver_body(settings(address), &alert(), bytes).await;
    assert_eq!(delivery, Delivery::Delivered { attempts: 1 });
    let (headers, body) = receiver.seen().remove(0);
    standardwebhooks::Webhook::new(SECRET).unwrap().verify(&body, &headers).unwrap();
    let wanted = format!(
        r#"{{"type":"toolwarden.alert.updated","timestamp":"2026-01-05T11:59:59.000Z","data":{}}}"#,
        std::str::from_utf8(bytes).unwrap()
    );
    assert_eq!(std::str::from_utf8(&body).unwrap(), wanted);
    assert_eq!(headers["webhook-id"], "0f2c9a0f2c9a0f2c9a0f2c9a0f2c9a0f_2");
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(headers["user-agent"], concat!("toolwarden/", env!("CARGO_PKG_VERSION")));
    bench.counts(r#"notifications_total{receiver="pager"} 1"#);
    bench.counts(r#"notification_requests_total{receiver="pager"} 1"#);
    bench.counts(r#"notification_latency_seconds_count{receiver="pager"} 1"#);
}

#[tokio::test]
async fn while_a_secret_is_changed_a_receiver_verifies_with_either() {
    let (receiver, address) = Receiver::start([]).await;
    let now = Timestamp::from_nanos(i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap());
    let mut settings = settings(address);
    settings.webhook.previous_signing_secret = Some(SecretString::from(OLD_SECRET));
    Bench::at(now).deliver(settings).await;
    let (headers, body) = receiver.seen().remove(0);
    for secret in [SECRET, OLD_SECRET] {
        standardwebhooks::Webhook::new(secret).unwrap().verify(&body, &headers).unwrap();
    }
    let stranger =
        standardwebhooks::Webhook::new("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
    assert!(stranger.verify(&body, &headers).is_err());
}

#[tokio::test]
async fn a_changed_body_does_not_verify() {
    let (receiver, address) = Receiver::start([]).await;
    let now = Timestamp::from_nanos(i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap());
    Bench::at(now).deliver(settings(address)).await;
    let (headers, body) = receiver.seen().remove(0);
    let changed = String::from_utf8(body.to_vec()).unwrap().replace("41", "1");
    let verifier = standardwebhooks::Webhook::new(SECRET).unwrap();
    assert!(verifier.verify(changed.as_bytes(), &headers).is_err());
}

#[tokio::test]
async fn a_retry_keeps_its_id_and_has_a_time_and_signature_of_its_own() {
    let retry_after =
        |seconds: &str| Reply::Answer(503, vec![("retry-after", seconds.to_owned())], "");
    let (receiver, address) = Receiver::start([retry_after("30"), retry_after("40")]).await;
    let bench = Bench::new();
    assert_eq!(bench.deliver(settings(address)).await, Delivery::Delivered { attempts: 3 });
    assert_eq!(bench.waits(), [30, 40]);
    let start = "2026-01-05T12:00:00Z".parse::<Timestamp>().unwrap().as_secs();
    let verifier = standardwebhooks::Webhook::new(SECRET).unwrap();
    for (request, secs) in [0, 30, 70].into_iter().enumerate() {
        let id = receiver.header(request, "webhook-id");
        assert_eq!(id, "0f2c9a0f2c9a0f2c9a0f2c9a0f2c9a0f_2");
        assert_eq!(receiver.header(request, "webhook-timestamp"), (start + secs).to_string());
        let (_, body) = &receiver.seen()[request];
        let wanted = verifier.sign(&id, start + secs, body).unwrap();
        assert_eq!(receiver.header(request, "webhook-signature"), wanted);
    }
    bench.counts(r#"notification_requests_total{receiver="pager"} 3"#);
    bench.counts(r#"notification_request_failures_total{receiver="pager"} 2"#);
    bench.counts(r#"notifications_total{receiver="pager"} 1"#);
}

#[tokio::test]
async fn row_28_a_server_error_is_tried_again_after_a_wait_that_grows() {
    let (receiver, address) = Receiver::start([500, 502, 425, 408, 599].map(status)).await;
    let bench = Bench::new();
    assert_eq!(bench.deliver(settings(address)).await, Delivery::Delivered { attempts: 6 });
    assert_eq!(receiver.seen().len(), 6);
    let waits = bench.waits.lock().unwrap().clone();
    for (wait, most) in waits.iter().zip([1, 2, 4, 8, 16]) {
        assert!(*wait <= Duration::from_secs(most), "{waits:?}");
    }
}

#[tokio::test]
async fn row_28_a_receiver_that_is_busy_is_left_alone_for_as_long_as_it_asks() {
    let busy = |value: &str| Reply::Answer(429, vec![("retry-after", value.to_owned())], "");
    let (_, address) = Receiver::start([
        busy("90"),
        busy("Mon, 05 Jan 2026 12:05:00 GMT"),
        busy("999999"),
        busy("0"),
    ])
    .await;
    let bench = Bench::new();
    assert_eq!(bench.deliver(settings(address)).await, Delivery::Delivered { attempts: 5 });
    assert_eq!(bench.waits(), [90, 210, 3_600, 1]);
}

#[tokio::test]
async fn row_28_a_redirect_to_another_address_is_not_followed() {
    let (receiver, address) = Receiver::start([Reply::Answer(
        301,
        vec![("location", "http://169.254.169.254/latest/meta-data/".into())],
        "",
    )])
    .await;
    let bench = Bench::new();
    let dead = dead(bench.deliver(settings(address)).await);
    assert_eq!((dead.reason, dead.status), (FailureReason::Redirect, Some(301)));
    assert_eq!(receiver.seen().len(), 1);
    bench.counts(r#"notification_request_failures_total{receiver="pager"} 1"#);
}

#[tokio::test]
async fn row_28_a_receiver_that_takes_29_seconds_is_waited_for() {
    let late = Duration::from_secs(29);
    let (receiver, address) = Receiver::start([Reply::Late(late), Reply::Late(late)]).await;
    let bench = Bench::new();
    *receiver.clock.lock().unwrap() = Arc::clone(&bench.now);
    for _ in 0..2 {
        let delivery = bench.deliver(settings(address)).await;
        assert_eq!(delivery, Delivery::Delivered { attempts: 1 });
    }
    assert_eq!((receiver.seen().len(), bench.waits().len()), (2, 0));
    bench.counts(r#"notification_latency_seconds_sum{receiver="pager"} 58"#);
}

#[tokio::test]
async fn row_28_errors_without_end_are_asked_after_within_the_breakers_longest_wait() {
    let (receiver, address) = Receiver::start((0..200).map(|_| status(500))).await;
    let bench = Bench::new();
    assert_eq!(bench.deliver(settings(address)).await, Delivery::Delivered { attempts: 201 });
    assert_eq!(receiver.seen().len(), 201);
    let waits = bench.waits.lock().unwrap().clone();
    // Full jitter: between nothing and the span of the backoff or of the breaker, whichever is later.
    assert!(waits.iter().all(|wait| *wait <= RETRY_WAIT_MAX), "{waits:?}");
    let late: Duration = waits.iter().skip(20).sum();
    let mean = late / u32::try_from(waits.len() - 20).unwrap();
    assert!(mean >= OPEN_MAX / 2 && mean <= OPEN_MAX, "{mean:?}");
    let distinct: BTreeSet<Duration> = waits.iter().skip(20).copied().collect();
    assert!(distinct.len() > 100, "drawn at random");
}

#[tokio::test]
async fn row_30_what_the_receiver_refuses_is_sent_once_more_minimal_and_given_up_with_its_words() {
    for status in [400, 413, 422] {
        let refusal = "no field `routing_key`\u{1b}[2K\u{202e}";
        let refuse = || Reply::Answer(status, Vec::new(), refusal);
        let (receiver, address) = Receiver::start([refuse(), refuse()]).await;
        let bench = Bench::new();
        let dead = dead(bench.deliver(settings(address)).await);
        let detail = r"no field `routing_key`\u{1b}[2K\u{202e}".to_owned();
        let reason = FailureReason::ClientError;
        assert_eq!(dead, Dead { reason, status: Some(status), attempts: 2, detail });
        assert_eq!((receiver.seen().len(), bench.waits().len()), (2, 0));
        let bodies: Vec<serde_json::Value> =
            receiver.seen().iter().map(|(_, body)| serde_json::from_slice(body).unwrap()).collect();
        assert!(bodies[0]["data"].get("minimal").is_none());
        assert_eq!(bodies[1]["data"]["minimal"], true);
        for same in ["alert_id", "revision", "dedup_key", "title", "score"] {
            assert_eq!(bodies[0]["data"][same], bodies[1]["data"][same], "{same}");
        }
        assert!(receiver.seen()[1].1.len() < 700, "it is small");
        assert_eq!(receiver.header(0, "webhook-id"), receiver.header(1, "webhook-id"));
        bench.counts(r#"notification_request_failures_total{receiver="pager"} 2"#);
    }
}

#[tokio::test]
async fn row_30_what_is_gone_is_not_written_off() {
    let (_, address) = Receiver::start([404, 410, 404].map(status)).await;
    let bench = Bench::new();
    assert_eq!(bench.deliver(settings(address)).await, Delivery::Delivered { attempts: 4 });
    assert!(bench.waits().iter().all(|wait| (150..=300).contains(wait)), "{:?}", bench.waits());
}

#[tokio::test]
async fn only_what_may_have_arrived_is_called_a_possible_duplicate() {
    for (first, is_marked) in [(503, false), (429, false), (401, false), (500, true), (502, true)] {
        let (receiver, address) = Receiver::start([status(first)]).await;
        let bench = Bench::new();
        assert_eq!(bench.deliver(settings(address)).await, Delivery::Delivered { attempts: 2 });
        let marks: Vec<bool> =
            receiver.seen().iter().map(|(it, _)| it.contains_key(POSSIBLE_DUPLICATE)).collect();
        assert_eq!(marks, [false, is_marked], "{first}");
        assert_eq!(receiver.seen()[0].1, receiver.seen()[1].1, "the bytes are the same");
    }
}

#[tokio::test]
async fn row_30_a_changed_secret_is_waited_for_with_patience() {
    let (_, address) = Receiver::start([401, 403].map(status)).await;
    let bench = Bench::new();
    assert_eq!(bench.deliver(settings(address)).await, Delivery::Delivered { attempts: 3 });
    assert!(bench.waits().iter().all(|wait| (150..=300).contains(wait)), "{:?}", bench.waits());
}

#[tokio::test]
async fn an_alert_is_given_up_when_its_time_is_up_and_not_before() {
    let (receiver, address) = Receiver::start((0..10_000).map(|_| status(503))).await;
    let bench = Bench::new();
    let mut settings = settings(address);
    settings.retry_for = Duration::from_secs(1_000);
    let dead = dead(bench.deliver(settings).await);
    assert_eq!((dead.reason, dead.status), (FailureReason::ServerError, Some(503)));
    let waited: Duration = bench.waits.lock().unwrap().iter().sum();
    // While the breaker is open the last attempt waits for it.
    let late = waited.saturating_sub(Duration::from_secs(1_000));
    assert!(waited >= Duration::from_secs(1_000) && late <= OPEN_MAX, "{waited:?}");
    assert_eq!(usize::try_from(dead.attempts).unwrap(), receiver.seen().len());
}

#[tokio::test]
async fn nobody_listening_is_tried_again_and_the_url_stays_secret() {
    // Bound and not listening: the port is taken, and refuses.
    let taken = tokio::net::TcpSocket::new_v4().unwrap();
    taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = taken.local_addr().unwrap();
    let bench = Bench::new();
    let mut settings = settings(address);
    settings.retry_for = Duration::from_secs(5);
    let dead = dead(bench.deliver(settings).await);
    assert_eq!((dead.reason, dead.status), (FailureReason::Connect, None));
    assert!(dead.attempts > 1 && dead.detail.contains("refused"), "{dead:?}");
    assert!(!dead.detail.contains("T0KEN"), "{dead:?}");
}

#[tokio::test]
async fn row_28_a_receiver_that_never_answers_runs_into_the_timeout() {
    let (_, address) = Receiver::start([Reply::Never]).await;
    let bench = Bench::new();
    let mut settings = settings(address);
    settings.webhook.timeout = Duration::from_millis(300);
    settings.retry_for = Duration::ZERO;
    let dead = dead(bench.deliver(settings).await);
    assert_eq!((dead.reason, dead.attempts), (FailureReason::Timeout, 1));
}

/// A receiver below HTTP: writes `head`, then `more` for ever, and tells how many bytes it got rid of.
fn raw(head: &'static str, more: &'static [u8]) -> (SocketAddr, std::thread::JoinHandle<usize>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 512];
        assert!(stream.read(&mut request).unwrap() > 0);
        stream.write_all(head.as_bytes()).unwrap();
        let mut written = 0;
        while !more.is_empty() && stream.write_all(more).is_ok() {
            written += more.len();
        }
        // Nothing more to say: stay until the other side leaves.
        while matches!(stream.read(&mut request), Ok(1..)) {}
        written
    });
    (address, served)
}

/// Waits for the receiver while the client goes on: it has a connection to close.
async fn ended(served: std::thread::JoinHandle<usize>) -> usize {
    tokio::task::spawn_blocking(|| served.join().unwrap()).await.unwrap()
}

#[tokio::test]
async fn row_28_an_answer_without_end_is_not_read_to_its_end() {
    let (address, served) = raw("HTTP/1.1 200 OK\r\n\r\n", &[b'x'; 65_536]);
    let bench = Bench::new();
    assert_eq!(bench.deliver(settings(address)).await, Delivery::Delivered { attempts: 1 });
    let written = ended(served).await;
    assert!(written < 64 << 20, "{written} bytes were taken");
}

#[tokio::test]
async fn row_28_an_answer_that_breaks_off_after_its_status_is_an_answer() {
    let (address, served) = raw("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhal", b"");
    let bench = Bench::new();
    let mut settings = settings(address);
    settings.webhook.timeout = Duration::from_millis(300);
    assert_eq!(bench.deliver(settings).await, Delivery::Delivered { attempts: 1 });
    ended(served).await;
}

#[tokio::test]
async fn row_28_an_error_without_end_is_cut_and_headers_without_end_are_no_answer() {
    let (address, served) = raw("HTTP/1.1 500 No\r\n\r\n", &[b'x'; 65_536]);
    let mut settings = settings(address);
    settings.retry_for = Duration::ZERO;
    let error = dead(Bench::new().deliver(settings.clone()).await);
    assert_eq!((error.reason, error.status), (FailureReason::ServerError, Some(500)));
    assert!(error.detail.chars().count() <= 401 && error.detail.ends_with("x…"), "{error:?}");
    assert!(ended(served).await < 64 << 20);
    let (address, served) =
        raw("HTTP/1.1 200 OK\r\n", b"x-long: 0123456789012345678901234567890\r\n");
    settings.webhook.url = SecretString::from(format!("http://{address}/hook"));
    let broken = dead(Bench::new().deliver(settings).await);
    assert_eq!((broken.reason, broken.status), (FailureReason::Connect, None));
    assert!(ended(served).await < 64 << 20);
}

#[tokio::test]
async fn row_28_an_answer_that_breaks_off_before_its_status_is_none_and_the_repeat_says_so() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let served = std::thread::spawn(move || {
        let mut heads = Vec::new();
        for answer in ["HTTP/1.1 2", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"] {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 65_536];
            let read = stream.read(&mut request).unwrap();
            heads.push(String::from_utf8_lossy(&request[..read]).into_owned());
            stream.write_all(answer.as_bytes()).unwrap();
        }
        heads
    });
    let delivery = Bench::new().deliver(settings(address)).await;
    assert_eq!(delivery, Delivery::Delivered { attempts: 2 });
    let heads = tokio::task::spawn_blocking(|| served.join().unwrap()).await.unwrap();
    let marks: Vec<bool> = heads.iter().map(|it| it.contains(POSSIBLE_DUPLICATE)).collect();
    assert_eq!(marks, [false, true], "{heads:?}");
}

#[tokio::test]
async fn what_is_not_an_alert_is_given_up_unsent() {
    let (receiver, address) = Receiver::start([]).await;
    let bench = Bench::new();
    let broken = bench.deliver_body(settings(address), &alert(), b"{\"a\":").await;
    assert_eq!((dead(broken).attempts, receiver.seen().len()), (0, 0));
    let mut foreign = alert();
    foreign.alert_id = "a.b\r\nx-evil: 1".into();
    let refused = bench.deliver_body(settings(address), &foreign, b"{}").await;
    assert_eq!((dead(refused).attempts, receiver.seen().len()), (0, 0));
}

#[tokio::test]
async fn what_nobody_wants_is_not_sent() {
    let (receiver, address) = Receiver::start([]).await;
    let bench = Bench::new();
    let mut settings = settings(address);
    settings.webhook.min_score = 63.0;
    assert_eq!(bench.deliver(settings).await, Delivery::Skipped);
    assert_eq!(receiver.seen().len(), 0);
}

#[tokio::test]
async fn a_delivery_can_run_as_a_task_of_its_own() {
    let (_, address) = Receiver::start([]).await;
    let webhook =
        Webhook::new(settings(address).webhook, Metrics::new(&BuildInfo::default())).unwrap();
    let task = tokio::spawn(async move {
        let alert = alert();
        let body = serde_json::to_vec(&alert).unwrap();
        let message = Message::new(&alert, &body).unwrap();
        webhook.attempt(&message, Manner::default(), &|| Timestamp::from_secs(0)).await
    });
    assert_eq!(task.await.unwrap(), Ok(200));
}
