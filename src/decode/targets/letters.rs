//! Letters and digits of a text, in lower case: what names are compared by.

/// Letters in lower case and digits, by their byte; 0 for every other.
const LOWER: [u8; 256] = lower_table();

#[expect(clippy::indexing_slicing, reason = "the compiler computes it, and the index is below 128")]
const fn lower_table() -> [u8; 256] {
    let mut table = [0; 256];
    let (mut index, mut byte) = (0, 0_u8);
    while index < 128 {
        if byte.is_ascii_alphanumeric() {
            table[index] = byte.to_ascii_lowercase();
        }
        index += 1;
        byte += 1;
    }
    table
}

/// A letter or digit of ASCII, in lower case; `None` for any other byte.
#[inline]
pub(super) fn lower_byte(byte: u8) -> Option<u8> {
    LOWER.get(usize::from(byte)).copied().filter(|lower| *lower != 0)
}

/// Appends a character in lower case.
pub(super) fn push_lower(c: char, out: &mut Vec<u8>) {
    for lower in c.to_lowercase() {
        out.extend_from_slice(lower.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

/// Writes the letters and digits of `text`, in lower case.
pub(super) fn letters(text: &str, out: &mut Vec<u8>) {
    out.clear();
    if text.is_ascii() {
        out.extend(text.bytes().filter_map(lower_byte));
    } else {
        text.chars().filter(|c| c.is_alphanumeric()).for_each(|c| push_lower(c, out));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_those_of_any_script() {
        let check = |text: &str, expected: &str| {
            let mut found = Vec::new();
            letters(text, &mut found);
            assert_eq!(found, expected.as_bytes(), "{text}");
        };
        check("Bob.Smith-2", "bobsmith2");
        check("\u{0}~[]`@/:{", "");
        check("ÄPFEL (äpfel) 3", "äpfeläpfel3");
        check("İ", "i\u{307}");
    }
}
