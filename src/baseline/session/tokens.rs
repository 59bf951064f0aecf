//! The tokens of a call among those of its session.

use crate::baseline::few::Exact;
use crate::baseline::session::{TOKENS_MAX, entity, entity_token, is_token, pair_token};
use crate::event::Target;

/// Targets whose tokens are added together, since each change of the list moves it.
pub(super) const TOGETHER: usize = 8;

/// Tokens of a call that its session does not have.
#[derive(Default)]
struct Tokens {
    list: [u32; 2 * TOGETHER],
    len: usize,
}

impl Tokens {
    /// Takes one more, where with so many `known` ones there is room.
    fn push(&mut self, token: u32, known: usize) {
        let place = self.list.get_mut(self.len);
        if let Some(place) = place.filter(|_| known + self.len < TOKENS_MAX) {
            *place = token;
            self.len += 1;
        }
    }

    fn held(&self) -> &[u32] {
        self.list.get(..self.len).unwrap_or_default()
    }
}

/// Adds the tokens of at most [`TOGETHER`] targets of a call of `tool` to those of its session, as far
/// as they are new and there is room.
pub(super) fn note(known: &mut Exact<u32>, tool: u64, targets: &[Target]) {
    let mut new = Tokens::default();
    for target in targets {
        let (alone, by_tool) = is_token(target);
        if !alone {
            continue;
        }
        let entity = entity(target);
        // Whoever has named it with this tool has named it.
        let last = if by_tool { pair_token(tool, entity) } else { entity_token(entity) };
        if contains(known, last) || new.held().contains(&last) {
            continue;
        }
        if by_tool {
            let token = entity_token(entity);
            if !contains(known, token) && !new.held().contains(&token) {
                new.push(token, known.len());
            }
        }
        new.push(last, known.len());
    }
    known.extend(new.held());
}

/// Whether a token is among others: eight at a time, without a branch for each, and the newest first,
/// since most calls do what was done just before.
pub(super) fn contains(tokens: &[u32], token: u32) -> bool {
    let is_in = |some: &[u32; 8]| some.iter().fold(false, |is_in, it| is_in | (*it == token));
    match tokens.last_chunk::<8>() {
        Some(newest) => is_in(newest) || tokens.as_chunks::<8>().0.iter().any(is_in),
        None => tokens.contains(&token),
    }
}
