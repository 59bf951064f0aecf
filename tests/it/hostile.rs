//! What a hostile producer or a starving machine does to a running instance: poison, bombs, no files
//! and no memory. Beside a real Kafka.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::process::{Command, ExitStatus, Stdio};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::json;
use toolwarden::decode::{Format, Options, Record};
use toolwarden::event::Timestamp;

use crate::calls::looping;
use crate::decode::support::{decode_with, record};
use crate::faults::oracle::long_ones_are_wanted;
use crate::kafka::{differences, replayed};
use crate::kafka_broker::Broker;
use crate::running::{
    PATIENCE, Running, Settings, Stored, alerts_once, alerts_without_positions, committed, produce,
    read, wait_for, wait_until_committed,
};

/// What the instances said, each alert once.
fn told(settings: &Settings) -> Vec<String> {
    let alerts = read(&settings.bootstrap, &settings.alerts());
    alerts_without_positions(alerts_once(&alerts, &[]).into_values().map(Stored::json))
}

/// Values that no call is in: valid events with bytes changed, cut out, put in and cut off, noise, and
/// one of each kind of poison.
fn corpus(size: usize) -> Vec<Vec<u8>> {
    let good = json!({
        "ts": "2026-03-02T10:00:00Z", "tenant_id": "acme", "agent_id": "fuzz", "session_id": "s",
        "call_id": "c", "tool_name": "t", "status": "ok", "arguments": {"to": [1, 2.5, null, "x"]}
    });
    let good = good.to_string().into_bytes();
    let with = |field: &str| {
        let mut value = good.clone();
        value.pop();
        value.extend_from_slice(format!(",{field}}}").as_bytes());
        value
    };
    let deep =
        |open: &str, close: &str| format!("{}1{}", open.repeat(10_000), close.repeat(10_000));
    let mut corpus = vec![
        Vec::new(),
        b"null".to_vec(),
        vec![b'x'; 10 << 20],
        with(&format!("\"x\":{}", deep("[", "]"))),
        with(&format!("\"arguments2\":{}", deep("{\"a\":", "}"))),
        with(r#""bytes_out":1e999"#),
        with(r#""agent_id":"other""#),
        with(r#""bytes_out":NaN"#),
        with("\"x\":\"\u{0}\""),
        [good.as_slice(), b"\xff\xfe"].concat(),
    ];
    let mut random = fastrand::Rng::with_seed(34);
    while corpus.len() < size {
        let mut value = good.clone();
        for _ in 0..random.usize(1..8) {
            let at = random.usize(..value.len());
            match random.u8(..5) {
                0 => value[at] = random.u8(..),
                1 => drop(value.drain(at..(at + random.usize(1..20)).min(value.len()))),
                2 => value.insert(at, *random.choice(b"{}[]\",:\\\x00\xff0e").unwrap()),
                3 => value.truncate(at.max(1)),
                _ => value = (0..random.usize(1..200)).map(|_| random.u8(..)).collect(),
            }
            if value.is_empty() {
                value.push(0);
            }
        }
        corpus.push(value);
    }
    corpus
}

/// How many things in a value are rejected, 0 for what is ignored; `None` where calls are in it.
fn rejected(value: &[u8]) -> Option<usize> {
    let record = Record { payload: Some(value), ..record(value) };
    let options = Options {
        format: Format::Native,
        default_tenant: Some("acme".to_owned()),
        ..Options::default()
    };
    let found = decode_with(&record, &options);
    found.calls.is_empty().then_some(found.rejected.len())
}

#[test]
fn row_34_poison_of_every_kind_is_set_aside_to_the_letter_and_the_neighbours_notice_nothing() {
    let Some(broker) = Broker::shared() else { return };
    let settings = Settings::new(broker.bootstrap(), "poison");
    broker.create_topic(settings.calls(), 4, &["max.message.bytes=20000000"]);
    let good: Vec<Stored> = ["one", "two", "three"]
        .iter()
        .flat_map(|agent| looping(agent, "2026-03-02T10:00:00Z", 40))
        .map(|call| Stored { partition: 1, ..call })
        .collect();
    let poison: Vec<(Vec<u8>, usize)> =
        corpus(1_500).into_iter().filter_map(|it| rejected(&it).map(|n| (it, n))).collect();
    assert!(poison.len() > 1_200, "of {} nearly all must be poison", poison.len());
    let mut records = Vec::new();
    let mut neighbours = good.iter().cloned();
    for (number, (value, _)) in poison.iter().enumerate() {
        records.extend((number % 10 == 0).then(|| neighbours.next()).flatten());
        let partition = i32::try_from(number % 4).unwrap();
        records.push(Stored::new(partition, "fuzz", value.as_slice()));
        if number % 100 == 0 {
            records.push(Stored { partition, key: b"gone".to_vec(), ..Stored::default() });
        }
    }
    records.extend(neighbours);
    produce(&settings.bootstrap, settings.calls(), &records);
    let mut running = Running::start(&settings);
    running.wait_until_judged(good.len());
    wait_until_committed(&settings, &[&running]);
    let metrics = running.metrics();
    assert_eq!(metrics.count("records_received_total"), records.len());
    assert_eq!(metrics.count("events_processed_total"), good.len());
    let wanted = poison.iter().map(|(_, n)| n).sum::<usize>();
    assert_eq!(metrics.count("events_rejected_total"), wanted);
    let letters = poison.iter().filter(|(_, n)| *n > 0).count();
    assert_eq!(metrics.count_of("dead_letters_total", &["kind=\"record\""]), letters);
    assert_eq!(read(&settings.bootstrap, &settings.dead_letter()).len(), letters);
    let expected = replayed(&good, &running.config());
    assert!(expected.len() >= 3, "the neighbours are meant to give alerts: {expected:?}");
    let found = wait_for("the neighbours' episodes have ended", || {
        let found = told(&settings);
        (found.len() >= expected.len()).then_some(found)
    });
    assert!(found == expected, "{:#?}", differences(&found, &expected));
    assert!(running.is_alive(), "{}", running.log());
}

/// Writes one record of `bytes` zeros, packed by `codec`, and what it was packed to is small.
fn plant(settings: &Settings, (codec, bytes): (&str, usize), partition: i32) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &settings.bootstrap)
        .set("compression.codec", codec)
        .set("message.max.bytes", "1000000000")
        .create()
        .unwrap();
    let value = vec![0; bytes];
    let record = BaseRecord::to(settings.calls()).key("bomb").payload(&value).partition(partition);
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(PATIENCE).unwrap();
    assert_eq!(producer.in_flight_count(), 0, "{codec}: the broker has answered");
}

#[test]
fn row_35_a_batch_that_explodes_is_set_aside_within_a_bound_of_memory() {
    let Some(broker) = Broker::shared() else { return };
    let settings = Settings::new(broker.bootstrap(), "bombs");
    broker.create_topic(settings.calls(), 4, &["max.message.bytes=262144"]);
    // What each codec makes of a quarter of a mebibyte, nearly.
    let bombs = [("gzip", 240 << 20), ("lz4", 60 << 20), ("snappy", 5 << 20), ("zstd", 30 << 20)];
    for (partition, bomb) in (0..).zip(bombs) {
        plant(&settings, bomb, partition);
    }
    let neighbours = (0..4).flat_map(|partition| {
        let calls = looping(&format!("neighbour-{partition}"), "2026-03-02T10:00:00Z", 40);
        calls.into_iter().map(move |call| Stored { partition, ..call })
    });
    let neighbours: Vec<Stored> = neighbours.collect();
    produce(&settings.bootstrap, settings.calls(), &neighbours);
    let mut running = Running::start(&settings);
    running.wait_until_judged(neighbours.len());
    wait_until_committed(&settings, &[&running]);
    assert_eq!(running.metrics().count("events_rejected_total"), bombs.len());
    let letters = read(&settings.bootstrap, &settings.dead_letter());
    let sizes: BTreeSet<usize> =
        letters.iter().map(|it| it.headers["toolwarden-original-bytes"].parse().unwrap()).collect();
    assert_eq!(sizes, bombs.iter().map(|(_, bytes)| *bytes).collect());
    assert!(letters.iter().all(|it| it.payload.as_ref().unwrap().len() <= 512 << 10));
    assert!(running.is_alive(), "{}", running.log());
    // What is unpacked at a time, and once more where a record is copied out of its batch.
    let peak = running.status_bytes("VmHWM:");
    assert!(peak < 768 << 20, "{} MiB", peak >> 20);
}

#[test]
fn row_35_a_batch_too_large_to_unpack_stops_its_partition_alone_and_is_passed_by_a_commit() {
    let Some(broker) = Broker::shared() else { return };
    let settings = Settings::new(broker.bootstrap(), "large-bomb");
    broker.create_topic(settings.calls(), 2, &["max.message.bytes=262144"]);
    plant(&settings, ("zstd", 200 << 20), 0);
    let calls = |agent: &str, partition| -> Vec<Stored> {
        let calls = looping(agent, "2026-03-02T10:00:00Z", 40).into_iter();
        calls.map(|call| Stored { partition, ..call }).collect()
    };
    produce(&settings.bootstrap, settings.calls(), &calls("behind", 0));
    produce(&settings.bootstrap, settings.calls(), &calls("beside", 1));
    let mut running = Running::start(&settings);
    running.wait_until_judged(40);
    let metrics = running.wait_until("it is told, again and again", |metrics| {
        metrics.sum("kafka_errors_total", &["BadCompression"]) >= 3.0
    });
    assert_eq!(metrics.count("events_processed_total"), 40, "the other partition goes on");
    let group = committed(&settings.bootstrap, &settings.name, settings.calls());
    assert_eq!(group[&0].0, 0, "nothing is passed over in silence");
    assert!(running.is_alive(), "{}", running.log());
    assert!(
        running.status_bytes("VmHWM:") < 512 << 20,
        "{} MiB",
        running.status_bytes("VmHWM:") >> 20
    );
    // A broker that packs anew lets no such batch in.
    let guarded = Settings::new(broker.bootstrap(), "guarded");
    let limits = ["max.message.bytes=262144", "compression.type=lz4"];
    broker.create_topic(guarded.calls(), 1, &limits);
    plant(&guarded, ("zstd", 200 << 20), 0);
    assert!(read(&guarded.bootstrap, guarded.calls()).is_empty(), "it is refused");
    if !long_ones_are_wanted() {
        return;
    }
    // As the runbook says: stopped, set past it, started. That nothing comes is believed after 30 s.
    assert!(running.terminate().0.success(), "{}", running.log());
    pass(&settings, 0, 1);
    let running = Running::start(&settings);
    running.wait_until_judged(40);
    wait_until_committed(&settings, &[&running]);
}

/// Commits for the group, which has no members now.
fn pass(settings: &Settings, partition: i32, offset: i64) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &settings.bootstrap)
        .set("group.id", &settings.name)
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(settings.calls(), partition, Offset::Offset(offset)).unwrap();
    consumer.commit(&list, CommitMode::Sync).unwrap();
}

#[test]
fn row_36_a_flood_of_agents_and_tools_adds_no_series_and_little_memory() {
    let Some(broker) = Broker::shared() else { return };
    let settings = Settings {
        more: "limits: {agents: 2000, agents_per_partition: 1000, agents_per_tenant: 500}"
            .to_owned(),
        ..Settings::new(broker.bootstrap(), "names")
    };
    broker.create_topic(settings.calls(), 2, &[]);
    let mut running = Running::start(&settings);
    // Two agents: of one, calls with the same ids would count once or twice, as partitions take turns.
    let warm: Vec<Stored> = [(0, "first"), (1, "second")]
        .into_iter()
        .flat_map(|(partition, agent)| {
            let calls = looping(agent, "2026-03-02T10:00:00Z", 40);
            calls.into_iter().map(move |it| Stored { partition, ..it })
        })
        .collect();
    produce(&settings.bootstrap, settings.calls(), &warm);
    running.wait_until_judged(warm.len());
    wait_until_committed(&settings, &[&running]);
    let begin: Timestamp = "2026-03-02T10:01:00Z".parse().unwrap();
    let flood = |from: i64, count: i64| {
        let calls: Vec<Stored> = (from..from + count)
            .map(|n| {
                let (agent, tool) = (format!("agent-{n}"), format!("tool-{}", n * 7_919 % 100_003));
                let call = crate::calls::call(&agent, &tool, begin.plus_millis(n * 10));
                Stored::new(-1, format!("acme/{agent}"), call)
            })
            .collect();
        produce(&settings.bootstrap, settings.calls(), &calls);
        let all = warm.len() + usize::try_from(from + count).unwrap();
        running.wait_until("the flood is through", |metrics| {
            metrics.count("records_received_total") >= all
        });
        wait_until_committed(&settings, &[&running]);
        let series = running.get("/metrics").1.lines().filter(|it| !it.starts_with('#')).count();
        (series, running.status_bytes("VmHWM:"))
    };
    // The first hundred let in and refused show the series that there are.
    let (series, _) = flood(0, 2_000);
    let (after, peak) = flood(2_000, 30_000);
    assert_eq!(series, after);
    assert!(peak < 512 << 20, "{} MiB", peak >> 20);
    assert!(running.is_alive());
    assert!(running.metrics().sum("agents", &[]) <= 2_000.0);
}

/// A file of one line without end, packed.
fn packed(name: &str, line: u64) -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    let file = std::fs::File::create(&path).unwrap();
    let call = crate::calls::call("neighbour", "read", "2026-03-02T10:00:00Z".parse().unwrap());
    let mut text =
        std::io::repeat(b'x').take(line).chain(std::io::Cursor::new(format!("\n{call}\n")));
    if name.ends_with("zst") {
        zstd::stream::copy_encode(&mut text, file, 1).unwrap();
    } else {
        let mut out = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        std::io::copy(&mut text, &mut out).unwrap();
        out.finish().unwrap().flush().unwrap();
    }
    assert!(std::fs::metadata(&path).unwrap().len() < line / 100, "it is small");
    (directory, path)
}

#[test]
fn row_35_a_packed_file_that_explodes_is_replayed_within_a_bound_of_memory() {
    for (name, line) in [("bomb.ndjson.zst", 2 << 30), ("bomb.ndjson.gz", 96 << 20)] {
        let (_directory, path) = packed(name, line);
        // More than this much address space there is not.
        let limit = if name.ends_with("zst") { 1_048_576 } else { 400_000 };
        let said = Command::new("sh")
            .args(["-c", &format!("ulimit -v {limit}; exec \"$0\" \"$@\"")])
            .arg(env!("CARGO_BIN_EXE_toolwarden"))
            .args(["replay", "--output", "ndjson"])
            .arg(&path)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success(), "{name}: {words}");
        assert!(words.contains("too_large") && words.contains("1 call"), "{name}: {words}");
    }
}

/// Calls that give an alert each for many agents, so that something is always on its way.
fn busy() -> Vec<Stored> {
    (0..60)
        .flat_map(|number| looping(&format!("agent-{number}"), "2026-03-02T10:00:00Z", 30))
        .collect()
}

/// Takes over without limits from an instance that had too little: nothing that was acknowledged may
/// be missing, and nothing may be told that a replay does not tell.
fn take_over(settings: &Settings, calls: &[Stored], starved: Running) {
    starved.kill();
    let running = Running::start(settings);
    wait_until_committed(settings, &[&running]);
    let expected = replayed(calls, &running.config());
    let found = wait_for("every alert is there", || {
        let found = told(settings);
        (found.len() >= expected.len()).then_some(found)
    });
    assert!(found == expected, "{}: {:#?}", settings.name, differences(&found, &expected));
}

/// Whether everything was judged and committed; how the instance ended, if it did.
fn outcome(settings: &Settings, instance: &mut Running) -> (bool, Option<ExitStatus>) {
    let group = committed(&settings.bootstrap, &settings.name, settings.calls());
    (group.values().all(|(offset, end)| offset == end), instance.ended())
}

/// It ended of itself, not well, and said something.
fn ended_with_words(status: ExitStatus, instance: &Running) {
    let log = instance.log();
    assert!(!status.success() && !log.trim().is_empty(), "{status}: {log}");
}

/// Begins with so few files that it cannot do its work, or hardly.
fn begin_with_files(broker: &Broker, name: &str, limits: &'static str) {
    let settings = Settings::new(broker.bootstrap(), name);
    broker.create_topic(settings.calls(), 2, &[]);
    let calls = busy();
    produce(&settings.bootstrap, settings.calls(), &calls);
    let mut starved = Running::spawn(&Settings { limits, ..settings.clone() });
    let ended = wait_for("it has judged what there is, ended, or said what it lacks", || {
        let (is_done, ended) = outcome(&settings, &mut starved);
        let log = starved.log();
        let lacks = ["Too many open files", "cannot be read yet, asked again"];
        let lacks = lacks.iter().any(|words| log.contains(words));
        (is_done || ended.is_some() || lacks).then_some(ended)
    });
    if let Some(status) = ended {
        ended_with_words(status, &starved);
    }
    take_over(&settings, &calls, starved);
}

/// Works, and then gets no more of what `limit` says.
fn run_out_of(broker: &Broker, name: &str, limit: &dyn Fn(&Running) -> String) {
    let settings = Settings::new(broker.bootstrap(), name);
    broker.create_topic(settings.calls(), 2, &[]);
    let calls = busy();
    let (first, second) = calls.split_at(calls.len() / 2);
    produce(&settings.bootstrap, settings.calls(), first);
    let mut starved = Running::start(&settings);
    starved.wait_until_judged(first.len());
    starved.limit(&limit(&starved));
    produce(&settings.bootstrap, settings.calls(), second);
    let ended = wait_for("it has judged the rest, or ended", || {
        let (is_done, ended) = outcome(&settings, &mut starved);
        (is_done || ended.is_some()).then_some(ended)
    });
    if let Some(status) = ended {
        ended_with_words(status, &starved);
    }
    take_over(&settings, &calls, starved);
}

#[test]
fn row_43_without_files_it_goes_on_or_ends_with_words_and_loses_nothing() {
    let Some(broker) = Broker::shared() else { return };
    begin_with_files(&broker, "some-files", "ulimit -n 48");
    run_out_of(&broker, "no-files", &|_| "--nofile=3".to_owned());
    if long_ones_are_wanted() {
        begin_with_files(&broker, "few-files", "ulimit -n 24");
        begin_with_files(&broker, "more-files", "ulimit -n 64");
    }
}

#[test]
fn row_43_without_memory_it_goes_on_or_ends_with_words_and_loses_nothing() {
    let Some(broker) = Broker::shared() else { return };
    run_out_of(&broker, "no-memory", &|it| format!("--as={}", it.status_bytes("VmSize:")));
}
