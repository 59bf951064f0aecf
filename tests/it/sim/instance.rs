//! One life of an instance: the product's own worker, its state, its board and what it asks, over the
//! simulated cluster.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use toolwarden::decode::{self, Format};
use toolwarden::kafka::{KafkaError, LogReader, Outbox, TopicPartition};
use toolwarden::pipeline::clock::{self, Reading};
use toolwarden::pipeline::courier::{Courier, CourierSettings};
use toolwarden::pipeline::delivery::{Delivering, WORKER};
use toolwarden::pipeline::desk::Source;
use toolwarden::pipeline::epochs::PeerBoard;
use toolwarden::pipeline::epochs::board::Room;
use toolwarden::pipeline::epochs::follower::{Follower, Step};
use toolwarden::pipeline::epochs::link::Link;
use toolwarden::pipeline::epochs::snapshot::SnapshotPart;
use toolwarden::pipeline::judge::Shared;
use toolwarden::pipeline::look_up::{Answers, LookUp, Questions, find};
use toolwarden::pipeline::restore::{Request, Restorer};
use toolwarden::pipeline::worker::keep::Durable;
use toolwarden::pipeline::worker::{Report, Signals, Worker, WorkerSettings};
use toolwarden::state::codec::agent_to_bytes;
use toolwarden::state::{AgentKey, Agents, PartitionId};
use toolwarden::telemetry::{BuildInfo, Metrics};

use crate::sim::client::{Client, Member, Of, Reader, Sender, Sink};
use crate::sim::receiver::{NAME, Soc};
use crate::sim::world::{Broken, Everything, SESSION_MS, lock};

/// A snapshot of what peers do is due after so many bytes: a few an hour here.
const SNAPSHOT_BYTES: u64 = 6_000;

/// No past version is kept that nobody needs.
const ROOM: Room = Room { always: 1, needed: usize::MAX };

/// How long a partition is waited for: nobody is ever left out here, since that judges otherwise.
const PEERS_WAIT: Duration = Duration::from_secs(30 * 86_400);

/// How long to wait before a cluster that did not answer is asked again.
const ASK_AGAIN_MS: u64 = 1_000;

/// When a partition counts as idle. Only the end of a simulation lasts as long.
pub(crate) const IDLE_AFTER: Duration = Duration::from_secs(6 * 3_600);

thread_local! {
    static METRICS: RefCell<Option<Metrics>> = const { RefCell::new(None) };
}

/// The metrics of everything that runs on this thread.
pub(crate) fn metrics() -> Metrics {
    METRICS
        .with_borrow_mut(|it| it.get_or_insert_with(|| Metrics::new(&BuildInfo::default())).clone())
}

/// One life of an instance.
pub(crate) struct Instance {
    pub(crate) life: u64,
    client: Client,
    shared: Shared,
    worker: Worker,
    signals: Arc<Signals>,
    requests: Receiver<Request>,
    /// What is asked, and when it is answered.
    asked: VecDeque<(u64, Request)>,
    delivering: Delivering,
    questions: Questions,
    answers: Answers,
    /// Partitions of alerts that are asked for, and when that is answered.
    looked_up: VecDeque<(u64, TopicPartition)>,
    groups_read: i64,
    /// How far its wall clock is ahead, in milliseconds.
    pub(crate) ahead_ms: i64,
}

impl Instance {
    /// A process starts.
    pub(crate) fn start(world: &Everything, life: u64, (reorder_ns, ahead_ms): (i64, i64)) -> Self {
        let client = Client { world: Arc::clone(world), life };
        show(&client, ahead_ms);
        let metrics = metrics();
        let board = PeerBoard::with(ROOM);
        let link = Link::new(Box::new(Sink::new(&client)), life, Arc::from([Arc::from("calls")]));
        drop(board.follow(link, Follower::with_snapshots_every(SNAPSHOT_BYTES)));
        let agents = Arc::new(Agents::new(1_000));
        let shared = Shared { agents, board, ..crate::pipeline::shared(reorder_ns) };
        let options = decode::Options { format: Format::Native, ..decode::Options::default() };
        let topic: Arc<str> = "calls".into();
        let source = Source { topic, options, origins: None, metrics: metrics.source("calls") };
        let outbox = |line, capacity| {
            Outbox::by(Arc::new(Sender { client: client.clone(), line }), capacity, &metrics)
        };
        let (restorer, requests) = Restorer::asking();
        let durable = Durable {
            restorer,
            outbox: outbox("state", usize::MAX),
            state: "state".into(),
            interval: Duration::from_secs(1),
            // Others change meanwhile.
            agents_a_turn: 1,
            lessons_bytes: usize::MAX,
        };
        let signals: Arc<Signals> = Arc::default();
        let worker = Worker::new(
            Box::new(Member::join(&client, Of::Calls)),
            (shared.clone(), Arc::from([source])),
            outbox("alerts", 10),
            (settings(reorder_ns), Arc::clone(&signals)),
            &metrics,
        );
        let worker = worker.with(Some(durable));
        let (look_up, questions, answers) = LookUp::asking();
        let delivering = Delivering::new(
            (Box::new(Member::join(&client, Of::Alerts)), WORKER),
            (Box::new(Soc(client.clone())), Courier::new(told(), &metrics)),
            (outbox("deliver", usize::MAX), look_up),
            Arc::default(),
            &metrics,
        );
        let mut it = Self {
            life,
            client,
            shared,
            worker,
            signals,
            requests,
            asked: VecDeque::new(),
            delivering,
            questions,
            answers,
            looked_up: VecDeque::new(),
            groups_read: 0,
            ahead_ms,
        };
        it.read_groups(usize::MAX);
        drop(it.shared.board.read_to_end());
        it
    }

    /// One turn of everything in the process.
    pub(crate) fn turn(&mut self) {
        show(&self.client, self.ahead_ms);
        let (count, is_rough) = {
            let mut world = lock(&self.client.world);
            let is_rough = world.is_rough;
            (if is_rough { world.random.usize(..20) } else { usize::MAX }, is_rough)
        };
        self.read_groups(count);
        drop(self.shared.board.with_log(|board, link, _| link.tend(board)));
        self.answer(is_rough);
        self.worker.turn();
        self.look_up(is_rough);
        self.delivering.turn();
    }

    /// What the receiver has of partitions is found, late or not at first.
    fn look_up(&mut self, is_rough: bool) {
        let now_ms = lock(&self.client.world).now_ms;
        while let Ok(name) = self.questions.try_recv() {
            let delay = if is_rough { lock(&self.client.world).random.u64(..3_000) } else { 0 };
            self.looked_up.push_back((now_ms + delay, name));
        }
        for (due_ms, name) in std::mem::take(&mut self.looked_up) {
            let fails = due_ms <= now_ms && lock(&self.client.world).once_in(15);
            if due_ms > now_ms || fails {
                let due_ms = if fails { now_ms + ASK_AGAIN_MS } else { due_ms };
                self.looked_up.push_back((due_ms, name));
                continue;
            }
            let reader = Reader(self.client.clone());
            let mut found = find(&reader, (&name, &"deliveries".into()), NAME).unwrap();
            if lock(&self.client.world).broken == Broken::DeliveriesUnread {
                found.records.clear();
            }
            drop(self.answers.send((name, found)));
        }
    }

    /// Those that read partitions back answer, late or not at all.
    fn answer(&mut self, is_rough: bool) {
        let now_ms = lock(&self.client.world).now_ms;
        while let Ok(request) = self.requests.try_recv() {
            let delay = if is_rough { lock(&self.client.world).random.u64(..3_000) } else { 0 };
            self.asked.push_back((now_ms + delay, request));
        }
        for (due_ms, request) in std::mem::take(&mut self.asked) {
            if due_ms > now_ms {
                self.asked.push_back((due_ms, request));
                continue;
            }
            let reader = Reader(self.client.clone());
            let fails = lock(&self.client.world).once_in(15);
            let mut answer: Result<&dyn LogReader, KafkaError> = Ok(&reader);
            if fails {
                lock(&self.client.world).met.unread += 1;
                answer = Err(KafkaError::no_answer("read a partition"));
            }
            request.answer(answer, &"state".into(), 1_000);
        }
    }

    /// Reads the log of groups on, and keeps it short, as `GroupLog` does.
    fn read_groups(&mut self, count: usize) {
        for _ in 0..count {
            let next = lock(&self.client.world).log("groups", 0).at(self.groups_read).cloned();
            let Some(record) = next else { return };
            self.groups_read = record.offset + 1;
            let key = record.key.as_deref().unwrap_or_default();
            let step = self.shared.board.read(record.offset, key, record.payload.as_deref());
            self.take(&step);
        }
    }

    fn take(&self, step: &Step) {
        let board = &self.shared.board;
        if step.due == Some(self.life) {
            board.with_log(|board, link, follower| {
                let (position, snapshot) = follower.snapshot(board);
                let parts = snapshot.to_parts(link.part_bytes()).unwrap();
                let count = u32::try_from(parts.len()).unwrap();
                for (index, bytes) in (0_u32..).zip(parts) {
                    let part = SnapshotPart { name: (position, self.life), index, count, bytes };
                    link.append_record(&part.key(), Some(&part.to_bytes().unwrap()));
                }
            });
        }
        if step.whole.is_some_and(|(_, writer)| writer == self.life) {
            board.with_log(|_, link, follower| {
                follower.outdated().iter().for_each(|key| link.append_record(key, None));
            });
        }
        let lost = step.lost.then(|| format!("life {}: entries of groups are lost", self.life));
        lock(&self.client.world).wrongs.extend(lost);
    }

    /// What it knows of the agents of a partition, by their keys.
    pub(crate) fn agents(&self, partition: i32) -> BTreeMap<AgentKey, Vec<u8>> {
        let id = PartitionId { topic: 0, partition };
        let agents = &self.shared.agents;
        let bytes = |key| agents.read(key, |state| agent_to_bytes(state).unwrap());
        agents.keys(Some(id)).into_iter().filter_map(|key| Some((key, bytes(key)?))).collect()
    }

    /// What it knows of peers, as bytes.
    pub(crate) fn peers(&self) -> String {
        format!("{:#?}", self.shared.board.newest())
    }

    /// What its worker last said of itself.
    pub(crate) fn report(&self) -> Option<Report> {
        self.signals.reports().into_values().next()
    }
}

fn show(client: &Client, ahead_ms: i64) {
    let world = lock(&client.world);
    let wall = world.wall().plus_millis(ahead_ms);
    clock::show(Some(Reading { wall, passed: Duration::from_millis(world.now_ms) }));
}

fn settings(reorder_ns: i64) -> WorkerSettings {
    WorkerSettings {
        index: 0,
        workers: 1,
        alerts: "alerts".into(),
        dead_letter: "dead-letter".into(),
        audit: "audit".into(),
        commit_interval: Duration::from_secs(1),
        peers_wait: PEERS_WAIT,
        idle_after: IDLE_AFTER,
        held_max: 1_000,
        stalled_after: Duration::from_secs(300),
        reorder: Duration::from_nanos(u64::try_from(reorder_ns).unwrap()),
        learn_from: None,
        session_timeout: Duration::from_millis(SESSION_MS),
        flush_timeout: Duration::from_secs(5),
    }
}

fn told() -> CourierSettings {
    CourierSettings {
        name: NAME.into(),
        dedup_for: Duration::from_secs(86_400),
        retry_for: Duration::from_secs(72 * 3_600),
        rate: 1_000,
        alerts: "alerts".into(),
        deliveries: "deliveries".into(),
        dead_letter: "dead-letter".into(),
        has_others: true,
    }
}
