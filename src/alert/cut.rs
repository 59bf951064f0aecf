//! An alert that is too large for where it is to go.

use crate::alert::Alert;

/// Characters kept of a text that is cut.
const TEXT_CHARS: usize = 200;

impl Alert {
    /// The same alert with less around what it says: first without samples, then without what
    /// explains it, then without the call that caused it. `None` when all of that is gone already.
    ///
    /// Who, what, when, how bad and its identity stay whole, so it is the same word of the same
    /// episode for whoever reads it.
    #[must_use]
    pub fn cut(&self) -> Option<Self> {
        let mut cut = Self { is_cut: true, ..self.clone() };
        if !self.evidence.is_empty() {
            cut.evidence.clear();
            return Some(cut);
        }
        for text in [
            &mut cut.title,
            &mut cut.summary,
            &mut cut.counterfactual,
            &mut cut.expected.basis,
            &mut cut.expected.unit,
            &mut cut.learning.group.name,
        ] {
            shorten(text);
        }
        cut.subjects.clear();
        cut.links.clear();
        cut.tags.clear();
        if cut == *self {
            cut.trigger = None;
        }
        (cut != *self).then_some(cut)
    }
}

fn shorten(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(TEXT_CHARS) {
        text.truncate(end);
    }
}
