//! A real Prometheus asks what the dashboard and the alert rules ask. What the files look like is
//! `dashboard`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::dashboard::{Query, alert_queries, metric_names, panel_queries};
use crate::support::{repository, slow_tests_are_wanted, succeed, text};

/// How many series an expression finds, or what Prometheus says against it.
pub(crate) type Answer = Result<usize, String>;

/// A running Prometheus with an empty store; stopped and removed when dropped.
#[derive(Debug)]
pub(crate) struct Prometheus {
    process: Child,
    url: String,
    _directory: TempDir,
}

impl Prometheus {
    /// Starts one that scrapes `target` every second and evaluates the shipped alerts.
    pub(crate) fn start(target: SocketAddr) -> Self {
        let directory = tempfile::tempdir().expect("a directory for Prometheus");
        let configuration = directory.path().join("prometheus.yml");
        let alerts = repository("helm/toolwarden/files/alerts.yaml");
        let settings = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: [{alerts:?}]\n\
             scrape_configs:\n  \
               - job_name: toolwarden\n    \
                 static_configs: [{{targets: ['{target}']}}]\n"
        );
        fs::write(&configuration, settings).expect("the settings are written");
        let address = free_address();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", configuration.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=error")
            .stdout(Stdio::null())
            .spawn()
            .expect("prometheus is installed");
        Self { process, url: format!("http://{address}"), _directory: directory }
    }

    /// Where it answers.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Waits until the target was scraped successfully this often.
    pub(crate) fn wait_for_scrapes(&mut self, scrapes: u32) {
        let scraped = format!("sum_over_time(up[5m]) >= {scrapes}");
        for _ in 0..300 {
            let status = self.process.try_wait().expect("its status can be read");
            assert!(status.is_none(), "prometheus ended: {status:?}");
            if let [(_, Ok(1..))] = evaluate(&self.url, std::slice::from_ref(&scraped)).as_slice() {
                return;
            }
            thread::sleep(Duration::from_millis(200));
        }
        panic!("the target was not scraped {scrapes} times within a minute");
    }

    /// The alert rules it could not evaluate, and why.
    pub(crate) fn rules_in_error(&self) -> Vec<String> {
        let reply = Asker::new(&self.url).ask("/api/v1/rules", None).expect("it lists its rules");
        let groups = reply["data"]["groups"].as_array().expect("groups").clone();
        let rules = groups.iter().flat_map(|group| group["rules"].as_array().expect("rules"));
        rules.filter(|rule| rule["health"] == "err").map(ToString::to_string).collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Neither can be helped while a test unwinds.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// An address on the loopback interface that was free a moment ago.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it has an address")
}

/// Evaluates PromQL expressions now, each by itself.
pub(crate) fn evaluate(prometheus_url: &str, expressions: &[String]) -> Vec<(String, Answer)> {
    let asker = Asker::new(prometheus_url);
    let answer = |expression: &String| {
        let reply = asker.ask("/api/v1/query", Some(expression))?;
        let series = reply["data"]["result"].as_array().map(Vec::len);
        series.ok_or_else(|| reply["error"].as_str().unwrap_or("no result").to_owned())
    };
    expressions.iter().map(|expression| (expression.clone(), answer(expression))).collect()
}

/// A client of one Prometheus.
struct Asker {
    runtime: Runtime,
    client: reqwest::Client,
    url: String,
}

impl Asker {
    fn new(url: &str) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { runtime, client, url: url.to_owned() }
    }

    fn ask(&self, path: &str, query: Option<&str>) -> Result<Value, String> {
        let address = format!("{}{path}", self.url);
        let request = match query {
            None => self.client.get(address),
            Some(query) => self
                .client
                .post(address)
                .header("content-type", "application/x-www-form-urlencoded")
                .body(format!("query={}", percent_encoded(query))),
        };
        let body = self.runtime.block_on(async { request.send().await?.bytes().await });
        serde_json::from_slice(&body.map_err(|e| e.to_string())?).map_err(|e| e.to_string())
    }
}

fn percent_encoded(query: &str) -> String {
    query.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Fills in Grafana's variables as "all instances, the last minutes".
fn filled_in(expression: &str) -> String {
    [("$__rate_interval", "1m"), ("$__range", "5m"), ("$job", ".+"), ("$instance", ".+")]
        .iter()
        .fold(expression.to_owned(), |text, (name, value)| text.replace(name, value))
}

/// The selectors of an alert's condition: the condition itself finds nothing while all is well.
fn selectors(expression: &str) -> Vec<String> {
    let labels = |rest: &str| match rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
        Some((labels, _)) => format!("{{{labels}}}"),
        None => String::new(),
    };
    let selector = |name: &str| {
        let (_, rest) = expression.split_once(name).expect("the name is from the expression");
        format!("last_over_time({name}{}[5m])", labels(rest))
    };
    metric_names(expression).into_iter().map(selector).collect()
}

/// Metrics that may have no series on a healthy instance, with the reason.
fn empty_is_healthy() -> BTreeMap<String, String> {
    let list = text("fixtures/empty-is-healthy.txt");
    let lines = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let entry = |line: &str| {
        let (metric, reason) = line.split_once(": ").expect("`metric: reason`");
        assert!(reason.len() > 10, "{metric}: give a reason");
        (metric.to_owned(), reason.to_owned())
    };
    lines.map(entry).collect()
}

/// Lets a real Prometheus scrape `metrics` and asserts that every panel's query, and every metric
/// an alert looks at, finds a series there or is known to be empty when all is well.
pub(crate) fn assert_dashboard_and_alerts_answer(metrics: SocketAddr) {
    let mut prometheus = Prometheus::start(metrics);
    prometheus.wait_for_scrapes(5);
    assert_eq!(prometheus.rules_in_error(), Vec::<String>::new());
    let healthy = empty_is_healthy();
    let of_alerts = alert_queries().into_iter().flat_map(|Query { place, expression }| {
        let query = move |expression| Query { place: place.clone(), expression };
        selectors(&expression).into_iter().map(query)
    });
    let queries: Vec<Query> = panel_queries().into_iter().chain(of_alerts).collect();
    let mut wrong = Vec::new();
    for _ in 0..60 {
        wrong = unanswered(prometheus.url(), &queries, &healthy);
        if wrong.is_empty() {
            return;
        }
        // Statistics of a consumer come seconds after its start.
        thread::sleep(Duration::from_secs(1));
    }
    panic!("{} of {} within a minute:\n{}", wrong.len(), queries.len(), wrong.join("\n"));
}

/// The queries that fail, and those that find nothing although they should.
fn unanswered(url: &str, queries: &[Query], healthy: &BTreeMap<String, String>) -> Vec<String> {
    let filled: Vec<String> = queries.iter().map(|query| filled_in(&query.expression)).collect();
    let mut wrong = Vec::new();
    for (Query { place, .. }, (expression, answer)) in queries.iter().zip(evaluate(url, &filled)) {
        let may_be_empty = metric_names(&expression).iter().any(|name| healthy.contains_key(*name));
        match answer {
            Ok(0) if !may_be_empty => wrong.push(format!("{place}: no series: {expression}")),
            Ok(_) => {}
            Err(said) => wrong.push(format!("{place}: {said}: {expression}")),
        }
    }
    wrong
}

/// Serves a metrics page whose counters have counted on at every look.
fn serve(page: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it has an address");
    thread::spawn(move || {
        for (looks, stream) in (1..).zip(listener.incoming()) {
            reply(stream.expect("a connection"), &counted_on(page, looks));
        }
    });
    address
}

fn reply(mut stream: TcpStream, body: &str) {
    let reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let head = reader.lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    assert!(head.count() > 0, "a request has a head");
    let header = "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\nconnection: close";
    let whole = format!("{header}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(whole.as_bytes()).expect("Prometheus reads it");
}

/// The page with every counter and histogram multiplied.
fn counted_on(page: &str, looks: u32) -> String {
    let mut grows = false;
    let mut lines = Vec::new();
    for line in page.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            grows = family.ends_with(" counter") || family.ends_with(" histogram");
        }
        let sample = line.rsplit_once(' ').filter(|_| grows && !line.starts_with('#'));
        let Some((series, value)) = sample else {
            lines.push(line.to_owned());
            continue;
        };
        let value: f64 = value.parse().expect("a number");
        lines.push(format!("{series} {}", value * f64::from(looks)));
    }
    lines.join("\n") + "\n"
}

const HEALTHY: &str = include_str!("../../fixtures/prometheus/healthy.prom");

#[test]
fn every_panel_and_every_alert_finds_its_series_on_a_healthy_page() {
    if slow_tests_are_wanted() {
        assert_dashboard_and_alerts_answer(serve(HEALTHY));
    }
}

/// A running demo; ended when dropped.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn every_panel_and_every_alert_finds_its_series_on_the_running_program() {
    if !slow_tests_are_wanted() {
        return;
    }
    let metrics = free_address();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_toolwarden"));
    demo.args(["demo", "--keep", "--listen", &metrics.to_string()]);
    let demo = demo.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    let _demo = Demo(demo);
    assert_dashboard_and_alerts_answer(metrics);
}

#[test]
fn no_alert_fires_on_a_healthy_page() {
    if !slow_tests_are_wanted() {
        return;
    }
    let mut prometheus = Prometheus::start(serve(HEALTHY));
    prometheus.wait_for_scrapes(5);
    let conditions: Vec<String> = alert_queries().into_iter().map(|q| q.expression).collect();
    for (condition, answer) in evaluate(prometheus.url(), &conditions) {
        assert_eq!(answer, Ok(0), "{condition}");
    }
}

#[test]
fn a_query_that_finds_nothing_and_one_that_is_no_query_are_told_apart() {
    if !slow_tests_are_wanted() {
        return;
    }
    let mut prometheus = Prometheus::start(serve("up_there 1\n"));
    prometheus.wait_for_scrapes(1);
    let expressions = ["toolwarden_no_such_metric", "sum(", "up_there"].map(str::to_owned);
    let answers = evaluate(prometheus.url(), &expressions);
    assert_eq!((&answers[0].1, &answers[2].1), (&Ok(0), &Ok(1)));
    assert!(answers[1].1.as_ref().is_err_and(|said| said.contains("parse error")), "{answers:?}");
}

#[test]
fn promtool_accepts_the_alerts_and_sees_each_fire_and_keep_silent() {
    if !slow_tests_are_wanted() {
        return;
    }
    let files = repository("helm/toolwarden/files");
    let promtool = || {
        let mut command = Command::new("promtool");
        command.current_dir(&files);
        command
    };
    succeed(promtool().args(["check", "rules", "--lint=all", "alerts.yaml"]));
    succeed(promtool().args(["test", "rules", "tests/alerts_test.yaml"]));
    let tests = text("helm/toolwarden/files/tests/alerts_test.yaml");
    for Query { place, .. } in alert_queries() {
        for case in ["fires", "is silent"] {
            assert!(tests.contains(&format!("'{place} {case}: ")), "{place} {case}: no case");
        }
    }
}
