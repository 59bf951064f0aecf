//! Values told by shape: accounts, telephone numbers, moments, numbers, paths, names.

/// The fewest and most digits of an account that is a bare number.
pub(super) const ACCOUNT_DIGITS: std::ops::RangeInclusive<usize> = 9..=19;

/// The longest identifier, and the longest few words, in bytes.
const SHORT_BYTES_MAX: usize = 40;

/// The most words of "a few words".
const WORDS_MAX: usize = 5;

/// Which sorts of characters a text holds: a set of bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sorts(u16);

impl Sorts {
    pub(super) const LETTER: Self = Self(1);
    pub(super) const DIGIT: Self = Self(1 << 1);
    pub(super) const AT: Self = Self(1 << 2);
    pub(super) const COLON: Self = Self(1 << 3);
    pub(super) const SLASH: Self = Self(1 << 4);
    pub(super) const DOT: Self = Self(1 << 5);
    pub(super) const SPACE: Self = Self(1 << 6);
    pub(super) const BACKSLASH: Self = Self(1 << 7);
    /// `-`, `_` and `#`, as in identifiers.
    pub(super) const JOINT: Self = Self(1 << 8);
    /// `+`, `(`, `)`, as in telephone numbers.
    pub(super) const DIAL: Self = Self(1 << 9);
    /// Anything else.
    pub(super) const OTHER: Self = Self(1 << 10);

    const fn of_byte(byte: u8) -> Self {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | 0x80.. => Self::LETTER,
            b'0'..=b'9' => Self::DIGIT,
            b'@' => Self::AT,
            b':' => Self::COLON,
            b'/' => Self::SLASH,
            b'.' => Self::DOT,
            b' ' | b'\t' | b'\n' | b'\r' => Self::SPACE,
            b'\\' => Self::BACKSLASH,
            b'-' | b'_' | b'#' => Self::JOINT,
            b'+' | b'(' | b')' => Self::DIAL,
            _ => Self::OTHER,
        }
    }

    #[expect(clippy::indexing_slicing, reason = "the compiler computes it, and the index is in it")]
    const fn table() -> [u16; 256] {
        let mut table = [0; 256];
        let (mut index, mut byte) = (0, 0_u8);
        while index < 256 {
            table[index] = Self::of_byte(byte).0;
            index += 1;
            byte = byte.wrapping_add(1);
        }
        table
    }

    pub(super) fn of(text: &str) -> Self {
        const SORTS: [u16; 256] = Sorts::table();
        let sort = |byte: u8| SORTS.get(usize::from(byte)).copied().unwrap_or_default();
        Self(text.bytes().fold(0, |bits, byte| bits | sort(byte)))
    }

    pub(super) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether there are no sorts but `others`.
    pub(super) fn only(self, others: &[Self]) -> bool {
        self.0 & !others.iter().fold(0, |bits, other| bits | other.0) == 0
    }
}

/// Whether a word of letters and digits is an account: a long number, two letters and at least
/// eight digits, or the shape of an IBAN.
pub(super) fn is_account(word: &str) -> bool {
    let bytes = word.as_bytes();
    let digits = bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
    if digits == bytes.len() {
        return ACCOUNT_DIGITS.contains(&digits);
    }
    let is_country = bytes.iter().take(2).all(u8::is_ascii_alphabetic);
    let rest = digits + 2 == bytes.len();
    let is_check = bytes.iter().skip(2).take(2).all(u8::is_ascii_digit);
    let is_iban = (15..=34).contains(&bytes.len())
        && is_check
        && digits >= 8
        && bytes.iter().take(2).all(u8::is_ascii_uppercase)
        && bytes.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
    is_country && (rest && (8..=32).contains(&digits) || is_iban)
}

/// Whether a whole text is an account written in groups: an IBAN or a card number in fours.
pub(super) fn is_grouped_account(text: &str, compact: &str) -> bool {
    let mut groups = text.split([' ', '-']);
    let is_in_fours = groups.by_ref().take(3).all(|group| group.len() == 4);
    let is_longer = groups.next().is_some_and(|group| !group.is_empty() && group.len() <= 7);
    is_in_fours && is_longer && compact.len() >= 12 && is_account(compact)
}

/// Whether a whole text is a telephone number: `+` and 7 to 15 digits, or groups of digits as they
/// are written.
pub(super) fn is_phone(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let international = text.starts_with('+') || text.starts_with("(+");
    if !(7..=15).contains(&digits) || text.len() > 2 * digits + 4 {
        return false;
    }
    if international {
        return true;
    }
    let is_separator = |c: char| matches!(c, ' ' | '-' | '.' | '/' | '(' | ')');
    let mut lengths = text.split(is_separator).map(str::len).filter(|length| *length > 0);
    let [first, second, third, fourth] = std::array::from_fn(|_| lengths.next().unwrap_or(0));
    let has_area = text.starts_with('(') && (2..=5).contains(&first) && (3..=8).contains(&second);
    let in_three = (2..=4).contains(&first)
        && (3..=4).contains(&second)
        && (3..=5).contains(&third)
        && fourth == 0;
    let is_thousands = text.contains('.') && second == 3 && third == 3;
    let in_four = first <= 2 && second == 3 && third == 3 && fourth == 4;
    has_area || in_three && !is_thousands || in_four
}

/// Whether a text is, or begins with, a date or a time of day.
pub(super) fn is_moment(text: &str) -> bool {
    let (first, rest) = digits(text);
    match (first, rest.bytes().next()) {
        (4, Some(separator @ (b'-' | b'/' | b'.'))) => {
            let (month, rest) = digits_after(rest, separator);
            let (day, rest) = digits_after(rest, separator);
            is_in(month) && (rest.is_empty() || is_in(day) && ends(rest))
        }
        (1 | 2, Some(b':')) => {
            let (minute, rest) = digits_after(rest, b':');
            minute == 2
                && (ends(rest) || rest.starts_with([':', '-', 'a', 'p', 'A', 'P', '+', 'Z']))
        }
        (1 | 2, Some(separator @ (b'-' | b'/' | b'.'))) => {
            let (month, rest) = digits_after(rest, separator);
            let (year, rest) = digits_after(rest, separator);
            is_in(month) && (year == 2 || year == 4) && ends(rest)
        }
        _ => false,
    }
}

const fn is_in(digits: usize) -> bool {
    matches!(digits, 1 | 2)
}

/// Whether a date may end before `rest`.
fn ends(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with([' ', 'T', 't', ','])
}

/// How many digits a text begins with, and what follows them.
fn digits(text: &str) -> (usize, &str) {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    (text.len() - rest.len(), rest)
}

fn digits_after(text: &str, separator: u8) -> (usize, &str) {
    let rest = text.strip_prefix(char::from(separator));
    rest.map_or((0, text), digits)
}

/// Whether a text is a number, with a sign, a currency or a percentage.
pub(super) fn is_number(text: &str) -> bool {
    let text = text.trim_start_matches(['+', '-', '$', '€', '£', '¥']).trim_end_matches(['%', '€']);
    text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b',' | b' '))
}

/// Whether a text has the shape of a path: `/a`, `~/a`, `./a`, `../a`, `C:\a`.
pub(super) fn is_path(text: &str) -> bool {
    let is_drive = || {
        let mut bytes = text.bytes();
        bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic())
            && bytes.next() == Some(b':')
            && matches!(bytes.next(), Some(b'\\' | b'/'))
    };
    let starts = text.starts_with('/')
        || text == "~"
        || text.starts_with("~/")
        || text.starts_with("./")
        || text.starts_with("../")
        || text.starts_with("\\\\")
        || is_drive();
    starts && !text.contains(char::is_whitespace)
}

/// Whether a text is `owner/name`.
pub(super) fn is_repository(text: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && part.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_'))
    };
    text.len() <= 140
        && text.split_once('/').is_some_and(|(owner, name)| is_part(owner) && is_part(name))
}

/// Whether a text is a table's name with at least `dots` dots: `orders`, `sales.orders`.
pub(super) fn is_table(text: &str, dots: usize) -> bool {
    let is_part = |part: &str| {
        let part = part.trim_matches(['"', '`', '[', ']']);
        part.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '$' | '-'))
    };
    text.len() <= 128
        && (dots..=3).contains(&text.matches('.').count())
        && text.split('.').all(is_part)
}

/// Whether a text is a short token with a digit.
pub(super) fn is_identifier(text: &str, sorts: Sorts) -> bool {
    let sorts_allowed =
        [Sorts::LETTER, Sorts::DIGIT, Sorts::COLON, Sorts::DOT, Sorts::JOINT, Sorts::SLASH];
    (2..=SHORT_BYTES_MAX).contains(&text.len())
        && sorts.has(Sorts::DIGIT)
        && sorts.only(&sorts_allowed)
        && text.starts_with(|c: char| c.is_alphanumeric() || c == '#')
}

/// Whether a text is a few words.
pub(super) fn is_words(text: &str) -> bool {
    text.len() <= 4 * SHORT_BYTES_MAX
        && text.chars().count() <= SHORT_BYTES_MAX
        && text.split_whitespace().count() <= WORDS_MAX
        && text.chars().any(char::is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(what: &str, is: impl Fn(&str) -> bool, yes: &[&str], no: &[&str]) {
        for text in yes {
            assert!(is(text), "{what}: {text}");
        }
        for text in no {
            assert!(!is(text), "not {what}: {text}");
        }
    }

    #[test]
    fn accounts_are_told_from_other_words_and_numbers() {
        check(
            "account",
            is_account,
            &["DE89370400440532013000", "GB29NWBK60161331926819", "123456789", "US12345678"],
            &["12345678", "12345678901234567890", "abcdefgh", "ABCDEFGHIJKLMNOPQ", "", "rec000123"],
        );
        let grouped = |text: &str| is_grouped_account(text, &text.replace([' ', '-'], ""));
        check(
            "grouped account",
            grouped,
            &["DE89 3704 0044 0532 0130 00", "4111 1111 1111 1111", "4111-1111-1111-1111"],
            &["1111 2222 3333", "2024-01-02", "four four four four", ""],
        );
    }

    #[test]
    fn telephone_numbers_are_told_from_dates_and_amounts() {
        check(
            "phone",
            is_phone,
            &[
                "+491701234567",
                "+1 (555) 010-4477",
                "(555) 010-4477",
                "555-010-4477",
                "555.010.4477",
                "1-800-555-0199",
                "+33 6 12 34 56 78",
            ],
            &["1000-2000", "12.345.678", "123-45-6789", "10 20", "", "+", "++++1234567++++++++"],
        );
    }

    #[test]
    fn moments_and_numbers_are_no_targets() {
        check(
            "moment",
            is_moment,
            &[
                "2024-01-05",
                "2024-01",
                "2024-01-05T10:00:00Z",
                "2024/1/5",
                "5.1.2024",
                "12:30",
                "9:05 pm",
                "09:00-17:00",
                "10:00:00Z",
                "01/02/24",
            ],
            &["2024", "1234-5678", "12", "1.2.3", "10.0.0.1", "2024-01-05x", ""],
        );
        check("number", is_number, &["1", "-1.5", "$1,200.50", "12%"], &["", "1a", "-", "v1"]);
    }

    #[test]
    fn paths_repositories_tables_and_names_are_told_by_shape() {
        check(
            "path",
            is_path,
            &["/", "/etc/passwd", "~", "~/x", "./a", "../a", "C:\\x", "c:/x", "\\\\srv\\share"],
            &["a/b", "/ and then", "~5", "C:", "", "a"],
        );
        check(
            "repository",
            is_repository,
            &["acme/ledger"],
            &["acme", "a/b/c", "/a", "a/", "a b/c"],
        );
        check("table", |text| is_table(text, 1), &["sales.orders"], &["orders", "1.2", "a..b", ""]);
        check("table", |text| is_table(text, 0), &["orders"], &["two words", ""]);
        let identifier = |text: &str| is_identifier(text, Sorts::of(text));
        check("identifier", identifier, &["rec-000123", "#42", "acc:7"], &["abc", "a 1", "1"]);
        check(
            "words",
            is_words,
            &["a few words", "ü"],
            &["a b c d e f", "---", "", &"a".repeat(41)],
        );
    }
}
