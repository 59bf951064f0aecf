//! Every adoption and every reset there is, brought about and found in the audit.

use std::collections::BTreeSet;

use super::*;
use crate::alert::{AuditKind, Subject};
use crate::detect::subjects;
use crate::detect::tests::audit::expected;
use crate::policy::Detector;

const HOUR: f64 = 3_600.0;
const DAY: f64 = 24.0 * HOUR;

/// One agent, with everything that was written down of it.
struct Watched {
    rules: Rules,
    said: Expectations,
    state: AgentState,
    id: u64,
    records: Vec<AuditRecord>,
    alerts: Vec<Alert>,
}

impl Watched {
    fn new(state: AgentState) -> Self {
        let (records, alerts) = (Vec::new(), Vec::new());
        let said = Expectations::new();
        Self { rules: rules(), said, state, id: 50_000, records, alerts }
    }

    fn known() -> Self {
        Self::new(known_agent(&rules()))
    }

    fn call(&mut self, secs: f64, tool: &str, change: impl Fn(&mut ToolCall<'_>)) {
        self.id += 1;
        let mut call = call(secs, self.id, tool, self.id);
        change(&mut call);
        let peers = Peers::default();
        let context = Context { expectations: &self.said, ..Context::new(&self.rules, &peers) };
        let verdict = observe(&context, &mut self.state, &call);
        self.records.extend(verdict.audits);
        self.alerts.extend(verdict.alerts);
    }

    /// `count` calls on the day `day` between two hours, evenly.
    fn work(&mut self, day: u32, hours: (f64, f64), count: u32) {
        let step = (hours.1 - hours.0) * HOUR / f64::from(count);
        for n in 0..count {
            let secs = f64::from(day) * DAY + hours.0 * HOUR + f64::from(n) * step;
            self.call(
                secs,
                ["tool-0", "tool-1", "tool-2"][usize::try_from(n % 3).unwrap()],
                |_| {},
            );
        }
    }

    fn of(&self, kind: AuditKind) -> Vec<&AuditRecord> {
        self.records.iter().filter(|record| record.kind == kind).collect()
    }

    fn kinds(&self) -> BTreeSet<AuditKind> {
        self.records.iter().map(|record| record.kind).collect()
    }
}

const OFFICE: (f64, f64) = (9.0, 17.0);
const ALL_DAY: (f64, f64) = (0.0, 24.0);

/// Eighteen days of a hundred and twenty calls, then days of four hundred until drift is told.
fn drifted() -> Watched {
    let mut it = Watched::new(AgentState::new(&call(0.0, 0, "tool-0", 1)));
    (0..18).for_each(|day| it.work(day, OFFICE, 120));
    assert_eq!(it.of(AuditKind::AnchorMoved), Vec::<&AuditRecord>::new());
    (18..30).for_each(|day| it.work(day, OFFICE, 400));
    assert!(it.alerts.iter().any(|alert| alert.detector == "drift"));
    it
}

/// That a level of `calls` a day is expected.
fn level(calls: u32) -> Subject {
    subjects::level(Detector::Drift, calls, "calls a day")
}

#[test]
fn the_anchor_is_written_when_it_is_set_and_when_a_person_moves_it() {
    let mut it = drifted();
    let set = it.of(AuditKind::AnchorSet);
    assert_eq!(
        set[0].reason,
        "The first fortnight of `helper@1` is over: its days are held to 120 calls a day from now on."
    );
    assert_eq!(set[0].detector.as_deref(), Some("drift"));
    assert_eq!(it.of(AuditKind::AnchorMoved), Vec::<&AuditRecord>::new(), "by nobody's word");
    it.said = expected(level(400));
    (30..36).for_each(|day| it.work(day, OFFICE, 400));
    let moved = it.of(AuditKind::AnchorMoved);
    let of_calls: Vec<_> = moved.iter().filter(|it| it.reason.contains("calls a day")).collect();
    assert_eq!(of_calls.len(), 1, "{moved:?}");
    assert!(of_calls[0].reason.contains("and no longer to 120."), "{}", of_calls[0].reason);
    assert!(of_calls[0].time.starts_with("2026-02-04"), "the day after: {}", of_calls[0].time);
    assert!(of_calls[0].subject.is_some());
    // From there on it is the new level that counts: back to the old one is drift again.
    let told = |it: &Watched| {
        let fired =
            |alert: &&Alert| alert.detector == "drift" && alert.status == AlertStatus::Firing;
        it.alerts.iter().filter(fired).count()
    };
    let before = told(&it);
    (36..50).for_each(|day| it.work(day, OFFICE, 120));
    assert!(told(&it) > before);
}

#[test]
fn a_day_full_of_records_does_not_hide_that_the_anchor_moved() {
    let mut it = drifted();
    it.said = expected(level(400));
    // As many records as a day has, of tools adopted on their second and third day.
    for day in [30, 31, 32] {
        for n in 0..80_u32 {
            let secs = f64::from(day) * DAY + OFFICE.0 * HOUR + f64::from(n);
            it.call(secs, &format!("tool-{}", 100 + n), |_| {});
        }
        if day == 30 {
            // The word is given when the day is over.
            it.said = Expectations::new();
        }
    }
    it.said = expected(level(400));
    it.work(33, OFFICE, 400);
    it.work(34, OFFICE, 400);
    assert!(it.kinds().contains(&AuditKind::AnchorMoved), "{:?}", it.kinds());
}

#[test]
fn every_adoption_and_every_reset_is_written_down() {
    let mut kinds = drifted().kinds();
    let mut it = drifted();
    it.said = expected(level(400));
    it.work(30, OFFICE, 400);
    it.work(31, OFFICE, 400);
    kinds.extend(it.kinds());

    // A service that becomes one that works in the mornings.
    let mut it = Watched::new(AgentState::new(&call(0.0, 0, "tool-0", 1)));
    (0..3).for_each(|day| it.work(day, ALL_DAY, 240));
    (3..6).for_each(|day| it.work(day, (9.0, 12.0), 60));
    let services = [it.of(AuditKind::ServiceBegun).len(), it.of(AuditKind::ServiceForgotten).len()];
    assert_eq!(services, [1, 1], "{:?}", it.records);
    kinds.extend(it.kinds());

    // Work at night on three days, and a version that stays.
    let mut it = Watched::known();
    it.call(3.0 * DAY + 17.5 * HOUR, "tool-1", |call| call.agent_version = Some("v1".into()));
    for day in 4..9 {
        for n in 0..60_u32 {
            let secs = f64::from(day) * DAY + 2.0 * HOUR + f64::from(n) * 60.0;
            it.call(secs, "tool-1", |call| call.agent_version = Some("v2".into()));
        }
    }
    assert_eq!(it.of(AuditKind::VersionSettled).len(), 1, "{:?}", it.records);
    kinds.extend(it.kinds());

    // Away for two months, then with others.
    let mut it = Watched::known();
    for day in [60, 61, 62, 70, 71, 72] {
        let change = |call: &mut ToolCall<'_>| call.agent_group = Some("payments".into());
        it.call(f64::from(day) * DAY + OFFICE.0 * HOUR, "tool-1", change);
    }
    assert_eq!(it.of(AuditKind::KnowledgeResumed).len(), 1, "{:?}", it.records);
    kinds.extend(it.kinds());

    // A tool that is used on, many that push it out, and a person's word about one.
    let mut it = Watched::known();
    it.rules.limits.tools_per_agent = 12;
    it.call(MORNING, "wire", |_| {});
    it.call(MORNING + DAY, "wire", |_| {});
    it.said = expected(subjects::level(Detector::Repeat, 1_000, "equal calls"));
    for n in 0..30_u32 {
        it.call(MORNING + DAY + 60.0 + f64::from(n), "tool-1", |call| call.arguments.digest = 77);
    }
    for n in 0..30_u32 {
        it.call(MORNING + DAY + HOUR + f64::from(n), &format!("made-up-{n}"), |_| {});
    }
    kinds.extend(it.kinds());
    let missing: Vec<_> = AuditKind::ALL.iter().filter(|kind| !kinds.contains(kind)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
