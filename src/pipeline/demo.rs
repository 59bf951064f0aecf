//! `toolwarden demo`: a company's two weeks, played through the very path of `run`.
//!
//! Nothing is faked but the company: librdkafka's in-process cluster holds the topics, the player
//! produces to one of them, an [`Instance`] judges, and a small HTTP receiver stands where on-call
//! would. The demo counts: what was played must have been judged, to the last call.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use base64::Engine as _;
use ipnet::IpNet;
use secrecy::SecretString;

use crate::alert::{Alert, AlertStatus, PAGE_SCORE};
use crate::config::{
    Config, EventTime, Kafka, KeyedBy, Limits, Peers, Privacy, Receiver, RuleSource, Server,
    Source, Start, State, Topics,
};
use crate::decode::Format;
use crate::deliver::render_text;
use crate::event::Timestamp;
use crate::generate::{Anomaly, Scenario, Truth};
use crate::kafka::{ClientSettings, EmbeddedCluster, Feeder};
use crate::pipeline::clock::Moment;
use crate::pipeline::instance::Instance;
use crate::pipeline::loopback;
use crate::pipeline::player::{self, Stage};
use crate::policy::Rules;

const CALLS: &str = "agent-calls";
const ALERTS: &str = "toolwarden.alerts";

/// What the receiver of the demo has.
const DELIVERIES: &str = "toolwarden.deliveries";
const DEAD_LETTER: &str = "toolwarden.dead-letter";
const STATE: &str = "toolwarden.state";
const AUDIT: &str = "toolwarden.audit";
const VERDICTS: &str = "toolwarden.verdicts";
const PARTITIONS: i32 = 4;

/// How far the player may be ahead: the embedded cluster throws away what a partition cannot hold
/// (5 MiB), so all of this must fit into one.
const AHEAD_MAX: u64 = 6_000;

/// How long the last day takes, in wall seconds: one for each hour.
const LAST_DAY_SECS: f64 = 24.0;

/// How long the demo waits for the last calls to be judged and told.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Which company days are played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// A day on which four agents go wrong.
    WorkingDay,
    /// A day on which none does.
    Quiet,
}

/// What the demo is told.
#[derive(Clone, Copy, Debug)]
pub struct DemoOptions {
    /// What is played.
    pub act: Act,
    /// The seed the company is drawn from.
    pub seed: u64,
    /// Where `/metrics` answers.
    pub listen: SocketAddr,
    /// Whether to stay until interrupted.
    pub keep: bool,
    /// Whether to colour.
    pub color: bool,
}

/// What the demo came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DemoReport {
    /// Calls played.
    pub played: u64,
    /// Calls judged, or set aside for a reason that is counted.
    pub accounted_for: u64,
    /// Anomalies planted, and those an alert was told of.
    pub planted: usize,
    /// Of them, found.
    pub found: usize,
    /// Episodes told that no planted anomaly explains.
    pub unexplained: usize,
}

impl DemoReport {
    /// Whether the demo showed what it claims to show.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.played == self.accounted_for && self.found == self.planted && self.unexplained == 0
    }
}

/// What the demo's other threads tell the one that writes.
enum Word {
    Alert(Box<Alert>),
    Reached(u64, Timestamp),
    Played(anyhow::Result<u64>),
}

/// Plays the demo: data to `out`, talk to `talk`.
///
/// # Errors
///
/// When the embedded cluster or the listeners cannot be started, or output cannot be written.
pub async fn run(
    options: &DemoOptions,
    rules: Rules,
    (out, talk): (&mut dyn Write, &mut dyn Write),
) -> anyhow::Result<DemoReport> {
    let began = Moment::now();
    let scenario = match options.act {
        Act::WorkingDay => Scenario::working_day(options.seed),
        Act::Quiet => Scenario::quiet_day(options.seed),
    };
    let cluster = EmbeddedCluster::start()?;
    let written = [(ALERTS, 1), (DELIVERIES, 1), (DEAD_LETTER, 1), (AUDIT, 1), (VERDICTS, 1)];
    for (topic, partitions) in written.into_iter().chain([(CALLS, PARTITIONS)]) {
        cluster.create_topic(topic, partitions)?;
    }
    let (words, heard) = mpsc::channel();
    let receiver = receive(words.clone()).await?;
    let config = config(&cluster.bootstrap_servers(), receiver, options.listen);
    let instance = Arc::new(Instance::start(&config, rules).await?);
    writeln!(
        talk,
        "toolwarden demo: an embedded Kafka, {PARTITIONS} partitions, the path of `run`"
    )?;
    writeln!(talk, "metrics   http://{}/metrics while it runs", instance.listen)?;
    let stop = Arc::new(AtomicBool::new(false));
    start_player(&scenario, &cluster, (&instance, &stop), words)?;
    let mut stagehand = Stagehand::new(&scenario, options.color);
    let played = stagehand.watch(&heard, (&mut *out, &mut *talk))?;
    let deadline = Moment::now();
    while deadline.elapsed() < SETTLE_TIMEOUT
        && !(instance.calls_accounted_for() == played && instance.is_settled())
    {
        tokio::time::sleep(Duration::from_millis(50)).await;
        stagehand.drain(&heard, (&mut *out, &mut *talk))?;
    }
    stagehand.drain(&heard, (&mut *out, &mut *talk))?;
    let report = stagehand.report(played, instance.calls_accounted_for());
    stagehand.sum_up(&report, began.elapsed(), talk)?;
    if options.keep {
        writeln!(talk, "\nkept running; look at:")?;
        writeln!(talk, "  http://{}/metrics", instance.listen)?;
        writeln!(talk, "  http://{}/-/ready", instance.listen)?;
        writeln!(talk, "  http://{}/api/v1/status", instance.listen)?;
        writeln!(talk, "Ctrl-C ends it.")?;
        tokio::signal::ctrl_c().await.context("cannot wait for an interrupt")?;
    }
    stop.store(true, Ordering::Relaxed);
    if let Ok(instance) = Arc::try_unwrap(instance) {
        // Everything played has been counted by now; how the end went changes nothing.
        let _clean = instance.shut_down();
    }
    Ok(report)
}

fn config(brokers: &str, receiver: SocketAddr, listen: SocketAddr) -> Config {
    // Signed like any other, with a secret that protects nothing: both ends are this process.
    let secret = base64::engine::general_purpose::STANDARD.encode([0x5a; 32]);
    Config {
        kafka: Kafka {
            brokers: brokers.split(',').map(str::to_owned).collect(),
            group_id: "toolwarden".to_owned(),
            group_instance_id: None,
            start: Start::Earliest,
            workers: 2,
            prefetch_bytes: 64 << 20,
            commit_interval: Duration::from_secs(1),
            stalled_after: Duration::from_secs(300),
            shutdown_timeout: Duration::from_secs(5),
            properties: BTreeMap::new(),
            secrets: BTreeMap::new(),
        },
        sources: vec![Source {
            topic: CALLS.to_owned(),
            format: Format::Native,
            tenant: None,
            keyed_by: KeyedBy::Agent,
        }],
        topics: Topics {
            calls: String::new(),
            alerts: ALERTS.to_owned(),
            deliveries: DELIVERIES.to_owned(),
            dead_letter: DEAD_LETTER.to_owned(),
            audit: AUDIT.to_owned(),
            verdicts: VERDICTS.to_owned(),
            state: STATE.to_owned(),
            // One process: what peers teach stays in it.
            groups: None,
        },
        event_time: EventTime { lateness: Duration::from_secs(30), reorder: Duration::ZERO },
        peers: Peers { wait: Duration::from_secs(30), idle_after: Duration::from_secs(1) },
        // The embedded cluster compacts nothing, and goes with the process.
        state: State {
            durable: false,
            flush_interval: Duration::from_secs(5),
            lessons_bytes: 256 << 20,
            forget_after: Duration::from_secs(90 * 86_400),
            yield_after: Duration::from_secs(86_400),
            mac_keys: Vec::new(),
            accept_unsigned: false,
        },
        groups: Vec::new(),
        limits: Limits {
            agents: 100_000,
            agents_per_partition: 100_000,
            agents_per_tenant: 100_000,
            tools_per_agent: 40,
            record_bytes: 1 << 20,
            held_calls: 50_000,
            pending_alerts: 10_000,
            verdicts: 1_000,
        },
        privacy: Privacy::default(),
        rules: RuleSource::default(),
        receivers: vec![Receiver {
            name: "on-call".to_owned(),
            url: SecretString::from(format!("http://{receiver}/alerts")),
            signing_secret: SecretString::from(format!("whsec_{secret}")),
            previous_signing_secret: None,
            min_score: PAGE_SCORE,
            send_resolved: true,
            timeout: Duration::from_secs(5),
            retry_for: Duration::from_secs(30),
            dedup_for: Duration::from_secs(86_400),
            // The demo waits for every page, and its receiver is its own.
            catch_up_rate: 1_000,
            allow_networks: vec![IpNet::from(receiver.ip())],
        }],
        server: Server { listen, export_token: None },
    }
}

/// Starts the HTTP receiver that stands where on-call would.
async fn receive(words: mpsc::Sender<Word>) -> anyhow::Result<SocketAddr> {
    let take = move |body: Bytes| async move {
        #[derive(serde::Deserialize)]
        struct Webhook {
            data: Alert,
        }
        let Ok(webhook) = serde_json::from_slice::<Webhook>(&body) else {
            return StatusCode::BAD_REQUEST;
        };
        match words.send(Word::Alert(Box::new(webhook.data))) {
            Ok(()) => StatusCode::OK,
            Err(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    };
    loopback::serve(Router::new().route("/alerts", post(take))).await
}

fn start_player(
    scenario: &Scenario,
    cluster: &EmbeddedCluster,
    (instance, stop): (&Arc<Instance>, &Arc<AtomicBool>),
    words: mpsc::Sender<Word>,
) -> anyhow::Result<()> {
    let feeder = Feeder::new(&ClientSettings::plain(&cluster.bootstrap_servers()), CALLS)?;
    let (scenario, instance, stop) = (scenario.clone(), Arc::clone(instance), Arc::clone(stop));
    let play = move || {
        let last_day = last_day(&scenario);
        let reached = words.clone();
        // The moment the last day began, as the player goes.
        let curtain: std::sync::OnceLock<Moment> = std::sync::OnceLock::new();
        let progress = move |sent, time: Timestamp| {
            drop(reached.send(Word::Reached(sent, time)));
            if time >= last_day {
                let due = time.secs_since(last_day) / 86_400.0 * LAST_DAY_SECS;
                let passed = curtain.get_or_init(Moment::now).elapsed().as_secs_f64();
                std::thread::sleep(Duration::from_secs_f64((due - passed).clamp(0.0, 1.0)));
            }
        };
        let played = player::play(
            &scenario,
            &feeder,
            &Stage {
                judged: &|| instance.calls_accounted_for(),
                ahead_max: AHEAD_MAX,
                progress: &progress,
                stopped: &|| stop.load(Ordering::Relaxed),
            },
        );
        drop(instance);
        drop(words.send(Word::Played(played.map_err(Into::into))));
    };
    std::thread::Builder::new()
        .name("player".to_owned())
        .spawn(play)
        .context("cannot start a thread")?;
    Ok(())
}

fn last_day(scenario: &Scenario) -> Timestamp {
    scenario.start.plus_secs(i64::from(scenario.days.saturating_sub(1)) * 86_400)
}

/// Writes what is heard, and keeps count.
struct Stagehand {
    truths: Vec<Truth>,
    last_day: Timestamp,
    start: Timestamp,
    days: u32,
    color: bool,
    found: BTreeSet<usize>,
    unexplained: BTreeSet<String>,
    told: BTreeMap<String, u64>,
    last_progress: Option<(Moment, u64)>,
}

impl Stagehand {
    fn new(scenario: &Scenario, color: bool) -> Self {
        Self {
            truths: scenario.truth(),
            last_day: last_day(scenario),
            start: scenario.start,
            days: scenario.days,
            color,
            found: BTreeSet::new(),
            unexplained: BTreeSet::new(),
            told: BTreeMap::new(),
            last_progress: None,
        }
    }

    /// Writes until the play is over; tells how many calls were played.
    fn watch(
        &mut self,
        heard: &mpsc::Receiver<Word>,
        (out, talk): (&mut dyn Write, &mut dyn Write),
    ) -> anyhow::Result<u64> {
        loop {
            let word = heard.recv().context("the player stopped without a word")?;
            if let Word::Played(played) = word {
                return played;
            }
            self.hear(word, (out, talk))?;
        }
    }

    /// Writes what has been heard by now.
    fn drain(
        &mut self,
        heard: &mpsc::Receiver<Word>,
        (out, talk): (&mut dyn Write, &mut dyn Write),
    ) -> anyhow::Result<()> {
        while let Ok(word) = heard.try_recv() {
            self.hear(word, (&mut *out, &mut *talk))?;
        }
        Ok(())
    }

    fn hear(
        &mut self,
        word: Word,
        (out, talk): (&mut dyn Write, &mut dyn Write),
    ) -> anyhow::Result<()> {
        match word {
            Word::Alert(alert) => {
                self.note(&alert);
                writeln!(out, "\n{}", render_text(&alert, self.color))?;
                out.flush()?;
            }
            Word::Reached(sent, time) => self.progress(sent, time, talk)?,
            Word::Played(_) => {}
        }
        Ok(())
    }

    fn note(&mut self, alert: &Alert) {
        if alert.status != AlertStatus::Firing {
            return;
        }
        *self.told.entry(alert.rule_id.clone()).or_default() += 1;
        let explains = |truth: &Truth| {
            let Ok(time) = alert.time.parse::<Timestamp>() else { return false };
            truth.tenant_id == alert.tenant_id
                && truth.agent_id == alert.agent_id
                && truth.start <= time
                && time <= truth.end.plus_secs(1)
        };
        match self.truths.iter().position(explains) {
            Some(index) => drop(self.found.insert(index)),
            None => drop(self.unexplained.insert(alert.alert_id.clone())),
        }
    }

    /// A line a second at most: where the play is.
    fn progress(&mut self, sent: u64, time: Timestamp, talk: &mut dyn Write) -> anyhow::Result<()> {
        if self.last_progress.is_some_and(|(at, _)| at.elapsed() < Duration::from_secs(1)) {
            return Ok(());
        }
        let before = self.last_progress.replace((Moment::now(), sent)).map_or(0, |(_, sent)| sent);
        let day = time.day() - self.start.day() + 1;
        let what = if time >= self.last_day { "the day itself" } else { "learning" };
        let (hour, days) = (time.hour_of_day(), self.days);
        let speed = sent.saturating_sub(before);
        writeln!(
            talk,
            "day {day:>2} of {days}, {hour:02} h  {sent:>7} calls  {speed:>6}/s  {what}"
        )?;
        Ok(())
    }

    fn report(&self, played: u64, accounted_for: u64) -> DemoReport {
        DemoReport {
            played,
            accounted_for,
            planted: self.truths.len(),
            found: self.found.len(),
            unexplained: self.unexplained.len(),
        }
    }

    fn sum_up(
        &self,
        report: &DemoReport,
        took: Duration,
        talk: &mut dyn Write,
    ) -> anyhow::Result<()> {
        writeln!(talk, "\nin {:.0} s:", took.as_secs_f64())?;
        let DemoReport { played, accounted_for, planted, found, unexplained } = report;
        let verdict = if played == accounted_for { "every one judged" } else { "NOT ALL JUDGED" };
        writeln!(talk, "  calls      {played} played, {accounted_for} judged: {verdict}")?;
        for (rule, count) in &self.told {
            writeln!(talk, "  paged      {rule}: {count}")?;
        }
        for (index, truth) in self.truths.iter().enumerate() {
            let seen = if self.found.contains(&index) { "found " } else { "MISSED" };
            let (agent, kind) = (&truth.agent_id, words(truth.attack));
            writeln!(talk, "  {seen}     {kind} of {agent} at {}", truth.start)?;
        }
        writeln!(talk, "  planted {planted}, found {found}, false alarms {unexplained}")?;
        Ok(())
    }
}

/// A planted anomaly in words.
fn words(anomaly: Anomaly) -> &'static str {
    match anomaly {
        Anomaly::RunawayLoop => "runaway loop",
        Anomaly::FastReplay => "fast replay",
        Anomaly::NewTools => "new tools",
        Anomaly::OffHours => "work off hours",
        Anomaly::RateBurst => "rate burst",
        Anomaly::Masquerade => "masquerade",
        Anomaly::NewTarget => "new target",
        Anomaly::Silence => "silence",
        Anomaly::ErrorStorm => "error storm",
        Anomaly::Exfiltration => "exfiltration",
    }
}
