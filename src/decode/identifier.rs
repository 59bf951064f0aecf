//! Bounds for texts that name something. Says whether a name may enter, not what it names.

use crate::decode::{DecodeError, Reason};

/// The longest identifier, in bytes.
pub const IDENTIFIER_BYTES_MAX: usize = 256;

/// Checks that `text` can stand in a key, a log line and an alert.
///
/// # Errors
///
/// [`Reason::BadIdentifier`] when it is longer than [`IDENTIFIER_BYTES_MAX`] or holds control
/// characters or characters that turn the direction of writing.
pub(super) fn check(field: &'static str, text: &str) -> Result<(), DecodeError> {
    if text.len() > IDENTIFIER_BYTES_MAX {
        let detail = format!(
            "{field} has {} bytes; at most {IDENTIFIER_BYTES_MAX} are accepted",
            text.len()
        );
        return Err(DecodeError::new(Reason::BadIdentifier, detail));
    }
    // Nearly every identifier is plain ASCII; looking at all bytes, without stopping at the first
    // bad one, lets the compiler look at many at once.
    let unusual = text.bytes().fold(false, |any, byte| any | !matches!(byte, 0x20..=0x7e));
    if !unusual {
        return Ok(());
    }
    match text.chars().find(|c| c.is_control() || is_invisible(*c)) {
        None => Ok(()),
        Some(found) => Err(DecodeError::new(
            Reason::BadIdentifier,
            format!(
                "{field} holds the character U+{:04X}, which can hide what is written",
                u32::from(found)
            ),
        )),
    }
}

/// Characters that reorder or hide the text around them.
const fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}'
            | '\u{feff}')
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_that_can_be_shown_pass_and_others_do_not() {
        let check = |text: &str, passes: bool| {
            assert_eq!(super::check("agent_id", text).is_ok(), passes, "{text:?}");
        };
        check("claude-code@dev03", true);
        check("агент-7 ü", true);
        check(&"a".repeat(256), true);
        check(&"a".repeat(257), false);
        check("a\u{0}b", false);
        check("a\nb", false);
        check("a\u{1b}[31m", false);
        check("a\u{85}b", false);
        check("pay\u{202e}lived", false);
        check("zero\u{200b}width", false);
    }
}
