//! The broker and the instance do not come to terms: a password is wrong, or a certificate. Row 33.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::faults::kill::settings;
use crate::faults::oracle::{Operator, Truth, recovered, seed};
use crate::kafka_broker::Broker;
use crate::running::{Running, Settings, committed, now, wait_for};

const USER: &str = "toolwarden";
const RIGHT: &str = "right-0qV3nT7xW2";
const WRONG: &str = "wrong-8sK1mB5yZ9";

/// A broker with a listener that is encrypted and asks for a login, which the test itself does not
/// use, and what an instance has to reach it there.
#[derive(Debug)]
struct Case {
    broker: Broker,
    /// As the test sees the cluster.
    settings: Settings,
    /// What the instance trusts, and what the broker had in the beginning.
    kept: TempDir,
}

impl Case {
    fn new(name: &str) -> Option<Self> {
        let broker = Broker::start_secure()?;
        let name = format!("{name}-{}", seed());
        let settings = Settings { session_ms: Some(6_000), ..settings(broker.bootstrap(), &name) };
        Operator::of(broker.bootstrap()).create(settings.calls(), 4, &["retention.ms=-1"]);
        broker.set_password(USER, RIGHT);
        let kept = tempfile::tempdir().unwrap();
        copy(&broker.tls(), kept.path());
        Some(Self { broker, settings, kept })
    }

    /// The same, as an instance sees it that logs in with `password`.
    fn secure(&self, password: &str) -> Settings {
        let trusted = self.kept.path().join("broker.pem");
        let security = format!(
            "security: {{protocol: sasl_ssl, ca_file: {trusted:?}, sasl: {{mechanism: \
             SCRAM-SHA-512, username: {USER}, password_env: KAFKA_PASSWORD}}}}\n  "
        );
        Settings {
            bootstrap: self.broker.secure().to_string(),
            kafka: security,
            environment: vec![("KAFKA_PASSWORD", password.to_owned())],
            ..self.settings.clone()
        }
    }

    /// An instance that cannot begin ends with words, and without its secret in them.
    fn ends_at_once(&self, password: &str, words: &str) {
        let mut running = Running::spawn(&self.secure(password));
        let status = wait_for("it ends", || running.ended());
        assert_eq!(status.code(), Some(5), "{}", running.log());
        assert!(running.log().contains(words), "{}", running.log());
        assert!(!running.log().contains(password), "{}", running.log());
    }

    fn committed(&self) -> BTreeMap<i32, (i64, i64)> {
        committed(&self.settings.bootstrap, &self.settings.name, self.settings.calls())
    }

    /// While `running` judges, `spoil` makes its brokers strangers and `mend` makes them known
    /// again: meanwhile it says `words` and counts errors of `code`, and does nothing.
    fn holds(
        &mut self,
        (words, code): (&str, &str),
        mut spoil: impl FnMut(&mut Broker, &Path),
        mut mend: impl FnMut(&mut Broker, &Path),
    ) {
        let truth = Truth::new();
        let running = Running::start(&self.secure(RIGHT));
        let settings = self.settings.clone();
        let code = format!("code=\"{code}\"");
        let (mut parts, mut began) = (0, now());
        truth.trickle(&settings, 4, || {
            parts += 1;
            if parts == 2 {
                running.wait_until("it judges", |it| it.count("events_processed_total") > 40);
                spoil(&mut self.broker, self.kept.path());
                running.wait_until("readiness says why", |_| {
                    let (status, said) = running.get("/readyz");
                    status == 503 && said.contains(words)
                });
                assert_eq!(running.get("/livez").0, 200, "a restart would not help");
            }
            if parts == 3 {
                // Now there is something to read.
                let (before, judged) =
                    (self.offsets(), running.metrics().count("events_processed_total"));
                let metrics = running.wait_until("it is tried again and again", |it| {
                    it.count_of("kafka_errors_total", &[&code]) > 3
                });
                assert_eq!(metrics.count("events_processed_total"), judged, "{}", running.log());
                assert_eq!(self.offsets(), before, "{}", running.log());
                assert!(running.log().contains(words), "{}", running.log());
                mend(&mut self.broker, self.kept.path());
                began = now();
            }
        });
        wait_for("it is ready again", || (running.get("/readyz").0 == 200).then_some(()));
        recovered(33, began.elapsed());
        truth.holds(&settings, &[&running]);
        for secret in [RIGHT, WRONG] {
            assert!(!running.log().contains(secret), "{}", running.log());
            assert!(!running.get("/metrics").1.contains(secret));
        }
    }

    fn offsets(&self) -> Vec<i64> {
        self.committed().into_values().map(|(offset, _)| offset).collect()
    }
}

/// Copies the files of a directory into another one.
fn copy(from: &Path, to: &Path) {
    for file in fs::read_dir(from).unwrap() {
        let file: PathBuf = file.unwrap().path();
        fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
    }
}

#[test]
fn row_33_a_wrong_password_ends_the_start_with_words_and_one_that_became_wrong_is_waited_out() {
    let Some(mut case) = Case::new("password") else { return };
    let words = "the brokers refuse the login";
    case.ends_at_once(WRONG, words);
    case.holds(
        (words, "Authentication"),
        |broker, _| {
            broker.set_password(USER, WRONG);
            // Who is in is not asked again.
            broker.crash();
            broker.restart();
        },
        |broker, _| broker.set_password(USER, RIGHT),
    );
}

#[test]
fn row_33_a_certificate_nobody_vouches_for_is_refused_and_the_right_one_is_taken_again() {
    let Some(mut case) = Case::new("certificate") else { return };
    let words = "do not trust each other";
    case.holds(
        (words, "SSL"),
        |broker, _| {
            broker.crash();
            broker.renew_certificate();
            broker.restart();
        },
        |broker, kept| {
            broker.crash();
            copy(kept, &broker.tls());
            broker.restart();
        },
    );
    case.broker.crash();
    case.broker.renew_certificate();
    case.broker.restart();
    case.ends_at_once(RIGHT, words);
}
