//! `toolwarden bench latency`: how long it is from the broker's append of a call to the POST of the
//! alert that it causes, while calls come at an even rate.
//!
//! A whole instance reads a topic whose records the broker stamps, and tells a webhook in this
//! process. Every few hundredths of a second an agent that was never seen loops; the call that its
//! alert names as its trigger is looked up in the topic afterwards, and what counts is the time from
//! its stamp to the arrival of the alert. The stamp of the alert in its topic parts that in two.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use base64::Engine as _;
use ipnet::IpNet;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::alert::AlertStatus;
use crate::config::{Config, Receiver};
use crate::event::Timestamp;
use crate::kafka::{ClientSettings, Feeder, Topic, TopicReader, TopicRecord, ensure_topics};
use crate::pipeline::bench_latency::feed::{Fed, LOOPING_TENANT, feed};
use crate::pipeline::clock::{self, Moment};
use crate::pipeline::instance::{Instance, client_settings};
use crate::pipeline::loopback;
use crate::policy::Rules;

mod feed;
mod summary;

pub use summary::Summary;

/// How long the instance may take to own every partition, and the last alert to arrive.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a topic that is read to its end may bring nothing.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// What is measured.
#[derive(Clone, Debug)]
pub struct LatencyOptions {
    /// Calls a second.
    pub rate: u64,
    /// Agents that make them.
    pub agents: u32,
    /// Partitions of the topic.
    pub partitions: i32,
    /// Worker threads of the instance.
    pub workers: usize,
    /// Seconds of the same load before what is measured.
    pub warm_up_seconds: u64,
    /// Seconds that are measured.
    pub seconds: u64,
    /// Agents that begin to loop, a second.
    pub alerts_a_second: u32,
    /// The seed of the calls.
    pub seed: u64,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct LatencyReport {
    /// Calls a second that were asked for.
    pub rate_wanted: u64,
    /// Calls a second that the broker took while it was measured.
    pub rate_reached: f64,
    /// Agents that made them.
    pub agents: u32,
    /// Partitions of the topic.
    pub partitions: i32,
    /// Worker threads of the instance.
    pub workers: usize,
    /// Seconds that were measured.
    pub seconds: u64,
    /// Calls that were not judged yet when the last one was sent.
    pub behind_at_end: u64,
    /// Agents that looped.
    pub alerts_expected: u64,
    /// Those of them whose alert arrived.
    pub alerts_arrived: u64,
    /// From the broker's append of the call to the arrival of its alert, in milliseconds.
    pub append_to_post_ms: Summary,
    /// The part of that until the alert was given to the client of its topic.
    pub append_to_alert_ms: Summary,
    /// The part after that: the alerts topic, its consumer, the note of the delivery, the POST.
    pub alert_to_post_ms: Summary,
}

/// A place in the topic of calls.
type Place = (i32, i64);

/// The first alert on one agent, as it arrived.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    trigger: Place,
    at: Timestamp,
}

/// What has arrived, by agent: no more of them than agents that loop.
#[derive(Clone, Debug, Default)]
struct Arrivals(Arc<Mutex<BTreeMap<String, Arrival>>>);

impl Arrivals {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arrival>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one notification in. Returns whether it is one.
    fn take(&self, body: &[u8]) -> bool {
        let at = clock::wall();
        let Ok(word) = serde_json::from_slice::<Notification>(body) else { return false };
        if let Some((agent, trigger)) = word.data.begin() {
            self.lock().entry(agent).or_insert(Arrival { trigger, at });
        }
        true
    }
}

/// As much of a notification as is needed.
#[derive(Debug, Deserialize)]
struct Notification {
    data: Word,
}

/// As much of an alert as is needed.
#[derive(Debug, Deserialize)]
struct Word {
    status: AlertStatus,
    tenant_id: String,
    agent_id: String,
    trigger: Option<Trigger>,
}

/// The place of the call that caused an alert.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Trigger {
    partition: i32,
    offset: i64,
}

impl Word {
    /// The agent and the trigger, if it is the first word on an agent that loops.
    fn begin(self) -> Option<(String, Place)> {
        let is_first = self.status == AlertStatus::Firing && self.tenant_id == LOOPING_TENANT;
        let trigger = self.trigger.filter(|_| is_first)?;
        Some((self.agent_id, (trigger.partition, trigger.offset)))
    }
}

/// Measures; `say` is told how it goes.
///
/// # Errors
///
/// When the cluster cannot be reached, or the instance does not get its partitions.
pub async fn latency(
    base: &Config,
    options: &LatencyOptions,
    (rules, say): (&Rules, &mut dyn FnMut(&str)),
) -> anyhow::Result<LatencyReport> {
    let arrivals = Arrivals::default();
    let receiver = receive(arrivals.clone()).await?;
    let config = configuration(base, options, receiver);
    let client = client_settings(&config.kafka);
    let calls = topic_of(&config)?.to_owned();
    make_topics(&config, &client, (&calls, options.partitions)).await?;
    let instance = Instance::start(&config, rules.clone()).await?;
    joined(&instance, options).await?;
    say(&format!(
        "{} calls a second to {calls}, {} s to warm up and {} s to measure",
        options.rate, options.warm_up_seconds, options.seconds
    ));
    let feeder = Feeder::new(&client, &calls)?;
    let told = options.clone();
    let fed = tokio::task::spawn_blocking(move || feed(&feeder, &told)).await??;
    let behind_at_end = fed.calls.saturating_sub(instance.calls_accounted_for());
    let waiting = Moment::now();
    while count(arrivals.lock().len()) < fed.loops && waiting.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::task::spawn_blocking(move || instance.shut_down()).await?;
    let arrived = std::mem::take(&mut *arrivals.lock());
    say(&format!("{} of {} alerts arrived", arrived.len(), fed.loops));
    let spans = spans(&client, (&calls, &config.topics.alerts), (&fed, &arrived))?;
    Ok(LatencyReport {
        rate_wanted: options.rate,
        rate_reached: spans.rate,
        agents: options.agents,
        partitions: options.partitions,
        workers: options.workers,
        seconds: options.seconds,
        behind_at_end,
        alerts_expected: fed.loops,
        alerts_arrived: count(arrived.len()),
        append_to_post_ms: Summary::of(spans.append_to_post),
        append_to_alert_ms: Summary::of(spans.append_to_alert),
        alert_to_post_ms: Summary::of(spans.alert_to_post),
    })
}

/// The topic of calls of this run.
fn topic_of(config: &Config) -> anyhow::Result<&str> {
    config.sources.first().map(|it| it.topic.as_str()).context("there is no source")
}

/// An instance between topics of this run's own, which tells `receiver`.
fn configuration(base: &Config, options: &LatencyOptions, receiver: SocketAddr) -> Config {
    let name = format!("toolwarden.bench.{}", clock::wall().as_millis());
    let mut config = base.clone();
    config.kafka.group_id.clone_from(&name);
    config.kafka.workers = options.workers;
    config.sources.truncate(1);
    if let Some(source) = config.sources.first_mut() {
        source.topic = format!("{name}.calls");
    }
    let topics = &mut config.topics;
    topics.alerts = format!("{name}.alerts");
    topics.deliveries = format!("{name}.deliveries");
    topics.dead_letter = format!("{name}.dead-letter");
    topics.audit = format!("{name}.audit");
    topics.verdicts = format!("{name}.verdicts");
    topics.state = format!("{name}.state");
    topics.groups = Some(format!("{name}.groups"));
    config.server.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    // Both ends are this process: the secret protects nothing.
    let secret = base64::engine::general_purpose::STANDARD.encode([0x5a; 32]);
    config.receivers = vec![Receiver {
        name: "bench".to_owned(),
        url: SecretString::from(format!("http://{receiver}/alerts")),
        signing_secret: SecretString::from(format!("whsec_{secret}")),
        previous_signing_secret: None,
        // An agent that is new pages nobody by default.
        min_score: 0.0,
        send_resolved: true,
        timeout: Duration::from_secs(10),
        retry_for: Duration::from_secs(3_600),
        dedup_for: Duration::from_secs(86_400),
        // What is measured is not the bound on it: twice what comes, 10 at least, as by default.
        catch_up_rate: options.alerts_a_second.saturating_mul(2).max(10),
        allow_networks: vec![IpNet::from(receiver.ip())],
    }];
    config
}

async fn make_topics(
    config: &Config,
    client: &ClientSettings,
    (calls, partitions): (&str, i32),
) -> anyhow::Result<()> {
    let topics = &config.topics;
    let mut wanted = vec![
        Topic::stamped(calls, partitions),
        Topic::beside(&topics.state, partitions),
        Topic::plain(&topics.alerts, 1),
        Topic::compacted(&topics.deliveries),
        Topic::plain(&topics.dead_letter, 1),
        Topic::plain(&topics.audit, 1),
        Topic::compacted(&topics.verdicts),
    ];
    wanted.extend(topics.groups.as_deref().map(Topic::compacted));
    ensure_topics(client, &wanted).await?;
    Ok(())
}

/// Starts the HTTP receiver; tells where it is.
async fn receive(arrivals: Arrivals) -> anyhow::Result<SocketAddr> {
    let take = move |body: Bytes| {
        let is_taken = arrivals.take(&body);
        async move { if is_taken { StatusCode::OK } else { StatusCode::BAD_REQUEST } }
    };
    loopback::serve(Router::new().route("/alerts", post(take))).await
}

/// Waits until the instance judges every partition.
async fn joined(instance: &Instance, options: &LatencyOptions) -> anyhow::Result<()> {
    let wanted = usize::try_from(options.partitions).unwrap_or(0);
    let waiting = Moment::now();
    loop {
        let reports = instance.signals.reports();
        let owned: usize = reports.values().map(|it| it.partitions.len()).sum();
        if owned == wanted && reports.values().all(|it| it.restoring == 0) {
            return Ok(());
        }
        if waiting.elapsed() > PATIENCE {
            bail!("the instance has {owned} of {wanted} partitions after {PATIENCE:?}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What the topics say afterwards.
#[derive(Debug, Default)]
struct Spans {
    rate: f64,
    append_to_post: Vec<f64>,
    append_to_alert: Vec<f64>,
    alert_to_post: Vec<f64>,
}

/// Looks up when each trigger was appended, and when its alert was made.
fn spans(
    client: &ClientSettings,
    (calls, alerts): (&str, &str),
    (fed, arrived): (&Fed, &BTreeMap<String, Arrival>),
) -> anyhow::Result<Spans> {
    let triggers: BTreeMap<Place, &Arrival> =
        arrived.values().map(|arrival| (arrival.trigger, arrival)).collect();
    let (from, until) = (fed.measured.0.as_millis(), fed.measured.1.as_millis());
    let mut appended: BTreeMap<Place, i64> = BTreeMap::new();
    let mut measured = 0_u32;
    read(client, calls, &mut |record| {
        let Some(stamp) = record.stamp_ms else { return };
        measured += u32::from((from..until).contains(&stamp));
        let place = (record.partition, record.offset);
        if triggers.contains_key(&place) {
            appended.insert(place, stamp);
        }
    })?;
    let mut made: BTreeMap<Place, i64> = BTreeMap::new();
    read(client, alerts, &mut |record| {
        let word = record.payload.as_deref().and_then(|it| serde_json::from_slice::<Word>(it).ok());
        let first = word.and_then(Word::begin).zip(record.stamp_ms);
        if let Some(((_, trigger), stamp)) = first.filter(|((_, it), _)| triggers.contains_key(it))
        {
            made.entry(trigger).or_insert(stamp);
        }
    })?;
    let seconds = fed.measured.1.secs_since(fed.measured.0).max(f64::EPSILON);
    let mut spans = Spans { rate: f64::from(measured) / seconds, ..Spans::default() };
    for (place, arrival) in triggers {
        let stamp =
            |of: &BTreeMap<Place, i64>| of.get(&place).map(|it| Timestamp::from_millis(*it));
        let append =
            stamp(&appended).context("a call that was alerted on is gone from its topic")?;
        let alert = stamp(&made).context("an alert that arrived is not in its topic")?;
        // Stamps are whole milliseconds, cut off: a span may seem longer than it was by less than one.
        spans.append_to_post.push(millis(arrival.at, append));
        spans.append_to_alert.push(millis(alert, append));
        spans.alert_to_post.push(millis(arrival.at, alert));
    }
    Ok(spans)
}

fn millis(at: Timestamp, since: Timestamp) -> f64 {
    at.secs_since(since) * 1e3
}

/// Shows every record that the topic has.
fn read(
    client: &ClientSettings,
    topic: &str,
    take: &mut dyn FnMut(TopicRecord),
) -> anyhow::Result<()> {
    let mut reader = TopicReader::new(client, &format!("{topic}.read"), topic)?;
    let mut heard = Moment::now();
    while !reader.is_caught_up() {
        match reader.next(Duration::from_millis(100))? {
            Some(record) => {
                heard = Moment::now();
                take(record);
            }
            None if heard.elapsed() > SILENCE_MAX => bail!("{topic} cannot be read to its end"),
            None => {}
        }
    }
    Ok(())
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
