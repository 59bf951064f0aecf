//! Everything remembered of one agent, in two parts: a core that is always there, and what only an
//! agent at work needs, which is dropped when it rests.

use crate::alert::{EVIDENCE_MAX, Evidence, Subject};
use crate::baseline::discovery::Discoveries;
use crate::baseline::few::{Exact, Few};
use crate::baseline::float;
use crate::baseline::hours::Hours;
use crate::baseline::identity::agent_hash;
use crate::baseline::maxima::{BlockMaxima, UsualDay};
use crate::baseline::minute::MinuteRing;
use crate::baseline::peers::{Fact, GroupKey, GroupSummary, Peers};
use crate::baseline::pulse::Pulse;
use crate::baseline::realised::Excess;
use crate::baseline::recent::RecentCalls;
use crate::baseline::repeats::{RepeatShare, Repeats};
use crate::baseline::runs::Runs;
use crate::baseline::session_fit::SessionFit;
use crate::baseline::starts::Starts;
use crate::baseline::steady::Steady;
use crate::baseline::tools::Tools;
use crate::baseline::versions::Day;
use crate::baseline::window::{Sums, TenMinutes};
use crate::detect::drift::Anchors;
use crate::detect::episodes::{Open, resolve};
use crate::detect::grouping::product;
use crate::detect::peaks::Peaks;
use crate::detect::rare::Rare;
use crate::detect::repeat;
use crate::detect::session_fit::Fit;
use crate::detect::sessions::Sessions;
use crate::detect::shadow::Shadow;
use crate::detect::trails::Trails;
use crate::detect::{Judgement, Moment, Verdict};
use crate::event::{Timestamp, ToolCall};
use crate::policy::Detector;
use serde::{Deserialize, Serialize};

/// History below which an agent is still being learned: whole active days, and calls.
pub(crate) const LEARNED: (u32, u64) = (2, 200);

/// An agent rests when the hour after the one of its newest call is over. Longer than every window
/// of the live part, so that dropping it changes no verdict.
const REST_AFTER_HOURS: i64 = 2;

/// Everything remembered of one agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentState {
    /// The tenant.
    pub tenant_id: Box<str>,
    /// The agent.
    pub agent_id: Box<str>,
    /// The peer group.
    pub group: GroupKey,
    pub(crate) agent: u64,
    /// The time of the first call.
    pub(crate) since: Timestamp,
    /// The time of the newest call.
    pub(crate) newest: Timestamp,
    pub(crate) history: History,
    pub(crate) recent: RecentCalls,
    pub(crate) share: RepeatShare,
    /// The longest runs of equal calls of the days before.
    pub(crate) runs: BlockMaxima,
    /// The longest run of equal calls of today; longer ones than it can hold are alike.
    pub(crate) longest_run: u16,
    pub(crate) minutes: BlockMaxima,
    /// The busiest minute of today.
    pub(crate) busiest: u32,
    /// Tools used for the first time today.
    pub(crate) first_uses: u16,
    pub(crate) hours: Hours,
    pub(crate) tools: Tools,
    pub(crate) discoveries: Discoveries,
    /// Bursts of argument shapes new to the agent that did not alert.
    pub(crate) shape_bursts: u16,
    /// The last hour of its sub-agents that was judged, since the Unix epoch.
    pub(crate) family_hour: i32,
    pub(crate) peaks: Peaks,
    /// What the detectors reached today.
    pub(crate) shadow: Shadow,
    /// Whether today counts for the self-check: the agent was known when it began.
    pub(crate) is_day_counted: bool,
    /// What few agents have.
    pub(crate) rare: Rare,
    pub(crate) fit: Fit,
    /// Episodes of calls that fit no session that opened today.
    pub(crate) fit_told: u8,
    pub(crate) burst: Option<Box<Burst>>,
    pub(crate) open: Few<Open>,
    pub(crate) live: Option<Box<Live>>,
    /// The hours of today with a call, one bit each.
    pub(crate) hours_seen: u32,
    /// What is learned of an agent that may be steady.
    pub(crate) service: Option<Box<Service>>,
    /// What its first fortnight was like.
    pub(crate) anchors: Option<Box<Anchors>>,
    /// How much it does in an hour, for its group.
    pub(crate) pulse: Pulse,
    /// The runs it began in this hour and the one before.
    pub(crate) starts: Starts,
}

/// How much was seen of an agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct History {
    /// Calls, late ones included.
    pub(crate) calls: u64,
    /// Active days that are over.
    pub(crate) days: u32,
    /// The day since the Unix epoch.
    today: i32,
    pub(crate) calls_today: u32,
    pub(crate) usual_day: UsualDay,
}

impl History {
    /// The day of the newest call, since the Unix epoch.
    pub(crate) fn today(&self) -> i64 {
        self.today.into()
    }
}

/// The day of a time, since the Unix epoch; every [`Timestamp`] has one.
fn day_of(time: Timestamp) -> i32 {
    i32::try_from(time.day()).unwrap_or(i32::MAX)
}

/// Uses of quarantined tools close to each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Burst {
    pub(crate) weight: f64,
    pub(crate) calls: u64,
    pub(crate) started: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) has_alerted: bool,
    /// A tool that has only failed so far, and the weight its uses have not been given for that.
    pub(crate) withheld: (u64, f64),
    pub(crate) trail: Vec<Evidence>,
    /// Its first tools, with what their calls weigh; at most as many as an alert has
    /// subjects.
    pub(crate) tools: Vec<BurstTool>,
}

/// One tool of a burst.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct BurstTool {
    #[serde(with = "crate::alert::exact::subject")]
    pub(crate) subject: Subject,
    pub(crate) weight: f64,
    pub(crate) calls: u64,
}

/// Argument shapes new to an agent, close to each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ShapeBurst {
    pub(crate) weight: f64,
    pub(crate) calls: u32,
    pub(crate) started: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) has_alerted: bool,
    pub(crate) trail: Vec<Evidence>,
}

/// What is learned of an agent that may be steady.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Service {
    pub(crate) calls: Steady,
    /// Where its calls come in runs: the same of the starts of its runs.
    pub(crate) starts: Option<Box<Steady>>,
}

/// What only an agent at work needs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Live {
    pub(crate) repeats: Repeats,
    pub(crate) minute: MinuteRing,
    pub(crate) trails: Trails,
    /// The sessions under way.
    pub(crate) sessions: Sessions,
    pub(crate) runs: Runs,
    pub(crate) window: TenMinutes,
    /// Sessions, the one of the newest call last.
    pub(crate) fits: Exact<SessionFit>,
}

impl Live {
    /// Touches the memory a call needs: what lies behind a pointer first, since it takes longest.
    fn warm_up(&self) -> u64 {
        let fit = self.fits.last().map_or(0, SessionFit::warm_up);
        self.sessions.warm_up() ^ fit ^ self.runs.warm_up() ^ self.repeats.warm_up()
    }
}

impl AgentState {
    /// The state of an agent whose first call this is.
    #[must_use]
    pub fn new(call: &ToolCall<'_>) -> Self {
        Self {
            tenant_id: (*call.tenant_id).into(),
            agent_id: (*call.agent_id).into(),
            group: GroupKey::of(&call.tenant_id, product(&call.agent_id)),
            agent: agent_hash(&call.tenant_id, &call.agent_id),
            since: call.time,
            newest: call.time,
            history: History { today: day_of(call.time), ..History::default() },
            recent: RecentCalls::default(),
            share: RepeatShare::default(),
            runs: BlockMaxima::default(),
            longest_run: 0,
            minutes: BlockMaxima::default(),
            busiest: 0,
            first_uses: 0,
            hours: Hours::default(),
            tools: Tools::default(),
            discoveries: Discoveries::default(),
            shape_bursts: 0,
            family_hour: i32::MIN,
            peaks: Peaks::default(),
            shadow: Shadow::default(),
            is_day_counted: false,
            rare: Rare::default(),
            fit: Fit::default(),
            fit_told: 0,
            burst: None,
            open: Few::default(),
            live: None,
            hours_seen: 0,
            service: None,
            anchors: None,
            pulse: Pulse::default(),
            starts: Starts::default(),
        }
    }

    /// When [`crate::detect::tick`] next has something to do, if no call comes before.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        let episode = self.open.iter().map(Open::deadline).min();
        let has_trail = self
            .burst
            .as_ref()
            .is_some_and(|burst| !burst.trail.is_empty() || !burst.tools.is_empty());
        let rest = (self.live.is_some() || has_trail).then(|| self.rest_at());
        let session = self.live.as_ref().and_then(|live| live.sessions.deadline());
        let steady = self.steady().and_then(Steady::wake);
        episode.into_iter().chain(rest).chain(session).chain(steady).min()
    }

    /// How far learning has come, 0 to 1, while it goes on; `None` once the agent is known.
    #[must_use]
    pub fn learning(&self) -> Option<f64> {
        let (days, calls) = LEARNED;
        let progress = (float(self.history.days.into()) / float(days.into()))
            .min(float(self.history.calls) / float(calls));
        (progress < 1.0).then_some(progress)
    }

    /// Whether learning still goes on: the same as [`Self::learning`], for every call.
    pub(crate) const fn is_learning(&self) -> bool {
        let (days, calls) = LEARNED;
        self.history.days < days || self.history.calls < calls
    }

    /// When the agent was first seen.
    #[must_use]
    pub const fn since(&self) -> Timestamp {
        self.since
    }

    /// The time of the agent's newest call.
    #[must_use]
    pub const fn newest(&self) -> Timestamp {
        self.newest
    }

    /// Calls seen, late ones included.
    #[must_use]
    pub const fn calls(&self) -> u64 {
        self.history.calls
    }

    /// Active days that are over.
    #[must_use]
    pub const fn active_days(&self) -> u32 {
        self.history.days
    }

    /// Tools remembered.
    #[must_use]
    pub fn tools(&self) -> usize {
        self.tools.len()
    }

    /// The usual largest value of a day of each detector that judges by daily maxima, as far as it is
    /// learned.
    #[must_use]
    pub fn usual_levels(&self) -> Vec<(&'static str, f64)> {
        let minutes = (Detector::CallRate.as_str(), libm::exp(self.minutes.centre()));
        let runs = (Detector::Repeat.as_str(), libm::exp(self.runs.centre()));
        [minutes, runs].into_iter().chain(self.peaks.usual_levels()).collect()
    }

    /// Episodes that are open.
    #[must_use]
    pub fn open_episodes(&self) -> usize {
        self.open.len()
    }

    /// Bytes this state takes, its own and on the heap; texts of open episodes are counted by
    /// their number and not to the letter.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let trail = |calls: &Vec<Evidence>| calls.capacity() * size_of::<Evidence>();
        let live = self.live.as_ref().map_or(0, |live| {
            size_of::<Live>()
                + live.trails.heap_bytes()
                + live.runs.heap_bytes()
                + live.repeats.heap_bytes()
                + live.window.heap_bytes()
                + live.sessions.heap_bytes()
                + live.fits.heap_bytes()
                + live.fits.iter().map(SessionFit::heap_bytes).sum::<usize>()
        });
        let burst = self.burst.as_ref().map_or(0, |burst| {
            let tools = burst.tools.capacity() * size_of::<BurstTool>();
            size_of::<Burst>() + trail(&burst.trail) + tools
        });
        size_of::<Self>()
            + self.tenant_id.len()
            + self.agent_id.len()
            + self.tools.heap_bytes()
            + self.peaks.heap_bytes()
            + self.fit.heap_bytes()
            + self.rare.heap_bytes()
            + burst
            + live
            + self.anchors.as_ref().map_or(0, |_| size_of::<Anchors>())
            + self.service.as_ref().map_or(0, |it| {
                let starts = it.starts.as_ref().map_or(0, |_| size_of::<Steady>());
                let excess = it.calls.excess.as_ref().map_or(0, |_| size_of::<Excess>());
                size_of::<Service>() + starts + excess
            })
            + self.open.heap_bytes()
            + self.open.iter().map(Open::heap_bytes).sum::<usize>()
    }

    /// How many other agents of its product the agent has, as far as `peers` knows.
    pub(crate) fn peer_count(&self, peers: &Peers) -> u64 {
        self.peers_among(peers, peers.group(self.group))
    }

    /// The same, of a group that was looked up before.
    pub(crate) fn peers_among(&self, peers: &Peers, group: Option<&GroupSummary>) -> u64 {
        let agents = group.map_or(0, |group| group.agents);
        let since = self.rare.grouping().map_or(self.since.hour(), |group| group.since_hour);
        let is_counted = since <= peers.epoch;
        agents.saturating_sub(u64::from(is_counted))
    }

    /// Touches everything a call needs at once, so that the memory of an agent that was not seen
    /// for a while is fetched side by side instead of piece after piece.
    pub(crate) fn warm_up(&self) {
        let live = self.live.as_ref().map_or(0, |live| live.warm_up());
        let usage = self.fit.usage.as_ref().map_or(0, |usage| usage.warm_up());
        std::hint::black_box(live ^ usage ^ self.tools.warm_up());
    }

    /// The live part, made when it is not there.
    pub(crate) fn live(&mut self) -> &mut Live {
        self.live.get_or_insert_default()
    }

    /// Ends the episodes and sessions that are over at `now`.
    pub(crate) fn settle(&mut self, now: Timestamp, verdict: &mut Verdict) {
        let has_session = self.live.as_ref().is_some_and(|live| live.sessions.is_any_over(now));
        if has_session || !self.open.is_empty() {
            self.end(now, verdict);
        }
    }

    #[cold]
    fn end(&mut self, now: Timestamp, verdict: &mut Verdict) {
        if let Some(live) = &mut self.live {
            live.sessions.settle(self.agent, now, verdict);
        }
        while let Some(place) = self.first_over(now) {
            let ended = self.open.remove(place);
            verdict.alerts.extend(ended.map(|open| resolve(&open, open.deadline())));
        }
    }

    /// The episode that ended first, if one is over.
    fn first_over(&self, now: Timestamp) -> Option<usize> {
        let over = self.open.iter().enumerate().filter(|(_, open)| open.deadline() <= now);
        over.min_by_key(|(_, open)| open.deadline()).map(|(place, _)| place)
    }

    /// Drops the live part of an agent that rests at `now`.
    pub(crate) fn rest(&mut self, now: Timestamp) {
        // Within the hour nobody rests, which is found sooner than when they do.
        if now <= self.newest.plus_secs(3_600) || now < self.rest_at() {
            return;
        }
        self.live = None;
        if let Some(burst) = &mut self.burst {
            burst.trail = Vec::new();
            burst.tools = Vec::new();
        }
    }

    /// Counts a call that is not late; ends the day when it is the first of a new one.
    /// Days fade in the busiest minutes with a half-life of `half_life_days`. Returns what the last
    /// ten minutes hold with this call.
    pub(crate) fn count(
        &mut self,
        judgement: &Judgement<'_>,
        half_life_days: f64,
        verdict: &mut Verdict,
    ) -> Sums {
        let call = judgement.call;
        if self.history.calls == 0 {
            verdict.facts.push(Fact::Agent);
        }
        if judgement.moment.day > self.history.today() {
            self.end_day(half_life_days);
            self.history.today = day_of(call.time);
            verdict.facts.push(Fact::ActiveDay);
            self.begin_shadow(call.time, verdict);
        }
        self.note_return(call.time);
        self.newest = self.newest.max(call.time);
        self.history.calls += 1;
        self.history.calls_today = self.history.calls_today.saturating_add(1);
        self.peaks.note(call);
        let sums = Sums::of(call);
        self.live().window.add(call.time, &sums)
    }

    /// Whether a call at `moment`, not yet counted, is the first of its hour.
    pub(crate) fn is_first_of_hour(&self, moment: Moment) -> bool {
        self.history.calls == 0 || self.newest < Timestamp::from_hour(moment.hour)
    }

    fn end_day(&mut self, half_life_days: f64) {
        let history = &mut self.history;
        if let Some(versions) = self.rare.versions_mut() {
            versions.end_day(&Day {
                calls: history.calls_today,
                busiest: self.busiest,
                hours: self.hours.new_today(),
            });
        }
        history.days = history.days.saturating_add(1);
        history.usual_day.learn(history.calls_today, history.days);
        self.minutes.learn(self.busiest, history.calls_today, half_life_days);
        self.fit.end_day(history.calls_today, half_life_days);
        self.fit_told = 0;
        self.runs.learn_capped(
            self.longest_run.into(),
            history.calls_today,
            half_life_days,
            &repeat::LONGEST_RUN,
        );
        self.peaks.end_day(history.calls_today);
        history.calls_today = 0;
        self.longest_run = 0;
        self.busiest = 0;
        self.first_uses = 0;
        self.hours.end_day();
        self.rare.forget_audits();
    }

    fn rest_at(&self) -> Timestamp {
        Timestamp::from_hour(self.newest.hour().saturating_add(REST_AFTER_HOURS))
    }
}

/// Keeps one more sample call, while there is room.
pub(crate) fn keep(trail: &mut Vec<Evidence>, call: &ToolCall<'_>) {
    if trail.len() < EVIDENCE_MAX {
        trail.reserve_exact(1);
        trail.push(Evidence::of(call));
    }
}

/// The samples, with the triggering call as the last one.
pub(crate) fn with_trigger(trail: &[Evidence], call: &ToolCall<'_>) -> Vec<Evidence> {
    let trigger = Evidence::of(call);
    let mut samples: Vec<Evidence> = trail
        .iter()
        .filter(|sample| sample.call_id != trigger.call_id)
        .take(EVIDENCE_MAX - 1)
        .cloned()
        .collect();
    samples.push(trigger);
    samples
}
