//! What people have said, shared by the workers of an instance and swapped as a whole.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::detect::Expectations;

/// The board on which the words of people stand. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct VerdictBoard(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// How often the words were swapped: a reader looks at this alone, call by call.
    version: AtomicU64,
    current: Mutex<Arc<Expectations>>,
}

/// A reader's copy, renewed when the board has changed.
#[derive(Debug, Default)]
pub struct VerdictReader {
    board: VerdictBoard,
    version: u64,
    known: Arc<Expectations>,
}

impl VerdictBoard {
    /// A board that says what `expectations` say.
    #[must_use]
    pub fn of(expectations: Expectations) -> Self {
        let board = Self::default();
        board.publish(expectations);
        board
    }

    /// Puts other words in the place of those before.
    pub fn publish(&self, expectations: Expectations) {
        let inner = &self.0;
        *inner.current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(expectations);
        inner.version.fetch_add(1, Ordering::Release);
    }

    /// A reader of this board.
    #[must_use]
    pub fn reader(&self) -> VerdictReader {
        VerdictReader { board: self.clone(), ..VerdictReader::default() }
    }
}

impl VerdictReader {
    /// Looks whether the board has changed.
    pub fn refresh(&mut self) {
        let version = self.board.0.version.load(Ordering::Acquire);
        if version != self.version {
            let current = self.board.0.current.lock().unwrap_or_else(PoisonError::into_inner);
            self.known = Arc::clone(&current);
            self.version = version;
        }
    }

    /// The words as they stood at the last look.
    #[must_use]
    pub fn known(&self) -> &Expectations {
        &self.known
    }
}
