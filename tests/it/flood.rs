//! A flood of alerts with a critical one behind it, on a clock, a topic and a receiver of the test's:
//! the delivery itself runs, turn by turn, and nothing waits for the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::json;
use toolwarden::alert::Alert;
use toolwarden::deliver::{IN_FLIGHT_MAX, Restoring};
use toolwarden::event::Timestamp;
use toolwarden::kafka::{
    Carrier, Commits, GroupMember, History, KafkaError, Outbox, Parcel, PlainRecord, Polled,
    Rebalanced, TopicPartition,
};
use toolwarden::pipeline::clock::{self, Reading};
use toolwarden::pipeline::courier::{Courier, CourierSettings, HELD_MAX, Post, URGENT_MAX};
use toolwarden::pipeline::delivery::Delivering;
use toolwarden::pipeline::look_up::{Found, LookUp};
use toolwarden::pipeline::posting::{Ended, Receiver};
use toolwarden::telemetry::{BuildInfo, Metrics};

/// When the story begins, in milliseconds since the Unix epoch.
const BEGIN_MS: i64 = 1_772_445_600_000;

/// What one turn of the delivery takes, in milliseconds.
const TURN_MS: i64 = 10;

/// Everything outside of the delivery.
#[derive(Debug, Default)]
struct World {
    topic: Vec<Arc<PlainRecord>>,
    position: usize,
    /// How often the client was sent on.
    resets: u64,
    is_paused: bool,
    rebalances: Vec<Rebalanced>,
    finished: i64,
    committed: i64,
    notes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// What the receiver took: the message, when, and whether it was marked as a possible repeat.
    told: Vec<(String, i64, bool)>,
    passed_ms: i64,
}

impl World {
    fn append(&mut self, id: &str, incident: &str, severity: &str) {
        let time = Timestamp::from_millis(BEGIN_MS).to_string();
        let alert = json!({
            "schema": "toolwarden/alert/1", "alert_id": id, "revision": 0, "status": "firing",
            "dedup_key": incident, "time": time, "rule_id": "r", "detector": "d",
            "severity": severity, "score": 60.0, "tenant_id": "t", "agent_id": "a", "title": "loop",
            "summary": "", "expected": {"low": 0.0, "high": 0.0, "unit": "", "basis": ""},
            "observed": 0.0, "probability": 0.0, "window": {"start": time, "end": time},
            "learning": {"state": "active", "progress": 1.0, "since": time, "active_days": 1, "peers": 0},
            "evidence": [], "evidence_total": 0, "counterfactual": "", "tags": [],
            "runbook_url": "", "links": []
        });
        self.topic.push(Arc::new(PlainRecord {
            topic: "alerts".into(),
            partition: 0,
            offset: i64::try_from(self.topic.len()).unwrap(),
            timestamp_ms: Some(BEGIN_MS + self.passed_ms),
            key: None,
            payload: Some(alert.to_string().into_bytes()),
        }));
    }

    /// How long after `since_ms` a message was told.
    fn told_after(&self, id: &str, since_ms: i64) -> Option<i64> {
        let told = self.told.iter().find(|it| it.0 == format!("{id}_0"));
        told.map(|it| it.1 - since_ms)
    }
}

#[derive(Clone, Debug, Default)]
struct Outside(Arc<Mutex<World>>);

impl Outside {
    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }
}

fn partition() -> TopicPartition {
    TopicPartition { topic: "alerts".into(), partition: 0 }
}

impl GroupMember for Outside {
    fn poll(&self, _: Duration) -> Polled<'_> {
        let mut world = self.world();
        let record = world.topic.get(world.position).filter(|_| !world.is_paused).cloned();
        world.position += usize::from(record.is_some());
        record.map_or(Polled::Nothing, |it| Polled::Record(it.into()))
    }

    fn is_connected(&self) -> bool {
        true
    }

    fn is_from_earliest(&self) -> bool {
        true
    }

    fn next_rebalance(&self) -> Option<Rebalanced> {
        self.world().rebalances.pop()
    }

    fn defer_revoking(&self, _: bool) {}

    fn let_go(&self, _: &[TopicPartition]) -> bool {
        true
    }

    fn finish(&self, _: &TopicPartition, offset: i64) {
        self.world().finished = offset;
    }

    fn appended(&self, _: &TopicPartition, _: i64) {}

    fn begin_commit(&self) -> u64 {
        let mut world = self.world();
        world.committed = world.finished;
        1
    }

    fn commits(&self) -> Commits {
        Commits { ended: 1, done: 1 }
    }

    fn commit(&self) -> bool {
        self.commits().outcome(self.begin_commit()) == Some(true)
    }

    fn resets(&self) -> u64 {
        self.world().resets
    }

    fn oldest(&self, _: &TopicPartition) -> Option<i64> {
        Some(0)
    }

    fn is_lost(&self) -> bool {
        false
    }

    fn has_finished(&self) -> bool {
        false
    }

    fn ask_for_end(&self, _: &TopicPartition, _: bool) {}

    fn pause(&self, _: &TopicPartition) {
        self.world().is_paused = true;
    }

    fn resume(&self, _: &TopicPartition) {
        self.world().is_paused = false;
    }

    fn is_at_end(&self, _: &TopicPartition, next_offset: Option<i64>) -> Option<bool> {
        next_offset.map(|next| usize::try_from(next).unwrap() >= self.world().topic.len())
    }

    fn history(&self, _: &TopicPartition, _: i64) -> Result<History, KafkaError> {
        unreachable!("a delivery asks for no history")
    }

    fn seek(&self, _: &TopicPartition, offset: i64) -> Result<(), KafkaError> {
        self.world().position = usize::try_from(offset).unwrap();
        Ok(())
    }
}

impl Carrier for Outside {
    fn carry(&self, parcel: Parcel) {
        let record = parcel.record();
        assert_eq!(&*record.topic, "deliveries", "nothing is given up");
        self.world().notes.insert(record.key.clone(), record.payload.clone());
        parcel.arrived(0);
    }

    fn in_flight(&self) -> usize {
        0
    }

    fn flush(&self, _: Duration) {}
}

impl Receiver for Outside {
    fn name(&self) -> &'static str {
        "soc"
    }

    fn wants(&self, _: &Alert) -> bool {
        true
    }

    fn attempt(&self, post: Post, ended: Sender<Ended>) {
        let shown = format!("{:?}", post.message);
        let id = shown.split("id: \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let mut world = self.world();
        let at = world.passed_ms;
        world.told.push((id, at, post.manner.is_possible_duplicate));
        ended.send((post.number, Ok(200))).unwrap();
    }
}

/// A delivery that begins where the group has committed, at the world's time.
fn begin(outside: &Outside, rate: u32, metrics: &Metrics) -> Delivering {
    show(outside);
    let settings = CourierSettings {
        name: "soc".into(),
        dedup_for: Duration::from_secs(86_400),
        retry_for: Duration::from_secs(72 * 3_600),
        rate,
        alerts: "alerts".into(),
        deliveries: "deliveries".into(),
        dead_letter: "dead".into(),
        has_others: false,
    };
    let (look_up, _, answers) = LookUp::asking();
    let mut restoring = Restoring::new("soc");
    let from = {
        let mut world = outside.world();
        world.rebalances = vec![Rebalanced::Assigned(vec![partition()])];
        world.notes.iter().for_each(|(key, value)| restoring.take(key, value.as_deref()));
        world.committed
    };
    let records = restoring.finish();
    answers.send((partition(), Found { records, from, overtaken: 0, refused: 0 })).unwrap();
    let outbox = Outbox::by(Arc::new(outside.clone()), usize::MAX, metrics);
    Delivering::new(
        (Box::new(outside.clone()), 0),
        (Box::new(outside.clone()), Courier::new(settings, metrics)),
        (outbox, look_up),
        Arc::default(),
        metrics,
    )
}

/// The value of a metric of the receiver.
fn metric(metrics: &Metrics, name: &str) -> f64 {
    let text = metrics.encode();
    let line = format!("toolwarden_{name}{{receiver=\"soc\"}} ");
    text.lines().find_map(|it| it.strip_prefix(&line)).map_or(0.0, |it| it.parse().unwrap())
}

/// Lets the clocks of this thread show what has passed in the world.
fn show(outside: &Outside) -> i64 {
    let passed_ms = outside.world().passed_ms;
    let wall = Timestamp::from_millis(BEGIN_MS + passed_ms);
    clock::show(Some(Reading { wall, passed: Duration::from_millis(passed_ms.unsigned_abs()) }));
    passed_ms
}

/// Lets the delivery work for so long, or until it has told `until` messages.
fn work(outside: &Outside, delivery: &mut Delivering, (span_ms, until): (i64, usize)) {
    let end = outside.world().passed_ms + span_ms;
    loop {
        if show(outside) >= end || outside.world().told.len() >= until {
            return;
        }
        delivery.turn();
        outside.world().passed_ms += TURN_MS;
    }
}

/// What was committed has been told, all of it.
fn nothing_is_committed_untold(outside: &Outside) {
    let world = outside.world();
    let told: BTreeSet<&str> = world.told.iter().map(|it| it.0.as_str()).collect();
    let committed = usize::try_from(world.committed).unwrap();
    for record in &world.topic[..committed] {
        let alert: Alert = serde_json::from_slice(record.payload.as_ref().unwrap()).unwrap();
        assert!(told.contains(format!("{}_0", alert.alert_id).as_str()), "{}", record.offset);
    }
}

#[test]
fn row_37_a_critical_alert_behind_a_flood_is_told_within_ten_seconds_and_the_flood_in_full() {
    let outside = Outside::default();
    let metrics = Metrics::new(&BuildInfo::default());
    let flood = 2 * HELD_MAX + 5_000;
    for number in 0..flood {
        // Every tenth is the same incident as the one before.
        let incident = if number % 10 == 9 { number - 1 } else { number };
        outside.world().append(&format!("flood-{number}"), &format!("i{incident}"), "high");
    }
    outside.world().append("first", "first", "critical");
    let mut delivery = begin(&outside, 100, &metrics);
    work(&outside, &mut delivery, (20_000, usize::MAX));
    let late = outside.world().told_after("first", 0).unwrap();
    assert!(late < 10_000, "{late} ms");
    let since = outside.world().passed_ms;
    outside.world().append("second", "second", "critical");
    work(&outside, &mut delivery, (20_000, usize::MAX));
    let late = outside.world().told_after("second", since).unwrap();
    assert!(late < 10_000, "{late} ms");
    assert!(outside.world().told.len() < flood / 2, "the flood goes on");
    assert!(metric(&metrics, "notifications_passed_over_total") > 1_000.0);
    let held = metric(&metrics, "notification_queue_length");
    assert!(held > 5_000.0 && held <= f64::from(u32::try_from(HELD_MAX + URGENT_MAX).unwrap()));
    nothing_is_committed_untold(&outside);
    // A crash in the middle: whoever is next goes on, and tells nobody twice what was noted.
    drop(delivery);
    let later = Metrics::new(&BuildInfo::default());
    let mut delivery = begin(&outside, 100, &later);
    work(&outside, &mut delivery, (3_600_000, flood + 2));
    work(&outside, &mut delivery, (10_000, usize::MAX));
    nothing_is_committed_untold(&outside);
    clock::show(None);
    let world = outside.world();
    assert_eq!(world.committed, i64::try_from(flood + 2).unwrap());
    let repeats = world.told.iter().filter(|it| it.2).count();
    assert!(repeats <= IN_FLIGHT_MAX, "only what was under way at the crash: {repeats}");
    assert_eq!(world.told.len() - repeats, flood + 2, "everything else once");
    let distinct: BTreeSet<&String> = world.told.iter().map(|it| &it.0).collect();
    assert_eq!(distinct.len(), flood + 2);
    let suppressed = metric(&metrics, "notifications_deduplicated_total")
        + metric(&later, "notifications_deduplicated_total");
    assert!(
        (suppressed - f64::from(u32::try_from(flood / 10).unwrap())).abs() < 0.5,
        "{suppressed}"
    );
}

#[test]
fn row_37_a_flood_of_critical_alerts_is_held_within_its_own_bound_and_told_in_full() {
    let outside = Outside::default();
    let metrics = Metrics::new(&BuildInfo::default());
    let flood = HELD_MAX + 3 * URGENT_MAX;
    for number in 0..flood {
        outside.world().append(&format!("{number}"), &format!("{number}"), "critical");
    }
    let mut delivery = begin(&outside, 1_000, &metrics);
    work(&outside, &mut delivery, (1_000, usize::MAX));
    let held = metric(&metrics, "notification_queue_length");
    assert!(held <= f64::from(u32::try_from(HELD_MAX + URGENT_MAX).unwrap()), "{held}");
    work(&outside, &mut delivery, (3_600_000, flood));
    work(&outside, &mut delivery, (10_000, usize::MAX));
    clock::show(None);
    let world = outside.world();
    assert_eq!((world.told.len(), world.committed), (flood, i64::try_from(flood).unwrap()));
}

#[test]
fn row_21_alerts_that_retention_takes_in_front_of_a_running_delivery_are_counted_and_told() {
    let outside = Outside::default();
    let metrics = Metrics::new(&BuildInfo::default());
    for number in 0..30 {
        outside.world().append(&format!("{number}"), &format!("{number}"), "high");
    }
    let mut delivery = begin(&outside, 1_000, &metrics);
    work(&outside, &mut delivery, (2_000, 30));
    // A gap over which nobody sent the client is none: compaction and markers leave such.
    for number in 30..50 {
        outside.world().append(&format!("{number}"), &format!("{number}"), "high");
    }
    outside.world().position = 35;
    work(&outside, &mut delivery, (2_000, 45));
    assert_eq!(metric(&metrics, "notifications_overtaken_total").to_bits(), 0.0_f64.to_bits());
    for number in 50..70 {
        outside.world().append(&format!("{number}"), &format!("{number}"), "high");
    }
    {
        let mut world = outside.world();
        (world.position, world.resets) = (57, 1);
    }
    work(&outside, &mut delivery, (2_000, 58));
    work(&outside, &mut delivery, (2_000, usize::MAX));
    assert_eq!(metric(&metrics, "notifications_overtaken_total").to_bits(), 7.0_f64.to_bits());
    clock::show(None);
    let world = outside.world();
    assert_eq!((world.told.len(), world.committed), (58, 70), "what is left is told");
}
