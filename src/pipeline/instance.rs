//! One running instance: workers, delivery, the admin listener, and how they end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::config::{Config, Start};
use crate::deliver::{Webhook, WebhookSettings};
use crate::kafka::{
    ClientSettings, ConsumerSettings, GaveUp, GivingUp, Outbox, PartitionConsumer,
    librdkafka_version,
};
use crate::pipeline::baselines::Baselines;
use crate::pipeline::clock::{self, Moment};
use crate::pipeline::courier::{Courier, CourierSettings};
use crate::pipeline::delivery::{self, Delivering, DeliverySignals};
use crate::pipeline::desk::Source;
use crate::pipeline::epochs::PeerBoard;
use crate::pipeline::export::RunningExport;
use crate::pipeline::group_log::{GroupLog, GroupLogStatus};
use crate::pipeline::ingest::IngestSignals;
use crate::pipeline::judge::Shared;
use crate::pipeline::look_up::LookUp;
use crate::pipeline::monitor::{Monitor, components};
use crate::pipeline::posting::Posting;
use crate::pipeline::roles::Roles;
use crate::pipeline::verdict_feed::VerdictFeed;
use crate::pipeline::verdicts::VerdictBoard;
use crate::pipeline::worker::keep::Durable;
use crate::pipeline::worker::{Signals, Worker, WorkerSettings};
use crate::policy::{self, Groups, Rules};
use crate::serve::{self, Exporter, Exports, Readiness};
use crate::state::Agents;
use crate::state::admission::Room;
use crate::telemetry::{BuildInfo, Event, Metrics, ShutdownFinished, ShutdownStarted};

mod ingesting;
mod parts;

/// One running instance.
#[derive(Debug)]
pub struct Instance {
    /// What it says of itself.
    pub metrics: Metrics,
    /// Where the admin listener answers.
    pub listen: SocketAddr,
    /// What the workers know.
    pub signals: Arc<Signals>,
    /// What the deliveries know, one a receiver.
    pub deliveries: Vec<Arc<DeliverySignals>>,
    /// What the ingests know.
    pub ingest: Arc<IngestSignals>,
    /// What the workers share.
    pub shared: Shared,
    /// Records on their way out.
    pub outbox: Outbox,
    /// What is known on its way out, where it is kept.
    state_outbox: Option<Outbox>,
    sources: Arc<[Source]>,
    threads: Vec<JoinHandle<()>>,
    /// What tells how it is. It ends with the instance: it would say that nothing moves any more, and
    /// holds all that is known.
    serving: JoinSet<()>,
    shutdown_timeout: Duration,
    /// Set to make the readers of verdicts and groups stop.
    feed_stop: Arc<AtomicBool>,
    /// What the reader of groups knows of itself.
    groups: Arc<GroupLogStatus>,
    /// Its part of the work.
    roles: Roles,
    /// Where its consumers say that they can never go on.
    giving_up: GivingUp,
}

/// What an instance knows before it reads its first record.
#[derive(Debug, Default)]
pub struct Beginning {
    /// What was learned elsewhere.
    pub baselines: Option<Baselines>,
    /// How much of its history each partition learns from before it goes live.
    pub learn_from: Option<Duration>,
    /// Its part of the work.
    pub roles: Roles,
}

/// How to reach the cluster, by the configuration.
#[must_use]
pub fn client_settings(kafka: &crate::config::Kafka) -> ClientSettings {
    ClientSettings {
        brokers: kafka.brokers.clone(),
        properties: kafka.properties.clone(),
        secrets: kafka.secrets.clone(),
    }
}

/// What the engine's parts share, by the configuration.
#[must_use]
pub fn shared(config: &Config, rules: Rules) -> Shared {
    let limits = policy::Limits {
        tools_per_agent: config.limits.tools_per_agent,
        lateness: config.event_time.lateness,
        ..policy::Limits::default()
    };
    Shared {
        rules: Arc::new(rules.with_limits(limits).with_groups(Groups::new(config.groups.clone()))),
        agents: Arc::new(Agents::within(room(config))),
        board: PeerBoard::default(),
        verdicts: VerdictBoard::default(),
        reorder_ns: nanos(config.event_time.reorder),
        lateness_ns: nanos(config.event_time.lateness),
    }
}

/// How much room agents have, by the configuration.
fn room(config: &Config) -> Room {
    let secs = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    Room {
        agents: config.limits.agents,
        per_partition: config.limits.agents_per_partition,
        per_tenant: config.limits.agents_per_tenant,
        yield_after_secs: secs(config.state.yield_after),
        forget_after_secs: secs(config.state.forget_after),
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

impl Instance {
    /// Starts everything `config` asks for. The topics written must exist.
    ///
    /// # Errors
    ///
    /// When the cluster's clients cannot be made, a receiver is unusable, or the admin address is
    /// taken.
    pub async fn start(config: &Config, rules: Rules) -> anyhow::Result<Self> {
        Self::start_from(config, rules, Beginning::default()).await
    }

    /// The same, with something known from the start.
    ///
    /// # Errors
    ///
    /// Those of [`Self::start`], and when the baselines hold more agents than there may be.
    pub async fn start_from(
        config: &Config,
        rules: Rules,
        beginning: Beginning,
    ) -> anyhow::Result<Self> {
        let metrics = Metrics::new(&BuildInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: option_env!("TOOLWARDEN_REVISION").unwrap_or_default().to_owned(),
            librdkafka: librdkafka_version(),
        });
        parts::seed(&metrics, config, &rules);
        metrics.config(&parts::digest(config));
        let listener = TcpListener::bind(config.server.listen)
            .await
            .with_context(|| format!("cannot listen on {}", config.server.listen))?;
        let listen = listener.local_addr().context("cannot tell the address listened on")?;
        let client = client_settings(&config.kafka);
        let outbox = Outbox::new(&client, config.limits.pending_alerts, &metrics)?;
        let roles = beginning.roles.with_work_in(config);
        let durable = if roles.detect { parts::durable(config, &client, &metrics)? } else { None };
        let mut instance = Self {
            listen,
            signals: Arc::default(),
            deliveries: Vec::new(),
            ingest: Arc::default(),
            shared: shared(config, rules),
            sources: parts::sources(config, &metrics),
            threads: Vec::new(),
            serving: JoinSet::new(),
            shutdown_timeout: config.kafka.shutdown_timeout,
            outbox,
            state_outbox: durable.as_ref().map(|it| it.outbox.clone()),
            metrics,
            feed_stop: Arc::default(),
            groups: Arc::default(),
            roles,
            giving_up: GivingUp::default(),
        };
        if let Some(baselines) = beginning.baselines {
            baselines.into_instance(&instance.shared)?;
        }
        if roles.detect {
            instance.start_verdicts(config)?;
            instance.start_groups(config)?;
            instance.start_workers(config, (beginning.learn_from, durable))?;
        }
        if roles.ingest {
            instance.start_ingest(config)?;
        }
        if roles.deliver {
            instance.start_delivery(config)?;
        }
        instance.start_serving(listener, config);
        Ok(instance)
    }

    /// Calls judged, or set aside for a reason that is counted, since the start.
    #[must_use]
    pub fn calls_accounted_for(&self) -> u64 {
        self.sources
            .iter()
            .map(|source| {
                let it = &source.metrics;
                it.processed.get() + it.late.get() + it.duplicate.get() + it.unjudged.get()
            })
            .sum()
    }

    /// Calls judged since the start.
    #[must_use]
    pub fn calls_judged(&self) -> u64 {
        self.sources.iter().map(|source| source.metrics.processed.get()).sum()
    }

    /// Whether everything there was has been judged, its alerts are acknowledged and told.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let reports = self.signals.reports();
        let owned: usize = reports.values().map(|report| report.partitions.len()).sum();
        let has_judged =
            !self.roles.detect || owned > 0 && reports.values().all(|report| report.caught_up);
        has_judged
            && (!self.roles.ingest || self.has_ingested())
            && self.outbox.unacknowledged() == 0
            && self.deliveries.iter().all(|it| it.caught_up.load(Ordering::Relaxed))
    }

    /// Waits until one of its consumers can never go on: the process has to end.
    pub async fn gave_up(&self) -> GaveUp {
        self.giving_up.said().await
    }

    /// Stops: no more records are taken, alerts are flushed, offsets committed. Returns whether all
    /// of it was done within the configured time; what was not will be read again.
    #[must_use]
    pub fn shut_down(mut self) -> bool {
        ShutdownStarted.emit(&self.metrics);
        let began = Moment::now();
        self.signals.stop.store(true, Ordering::Relaxed);
        self.feed_stop.store(true, Ordering::Relaxed);
        self.ingest.stop.store(true, Ordering::Relaxed);
        for delivery in &self.deliveries {
            delivery.stop.store(true, Ordering::Relaxed);
        }
        let mut clean = true;
        for thread in self.threads.drain(..) {
            // With the cluster gone, closing a consumer may take for ever: it is left behind, and
            // goes with the process.
            while !thread.is_finished() && began.elapsed() < self.shutdown_timeout {
                std::thread::sleep(Duration::from_millis(20));
            }
            clean &= thread.is_finished() && thread.join().is_ok();
        }
        ShutdownFinished { clean }.emit(&self.metrics);
        clean
    }

    /// Reads what people have said, all of it, and goes on reading.
    fn start_verdicts(&mut self, config: &Config) -> anyhow::Result<()> {
        let mut feed = VerdictFeed::new(
            client_settings(&config.kafka),
            (format!("{}-verdicts", config.kafka.group_id), config.topics.verdicts.clone()),
            (self.shared.verdicts.clone(), config.limits.verdicts),
            &self.metrics,
        )?;
        feed.catch_up()?;
        let stop = Arc::clone(&self.feed_stop);
        self.spawn("verdicts".to_owned(), move || feed.run(&stop))
    }

    /// Reads what peers taught, all of it, and goes on reading.
    fn start_groups(&mut self, config: &Config) -> anyhow::Result<()> {
        let Some(topic) = &config.topics.groups else {
            self.groups = GroupLogStatus::without_log(&self.metrics);
            return Ok(());
        };
        let sources = self.sources.iter().map(|source| Arc::clone(&source.topic)).collect();
        let mut log = GroupLog::new(
            &client_settings(&config.kafka),
            (&format!("{}-groups", config.kafka.group_id), topic),
            (self.shared.board.clone(), sources, &parts::mac_keys(config)),
            &self.metrics,
        )?;
        log.catch_up()?;
        self.groups = log.status();
        let stop = Arc::clone(&self.feed_stop);
        self.spawn("groups".to_owned(), move || log.run(&stop))
    }

    fn start_workers(
        &mut self,
        config: &Config,
        (learn_from, durable): (Option<Duration>, Option<Durable>),
    ) -> anyhow::Result<()> {
        // All of them join before any of them works: a group that grows while it works moves
        // partitions about.
        let mut workers = Vec::new();
        let client = client_settings(&config.kafka);
        for index in 0..config.kafka.workers {
            let consumer = ConsumerSettings {
                client: client.clone(),
                group_id: config.kafka.group_id.clone(),
                member: config.kafka.member(index),
                giving_up: self.giving_up.clone(),
                topics: config.judged_topics().into_iter().map(str::to_owned).collect(),
                from_earliest: config.kafka.start == Start::Earliest,
                prefetch_bytes: config.kafka.prefetch_bytes,
            };
            let settings = WorkerSettings {
                index,
                workers: config.kafka.workers,
                alerts: config.topics.alerts.as_str().into(),
                dead_letter: config.topics.dead_letter.as_str().into(),
                audit: config.topics.audit.as_str().into(),
                commit_interval: config.kafka.commit_interval,
                peers_wait: config.peers.wait,
                idle_after: config.peers.idle_after,
                held_max: config.limits.held_calls,
                stalled_after: config.kafka.stalled_after,
                reorder: config.event_time.reorder,
                learn_from,
                session_timeout: client.session_timeout(),
                flush_timeout: config.kafka.shutdown_timeout / 2,
            };
            let worker = Worker::new(
                Box::new(PartitionConsumer::new(&consumer, index, &self.metrics)?),
                (self.shared.clone(), Arc::clone(&self.sources)),
                self.outbox.clone(),
                (settings, Arc::clone(&self.signals)),
                &self.metrics,
            );
            workers.push(worker.with(durable.clone()));
        }
        for (index, worker) in workers.into_iter().enumerate() {
            self.spawn(format!("worker-{index}"), move || worker.run())?;
        }
        Ok(())
    }

    /// Each receiver has a consumer group, a thread and its own place in the alerts topic.
    fn start_delivery(&mut self, config: &Config) -> anyhow::Result<()> {
        if config.receivers.is_empty() {
            return Ok(());
        }
        let client = client_settings(&config.kafka);
        // What it may hold is bounded by the alerts that are held.
        let outbox = Outbox::new(&client, usize::MAX, &self.metrics)?;
        let deliveries: Arc<str> = config.topics.deliveries.as_str().into();
        for (number, receiver) in config.receivers.iter().enumerate() {
            let number = delivery::WORKER + number;
            let settings = WebhookSettings {
                name: receiver.name.clone(),
                url: receiver.url.clone(),
                signing_secret: receiver.signing_secret.clone(),
                previous_signing_secret: receiver.previous_signing_secret.clone(),
                min_score: receiver.min_score,
                send_resolved: receiver.send_resolved,
                timeout: receiver.timeout,
                allow_networks: receiver.allow_networks.clone(),
            };
            let webhook = Webhook::new(settings, self.metrics.clone())?;
            let told = Box::new(Posting::new(webhook, tokio::runtime::Handle::current()));
            let settings = CourierSettings {
                name: receiver.name.as_str().into(),
                dedup_for: receiver.dedup_for,
                retry_for: receiver.retry_for,
                rate: receiver.catch_up_rate,
                alerts: config.topics.alerts.as_str().into(),
                deliveries: Arc::clone(&deliveries),
                dead_letter: config.topics.dead_letter.as_str().into(),
                has_others: config.receivers.len() > 1,
            };
            let group_id = format!("{}-deliver-{}", config.kafka.group_id, receiver.name);
            let look_up =
                LookUp::start(&client, (&group_id, Arc::clone(&deliveries), &receiver.name))
                    .context("cannot start a thread")?;
            let consumer = ConsumerSettings {
                client: client.clone(),
                group_id,
                // Alone in its group of this instance.
                member: config.kafka.member(0),
                giving_up: self.giving_up.clone(),
                topics: vec![config.topics.alerts.clone()],
                // Where reading begins is found by the look-up; nothing is passed over before.
                from_earliest: true,
                prefetch_bytes: 4 << 20,
            };
            let signals: Arc<DeliverySignals> = Arc::default();
            let delivering = Delivering::new(
                (Box::new(PartitionConsumer::new(&consumer, number, &self.metrics)?), number),
                (told, Courier::new(settings, &self.metrics)),
                (outbox.clone(), look_up),
                Arc::clone(&signals),
                &self.metrics,
            );
            self.deliveries.push(signals);
            self.spawn(format!("deliver-{}", receiver.name), move || delivering.run())?;
        }
        Ok(())
    }

    /// Everything that was learned, for who has the token; `None` when nobody may have it.
    fn exports(&self, config: &Config) -> Option<Exports> {
        let token = config.server.export_token.clone().filter(|_| self.roles.detect)?;
        let export = RunningExport {
            shared: self.shared.clone(),
            signals: Arc::clone(&self.signals),
            workers: config.kafka.workers,
            hash_key: config.privacy.hash_key.fingerprint(),
        };
        let write: Exporter = Arc::new(move |out| export.write(out).map_err(std::io::Error::other));
        Some(Exports::new(token, write))
    }

    fn start_serving(&mut self, listener: TcpListener, config: &Config) {
        let readiness = Arc::new(Readiness::new(self.metrics.clone(), &components(self.roles)));
        let monitor = Monitor {
            metrics: self.metrics.clone(),
            readiness: Arc::clone(&readiness),
            signals: Arc::clone(&self.signals),
            shared: self.shared.clone(),
            outbox: self.outbox.clone(),
            state_outbox: self.state_outbox.clone(),
            roles: self.roles,
            ingest: Arc::clone(&self.ingest),
            deliveries: self.deliveries.clone(),
            groups: Arc::clone(&self.groups),
            sources: Arc::clone(&self.sources),
            stalled_after: config.kafka.stalled_after,
            started: clock::wall(),
            exports: self.exports(config),
        };
        let state = monitor.app_state();
        self.serving.spawn(monitor.watch());
        self.serving.spawn(async move {
            // It answers until all is over, so that the end of a drain can be watched too.
            let never = std::future::pending();
            if let Err(error) = serve::run(listener, serve::router(state), never).await {
                tracing::error!(%error, "the admin listener stopped");
            }
        });
    }

    fn spawn(&mut self, name: String, run: impl FnOnce() + Send + 'static) -> anyhow::Result<()> {
        let thread = std::thread::Builder::new().name(name).spawn(run);
        self.threads.push(thread.context("cannot start a thread")?);
        Ok(())
    }
}
