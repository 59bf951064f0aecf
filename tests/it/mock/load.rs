//! More than the sink takes. Row 9.

use std::time::Duration;

use rdkafka::mocking::MockCoordinator;

use crate::mock::{a_loop, case, holds, started};
use crate::running::{Settings, Stored, produce};

/// What a process of this size takes by itself, in bytes, debug build and two workers included.
const RESIDENT_MAX: f64 = 700e6;

#[test]
fn row_09_a_sink_a_hundred_times_slower_pauses_the_source_within_bounds_and_is_caught_up_with() {
    let Some((cluster, settings)) = case("slow", 2, 1) else { return };
    let more =
        "state: {flush_interval: 100ms}\npeers: {idle_after: 1h}\nlimits: {pending_alerts: 100}";
    let properties = "max.poll.interval.ms: 10000, ".to_owned();
    let settings = Settings { more: more.to_owned(), properties, ..settings };
    cluster.partition_leader(&settings.alerts(), 0, Some(2)).unwrap();
    for topic in [settings.calls().to_owned(), settings.state(), settings.groups()] {
        cluster.partition_leader(&topic, 0, Some(1)).unwrap();
    }
    let running = started(&settings);
    cluster.broker_round_trip_time(2, Duration::from_secs(1)).unwrap();
    let agents: Vec<String> = (0..400).map(|it| format!("loop-{it}")).collect();
    let mut most = (0.0_f64, 0.0_f64);
    let mut look = |metrics: &crate::running::Series| {
        most.0 = most.0.max(metrics.sum("alerts_unacknowledged", &[]));
        most.1 = most.1.max(metrics.sum("process_resident_memory_bytes", &[]));
    };
    let calls: Vec<_> = agents.iter().flat_map(|agent| a_loop(agent, 10)).collect();
    produce(&settings.bootstrap, settings.calls(), &calls);
    running.wait_until("all is judged", |metrics| {
        look(metrics);
        metrics.count("events_processed_total") >= calls.len()
    });
    cluster.broker_round_trip_time(2, Duration::ZERO).unwrap();
    let agents: Vec<&str> = agents.iter().map(String::as_str).collect();
    holds(&settings, &[&running], &agents);
    let (unacknowledged, resident) = most;
    println!(
        "row=9 unacknowledged_max={unacknowledged} resident_max_mib={}",
        resident / 1_048_576.0
    );
    // It really stood still, more than once, and one batch may be judged before it does.
    assert!(running.metrics().count("partition_pauses_total") > 1);
    assert!((50.0..=1_000.0).contains(&unacknowledged), "{unacknowledged}");
    assert!(resident > 0.0 && resident < RESIDENT_MAX, "{resident}");
    let metrics = running.metrics();
    assert_eq!(metrics.count_of("kafka_errors_total", &["PollExceeded"]), 0);
    assert_eq!(metrics.count("kafka_stalled"), 0);
}

/// Calls of ingest that may be on their way.
const IN_FLIGHT_MAX: usize = 20_000;

/// Records that are taken in before it is looked whether too much is on its way, by two workers.
const AT_ONCE_MAX: usize = 2 * 256;

#[test]
fn row_09_while_the_calls_topic_takes_nothing_ingest_reads_no_further_than_its_bound() {
    let Some((cluster, settings)) = case("full", 2, 1) else { return };
    let topic = settings.calls().to_owned();
    let settings = Settings { sources: vec![(topic, "native, keyed_by: none")], ..settings };
    cluster.create_topic(&settings.keyed(), 1, 1).unwrap();
    let others = [settings.calls().to_owned(), settings.state(), settings.deliveries()];
    for topic in settings.written().iter().chain(&others) {
        cluster.partition_leader(topic, 0, Some(1)).unwrap();
    }
    cluster.partition_leader(&settings.keyed(), 0, Some(2)).unwrap();
    for group in [settings.name.clone(), format!("{}-ingest", settings.name)] {
        cluster.coordinator(MockCoordinator::Group(group), 1).unwrap();
    }
    let running = started(&settings);
    cluster.broker_down(2).unwrap();
    let all = IN_FLIGHT_MAX + 5_000;
    let calls: Vec<Stored> = a_loop("loop", 10)
        .into_iter()
        .cycle()
        .take(all)
        .map(|call| Stored::new(0, "", call.payload.unwrap()))
        .collect();
    produce(&settings.bootstrap, settings.calls(), &calls);
    let label = format!("topic=\"{}\"", settings.calls());
    let full = running.wait_until("as much is on its way as may be", |metrics| {
        metrics.count("ingest_unacknowledged") >= IN_FLIGHT_MAX
    });
    let received = full.count_of("records_received_total", &[&label]);
    assert!(received <= IN_FLIGHT_MAX + AT_ONCE_MAX, "{received}");
    assert_eq!(full.count("kafka_stalled"), 0);
    cluster.broker_up(2).unwrap();
    running.wait_until("everything has arrived", |metrics| {
        metrics.count_of("records_received_total", &[&label]) == all
            && metrics.count("ingest_unacknowledged") == 0
    });
    assert_eq!(running.metrics().count("ingest_restarts_total"), 0, "{}", running.log());
}
