//! An alert as a record of the alerts topic.

use std::sync::Arc;

use crate::alert::Alert;
use crate::deliver::incident_of;
use crate::kafka::{OutgoingRecord, WhenTooLarge};
use crate::pipeline::cut;

/// `alert` as a record of `topic`, keyed by its incident: all words of one, whichever agents they are
/// of, stand in one partition, and so they are told in their order and by one instance, which knows
/// what it has paged for.
#[must_use]
pub fn of(alert: &Alert, topic: &Arc<str>) -> OutgoingRecord {
    OutgoingRecord {
        topic: Arc::clone(topic),
        partition: None,
        key: incident_of(&alert.dedup_key, &alert.alert_id).as_bytes().to_vec(),
        payload: Some(alert.to_json().into_bytes()),
        headers: vec![("content-type", "application/json".to_owned())],
        when_too_large: WhenTooLarge::Cut(cut::alert),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::tests::alert;

    #[test]
    fn an_incident_has_one_key_whichever_agents_it_turns_up_at() {
        let key = |agent: &str, id: &str, incident: &str| {
            let (agent_id, alert_id) = (agent.to_owned(), id.to_owned());
            let alert = Alert { agent_id, alert_id, dedup_key: incident.to_owned(), ..alert() };
            of(&alert, &"alerts".into()).key
        };
        assert_eq!(key("a", "1", "x"), key("b", "2", "x"));
        assert_ne!(key("a", "1", "x"), key("a", "2", "y"));
        assert_ne!(key("a", "1", ""), key("a", "2", ""), "an alert of no incident is its own");
    }
}
