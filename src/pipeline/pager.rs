//! What one receiver was told lately: an incident pages once, however many agents and sessions it
//! turns up in.
//!
//! Decided by the event time and the words of alerts alone, as each is about to be sent. What was
//! told is taken up again from the log of deliveries after a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::alert::{Alert, AlertStatus, Severity};
use crate::deliver::{Outcome, Record};
use crate::event::Timestamp;

/// Incidents remembered of one receiver; of more, the one told longest ago is forgotten.
pub const INCIDENTS_MAX: usize = 10_000;

/// An incident that was told pages again when a later alert is more severe, or scores this much
/// higher: ten times rarer is another matter.
const SCORE_RISE: f64 = 20.0;

/// What one receiver was told.
#[derive(Debug)]
pub struct Pager {
    span: Duration,
    capacity: usize,
    incidents: BTreeMap<String, Told>,
    /// Incidents by when they were told.
    by_time: BTreeSet<(Timestamp, String)>,
    /// Episodes that were sent as duplicates, to the alert they repeat, and by when.
    duplicates: BTreeMap<String, (String, Timestamp)>,
}

#[derive(Debug)]
struct Told {
    at: Timestamp,
    alert_id: String,
    score: f64,
    severity: Severity,
}

impl Told {
    fn of(alert: &Alert, at: Timestamp) -> Self {
        let Alert { score, severity, .. } = *alert;
        Self { at, alert_id: alert.alert_id.clone(), score, severity }
    }
}

/// What to send of one alert.
#[derive(Clone, Debug, PartialEq)]
pub enum Page {
    /// The alert as it is.
    AsIs,
    /// The alert as an update of an incident that was told by this alert.
    Duplicate(String),
}

impl Pager {
    /// A pager that does not page twice for an incident within `span`.
    #[must_use]
    pub fn new(span: Duration) -> Self {
        Self::with_capacity(span, INCIDENTS_MAX)
    }

    fn with_capacity(span: Duration, capacity: usize) -> Self {
        let by_time = BTreeSet::new();
        Self { span, capacity, incidents: BTreeMap::new(), by_time, duplicates: BTreeMap::new() }
    }

    /// Decides what to send of `alert`, and how many incidents had to be forgotten for that.
    pub fn decide(&mut self, alert: &Alert) -> (Page, u64) {
        let Some(time) = self.time_of(&alert.dedup_key, &alert.time) else {
            return (Page::AsIs, 0);
        };
        if let Some((first, _)) = self.duplicates.get(&alert.alert_id) {
            let page = Page::Duplicate(first.clone());
            if alert.status == AlertStatus::Resolved {
                self.duplicates.remove(&alert.alert_id);
            }
            return (page, 0);
        }
        if alert.status != AlertStatus::Firing {
            return (Page::AsIs, 0);
        }
        let known = self.incidents.get(&alert.dedup_key);
        if let Some(told) = known.filter(|told| self.covers(told, alert, time)) {
            let first = told.alert_id.clone();
            self.duplicates.insert(alert.alert_id.clone(), (first.clone(), time));
            return (Page::Duplicate(first), self.shrink());
        }
        self.remember(&alert.dedup_key, Told::of(alert, time));
        (Page::AsIs, self.shrink())
    }

    /// Takes up what the log of deliveries says this receiver was told, in the order it was.
    pub fn recall(&mut self, told: &Record) {
        let Some(time) = self.time_of(&told.dedup_key, &told.alert_time) else { return };
        if told.outcome == Outcome::Dead {
            return;
        }
        match &told.duplicate_of {
            Some(_) if told.status == AlertStatus::Resolved => {
                self.duplicates.remove(&told.alert_id);
            }
            Some(first) => {
                self.duplicates.insert(told.alert_id.clone(), (first.clone(), time));
            }
            None if told.status == AlertStatus::Firing => {
                let (alert_id, score) = (told.alert_id.clone(), told.score);
                // Notes of before severities were noted page once more rather than not at all.
                let severity = told.severity.unwrap_or(Severity::Info);
                self.remember(&told.dedup_key, Told { at: time, alert_id, score, severity });
            }
            None => {}
        }
        self.shrink();
    }

    /// `alert` was not told after all: the next one of its incident is no update.
    pub fn untold(&mut self, alert: &Alert) {
        let known = self.incidents.get(&alert.dedup_key);
        let Some(at) = known.filter(|it| it.alert_id == alert.alert_id).map(|it| it.at) else {
            return;
        };
        self.incidents.remove(&alert.dedup_key);
        self.by_time.remove(&(at, alert.dedup_key.clone()));
    }

    /// Incidents remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.incidents.len()
    }

    /// Whether none is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.incidents.is_empty()
    }

    /// The time of an alert that belongs to an incident, where incidents are looked after at all.
    fn time_of(&self, incident: &str, time: &str) -> Option<Timestamp> {
        let time = time.parse().ok();
        time.filter(|_| !incident.is_empty() && !self.span.is_zero())
    }

    fn covers(&self, told: &Told, alert: &Alert, time: Timestamp) -> bool {
        // An alert that is read twice is not a duplicate of itself.
        told.alert_id != alert.alert_id
            && time < told.at.plus(self.span)
            && alert.score < told.score + SCORE_RISE
            && alert.severity <= told.severity
    }

    fn remember(&mut self, incident: &str, mut told: Told) {
        let (key, at) = (incident.to_owned(), told.at);
        if let Some(before) = self.incidents.remove(incident) {
            self.by_time.remove(&(before.at, key.clone()));
            if at < before.at.plus(self.span) {
                // Worse in one way: how bad it was in the other stays known.
                told.score = told.score.max(before.score);
                told.severity = told.severity.max(before.severity);
            }
        }
        self.incidents.insert(key.clone(), told);
        self.by_time.insert((at, key));
    }

    /// Forgets what was told longest ago until the bounds hold; returns how much.
    fn shrink(&mut self) -> u64 {
        let mut forgotten = 0;
        while self.incidents.len() > self.capacity {
            let Some((_, key)) = self.by_time.pop_first() else { break };
            self.incidents.remove(&key);
            forgotten += 1;
        }
        while self.duplicates.len() > self.capacity {
            let oldest = self.duplicates.iter().map(|(id, (_, at))| (at, id)).min();
            let Some(id) = oldest.map(|(_, id)| id.clone()) else { break };
            self.duplicates.remove(&id);
            forgotten += 1;
        }
        forgotten
    }
}

/// `alert` as the update of an incident that was told by `first`. The end of an episode stays one.
#[must_use]
pub fn as_duplicate(alert: &Alert, first: String) -> Alert {
    let status = match alert.status {
        AlertStatus::Firing | AlertStatus::Updated => AlertStatus::Updated,
        AlertStatus::Resolved => AlertStatus::Resolved,
    };
    Alert { status, duplicate_of: Some(first), ..alert.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn alert(id: &str, incident: &str, status: &str, (secs, score): (i64, f64)) -> Alert {
        let time = Timestamp::from_secs(secs).to_string();
        serde_json::from_value(json!({
            "schema": "toolwarden/alert/1", "alert_id": id, "revision": 0, "status": status,
            "dedup_key": incident, "time": time, "rule_id": "r", "detector": "d",
            "severity": "high", "score": score, "tenant_id": "t", "agent_id": "a", "title": "",
            "summary": "", "expected": {"low": 0.0, "high": 0.0, "unit": "", "basis": ""},
            "observed": 0.0, "probability": 0.0, "window": {"start": time, "end": time},
            "learning": {"state": "active", "progress": 1.0, "since": time, "active_days": 1, "peers": 0},
            "evidence": [], "evidence_total": 0, "counterfactual": "", "tags": [],
            "runbook_url": "", "links": []
        }))
        .unwrap()
    }

    const DAY: Duration = Duration::from_secs(86_400);

    fn decide(pager: &mut Pager, id: &str, incident: &str, at: i64) -> Page {
        pager.decide(&alert(id, incident, "firing", (at, 50.0))).0
    }

    #[test]
    fn one_incident_pages_once_a_day() {
        let mut pager = Pager::new(DAY);
        assert_eq!(decide(&mut pager, "a", "x", 0), Page::AsIs);
        assert_eq!(decide(&mut pager, "b", "x", 100), Page::Duplicate("a".into()));
        assert_eq!(decide(&mut pager, "c", "y", 100), Page::AsIs);
        assert_eq!(decide(&mut pager, "d", "x", 86_400), Page::AsIs);
    }

    #[test]
    fn what_is_read_twice_is_sent_twice_alike() {
        let mut pager = Pager::new(DAY);
        assert_eq!(decide(&mut pager, "a", "x", 0), Page::AsIs);
        assert_eq!(decide(&mut pager, "b", "x", 1), Page::Duplicate("a".into()));
        assert_eq!(decide(&mut pager, "a", "x", 0), Page::AsIs);
        assert_eq!(decide(&mut pager, "b", "x", 1), Page::Duplicate("a".into()));
    }

    #[test]
    fn every_word_on_a_duplicate_names_the_first_and_its_end_stays_one() {
        let mut pager = Pager::new(DAY);
        decide(&mut pager, "a", "x", 0);
        decide(&mut pager, "b", "x", 1);
        let end = alert("b", "x", "resolved", (9, 50.0));
        assert_eq!(pager.decide(&end).0, Page::Duplicate("a".into()));
        let sent = as_duplicate(&end, "a".into());
        assert_eq!((sent.status, sent.duplicate_of.as_deref()), (AlertStatus::Resolved, Some("a")));
        let first = as_duplicate(&alert("b", "x", "firing", (1, 50.0)), "a".into());
        assert_eq!(first.status, AlertStatus::Updated);
        assert_eq!(pager.decide(&alert("a", "x", "resolved", (9, 50.0))).0, Page::AsIs);
    }

    #[test]
    fn far_worse_than_before_pages_again() {
        let mut pager = Pager::new(DAY);
        decide(&mut pager, "a", "x", 0);
        assert_eq!(pager.decide(&alert("b", "x", "firing", (1, 70.0))).0, Page::AsIs);
    }

    #[test]
    fn more_severe_than_before_pages_again_and_is_remembered() {
        let mut pager = Pager::new(DAY);
        let of =
            |id: &str, severity, score| Alert { severity, ..alert(id, "x", "firing", (1, score)) };
        let mut decide = |id: &str, severity, score| pager.decide(&of(id, severity, score)).0;
        assert_eq!(decide("a", Severity::Medium, 50.0), Page::AsIs);
        assert_eq!(decide("b", Severity::Medium, 50.0), Page::Duplicate("a".into()));
        assert_eq!(decide("c", Severity::High, 45.0), Page::AsIs);
        assert_eq!(decide("d", Severity::Medium, 75.0), Page::AsIs);
        assert_eq!(decide("e", Severity::High, 90.0), Page::Duplicate("d".into()));
    }

    #[test]
    fn a_note_says_how_severe_it_was_and_an_old_one_that_does_not_pages_once_more() {
        let first = alert("a", "x", "firing", (1, 50.0));
        let noted = Record::sending(&first, 7, Timestamp::from_secs(2));
        let old = Record { severity: None, ..noted.clone() };
        for (note, page) in [(noted, Page::Duplicate("a".into())), (old, Page::AsIs)] {
            let mut pager = Pager::new(DAY);
            pager.recall(&serde_json::from_slice(&note.to_json()).unwrap());
            assert_eq!(pager.decide(&alert("b", "x", "firing", (2, 50.0))).0, page);
        }
    }

    #[test]
    fn switched_off_it_pages_each_and_too_many_incidents_are_forgotten() {
        let mut off = Pager::new(Duration::ZERO);
        assert_eq!(
            [decide(&mut off, "a", "x", 0), decide(&mut off, "b", "x", 1)],
            [Page::AsIs, Page::AsIs]
        );
        let mut small = Pager::with_capacity(DAY, 2);
        let mut forgotten = 0;
        for (n, id) in (0..).zip(["a", "b", "c", "d"]) {
            forgotten += small.decide(&alert(id, id, "firing", (n, 50.0))).1;
        }
        assert_eq!((small.len(), forgotten), (2, 2));
        assert_eq!(decide(&mut small, "e", "d", 5), Page::Duplicate("d".into()));
    }
}
