//! What each detector's knowledge of one agent rests on, in words: days, tools, hours, sessions.
//! Only reads; nothing in it is judged by.

use crate::baseline::habits::Habits;
use crate::detect::agent::AgentState;
use crate::detect::{Context, version, words};
use crate::policy::Detector;

/// What `detector` knows this agent by.
pub(crate) fn grounds(context: &Context<'_>, state: &AgentState, detector: Detector) -> String {
    if let Some(days) = state.peaks.days(detector) {
        return maxima(days);
    }
    match detector {
        Detector::Repeat => maxima(state.runs.days()),
        Detector::CallRate => maxima(state.minutes.days()),
        Detector::NewTool | Detector::FirstUse => {
            let known = state.tools.adopted();
            let new = state.tools.len().saturating_sub(known);
            format!("{} of its own, {new} in quarantine", count(known, "tool"))
        }
        Detector::DormantTool => {
            let age = state.newest.day().saturating_sub(state.since.day()).max(0);
            let tools = count(state.tools.len(), "tool");
            format!("{tools}, {} since its first call", words::count(age.unsigned_abs(), "day"))
        }
        Detector::ArgumentShape if state.tools.knows_shapes() => {
            "the arguments that its tools were given".to_owned()
        }
        Detector::ArgumentShape => "no tool used often enough with arguments".to_owned(),
        Detector::UnusualHour if state.hours.is_known() => {
            format!("work at {} UTC", state.hours.usual())
        }
        Detector::UnusualHour => "too few hours of work".to_owned(),
        Detector::InjectedSession | Detector::LookAlike => sessions(context, state),
        Detector::SessionFit if state.fit.usage.is_some() => {
            let peers = words::count(state.peer_count(context.peers), "peer");
            format!("how its sessions go, and what its {peers} do")
        }
        Detector::SessionFit => "how its sessions go".to_owned(),
        Detector::RateShift | Detector::Silence => rate(state),
        Detector::Drift => anchors(state),
        Detector::Version => version_in_words(state),
        _ => active_days(state),
    }
}

fn count(number: usize, thing: &str) -> String {
    words::count(u64::try_from(number).unwrap_or(u64::MAX), thing)
}

fn active_days(state: &AgentState) -> String {
    words::count(state.history.days, "active day")
}

/// Days whose maxima are learned: old ones and short ones count in part.
fn maxima(days: f64) -> String {
    format!("the maxima of {:.1} days", words::tenth(days))
}

fn sessions(context: &Context<'_>, state: &AgentState) -> String {
    let habits = context.peers.habits(state.group);
    let (count, days) =
        habits.map_or((0, 0), |habits: &Habits| (habits.sessions(), habits.days(state.newest)));
    let (count, days) = (words::count(count, "session"), words::count(days, "day"));
    format!("{count} of its group on {days} of {}", context.rules.group_learn_days())
}

fn rate(state: &AgentState) -> String {
    match state.steady() {
        None => "not at work around the clock: judged by its days".to_owned(),
        Some(steady) => format!(
            "{:.0} calls an hour at this hour, from {}",
            steady.hourly(),
            words::count(steady.days(), "whole day")
        ),
    }
}

fn anchors(state: &AgentState) -> String {
    let Some(anchors) = &state.anchors else {
        return "no day of its first fortnight yet".to_owned();
    };
    match anchors.level() {
        Some(level) => format!("days are held to {level:.0} calls"),
        None => {
            format!("{:.0} of the 14 days of its first fortnight", 14.0 * anchors.progress())
        }
    }
}

fn version_in_words(state: &AgentState) -> String {
    let since = |since: Option<&str>| {
        let day = since.and_then(|since| since.split('T').next());
        day.map_or_else(String::new, |day| format!(" since {day}"))
    };
    match version::learning(state) {
        None => "its records name no version".to_owned(),
        Some(it) => {
            let word = match it.state {
                crate::alert::VersionState::Known => "a known version",
                crate::alert::VersionState::Probation => "a version on probation",
                crate::alert::VersionState::Unsettled => "more versions than are told apart",
            };
            format!("{word}{}", since(it.since.as_deref()))
        }
    }
}
