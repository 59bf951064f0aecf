//! The line a mistake is on, fit to print: secrets masked, control characters replaced, not too
//! long.

use crate::config::yaml::Place;

/// What stands where a secret was.
const MASK: &str = "***";

/// The longest part of a line that is printed, in characters.
const WIDTH_MAX: usize = 120;

/// Lines longer than this, in bytes, are not printed at all: nobody reads them.
const LINE_MAX: usize = 4_096;

/// Words that make a key's value secret, as a whole or as a part between `_`, `-` and `.`.
const SECRET_WORDS: [&str; 15] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "credential",
    "credentials",
    "apikey",
    "hash_key",
    "mac_key",
    "authorization",
    "private",
    "pem",
    "url",
    "uri",
];

/// A printable line and what to underline in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Snippet {
    /// The line.
    pub(super) text: String,
    /// Characters before the underlined part.
    pub(super) offset: usize,
    /// Characters underlined, at least one.
    pub(super) length: usize,
}

/// Whether values under a key may be secret. A misspelt secret is one too.
pub(super) fn is_secret_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    if ["_file", "_env", ".location", "_files"].iter().any(|end| key.ends_with(end)) {
        return false;
    }
    let near = |part: &str| {
        // Comparing takes time with the length; no misspelling is twice as long as its word.
        part.len() <= 32
            && SECRET_WORDS
                .iter()
                .any(|word| strsim::normalized_damerau_levenshtein(part, word) >= 0.7)
    };
    let contains = ["password", "passwd", "secret", "token", "credential"]
        .iter()
        .any(|word| key.contains(word));
    contains || near(&key) || key.split(['_', '-', '.', ' ']).any(near)
}

/// Masks what is secret by its form wherever it stands: `whsec_...`, and the user, path and query
/// of a URL.
pub(super) fn mask_by_form(text: &str) -> String {
    let is_end = |c: char| c.is_whitespace() || "\"'`,]}>)".contains(c);
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    loop {
        let next = [("whsec_", false), ("://", true)]
            .into_iter()
            .filter_map(|(mark, is_url)| rest.find(mark).map(|at| (at + mark.len(), is_url)))
            .min();
        let Some((head, tail, is_url)) =
            next.and_then(|(at, is_url)| rest.split_at_checked(at).map(|(h, t)| (h, t, is_url)))
        else {
            out.push_str(rest);
            return out;
        };
        out.push_str(head);
        let (word, after) =
            tail.split_at_checked(tail.find(is_end).unwrap_or(tail.len())).unwrap_or((tail, ""));
        out.push_str(&if is_url { mask_url(word) } else { MASK.to_owned() });
        rest = after;
    }
}

/// Keeps host and port of what follows `://`.
fn mask_url(word: &str) -> String {
    let (authority, path) =
        match word.find(['/', '?', '#']).and_then(|at| word.split_at_checked(at)) {
            Some((authority, path)) => (authority, path),
            None => (word, ""),
        };
    let (user, host) =
        authority.rsplit_once('@').map_or(("", authority), |(_, host)| ("***@", host));
    let path = if path.len() > 1 { "/***" } else { path };
    format!("{user}{host}{path}")
}

/// Replaces what would move the cursor or hide text.
pub(super) fn printable(c: char) -> char {
    let hides = matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    match c {
        '\t' => ' ',
        c if c.is_control() || hides => '\u{fffd}',
        c => c,
    }
}

/// A text from the file for a message: masked, printable, at most 40 characters.
pub(super) fn quote(text: &str) -> String {
    let masked = mask_by_form(text);
    let mut out: String = masked.chars().take(40).map(printable).collect();
    if masked.chars().nth(40).is_some() {
        out.push('…');
    }
    out
}

impl Snippet {
    /// The line at `place`, with everything inside `secrets` masked.
    pub(super) fn new(text: &str, place: Place, secrets: &[Place]) -> Option<Self> {
        let line = text.lines().nth(place.line.checked_sub(1)?)?;
        if line.len() > LINE_MAX {
            return None;
        }
        let chars: Vec<char> = line.trim_end().chars().collect();
        let start = (place.column.saturating_sub(1)).min(chars.len());
        let end = if place.end_line == place.line {
            place.end_column.saturating_sub(1).clamp(start, chars.len())
        } else {
            chars.len()
        };
        let mut marked = Marked::default();
        for (at, c) in chars.iter().enumerate() {
            let hidden = secrets.iter().any(|secret| secret.covers(place.line, at + 1));
            marked.push(*c, hidden, (start..end).contains(&at), at == start);
        }
        Some(marked.finish())
    }

    /// The line at `place` of a text that could not be parsed: what follows a secret-looking key on
    /// it, or on the lines before that it may continue, is masked.
    pub(super) fn unparsed(text: &str, place: Place) -> Option<Self> {
        let last = place.line.checked_sub(1)?;
        let lines: Vec<&str> = text.lines().take(place.line).collect();
        let line = lines.get(last)?;
        if line.len() > LINE_MAX {
            return None;
        }
        let secret = |line: &str| line.split([':', '{', ',', ' ', '"', '\'']).any(is_secret_key);
        let colon = line.find(':').map(|at| line.chars().count().min(at + 1));
        let hidden = match colon {
            Some(at) if secret(line) => Some(at),
            Some(_) => None,
            None => {
                lines.iter().rev().find(|line| line.contains(':')).filter(|l| secret(l)).map(|_| 0)
            }
        };
        let secrets = hidden.map(|at| Place {
            line: place.line,
            column: at + 1,
            end_line: place.line + 1,
            end_column: 1,
        });
        Self::new(text, place, secrets.as_slice())
    }
}

/// A line being masked, character by character.
#[derive(Default)]
struct Marked {
    text: String,
    hiding: bool,
    offset: Option<usize>,
    length: usize,
}

impl Marked {
    /// Adds one character.
    fn push(&mut self, c: char, hidden: bool, underlined: bool, starts: bool) {
        if starts {
            self.offset = Some(self.text.chars().count());
        }
        let before = self.text.len();
        match (hidden && c != ' ', self.hiding) {
            (true, true) => {}
            (true, false) => self.text.push_str(MASK),
            (false, _) => self.text.push(printable(c)),
        }
        self.hiding = hidden && (self.hiding || c != ' ');
        if underlined {
            self.length += self.text.get(before..).map_or(0, |added| added.chars().count());
        }
    }

    /// Cuts what is too long around the underlined part.
    fn finish(self) -> Snippet {
        let offset = self.offset.unwrap_or_else(|| self.text.chars().count());
        let masked = mask_by_form(&self.text);
        let (text, length) =
            if masked == self.text { (self.text, self.length) } else { (masked, self.length) };
        let skip = if offset > WIDTH_MAX / 2 { offset - WIDTH_MAX / 4 } else { 0 };
        let text: String = text.chars().skip(skip).take(WIDTH_MAX).collect();
        let offset = offset - skip;
        let room = text.chars().count().saturating_sub(offset);
        Snippet { text, offset, length: length.clamp(1, room.max(1)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_keys_are_known_also_when_misspelt() {
        for key in [
            "password",
            "pasword",
            "signing_secret",
            "previous_signing_secret",
            "hash_key",
            "signing-secret",
            "url",
            "Token",
            "ssl.key.pem",
            "sasl.password",
            "api_token",
        ] {
            assert!(is_secret_key(key), "{key}");
        }
        for key in ["password_file", "url_env", "brokers", "brokres", "key_file", "topic", "name"] {
            assert!(!is_secret_key(key), "{key}");
        }
    }

    #[test]
    fn secrets_are_masked_by_their_form() {
        assert_eq!(mask_by_form("a whsec_abc= b"), "a whsec_*** b");
        assert_eq!(
            mask_by_form("\"https://u:p@h.example:8443/a/b?c=d\""),
            "\"https://***@h.example:8443/***\""
        );
        assert_eq!(mask_by_form("http://h.example"), "http://h.example");
        assert_eq!(mask_by_form("plain"), "plain");
    }

    #[test]
    fn an_unparsed_secret_is_masked_on_its_line_and_where_it_goes_on() {
        let place = |line, column| Place { line, column, end_line: line, end_column: column };
        let text = "a: 1\npassword: \"hunter2\nhunter3\n";
        assert_eq!(Snippet::unparsed(text, place(2, 11)).unwrap().text, "password: ***");
        assert_eq!(Snippet::unparsed(text, place(3, 1)).unwrap().text, "***");
        assert_eq!(Snippet::unparsed(text, place(1, 1)).unwrap().text, "a: 1");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(quote("a\u{1b}[31m\u{202e}b"), "a\u{fffd}[31m\u{fffd}b");
    }
}
