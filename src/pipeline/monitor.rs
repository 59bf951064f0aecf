//! Looks after an instance once a second: is it ready, is it stalled, how full is it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::event::Timestamp;
use crate::kafka::Outbox;
use crate::pipeline::clock::{self, Moment};
use crate::pipeline::delivery::DeliverySignals;
use crate::pipeline::desk::Source;
use crate::pipeline::group_log::GroupLogStatus;
use crate::pipeline::ingest::{IngestReport, IngestSignals};
use crate::pipeline::judge::Shared;
use crate::pipeline::portraits;
use crate::pipeline::roles::Roles;
use crate::pipeline::self_check::{tell_full, tell_miscalibrated};
use crate::pipeline::worker::{Report, Signals};
use crate::serve::{AppState, Component, Exports, Misplaced, OwnedPartition, Readiness, Status};
use crate::telemetry::{
    Event, KeyMisfit, Metrics, PeerVersionsLost, PeersMerged, StallDetected, StallEnded,
};

/// How often it looks.
const EVERY: Duration = Duration::from_secs(1);

/// How long nothing that is written may be acknowledged: a leader that moves takes less.
const UNACKNOWLEDGED_FOR: Duration = Duration::from_secs(10);

/// How many looks pass between two counts of agents that are still learning: counting walks over
/// all of them.
const LOOKS_A_COUNT: u64 = 15;

const KAFKA: Component = "kafka";
const GROUP: Component = "group";
const STREAM: Component = "stream";
const OUTBOX: Component = "outbox";
const HISTORY: Component = "history";
const BASELINES: Component = "baselines";
const GROUPS: Component = "groups";

const INGEST: Component = "ingest";

/// What an instance needs to do its work.
#[must_use]
pub fn components(roles: Roles) -> Vec<Component> {
    let mut components = vec![KAFKA];
    if roles.detect {
        components.extend([GROUP, STREAM, OUTBOX, HISTORY, BASELINES, GROUPS]);
    }
    if roles.ingest {
        components.push(INGEST);
    }
    components
}

/// The watcher of one instance.
#[derive(Debug)]
pub struct Monitor {
    /// What it sets.
    pub metrics: Metrics,
    /// Whom it tells.
    pub readiness: Arc<Readiness>,
    /// What it looks at.
    pub signals: Arc<Signals>,
    /// The agents and the exchange of peers.
    pub shared: Shared,
    /// Alerts on their way out.
    pub outbox: Outbox,
    /// What is known on its way out, where it is kept.
    pub state_outbox: Option<Outbox>,
    /// Its part of the work.
    pub roles: Roles,
    /// What the ingests know.
    pub ingest: Arc<IngestSignals>,
    /// What the deliveries know.
    pub deliveries: Vec<Arc<DeliverySignals>>,
    /// The reader of what peers taught.
    pub groups: Arc<GroupLogStatus>,
    /// The source topics.
    pub sources: Arc<[Source]>,
    /// After how long a worker that does not poll is stalled.
    pub stalled_after: Duration,
    /// When the instance started.
    pub started: Timestamp,
    /// Who may have everything that was learned, if anybody may.
    pub exports: Option<Exports>,
}

impl Monitor {
    /// What the admin listener answers from.
    #[must_use]
    pub fn app_state(&self) -> AppState {
        let (signals, shared, started) =
            (Arc::clone(&self.signals), self.shared.clone(), self.started);
        let sources = Arc::clone(&self.sources);
        let known = self.shared.clone();
        let metrics = self.metrics.clone();
        let status = move || {
            let reports = signals.reports();
            let mut partitions: Vec<OwnedPartition> = reports
                .values()
                .flat_map(|report| &report.partitions)
                .filter_map(|id| {
                    let source = sources.get(usize::from(id.topic))?;
                    let topic = source.topic.to_string();
                    Some(OwnedPartition { topic, partition: id.partition })
                })
                .collect();
            partitions.sort();
            let uptime_secs = clock::wall().as_secs() - started.as_secs();
            Status {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                uptime_seconds: u64::try_from(uptime_secs).unwrap_or(0),
                agents: shared.agents.len(),
                agents_limit: shared.agents.capacity(),
                partitions,
                misplaced: misplaced(&sources, &metrics),
            }
        };
        AppState {
            metrics: self.metrics.clone(),
            ready: Arc::clone(&self.readiness),
            status: Arc::new(status),
            agent: Arc::new(move |tenant, agent| {
                portraits::json(&known, Some(tenant), agent).map_err(|error| error.to_string())
            }),
            exports: self.exports.clone(),
        }
    }

    /// Watches until the process ends.
    pub async fn watch(self) {
        let (mut merges, mut lost) = (0, 0);
        let mut stalled = false;
        let mut waits = [Waiting::default(); 2];
        for look in 0_u64.. {
            let reports: Vec<Report> = self.signals.reports().into_values().collect();
            self.look(&reports, &mut waits);
            let merged = self.shared.board.merges();
            if merged > merges {
                PeersMerged { epochs: merged - merges }.emit(&self.metrics);
                merges = merged;
                let newest = self.shared.board.newest();
                tell_miscalibrated(&self.shared.rules, &newest, &self.metrics);
                tell_full(&newest, &self.metrics);
            }
            let before = std::mem::replace(&mut lost, self.shared.board.lost());
            if lost > before {
                PeerVersionsLost { partitions: lost - before }.emit(&self.metrics);
            }
            let stall = stall(&reports, self.stalled_after);
            if stall.is_some() != stalled {
                stalled = stall.is_some();
                match &stall {
                    Some(why) => StallDetected { why }.emit(&self.metrics),
                    None => StallEnded.emit(&self.metrics),
                }
            }
            if look % LOOKS_A_COUNT == 0 {
                self.shared.agents.forget_orphans();
                self.metrics.learning(self.shared.agents.count(|state| state.learning().is_some()));
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    fn look(&self, reports: &[Report], waits: &mut [Waiting; 2]) {
        self.metrics.time_is(clock::wall());
        self.metrics.agents(self.shared.agents.len(), self.shared.agents.capacity());
        self.metrics.held_calls(reports.iter().map(|report| report.held).sum());
        self.metrics.unacknowledged(self.outbox.unacknowledged());
        for (index, source) in self.sources.iter().enumerate() {
            let index = u16::try_from(index).unwrap_or(u16::MAX);
            let oldest = reports.iter().filter_map(|report| report.watermarks.get(&index)).min();
            if let Some(oldest) = oldest {
                let lag = clock::wall().secs_since(*oldest).max(0.0);
                self.metrics.watermark_lag(&source.topic, lag);
            }
        }
        let ingests = self.ingest.reports();
        let workers = reports.iter().map(|it| (it.connected, it.trouble, it.leaderless));
        let ingesting = ingests.iter().map(|it| (it.connected, it.trouble, it.leaderless));
        let delivering = self.deliveries.iter();
        let delivering = delivering.map(|it| (it.connected.load(Ordering::Relaxed), None, 0));
        let clients: Vec<Client> = workers.chain(ingesting).chain(delivering).collect();
        let mut found = vec![(KAFKA, reached(&clients))];
        if self.roles.ingest {
            found.push(self.look_at_ingest(&ingests));
        }
        if self.roles.detect {
            found.extend(self.look_at_workers(reports));
            found.push(self.look_at_outboxes(waits));
        }
        self.readiness.set(found);
    }

    /// Whether the cluster acknowledges what is written.
    fn look_at_outboxes(&self, waits: &mut [Waiting; 2]) -> Found {
        let now = Moment::now();
        let [alerts, state] = waits;
        let alerts = alerts.span(&self.outbox, now);
        let state = self.state_outbox.as_ref().map_or(Duration::ZERO, |it| state.span(it, now));
        let waits = [("alerts are", alerts), ("what is known is", state)];
        let longest = waits.into_iter().find(|(_, span)| *span >= UNACKNOWLEDGED_FOR);
        let outcome = match longest {
            Some((what, span)) => Err(format!(
                "{what} not acknowledged by the cluster for {} s: are enough replicas in sync?",
                span.as_secs()
            )),
            None if self.outbox.is_full() => {
                Err("alerts are not acknowledged by the cluster as fast as they come".to_owned())
            }
            None => Ok(()),
        };
        (OUTBOX, outcome)
    }

    fn look_at_ingest(&self, ingests: &[IngestReport]) -> Found {
        self.metrics.ingest_unacknowledged(ingests.iter().map(|it| it.in_flight).sum());
        let joined = !ingests.is_empty() && ingests.iter().all(|report| report.joined);
        let stalled = ingests.iter().any(|report| report.stalled);
        let reason = if joined {
            "calls are not acknowledged by the cluster"
        } else {
            "the consumer group of ingest has not given this instance its share"
        };
        found(INGEST, joined && !stalled, reason)
    }

    fn look_at_workers(&self, reports: &[Report]) -> [Found; 5] {
        let joined = !reports.is_empty() && reports.iter().all(|report| report.joined);
        let stall = stall(reports, self.stalled_after);
        let learning = reports.iter().any(|report| report.learning);
        let restoring: usize = reports.iter().map(|report| report.restoring).sum();
        self.metrics.restoring(restoring);
        let following = self.groups.is_following();
        [
            found(GROUP, joined, "the consumer group has not given this instance its share"),
            found(STREAM, stall.is_none(), stall.as_deref().unwrap_or_default()),
            found(HISTORY, !learning, "learning from history"),
            found(BASELINES, restoring == 0, "reading baselines back"),
            found(GROUPS, following, "the groups topic is not read to its end"),
        ]
    }
}

/// A component, and what it waits for if it is not ready.
type Found = (Component, Result<(), String>);

fn found(component: Component, good: bool, reason: &str) -> Found {
    (component, if good { Ok(()) } else { Err(reason.to_owned()) })
}

/// What one Kafka client knows of its cluster: whether a broker answers it, why none lets it in, and
/// how many partitions of its own have no leader.
type Client = (bool, Option<&'static str>, usize);

/// Whether the cluster answers every client of the instance, or what is wrong.
fn reached(clients: &[Client]) -> Result<(), String> {
    let away: Vec<&Client> = clients.iter().filter(|(is_connected, ..)| !is_connected).collect();
    if let Some(trouble) = away.iter().find_map(|(_, trouble, _)| *trouble) {
        return Err(trouble.to_owned());
    }
    match (away.len(), clients.len()) {
        (of, all) if of == all => return Err("no broker answers".to_owned()),
        (0, _) => {}
        (of, all) => return Err(format!("no broker answers {of} of {all} Kafka clients")),
    }
    match clients.iter().map(|(.., leaderless)| leaderless).sum::<usize>() {
        0 => Ok(()),
        count => Err(format!("partitions without a leader, which nobody can read: {count}")),
    }
}

/// How long nothing that is written has been acknowledged.
#[derive(Clone, Copy, Debug, Default)]
struct Waiting {
    acknowledged: u64,
    since: Option<Moment>,
}

impl Waiting {
    fn span(&mut self, outbox: &Outbox, now: Moment) -> Duration {
        self.seen((outbox.unacknowledged(), outbox.acknowledged()), now)
    }

    /// So many records are not acknowledged at `now`, and so many are.
    fn seen(&mut self, (open, acknowledged): (usize, u64), now: Moment) -> Duration {
        if open == 0 || acknowledged != self.acknowledged {
            *self = Self { acknowledged, since: None };
        }
        if open == 0 {
            return Duration::ZERO;
        }
        now.since(*self.since.get_or_insert(now))
    }
}

/// Why an instance stands still, if it does. A worker that hangs cannot say so itself.
fn stall(reports: &[Report], after: Duration) -> Option<String> {
    let silent = |report: &Report| report.at.map(Moment::elapsed).filter(|span| *span >= after);
    if let Some(span) = reports.iter().filter_map(silent).max() {
        return Some(format!("a worker has not polled for {} s", span.as_secs()));
    }
    let stalled = reports.iter().any(|report| report.stalled);
    stalled
        .then(|| "a partition has calls to judge or records to read and does not move".to_owned())
}

/// Calls that came in partitions that may not be their agents'.
fn misplaced(sources: &[Source], metrics: &Metrics) -> Vec<Misplaced> {
    let each = sources.iter().flat_map(|source| KeyMisfit::ALL.map(|misfit| (source, misfit)));
    each.map(|(source, misfit)| Misplaced {
        topic: source.topic.to_string(),
        reason: misfit.as_str(),
        calls: metrics.misplaced(&source.topic, misfit),
    })
    .filter(|misplaced| misplaced.calls > 0)
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_not_answered_is_told_whatever_the_others_hear() {
        let (good, away) = ((true, None, 0), (false, None, 0));
        assert_eq!(reached(&[good, good]), Ok(()));
        assert_eq!(reached(&[]).unwrap_err(), "no broker answers");
        assert_eq!(reached(&[away, away]).unwrap_err(), "no broker answers");
        assert_eq!(reached(&[good, away]).unwrap_err(), "no broker answers 1 of 2 Kafka clients");
        // Why is said first, but by none that gets on by now.
        let refused = (false, Some("the brokers refuse the login"), 0);
        assert_eq!(reached(&[good, away, refused]).unwrap_err(), "the brokers refuse the login");
        assert_eq!(reached(&[(true, Some("the brokers refuse the login"), 0)]), Ok(()));
        let leaderless = reached(&[(true, None, 2), (true, None, 1)]).unwrap_err();
        assert!(leaderless.contains("without a leader") && leaderless.ends_with(": 3"));
    }

    #[test]
    fn what_is_written_waits_since_the_last_acknowledgement() {
        let at = |secs| {
            let passed = Duration::from_secs(secs);
            clock::show(Some(clock::Reading { wall: Timestamp::from_secs(0), passed }));
            Moment::now()
        };
        let mut waiting = Waiting::default();
        assert_eq!(waiting.seen((0, 0), at(0)), Duration::ZERO);
        assert_eq!(waiting.seen((3, 0), at(100)), Duration::ZERO, "nothing waited until now");
        assert_eq!(waiting.seen((5, 0), at(107)), Duration::from_secs(7));
        assert_eq!(waiting.seen((5, 1), at(109)), Duration::ZERO, "one has arrived");
        assert_eq!(waiting.seen((5, 1), at(120)), Duration::from_secs(11));
        assert_eq!(waiting.seen((0, 6), at(121)), Duration::ZERO);
        assert_eq!(waiting.seen((1, 6), at(500)), Duration::ZERO, "it has only just been written");
        clock::show(None);
    }
}
