//! The cluster goes away, or the way to it is bad. Rows 11, 15, 20 and 42.

use std::time::Duration;

use crate::faults::kill::settings;
use crate::faults::oracle::{Operator, Truth, long_ones_are_wanted, random, recovered, seed};
use crate::faults::proxy::{Proxy, Weather};
use crate::kafka_broker::Broker;
use crate::running::{
    PATIENCE, Running, Settings, committed, now, wait_for, wait_until_committed_within,
};

/// At most so long may a stop take, `kafka.shutdown_timeout` being 10 s.
const SHUTDOWN_MAX: Duration = Duration::from_secs(15);

/// Hours of event time from the first call to the last.
const EVENT_HOURS: u32 = 4 * 24 + 10;

/// A broker that instances reach through a proxy and the test itself does not.
fn behind_a_proxy(name: &str) -> Option<(Proxy, Broker, Settings)> {
    let name = format!("{name}-{}", seed());
    let proxy = Proxy::new(random(&name));
    let broker = Broker::start_behind(proxy.address())?;
    proxy.lead_to(broker.behind());
    let settings = Settings { session_ms: Some(6_000), ..settings(broker.bootstrap(), &name) };
    Operator::of(broker.bootstrap()).create(settings.calls(), 4, &["retention.ms=-1"]);
    Some((proxy, broker, settings))
}

/// The same, as an instance sees it.
fn through(proxy: &Proxy, settings: &Settings) -> Settings {
    Settings { bootstrap: proxy.address().to_string(), ..settings.clone() }
}

fn committed_calls(settings: &Settings) -> i64 {
    let committed = committed(&settings.bootstrap, &settings.name, settings.calls());
    committed.values().map(|(offset, _)| (*offset).max(0)).sum()
}

#[test]
fn row_11_while_the_broker_is_down_nothing_is_lost_and_readiness_says_so() {
    let Some(mut broker) = Broker::start() else { return };
    let truth = Truth::new();
    let settings = settings(broker.bootstrap(), &format!("down-{}", seed()));
    Operator::of(broker.bootstrap()).create(settings.calls(), 4, &["retention.ms=-1"]);
    let mut running = Running::start(&settings);
    let down = Duration::from_secs(if long_ones_are_wanted() { 60 } else { 5 });
    let mut parts = 0;
    let mut began = now();
    truth.trickle(&settings, 8, || {
        parts += 1;
        if parts != 4 {
            return;
        }
        running.wait_until("it has judged some", |it| it.count("events_processed_total") > 40);
        let said = running.log().len();
        broker.crash();
        let crashed = now();
        wait_for("readiness says so", || (running.get("/readyz").0 == 503).then_some(()));
        wait_for("the log says what is wrong", || {
            running.log().get(said..)?.contains("kafka: no broker answers").then_some(())
        });
        assert_eq!(running.get("/livez").0, 200, "a restart would not help");
        std::thread::sleep(down.saturating_sub(crashed.elapsed()));
        broker.restart();
        began = now();
    });
    wait_for("it is ready again", || (running.get("/readyz").0 == 200).then_some(()));
    truth.holds(&settings, &[&running]);
    recovered(11, began.elapsed());
    assert!(running.is_alive());
    let log = running.log();
    let lines = |words: &str| log.lines().filter(|line| line.contains(words)).count();
    // Asked five times a second, of two topics, and by every client: said every ten seconds.
    let most =
        2 * usize::try_from(began.elapsed().saturating_add(down).as_secs() / 10 + 2).unwrap();
    for words in ["cannot be read just now", "reported an error and goes on"] {
        assert!(lines(words) <= most, "{words}: more than {most}\n{log}");
    }
}

#[test]
fn row_15_a_commit_whose_answer_is_lost_is_made_again_and_nothing_is_skipped() {
    let Some((proxy, _broker, settings)) = behind_a_proxy("answers") else { return };
    let truth = Truth::new();
    let running = Running::start(&through(&proxy, &settings));
    let (mut parts, mut began) = (0, now());
    truth.trickle(&settings, 8, || {
        parts += 1;
        if parts % 3 != 0 {
            return;
        }
        running.wait_until("it has judged some", |it| it.count("events_processed_total") > 40);
        wait_for("something is committed", || (committed_calls(&settings) > 0).then_some(()));
        let held = proxy.held();
        proxy.set(Weather { holds_answers: true, ..Weather::default() });
        wait_for("answers are held", || (proxy.held() > held + 2).then_some(()));
        // What was asked reaches the broker; what it answers is lost with the connections.
        std::thread::sleep(Duration::from_secs(1));
        proxy.cut();
        proxy.set(Weather::default());
        began = now();
    });
    truth.holds(&settings, &[&running]);
    recovered(15, began.elapsed());
}

#[test]
fn row_20_a_slow_network_that_loses_connections_delays_and_changes_nothing() {
    let Some((proxy, _broker, settings)) = behind_a_proxy("slow") else { return };
    let truth = Truth::new();
    let is_long = long_ones_are_wanted();
    // Each way takes between this and twice as much: the long form's round trips are 500 ms ± 170.
    let delay = Duration::from_millis(if is_long { 167 } else { 60 });
    let slow = Weather { delay, reset_one_in: 100, ..Weather::default() };
    let half_open = Duration::from_secs(if is_long { 60 } else { 3 });
    let running = Running::start(&through(&proxy, &settings));
    let (mut parts, mut began) = (0, now());
    truth.trickle(&settings, 8, || {
        parts += 1;
        match parts {
            2 => proxy.set(slow),
            5 => {
                proxy.set(Weather { holds_answers: true, ..slow });
                std::thread::sleep(half_open);
                proxy.set(slow);
                began = now();
            }
            _ => {}
        }
    });
    // What peers did in each hour goes through the groups topic before the next but one is judged,
    // there and back at twice the shortest delay.
    let hours = delay * 4 * EVENT_HOURS;
    wait_until_committed_within(PATIENCE + hours, &settings, &[&running]);
    // Not before it has become well again: the network stays as it is.
    truth.holds(&settings, &[&running]);
    recovered(20, began.elapsed());
}

#[test]
fn row_42_asked_to_end_while_nothing_answers_it_ends_in_time_and_the_next_start_is_clean() {
    let Some((proxy, _broker, settings)) = behind_a_proxy("unreachable") else { return };
    let truth = Truth::new();
    let mut first = Running::start(&through(&proxy, &settings));
    let mut parts = 0;
    truth.trickle(&settings, 8, || {
        parts += 1;
        if parts == 4 {
            first.wait_until("it has judged some", |it| it.count("events_processed_total") > 40);
            proxy.set(Weather { holds_answers: true, holds_requests: true, ..Weather::default() });
        }
    });
    let (_, took) = first.terminate();
    assert!(took < SHUTDOWN_MAX, "{took:?}\n{}", first.log());
    recovered(42, took);
    proxy.cut();
    proxy.set(Weather::default());
    let next = Running::start(&through(&proxy, &settings));
    truth.holds(&settings, &[&next]);
}
