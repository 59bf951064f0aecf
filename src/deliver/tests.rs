//! When to try again, what is signed, and what a person sees.

use std::time::Duration;

use proptest::prelude::*;
use secrecy::SecretString;

use super::signature::Signer;
use super::*;
use crate::alert::{
    Alert, AlertStatus, Evidence, Expected, Learning, LearningState, Severity, Window,
};
use crate::event::Timestamp;
use crate::telemetry::{BuildInfo, FailureReason, Metrics};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OLD_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

fn evidence(call_id: &str, offset: i64) -> Evidence {
    Evidence {
        time: "2026-01-05T14:03:20.000Z".into(),
        call_id: call_id.into(),
        session_id: "s-1".into(),
        tool_name: "payments.transfer".into(),
        topic: "calls".into(),
        partition: 3,
        offset,
    }
}

pub(crate) fn alert() -> Alert {
    Alert {
        schema: "toolwarden/alert/1".into(),
        alert_id: "0f2c9a".into(),
        revision: 0,
        status: AlertStatus::Firing,
        dedup_key: "0f2c9a".into(),
        duplicate_of: None,
        time: "2026-01-05T14:03:27.000Z".into(),
        rule_id: "call-rate".into(),
        detector: "call_rate".into(),
        severity: Severity::High,
        score: 82.4,
        tenant_id: "acme".into(),
        agent_id: "billing-agent".into(),
        agent_version: Some("v14".into()),
        title: "Far more calls than usual".into(),
        summary: "billing-agent made 41 acting calls in 60 s, usual are 0 to 2".into(),
        expected: Expected {
            low: 0.0,
            high: 2.0,
            unit: "acting calls in 60 s".into(),
            basis: "38 active days of history".into(),
        },
        observed: 41.0,
        probability: 0.000_2,
        window: Window {
            start: "2026-01-05T14:02:27.000Z".into(),
            end: "2026-01-05T14:03:27.000Z".into(),
        },
        learning: Learning {
            state: LearningState::Active,
            progress: 1.0,
            since: "2025-11-01T08:00:00.000Z".into(),
            active_days: 38,
            peers: 12,
            version: None,
            group: crate::alert::PeerGroup::default(),
        },
        calibration: None,
        trigger: None,
        is_cut: false,
        evidence: vec![evidence("call_81c2", 9_918_231)],
        evidence_total: 41,
        subjects: Vec::new(),
        counterfactual: "silent if at most 6 acting calls in 60 s".into(),
        tags: Vec::new(),
        runbook_url: "docs/runbooks/call-rate.md".into(),
        links: vec!["toolwarden replay calls.ndjson --alert 0f2c9a".into()],
    }
}

#[test]
fn a_firing_alert_tells_who_what_and_how_sure() {
    let wanted = "\
FIRING  high 82  acme/billing-agent (v14)  Far more calls than usual  2026-01-05 14:03:27Z
  what       billing-agent made 41 acting calls in 60 s, usual are 0 to 2
  usual      0–2 acting calls in 60 s (38 active days of history); seen: 41
  since      2026-01-05T14:02:27.000Z to 2026-01-05T14:03:27.000Z
  certainty  by chance once in 5000 active days; 38 active days of history, 12 peers
  evidence   payments.transfer call_81c2 at 2026-01-05T14:03:20.000Z, calls[3]@9918231, and 40 more
  silent if  at most 6 acting calls in 60 s
  next       toolwarden replay calls.ndjson --alert 0f2c9a
  runbook    docs/runbooks/call-rate.md
";
    assert_eq!(render_text(&alert(), false), wanted);
}

#[test]
fn a_resolved_finding_of_an_agent_still_learned_says_so() {
    let mut alert = alert();
    alert.status = AlertStatus::Resolved;
    alert.severity = Severity::Info;
    alert.agent_version = None;
    alert.learning.state = LearningState::Learning;
    alert.learning.progress = 0.34;
    (alert.learning.active_days, alert.learning.peers) = (1, 1);
    alert.probability = 0.0;
    alert.expected.low = 2.0;
    alert.evidence.clear();
    alert.links.clear();
    let wanted = "\
RESOLVED  info 82  acme/billing-agent  Far more calls than usual  2026-01-05 14:03:27Z
  what       billing-agent made 41 acting calls in 60 s, usual are 0 to 2
  usual      2 acting calls in 60 s (38 active days of history); seen: 41
  since      2026-01-05T14:02:27.000Z to 2026-01-05T14:03:27.000Z
  certainty  by chance less than once in a million active days; still learning this agent: 34 %, 1
             active day of history, 1 peer
  silent if  at most 6 acting calls in 60 s
  runbook    docs/runbooks/call-rate.md
";
    assert_eq!(render_text(&alert, false), wanted);
}

#[test]
fn the_first_line_holds_who_and_when_and_as_much_of_the_title_as_fits() {
    let mut alert = alert();
    alert.agent_id = "code-assistant@dana".into();
    alert.title = "Far more acting calls than ever in a minute of any of its days".into();
    let text = render_text(&alert, false);
    let first = text.lines().next().unwrap();
    let wanted = "FIRING  high 82  acme/code-assistant@dana (v14)  Far more acting calls than…  2026-01-05 14:03:27Z";
    assert_eq!(first, wanted);
    alert.agent_id = "a".repeat(120);
    let text = render_text(&alert, false);
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    assert!(text.contains("Far more acting…"), "{text}");
    assert!(text.lines().all(|line| !line.ends_with(' ')), "{text}");
}

#[test]
fn colour_paints_the_status_and_the_labels_and_nothing_else() {
    let painted = render_text(&alert(), true);
    assert!(painted.starts_with("\u{1b}[1;31mFIRING\u{1b}[0m  high 82"), "{painted}");
    let mut bare = painted;
    for code in ["\u{1b}[1;31m", "\u{1b}[2m", "\u{1b}[0m"] {
        bare = bare.replace(code, "");
    }
    assert_eq!(bare, render_text(&alert(), false));
}

#[test]
fn what_an_agent_wrote_cannot_move_hide_or_turn_anything() {
    let mut alert = alert();
    alert.agent_id = "bot\u{1b}[2K\r\u{202e}\u{200b}".into();
    alert.summary = "line\nFIRING  critical 99\u{7}\u{9b}31m".into();
    alert.evidence[0].tool_name = "a\u{2028}b\u{e0041}".into();
    let text = render_text(&alert, false);
    assert!(text.contains(r"acme/bot\u{1b}[2K\r\u{202e}\u{200b} (v14)"), "{text}");
    assert!(text.contains(r"line\nFIRING  critical 99\u{7}\u{9b}31m"), "{text}");
    assert!(text.contains(r"a\u{2028}b\u{e0041}"), "{text}");
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text}");
}

#[test]
fn plain_letters_of_any_language_stay_readable() {
    assert_eq!(
        escape("Zahlung prüfen – 支払い \"x\" C:\\tmp"),
        "Zahlung prüfen – 支払い \"x\" C:\\tmp"
    );
}

#[test]
fn waits_double_from_a_second_to_five_minutes() {
    let longest: Vec<u64> = (1..=11).map(|attempt| backoff(attempt, 1.0).as_secs()).collect();
    assert_eq!(longest, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    assert_eq!(backoff(3, 0.5), Duration::from_secs(2));
    assert_eq!(backoff(u32::MAX, 1.0), RETRY_WAIT_MAX);
    assert_eq!(slow_backoff(0.0), Duration::from_secs(150));
}

#[test]
fn a_receiver_asks_for_a_wait_in_seconds_or_by_date_within_an_hour() {
    let now: Timestamp = "2026-01-05T12:00:00Z".parse().unwrap();
    let wait = |value| retry_after(value, now).map(|wait| wait.as_secs());
    assert_eq!(wait("120"), Some(120));
    assert_eq!(wait(" 7 "), Some(7));
    assert_eq!(wait("0"), Some(1));
    assert_eq!(wait("99999999999999999999999"), Some(3_600));
    assert_eq!(wait("Mon, 05 Jan 2026 12:01:30 GMT"), Some(90));
    assert_eq!(wait("Mon, 05 Jan 2026 11:00:00 GMT"), Some(1));
    assert_eq!(wait("Tue, 06 Jan 2026 12:00:00 GMT"), Some(3_600));
    for nonsense in ["", "-5", "1.5", "soon"] {
        assert_eq!(wait(nonsense), None, "{nonsense}");
    }
}

#[test]
fn every_status_has_one_meaning() {
    use FailureReason as Why;
    use Ruling as Then;
    for (status, wanted) in [
        (200, Then::Delivered),
        (204, Then::Delivered),
        (301, Then::GiveUp(Why::Redirect)),
        (304, Then::GiveUp(Why::Redirect)),
        (400, Then::RetryMinimal(Why::ClientError)),
        (401, Then::RetrySlowly(Why::AuthError)),
        (403, Then::RetrySlowly(Why::AuthError)),
        (404, Then::RetrySlowly(Why::ClientError)),
        (405, Then::GiveUp(Why::ClientError)),
        (408, Then::Retry(Why::Timeout)),
        (410, Then::RetrySlowly(Why::ClientError)),
        (413, Then::RetryMinimal(Why::ClientError)),
        (422, Then::RetryMinimal(Why::ClientError)),
        (425, Then::Retry(Why::ClientError)),
        (429, Then::Retry(Why::RateLimited)),
        (500, Then::Retry(Why::ServerError)),
        (503, Then::Retry(Why::ServerError)),
        (999, Then::GiveUp(Why::Other)),
    ] {
        assert_eq!(rule(status), wanted, "{status}");
    }
}

/// The test vector that the reference libraries of Standard Webhooks share.
#[test]
fn a_signature_is_the_one_the_standard_asks_for() {
    let secret = SecretString::from("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD");
    let signed = Signer::new([&secret]).unwrap().sign(
        "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
        1_649_367_553,
        br#"{"email":"test@example.com","username":"test_user"}"#,
    );
    assert_eq!(signed, "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
}

#[test]
fn a_signature_covers_id_time_and_body() {
    let signer = Signer::new([&SecretString::from(SECRET)]).unwrap();
    let signed = signer.sign("a_0", 1_614_265_330, b"{}");
    assert!(signed.starts_with("v1,") && signed.len() == 47, "{signed}");
    for other in [
        signer.sign("a_1", 1_614_265_330, b"{}"),
        signer.sign("a_0", 1_614_265_331, b"{}"),
        signer.sign("a_0", 1_614_265_330, b"{ }"),
    ] {
        assert_ne!(signed, other);
    }
}

#[test]
fn two_secrets_sign_side_by_side() {
    let (new, old) = (SecretString::from(SECRET), SecretString::from(OLD_SECRET));
    let alone = |secret| Signer::new([secret]).unwrap().sign("a_0", 1, b"{}");
    let both = Signer::new([&new, &old]).unwrap().sign("a_0", 1, b"{}");
    assert_eq!(both, format!("{} {}", alone(&new), alone(&old)));
    assert!(Signer::new([&new, &SecretString::from("whsec_c2hvcnQ=")]).is_none());
}

fn settings(url: &str, secret: &str) -> WebhookSettings {
    WebhookSettings {
        name: "pager".into(),
        url: SecretString::from(url),
        signing_secret: SecretString::from(secret),
        previous_signing_secret: None,
        min_score: 40.0,
        send_resolved: true,
        timeout: Duration::from_secs(1),
        allow_networks: Guard::organisations(),
    }
}

fn webhook(settings: WebhookSettings) -> Result<Webhook, DeliverError> {
    Webhook::new(settings, Metrics::new(&BuildInfo::default()))
}

#[test]
fn a_receiver_that_cannot_work_is_refused_without_its_secrets() {
    let short = "whsec_c2hvcnQ=";
    for (url, secret, word) in [
        ("hooks.example/T0KEN", SECRET, "url"),
        ("ftp://hooks.example/T0KEN", SECRET, "url"),
        ("", SECRET, "url"),
        ("http://127.0.0.1/T0KEN", SECRET, "loopback"),
        ("http://0xa9fea9fe/T0KEN", SECRET, "metadata"),
        ("https://localhost:8443/T0KEN", SECRET, "loopback"),
        ("https://hooks.example/T0KEN", "S3CRET", "secret"),
        ("https://hooks.example/T0KEN", "whsec_!S3CRET", "secret"),
        ("https://hooks.example/T0KEN", short, "secret"),
    ] {
        let error = webhook(settings(url, secret)).unwrap_err();
        let told = format!("{error} {error:?}");
        assert!(told.contains("pager") && told.contains(word), "{told}");
        assert!(!told.contains("T0KEN") && !told.contains("S3CRET"), "{told}");
    }
}

#[test]
fn a_receiver_never_shows_its_url_or_secret() {
    let shown = format!("{:?}", webhook(settings("https://h.example/T0KEN", SECRET)).unwrap());
    assert!(shown.contains("pager"), "{shown}");
    assert!(!shown.contains("T0KEN") && !shown.contains("MfKQ9r8GKY"), "{shown}");
}

#[test]
fn a_receiver_wants_what_reached_its_score_and_its_end() {
    let mut chosen = settings("https://h.example/", SECRET);
    chosen.min_score = 60.0;
    let receiver = webhook(chosen.clone()).unwrap();
    chosen.send_resolved = false;
    let without_ends = webhook(chosen).unwrap();
    for (status, score, wanted, wanted_without_ends) in [
        (AlertStatus::Firing, 59.9, false, false),
        (AlertStatus::Firing, 60.0, true, true),
        (AlertStatus::Updated, 61.0, true, true),
        (AlertStatus::Resolved, 61.0, true, false),
        (AlertStatus::Resolved, 59.0, false, false),
    ] {
        let alert = Alert { status, score, ..alert() };
        assert_eq!(receiver.wants(&alert), wanted, "{status:?} {score}");
        assert_eq!(without_ends.wants(&alert), wanted_without_ends, "{status:?} {score}");
    }
}

proptest! {
    #[test]
    fn no_text_breaks_the_page(summary in any::<String>(), agent in any::<String>(), tool in any::<String>()) {
        let mut alert = alert();
        (alert.summary, alert.agent_id) = (summary, agent);
        alert.evidence[0].tool_name = tool;
        let text = render_text(&alert, false);
        for line in text.lines() {
            prop_assert!(line.chars().count() <= 100, "{}", line);
            prop_assert!(!line.chars().any(char::is_control), "{}", line);
        }
    }

    #[test]
    fn a_wait_stays_within_its_bounds(attempt in any::<u32>(), random in any::<f64>()) {
        prop_assert!(backoff(attempt, random) <= RETRY_WAIT_MAX);
        prop_assert!(slow_backoff(random) <= RETRY_WAIT_MAX);
    }
}
