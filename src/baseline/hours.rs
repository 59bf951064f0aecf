//! In which hours of the UTC day an agent is at work.
//!
//! Twenty-four bits, not a weekly season: agents have weeks of history, not years, and 168 counters
//! would stay empty.

use serde::{Deserialize, Serialize};

/// Calls that make an hour an active one.
const ACTIVE_CALLS: u32 = 3;

/// Days an hour must have alerted on before it becomes usual all the same.
const ACCEPTED_AFTER_DAYS: u64 = 3;

/// The hours of one agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hours {
    /// Days on which an hour alerted, up to three: two bits each, twelve hours a word.
    alerted_days: [u32; 2],
    /// Hours with history, one bit each; so below.
    known: u32,
    active_today: u32,
    alerted_today: u32,
    current: i32,
    current_calls: u32,
}

impl Hours {
    /// Counts one call in the hour `hour` (since the Unix epoch); returns how many that hour has by
    /// now. A call of an earlier hour than the newest is not counted.
    pub fn add(&mut self, hour: i64) -> u32 {
        let hour = i32::try_from(hour).unwrap_or(0);
        if hour < self.current {
            return 0;
        }
        if hour > self.current {
            self.current = hour;
            self.current_calls = 0;
        }
        self.current_calls = self.current_calls.saturating_add(1);
        self.current_calls
    }

    /// Whether the current hour is one in which this agent was never at work, on any day: neither
    /// in it nor in the hour before or after, nor next to an hour it was at work in today.
    #[must_use]
    pub fn is_strange(&self) -> bool {
        let hour = self.hour_of_day();
        let around = [hour, (hour + 1) % 24, (hour + 23) % 24];
        around.iter().all(|h| (self.known | self.active_today) & (1 << h) == 0)
    }

    /// Learns that the current hour is one of work, once there are enough calls in it.
    pub fn learn(&mut self) {
        if self.current_calls >= ACTIVE_CALLS {
            self.active_today |= 1 << self.hour_of_day();
        }
    }

    /// Notes that the current hour alerted. What alerts on three different days is learned; returns
    /// on how many it did, when that is now.
    pub fn note_alert(&mut self) -> Option<u64> {
        let hour = self.hour_of_day();
        let bit = 1 << hour;
        if self.alerted_today & bit != 0 {
            return None;
        }
        self.alerted_today |= bit;
        let place = 2 * (hour % 12);
        let word = usize::from(hour >= 12);
        let known = self.alerted_days.get(word).map_or(0, |days| days >> place & 3);
        let alerted = u64::from(known) + 1;
        let is_accepted = alerted >= ACCEPTED_AFTER_DAYS && self.known & bit == 0;
        if is_accepted {
            self.known |= bit;
        }
        if let Some(days) = self.alerted_days.get_mut(word) {
            *days &= !(3 << place);
            *days |= (known + 1).min(3) << place;
        }
        is_accepted.then_some(alerted)
    }

    /// How often it alerted, each hour counted once a day and three times at most.
    #[must_use]
    pub fn alerts(&self) -> u64 {
        let hours =
            |days: &u32| (0..12).map(|place| u64::from(days >> (2 * place) & 3)).sum::<u64>();
        self.alerted_days.iter().map(hours).sum()
    }

    /// Ends a day: its active hours become history.
    pub fn end_day(&mut self) {
        self.known |= self.active_today;
        self.active_today = 0;
        self.alerted_today = 0;
    }

    /// The hours with history as ranges of the UTC day: `08-12, 14-18`; empty without history.
    #[must_use]
    pub fn usual(&self) -> String {
        let mut ranges: Vec<(usize, usize)> = Vec::new();
        for hour in (0_usize..24).filter(|hour| self.known & (1 << hour) != 0) {
            match ranges.last_mut() {
                Some(range) if range.1 == hour => range.1 = hour + 1,
                _ => ranges.push((hour, hour + 1)),
            }
        }
        let texts: Vec<String> =
            ranges.iter().map(|(from, to)| format!("{from:02}-{to:02}")).collect();
        texts.join(", ")
    }

    /// The hours of today that were never hours of work, nor next to one: one bit each. 0 without
    /// history.
    #[must_use]
    pub fn new_today(&self) -> u32 {
        let is_known = |hour: usize| self.known & (1 << (hour % 24)) != 0;
        if !self.is_known() {
            return 0;
        }
        (0..24)
            .filter(|hour| self.active_today & (1 << hour) != 0)
            .filter(|hour| ![*hour, hour + 1, hour + 23].iter().any(|near| is_known(*near)))
            .fold(0, |bits, hour| bits | 1 << hour)
    }

    /// Whether any hour has history.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.known != 0
    }

    fn hour_of_day(&self) -> usize {
        usize::try_from(self.current.rem_euclid(24)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(hours: &mut Hours, hour: i64, calls: u32) {
        for _ in 0..calls {
            hours.add(hour);
            hours.learn();
        }
    }

    #[test]
    fn an_hour_far_from_all_work_is_strange_and_its_neighbours_are_not() {
        let mut hours = Hours::default();
        work(&mut hours, 10, 3);
        hours.end_day();
        let strange: Vec<i64> = (24..48)
            .filter(|hour| {
                let mut later = hours;
                later.add(*hour);
                later.is_strange()
            })
            .map(|hour| hour - 24)
            .collect();
        assert_eq!(strange.len(), 21);
        assert!(!strange.contains(&9) && !strange.contains(&10) && !strange.contains(&11));
    }

    #[test]
    fn an_evening_that_runs_on_is_not_strange() {
        let mut hours = Hours::default();
        work(&mut hours, 10, 3);
        hours.end_day();
        work(&mut hours, 24 + 15, 3);
        hours.add(24 + 16);
        assert!(!hours.is_strange());
    }

    #[test]
    fn two_calls_do_not_make_an_active_hour() {
        let mut hours = Hours::default();
        work(&mut hours, 10, 2);
        hours.end_day();
        assert_eq!(hours.usual(), "");
    }

    #[test]
    fn what_alerts_on_three_days_becomes_usual() {
        let mut hours = Hours::default();
        for day in 0..3 {
            hours.add(day * 24 + 3);
            assert!(hours.is_strange());
            hours.note_alert();
            hours.note_alert();
            hours.end_day();
        }
        assert_eq!(hours.alerts(), 3);
        hours.add(3 * 24 + 3);
        assert!(!hours.is_strange());
    }

    #[test]
    fn usual_hours_read_as_ranges() {
        let mut hours = Hours::default();
        for hour in [8, 9, 14] {
            work(&mut hours, hour, 3);
        }
        hours.end_day();
        assert_eq!(hours.usual(), "08-10, 14-15");
    }
}
