//! `toolwarden bench restore`: how long an instance takes to know again what was written down.
//!
//! Agents with ten tools each are made up and judged, partition by partition, and written to the state
//! topic by the journal every run has: each twice, as a topic holds them that is not compacted yet.
//! Then a whole instance starts with nothing and reads them back. What counts is the time from its
//! start to the moment where every partition is judged again, joining the group included.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Serialize;

use crate::config::Config;
use crate::event::Timestamp;
use crate::kafka::{Ledger, Outbox, OutgoingRecord, Topic, ensure_topics};
use crate::pipeline::bench_memory::{DAY_HOURS, Fleet, HOUR_MILLIS, START_MILLIS};
use crate::pipeline::clock::{self, Moment};
use crate::pipeline::epochs::PeerBoard;
use crate::pipeline::instance::{Instance, client_settings};
use crate::pipeline::journal::Lineage;
use crate::pipeline::judge::{Judge, Shared};
use crate::pipeline::verdicts::VerdictBoard;
use crate::policy::Rules;
use crate::state::changelog::Restored;
use crate::state::{Agents, PartitionId};
use crate::telemetry::{BuildInfo, Metrics};

/// How long anything may take before the run is given up.
const PATIENCE: Duration = Duration::from_secs(180);

/// Shifts the agents of a partition work in, so that few of them are at work at once.
const SHIFTS: u32 = 4;

/// Days each of them works; each day is flushed once it is over.
const DAYS: i64 = 2;

/// What is measured.
#[derive(Clone, Debug)]
pub struct RestoreOptions {
    /// Agents.
    pub agents: u32,
    /// Partitions they are spread over.
    pub partitions: i32,
    /// Worker threads of the instance.
    pub workers: usize,
    /// How often it is measured.
    pub rounds: usize,
    /// An earlier run, by the beginning of its topics' names, whose agents are read back again.
    pub again: Option<String>,
}

/// What was measured.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RestoreReport {
    /// Agents that came back, each round.
    pub agents: u32,
    /// Partitions they were spread over.
    pub partitions: i32,
    /// Worker threads of the instance.
    pub workers: usize,
    /// Records written to the state topic.
    pub records: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// Seconds until the group had given out the partitions, each round.
    pub joined_seconds: Vec<f64>,
    /// Seconds until all partitions were judged, the former included, each round.
    pub seconds: Vec<f64>,
    /// The median of these.
    pub median_seconds: f64,
}

/// The topics of one run.
struct Topics {
    calls: Arc<str>,
    state: Arc<str>,
    others: [String; 3],
}

/// Measures; `say` is told how it goes.
///
/// # Errors
///
/// When the cluster cannot be reached, or not every agent comes back.
pub async fn restore(
    base: &Config,
    options: &RestoreOptions,
    (rules, say): (&Rules, &mut dyn FnMut(&str)),
) -> anyhow::Result<RestoreReport> {
    let now = clock::wall().as_millis();
    let name = options.again.clone().unwrap_or_else(|| format!("toolwarden.bench.{now}"));
    let topics = Topics {
        calls: format!("{name}.calls").into(),
        state: format!("{name}.state").into(),
        others: ["alerts", "dead-letter", "audit"].map(|it| format!("{name}.{it}")),
    };
    let mut wanted = vec![
        Topic::plain(&topics.calls, options.partitions),
        Topic::beside(&topics.state, options.partitions),
    ];
    wanted.extend(topics.others.iter().map(|it| Topic::plain(it, 1)));
    ensure_topics(&client_settings(&base.kafka), &wanted).await?;
    let mut report = RestoreReport {
        agents: options.agents,
        partitions: options.partitions,
        workers: options.workers,
        ..RestoreReport::default()
    };
    say(&format!("the topics are {name}.*"));
    for partition in (0..options.partitions).filter(|_| options.again.is_none()) {
        let (records, bytes) = write(base, options, (rules, &topics), partition)?;
        report.records += records;
        report.bytes += bytes;
        say(&format!("partition {partition}: {} records, {} bytes", report.records, report.bytes));
    }
    for round in 0..options.rounds.max(1) {
        let config = configuration(base, options, &topics, &format!("{name}.{now}.{round}"));
        let (joined, took) = take_up(&config, rules.clone(), options).await?;
        say(&format!("round {round}: {took:.2} s, {joined:.2} s of them to join"));
        report.joined_seconds.push(joined);
        report.seconds.push(took);
    }
    let mut sorted = report.seconds.clone();
    sorted.sort_by(f64::total_cmp);
    report.median_seconds = sorted.get(sorted.len() / 2).copied().unwrap_or(0.0);
    Ok(report)
}

/// Writes the agents of one partition. Returns how many records that takes, and their bytes.
fn write(
    base: &Config,
    options: &RestoreOptions,
    (rules, topics): (&Rules, &Topics),
    partition: i32,
) -> anyhow::Result<(u64, u64)> {
    let client = client_settings(&base.kafka);
    let outbox = Outbox::bulk(&client, &Metrics::new(&BuildInfo::default()))?;
    let parts = u32::try_from(options.partitions).context("a topic has one partition at least")?;
    let number = u32::try_from(partition).context("partitions are counted from 0")?;
    let first = options.agents / parts * number;
    let end = if number + 1 == parts { options.agents } else { first + options.agents / parts };
    let mut fleet = fleet(rules, topics, (first, end - first), (partition, options.partitions))?;
    let ledger = Ledger::default();
    let (mut records, mut bytes) = (0, 0);
    let send = |topic: &Arc<str>, key: Vec<u8>, payload: Option<Vec<u8>>| {
        let record = OutgoingRecord {
            topic: Arc::clone(topic),
            partition: Some(partition),
            key,
            payload,
            headers: Vec::new(),
            when_too_large: crate::kafka::WhenTooLarge::LeaveOutBaseline,
        };
        outbox.send(record, ledger.ticket(0));
    };
    for day in 0..DAYS {
        fleet.record = day;
        for shift in 0..SHIFTS {
            let hours = i64::from(shift) + day * DAY_HOURS;
            fleet.shift(end - first, (shift, SHIFTS), START_MILLIS + hours * HOUR_MILLIS)?;
        }
        // The calls were never in the source topic; a record there stands for those of the day.
        send(&topics.calls, Vec::new(), Some(b"{}".to_vec()));
        fleet.judge.record_done(day);
        let hour = fleet.judge.watermark().map(Timestamp::hour);
        let flush = fleet.judge.flush()?.context("there is nothing to write")?;
        for (key, payload) in flush.records.into_iter().chain([flush.marker]) {
            records += 1;
            bytes += payload.as_ref().map_or(0, |it| u64::try_from(it.len()).unwrap_or(0));
            send(&topics.state, key, payload);
        }
        arrived(&outbox)?;
        fleet.judge.is_written(hour, flush.commit, false);
    }
    Ok((records, bytes))
}

/// Waits until the cluster has everything.
fn arrived(outbox: &Outbox) -> anyhow::Result<()> {
    let began = Moment::now();
    while let Err(error) = outbox.flush(Duration::from_secs(5)) {
        if began.elapsed() > PATIENCE {
            return Err(error).context("the cluster does not take what is written");
        }
    }
    Ok(())
}

/// The agents of one partition, of which everything is written down.
fn fleet(
    rules: &Rules,
    topics: &Topics,
    (first, count): (u32, u32),
    (partition, partitions): (i32, i32),
) -> anyhow::Result<Fleet> {
    let shared = Shared {
        rules: Arc::new(rules.clone()),
        agents: Arc::new(Agents::new(usize::try_from(count).context("too many agents")?)),
        board: PeerBoard::default(),
        verdicts: VerdictBoard::default(),
        reorder_ns: 0,
        lateness_ns: 30_000_000_000,
    };
    let topic = Arc::clone(&topics.calls);
    let id = PartitionId { topic: 0, partition };
    let mut judge = Judge::new(shared, id, Arc::clone(&topic));
    let lineage = Lineage { topic, log: 0, owner: 1, partitions };
    judge.take_up(Restored::default(), (0, true), lineage)?;
    Ok(Fleet::new(judge, first))
}

fn configuration(
    base: &Config,
    options: &RestoreOptions,
    topics: &Topics,
    group_id: &str,
) -> Config {
    let mut config = base.clone();
    group_id.clone_into(&mut config.kafka.group_id);
    config.kafka.workers = options.workers;
    config.sources.truncate(1);
    if let Some(source) = config.sources.first_mut() {
        source.topic = topics.calls.to_string();
    }
    let [alerts, dead_letter, audit] = topics.others.clone();
    config.topics.alerts = alerts;
    config.topics.dead_letter = dead_letter;
    config.topics.audit = audit;
    config.topics.state = topics.state.to_string();
    config.topics.groups = None;
    config.receivers.clear();
    config.server.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let room = usize::try_from(options.agents).unwrap_or(usize::MAX);
    config.limits.agents = room;
    config.limits.agents_per_partition = room;
    config.limits.agents_per_tenant = room;
    config
}

/// Lets an instance read everything back. Returns the seconds until it had its partitions, and
/// until all of them were judged.
async fn take_up(
    config: &Config,
    rules: Rules,
    options: &RestoreOptions,
) -> anyhow::Result<(f64, f64)> {
    let began = Moment::now();
    let instance = Instance::start(config, rules).await?;
    let mut joined = None;
    loop {
        let reports = instance.signals.reports();
        let owned: usize = reports.values().map(|it| it.partitions.len()).sum();
        if owned == usize::try_from(options.partitions).unwrap_or(0) {
            joined.get_or_insert(began.elapsed());
            if reports.values().all(|it| it.restoring == 0) {
                break;
            }
        }
        if began.elapsed() > PATIENCE {
            bail!("{owned} partitions in {PATIENCE:?}: {reports:?}");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let took = began.elapsed();
    let known = instance.shared.agents.len();
    tokio::task::spawn_blocking(move || instance.shut_down()).await?;
    if known != usize::try_from(options.agents).unwrap_or(usize::MAX) {
        bail!("{known} of {} agents came back", options.agents);
    }
    Ok((joined.unwrap_or(took).as_secs_f64(), took.as_secs_f64()))
}
