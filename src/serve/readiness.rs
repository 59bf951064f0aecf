//! Whether an instance does its work, and if not, what it waits for.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::telemetry::{Event, Metrics, ReadyChanged};

/// A part of the instance that has to be ready: a name such as `kafka` or `delivery`.
pub type Component = &'static str;

/// A part that is not ready, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// The part.
    pub component: Component,
    /// What it waits for.
    pub reason: String,
}

/// The readiness of an instance: ready when each of its parts is.
#[derive(Debug)]
pub struct Readiness {
    metrics: Metrics,
    waiting: Mutex<BTreeMap<Component, String>>,
}

impl Readiness {
    /// An instance whose `components` are all still starting.
    #[must_use]
    pub fn new(metrics: Metrics, components: &[Component]) -> Self {
        let waiting =
            components.iter().map(|component| (*component, "starting".to_owned())).collect();
        let readiness = Self { metrics, waiting: Mutex::new(waiting) };
        readiness.changed(&readiness.lock());
        readiness
    }

    /// Tells of each component that it is ready, or the reason why it is not. All of them at once: one
    /// that waits no longer may have left another to wait for.
    ///
    /// Returns whether that changes the whole. [`ReadyChanged`] is emitted when other parts wait than
    /// before: what is seen first is seldom what is wrong.
    pub fn set(&self, states: impl IntoIterator<Item = (Component, Result<(), String>)>) -> bool {
        let mut waiting = self.lock();
        let before: Vec<Component> = waiting.keys().copied().collect();
        for (component, state) in states {
            match state {
                Ok(()) => waiting.remove(component),
                Err(reason) => waiting.insert(component, reason),
            };
        }
        if !waiting.keys().eq(&before) {
            self.changed(&waiting);
        }
        before.is_empty() != waiting.is_empty()
    }

    /// Whether every part is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.lock().is_empty()
    }

    /// The parts that are not ready, in the order of their names.
    #[must_use]
    pub fn waiting(&self) -> Vec<Waiting> {
        let waiting = self.lock();
        waiting
            .iter()
            .map(|(component, reason)| Waiting { component, reason: reason.clone() })
            .collect()
    }

    fn changed(&self, waiting: &BTreeMap<Component, String>) {
        let reasons: Vec<String> =
            waiting.iter().map(|(component, reason)| format!("{component}: {reason}")).collect();
        let ready = reasons.is_empty();
        ReadyChanged { ready, reason: &reasons.join("; ") }.emit(&self.metrics);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Component, String>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::BuildInfo;

    #[test]
    fn an_instance_is_ready_when_each_of_its_parts_is() {
        let metrics = Metrics::new(&BuildInfo::default());
        let readiness = Readiness::new(metrics.clone(), &["kafka", "delivery"]);
        let gauge = |value| metrics.encode().contains(&format!("toolwarden_ready {value}\n"));
        assert!(!readiness.is_ready() && gauge(0));
        readiness.set([("kafka", Ok(()))]);
        assert!(!readiness.is_ready() && gauge(0));
        readiness.set([("delivery", Ok(()))]);
        assert!(readiness.is_ready() && gauge(1));
        readiness.set([("kafka", Err("no partitions assigned".into()))]);
        let waiting = Waiting { component: "kafka", reason: "no partitions assigned".into() };
        assert_eq!(readiness.waiting(), [waiting]);
        assert!(gauge(0));
        let reading = Err("its topic is read".to_owned());
        assert!(
            !readiness.set([("kafka", Ok(())), ("delivery", reading)]),
            "not in between either"
        );
    }
}
