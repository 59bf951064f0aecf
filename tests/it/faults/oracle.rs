//! What must be true in the end, whatever happened meanwhile. No test itself.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use fastrand::Rng;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;
use tokio::runtime::Builder;

use crate::groups;
use crate::running::{
    PATIENCE, Running, Settings, Stored, alerts_once, logs, now, produce, read, wait_for,
    wait_until_committed,
};
use crate::support::{succeed, variable};

/// Whether those that take long are wanted, too.
#[expect(clippy::print_stderr, reason = "a skipped test is said to be skipped")]
pub(crate) fn long_ones_are_wanted() -> bool {
    let wanted = variable("TOOLWARDEN_FAULTS").is_some_and(|value| value == "1");
    if !wanted {
        eprintln!("skipped: takes long; set TOOLWARDEN_FAULTS=1");
    }
    wanted
}

/// What everything that is drawn is drawn from; `TOOLWARDEN_FAULTS_SEED` gives another one.
pub(crate) fn seed() -> u64 {
    variable("TOOLWARDEN_FAULTS_SEED").map_or(1, |seed| seed.parse().unwrap())
}

/// Draws for one test, by its name.
pub(crate) fn random(name: &str) -> Rng {
    let name = name.bytes().fold(0_u64, |hash, byte| hash.wrapping_mul(31) + u64::from(byte));
    Rng::with_seed(seed().wrapping_mul(1_000_003) ^ name)
}

/// Says how long it took to recover.
#[expect(clippy::print_stdout, reason = "a measurement of the test")]
pub(crate) fn recovered(row: u32, took: Duration) {
    println!("recovered row={row} seconds={:.1}", took.as_secs_f64());
}

/// An operator of the cluster.
#[derive(Debug)]
pub(crate) struct Operator(String);

impl Operator {
    /// Of the cluster at `bootstrap`.
    pub(crate) fn of(bootstrap: &str) -> Self {
        Self(bootstrap.to_owned())
    }

    fn client(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new().set("bootstrap.servers", &self.0).create().unwrap()
    }

    /// Creates a topic; settings are written `name=value`.
    pub(crate) fn create(&self, topic: &str, partitions: i32, settings: &[&str]) {
        // As many replicas as the cluster gives a topic.
        let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(-1));
        for setting in settings {
            let (name, value) = setting.split_once('=').unwrap();
            new = new.set(name, value);
        }
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let client = self.client();
        // A topic that was deleted a moment ago may still be there.
        wait_for("the topic is created", || {
            let created = runtime.block_on(client.create_topics([&new], &AdminOptions::new()));
            created.unwrap().pop().unwrap().ok()
        });
    }

    /// Sets what is said of a topic, and nothing else: `name=value`.
    pub(crate) fn set(&self, topic: &str, setting: &str) {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let (name, value) = setting.split_once('=').unwrap();
        let wanted = [AlterConfig::new(ResourceSpecifier::Topic(topic)).set(name, value)];
        let client = self.client();
        let set = runtime.block_on(client.alter_configs(&wanted, &AdminOptions::new()));
        set.unwrap().pop().unwrap().unwrap();
    }

    /// Who leads a partition, if anybody does, and how many brokers have all of it.
    pub(crate) fn leader(&self, topic: &str, partition: usize) -> (Option<i32>, usize) {
        let metadata = self.client().inner().fetch_metadata(Some(topic), PATIENCE).unwrap();
        let partition = &metadata.topics()[0].partitions()[partition];
        ((partition.leader() >= 0).then(|| partition.leader()), partition.isr().len())
    }

    /// Gives a topic more partitions: so many altogether.
    pub(crate) fn raise(&self, topic: &str, partitions: usize) {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let more = [NewPartitions::new(topic, partitions)];
        let client = self.client();
        let raised = runtime.block_on(client.create_partitions(&more, &AdminOptions::new()));
        raised.unwrap().pop().unwrap().unwrap();
    }

    /// Deletes a topic with all it holds.
    pub(crate) fn delete(&self, topic: &str) {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let client = self.client();
        let deleted = runtime.block_on(client.delete_topics(&[topic], &AdminOptions::new()));
        deleted.unwrap().pop().unwrap().unwrap();
    }

    /// Deletes what partition 0 of a topic holds below `offset`, as retention does.
    pub(crate) fn delete_below(&self, topic: &str, offset: i64) {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let client = self.client();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, 0, Offset::Offset(offset)).unwrap();
        runtime.block_on(client.delete_records(&list, &AdminOptions::new())).unwrap();
    }
}

/// Calls of four agents in four partitions, the alerts they must lead to, and what is known of the
/// agents in the end.
#[derive(Debug)]
pub(crate) struct Truth {
    calls: Vec<(i32, String)>,
    fired: BTreeMap<String, Value>,
    known: BTreeMap<String, Value>,
}

impl Truth {
    /// By a replay, which has no Kafka and is not interrupted.
    pub(crate) fn new() -> Self {
        let calls = groups::calls();
        let fired = groups::replayed(&calls);
        assert!(fired.len() >= 4, "{fired:?}");
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("calls.ndjson");
        let lines: Vec<&str> = calls.iter().map(|(_, line)| line.as_str()).collect();
        std::fs::write(&file, lines.join("\n")).unwrap();
        let known = (0..4).map(|number| {
            let agent = format!("code-assistant-0@000{number}");
            let said = succeed(&mut ask(&agent, &["--from", file.to_str().unwrap()]));
            (agent, without_time(&said))
        });
        let known = known.collect();
        Self { calls, fired, known }
    }

    /// The calls come in `parts`, a moment between them, while `meanwhile` is called.
    pub(crate) fn trickle(&self, settings: &Settings, parts: usize, mut meanwhile: impl FnMut()) {
        let records = groups::records(&self.calls);
        for part in records.chunks(records.len().div_ceil(parts)) {
            produce(&settings.bootstrap, settings.calls(), part);
            meanwhile();
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Asserts that what is told and known is what must be, once `running` have committed all.
    pub(crate) fn holds(&self, settings: &Settings, running: &[&Running]) {
        wait_until_committed(settings, running);
        let logs = || logs(running);
        let alerts = read(&settings.bootstrap, &settings.alerts());
        alerts_once(&alerts, running);
        let told = groups::fired(alerts.iter().map(Stored::json));
        for (id, expected) in &self.fired {
            assert_eq!(told.get(id), Some(expected), "{}: {id}\n{}", settings.name, logs());
        }
        let new: Vec<_> = told.iter().filter(|(id, _)| !self.fired.contains_key(*id)).collect();
        assert!(new.is_empty(), "{}: nobody expected {new:#?}\n{}", settings.name, logs());
        self.knows(settings, running);
    }

    /// Each agent is known by one instance, as the replay knows it. Where everything was committed
    /// before the last one began, it may still be reading back what is known.
    fn knows(&self, settings: &Settings, running: &[&Running]) {
        for (agent, expected) in &self.known {
            let began = now();
            loop {
                let known = known_of(agent, running);
                if known.contains(expected) {
                    break;
                }
                let said = || format!("{known:#?}\n{expected:#?}\n{}", logs(running));
                assert!(began.elapsed() < PATIENCE, "{}: {agent}: {}", settings.name, said());
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

/// What each of `running` knows of an agent, as far as it knows it.
fn known_of(agent: &str, running: &[&Running]) -> Vec<Value> {
    let asked = running.iter().filter_map(|it| {
        let output = ask(agent, &["--url", &it.url()]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        output.status.success().then(|| without_time(&said))
    });
    asked.collect()
}

/// Asks what is known of an agent, from a file or an instance.
fn ask(agent: &str, from: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_toolwarden"));
    command.args(["baseline", "show", agent, "--tenant", "acme", "-o", "json"]).args(from);
    command
}

/// What is known of an agent, without the episodes that are open: a replay ends them when its file
/// ends, and an instance when time passes.
fn without_time(said: &str) -> Value {
    let mut shown: Value = serde_json::from_str(said).unwrap();
    shown.as_object_mut().unwrap().remove("open");
    shown
}
