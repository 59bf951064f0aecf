//! Accounts and telephone numbers that stand in running text, in groups, as people write them.
//!
//! Prose is full of numbers, so only what can hardly be anything else counts: an IBAN whose check
//! digits are right, a number with its country's `+`, an American one whose area and exchange can
//! be ones.

use std::ops::RangeInclusive;

/// The lengths of an IBAN.
const IBAN_BYTES: RangeInclusive<usize> = 15..=34;

/// The digits of a number that begins with `+`. The shortest in use have eight; fewer than ten are
/// as likely an amount that went up.
const INTERNATIONAL_DIGITS: RangeInclusive<usize> = 10..=15;

/// What stands between two groups of digits; of two that fit, the first.
const BETWEEN: [&str; 8] = [" (", ") ", ")-", "(", ")", " ", "-", "."];

/// Calls `found` with every IBAN that is written in groups of four, without its spaces, and with
/// whether it is the whole text.
pub(super) fn ibans(text: &str, mut found: impl FnMut(&str, bool)) {
    let mut rest = text.trim();
    let whole = rest.len();
    while !rest.is_empty() {
        let (word, after) = next_word(rest);
        let head = word.trim_start_matches(is_bracket);
        let end = (is_head(head)).then(|| iban(head, after)).flatten();
        if let Some((compact, left)) = end {
            found(&compact, rest.len() == whole && left.is_empty() && head.len() == word.len());
            rest = left;
        } else {
            rest = after;
        }
    }
}

/// The longest IBAN that begins with the group `head`, and what follows it.
fn iban<'t>(head: &str, mut rest: &'t str) -> Option<(String, &'t str)> {
    let mut compact = head.to_owned();
    let mut best = None;
    loop {
        let (word, after) = next_word(rest);
        let group = word.trim_end_matches(is_mark);
        let is_group = (1..=4).contains(&group.len())
            && group.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
        if !is_group || compact.len() + group.len() > *IBAN_BYTES.end() {
            break;
        }
        compact.push_str(group);
        if IBAN_BYTES.contains(&compact.len()) && is_checked(&compact) {
            // What was cut off the last group is of the text around it.
            let left = if group.len() == word.len() { after } else { rest.get(group.len()..)? };
            best = Some((compact.clone(), left));
        }
        if group.len() < 4 || group.len() < word.len() {
            break;
        }
        rest = after;
    }
    best
}

/// Whether a group is one that an IBAN begins with: a country and two check digits.
fn is_head(group: &str) -> bool {
    matches!(group.as_bytes(), [a, b, c, d] if a.is_ascii_uppercase()
        && b.is_ascii_uppercase()
        && c.is_ascii_digit()
        && d.is_ascii_digit())
}

/// Whether the check digits of an IBAN are right: ISO 7064, MOD 97-10.
fn is_checked(iban: &str) -> bool {
    let (head, body) = iban.split_at_checked(4).unwrap_or_default();
    let rest = body.bytes().chain(head.bytes()).try_fold(0_u32, |rest, byte| match byte {
        b'0'..=b'9' => Some((rest * 10 + u32::from(byte - b'0')) % 97),
        b'A'..=b'Z' => Some((rest * 100 + u32::from(byte - b'A') + 10) % 97),
        _ => None,
    });
    rest == Some(1)
}

/// The next word, and what follows it without the white space before it.
fn next_word(text: &str) -> (&str, &str) {
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let (word, rest) = text.split_at_checked(end).unwrap_or((text, ""));
    (word, rest.trim_start())
}

const fn is_bracket(c: char) -> bool {
    matches!(c, '(' | '[' | '{' | '<' | '"' | '\'' | '`' | '*')
}

const fn is_mark(c: char) -> bool {
    is_bracket(c) || matches!(c, '.' | ',' | ';' | ':' | '!' | '?' | ')' | ']' | '}' | '>')
}

/// Calls `found` with every telephone number within a text.
pub(super) fn phones(text: &str, mut found: impl FnMut(&str)) {
    let mut from = 0;
    let mut before = None;
    while let Some(rest) = text.get(from..) {
        let Some(c) = rest.chars().next() else { return };
        let begins = matches!(c, '+' | '(' | '2'..='9') && before.is_none_or(may_stand_before);
        let length = if begins { phone(rest) } else { None };
        if let Some(number) = length.and_then(|length| rest.get(..length)) {
            found(number);
            from += number.len();
            before = number.chars().last();
        } else {
            from += c.len_utf8();
            before = Some(c);
        }
    }
}

fn may_stand_before(c: char) -> bool {
    c.is_whitespace() || is_bracket(c) || matches!(c, ':' | ',' | ';')
}

/// The length of the telephone number that a text begins with.
fn phone(text: &str) -> Option<usize> {
    let length = if text.starts_with('+') { international(text)? } else { american(text)? };
    let after = text.get(length..)?.chars().next();
    let is_over = after.is_none_or(|c| c.is_whitespace() || is_mark(c));
    is_over.then_some(length)
}

/// `+`, a country, and groups of digits with something between them that people write there.
fn international(text: &str) -> Option<usize> {
    let mut rest = text.get(1..).filter(|rest| !rest.starts_with('0'))?;
    let (mut digits, mut best) = (0, None);
    loop {
        let group = rest.bytes().take_while(u8::is_ascii_digit).count();
        digits += group;
        rest = rest.get(group..)?;
        if group == 0 || digits > *INTERNATIONAL_DIGITS.end() {
            return best;
        }
        if INTERNATIONAL_DIGITS.contains(&digits) {
            best = Some(text.len() - rest.len());
        }
        let Some(between) = BETWEEN.iter().find(|between| rest.starts_with(**between)) else {
            return best;
        };
        rest = rest.get(between.len()..)?;
    }
}

/// `(212) 555-0147` or `212-555-0147`: neither area nor exchange begins with 0 or 1.
fn american(text: &str) -> Option<usize> {
    let rest = if let Some(rest) = text.strip_prefix('(') {
        three(rest)?.strip_prefix(") ")?
    } else {
        three(text)?.strip_prefix('-')?
    };
    let rest = three(rest)?.strip_prefix('-')?;
    let is_line = rest.len() >= 4 && rest.bytes().take(4).all(|byte| byte.is_ascii_digit());
    is_line.then(|| text.len() - rest.len() + 4)
}

/// What follows three digits that an area or an exchange may be.
fn three(text: &str) -> Option<&str> {
    let mut bytes = text.bytes();
    let is_first = bytes.next().is_some_and(|byte| (b'2'..=b'9').contains(&byte));
    let are_digits = bytes.take(2).filter(u8::is_ascii_digit).count() == 2;
    if is_first && are_digits { text.get(3..) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ibans_of(text: &str) -> Vec<(String, bool)> {
        let mut all = Vec::new();
        ibans(text, |iban, is_whole| all.push((iban.to_owned(), is_whole)));
        all
    }

    fn phones_of(text: &str) -> Vec<String> {
        let mut all = Vec::new();
        phones(text, |phone| all.push(phone.to_owned()));
        all
    }

    #[test]
    fn an_iban_in_groups_is_found_with_its_check_digits_right() {
        let check = |text: &str, expected: &[(&str, bool)]| {
            let expected = expected.iter().map(|(text, is)| ((*text).to_owned(), *is));
            assert_eq!(ibans_of(text), expected.collect::<Vec<_>>(), "{text}");
        };
        let german = "DE89370400440532013000";
        check("DE89 3704 0044 0532 0130 00", &[(german, true)]);
        check(" DE89 3704 0044 0532 0130 00\n", &[(german, true)]);
        check("pay it to (DE89 3704 0044 0532 0130 00), at once", &[(german, false)]);
        check("DE89 3704 0044 0532 0130 00. 4111 were sent", &[(german, false)]);
        check("DE89 3704 0044 0532 0130 01", &[]);
        check("DE88 3704 0044 0532 0130 00", &[]);
        check("de89 3704 0044 0532 0130 00", &[]);
        check("DE89 3704", &[]);
        check("", &[]);
        check(
            "from GB29 NWBK 6016 1331 9268 19 to NO93 8601 1117 947",
            &[("GB29NWBK60161331926819", false), ("NO9386011117947", false)],
        );
        // Groups go on behind it: the part that checks is the account.
        check("NL91 ABNA 0417 1643 00 EUR", &[("NL91ABNA0417164300", false)]);
    }

    #[test]
    fn telephone_numbers_in_prose_are_found_and_other_numbers_are_not() {
        let check = |text: &str, expected: &[&str]| assert_eq!(phones_of(text), expected, "{text}");
        check("call +49 170 1234567 today", &["+49 170 1234567"]);
        check("call +491701234567. 4111 times", &["+491701234567"]);
        check("+1 2125550147, +1.212.555.0147", &["+1 2125550147", "+1.212.555.0147"]);
        check("(+1 (212) 555-0147)", &["+1 (212) 555-0147"]);
        check("tel:+33 6 12 34 56 78, or (212) 555-0147", &["+33 6 12 34 56 78", "(212) 555-0147"]);
        check("212-555-0147", &["212-555-0147"]);
        for text in [
            "",
            "+",
            "it rose by +1500000 and +12%",
            "@@ -12,7 +12,9 @@",
            "x+491701234567",
            "+491701234567x",
            "+0 170 1234567 1",
            "+12345678901234567890",
            "2024-01-05 10:00:00",
            "112-555-0147",
            "212-155-0147",
            "212-555-01478",
            "order 212-555-0147-9",
            "10.0.0.1:8080",
            "3.14159265358979",
        ] {
            check(text, &[]);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "[A-Z0-9 +().,é-]{0,80}") {
            ibans(&text, |iban, _| assert!(IBAN_BYTES.contains(&iban.len())));
            phones(&text, |phone| assert!(text.contains(phone)));
        }

        #[test]
        fn one_wrong_digit_or_two_exchanged_are_noticed(place in 4_usize..22, digit in 0_u8..10) {
            let iban = "DE89370400440532013000";
            let mut wrong = iban.to_owned();
            wrong.replace_range(place..=place, &digit.to_string());
            prop_assert_eq!(is_checked(&wrong), wrong == iban);
            let mut bytes = iban.as_bytes().to_vec();
            bytes.swap(place - 1, place);
            let exchanged = String::from_utf8(bytes).unwrap();
            prop_assert_eq!(is_checked(&exchanged), exchanged == iban);
        }
    }
}
