//! An alert as a person reads it on a terminal.
//!
//! Everything an agent can have written is escaped before it is laid out: an alert cannot move the
//! cursor, hide a word or turn a line around.

use crate::alert::{Alert, AlertStatus, Evidence, Expected, LearningState, Severity};
use crate::deliver::escape;

/// Columns of a line.
const WIDTH: usize = 100;

/// The columns before a row's text: two spaces, the label, a gap.
const INDENT: usize = 13;

/// Columns of a title that are shown whatever stands beside it.
const TITLE_MIN: usize = 20;

/// Sample calls that are shown.
const EVIDENCE_SHOWN: usize = 3;

const BOLD: &str = "\u{1b}[1m";
const DIM: &str = "\u{1b}[2m";
const RESET: &str = "\u{1b}[0m";

/// `alert` on a terminal: who did what, what was usual, how sure that is, where to look.
///
/// Ends with a line break. No line is longer than 100 characters, except where a single word is.
#[must_use]
pub fn render_text(alert: &Alert, color: bool) -> String {
    let mut page = Page { text: String::new(), color };
    page.head(alert);
    page.row("what", &escape(&alert.summary));
    page.row("usual", &usual(&alert.expected, alert.observed));
    page.row("since", &format!("{} to {}", escape(&alert.window.start), escape(&alert.window.end)));
    page.row("certainty", &certainty(alert));
    page.row("evidence", &evidence(&alert.evidence, alert.evidence_total));
    // The alert says it as a sentence; here the label is the beginning of that sentence.
    let counterfactual = alert.counterfactual.strip_prefix("silent if ");
    page.row("silent if", &escape(counterfactual.unwrap_or(&alert.counterfactual)));
    for link in &alert.links {
        page.row("next", &escape(link));
    }
    page.row("runbook", &escape(&alert.runbook_url));
    page.text
}

struct Page {
    text: String,
    color: bool,
}

impl Page {
    /// `FIRING  high 82  acme/billing-agent (v14)  Far more calls than usual  <date> <time>`, the
    /// title cut so that this is one line, unless the names alone fill it.
    fn head(&mut self, alert: &Alert) {
        let status = alert.status.as_str().to_uppercase();
        let version = alert.agent_version.as_deref().map(escape);
        let version = version.map(|version| format!(" ({version})")).unwrap_or_default();
        let who = format!(
            "{severity} {score:.0}  {tenant}/{agent}{version}",
            severity = alert.severity.as_str(),
            score = alert.score,
            tenant = escape(&alert.tenant_id),
            agent = escape(&alert.agent_id),
        );
        let time = moment(&escape(&alert.time));
        let taken = [&status, &who, &time].map(|part| part.chars().count() + 2).iter().sum();
        let title = shorten(&escape(&alert.title), WIDTH.saturating_sub(taken).max(TITLE_MIN));
        let lines = wrap(&format!("{who}  {title}  {time}"), status.len() + 2);
        let status = self.paint(&status, head_color(alert));
        let lines = lines.join(&format!("\n{:INDENT$}", ""));
        self.text.push_str(&format!("{status}  {lines}\n"));
    }

    /// A label and its text, folded under itself; nothing for an empty text.
    fn row(&mut self, label: &str, text: &str) {
        if text.is_empty() {
            return;
        }
        let label = self.paint(&format!("{label:<width$}", width = INDENT - 2), DIM);
        let lines = wrap(text, INDENT).join(&format!("\n{:INDENT$}", ""));
        self.text.push_str(&format!("  {label}{lines}\n"));
    }

    fn paint(&self, text: &str, style: &str) -> String {
        if self.color { format!("{style}{text}{RESET}") } else { text.to_owned() }
    }
}

const fn head_color(alert: &Alert) -> &'static str {
    match (alert.status, alert.severity) {
        (AlertStatus::Resolved, _) => "\u{1b}[32m",
        (_, Severity::Critical | Severity::High) => "\u{1b}[1;31m",
        (_, Severity::Medium) => "\u{1b}[33m",
        (_, Severity::Low | Severity::Info) => BOLD,
    }
}

fn usual(expected: &Expected, observed: f64) -> String {
    let (low, high) = (number(expected.low), number(expected.high));
    let range = if low == high { low } else { format!("{low}–{high}") };
    let (unit, basis) = (escape(&expected.unit), escape(&expected.basis));
    format!("{range} {unit} ({basis}); seen: {}", number(observed))
}

fn certainty(alert: &Alert) -> String {
    let learning = &alert.learning;
    let days = plural(u64::from(learning.active_days), "active day");
    let peers = plural(u64::from(learning.peers), "peer");
    let known = match learning.state {
        LearningState::Active => format!("{days} of history, {peers}"),
        LearningState::Learning => {
            let percent = number((learning.progress * 100.0).clamp(0.0, 100.0).round());
            format!("still learning this agent: {percent} %, {days} of history, {peers}")
        }
        LearningState::Starved => {
            format!("too little in its records to judge this well, {days} of history, {peers}")
        }
        LearningState::Stale => format!("back after a long silence, {days} of history, {peers}"),
    };
    format!("by chance {}; {known}", rarity(alert.probability))
}

/// How rare something of this probability in one active day is, in words.
fn rarity(probability: f64) -> String {
    let days = if probability > 0.0 { 1.0 / probability } else { f64::INFINITY };
    if days < 2.0 {
        "on most active days".to_owned()
    } else if days < 1e6 {
        format!("once in {} active days", number(days.round()))
    } else {
        "less than once in a million active days".to_owned()
    }
}

fn evidence(samples: &[Evidence], total: u64) -> String {
    let shown: Vec<String> = samples.iter().take(EVIDENCE_SHOWN).map(sample).collect();
    let more = total.saturating_sub(u64::try_from(shown.len()).unwrap_or(u64::MAX));
    let mut text = shown.join(", ");
    if more > 0 && !text.is_empty() {
        text.push_str(&format!(", and {more} more"));
    }
    text
}

/// `payments.transfer call_81c2 at 2026-01-05T14:03:20.000Z, calls[3]@9918231`
fn sample(it: &Evidence) -> String {
    format!(
        "{tool} {call} at {time}, {topic}[{partition}]@{offset}",
        tool = escape(&it.tool_name),
        call = escape(&it.call_id),
        time = escape(&it.time),
        topic = escape(&it.topic),
        partition = it.partition,
        offset = it.offset,
    )
}

fn plural(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// `2026-01-05T14:03:27.000Z` as `2026-01-05 14:03:27Z`; any other text as it is.
fn moment(time: &str) -> String {
    let parts = time.strip_suffix('Z').and_then(|time| time.split_once('T'));
    let Some((date, clock)) = parts else { return time.to_owned() };
    let seconds = clock.split_once('.').map_or(clock, |(seconds, _)| seconds);
    format!("{date} {seconds}Z")
}

/// At most `room` characters of `text`, which ends in `…` after a whole word where it is cut.
fn shorten(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    let cut: String = text.chars().take(room.saturating_sub(1)).collect();
    let whole = cut.rsplit_once(' ').map_or(cut.as_str(), |(words, _)| words);
    format!("{}…", whole.trim_end())
}

/// A number without decimals that say nothing.
fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    if !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Breaks `text` at spaces into lines; the first begins at column `first`, the others at
/// [`INDENT`]. A word longer than a line is broken where the line ends.
fn wrap(text: &str, first: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut room = WIDTH.saturating_sub(first);
    for word in text.split(' ') {
        let (mut word, mut length) = (word.to_owned(), word.chars().count());
        let line = lines.last().map_or(0, |line| line.chars().count());
        if line > 0 && line + 1 + length > room {
            room = WIDTH - INDENT;
            lines.push(String::new());
        } else if line > 0 {
            push(&mut lines, " ");
        }
        while length > room {
            let tail = word.chars().skip(room).collect();
            let head: String = word.chars().take(room).collect();
            push(&mut lines, &head);
            lines.push(String::new());
            length -= room;
            room = WIDTH - INDENT;
            word = tail;
        }
        push(&mut lines, &word);
    }
    for line in &mut lines {
        line.truncate(line.trim_end_matches(' ').len());
    }
    lines
}

fn push(lines: &mut [String], text: &str) {
    if let Some(line) = lines.last_mut() {
        line.push_str(text);
    }
}
