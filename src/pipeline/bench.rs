//! `toolwarden bench pipeline`: the whole way of a call against what bare librdkafka can do.
//!
//! One topic, filled once. Then, in turn and in one run, a bare consumer reads it to the end and a
//! whole instance judges it to the end; what counts is the ratio of the two, for the machine's speed
//! is nobody's achievement.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Serialize;

use crate::config::Config;
use crate::generate::{Scenario, write_events};
use crate::kafka::{BareConsumer, ClientSettings, Feeder, Topic, delete_topic, ensure_topics};
use crate::pipeline::clock::{self, Moment};
use crate::pipeline::instance::Instance;
use crate::policy::Rules;

/// How long a reader may see nothing before the run is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is measured.
#[derive(Clone, Debug)]
pub struct BenchOptions {
    /// Calls in the topic.
    pub calls: u64,
    /// Agents that make them.
    pub agents: u32,
    /// Partitions of the topic.
    pub partitions: i32,
    /// Worker threads of the instance.
    pub workers: usize,
    /// How often each is measured; the medians are compared.
    pub rounds: usize,
    /// Whether each round also measures an instance that does not write down what it knows.
    pub without_state: bool,
    /// The seed of the calls.
    pub seed: u64,
}

/// One reader's speed.
#[derive(Clone, Debug, Serialize)]
pub struct Speed {
    /// Calls a second, each round.
    pub rounds: Vec<f64>,
    /// Their median.
    pub median: f64,
    /// Processor time a call, of all threads, in microseconds: the median of the rounds. What else
    /// the machine does changes it less than the calls a second.
    pub processor_us: f64,
    /// Records written to the state topic meanwhile: the median of the rounds.
    pub state_records: f64,
}

/// What one round of a reader took.
#[derive(Clone, Copy, Debug)]
struct Took {
    calls_per_second: f64,
    processor_us: f64,
    state_records: f64,
}

/// A span that is measured.
#[derive(Clone, Copy, Debug)]
struct Watch {
    began: Moment,
    processor: Duration,
}

impl Watch {
    fn start() -> Self {
        Self { began: Moment::now(), processor: clock::processor() }
    }

    /// `calls` were read since it was started.
    fn stop(self, calls: u64) -> Took {
        let calls = as_f64(calls).max(1.0);
        let processor = clock::processor().saturating_sub(self.processor);
        Took {
            calls_per_second: calls / self.began.elapsed().as_secs_f64(),
            processor_us: processor.as_secs_f64() * 1e6 / calls,
            state_records: 0.0,
        }
    }
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct BenchReport {
    /// Calls in the topic.
    pub calls: u64,
    /// Agents that made them.
    pub agents: u32,
    /// Partitions of the topic.
    pub partitions: i32,
    /// Mean size of an event, in bytes.
    pub event_bytes: f64,
    /// Worker threads of the instance.
    pub workers: usize,
    /// One bare consumer, which looks at nothing.
    pub bare: Speed,
    /// The whole pipeline.
    pub pipeline: Speed,
    /// The pipeline's median over the bare one's.
    pub ratio: f64,
    /// The pipeline without writing down what it knows, if that was asked for.
    pub without_state: Option<Speed>,
    /// The pipeline over the one without, of each round: their median. Two of one round are nearer in
    /// time than the medians of all are.
    pub state_ratio: Option<f64>,
    /// The processor time a call without writing down what is known over that with it, in the same
    /// way.
    pub state_processor_ratio: Option<f64>,
}

/// Measures; `say` is told how it goes.
///
/// # Errors
///
/// When the cluster cannot be reached or does not deliver what was produced.
pub async fn pipeline(
    base: &Config,
    options: &BenchOptions,
    (rules, say): (&Rules, &mut dyn FnMut(&str)),
) -> anyhow::Result<BenchReport> {
    let client = crate::pipeline::instance::client_settings(&base.kafka);
    let run = clock::wall().as_millis();
    let topic = format!("toolwarden.bench.{run}");
    let (alerts, letters) = (format!("{topic}.alerts"), format!("{topic}.dead-letter"));
    let audit = format!("{topic}.audit");
    let topics = [
        Topic::plain(&topic, options.partitions),
        Topic::plain(&alerts, 1),
        Topic::plain(&letters, 1),
        Topic::plain(&audit, 1),
    ];
    ensure_topics(&client, &topics).await?;
    say(&format!("filling {topic} with {} calls of {} agents", options.calls, options.agents));
    let event_bytes = fill(&client, &topic, options)?;
    let (mut bare, mut whole, mut without) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..options.rounds.max(1) {
        bare.push(read_bare(&client, &format!("{topic}.bare.{round}"), &topic, options.calls)?);
        say(&format!("round {round}: bare     {}", last(&bare)));
        let group = format!("{topic}.whole.{round}");
        // What another round wrote down would be taken up, and nothing judged.
        let state = format!("{topic}.state.{round}");
        ensure_topics(&client, &[Topic::beside(&state, options.partitions)]).await?;
        let names = [&topic, &alerts, &letters, &audit, &state];
        let config = configuration(base, names, (group, options.workers));
        let mut forgetful = config.clone();
        forgetful.kafka.group_id = format!("{topic}.without.{round}");
        forgetful.state.durable = false;
        // Who comes first finds memory that nobody has used yet, so they take turns.
        let is_whole_first = round.is_multiple_of(2);
        for is_whole in [is_whole_first, !is_whole_first] {
            if is_whole {
                whole.push(judge_all(&config, rules.clone(), options.calls).await?);
                say(&format!("round {round}: pipeline {}", last(&whole)));
                // The brokers would go on compacting it, at the cost of who is measured next.
                if let Err(error) = delete_topic(&client, &state).await {
                    say(&format!("{state} stays: {error}"));
                }
            } else if options.without_state {
                without.push(judge_all(&forgetful, rules.clone(), options.calls).await?);
                say(&format!("round {round}: no state {}", last(&without)));
            }
        }
    }
    let ratio = |part: &dyn Fn(&Took, &Took) -> f64| {
        let rounds = whole.iter().zip(&without).map(|(with, without)| part(with, without));
        options.without_state.then(|| median(rounds))
    };
    let state_ratio =
        ratio(&|with, without| with.calls_per_second / without.calls_per_second.max(1.0));
    let state_processor_ratio =
        ratio(&|with, without| without.processor_us / with.processor_us.max(f64::EPSILON));
    let without_state = options.without_state.then(|| speed(&without));
    let (bare, pipeline) = (speed(&bare), speed(&whole));
    Ok(BenchReport {
        calls: options.calls,
        agents: options.agents,
        partitions: options.partitions,
        event_bytes,
        workers: options.workers,
        ratio: pipeline.median / bare.median.max(1.0),
        state_ratio,
        state_processor_ratio,
        without_state,
        bare,
        pipeline,
    })
}

/// An instance between the topics of this run: calls, alerts, dead letters, audit and state.
fn configuration(base: &Config, names: [&String; 5], (group, workers): (String, usize)) -> Config {
    let [topic, alerts, letters, audit, state] = names;
    let mut config = base.clone();
    config.kafka.group_id = group;
    config.kafka.workers = workers;
    config.sources.truncate(1);
    if let Some(source) = config.sources.first_mut() {
        source.topic.clone_from(topic);
    }
    config.topics.alerts.clone_from(alerts);
    config.topics.dead_letter.clone_from(letters);
    config.topics.audit.clone_from(audit);
    config.topics.state.clone_from(state);
    config.topics.groups = None;
    config.receivers.clear();
    config.server.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config
}

/// Fills the topic; tells the mean size of an event.
fn fill(client: &ClientSettings, topic: &str, options: &BenchOptions) -> anyhow::Result<f64> {
    let feeder = Feeder::new(client, topic)?;
    let scenario = Scenario::bench(options.agents, options.calls, options.seed);
    let (mut bytes, mut sent) = (0.0, 0_u64);
    write_events(&scenario, |key, json| {
        bytes += f64::from(u32::try_from(json.len()).unwrap_or(u32::MAX));
        sent += 1;
        if sent.is_multiple_of(1_000) {
            feeder.poll();
        }
        feeder.send(key.as_bytes(), json)
    })?;
    feeder.flush(PATIENCE)?;
    Ok(bytes / as_f64(sent).max(1.0))
}

/// Reads the topic with a consumer that does nothing else.
fn read_bare(
    client: &ClientSettings,
    group: &str,
    topic: &str,
    calls: u64,
) -> anyhow::Result<Took> {
    let consumer = BareConsumer::new(client, group, topic)?;
    let waiting = Moment::now();
    // The clock starts with the first record: joining a group is not reading.
    while consumer.next_bytes(Duration::from_millis(100)).is_none() {
        if waiting.elapsed() > PATIENCE {
            bail!("the bare consumer got nothing from {topic} in {PATIENCE:?}");
        }
    }
    let watch = Watch::start();
    let mut read = 1;
    while read < calls {
        if consumer.next_bytes(Duration::from_secs(10)).is_none() {
            bail!("the bare consumer got {read} of {calls} records of {topic}");
        }
        read += 1;
    }
    Ok(watch.stop(calls))
}

/// Lets a whole instance judge the topic; measured from the first call judged to the last.
async fn judge_all(config: &Config, rules: Rules, calls: u64) -> anyhow::Result<Took> {
    let instance = Instance::start(config, rules).await?;
    let waiting = Moment::now();
    let (mut began, mut before) = (None, 0);
    loop {
        let judged = instance.calls_accounted_for();
        if judged > 0 && began.is_none() {
            began = Some(Watch::start());
            before = judged;
        }
        if judged >= calls {
            break;
        }
        if waiting.elapsed() > PATIENCE + Duration::from_secs(calls / 10_000) {
            bail!("the instance judged {judged} of {calls} calls in {:?}", waiting.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let took = began.context("nothing was judged")?.stop(calls.saturating_sub(before));
    let took = Took { state_records: as_f64(instance.metrics.state_records_written()), ..took };
    tokio::task::spawn_blocking(move || instance.shut_down()).await?;
    Ok(took)
}

fn speed(took: &[Took]) -> Speed {
    let rounds: Vec<f64> = took.iter().map(|it| it.calls_per_second).collect();
    let processor_us = median(took.iter().map(|it| it.processor_us));
    let state_records = median(took.iter().map(|it| it.state_records));
    Speed { median: median(rounds.iter().copied()), rounds, processor_us, state_records }
}

fn median(rounds: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = rounds.collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

/// The last round, for people.
fn last(rounds: &[Took]) -> String {
    let Some(last) = rounds.last() else { return String::new() };
    format!(
        "{:>9.0} calls/s, {:.2} us of processor time a call",
        last.calls_per_second, last.processor_us
    )
}

#[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "a count of calls")]
fn as_f64(count: u64) -> f64 {
    count as f64
}
