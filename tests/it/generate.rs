//! Generated traffic, seen from outside: the same bytes for the same seed, an order, ids, and a
//! truth that fits the events.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use proptest::prelude::*;
use serde_json::Value;
use toolwarden::event::Timestamp;
use toolwarden::generate::{Anomaly, Generated, Planted, Scenario, Traffic, Truth, write_events};

fn lines(scenario: &Scenario) -> Vec<(String, Vec<u8>)> {
    let mut lines = Vec::new();
    let done: Result<(), Infallible> = write_events(scenario, |key, json| {
        lines.push((key.to_owned(), json.to_vec()));
        Ok(())
    });
    done.unwrap();
    lines
}

fn agents(scenario: &Scenario) -> Vec<(String, String)> {
    let Traffic::Products(products) = &scenario.traffic else { return Vec::new() };
    products
        .iter()
        .flat_map(|product| {
            product
                .instances
                .iter()
                .map(|instance| (product.tenant_id.clone(), format!("{}@{instance}", product.name)))
        })
        .collect()
}

/// A fleet with one anomaly of each kind, each on an agent of its own.
fn infested(seed: u64) -> Scenario {
    let scenario = Scenario::company(20, 5, seed);
    let agents = agents(&scenario);
    Anomaly::ALL.into_iter().zip(agents.into_iter().step_by(2)).fold(
        scenario,
        |scenario, (kind, (tenant_id, agent_id))| {
            let minute = if kind == Anomaly::OffHours { 130 } else { 11 * 60 };
            scenario.with(Planted { kind, tenant_id, agent_id, day: 4, minute })
        },
    )
}

/// The planted calls of one truth record.
fn planted<'a>(events: &'a [Generated], truth: &Truth) -> Vec<&'a Generated> {
    events
        .iter()
        .filter(|generated| {
            generated.truth == Some(truth.attack) && generated.event.agent_id == truth.agent_id
        })
        .collect()
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let first = lines(&infested(7));
    assert!(first == lines(&infested(7)), "two runs of one seed differ");
    assert!(first != lines(&infested(8)), "two seeds give the same traffic");
}

#[test]
fn a_scenario_survives_being_written_down() {
    let scenario = infested(3);
    let text = serde_json::to_string(&scenario).unwrap();
    assert_eq!(serde_json::from_str::<Scenario>(&text).unwrap(), scenario);
}

#[test]
fn every_line_is_a_native_event_under_its_agents_key() {
    for (key, json) in lines(&infested(1)).iter().chain(&lines(&Scenario::bench(50, 200, 1))) {
        let event: Value = serde_json::from_slice(json).unwrap();
        let text = |field: &str| event[field].as_str().unwrap().to_owned();
        assert_eq!(*key, format!("{}/{}", text("tenant_id"), text("agent_id")));
        text("ts").parse::<Timestamp>().unwrap();
        for field in ["session_id", "call_id", "tool_name"] {
            assert!(!text(field).is_empty(), "{field} is empty in {event}");
        }
        assert!(["ok", "error"].contains(&text("status").as_str()));
        assert!(event["arguments"].as_object().is_some_and(|arguments| !arguments.is_empty()));
        assert!(event["duration_ms"].is_u64() && event["bytes_out"].is_u64());
    }
}

#[test]
fn the_truth_fits_the_planted_calls() {
    let scenario = infested(5);
    let events: Vec<_> = scenario.events().collect();
    let truths = scenario.truth();
    assert_eq!(truths.iter().map(|truth| truth.attack).collect::<Vec<_>>(), Anomaly::ALL);
    for truth in &truths {
        let calls = planted(&events, truth);
        assert_eq!(u64::try_from(calls.len()).unwrap(), truth.calls, "{:?}", truth.attack);
        if truth.attack == Anomaly::Silence {
            let speaks = |generated: &&Generated| {
                generated.event.agent_id == truth.agent_id
                    && (truth.start..=truth.end).contains(&generated.event.time)
            };
            assert_eq!(events.iter().find(speaks), None);
            continue;
        }
        assert_eq!(calls.first().unwrap().event.time, truth.start, "{:?}", truth.attack);
        assert_eq!(calls.last().unwrap().event.time, truth.end, "{:?}", truth.attack);
    }
    let marked = events.iter().filter(|generated| generated.truth.is_some()).count();
    let told: u64 = truths.iter().map(|truth| truth.calls).sum();
    assert_eq!(u64::try_from(marked).unwrap(), told);
}

#[test]
fn each_anomaly_is_what_its_name_says() {
    let scenario = infested(2);
    let events: Vec<_> = scenario.events().collect();
    for truth in scenario.truth() {
        let calls = planted(&events, &truth);
        let secs = truth.end.secs_since(truth.start);
        let natural = |generated: &&Generated| {
            generated.truth.is_none() && generated.event.agent_id == truth.agent_id
        };
        let known: BTreeSet<_> =
            events.iter().filter(natural).map(|known| known.event.tool_name.as_str()).collect();
        let used: BTreeSet<_> = calls.iter().map(|call| call.event.tool_name.as_str()).collect();
        let fits = match truth.attack {
            Anomaly::RunawayLoop => {
                let first = &calls[0].event;
                (80..=150).contains(&calls.len())
                    && secs < 75.0
                    && calls.iter().all(|call| call.event.arguments == first.arguments)
            }
            Anomaly::FastReplay => (60..=150).contains(&calls.len()) && secs < 180.0,
            Anomaly::NewTools => used.len() >= 3 && used.is_disjoint(&known),
            Anomaly::OffHours => {
                let hour = calls[0].event.time.hour_of_day();
                let same = |call: &Generated| call.event.time.hour_of_day() == hour;
                calls.iter().all(|call| same(call)) && !events.iter().filter(natural).any(same)
            }
            Anomaly::RateBurst => calls.len() == 120 && secs < 120.0 && used.is_subset(&known),
            Anomaly::Masquerade => calls.len() == 30 && used.is_disjoint(&known),
            Anomaly::NewTarget => calls.iter().all(|call| {
                format!("{:?}", call.event.arguments).contains("blackfen")
                    || format!("{:?}", call.event.arguments).contains("acc-9907")
            }),
            Anomaly::Silence => calls.is_empty() && secs > 3_600.0,
            Anomaly::ErrorStorm => {
                calls.iter().all(|call| call.event.status == toolwarden::event::Status::Error)
            }
            Anomaly::Exfiltration => {
                calls.iter().map(|call| call.event.bytes_out).sum::<u64>() > 500_000
            }
        };
        assert!(fits, "{truth:?} {used:?}");
    }
}

#[test]
fn natural_traffic_never_makes_one_call_more_than_three_times_in_five_minutes() {
    let mut made: BTreeMap<(String, String, String), Vec<Timestamp>> = BTreeMap::new();
    for generated in Scenario::company(12, 5, 4).events() {
        let event = generated.event;
        let arguments = serde_json::to_string(&event.arguments).unwrap();
        let times = made.entry((event.agent_id, event.tool_name, arguments)).or_default();
        times.retain(|time| event.time.secs_since(*time) <= 300.0);
        times.push(event.time);
        assert!(times.len() <= 3);
    }
    assert!(made.len() > 1_000);
}

#[test]
fn a_company_rests_when_it_should() {
    let scenario = Scenario::company(8, 7, 1);
    let offices =
        scenario.events().filter(|generated| !generated.event.agent_id.starts_with("ops-agent"));
    for event in offices.map(|generated| generated.event) {
        let day = event.time.day() - scenario.start.day();
        assert!(day < 5, "{} works on a weekend", event.agent_id);
        assert!(
            (8..=21).contains(&event.time.hour_of_day()),
            "{} at {}",
            event.agent_id,
            event.time
        );
    }
}

#[test]
fn bench_events_are_about_404_bytes_and_fill_one_hour() {
    let scenario = Scenario::bench(100_000, 5_000, 1);
    let sizes: Vec<_> = lines(&scenario).iter().map(|(_, json)| json.len()).collect();
    assert!(sizes.iter().all(|size| (364..=444).contains(size)), "{:?}", sizes.iter().max());
    let mean = sizes.iter().sum::<usize>() / sizes.len();
    assert!((396..=412).contains(&mean), "{mean}");
    let last = scenario.events().last().unwrap().event.time;
    assert!((3_590.0..3_600.0).contains(&last.secs_since(scenario.start)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn events_come_in_order_with_ids_of_their_own(
        seed in any::<u64>(),
        agents in 1_u32..10,
        days in 1_u32..4,
        kind in proptest::sample::select(Anomaly::ALL.to_vec()),
        minute in 0_u32..1_440,
    ) {
        let scenario = Scenario::company(agents, days, seed);
        let (tenant_id, agent_id) = self::agents(&scenario)[0].clone();
        let scenario = scenario.with(Planted { kind, tenant_id, agent_id, day: days - 1, minute });
        prop_assert_eq!(scenario.check(), Ok(()));
        let (mut last, mut ids, mut marked) = (scenario.start, BTreeSet::new(), 0_u64);
        for generated in scenario.events() {
            prop_assert!(generated.event.time >= last);
            last = generated.event.time;
            prop_assert!(ids.insert(generated.event.call_id));
            marked += u64::from(generated.truth.is_some());
        }
        prop_assert!(last < scenario.start.plus_secs(i64::from(days) * 86_400));
        let told: u64 = scenario.truth().iter().map(|truth| truth.calls).sum();
        prop_assert_eq!(marked, told);
    }

    #[test]
    fn uniform_load_has_the_calls_it_was_asked_for(seed in any::<u64>(), agents in 1_u32..500, calls in 0_u64..500) {
        let scenario = Scenario::bench(agents, calls, seed);
        let events: Vec<_> = scenario.events().map(|generated| generated.event).collect();
        prop_assert_eq!(u64::try_from(events.len()).unwrap(), calls);
        prop_assert!(events.is_sorted_by_key(|event| event.time));
        let ids: BTreeSet<_> = events.iter().map(|event| event.call_id.as_str()).collect();
        prop_assert_eq!(ids.len(), events.len());
    }
}
