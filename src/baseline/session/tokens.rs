//! The tokens of a call among those of its session.

use crate::baseline::few::Exact;
use crate::baseline::session::{TOKENS_MAX, entity, entity_token, is_token, pair_token};
use crate::event::Target;

/// Targets whose tokens are added together, since each change of the list moves it.
pub(super) const TOGETHER: usize = 8;

/// A few tokens.
#[derive(Default)]
struct Tokens {
    list: [u32; 2 * TOGETHER],
    len: usize,
}

impl Tokens {
    fn push(&mut self, token: u32) {
        if let Some(place) = self.list.get_mut(self.len) {
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
    let mut some = Tokens::default();
    for target in targets {
        let entity = entity(target);
        let (alone, by_tool) = is_token(target);
        if alone {
            some.push(entity_token(entity));
        }
        if by_tool {
            some.push(pair_token(tool, entity));
        }
    }
    let mut new = Tokens::default();
    for token in some.held() {
        let is_room = known.len() + new.len < TOKENS_MAX;
        if is_room && !contains(known, *token) && !new.held().contains(token) {
            new.push(*token);
        }
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
