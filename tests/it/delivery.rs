//! Delivery that crashes anywhere: before and after the attempt, before and after its note, before
//! the commit, without Kafka and network, every fault drawn from a seed; and beside a real Kafka a
//! process that dies there, and two receivers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use toolwarden::alert::Alert;
use toolwarden::deliver::{Failure, Manner, POSSIBLE_DUPLICATE, Place, Restoring, Ruling};
use toolwarden::event::Timestamp;
use toolwarden::kafka::{Ledger, OutgoingRecord, Ticket};
use toolwarden::pipeline::courier::{Courier, CourierSettings, HELD_BYTES_MAX, Step};
use toolwarden::pipeline::undelivered;
use toolwarden::telemetry::{BuildInfo, FailureReason, Metrics};

use crate::calls::looping;
use crate::faults::kill::{armed, at_once, has_died};
use crate::faults::oracle::{long_ones_are_wanted, random, seed};
use crate::groups::patient;
use crate::kafka_broker::Broker;
use crate::running::{Running, Settings, Stored, produce, read, wait_for, wait_until_committed};

/// What survives a crash.
#[derive(Default)]
struct World {
    deliveries: BTreeMap<Vec<u8>, Vec<u8>>,
    dead_letters: Vec<Vec<u8>>,
    alerts: Vec<Vec<u8>>,
    committed: i64,
    now_ms: i64,
    /// What the receiver took: message, and whether it was marked.
    taken: Vec<(String, bool)>,
}

impl World {
    fn write(&mut self, record: &OutgoingRecord) {
        let payload = record.payload.clone();
        match &*record.topic {
            "deliveries" => match payload {
                Some(payload) => drop(self.deliveries.insert(record.key.clone(), payload)),
                None => drop(self.deliveries.remove(&record.key)),
            },
            "dead" => self.dead_letters.extend(payload),
            _ => self.alerts.extend(payload),
        }
    }
}

fn alert(id: &str, incident: &str, revision: u32) -> Vec<u8> {
    let time = Timestamp::from_secs(1_000).to_string();
    let status = ["firing", "updated", "resolved"][usize::try_from(revision.min(2)).unwrap()];
    serde_json::to_vec(&json!({
        "schema": "toolwarden/alert/1", "alert_id": id, "revision": revision, "status": status,
        "dedup_key": incident, "time": time, "rule_id": "r", "detector": "d",
        "severity": "high", "score": 60.0, "tenant_id": "t", "agent_id": "a", "title": "loop",
        "summary": "", "expected": {"low": 0.0, "high": 0.0, "unit": "", "basis": ""},
        "observed": 0.0, "probability": 0.0, "window": {"start": time, "end": time},
        "learning": {"state": "active", "progress": 1.0, "since": time, "active_days": 1, "peers": 0},
        "evidence": [], "evidence_total": 0, "counterfactual": "", "tags": [],
        "runbook_url": "", "links": []
    }))
    .unwrap()
}

fn courier() -> Courier {
    let settings = CourierSettings {
        name: "soc".into(),
        dedup_for: Duration::from_secs(86_400),
        retry_for: Duration::from_secs(72 * 3_600),
        rate: 1_000,
        alerts: "alerts".into(),
        deliveries: "deliveries".into(),
        dead_letter: "dead".into(),
        has_others: true,
    };
    Courier::new(settings, &Metrics::new(&BuildInfo::default()))
}

/// Where a process may be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kill {
    /// The attempt is written and its answer not read.
    PostWritten,
    /// The answer is read and its note not written.
    AnswerRead,
    /// The note has arrived and nothing is committed.
    NoteArrived,
    /// As it is committed.
    Committed,
}

/// One life of the process, which ends at `kill` with this attempt, counted from 0, or when all is
/// told. Returns whether all is.
fn live(
    world: &mut World,
    alerts: &[Vec<u8>],
    kill: Option<(Kill, usize)>,
    answers: &mut dyn FnMut(&str) -> Result<u16, Failure>,
) -> bool {
    let mut courier = courier();
    let mut restoring = Restoring::new("soc");
    for (key, value) in &world.deliveries {
        restoring.take(key, Some(value));
    }
    assert_eq!(restoring.refused, 0);
    courier.adopt(0, &restoring.finish());
    let ledger = Ledger::default();
    let mut on_the_way: Vec<(OutgoingRecord, Ticket)> = Vec::new();
    let end = i64::try_from(alerts.len()).unwrap();
    for offset in world.committed..end {
        let body: Arc<[u8]> = alerts[usize::try_from(offset).unwrap()].as_slice().into();
        let alert: Alert = serde_json::from_slice(&body).unwrap();
        let place = Place { appended_ms: 0, partition: 0, offset };
        let mut send = |record, ticket| on_the_way.push((record, ticket));
        courier.take(place, (alert, body), &ledger, &mut send);
    }
    let mut attempts = 0;
    loop {
        let mut send = |record, ticket| on_the_way.push((record, ticket));
        let step = courier.next(Timestamp::from_millis(world.now_ms), &mut send);
        // The broker has what was written; notes are waited for before an attempt is made.
        for (record, ticket) in on_the_way.drain(..) {
            world.write(&record);
            ticket.settle();
        }
        let post = match step {
            Step::Post(post) => post,
            Step::Wait(until) => {
                world.now_ms = until.as_millis();
                continue;
            }
            Step::Idle => break,
        };
        assert!(post.announced.is_empty());
        let is_it = |point| kill == Some((point, attempts));
        let said = format!("{:?}", post.message);
        let answer = answers(&said);
        let Manner { is_possible_duplicate, .. } = post.manner;
        if answer.is_ok() {
            world.taken.push((said, is_possible_duplicate));
        }
        if is_it(Kill::PostWritten) || is_it(Kill::AnswerRead) {
            return false;
        }
        let mut send = |record, ticket| on_the_way.push((record, ticket));
        let at = (Timestamp::from_millis(world.now_ms), 0.5);
        courier.done(post.number, answer, at, &mut send);
        for (record, ticket) in on_the_way.drain(..) {
            world.write(&record);
            ticket.settle();
        }
        courier.write(&mut |record, ticket| {
            world.write(&record);
            ticket.settle();
        });
        if is_it(Kill::NoteArrived) {
            return false;
        }
        world.committed = ledger.lowest_open().unwrap_or(end);
        if is_it(Kill::Committed) {
            return false;
        }
        attempts += 1;
    }
    world.committed = ledger.lowest_open().unwrap_or(end);
    courier.held() == 0
}

fn story() -> Vec<Vec<u8>> {
    let words = [("a", "x", 0), ("b", "y", 0), ("c", "x", 0), ("a", "x", 1), ("b", "y", 1)];
    let more = [("c", "x", 2), ("a", "x", 2), ("b", "y", 2), ("d", "z", 0), ("d", "z", 2)];
    words
        .iter()
        .chain(&more)
        .map(|(id, incident, revision)| alert(id, incident, *revision))
        .collect()
}

fn refused(status: u16) -> Failure {
    let ruling = toolwarden::deliver::rule(status);
    Failure {
        ruling,
        status: Some(status),
        asked_wait: None,
        detail: String::new(),
        is_ambiguous: false,
    }
}

#[test]
fn row_29_a_kill_at_any_point_of_an_attempt_repeats_at_most_that_one_and_says_so() {
    let alerts = story();
    let mut golden = World::default();
    assert!(live(&mut golden, &alerts, None, &mut |_| Ok(200)));
    assert_eq!(golden.taken.len(), alerts.len());
    assert!(golden.taken.iter().all(|(_, is_marked)| !is_marked));
    let words: Vec<&String> = golden.taken.iter().map(|(said, _)| said).collect();
    for kill in [Kill::PostWritten, Kill::AnswerRead, Kill::NoteArrived, Kill::Committed] {
        for attempt in 0..alerts.len() {
            let mut world = World::default();
            assert!(!live(&mut world, &alerts, Some((kill, attempt)), &mut |_| Ok(200)));
            assert!(live(&mut world, &alerts, None, &mut |_| Ok(200)));
            let told: BTreeSet<&String> = world.taken.iter().map(|(said, _)| said).collect();
            let wanted: BTreeSet<&String> = words.iter().copied().collect();
            assert_eq!(told, wanted, "{kill:?} at {attempt}: the same ids with the same bytes");
            let extra = world.taken.len() - alerts.len();
            assert_eq!(extra, usize::from(kill <= Kill::AnswerRead), "{kill:?} at {attempt}");
            let marked: Vec<&String> =
                world.taken.iter().filter(|(_, it)| *it).map(|(said, _)| said).collect();
            assert_eq!(marked.len(), extra, "a repeat says so, and nothing else does");
            assert!(
                marked.iter().all(|it| world.taken.iter().filter(|t| t.0 == **it).count() == 2)
            );
            assert_eq!(world.committed, i64::try_from(alerts.len()).unwrap());
        }
    }
}

#[test]
fn row_29_a_rewind_tells_nobody_what_he_has() {
    let alerts = story();
    let mut world = World::default();
    assert!(live(&mut world, &alerts, None, &mut |_| Ok(200)));
    world.committed = 0;
    assert!(live(&mut world, &alerts, None, &mut |_| panic!("it was sent again")));
    // Another receiver has nothing of it.
    let mut restoring = Restoring::new("pager");
    world.deliveries.iter().for_each(|(key, value)| restoring.take(key, Some(value)));
    assert!(restoring.finish().is_empty());
}

#[test]
fn row_29_crashes_drawn_at_random_lose_nothing_and_keep_the_order_of_incidents() {
    let alerts = story();
    let (mut crashes, mut repeats) = (0, 0);
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut world = World::default();
        for _ in 0..6 {
            let kills = [Kill::PostWritten, Kill::AnswerRead, Kill::NoteArrived, Kill::Committed];
            let kill = (*random.choice(&kills).unwrap(), random.usize(..4));
            let mut draw = fastrand::Rng::with_seed(random.u64(..));
            let mut answer = |_: &str| if draw.bool() { Ok(200) } else { Err(refused(503)) };
            crashes += usize::from(!live(&mut world, &alerts, Some(kill), &mut answer));
        }
        assert!(live(&mut world, &alerts, None, &mut |_| Ok(200)), "seed {seed}");
        let mut firsts: Vec<&String> = Vec::new();
        for (said, is_marked) in &world.taken {
            let is_repeat = firsts.contains(&said);
            assert!(!is_repeat || *is_marked, "seed {seed}: a repeat that does not say so");
            repeats += usize::from(is_repeat);
            if !is_repeat {
                firsts.push(said);
            }
        }
        assert_eq!(firsts.len(), alerts.len(), "seed {seed}: each has one body");
        for incident in ["a_", "b_", "d_"] {
            let order: Vec<usize> = firsts
                .iter()
                .filter_map(|said| said.split(&format!("id: \"{incident}")).nth(1))
                .map(|rest| rest.split('"').next().unwrap().parse().unwrap())
                .collect();
            assert!(order.len() >= 2 && order.is_sorted(), "seed {seed}: {incident} {order:?}");
        }
    }
    assert!(crashes > 100 && repeats > 50, "{crashes} crashes and {repeats} repeats prove nothing");
}

#[test]
fn row_30_what_is_given_up_is_kept_and_the_other_receivers_are_told_once() {
    let alerts = vec![alert("a", "x", 0), alert("b", "y", 0)];
    let mut world = World::default();
    let mut answer = |said: &str| {
        if said.contains("id: \"a_0\"") { Err(refused(413)) } else { Ok(200) }
    };
    assert!(live(&mut world, &alerts, None, &mut answer));
    assert_eq!(world.dead_letters, [alerts[0].clone()], "byte for byte");
    assert_eq!(world.alerts.len(), 1);
    let told: Alert = serde_json::from_slice(&world.alerts[0]).unwrap();
    assert_eq!((told.rule_id.as_str(), told.score), (undelivered::RULE, 60.0));
    assert!(told.title.contains("soc") && told.summary.contains("loop"), "{told:?}");
    assert!(undelivered::is_about(&told, "soc") && !undelivered::is_about(&told, "pager"));
    // What cannot be told of that is kept, and makes no further alert.
    let told = vec![world.alerts[0].clone()];
    let mut other = World::default();
    assert!(live(&mut other, &told, None, &mut |_| Err(refused(400))));
    assert_eq!((other.dead_letters.len(), other.alerts.len()), (1, 0));
    let note: Value = serde_json::from_slice(other.deliveries.values().next().unwrap()).unwrap();
    assert_eq!((&note["outcome"], &note["code"]), (&json!("dead"), &json!(400)));
}

#[test]
fn row_30_a_receiver_that_is_away_for_two_days_is_not_written_off_whatever_it_answers() {
    let alerts = story();
    for status in [401, 403, 404, 410, 408, 429, 500, 503] {
        let mut world = World::default();
        let mut asked = 0;
        // One attempt in 225 s where a person has to mend something, in 45 s elsewhere.
        let failing = if matches!(status, 401 | 403 | 404 | 410) { 900 } else { 4_200 };
        let mut answer = |_: &str| {
            asked += 1;
            if asked <= failing { Err(refused(status)) } else { Ok(200) }
        };
        let all = live(&mut world, &alerts, None, &mut answer);
        assert!(all && world.dead_letters.is_empty() && world.alerts.is_empty(), "{status}");
        assert_eq!(world.taken.len(), alerts.len(), "{status}");
        assert!(world.now_ms > 2 * 86_400_000, "{status}: {} ms", world.now_ms);
    }
}

#[test]
fn a_crash_before_the_dead_letter_arrived_tries_again() {
    let mut courier = courier();
    let ledger = Ledger::default();
    let body: Arc<[u8]> = alert("a", "x", 0).into();
    let it: Alert = serde_json::from_slice(&body).unwrap();
    let mut sent = Vec::new();
    let mut send = |record, ticket| sent.push((record, ticket));
    let place = Place { appended_ms: 0, partition: 0, offset: 0 };
    courier.take(place, (it, body), &ledger, &mut send);
    let Step::Post(post) = courier.next(Timestamp::from_secs(1), &mut send) else { panic!() };
    let failure = Failure { ruling: Ruling::GiveUp(FailureReason::ClientError), ..refused(405) };
    courier.done(post.number, Err(failure), (Timestamp::from_secs(1), 0.5), &mut send);
    courier.write(&mut send);
    let notes = |sent: &[(OutgoingRecord, Ticket)]| {
        let notes = sent.iter().filter(|(it, _)| &*it.topic == "deliveries");
        notes
            .map(|(it, _)| String::from_utf8(it.payload.clone().unwrap()).unwrap())
            .collect::<Vec<_>>()
    };
    assert!(notes(&sent).iter().all(|note| note.contains("sending")), "not before the letter");
    assert_eq!(ledger.lowest_open(), Some(0), "and nothing is committed");
    sent.drain(..).for_each(|(_, ticket)| ticket.settle());
    courier.write(&mut |record, ticket| sent.push((record, ticket)));
    assert!(notes(&sent)[0].contains("dead"));
    sent.drain(..).for_each(|(_, ticket)| ticket.settle());
    assert!(ledger.is_empty());
}

#[test]
fn what_is_held_counts_the_bodies_that_are_sent_as_well() {
    let mut courier = courier();
    let ledger = Ledger::default();
    let mut send = |_, ticket: Ticket| ticket.settle();
    let now = Timestamp::from_secs(1);
    let mebibyte = 1 << 20;
    for number in 1..i64::try_from(HELD_BYTES_MAX / mebibyte).unwrap() {
        let name = number.to_string();
        let mut it: Value = serde_json::from_slice(&alert(&name, &name, 0)).unwrap();
        it["summary"] = "x".repeat(mebibyte - it.to_string().len()).into();
        let body: Arc<[u8]> = it.to_string().into_bytes().into();
        assert_eq!(body.len(), mebibyte);
        let place = Place { appended_ms: 0, partition: 0, offset: number };
        courier.take(place, (serde_json::from_value(it).unwrap(), body), &ledger, &mut send);
    }
    assert!(!courier.is_full(), "one more would fit");
    let Step::Post(post) = courier.next(now, &mut send) else { panic!() };
    assert!(courier.is_full(), "what is sent of it takes as much again");
    courier.done(post.number, Ok(200), (now, 0.5), &mut send);
    assert!(!courier.is_full());
}

/// A message: its id, whether it was marked, its body.
type Heard = (String, bool, Vec<u8>);

/// A real receiver: answers `status`, and keeps what it was sent.
#[derive(Clone)]
struct Real {
    status: Arc<AtomicU16>,
    heard: Arc<Mutex<Vec<Heard>>>,
    address: SocketAddr,
}

impl Real {
    fn start(runtime: &tokio::runtime::Runtime, status: u16) -> Self {
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let status = Arc::new(AtomicU16::new(status));
        let real = Self { status, heard: Arc::default(), address };
        let router = Router::new().fallback(hear).with_state(real.clone());
        runtime.spawn(async move { axum::serve(listener, router).await });
        real
    }

    fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// What it took: how often each message came, with its bodies.
    fn taken(&self) -> BTreeMap<String, Vec<(bool, Vec<u8>)>> {
        let mut taken: BTreeMap<String, Vec<(bool, Vec<u8>)>> = BTreeMap::new();
        let heard = self.heard.lock().unwrap().clone();
        for (id, is_marked, body) in heard {
            taken.entry(id).or_default().push((is_marked, body));
        }
        taken
    }

    /// The messages of the alerts topic, once it has taken them all.
    fn has_all(&self, settings: &Settings) -> Option<BTreeSet<String>> {
        let wanted: BTreeSet<String> =
            read(&settings.bootstrap, &settings.alerts()).iter().map(message).collect();
        let taken = self.taken();
        (!wanted.is_empty() && wanted.iter().all(|id| taken.contains_key(id))).then_some(wanted)
    }

    /// How often each message came again; each with one body, and marked from the second time on.
    fn repeats(&self) -> BTreeMap<String, usize> {
        let mut repeats = BTreeMap::new();
        for (id, times) in self.taken() {
            assert!(times.iter().all(|it| it.1 == times[0].1), "{id}: one body");
            assert!(times.iter().skip(1).all(|it| it.0), "{id}: a repeat that does not say so");
            repeats.insert(id, times.len() - 1);
        }
        repeats
    }
}

/// The message that an alert is told by, or that a note of the deliveries is about.
fn message(record: &Stored) -> String {
    let it = record.json();
    format!("{}_{}", it["alert_id"].as_str().unwrap(), it["revision"])
}

/// Whether something of an agent is told, and nothing is told or waits for its note any more.
fn is_told_of(agent: &str, settings: &Settings) -> bool {
    let alerts = read(&settings.bootstrap, &settings.alerts());
    let notes = read(&settings.bootstrap, &settings.deliveries());
    let is_delivered = |note: &&Stored| note.json()["outcome"] == "delivered";
    let delivered: BTreeSet<String> = notes.iter().filter(is_delivered).map(message).collect();
    alerts.iter().any(|it| it.json()["agent_id"] == agent)
        && alerts.iter().all(|it| delivered.contains(&message(it)))
}

fn receiver(name: &str) -> String {
    format!(
        "  - {{name: {name}, type: webhook, url_env: {}, signing_secret_env: SECRET, \
         min_score: 0, dedup_for: 0s, catch_up_rate: 1000, allow_networks: [127.0.0.1]}}\n",
        name.to_uppercase()
    )
}

fn secret() -> (&'static str, String) {
    ("SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned())
}

async fn hear(State(real): State<Real>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let status = real.status.load(Ordering::SeqCst);
    if status == 200 {
        let id = headers["webhook-id"].to_str().unwrap().to_owned();
        let is_marked = headers.contains_key(POSSIBLE_DUPLICATE);
        real.heard.lock().unwrap().push((id, is_marked, body.to_vec()));
    }
    StatusCode::from_u16(status).unwrap()
}

#[test]
fn row_31_a_dead_receiver_holds_up_no_other_and_a_kill_and_a_broker_restart_repeat_nothing() {
    let Some(mut broker) = Broker::start() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (healthy, dead) = (Real::start(&runtime, 200), Real::start(&runtime, 503));
    let settings = Settings {
        more: format!("receivers:\n{}{}", receiver("healthy"), receiver("dead")),
        environment: vec![("HEALTHY", healthy.url()), ("DEAD", dead.url()), secret()],
        ..Settings::new(broker.bootstrap(), "two-receivers")
    };
    broker.create_topic(settings.calls(), 2, &[]);
    let tell = |agent: &str, hour: u32| {
        let calls = looping(agent, &format!("2026-03-02T{hour:02}:00:00Z"), 40);
        produce(&settings.bootstrap, settings.calls(), &calls);
    };
    let running = Running::start(&settings);
    tell("first", 10);
    running.wait_until_judged(40);
    wait_for("the healthy one is told", || healthy.has_all(&settings));
    running.wait_until("the dead one's breaker opens", |it| {
        it.sum("notification_breaker_state", &["receiver=\"dead\""]) > 0.0
    });
    running.kill();

    let running = Running::start(&settings);
    tell("second", 11);
    running.wait_until_judged(40);
    wait_for("the healthy one is told of the second", || healthy.has_all(&settings));
    broker.crash();
    broker.restart();
    tell("third", 12);
    running.wait_until_judged(80);
    wait_for("the healthy one is told of the third", || healthy.has_all(&settings));
    assert!(dead.taken().is_empty());
    dead.status.store(200, Ordering::SeqCst);
    wait_for("the other one is back and has all", || dead.has_all(&settings));
    for real in [&healthy, &dead] {
        assert!(real.repeats().values().all(|repeats| *repeats <= 1), "{:?}", real.repeats());
    }
}

/// The steps of an attempt, the most hits after which a process dies there, and how often whoever has an
/// alert is told it again for each death.
const STEPS: [(&str, u32, RangeInclusive<usize>); 4] = [
    ("posting", 3, 0..=0),
    ("post-answered", 3, 1..=1),
    // The next revision of the incident may be on its way.
    ("delivery-noted", 2, 0..=1),
    ("delivery-committed", 2, 0..=1),
];

/// Two lives that end at `point`, and one that goes on, while one agent after the other loops.
fn die_twice_at(
    (runtime, broker): (&tokio::runtime::Runtime, &Broker),
    (point, hits, told_again): (&str, u32, &RangeInclusive<usize>),
    seed: u64,
) {
    let real = Real::start(runtime, 200);
    let patient = patient(Settings::new(broker.bootstrap(), &format!("kill-{point}-{seed}")));
    let settings = Settings {
        session_ms: Some(1_500),
        commit_interval: "100ms",
        more: format!("{}receivers:\n{}", patient.more, receiver("pager")),
        environment: vec![("PAGER", real.url()), secret()],
        ..patient
    };
    broker.create_topic(settings.calls(), 1, &[]);
    let mut random = random(&settings.name);
    let mut deaths = 0;
    let mut begin = |deaths| {
        let armed = armed(&settings, &format!("{point}:{}", random.u32(1..=hits)));
        Running::spawn(if deaths < 2 { &armed } else { &settings })
    };
    let mut running = begin(deaths);
    // All at the same time, so that no incident ends beside the next, of one detector only, and each
    // once the one before is noted: one request at a time.
    let start = "2026-03-02T10:00:00Z";
    for number in 0..12 {
        let agent = format!("agent-{number}");
        produce(&settings.bootstrap, settings.calls(), &looping(&agent, start, 20));
        let said = format!("{} is told of {agent}", settings.name);
        wait_for(&said, || {
            if has_died(&mut running) {
                deaths += 1;
                running = begin(deaths);
            }
            is_told_of(&agent, &settings).then_some(())
        });
    }
    assert_eq!(deaths, 2, "it came to {} twice", settings.name);
    wait_until_committed(&settings, &[&running]);
    wait_for("all is told", || real.has_all(&settings));
    let repeats: usize = real.repeats().values().sum();
    let (least, most) = (told_again.start() * deaths, told_again.end() * deaths);
    assert!((least..=most).contains(&repeats), "{}: {:?}", settings.name, real.repeats());
}

#[test]
fn row_29_a_process_killed_at_each_step_of_an_attempt_repeats_at_most_that_one_and_says_so() {
    let Some(broker) = Broker::shared() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let seeds = if long_ones_are_wanted() { 10 } else { 1 };
    let cases: Vec<_> = (0..seeds)
        .flat_map(|more| STEPS.iter().map(move |step| (step, seed().wrapping_add(more))))
        .collect();
    at_once(&cases, |((point, hits, told_again), seed)| {
        die_twice_at((&runtime, &broker), (point, *hits, told_again), *seed);
    });
}
