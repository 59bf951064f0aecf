//! From a decision to an alert: episodes open, get worse and end, and every word of them is made
//! here.

use crate::alert::{
    Alert, AlertId, AlertStatus, Episode, Evidence, Expected, LEARNING_SCORE_MAX, Learning, SCHEMA,
    SUBJECTS_MAX, Step, Subject, Window, incident, score,
};
use crate::baseline::realised::Excess;
use crate::detect::agent::AgentState;
use crate::detect::shadow::calibration;
use crate::detect::{Bound, Judgement, Verdict, common_mode};
use crate::event::{Timestamp, ToolCall};
use crate::policy::{Detector, Words};
use serde::{Deserialize, Serialize};

/// An open episode with its last word, which its end repeats.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Open {
    pub(crate) detector: Detector,
    /// The session it belongs to, for detectors that judge sessions; 0 otherwise.
    session: u64,
    pub(crate) episode: Episode,
    /// Calls that led up to the one that fired.
    before: u64,
    #[serde(with = "crate::alert::exact")]
    last: Box<Alert>,
}

/// What a detector says of what it found.
pub(crate) struct Description {
    pub(crate) summary: String,
    pub(crate) expected: Expected,
    pub(crate) observed: f64,
    pub(crate) start: Timestamp,
    pub(crate) counterfactual: String,
    /// Sample calls, the triggering one last.
    pub(crate) evidence: Vec<Evidence>,
    /// Calls it rests on, the triggering one included.
    pub(crate) evidence_total: u64,
    /// What a person would have to accept for it to be silent, the most telling one first.
    pub(crate) subjects: Vec<Subject>,
}

/// When and why an alert is made.
pub(crate) struct Cause<'a> {
    pub(crate) time: Timestamp,
    /// The call; none when time has passed.
    pub(crate) call: Option<&'a ToolCall<'a>>,
    /// How much is known of the agent.
    pub(crate) learning: Learning,
    /// How far the detector is beyond its promise in the agent's group.
    pub(crate) excess: Option<Excess>,
    /// What the group has in common with the agent, for an alert on how much it does.
    pub(crate) common: Option<common_mode::Common>,
}

/// A decision: what rule, how far beyond its budget, and about which session.
pub(crate) struct Decided<'a> {
    pub(crate) rule: &'a Words,
    /// The rule's budget over the chance.
    pub(crate) ratio: f64,
    /// The session; 0 for detectors that have one episode an agent.
    pub(crate) session: u64,
}

/// Episodes of one detector that are open at once. Of more, the one quiet longest ends.
const OPEN_MAX: usize = 8;

/// After so many seconds nobody waits for a silent agent any more.
const SILENCE_SECS_MAX: i64 = 7 * 86_400;

/// Words on one session that come at once: each is about another target.
const SESSION_WORDS: u32 = 8;

/// Whether a detector judges how much an agent does, which a release changes for a whole group.
const fn judges_work(detector: Detector) -> bool {
    matches!(
        detector,
        Detector::CallRate
            | Detector::RunSize
            | Detector::RunRate
            | Detector::BytesSent
            | Detector::BytesRead
            | Detector::RateShift
            | Detector::Errors
    )
}

impl Open {
    /// An episode that no call has caused, and the first word on it.
    pub(crate) fn without_call(detector: Detector, episode: Episode, alert: &Alert) -> Self {
        Self { detector, session: 0, episode, before: 0, last: Box::new(alert.clone()) }
    }

    /// When it ends if nothing more is seen. Silence lasts until a call ends it, a week at most; what
    /// is seen of a group is known hours later.
    pub(crate) fn deadline(&self) -> Timestamp {
        match self.detector {
            Detector::Silence => self.episode.opened.plus_secs(SILENCE_SECS_MAX),
            Detector::CommonMode => self.episode.last.plus_secs(common_mode::OPEN_SECS),
            _ => self.episode.deadline(),
        }
    }

    /// Bytes on the heap, roughly.
    pub(crate) fn heap_bytes(&self) -> usize {
        let samples = self.episode.evidence.len() + self.last.evidence.len();
        size_of::<Alert>() + samples * size_of::<Evidence>()
    }
}

impl AgentState {
    /// Whether a detector's episode is open.
    pub(crate) fn is_open(&self, detector: Detector) -> bool {
        // Mostly none is, and many ask.
        !self.open.is_empty() && self.open.iter().any(|open| open.detector == detector)
    }

    /// Takes a decision of a rule: opens its episode or goes on with it, and speaks when there is
    /// something to say. `ratio` is the rule's budget over the chance. `describe` runs only then.
    pub(crate) fn report(
        &mut self,
        judgement: &Judgement<'_>,
        (rule, ratio): (&Words, f64),
        verdict: &mut Verdict,
        describe: impl FnOnce(&Self) -> Description,
    ) {
        let decided = Decided { rule, ratio, session: 0 };
        self.report_session(judgement, &decided, verdict, describe);
    }

    /// The same for a decision about one session, which has an episode of its own. Each of its
    /// first words comes at once, because each is about another target.
    pub(crate) fn report_session(
        &mut self,
        judgement: &Judgement<'_>,
        decided: &Decided<'_>,
        verdict: &mut Verdict,
        describe: impl FnOnce(&Self) -> Description,
    ) {
        let (rule, call) = (decided.rule, judgement.call);
        let score = self.cap(judgement, rule.detector, score(decided.ratio));
        let is_it = |open: &Open| open.detector == rule.detector && open.session == decided.session;
        let Some(place) = self.open.iter().position(is_it) else {
            let description = describe(self);
            let alert = self.alert(judgement, rule, (score, decided.ratio), description);
            self.open_episode((rule, decided.session, score), call, alert, verdict);
            return;
        };
        if let Some(open) = self.open.get_mut(place) {
            let step = open.episode.extend(call.time, score);
            open.episode.sample(|| Evidence::of(call));
            if step == Step::Quiet {
                if decided.session == 0 || open.episode.revision >= SESSION_WORDS {
                    return;
                }
                open.episode.speak(call.time, score);
            }
        }
        let description = describe(self);
        let alert = self.alert(judgement, rule, (score, decided.ratio), description);
        if let Some(open) = self.open.get_mut(place) {
            verdict.alerts.push(open.update(alert));
        }
    }

    fn open_episode(
        &mut self,
        (rule, session, score): (&Words, u64, f64),
        call: &ToolCall<'_>,
        alert: Alert,
        verdict: &mut Verdict,
    ) {
        self.make_room(rule.detector, call.time, verdict);
        let id =
            AlertId::derive(&rule.id, &self.tenant_id, &self.agent_id, (call.time, &call.call_id));
        let mut episode = Episode::open(id, call.time, score, alert.evidence.clone());
        let before = alert.evidence_total.saturating_sub(1);
        let alert = Alert { alert_id: episode.id.to_string(), ..alert };
        episode.last_summary.clone_from(&alert.summary);
        let last = Box::new(alert.clone());
        self.open.push(Open { detector: rule.detector, session, episode, before, last });
        verdict.alerts.push(alert);
    }

    /// Ends the episode of a detector that is quiet longest, when too many are open.
    fn make_room(&mut self, detector: Detector, now: Timestamp, verdict: &mut Verdict) {
        let of_it = |(_, open): &(usize, &Open)| open.detector == detector;
        let open = self.open.iter().enumerate().filter(of_it);
        if open.clone().count() < OPEN_MAX {
            return;
        }
        let oldest = open.min_by_key(|(_, open)| open.deadline()).map(|(place, _)| place);
        if let Some(place) = oldest {
            verdict.bounds.note(Bound::Episodes);
            verdict.alerts.extend(self.open.remove(place).map(|open| resolve(&open, now)));
        }
    }

    /// A score that is allowed while what a detector judges by is still being learned.
    pub(crate) fn cap(&self, judgement: &Judgement<'_>, detector: Detector, score: f64) -> f64 {
        let is_capped = self.is_capped(detector, judgement.rules, judgement.peers);
        if is_capped { score.min(LEARNING_SCORE_MAX) } else { score }
    }

    /// The alert of a decision on a call: the first word on it. `rarity` is the score and the ratio
    /// of budget and chance behind it.
    pub(crate) fn alert(
        &self,
        judgement: &Judgement<'_>,
        rule: &Words,
        rarity: (f64, f64),
        description: Description,
    ) -> Alert {
        let (call, peers) = (judgement.call, judgement.peers);
        let cause = Cause {
            time: call.time,
            call: Some(call),
            learning: self.learning_of(rule.detector, judgement.rules, peers),
            excess: self.excess(rule, peers),
            common: judges_work(rule.detector)
                .then(|| common_mode::of_group(judgement, self))
                .flatten(),
        };
        self.alert_of(cause, rule, rarity, description)
    }

    /// The same for whatever caused it.
    pub(crate) fn alert_of(
        &self,
        cause: Cause<'_>,
        rule: &Words,
        (score, ratio): (f64, f64),
        description: Description,
    ) -> Alert {
        let Cause { time, call, learning, excess, common } = cause;
        let call_id = call.map_or("", |call| &call.call_id);
        let id = AlertId::derive(&rule.id, &self.tenant_id, &self.agent_id, (time, call_id));
        let mut subjects = description.subjects;
        subjects.truncate(SUBJECTS_MAX);
        let severity = if excess.is_none() { rule.severity } else { rule.severity.lowered() };
        let (summary, severity, shared) = match common {
            Some(common) => {
                let summary = format!("{} {}", description.summary, common.words);
                (summary, severity.lowered(), Some(common.incident))
            }
            None => (description.summary, severity, None),
        };
        let shared = shared.or_else(|| self.dedup_key(rule, call, &subjects));
        Alert {
            schema: SCHEMA.to_owned(),
            alert_id: id.to_string(),
            revision: 0,
            status: AlertStatus::Firing,
            dedup_key: shared.unwrap_or_else(|| id.to_string()),
            duplicate_of: None,
            time: time.to_string(),
            rule_id: rule.id.clone(),
            detector: rule.detector.as_str().to_owned(),
            severity,
            score,
            tenant_id: self.tenant_id.to_string(),
            agent_id: self.agent_id.to_string(),
            agent_version: call.and_then(|call| call.agent_version.as_deref()).map(str::to_owned),
            title: rule.title.clone(),
            summary,
            expected: description.expected,
            observed: description.observed,
            probability: (rule.budget / ratio.max(f64::MIN_POSITIVE)).clamp(0.0, 1.0),
            window: Window {
                start: description.start.min(time).to_string(),
                end: time.to_string(),
            },
            learning,
            calibration: excess.map(|excess| calibration(rule, &excess)),
            trigger: call.map(Evidence::of),
            is_cut: false,
            evidence: description.evidence,
            evidence_total: description.evidence_total,
            subjects,
            counterfactual: description.counterfactual,
            tags: rule.tags.clone(),
            runbook_url: rule.runbook.clone(),
            links: Vec::new(),
        }
    }

    /// What alerts of one incident share, if it is more than one episode.
    fn dedup_key(
        &self,
        rule: &Words,
        call: Option<&ToolCall<'_>>,
        subjects: &[Subject],
    ) -> Option<String> {
        let call = call?;
        incident(&rule.id, &self.tenant_id, self.group_name(), subjects).or_else(|| {
            judges_work(rule.detector).then(|| common_mode::incident(self, call.time.hour()))
        })
    }
}

impl Open {
    /// The next word on the episode: `alert` says what is new, the episode what stays.
    fn update(&mut self, alert: Alert) -> Alert {
        let episode = &mut self.episode;
        episode.last_summary.clone_from(&alert.summary);
        let alert = Alert {
            alert_id: episode.id.to_string(),
            revision: episode.revision,
            status: AlertStatus::Updated,
            // What it was opened with: an episode stays in its incident.
            dedup_key: self.last.dedup_key.clone(),
            score: episode.peak,
            severity: self.last.severity,
            calibration: self.last.calibration.clone(),
            window: Window { start: self.last.window.start.clone(), end: alert.window.end.clone() },
            evidence: episode.evidence.clone(),
            evidence_total: self.before.saturating_add(episode.calls),
            ..alert
        };
        *self.last = alert.clone();
        alert
    }
}

/// The last word on an episode, at `time`: what was wrong, how long and how often.
pub(crate) fn resolve(open: &Open, time: Timestamp) -> Alert {
    let episode = &open.episode;
    Alert {
        revision: episode.revision.saturating_add(1),
        status: AlertStatus::Resolved,
        time: time.to_string(),
        score: episode.peak,
        window: Window { start: open.last.window.start.clone(), end: episode.last.to_string() },
        trigger: None,
        evidence: episode.evidence.clone(),
        evidence_total: open.before.saturating_add(episode.calls),
        ..(*open.last).clone()
    }
}
