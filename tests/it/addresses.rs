//! Where a receiver's name leads: over real sockets, with name servers that lie and change their minds.
//!
//! All of 127.0.0.0/8 is this machine, so one listener stands for the receiver and another, at an
//! address that is not allowed, for what a stranger would have us post to.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use secrecy::SecretString;
use toolwarden::deliver::LookUpName;
use toolwarden::telemetry::FailureReason;

use crate::webhook::{Bench, Delivery, Receiver, Reply, Tried, dead, settings};

const METADATA: &str = "169.254.169.254";
const TRAP: &str = "127.0.0.9";
const RECEIVER: &str = "127.0.0.1";

/// A name server: one list of addresses a question, the last one for ever.
struct NameServer {
    answers: Mutex<VecDeque<Vec<IpAddr>>>,
    asked: AtomicUsize,
}

impl NameServer {
    fn new(answers: &[&[&str]]) -> Arc<Self> {
        let parse = |answer: &&[&str]| answer.iter().map(|it| it.parse().unwrap()).collect();
        let answers = Mutex::new(answers.iter().map(parse).collect());
        Arc::new(Self { answers, asked: AtomicUsize::new(0) })
    }

    fn look_up(self: &Arc<Self>) -> Arc<LookUpName> {
        let server = Arc::clone(self);
        Arc::new(move |name: &str| {
            assert_eq!(name, "hooks.example");
            server.asked.fetch_add(1, Ordering::SeqCst);
            let mut answers = server.answers.lock().unwrap();
            let answer = answers.front().cloned().unwrap_or_default();
            if answers.len() > 1 {
                answers.pop_front();
            }
            Ok(answer)
        })
    }
}

/// Whether anybody connects to the port of `receiver` at the address that is not allowed.
async fn trap(receiver: SocketAddr) -> Arc<AtomicBool> {
    let address = SocketAddr::new(TRAP.parse().unwrap(), receiver.port());
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let sprung = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&sprung);
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            noted.store(true, Ordering::SeqCst);
        }
    });
    sprung
}

/// The receiver by its name, at its port.
fn named(address: SocketAddr) -> Tried {
    let mut settings = settings(address);
    let url = format!("http://hooks.example:{}/hook/T0KEN", address.port());
    settings.webhook.url = SecretString::from(url);
    settings
}

#[tokio::test]
async fn row_32_a_name_that_turns_to_another_address_is_not_followed_and_its_alert_waits() {
    let (receiver, address) = Receiver::start([]).await;
    let sprung = trap(address).await;
    let names = NameServer::new(&[&[METADATA], &[TRAP], &["::ffff:127.0.0.9"], &[RECEIVER]]);
    let bench = Bench::new();
    let delivery = bench.deliver_to_name(named(address), names.look_up()).await;
    assert_eq!(delivery, Delivery::Delivered { attempts: 4 });
    assert!(bench.waits().iter().all(|wait| (150..=300).contains(wait)), "{:?}", bench.waits());
    assert_eq!(receiver.seen().len(), 1);
    assert!(!sprung.load(Ordering::SeqCst));
    bench.counts(r#"notification_requests_blocked_total{receiver="pager"} 3"#);
    bench.counts(r#"notification_request_failures_total{receiver="pager"} 3"#);
    bench.counts(r#"notifications_total{receiver="pager"} 1"#);
}

#[tokio::test]
async fn row_32_of_several_addresses_only_those_allowed_are_connected_to() {
    let (receiver, address) = Receiver::start([]).await;
    let sprung = trap(address).await;
    let names = NameServer::new(&[&[TRAP, METADATA, RECEIVER, TRAP]]);
    let bench = Bench::new();
    let delivery = bench.deliver_to_name(named(address), names.look_up()).await;
    assert_eq!(delivery, Delivery::Delivered { attempts: 1 });
    assert_eq!(receiver.seen().len(), 1);
    assert_eq!(receiver.seen()[0].0["host"], format!("hooks.example:{}", address.port()));
    assert!(!sprung.load(Ordering::SeqCst));
    bench.counts_none("notification_requests_blocked_total");
}

#[tokio::test]
async fn row_32_the_address_that_was_checked_is_the_one_connected_to() {
    let (receiver, address) = Receiver::start([]).await;
    let sprung = trap(address).await;
    // Whoever asked a second time would be led astray.
    let names = NameServer::new(&[&[RECEIVER], &[TRAP]]);
    let bench = Bench::new();
    let delivery = bench.deliver_to_name(named(address), names.look_up()).await;
    assert_eq!(delivery, Delivery::Delivered { attempts: 1 });
    assert_eq!((names.asked.load(Ordering::SeqCst), receiver.seen().len()), (1, 1));
    assert!(!sprung.load(Ordering::SeqCst));
}

#[tokio::test]
async fn row_32_an_alert_that_stays_blocked_is_tried_to_its_end_and_kept_with_words_on_why() {
    let (receiver, address) = Receiver::start([]).await;
    let names = NameServer::new(&[&[METADATA]]);
    let bench = Bench::new();
    let mut settings = named(address);
    settings.retry_for = Duration::from_secs(1_000);
    let dead = dead(bench.deliver_to_name(settings, names.look_up()).await);
    assert_eq!((dead.reason, dead.status), (FailureReason::Blocked, None));
    assert!(dead.attempts >= 4, "{dead:?}");
    assert!(dead.detail.contains(METADATA) && dead.detail.contains("allow_networks"), "{dead:?}");
    assert!(!dead.detail.contains("T0KEN"), "{dead:?}");
    assert_eq!(receiver.seen().len(), 0);
    let attempts = dead.attempts;
    bench.counts(&format!("notification_requests_blocked_total{{receiver=\"pager\"}} {attempts}"));
}

#[tokio::test]
async fn row_32_a_redirect_leads_nowhere_however_it_is_written() {
    for status in [301, 302, 303, 307, 308] {
        let to = vec![("location", format!("http://{METADATA}/latest/meta-data/"))];
        let (receiver, address) = Receiver::start([Reply::Answer(status, to, "")]).await;
        let names = NameServer::new(&[&[RECEIVER]]);
        let bench = Bench::new();
        let dead = dead(bench.deliver_to_name(named(address), names.look_up()).await);
        assert_eq!((dead.reason, dead.status), (FailureReason::Redirect, Some(status)));
        assert_eq!((receiver.seen().len(), names.asked.load(Ordering::SeqCst)), (1, 1));
    }
}

#[tokio::test]
async fn a_name_without_an_address_is_no_connection() {
    let (_, address) = Receiver::start([]).await;
    let names = NameServer::new(&[&[], &[RECEIVER]]);
    let bench = Bench::new();
    let delivery = bench.deliver_to_name(named(address), names.look_up()).await;
    assert_eq!(delivery, Delivery::Delivered { attempts: 2 });
    assert!(bench.waits().iter().all(|wait| *wait <= 1), "{:?}", bench.waits());
    bench.counts_none("notification_requests_blocked_total");
}
