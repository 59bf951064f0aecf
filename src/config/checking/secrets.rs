//! Secrets out of files and variables. Their values never enter a message.

use std::fs;

use secrecy::SecretString;

use crate::config::checking::Checker;
use crate::config::problem::Code;

/// The largest secret read, in bytes.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// Where one secret may come from.
#[derive(Clone, Copy)]
pub(super) struct Origin<'a> {
    /// The mapping it is written in, as a JSON pointer.
    pub(super) pointer: &'a str,
    /// The name of the field without `_file` and `_env`.
    pub(super) name: &'a str,
    /// What `NAME_file` says.
    pub(super) file: Option<&'a str>,
    /// What `NAME_env` says.
    pub(super) env: Option<&'a str>,
}

impl Origin<'_> {
    /// The pointer of the field that is used.
    pub(super) fn field(&self) -> String {
        let end = if self.file.is_some() { "file" } else { "env" };
        format!("{}/{}_{end}", self.pointer, self.name)
    }
}

impl Checker<'_> {
    /// Reads a secret; `None` where none is named or it cannot be used, which was reported.
    pub(super) fn secret(&mut self, origin: Origin<'_>) -> Option<SecretString> {
        let (pointer, name) = (origin.field(), origin.name);
        match (origin.file, origin.env) {
            (Some(_), Some(_)) => {
                let message = format!("`{name}_file` and `{name}_env` are both given");
                self.fault(Code::Conflict, pointer, message, Some("keep one of them"));
                None
            }
            (Some(file), None) => self.secret_file(&pointer, file),
            (None, Some(variable)) => self.secret_variable(&pointer, variable),
            (None, None) => None,
        }
    }

    fn secret_file(&mut self, pointer: &str, file: &str) -> Option<SecretString> {
        let path = self.path(file);
        let shown = path.display().to_string();
        let text = match fs::metadata(&path) {
            Ok(about) if about.len() > SECRET_BYTES_MAX => {
                Err(format!("the secret file `{shown}` has more than {SECRET_BYTES_MAX} bytes"))
            }
            Ok(_) => fs::read_to_string(&path)
                .map_err(|error| format!("the secret file `{shown}` cannot be read: {error}")),
            Err(error) => Err(format!("the secret file `{shown}` cannot be read: {error}")),
        };
        match text {
            Ok(text) if text.trim().is_empty() => {
                let message = format!("the secret file `{shown}` is empty");
                self.fault(Code::UnusableSecret, pointer, message, None);
                None
            }
            Ok(text) => Some(SecretString::from(text.trim())),
            Err(message) => {
                let help = "relative paths begin at the directory of the configuration file";
                self.fault(Code::Unreadable, pointer, message, Some(help));
                None
            }
        }
    }

    fn secret_variable(&mut self, pointer: &str, variable: &str) -> Option<SecretString> {
        let shown = crate::config::snippet::quote(variable);
        let value = self.environment.get(variable);
        match value.as_deref().map(str::trim) {
            Some("") | None => {
                let message = format!("the environment variable `{shown}` is not set or empty");
                let help = "the field names a variable, it does not hold the secret";
                self.fault(Code::UnusableSecret, pointer, message, Some(help));
                None
            }
            Some(text) => Some(SecretString::from(text)),
        }
    }
}
