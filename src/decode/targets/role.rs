//! What the name of a key says of the values below it.

/// The longest key name looked at, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// What a value is by its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Role {
    /// The name does not tell.
    #[default]
    Plain,
    /// A password, token or key. Holds for everything below it.
    Secret,
    /// A command line. Holds for everything below it.
    Command,
    /// A file or directory.
    Path,
    /// A source repository.
    Repository,
    /// A table of a database.
    Table,
    /// A table, or the sender of a message.
    From,
    /// A moment or a span of time: its numbers are no accounts.
    Time,
}

impl Role {
    /// The role of the member of a value of this role whose name gives the role `named`.
    pub(super) const fn below(self, named: Self) -> Self {
        match self {
            Self::Secret | Self::Command => self,
            _ => named,
        }
    }

    /// The role a name gives: `apiKey`, `api_key` and `X-API-Key` are one.
    pub(super) fn of(key: &str) -> Self {
        let mut name = [0; NAME_BYTES_MAX];
        let mut words = Words::default();
        let mut length = 0;
        let mut previous = b'_';
        for byte in key.bytes().take(NAME_BYTES_MAX / 2) {
            let starts = !byte.is_ascii_alphanumeric()
                || byte.is_ascii_uppercase() && previous.is_ascii_lowercase();
            previous = byte;
            if starts {
                words.end(length);
            }
            if byte.is_ascii_alphanumeric()
                && let Some(place) = name.get_mut(length)
            {
                *place = byte.to_ascii_lowercase();
                length += 1;
            }
        }
        words.end(length);
        let part = |from: usize, to: usize| name.get(from..to).unwrap_or_default();
        let last = part(words.last, length);
        let before = part(words.before, words.last);
        Self::of_words(before, last)
    }

    /// The role two words at the end of a name give.
    fn of_words(before: &[u8], last: &[u8]) -> Self {
        if is_secret(before, last) {
            return Self::Secret;
        }
        match (before, last) {
            (b"repo" | b"repository", b"name") | (b"full", b"name") => Self::Repository,
            (b"table", b"name") => Self::Table,
            (_, b"command" | b"commands" | b"cmd" | b"script") => Self::Command,
            (
                _,
                b"path" | b"paths" | b"file" | b"files" | b"filename" | b"filenames" | b"filepath"
                | b"filepaths" | b"directory" | b"directories" | b"dir" | b"dirs" | b"dirname"
                | b"folder" | b"cwd" | b"workdir",
            )
            | (b"file" | b"dir" | b"directory" | b"folder", b"name") => Self::Path,
            (_, b"repo" | b"repos" | b"repository" | b"repositories") => Self::Repository,
            (_, b"table" | b"tables") => Self::Table,
            (b"", b"from") => Self::From,
            (
                _,
                b"ts" | b"timestamp" | b"time" | b"date" | b"datetime" | b"at" | b"since"
                | b"until" | b"epoch" | b"deadline" | b"before" | b"after" | b"ms",
            ) => Self::Time,
            _ => Self::Plain,
        }
    }
}

/// Whether a name is that of a secret. A token that pages through a list, or a count of tokens, is
/// none.
fn is_secret(before: &[u8], last: &[u8]) -> bool {
    match last {
        b"token" => {
            !matches!(before, b"page" | b"next" | b"continuation" | b"sync" | b"max" | b"cursor")
        }
        b"key" => matches!(
            before,
            b"api"
                | b"access"
                | b"secret"
                | b"private"
                | b"signing"
                | b"encryption"
                | b"auth"
                | b"ssh"
        ),
        b"code" => matches!(before, b"otp" | b"pin" | b"security" | b"verification"),
        b"password" | b"passwords" | b"passwd" | b"passphrase" | b"pwd" | b"pass" | b"secret"
        | b"secrets" | b"apikey" | b"apikeys" | b"apitoken" | b"accesstoken" | b"authtoken"
        | b"credential" | b"credentials" | b"otp" | b"totp" | b"pin" | b"cvv" | b"cvc"
        | b"authorization" | b"bearer" | b"cookie" | b"jwt" => true,
        // `passwordHash`, `secretValue`, `credential_data`.
        b"value" | b"text" | b"hash" | b"data" | b"string" | b"id" | b"confirmation" => {
            matches!(
                before,
                b"password" | b"passphrase" | b"secret" | b"credential" | b"token" | b"otp"
            )
        }
        _ => matches!(before, b"password" | b"passphrase" | b"secret"),
    }
}

/// Where the last two words of a name begin.
#[derive(Default)]
struct Words {
    before: usize,
    last: usize,
    next: usize,
}

impl Words {
    /// Notes that a word ends at `length`; an empty one is none.
    const fn end(&mut self, length: usize) {
        if length > self.next {
            (self.before, self.last) = (self.last, self.next);
            self.next = length;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(role: Role, names: &[&str]) {
        for name in names {
            assert_eq!(Role::of(name), role, "{name}");
        }
    }

    #[test]
    fn names_of_secrets_and_paths_give_their_roles_however_they_are_written() {
        check(
            Role::Secret,
            &[
                "password",
                "user_password",
                "userPassword",
                "Passwd",
                "API_KEY",
                "apiKey",
                "x-api-key",
                "token",
                "access_token",
                "accessToken",
                "client_secret",
                "otp",
                "pin",
                "pin_code",
                "credentials",
                "new_password_2",
                "secretValue",
                "Authorization",
            ],
        );
        check(
            Role::Path,
            &[
                "path",
                "file_path",
                "filePath",
                "notebook_path",
                "dir_path",
                "absolute_path",
                "AbsolutePath",
                "filename",
                "file",
                "file_name",
                "directory",
                "dir",
                "cwd",
                "source-file",
            ],
        );
    }

    #[test]
    fn other_names_give_their_roles() {
        check(Role::Repository, &["repo", "repository", "repo_name", "full_name"]);
        check(Role::Table, &["table", "table_name", "tableName", "target_table"]);
        check(Role::Command, &["command", "cmd", "script", "shell_command"]);
        check(Role::Time, &["timestamp", "created_at", "startTime", "since"]);
        check(
            Role::Plain,
            &[
                "",
                "to",
                "page_token",
                "nextPageToken",
                "max_tokens",
                "key",
                "primary_key",
                "profile",
                "pinned",
                "command_id",
                "user_name",
                "compass",
                "🔑",
                "___",
            ],
        );
        assert_eq!(Role::of("from"), Role::From);
    }

    #[test]
    fn what_is_below_a_secret_is_secret() {
        assert_eq!(Role::Secret.below(Role::of("path")), Role::Secret);
        assert_eq!(Role::Path.below(Role::of("token")), Role::Secret);
        assert_eq!(Role::Path.below(Role::of("note")), Role::Plain);
    }
}
