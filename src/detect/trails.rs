//! The calls that led up to what may become an alert: few agents have any, so they are kept apart.

use crate::alert::Evidence;
use crate::detect::agent::{ShapeBurst, keep};
use crate::event::ToolCall;
use serde::{Deserialize, Serialize};

/// What a trail leads up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trail {
    /// A loop of equal calls.
    Loop,
    /// A flood of calls.
    Flood,
    /// A burst of failures.
    Failures,
    /// A burst of denials.
    Denials,
}

/// The trails of an agent at work.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Trails {
    held: Option<Box<Held>>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Held {
    /// Which equal calls the first trail is of.
    looped: u64,
    trails: [Vec<Evidence>; 4],
    /// Argument shapes new to the agent.
    shape_burst: Option<Box<ShapeBurst>>,
}

impl Trail {
    const fn place(self) -> usize {
        match self {
            Self::Loop => 0,
            Self::Flood => 1,
            Self::Failures => 2,
            Self::Denials => 3,
        }
    }
}

impl Trails {
    /// The calls of a trail so far.
    pub(crate) fn of(&self, trail: Trail) -> &[Evidence] {
        let held = self.held.as_ref().and_then(|held| held.trails.get(trail.place()));
        held.map_or(&[], Vec::as_slice)
    }

    /// The calls of the loop `key` so far.
    pub(crate) fn of_loop(&self, key: u64) -> &[Evidence] {
        let is_it = self.held.as_ref().is_some_and(|held| held.looped == key);
        if is_it { self.of(Trail::Loop) } else { &[] }
    }

    /// Keeps one more call of a trail, while there is room.
    pub(crate) fn keep(&mut self, trail: Trail, call: &ToolCall<'_>) {
        let held = self.held.get_or_insert_default();
        if let Some(calls) = held.trails.get_mut(trail.place()) {
            keep(calls, call);
        }
    }

    /// The same for the loop `key`; the calls of another one are forgotten.
    pub(crate) fn keep_loop(&mut self, key: u64, call: &ToolCall<'_>) {
        if self.held.as_ref().is_some_and(|held| held.looped != key) {
            self.forget(Trail::Loop);
        }
        self.held.get_or_insert_default().looped = key;
        self.keep(Trail::Loop, call);
    }

    /// The burst of argument shapes under way.
    pub(crate) fn shape_burst(&self) -> Option<&ShapeBurst> {
        self.held.as_ref()?.shape_burst.as_deref()
    }

    /// The same, to be changed.
    pub(crate) fn shape_burst_mut(&mut self) -> Option<&mut ShapeBurst> {
        self.held.as_mut()?.shape_burst.as_deref_mut()
    }

    /// Begins another burst of argument shapes.
    pub(crate) fn begin_shape_burst(&mut self, burst: ShapeBurst) {
        self.held.get_or_insert_default().shape_burst = Some(Box::new(burst));
    }

    /// Forgets a trail.
    pub(crate) fn forget(&mut self, trail: Trail) {
        let Some(held) = &mut self.held else { return };
        if let Some(calls) = held.trails.get_mut(trail.place()).filter(|calls| !calls.is_empty()) {
            *calls = Vec::new();
        }
        if held.shape_burst.is_none() && held.trails.iter().all(Vec::is_empty) {
            self.held = None;
        }
    }

    /// Bytes on the heap, texts not counted.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.held.as_ref().map_or(0, |held| {
            let calls: usize = held.trails.iter().map(Vec::capacity).sum();
            let burst = held.shape_burst.as_ref();
            size_of::<Held>()
                + burst.map_or(0, |_| size_of::<ShapeBurst>())
                + (calls + burst.map_or(0, |burst| burst.trail.capacity())) * size_of::<Evidence>()
        })
    }
}
