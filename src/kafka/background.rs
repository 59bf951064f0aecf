//! A thread beside the one that polls, for what has to wait for the broker: it takes work out of what
//! both can see, does it, and puts down what came of it. Whoever lets go of it waits for what is under
//! way, and no other work is begun.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// What both can see.
#[derive(Debug)]
struct Shared<S> {
    /// Work and what came of it; whether the thread is to end.
    slot: Mutex<(S, bool)>,
    changed: Condvar,
}

impl<S> Shared<S> {
    fn lock(&self) -> MutexGuard<'_, (S, bool)> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, slot: MutexGuard<'a, (S, bool)>) -> MutexGuard<'a, (S, bool)> {
        self.changed.wait(slot).unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut S) -> T) -> T {
        let changed = change(&mut self.lock().0);
        self.changed.notify_all();
        changed
    }

    /// Waits until `find` finds something; `None` once the thread is to end.
    fn find<T>(&self, find: impl Fn(&mut S) -> Option<T>) -> Option<T> {
        let mut slot = self.lock();
        while !slot.1 {
            if let Some(found) = find(&mut slot.0) {
                return Some(found);
            }
            slot = self.wait(slot);
        }
        None
    }
}

/// The thread, and what it shares with whoever holds this. It ends when dropped.
#[derive(Debug)]
pub(crate) struct Background<S> {
    shared: Arc<Shared<S>>,
    thread: Option<JoinHandle<()>>,
}

impl<S: Default + Send + 'static> Background<S> {
    /// A thread called `name` that gets its work by `take`, does it by `work`, which may wait, and hands
    /// what came of it to `put`.
    pub(crate) fn start<W, T>(
        name: &str,
        take: impl Fn(&mut S) -> Option<W> + Send + 'static,
        work: impl Fn(&W) -> T + Send + 'static,
        put: impl Fn(&mut S, W, T) + Send + 'static,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { slot: Mutex::default(), changed: Condvar::new() });
        let working = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            while let Some(found) = working.find(&take) {
                let came_of_it = work(&found);
                working.change(|slot| put(slot, found, came_of_it));
            }
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }
}

impl<S> Background<S> {
    /// Changes what both can see, and wakes whoever waits for that.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut S) -> T) -> T {
        self.shared.change(change)
    }

    /// Reads what both can see.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&S) -> T) -> T {
        read(&self.shared.lock().0)
    }

    /// Waits until `find` finds something.
    pub(crate) fn wait_for<T>(&self, find: impl Fn(&S) -> Option<T>) -> T {
        let mut slot = self.shared.lock();
        loop {
            if let Some(found) = find(&slot.0) {
                return found;
            }
            slot = self.shared.wait(slot);
        }
    }

    /// No other work is begun from here on.
    fn tell_to_end(&self) {
        self.shared.lock().1 = true;
        self.shared.changed.notify_all();
    }

    /// Ends the thread, after what is under way.
    pub(crate) fn end(&mut self) {
        self.tell_to_end();
        if let Some(thread) = self.thread.take() {
            // A panic there has been told, and there is nothing more to do.
            drop(thread.join());
        }
    }
}

impl<S> Drop for Background<S> {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn it_ends_after_what_is_under_way_and_begins_nothing_more() {
        let (begun, begins) = mpsc::channel();
        let (answer, answers) = mpsc::channel();
        let work = move |number: &u32| {
            begun.send(*number).unwrap();
            answers.recv().unwrap()
        };
        let put = |slot: &mut Vec<u32>, number, is_good: bool| {
            slot.insert(0, number * 10 + u32::from(is_good));
        };
        let mut background = Background::start(
            "test",
            |slot: &mut Vec<u32>| slot.pop_if(|last| *last < 10),
            work,
            put,
        )
        .unwrap();
        background.change(|slot| slot.push(1));
        assert_eq!(begins.recv().unwrap(), 1);
        background.change(|slot| slot.push(2));
        // Told to end before it hears, so that it cannot go on first.
        background.tell_to_end();
        answer.send(true).unwrap();
        background.end();
        background.read(|slot| assert_eq!(*slot, [11, 2], "one is done, one was not begun"));
        assert!(begins.recv().is_err());
    }

    #[test]
    fn whoever_waits_is_woken_by_what_came_of_the_work() {
        let background = Background::start(
            "test",
            |slot: &mut Vec<u32>| slot.pop_if(|last| *last < 10),
            |number| number * 10,
            |slot, _, tenfold| slot.push(tenfold),
        )
        .unwrap();
        background.change(|slot| slot.push(3));
        let done = background.wait_for(|slot| slot.last().copied().filter(|it| *it >= 10));
        assert_eq!(done, 30);
    }
}
