//! The broker's disk is full. Row 26.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::faults::kill::settings;
use crate::faults::oracle::{Operator, Truth, long_ones_are_wanted, recovered, seed};
use crate::kafka_broker::Broker;
use crate::running::{Running, now, wait_for};

fn shell(script: &str, directory: &Path) -> bool {
    let status = Command::new("sh").args(["-c", script]).current_dir(directory).status();
    status.unwrap().success()
}

/// A small disk of its own for a broker's data; it goes when dropped.
#[derive(Debug)]
struct Disk(PathBuf);

impl Disk {
    /// `None` where this process may not mount one.
    #[expect(clippy::print_stderr, reason = "a skipped test is said to be skipped")]
    fn under(broker: &mut Broker) -> Option<Self> {
        let data = broker.data();
        broker.crash();
        let mounted = shell(
            "cp -a . ../kept && mount -t tmpfs -o size=96m none ../data && cd ../data && \
             cp -a ../kept/. . && rm -r ../kept",
            &data,
        );
        if !mounted {
            eprintln!("skipped: needs to mount a disk");
            return None;
        }
        broker.restart();
        Some(Self(data))
    }

    /// Takes all space there is.
    fn fill(&self) {
        let is_filled = shell("dd if=/dev/zero of=filler bs=64k 2>/dev/null", &self.0);
        assert!(!is_filled, "it ends when there is no space left");
    }

    /// Gives it back.
    fn free(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Also while a test unwinds, and while the broker still writes to it.
        shell("umount -l \"$PWD\"", &self.0);
    }
}

#[test]
fn row_26_on_a_full_disk_the_broker_ends_and_all_is_judged_once_there_is_space() {
    if !long_ones_are_wanted() {
        return;
    }
    let Some(mut broker) = Broker::start() else { return };
    let Some(disk) = Disk::under(&mut broker) else { return };
    let truth = Truth::new();
    let settings = settings(broker.bootstrap(), &format!("full-{}", seed()));
    let operator = Operator::of(broker.bootstrap());
    operator.create(settings.calls(), 4, &["retention.ms=-1"]);
    operator.create("other", 1, &[]);
    let mut running = Running::start(&settings);
    let (mut parts, mut began) = (0, now());
    truth.trickle(&settings, 8, || {
        parts += 1;
        if parts != 4 {
            return;
        }
        running.wait_until("it has judged some", |it| it.count("events_processed_total") > 40);
        disk.fill();
        // Somebody writes more than there is space for; Kafka ends when it cannot write.
        let write = "head -c 9000000 /dev/urandom | base64 | \
                     kcat -P -b \"$B\" -t other -X message.timeout.ms=5000";
        let more = Command::new("sh").args(["-c", write]).env("B", broker.bootstrap()).output();
        drop(more.unwrap());
        wait_for("readiness says so", || (running.get("/readyz").0 == 503).then_some(()));
        assert_eq!(running.get("/livez").0, 200, "a restart would not help");
        disk.free();
        broker.crash();
        broker.restart();
        began = now();
    });
    wait_for("it is ready again", || (running.get("/readyz").0 == 200).then_some(()));
    truth.holds(&settings, &[&running]);
    recovered(26, began.elapsed());
    assert!(running.is_alive());
}
