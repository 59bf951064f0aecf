//! What is wrong with a file: one [`Problem`] a mistake, as a page for people or JSON for editors.
//!
//! A problem never carries a secret: its snippet is masked when it is made.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::config::snippet::Snippet;

/// What kind of mistake it is; the number never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// The file is not YAML.
    Syntax,
    /// The same key twice in one mapping.
    DuplicateKey,
    /// The file is larger, deeper or more repetitive than allowed.
    TooLarge,
    /// A YAML feature that is not supported here.
    Unsupported,
    /// `${NAME}` names a variable that is not set, or is malformed.
    Variable,
    /// A file, of configuration or named by it, cannot be read.
    Unreadable,
    /// A required field is not there.
    MissingField,
    /// The value is of another type.
    WrongType,
    /// The value is none of the words allowed.
    NotOneOf,
    /// The value is too small, too large, too short or too long.
    OutOfRange,
    /// No such field.
    UnknownField,
    /// The text has another form.
    Malformed,
    /// A secret is written in the file.
    LiteralSecret,
    /// Fields that contradict each other or need each other.
    Conflict,
    /// The same name or topic twice.
    Duplicate,
    /// A librdkafka property that is not to be set this way.
    OwnedProperty,
    /// A secret that was found but cannot be used.
    UnusableSecret,
    /// It does not fit the schema in a way that has no words of its own.
    Schema,
    /// A rule that is well-formed and makes no sense.
    Rule,
    /// Warning: traffic can be read on the way.
    Plaintext,
    /// Warning: the admin listener can be reached from other machines.
    Exposed,
}

impl Code {
    /// Every code in the order of the numbers, with what it means.
    pub const ALL: [(Self, &'static str, &'static str); 21] = [
        (Self::Syntax, "C001", "The file is not YAML."),
        (Self::DuplicateKey, "C002", "The same key stands twice in one mapping."),
        (Self::TooLarge, "C003", "The file is larger, deeper or more repetitive than allowed."),
        (Self::Unsupported, "C004", "A YAML feature that is not supported here."),
        (Self::Variable, "C005", "`${NAME}` is malformed or names a variable that is not set."),
        (Self::Unreadable, "C006", "A file cannot be read."),
        (Self::MissingField, "C010", "A required field is not there."),
        (Self::WrongType, "C011", "The value is of another type."),
        (Self::NotOneOf, "C012", "The value is none of the words allowed."),
        (Self::OutOfRange, "C013", "The value is too small, too large, too short or too long."),
        (Self::UnknownField, "C014", "There is no such field."),
        (Self::Malformed, "C015", "The text has another form than it must have."),
        (Self::LiteralSecret, "C016", "A secret is written in the file."),
        (Self::Conflict, "C017", "Fields contradict each other, or one needs another."),
        (Self::Duplicate, "C018", "A name or topic is used twice."),
        (Self::OwnedProperty, "C019", "A librdkafka property that is not set this way."),
        (Self::UnusableSecret, "C020", "A secret is missing, empty or of the wrong form."),
        (Self::Schema, "C021", "The file does not fit the schema."),
        (Self::Rule, "C030", "The rule is well-formed but makes no sense."),
        (Self::Plaintext, "W101", "Traffic can be read on the way."),
        (Self::Exposed, "W102", "The admin listener can be reached from other machines."),
    ];

    /// The code as printed: `C014`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(code, _, _)| *code == self).map_or("C000", |(_, name, _)| name)
    }

    /// Whether it stops anything.
    #[must_use]
    pub const fn severity(self) -> ProblemSeverity {
        match self {
            Self::Plaintext | Self::Exposed => ProblemSeverity::Warning,
            _ => ProblemSeverity::Error,
        }
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Whether a problem stops anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProblemSeverity {
    /// The file is not used.
    Error,
    /// The file is used.
    Warning,
}

/// One mistake and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What kind of mistake it is.
    pub code: Code,
    /// Whether it stops anything.
    pub severity: ProblemSeverity,
    /// The file, as it was named.
    pub file: String,
    /// The line, counted from 1; 0 where the file as a whole is meant.
    pub line: usize,
    /// The column in characters, counted from 1; 0 where the file as a whole is meant.
    pub column: usize,
    /// The field: `kafka.brokers[0]`; empty for the whole file.
    pub path: String,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The line it is on, masked.
    #[serde(skip)]
    pub(super) snippet: Option<Snippet>,
}

impl Problem {
    /// A problem of a file as a whole.
    #[must_use]
    pub fn of_file(code: Code, file: &str, message: String, help: Option<String>) -> Self {
        Self {
            code,
            severity: code.severity(),
            file: file.to_owned(),
            line: 0,
            column: 0,
            path: String::new(),
            message,
            help,
            snippet: None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            ProblemSeverity::Error => "error",
            ProblemSeverity::Warning => "warning",
        };
        writeln!(f, "{word}[{}]: {}", self.code.as_str(), self.message)?;
        let width = self.line.to_string().len();
        if self.line == 0 {
            writeln!(f, "{:width$} --> {}", "", self.file)?;
        } else {
            writeln!(f, "{:width$} --> {}:{}:{}", "", self.file, self.line, self.column)?;
        }
        if let Some(snippet) = &self.snippet {
            let carets = "^".repeat(snippet.length);
            writeln!(f, "{:width$}  |", "")?;
            writeln!(f, " {} | {}", self.line, snippet.text)?;
            writeln!(f, "{:width$}  | {:offset$}{carets}", "", "", offset = snippet.offset)?;
        }
        if let Some(help) = &self.help {
            writeln!(f, "{:width$}  = help: {help}", "")?;
        }
        Ok(())
    }
}

/// Everything that is wrong, in the order of files and lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Puts problems in order.
    #[must_use]
    pub fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| {
            (&a.file, a.line, a.column, a.code).cmp(&(&b.file, b.line, b.column, b.code))
        });
        Self(problems)
    }

    /// The problems, in order.
    #[must_use]
    pub fn as_slice(&self) -> &[Problem] {
        &self.0
    }

    /// The problems, in order.
    #[must_use]
    pub fn into_vec(self) -> Vec<Problem> {
        self.0
    }
}

/// The page for people.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
