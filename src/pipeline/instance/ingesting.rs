//! The part of an instance that keys sources by agent.

use std::sync::Arc;

use crate::config::{Config, Start};
use crate::kafka::ConsumerSettings;
use crate::pipeline::ingest::{Ingest, IngestSettings};
use crate::pipeline::instance::{Instance, client_settings, parts};

/// Calls on their way to the calls topic at which an ingest reads no further.
const IN_FLIGHT_MAX: usize = 20_000;

impl Instance {
    /// As many ingests as there are workers, each a thread with a consumer and a producer.
    pub(super) fn start_ingest(&mut self, config: &Config) -> anyhow::Result<()> {
        let sources = parts::unkeyed(config, &self.metrics);
        for index in 0..config.kafka.workers {
            let consumer = ConsumerSettings {
                client: client_settings(&config.kafka),
                group_id: format!("{}-ingest", config.kafka.group_id),
                member: config.kafka.member(index),
                giving_up: self.giving_up.clone(),
                topics: sources.iter().map(|source| source.topic.to_string()).collect(),
                from_earliest: config.kafka.start == Start::Earliest,
                prefetch_bytes: config.kafka.prefetch_bytes,
            };
            let settings = IngestSettings {
                index,
                consumer,
                sources: Arc::clone(&sources),
                calls: config.topics.calls.as_str().into(),
                dead_letter: config.topics.dead_letter.as_str().into(),
                in_flight_max: IN_FLIGHT_MAX,
                commit_interval: config.kafka.commit_interval,
                flush_timeout: config.kafka.shutdown_timeout / 2,
            };
            let (outbox, signals) = (self.outbox.clone(), Arc::clone(&self.ingest));
            let ingest = Ingest::new(settings, outbox, signals, &self.metrics);
            self.spawn(format!("ingest-{index}"), move || ingest.run())?;
        }
        Ok(())
    }

    /// Whether all there was in the sources is in the calls topic.
    pub(super) fn has_ingested(&self) -> bool {
        let reports = self.ingest.reports();
        let owned: usize = reports.iter().map(|report| report.partitions.len()).sum();
        owned > 0 && reports.iter().all(|report| report.caught_up)
    }
}
