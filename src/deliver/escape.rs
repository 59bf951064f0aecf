//! Texts that an agent or a receiver wrote, made safe to look at.

/// How many characters of one such text are shown.
const SHOWN_MAX: usize = 400;

/// `text` with everything invisible or active written out: control characters and escape
/// sequences, bidirectional overrides, zero-width and unassigned characters become `\u{..}`.
///
/// Quotes and backslashes stay as they are. At most 400 characters are shown, then `…`.
///
/// ```
/// assert_eq!(toolwarden::deliver::escape("rm\u{1b}[2K -rf \u{202e}txt"), r"rm\u{1b}[2K -rf \u{202e}txt");
/// ```
#[must_use]
pub fn escape(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(SHOWN_MAX));
    for (index, c) in text.chars().enumerate() {
        if index == SHOWN_MAX {
            shown.push('…');
            break;
        }
        match c {
            '"' | '\'' | '\\' => shown.push(c),
            c => shown.extend(c.escape_debug()),
        }
    }
    shown
}
