//! The admin listener over real sockets: what a scraper, a probe and a rude client see.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::oneshot;
use toolwarden::serve::{
    AppState, Exporter, Exports, Misplaced, OwnedPartition, Readiness, Status, router, run,
};
use toolwarden::telemetry::{BuildInfo, Metrics};

/// A listener on a thread of its own, stopped when dropped.
struct Admin {
    address: SocketAddr,
    ready: Arc<Readiness>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Admin {
    fn start() -> Self {
        Self::with(None)
    }

    fn with(exports: Option<Exports>) -> Self {
        let metrics = Metrics::new(&BuildInfo::default());
        let ready = Arc::new(Readiness::new(metrics.clone(), &["delivery", "kafka"]));
        let status = || Status {
            version: "0.1.0".into(),
            uptime_seconds: 7,
            agents: 3,
            agents_limit: 10,
            partitions: vec![OwnedPartition { topic: "calls".into(), partition: 1 }],
            misplaced: vec![Misplaced { topic: "calls".into(), reason: "no_key", calls: 2 }],
        };
        let agent = Arc::new(|tenant: &str, agent: &str| match (tenant, agent) {
            ("acme", "billing/eu") => Ok(r#"{"agent_id":"billing/eu"}"#.to_owned()),
            _ => Err("no such agent".to_owned()),
        });
        let status = Arc::new(status);
        let state = AppState { metrics, ready: Arc::clone(&ready), status, agent, exports };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let stopped = async { stopped.await.unwrap_or(()) };
                run(listener, router(state), stopped).await.unwrap();
            });
        });
        Self { address, ready, stop: Some(stop), thread: Some(thread) }
    }

    /// Sends raw bytes and reads until the server closes: the head and the body of the answer.
    fn send(&self, request: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        (head.to_lowercase(), body.to_owned())
    }

    fn get(&self, path: &str) -> (String, String) {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"))
    }

    fn set_ready(&self) {
        self.ready.set([("kafka", Ok(())), ("delivery", Ok(()))]);
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

#[test]
fn metrics_are_served_as_prometheus_reads_them() {
    let (head, body) = Admin::start().get("/metrics");
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    assert!(body.contains("# TYPE toolwarden_ready gauge\ntoolwarden_ready 0\n"), "{body}");
}

#[test]
fn metrics_are_packed_for_a_scraper_that_takes_gzip() {
    let admin = Admin::start();
    let mut stream = TcpStream::connect(admin.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let request =
        "GET /metrics HTTP/1.1\r\nhost: x\r\naccept-encoding: gzip\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|it| it == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    assert!(head.contains("content-encoding: gzip"), "{head}");
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    let mut text = String::new();
    let packed = &answer[end + 4..];
    flate2::read::GzDecoder::new(packed).read_to_string(&mut text).unwrap();
    assert!(text.contains("# TYPE toolwarden_ready gauge\ntoolwarden_ready 0\n"), "{text}");
    assert!(packed.len() * 3 < text.len(), "{} of {} bytes", packed.len(), text.len());
    assert!(!admin.get("/metrics").0.contains("content-encoding"));
}

#[test]
fn an_instance_lives_before_it_is_ready() {
    let admin = Admin::start();
    for path in ["/-/healthy", "/healthz", "/livez"] {
        assert!(admin.get(path).0.starts_with("http/1.1 200"), "{path}");
    }
    for path in ["/-/ready", "/readyz"] {
        let (head, body) = admin.get(path);
        assert!(head.starts_with("http/1.1 503"), "{path}: {head}");
        let starting = |component| json!({"component": component, "reason": "starting"});
        let wanted = json!({"ready": false, "waiting": [starting("delivery"), starting("kafka")]});
        assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), wanted);
    }
    admin.set_ready();
    let (head, body) = admin.get("/-/ready");
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert_eq!(body, r#"{"ready":true,"waiting":[]}"#);
    admin.ready.set([("kafka", Err("stalled".into()))]);
    assert!(admin.get("/readyz").0.starts_with("http/1.1 503"));
}

#[test]
fn a_probe_may_ask_without_wanting_the_body() {
    let admin = Admin::start();
    for (path, status) in [("/-/healthy", 200), ("/-/ready", 503), ("/metrics", 200)] {
        let request = format!("HEAD {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let (head, body) = admin.send(&request);
        assert!(head.starts_with(&format!("http/1.1 {status}")) && body.is_empty(), "{head}");
    }
}

#[test]
fn the_status_is_one_json_object() {
    let admin = Admin::start();
    admin.set_ready();
    let (_, body) = admin.get("/api/v1/status");
    let wanted = json!({
        "ready": true,
        "waiting": [],
        "version": "0.1.0",
        "uptime_seconds": 7,
        "agents": 3,
        "agents_limit": 10,
        "partitions": [{"topic": "calls", "partition": 1}],
        "misplaced": [{"topic": "calls", "reason": "no_key", "calls": 2}],
    });
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), wanted);
}

#[test]
fn an_agent_is_told_to_who_names_its_tenant() {
    let admin = Admin::start();
    let (head, body) = admin.get("/api/v1/agents/billing%2Feu?tenant=acme");
    assert!(head.starts_with("http/1.1 200") && head.contains("application/json"), "{head}");
    assert_eq!(body, r#"{"agent_id":"billing/eu"}"#);
    let (head, body) = admin.get("/api/v1/agents/nobody?tenant=acme");
    assert!(head.starts_with("http/1.1 404") && body.contains("no such agent"), "{head}{body}");
    let (head, body) = admin.get("/api/v1/agents/nobody");
    assert!(head.starts_with("http/1.1 400") && body.contains("?tenant="), "{head}{body}");
}

const TOKEN: &str = "let-me-have-everything";

fn ask_for_everything(admin: &Admin, token: &str) -> (String, String) {
    let head = "GET /api/v1/baselines HTTP/1.1\r\nhost: x\r\nconnection: close";
    admin.send(&format!("{head}\r\nauthorization: Bearer {token}\r\n\r\n"))
}

#[test]
fn everything_learned_is_for_who_has_the_token_alone() {
    let admin = Admin::start();
    let (head, body) = ask_for_everything(&admin, TOKEN);
    assert!(head.starts_with("http/1.1 404") && body.contains("exports are off"), "{head}{body}");
    let write: Exporter = Arc::new(|out| out.write_all(&vec![b'x'; 3 << 20]));
    let admin = Admin::with(Some(Exports::new(TOKEN.into(), write)));
    for token in ["", "x", "let-me-have-everythin", &TOKEN.to_uppercase()] {
        let (head, body) = ask_for_everything(&admin, token);
        assert!(head.starts_with("http/1.1 401") && head.contains("bearer"), "{token}: {head}");
        assert!(!body.contains("xx"), "{body}");
    }
    assert!(admin.get("/api/v1/baselines").0.starts_with("http/1.1 401"));
    let (head, body) = ask_for_everything(&admin, TOKEN);
    assert!(head.starts_with("http/1.1 200") && head.contains("octet-stream"), "{head}");
    assert_eq!(body.bytes().filter(|byte| *byte == b'x').count(), 3 << 20);
}

#[test]
fn one_export_at_a_time_and_one_that_fails_is_seen_to_be_cut() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let write: Exporter = Arc::new(move |out| {
        out.write_all(b"a part")?;
        out.flush()?;
        wait.lock().unwrap().recv().unwrap();
        Err(std::io::Error::other("the disk of the world is full"))
    });
    let admin = Admin::with(Some(Exports::new(TOKEN.into(), write)));
    let mut first = TcpStream::connect(admin.address).unwrap();
    let head = "GET /api/v1/baselines HTTP/1.1\r\nhost: x\r\nconnection: close";
    write!(first, "{head}\r\nauthorization: Bearer {TOKEN}\r\n\r\n").unwrap();
    let mut begin = Vec::new();
    while !String::from_utf8_lossy(&begin).contains("a part") {
        let mut byte = [0];
        first.read_exact(&mut byte).unwrap();
        begin.extend(byte);
    }
    let (head, body) = ask_for_everything(&admin, TOKEN);
    assert!(head.starts_with("http/1.1 429") && body.contains("under way"), "{head}{body}");
    go.send(()).unwrap();
    let mut rest = Vec::new();
    drop(first.read_to_end(&mut rest));
    let rest = String::from_utf8_lossy(&rest);
    assert!(!rest.ends_with("0\r\n\r\n"), "{rest}");
}

#[test]
fn nothing_else_is_there_and_nothing_can_be_changed() {
    let admin = Admin::start();
    assert!(admin.get("/").0.starts_with("http/1.1 404"));
    assert!(admin.get("/debug/heap").0.starts_with("http/1.1 404"));
    let post =
        "POST /-/ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    assert!(admin.send(post).0.starts_with("http/1.1 405"));
}

#[test]
fn a_body_that_is_announced_and_never_sent_keeps_nobody_waiting() {
    let admin = Admin::start();
    let request =
        "GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 99999999\r\n\r\n";
    assert!(admin.send(request).0.starts_with("http/1.1 200"));
}

#[test]
fn headers_without_end_are_refused() {
    let admin = Admin::start();
    let mut stream = TcpStream::connect(admin.address).unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\n").unwrap();
    let line = format!("x-pad: {}\r\n", "y".repeat(8_000));
    let mut taken = 0;
    while taken < 64 << 20 && stream.write_all(line.as_bytes()).is_ok() {
        taken += line.len();
    }
    assert!(taken < 64 << 20, "{taken} bytes of headers were taken");
    assert!(admin.get("/livez").0.starts_with("http/1.1 200"));
}

#[test]
fn a_client_that_says_nothing_does_not_keep_others_from_asking() {
    let admin = Admin::start();
    let silent: Vec<TcpStream> =
        (0..50).map(|_| TcpStream::connect(admin.address).unwrap()).collect();
    assert!(admin.get("/livez").0.starts_with("http/1.1 200"));
    drop(silent);
}
