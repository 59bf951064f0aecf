//! The program running as a child process beside a Kafka, and that Kafka as a test sees it: what it
//! is given, what it wrote and what its group committed. No test itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::variable;

/// How long anything that must happen may take on a machine that is busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A moment; the tests' own clock.
#[expect(clippy::disallowed_methods, reason = "a test must end when nothing happens")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Waits until `found` finds something.
pub(crate) fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let began = now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// A configuration for one instance; every test has a group and topics of its own.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) bootstrap: String,
    /// The group, and the beginning of the names of the topics written.
    pub(crate) name: String,
    /// Source topics and their formats.
    pub(crate) sources: Vec<(String, &'static str)>,
    pub(crate) commit_interval: &'static str,
    /// After how long without a heartbeat a member counts as dead, in milliseconds; else as long as
    /// the program says itself.
    pub(crate) session_ms: Option<u32>,
    /// Further properties of librdkafka, each followed by a comma.
    pub(crate) properties: String,
    /// Further fields of `kafka`, each with its line's end and the next line's indent.
    pub(crate) kafka: String,
    /// Further fields of `server`, as they stand in the file.
    pub(crate) server: &'static str,
    /// Further sections, as they stand in the file.
    pub(crate) more: String,
    pub(crate) environment: Vec<(&'static str, String)>,
    /// Further options of `run`.
    pub(crate) arguments: Vec<String>,
    /// What a shell says before it becomes the program: `ulimit -n 64`.
    pub(crate) limits: &'static str,
}

impl Settings {
    /// Settings for one native source topic, `NAME.calls`.
    pub(crate) fn new(bootstrap: &str, name: &str) -> Self {
        Self {
            bootstrap: bootstrap.to_owned(),
            name: name.to_owned(),
            sources: vec![(format!("{name}.calls"), "native")],
            commit_interval: "200ms",
            session_ms: Some(6_000),
            properties: String::new(),
            kafka: String::new(),
            server: "",
            more: String::new(),
            environment: Vec::new(),
            arguments: Vec::new(),
            limits: ":",
        }
    }

    pub(crate) fn calls(&self) -> &str {
        &self.sources[0].0
    }

    /// Where ingest writes the calls of sources that are not keyed.
    pub(crate) fn keyed(&self) -> String {
        format!("{}.keyed", self.name)
    }

    pub(crate) fn alerts(&self) -> String {
        format!("{}.alerts", self.name)
    }

    pub(crate) fn deliveries(&self) -> String {
        format!("{}.deliveries", self.name)
    }

    pub(crate) fn dead_letter(&self) -> String {
        format!("{}.dead-letter", self.name)
    }

    pub(crate) fn audit(&self) -> String {
        format!("{}.audit", self.name)
    }

    pub(crate) fn verdicts(&self) -> String {
        format!("{}.verdicts", self.name)
    }

    pub(crate) fn state(&self) -> String {
        format!("{}.state", self.name)
    }

    pub(crate) fn groups(&self) -> String {
        format!("{}.groups", self.name)
    }

    /// The topics that are written and have one partition.
    pub(crate) fn written(&self) -> [String; 5] {
        [self.alerts(), self.dead_letter(), self.verdicts(), self.audit(), self.groups()]
    }

    /// The file.
    pub(crate) fn yaml(&self) -> String {
        let session = self.session_ms.map_or(String::new(), |session| {
            format!("session.timeout.ms: {session}, heartbeat.interval.ms: 500")
        });
        let brokers: Vec<&str> = self.bootstrap.split(',').collect();
        let mut text = format!(
            "version: 1\nkafka:\n  brokers: {:?}\n  group_id: {}\n  workers: 2\n  \
             commit_interval: {}\n  shutdown_timeout: 10s\n  {}\
             properties: {{{}{session}}}\nsources:\n",
            brokers, self.name, self.commit_interval, self.kafka, self.properties
        );
        for (topic, format) in &self.sources {
            writeln!(text, "  - {{topic: {topic}, format: {format}, tenant: acme}}").unwrap();
        }
        let [alerts, dead_letter, verdicts, audit, groups] = self.written();
        writeln!(
            text,
            "topics: {{calls: {}, alerts: {alerts}, dead_letter: {dead_letter}, verdicts: {verdicts}, audit: {audit}, \
             groups: {groups}, state: {}, deliveries: {}}}",
            self.keyed(),
            self.state(),
            self.deliveries()
        )
        .unwrap();
        let server = self.server;
        writeln!(text, "server: {{listen: \"127.0.0.1:0\", {server}}}\n{}", self.more).unwrap();
        text
    }
}

/// `toolwarden run` as a child process; killed when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    process: Child,
    address: SocketAddr,
    log: PathBuf,
    directory: TempDir,
}

impl Running {
    /// Starts an instance and waits until it listens.
    pub(crate) fn start(settings: &Settings) -> Self {
        let mut running = Self::spawn(settings);
        running.address = wait_for("the instance listens", || {
            let said = running.log();
            if let Some(status) = running.process.try_wait().unwrap() {
                panic!("it ended at once, {status}:\n{said}\n{}", settings.yaml());
            }
            said.lines().find_map(listening)
        });
        running
    }

    /// Starts an instance that may end before it answers: it can only be waited for and killed.
    pub(crate) fn spawn(settings: &Settings) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("config.yaml");
        fs::write(&config, settings.yaml()).unwrap();
        let log = directory.path().join("log");
        let process = Command::new("sh")
            .args(["-c", &format!("{}; exec \"$0\" \"$@\"", settings.limits)])
            .arg(program())
            .args(["--log-format", "json", "run", "--config"])
            .arg(&config)
            .args(&settings.arguments)
            .envs(settings.environment.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { process, address: SocketAddr::from(([127, 0, 0, 1], 0)), log, directory }
    }

    /// The configuration it runs with.
    pub(crate) fn config(&self) -> PathBuf {
        self.directory.path().join("config.yaml")
    }

    /// Where it answers.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// The status and body of an answer.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        get(self.address, path).unwrap_or_else(|e| panic!("{path}: {e}\n{}", self.log()))
    }

    /// What `/metrics` says now.
    pub(crate) fn metrics(&self) -> Series {
        let (status, text) = self.get("/metrics");
        assert_eq!(status, 200, "{text}");
        Series::parse(&text)
    }

    /// Waits until `/metrics` says something; the log is shown when it never does.
    pub(crate) fn wait_until(&self, what: &str, mut holds: impl FnMut(&Series) -> bool) -> Series {
        let began = now();
        loop {
            let metrics = self.metrics();
            if holds(&metrics) {
                return metrics;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "waited in vain: {what}\n{}\n{}",
                self.get("/metrics").1,
                self.log()
            );
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until `calls` calls have been judged, no more and no less for a while.
    pub(crate) fn wait_until_judged(&self, calls: usize) {
        self.wait_until(&format!("{calls} calls are judged"), |metrics| {
            metrics.count("events_processed_total") >= calls
        });
    }

    /// Source partitions it owns.
    pub(crate) fn partitions(&self) -> Vec<(String, i32)> {
        let status: Value = serde_json::from_str(&self.get("/api/v1/status").1).unwrap();
        let owned = status["partitions"].as_array().unwrap().iter().map(|owned| {
            let partition = i32::try_from(owned["partition"].as_i64().unwrap()).unwrap();
            (owned["topic"].as_str().unwrap().to_owned(), partition)
        });
        owned.collect()
    }

    /// Sends a signal, by its name.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.process.id(), name);
    }

    /// Asks it to end as an orchestrator does, and waits for that.
    pub(crate) fn terminate(&mut self) -> (ExitStatus, Duration) {
        let began = now();
        self.signal("TERM");
        let status = wait_for("it ends", || self.process.try_wait().unwrap());
        (status, began.elapsed())
    }

    /// Ends it as a power cut does.
    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().unwrap()
    }

    /// What the kernel says of it, in bytes: `VmHWM:` is the most memory it has had in use.
    pub(crate) fn status_bytes(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let bytes = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        bytes.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
    }

    /// Sets a limit of the running process, as `prlimit` takes it.
    pub(crate) fn limit(&self, limit: &str) {
        let process = self.process.id().to_string();
        let set = Command::new("prlimit").args(["--pid", &process, limit]).status().unwrap();
        assert!(set.success(), "{limit}");
    }

    /// Whether it runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Neither can be helped while a test unwinds.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// The program that runs; `TOOLWARDEN_TEST_PROGRAM` names another one, to measure a release.
fn program() -> String {
    let own = || env!("CARGO_BIN_EXE_toolwarden").to_owned();
    variable("TOOLWARDEN_TEST_PROGRAM").unwrap_or_else(own)
}

/// Sends a signal to a process this test started.
pub(crate) fn signal(process: u32, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &process.to_string()]).status().unwrap();
    assert!(sent.success());
}

fn listening(line: &str) -> Option<SocketAddr> {
    let line: Value = serde_json::from_str(line).ok()?;
    let fields = line.get("fields").unwrap_or(&line);
    fields["listen"].as_str()?.parse().ok()
}

/// Asks an admin listener.
pub(crate) fn get(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Ok((status, body.to_owned()))
}

/// One scrape: every series by its name and labels.
#[derive(Debug)]
pub(crate) struct Series(BTreeMap<String, f64>);

impl Series {
    fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let series = lines.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            let name = name.strip_prefix("toolwarden_").unwrap_or(name);
            Some((name.to_owned(), value.parse().ok()?))
        });
        Self(series.collect())
    }

    /// The sum of a family, without the program's prefix, over series whose labels hold all of
    /// `labels`, written `name="value"`.
    pub(crate) fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        self.of(name)
            .filter(|(known, _)| labels.iter().all(|it| known.contains(it)))
            .map(|it| it.1)
            .sum()
    }

    /// The sum of a family of counters.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.count_of(name, &[])
    }

    /// The sum of a family of counters over some labels.
    #[expect(
        clippy::as_conversions,
        clippy::cast_sign_loss,
        clippy::cast_possible_truncation,
        reason = "a count of a test"
    )]
    pub(crate) fn count_of(&self, name: &str, labels: &[&str]) -> usize {
        self.sum(name, labels) as usize
    }

    /// The series of a family: labels and value.
    pub(crate) fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.iter().filter_map(move |(series, value)| {
            let labels = series.strip_prefix(name)?;
            (labels.is_empty() || labels.starts_with('{')).then_some((labels, *value))
        })
    }

    /// The partitions for which a family has a series.
    pub(crate) fn partitions_of(&self, name: &str, topic: &str) -> Vec<i32> {
        let topic = format!("topic=\"{topic}\"");
        let of_topic = self.of(name).filter(|(labels, _)| labels.contains(&topic));
        let mut partitions: Vec<i32> = of_topic
            .map(|(labels, _)| {
                let (_, rest) = labels.split_once("partition=\"").unwrap();
                rest.split('"').next().unwrap().parse().unwrap()
            })
            .collect();
        partitions.sort_unstable();
        partitions
    }
}

/// A record as it stands in a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: Vec<u8>,
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) headers: BTreeMap<String, String>,
    /// When it is said to be appended; now if not said.
    pub(crate) appended_ms: Option<i64>,
}

impl Stored {
    /// A record to produce; `partition` -1 leaves that to the key.
    pub(crate) fn new(
        partition: i32,
        key: impl Into<Vec<u8>>,
        payload: impl Into<Vec<u8>>,
    ) -> Self {
        Self { partition, key: key.into(), payload: Some(payload.into()), ..Self::default() }
    }

    /// The value as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(self.payload.as_ref().unwrap()).unwrap()
    }
}

fn client(bootstrap: &str, settings: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    for (name, value) in settings {
        config.set(*name, *value);
    }
    config
}

/// Produces records and waits until the cluster has them.
pub(crate) fn produce(bootstrap: &str, topic: &str, records: &[Stored]) {
    let settings = [
        ("message.max.bytes", "20000000"),
        ("linger.ms", "5"),
        ("queue.buffering.max.messages", "1000000"),
        ("partitioner", "murmur2_random"),
    ];
    let producer: BaseProducer = client(bootstrap, &settings).create().unwrap();
    for record in records {
        let mut headers = OwnedHeaders::new();
        for (key, value) in &record.headers {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let mut outgoing = BaseRecord::to(topic).key(&record.key).headers(headers);
        outgoing.payload = record.payload.as_ref();
        outgoing.timestamp = record.appended_ms;
        if record.partition >= 0 {
            outgoing = outgoing.partition(record.partition);
        }
        if let Err((error, _)) = producer.send(outgoing) {
            panic!("{error}");
        }
    }
    producer.flush(PATIENCE).unwrap();
}

/// Reads a topic from its beginning to its present end, partition by partition.
pub(crate) fn read(bootstrap: &str, topic: &str) -> Vec<Stored> {
    let settings = [
        ("group.id", "reading-tests"),
        ("enable.auto.commit", "false"),
        ("auto.offset.reset", "earliest"),
        ("fetch.wait.max.ms", "50"),
    ];
    let consumer: BaseConsumer = client(bootstrap, &settings).create().unwrap();
    let mut open = BTreeMap::new();
    let mut list = TopicPartitionList::new();
    for partition in partitions(&consumer, topic) {
        let (low, high) = consumer.fetch_watermarks(topic, partition, PATIENCE).unwrap();
        if low < high {
            open.insert(partition, high);
            list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
        }
    }
    consumer.assign(&list).unwrap();
    let mut found = Vec::new();
    let began = now();
    while !open.is_empty() {
        assert!(began.elapsed() < PATIENCE, "{topic} cannot be read to its end: {open:?}");
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message.unwrap();
        let headers = message.headers().into_iter().flat_map(Headers::iter).map(|header| {
            let value = String::from_utf8_lossy(header.value.unwrap_or_default());
            (header.key.to_owned(), value.into_owned())
        });
        let partition = message.partition();
        found.push(Stored {
            partition,
            offset: message.offset(),
            key: message.key().unwrap_or_default().to_vec(),
            payload: message.payload().map(<[u8]>::to_vec),
            headers: headers.collect(),
            appended_ms: None,
        });
        if open.get(&partition).is_some_and(|high| message.offset() + 1 >= *high) {
            open.remove(&partition);
        }
    }
    found.sort_by_key(|record| (record.partition, record.offset));
    found
}

fn partitions(consumer: &BaseConsumer, topic: &str) -> Vec<i32> {
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
    metadata.topics()[0].partitions().iter().map(rdkafka::metadata::MetadataPartition::id).collect()
}

/// For each partition of a topic what the group committed, 0 for nothing, and its end.
pub(crate) fn committed(bootstrap: &str, group: &str, topic: &str) -> BTreeMap<i32, (i64, i64)> {
    let consumer: BaseConsumer = client(bootstrap, &[("group.id", group)]).create().unwrap();
    let mut list = TopicPartitionList::new();
    for partition in partitions(&consumer, topic) {
        list.add_partition(topic, partition);
    }
    // The first group of a broker is there before its coordinator is.
    let list = wait_for("the coordinator tells what is committed", || {
        consumer.committed_offsets(list.clone(), PATIENCE).ok()
    });
    let of = |partition: i32| {
        let (_, high) = consumer.fetch_watermarks(topic, partition, PATIENCE).unwrap();
        match list.find_partition(topic, partition).unwrap().offset() {
            Offset::Offset(offset) => (offset, high),
            _ => (0, high),
        }
    };
    partitions(&consumer, topic).into_iter().map(|id| (id, of(id))).collect()
}

/// What several instances have said, one after the other.
pub(crate) fn logs(instances: &[&Running]) -> String {
    instances.iter().map(|it| it.log()).collect()
}

/// Waits until the group has committed every partition of its source topics to the end.
pub(crate) fn wait_until_committed(settings: &Settings, instances: &[&Running]) {
    wait_until_committed_within(PATIENCE, settings, instances);
}

/// The same, which may take as long as `patience` for each topic.
pub(crate) fn wait_until_committed_within(
    patience: Duration,
    settings: &Settings,
    instances: &[&Running],
) {
    for (topic, _) in &settings.sources {
        let began = now();
        loop {
            let committed = committed(&settings.bootstrap, &settings.name, topic);
            if committed.values().all(|(offset, end)| offset == end) {
                break;
            }
            let said = || logs(instances);
            assert!(began.elapsed() < patience, "{}: {committed:?}\n{}", settings.name, said());
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Each alert once, by its id and revision; a repeat must have the same bytes.
pub(crate) fn alerts_once<'a>(
    alerts: &'a [Stored],
    instances: &[&Running],
) -> BTreeMap<(String, u64), &'a Stored> {
    let mut once: BTreeMap<(String, u64), &Stored> = BTreeMap::new();
    for record in alerts {
        let json = record.json();
        let id = json["alert_id"].as_str().unwrap().to_owned();
        let key = (id, json["revision"].as_u64().unwrap());
        if let Some(known) = once.insert(key, record) {
            let said = || logs(instances);
            assert_eq!(known.payload, record.payload, "two bodies under one id\n{}", said());
        }
    }
    once
}

/// The alerts on a topic, as JSON without the positions of their calls, in one order.
pub(crate) fn alerts_without_positions(lines: impl IntoIterator<Item = Value>) -> Vec<String> {
    let mut alerts: Vec<String> = lines.into_iter().map(without_positions).collect();
    alerts.sort();
    alerts
}

fn without_positions(mut alert: Value) -> String {
    let strip = |call: &mut Value| {
        for field in ["topic", "partition", "offset"] {
            assert!(call.as_object_mut().unwrap().remove(field).is_some(), "no {field}");
        }
    };
    alert["evidence"].as_array_mut().unwrap().iter_mut().for_each(strip);
    if let Some(trigger) = alert.get_mut("trigger") {
        strip(trigger);
    }
    alert.to_string()
}
