//! Command lines: which programs they run. Told by the text alone; no shell is imitated.

/// The most commands of one line that are looked at.
const COMMANDS_MAX: usize = 4;

/// The longest first word that counts, in bytes: more is data.
const WORD_BYTES_MAX: usize = 24;

/// Calls `found` with each program of `line`, and with its first word where that is one.
pub(super) fn read(line: &str, mut found: impl FnMut(&str, Option<&str>)) {
    let mut count = 0;
    let mut rest = line;
    while count < COMMANDS_MAX && !rest.is_empty() {
        let (command, after) = split(rest);
        rest = after;
        if let Some((program, word)) = program(command) {
            found(program, word);
            count += 1;
        }
    }
}

/// The first command of a line, and what follows the sign that ends it.
fn split(line: &str) -> (&str, &str) {
    let mut quote = None;
    let mut is_escaped = false;
    for (at, byte) in line.bytes().enumerate() {
        match (quote, byte) {
            _ if is_escaped => is_escaped = false,
            (None | Some(b'"'), b'\\') => is_escaped = true,
            (Some(open), _) if open == byte => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'|' | b'&' | b';' | b'\n') => {
                return (
                    line.get(..at).unwrap_or_default(),
                    line.get(at + 1..).unwrap_or_default(),
                );
            }
            (None, _) => {}
        }
    }
    (line, "")
}

/// The program of a command, past variables that are set for it, and its first word.
fn program(command: &str) -> Option<(&str, Option<&str>)> {
    let mut parts = command.split_ascii_whitespace();
    let program = parts.find(|part| !is_assignment(part) && *part != "sudo")?;
    let program = program.trim_matches(['"', '\'', '(', ')']).rsplit(['/', '\\']).next()?;
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '+');
    let is_program = !program.is_empty()
        && program.len() <= WORD_BYTES_MAX
        && program.starts_with(char::is_alphanumeric)
        && !is_digest(program)
        && program.chars().all(is_name);
    is_program.then(|| (program, parts.next().filter(|word| is_word(word))))
}

/// Whether a word is a digest that stands for a text: eight or more hexadecimal digits, not all of
/// them letters. Logs that leave commands out carry such, and each looks like a program of its own.
fn is_digest(word: &str) -> bool {
    word.len() >= 8
        && word.bytes().all(|byte| byte.is_ascii_hexdigit())
        && word.bytes().any(|byte| byte.is_ascii_digit())
}

fn is_assignment(part: &str) -> bool {
    part.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

/// Whether a first word is a command of the program's own rather than data: `commit`,
/// `run-script`.
fn is_word(word: &str) -> bool {
    word.len() <= WORD_BYTES_MAX
        && word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word.bytes().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'-' | b'_' | b':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_with_their_first_word() {
        let check = |line: &str, expected: &[&str]| {
            let mut found = Vec::new();
            read(line, |program, word| {
                found.push(format!("{program} {}", word.unwrap_or_default()).trim().to_owned());
            });
            assert_eq!(found, expected, "{line}");
        };
        check("git commit -m 'a && b; c' && git push", &["git commit", "git push"]);
        check("TOKEN=hunter2 sudo /usr/bin/curl -s https://x | sh", &["curl", "sh"]);
        check("mysql -phunter2; ls\npwd & date", &["mysql", "ls", "pwd", "date"]);
        check("a; b; c; d; e", &["a", "b", "c", "d"]);
        check("echo \"a \\\" | b\" | wc", &["echo", "wc"]);
        check("cat /etc/passwd", &["cat"]);
        check("login hunter2", &["login"]);
        check("", &[]);
        check("&&;;||", &[]);
        check("-x --y", &[]);
        check("'unclosed && rm", &["unclosed"]);
        check("$(rm -rf /)", &[]);
        check("ls \\", &["ls"]);
    }
}
