//! What a text is: by the name of its key first, then by its shape.

use crate::decode::targets::hosts::{self, Address};
use crate::decode::targets::role::Role;
use crate::decode::targets::shapes::{self, Sorts};
use crate::decode::targets::{Finder, Place, command, prose};
use crate::event::TargetKind;

/// The longest path, in bytes.
const PATH_BYTES_MAX: usize = 1 << 10;

/// What of ASCII separates pieces of a longer text: a set of bits.
const SEPARATORS: u128 = {
    let mut set = 0;
    let mut rest: &[u8] = b"\t\n\x0b\x0c\r \"'`<>()[]{},;|";
    while let [byte, after @ ..] = rest {
        set |= 1_u128 << *byte;
        rest = after;
    }
    set
};

/// Whether a character separates pieces of a longer text.
fn is_separator(c: char) -> bool {
    let code = u32::from(c);
    if code < u128::BITS { SEPARATORS >> code & 1 != 0 } else { c.is_whitespace() }
}

impl Finder {
    /// Looks at the head of a text, which is a part of it when `is_cut`.
    pub(super) fn classify(
        &mut self,
        place: Place,
        (text, is_cut): (&str, bool),
        scratch: &mut String,
    ) {
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        if place.role == Role::Secret {
            return self.secret(place, text);
        }
        self.words.add(text, self.lens.key, &mut self.letters);
        if place.role == Role::Command {
            command::read(text, |program, word| self.command(place, program, word, scratch));
            return self.embedded(place, (text, is_cut), scratch);
        }
        let sorts = Sorts::of(text);
        if !is_cut && self.by_role(place, (text, sorts), scratch) {
            return;
        }
        let found_before = self.found();
        let holds_address =
            sorts.has(Sorts::AT) || sorts.has(Sorts::DOT) || sorts.has(Sorts::SLASH);
        let is_longer = sorts.has(Sorts::SPACE) || is_cut;
        if holds_address || is_longer && sorts.has(Sorts::DIGIT) {
            self.embedded(place, (text, is_cut), scratch);
        }
        if !is_cut && self.found() == found_before {
            self.by_shape(place, (text, sorts), scratch);
        }
    }

    /// Looks at a number whose digits are `digits`.
    pub(super) fn number(&mut self, place: Place, digits: &str, scratch: &mut String) {
        if place.role == Role::Secret {
            self.secret(place, digits);
        } else {
            self.account(place, (digits, true), scratch);
        }
    }

    /// How much has been found, or found again, so far.
    const fn found(&self) -> u64 {
        self.finds
    }

    /// Whether the name of the key settles what a text is.
    fn by_role(
        &mut self,
        place: Place,
        (text, sorts): (&str, Sorts),
        scratch: &mut String,
    ) -> bool {
        let is_url = || sorts.has(Sorts::COLON) && text.contains("://");
        let has_lines = || sorts.has(Sorts::SPACE) && text.contains('\n');
        let is_path = match place.role {
            Role::Path => text.len() <= PATH_BYTES_MAX && !has_lines() && !is_url(),
            _ => shapes::is_path(text) && text.len() <= PATH_BYTES_MAX,
        };
        if is_path {
            self.path(place, text, scratch);
            return true;
        }
        let kind = match place.role {
            Role::Repository if shapes::is_repository(text) => TargetKind::Repository,
            Role::Table if shapes::is_table(text, 0) => TargetKind::Table,
            Role::From if shapes::is_table(text, 1) && hosts::bare(text).is_none() => {
                TargetKind::Table
            }
            _ => return false,
        };
        self.plain(place, kind, (text, true), scratch);
        true
    }

    /// Addresses and, in longer texts, accounts that stand within a text.
    pub(super) fn embedded(
        &mut self,
        place: Place,
        (text, is_cut): (&str, bool),
        scratch: &mut String,
    ) {
        // Whatever else it holds, a URL without white space is one.
        if !is_cut && text.contains("://") && !text.contains(char::is_whitespace) {
            return self.piece(place, (text, true), scratch);
        }
        for piece in text.split(is_separator).filter(|piece| !piece.is_empty()) {
            self.piece(place, (piece, !is_cut && piece.len() == text.len()), scratch);
        }
        self.grouped(place, (text, is_cut), scratch);
    }

    /// Accounts and telephone numbers in groups, which are no pieces without white space.
    fn grouped(&mut self, place: Place, (text, is_cut): (&str, bool), scratch: &mut String) {
        let sorts = Sorts::of(text);
        if !sorts.has(Sorts::DIGIT) || !sorts.has(Sorts::SPACE) {
            return;
        }
        prose::ibans(text, |iban, is_all| {
            self.account(place, (iban, is_all && !is_cut), scratch);
        });
        if sorts.has(Sorts::DIAL) || sorts.has(Sorts::JOINT) {
            prose::phones(text, |phone| {
                self.phone(place, (phone, !is_cut && phone.len() == text.len()));
            });
        }
    }

    /// Looks at a piece of a text without white space.
    fn piece(&mut self, place: Place, (piece, is_whole): (&str, bool), scratch: &mut String) {
        let sorts = Sorts::of(piece);
        if sorts.has(Sorts::AT) || sorts.has(Sorts::SLASH) || sorts.has(Sorts::DOT) {
            match hosts::address(piece) {
                Some(Address::Url(url)) => {
                    self.url(place, (url, is_whole), scratch);
                    self.emails(place, (url.path, false), scratch);
                    self.emails(place, (url.rest, false), scratch);
                }
                Some(Address::File(path)) => self.path(place, path, scratch),
                Some(Address::Git(host, path)) => self.git(place, (host, path), scratch),
                Some(Address::Email) => self.emails(place, (piece, is_whole), scratch),
                None => {}
            }
        } else if !is_whole && sorts.has(Sorts::DIGIT) {
            let words = piece.split([':', '=', '#', '+', '&', '?', '!', '*', '$']);
            for word in words.filter(|word| shapes::is_account(word)) {
                self.account(place, (word, false), scratch);
            }
        }
    }

    /// Every e-mail address of a text without white space.
    fn emails(&mut self, place: Place, (text, is_whole): (&str, bool), scratch: &mut String) {
        for (mailbox, domain) in hosts::emails(text) {
            let is_all = is_whole && mailbox.len() + 1 + domain.len() == text.len();
            self.email(place, (mailbox, domain, is_all), scratch);
        }
    }

    /// Looks at the shape of a whole text that holds no address.
    fn by_shape(&mut self, place: Place, (text, sorts): (&str, Sorts), scratch: &mut String) {
        if !sorts.has(Sorts::SPACE)
            && (sorts.has(Sorts::DOT) || sorts.has(Sorts::COLON))
            && !shapes::is_moment(text)
            && let Some(url) = hosts::bare(text)
        {
            return self.url(place, (url, true), scratch);
        }
        if sorts.has(Sorts::DIGIT) {
            let separators = [Sorts::DIGIT, Sorts::SPACE, Sorts::DIAL, Sorts::JOINT, Sorts::DOT];
            if shapes::is_moment(text) || place.role == Role::Time {
                return;
            }
            if shapes::is_account(text) {
                return self.account(place, (text, true), scratch);
            }
            if sorts.has(Sorts::SPACE) || sorts.has(Sorts::JOINT) {
                let compact: String = text.split([' ', '-']).collect();
                if shapes::is_grouped_account(text, &compact) {
                    return self.account(place, (&compact, true), scratch);
                }
            }
            if sorts.only(&separators) && shapes::is_phone(text) {
                return self.phone(place, (text, true));
            }
            if shapes::is_number(text) {
                return;
            }
        }
        let kind = if shapes::is_identifier(text, sorts) {
            TargetKind::Identifier
        } else if shapes::is_words(text) {
            TargetKind::Word
        } else {
            return;
        };
        self.plain(place, kind, (text, true), scratch);
    }
}
