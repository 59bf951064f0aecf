//! A partition's past: whether its history is still to be found, is being learned from, or is over.
//!
//! What is read below the offset at which a partition goes live teaches and tells nobody. That
//! offset is pinned by a commit before the first record of the history is read, so whoever stops
//! while learning learns again and goes live at the same record: none is lost, none is told twice.

use std::time::Duration;

use crate::event::Timestamp;
use crate::kafka::History;
use crate::pipeline::clock::Moment;
use crate::pipeline::judge::Decision;

/// How long to wait after a question that was not answered.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// A history of which nothing more comes for this long is over, although its last offset was not
/// read: markers of transactions take up offsets and are never delivered.
const QUIET: Duration = Duration::from_secs(30);

/// Where a partition stands.
#[derive(Debug)]
enum Stage {
    /// Its history is to be found. Records that come meanwhile are passed over, and read again.
    Wanted { passed_over: Option<i64>, asked: Option<Moment> },
    /// It learns from records below `live_from`.
    /// `short_of` is the time asked for, if nothing is left from before it.
    Learning { live_from: i64, short_of: Option<Timestamp> },
    /// What it says is told.
    Live,
}

/// What to do once a partition's history is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Where to read on; `None` to read on where reading is.
    pub seek: Option<i64>,
    /// The offset to go live at; `None` when there is nothing to learn from.
    pub live_from: Option<i64>,
    /// Whether the history begins with the oldest record there is.
    pub whole: bool,
}

/// What a partition learned before it went live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learned {
    /// Alerts, changes and unreadable records that were not told.
    pub untold: u64,
    /// The append time of the oldest record read.
    pub since: Option<Timestamp>,
    /// Where reading is to go on, when nothing more could be read of what lies before.
    pub go_on: Option<i64>,
}

/// One partition's past.
#[derive(Debug)]
pub struct Past {
    stage: Stage,
    learned: Learned,
}

impl Past {
    /// A partition without a past: it is live at once.
    #[must_use]
    pub const fn none() -> Self {
        Self { stage: Stage::Live, learned: Learned { untold: 0, since: None, go_on: None } }
    }

    /// A partition that stopped while it learned: it goes live at `live_from`, as was planned.
    #[must_use]
    pub const fn until(live_from: i64) -> Self {
        let stage = Stage::Learning { live_from, short_of: None };
        Self { stage, learned: Learned { untold: 0, since: None, go_on: None } }
    }

    /// A partition whose history is to be found.
    #[must_use]
    pub const fn wanted() -> Self {
        let stage = Stage::Wanted { passed_over: None, asked: None };
        Self { stage, learned: Learned { untold: 0, since: None, go_on: None } }
    }

    /// Whether its history is to be asked for now.
    #[must_use]
    pub fn is_due(&self) -> bool {
        match &self.stage {
            Stage::Wanted { asked, .. } => asked.is_none_or(|it| it.elapsed() >= ASK_AGAIN),
            _ => false,
        }
    }

    /// Whether all that is said of it is told.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        matches!(self.stage, Stage::Live)
    }

    /// Whether the record at `offset` is to be taken in; one that is not will be read again.
    pub fn takes(&mut self, offset: i64) -> bool {
        if let Stage::Wanted { passed_over, .. } = &mut self.stage {
            passed_over.get_or_insert(offset);
            return false;
        }
        true
    }

    /// Notes a record of the history. If it is the first, and the history is shorter than asked
    /// for, returns its time.
    pub fn took(&mut self, append_ms: Option<i64>) -> Option<Timestamp> {
        let Stage::Learning { short_of, .. } = self.stage else { return None };
        if self.learned.since.is_some() {
            return None;
        }
        self.learned.since = append_ms.map(Timestamp::from_millis);
        self.learned.since.filter(|since| short_of.is_some_and(|asked| *since > asked))
    }

    /// Whether what was decided on the record at `offset` is told. What is not is counted.
    pub fn tells(&mut self, offset: i64) -> bool {
        let told = match self.stage {
            Stage::Wanted { .. } => false,
            Stage::Learning { live_from, .. } => offset >= live_from,
            Stage::Live => true,
        };
        self.learned.untold += u64::from(!told);
        told
    }

    /// Leaves only the decisions that are told.
    pub fn keep_told(&mut self, decisions: &mut Vec<Decision>) {
        if !self.is_live() {
            decisions.retain(|decision| self.tells(decision.offset));
        }
    }

    /// The cluster has not answered; it is asked again after a while.
    pub fn ask_later(&mut self) {
        if let Stage::Wanted { asked, .. } = &mut self.stage {
            *asked = Some(Moment::now());
        }
    }

    /// What to do with `history`. A partition goes live at what is committed; without that at its
    /// end, or where reading began if only what is new is wanted (`from_earliest` is false).
    #[must_use]
    pub fn plan(&self, history: &History, from_earliest: bool) -> Plan {
        let Stage::Wanted { passed_over, .. } = self.stage else {
            return Plan { seek: None, live_from: None, whole: false };
        };
        let joined = passed_over.filter(|_| !from_earliest);
        let live = history.committed.or(joined).unwrap_or(history.end).min(history.end);
        match history.begins.filter(|begins| *begins < live) {
            Some(begins) => {
                let whole = begins <= history.oldest;
                Plan { seek: Some(begins), live_from: Some(live), whole }
            }
            None => Plan { seek: passed_over, live_from: None, whole: false },
        }
    }

    /// Reading goes on as planned; the history asked for begins at `since`.
    pub fn begin(&mut self, plan: Plan, since: Timestamp) {
        let short_of = plan.whole.then_some(since);
        let learning = |live_from| Stage::Learning { live_from, short_of };
        self.stage = plan.live_from.map_or(Stage::Live, learning);
    }

    /// Goes live when everything below `judged` is judged and that is all of the history. `quiet`
    /// is for how long no record has come while none was held. Returns what was learned, once.
    pub fn go_live(&mut self, judged: Option<i64>, quiet: Option<Duration>) -> Option<Learned> {
        let Stage::Learning { live_from, .. } = self.stage else { return None };
        let reached = judged.is_some_and(|judged| judged >= live_from);
        if !reached && quiet.is_none_or(|quiet| quiet < QUIET) {
            return None;
        }
        self.stage = Stage::Live;
        self.learned.go_on = (!reached).then_some(live_from);
        Some(self.learned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SINCE: Timestamp = Timestamp::from_millis(4_000);

    const HISTORY: History = History { begins: Some(10), oldest: 3, end: 100, committed: Some(60) };

    fn planned(history: &History, from_earliest: bool, passed_over: Option<i64>) -> Plan {
        let mut past = Past::wanted();
        if let Some(offset) = passed_over {
            assert!(!past.takes(offset) && !past.takes(offset + 1), "it is read again");
        }
        past.plan(history, from_earliest)
    }

    fn learning(history: &History) -> Past {
        let mut past = Past::wanted();
        past.begin(past.plan(history, true), SINCE);
        past
    }

    #[test]
    fn a_partition_goes_live_at_its_commit_and_without_one_at_its_end() {
        let none = History { committed: None, ..HISTORY };
        let plan = |live| Plan { seek: Some(10), live_from: Some(live), whole: false };
        assert_eq!(planned(&HISTORY, true, None), plan(60));
        assert_eq!(planned(&HISTORY, false, Some(60)), plan(60));
        assert_eq!(planned(&none, true, Some(3)), plan(100));
        assert_eq!(planned(&none, false, None), plan(100));
        assert_eq!(planned(&none, false, Some(98)), plan(98), "it came after the start");
        let beyond = History { committed: Some(500), ..HISTORY };
        assert_eq!(planned(&beyond, true, None), plan(100), "the topic was made anew");
    }

    #[test]
    fn without_a_history_what_was_passed_over_is_read_again_and_told() {
        for begins in [None, Some(60), Some(70)] {
            let history = History { begins, ..HISTORY };
            let plan = planned(&history, true, Some(60));
            assert_eq!(plan, Plan { seek: Some(60), live_from: None, whole: false });
            let mut past = Past::wanted();
            past.begin(plan, SINCE);
            assert!(past.is_live() && past.takes(60) && past.tells(60));
        }
    }

    #[test]
    fn only_what_is_decided_from_the_live_offset_on_is_told() {
        let mut past = learning(&HISTORY);
        assert!(past.takes(10) && !past.tells(10) && !past.tells(59));
        assert!(past.tells(60) && past.tells(61));
        assert_eq!(past.go_live(Some(59), None), None);
        let learned = past.go_live(Some(60), None).unwrap();
        assert_eq!((learned.untold, learned.go_on), (2, None));
        assert!(past.is_live() && past.tells(59), "time that passes now is told");
        assert_eq!(past.go_live(Some(61), None), None, "it is said once");
    }

    #[test]
    fn offsets_that_are_never_delivered_do_not_keep_it_from_going_live() {
        let mut past = learning(&HISTORY);
        assert_eq!(past.go_live(Some(58), Some(QUIET - Duration::from_millis(1))), None);
        let learned = past.go_live(Some(58), Some(QUIET)).unwrap();
        assert_eq!(learned.go_on, Some(60), "it is read on from there");
    }

    #[test]
    fn a_history_that_begins_later_than_asked_is_noticed_at_its_first_record() {
        assert_eq!(learning(&HISTORY).took(Some(5_000)), None, "older records are left");
        let all = History { oldest: 10, ..HISTORY };
        assert_eq!(learning(&all).took(Some(4_000)), None, "it reaches back as far as asked");
        let mut past = learning(&all);
        assert_eq!(past.took(Some(5_000)), Some(Timestamp::from_millis(5_000)));
        assert_eq!(past.took(Some(6_000)), None, "it is said once");
        let learned = past.go_live(Some(60), None).unwrap();
        assert_eq!(learned.since, Some(Timestamp::from_millis(5_000)));
        assert_eq!(Past::none().took(Some(1)), None);
    }
}
