//! A real Kafka broker for tests, started by `scripts/kafka`. Not a mock: where the mock cluster
//! does, tests use that.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::support::{repository, slow_tests_are_wanted, succeed, variable};

/// A running broker. One that a test started itself is stopped and removed when dropped.
#[derive(Debug)]
pub(crate) struct Broker {
    directory: PathBuf,
    bootstrap: String,
    own: Option<TempDir>,
    /// Where the listener is that a proxy stands before.
    behind: Option<SocketAddr>,
    /// Where the listener is that is encrypted and asks for a login.
    secure: Option<SocketAddr>,
}

impl Broker {
    /// The broker of the whole test run, or `None` where slow tests are not wanted. Topics need
    /// names of their own.
    pub(crate) fn shared() -> Option<Self> {
        if !slow_tests_are_wanted() {
            return None;
        }
        let set = "scripts/test sets it";
        let bootstrap = variable("TOOLWARDEN_TEST_BROKERS").expect(set);
        let directory = variable("TOOLWARDEN_TEST_KAFKA_DIR").expect(set).into();
        Some(Self { directory, bootstrap, own: None, behind: None, secure: None })
    }

    /// A broker of its own, which may be crashed; `None` where slow tests are not wanted.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// A broker of its own with another listener, whose clients are told to come to `proxy`.
    pub(crate) fn start_behind(proxy: SocketAddr) -> Option<Self> {
        Self::start_with(&["--advertise", &proxy.port().to_string()])
    }

    /// A broker of its own with another listener, which is encrypted and asks for a login.
    pub(crate) fn start_secure() -> Option<Self> {
        Self::start_with(&["--secure"])
    }

    /// Several brokers, 1 to `count`, each of which may be crashed.
    pub(crate) fn start_nodes(count: u32) -> Option<Self> {
        Self::start_with(&["--nodes", &count.to_string()])
    }

    fn start_with(options: &[&str]) -> Option<Self> {
        if !slow_tests_are_wanted() {
            return None;
        }
        let own = tempfile::tempdir().expect("a directory for the broker");
        let directory = own.path().join("kafka");
        let own = Some(own);
        let bootstrap = String::new();
        let mut broker = Self { directory, bootstrap, own, behind: None, secure: None };
        broker.launch(options);
        Some(broker)
    }

    /// `host:port` to give to clients.
    pub(crate) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Creates a topic; settings are written `name=value`.
    pub(crate) fn create_topic(&self, name: &str, partitions: u32, settings: &[&str]) {
        succeed(self.script("topic").arg(name).arg(partitions.to_string()).args(settings));
    }

    /// Kills the broker as a crash would; its data stays.
    pub(crate) fn crash(&mut self) {
        succeed(self.script("stop").args(["--now", "--keep"]));
    }

    /// Starts the broker again where it was, with what it had.
    pub(crate) fn restart(&mut self) {
        self.launch(&[]);
    }

    /// Kills one of several brokers as a crash would; its data stays.
    pub(crate) fn crash_node(&self, node: i32) {
        succeed(self.script("stop-node").args([&node.to_string(), "--now"]));
    }

    /// Starts one of several brokers again where it was, with what it had.
    pub(crate) fn restart_node(&self, node: i32) {
        succeed(self.script("start-node").arg(node.to_string()));
    }

    /// Where a proxy finds it.
    pub(crate) fn behind(&self) -> SocketAddr {
        self.behind.expect("it was started behind a proxy")
    }

    /// Where a client with a login finds it.
    pub(crate) fn secure(&self) -> SocketAddr {
        self.secure.expect("it was started with such a listener")
    }

    /// The directory of what it keeps.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// The directory of its certificate, `broker.pem`, and its key.
    pub(crate) fn tls(&self) -> PathBuf {
        self.directory.join("tls")
    }

    /// Gives somebody a login, or another password, from now on.
    pub(crate) fn set_password(&self, user: &str, password: &str) {
        succeed(self.script("password").args([user, password]));
    }

    /// Gives it a certificate that nobody knows, from its next start on.
    pub(crate) fn renew_certificate(&self) {
        succeed(&mut self.script("certificate"));
    }

    fn launch(&mut self, options: &[&str]) {
        let said = succeed(self.script("start").args(options));
        let find = |name: &str| said.lines().find_map(|line| line.strip_prefix(name));
        find("bootstrap=").expect("it says where it is").clone_into(&mut self.bootstrap);
        let address = |name| find(name).map(|address| address.parse().expect("an address"));
        (self.behind, self.secure) = (address("behind="), address("secure="));
    }

    fn script(&self, command: &str) -> Command {
        let mut script = Command::new(repository("scripts/kafka"));
        script.arg(command).arg("--dir").arg(&self.directory);
        script
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if self.own.is_some() {
            // A failure here must not hide the test's own: dropping runs while it unwinds.
            drop(self.script("stop").arg("--now").output());
        }
    }
}

fn kcat(broker: &Broker, script: &str) -> String {
    let bootstrap = broker.bootstrap();
    succeed(
        Command::new("sh").args(["-c", &format!("{script} | grep . || true")]).env("B", bootstrap),
    )
}

const READ: &str = "kcat -C -b $B -t calls -e -q -f '%k %p %s\\n'";

#[test]
fn a_killed_broker_comes_back_at_its_address_with_its_records() {
    let Some(mut broker) = Broker::start() else { return };
    broker.create_topic("calls", 1, &["cleanup.policy=compact"]);
    kcat(&broker, "printf 'a:1\\nb:2\\n' | kcat -P -b $B -t calls -K:");
    let before = broker.bootstrap().to_owned();
    broker.crash();
    broker.restart();
    assert_eq!(broker.bootstrap(), before);
    assert_eq!(kcat(&broker, READ), "a 0 1\nb 0 2\n");
    let directory = broker.directory.clone();
    drop(broker);
    assert!(!directory.exists(), "nothing is left behind");
}

#[test]
fn the_shared_broker_takes_a_topic() {
    let Some(broker) = Broker::shared() else { return };
    broker.create_topic("kafka-broker-test", 3, &[]);
    let said = kcat(&broker, "kcat -L -b $B -t kafka-broker-test");
    assert!(said.contains("with 3 partitions"), "{said}");
}
