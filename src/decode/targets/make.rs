//! Makes a target of each kind: its normal form, and the hashes of it.

use crate::decode::targets::hash::Salt;
use crate::decode::targets::hosts::{self, Url};
use crate::decode::targets::letters::letters;
use crate::decode::targets::{Finder, Place};
use crate::event::{Shown, Target, TargetKind};

/// The fewest letters and digits of a mailbox whose name alone tells something.
const MAILBOX_BYTES_MIN: usize = 5;

/// The fewest letters and digits of a file's name, likewise.
const FILE_NAME_BYTES_MIN: usize = 4;

impl Finder {
    /// A password, token or key. Its text is hashed as it is, and never shown.
    pub(super) fn secret(&mut self, place: Place, text: &str) {
        let target = self.target(place, TargetKind::Secret, text);
        let stem = self.stem(text);
        self.push(Target { is_whole: true, stem, ..target });
    }

    /// A value whose normal form is its text in lower case, white space made even.
    pub(super) fn plain(
        &mut self,
        place: Place,
        kind: TargetKind,
        (text, is_whole): (&str, bool),
        scratch: &mut String,
    ) {
        let text = match kind {
            TargetKind::Repository => text.strip_suffix(".git").unwrap_or(text),
            _ => text,
        };
        let stem = self.stem(text);
        lower_even(text, scratch);
        let target = self.target(place, kind, scratch);
        self.push(Target { is_whole, stem, shown: self.shown(scratch), ..target });
    }

    /// An account, of which only the end is shown.
    pub(super) fn account(
        &mut self,
        place: Place,
        (text, is_whole): (&str, bool),
        scratch: &mut String,
    ) {
        let stem = self.stem(text);
        lower(text, scratch);
        let target = self.target(place, TargetKind::Account, scratch);
        let country = text.get(..2).filter(|head| head.bytes().all(|b| b.is_ascii_alphabetic()));
        let end = text.len().checked_sub(4).and_then(|at| text.get(at..)).unwrap_or_default();
        scratch.clear();
        scratch.push_str(country.unwrap_or_default());
        scratch.push('…');
        scratch.push_str(end);
        self.push(Target { is_whole, stem, shown: self.shown(scratch), ..target });
    }

    /// A telephone number; its normal form is its digits.
    pub(super) fn phone(&mut self, place: Place, (text, is_whole): (&str, bool)) {
        let stem = self.stem(text);
        let value = self.lens.key.value(&self.letters);
        let target = self.target_of(place, TargetKind::Phone, value);
        self.push(Target { is_whole, stem, shown: self.shown(text), ..target });
    }

    /// An e-mail address.
    pub(super) fn email(
        &mut self,
        place: Place,
        (mailbox, domain, is_whole): (&str, &str, bool),
        scratch: &mut String,
    ) {
        let stem = self.stem(mailbox);
        let near = if self.letters.len() >= MAILBOX_BYTES_MIN {
            self.lens.key.salted(Salt::Mailbox, &self.letters)
        } else {
            0
        };
        lower(domain, scratch);
        let (is_freemail, is_reserved) = (hosts::is_freemail(scratch), hosts::is_reserved(scratch));
        let domain_hash = self.lens.key.value(&*scratch);
        lower(mailbox, scratch);
        scratch.push('@');
        lower_more(domain, scratch);
        let target = self.target(place, TargetKind::Email, scratch);
        self.push(Target {
            domain: domain_hash,
            is_freemail,
            is_reserved,
            is_whole,
            near: [near, 0],
            stem,
            shown: self.shown(scratch),
            ..target
        });
    }

    /// Where a URL or a bare host leads: the host, host and path, and the repository of a forge.
    pub(super) fn url(
        &mut self,
        place: Place,
        (url, is_whole): (Url<'_>, bool),
        scratch: &mut String,
    ) {
        self.host(place, (url.host, is_whole), scratch);
        if !url.path.is_empty() {
            lower(url.host, scratch);
            scratch.push('/');
            lower_more(url.path, scratch);
            let target = self.target(place, TargetKind::Url, scratch);
            // Paths of URLs carry tokens, so they are not shown.
            self.push(Target { is_whole, ..target });
        }
        lower(url.host, scratch);
        if hosts::is_forge(scratch) || url.path.ends_with(".git") {
            self.repository(place, url.path, scratch);
        }
    }

    /// A repository that git reaches over SSH.
    pub(super) fn git(&mut self, place: Place, (host, path): (&str, &str), scratch: &mut String) {
        self.host(place, (host, false), scratch);
        self.repository(place, path, scratch);
    }

    /// The first two parts of a path on a forge.
    fn repository(&mut self, place: Place, path: &str, scratch: &mut String) {
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        if let (Some(owner), Some(name)) = (parts.next(), parts.next()) {
            let text = format!("{owner}/{name}");
            self.plain(place, TargetKind::Repository, (&text, false), scratch);
        }
    }

    fn host(&mut self, place: Place, (host, is_whole): (&str, bool), scratch: &mut String) {
        letters(host, &mut self.letters);
        let near = self.lens.key.salted(Salt::HostLetters, &self.letters);
        let stem = self.stem(hosts::telling_label(host));
        lower(host, scratch);
        let target = self.target(place, TargetKind::Host, scratch);
        self.push(Target {
            is_whole,
            is_reserved: hosts::is_reserved(scratch),
            near: [near, 0],
            stem,
            shown: self.shown(scratch),
            ..target
        });
    }

    /// A path, the directory it lies in, and its first two parts.
    pub(super) fn path(&mut self, place: Place, text: &str, scratch: &mut String) {
        let mut path = std::mem::take(scratch);
        normal_path(text, &mut path);
        let (directory, name) = match path.rsplit_once('/') {
            Some(("", name)) => ("/", name),
            Some(parts) => parts,
            None => (".", &*path),
        };
        let key = self.lens.key;
        letters(name, &mut self.letters);
        let is_telling = self.letters.len() >= FILE_NAME_BYTES_MIN;
        let near_name = if is_telling { key.salted(Salt::FileName, &self.letters) } else { 0 };
        let near_directory =
            if directory == "." { 0 } else { key.salted(Salt::Directory, directory) };
        let bare_name = name.rsplit_once('.').map_or(name, |(bare, _)| bare);
        let stem = self.stem(if bare_name.is_empty() { name } else { bare_name });
        let target = self.target(place, TargetKind::Path, &path);
        let near = [near_name, near_directory];
        self.push(Target { is_whole: true, near, stem, shown: self.shown_end(&path), ..target });
        let target = self.target(place, TargetKind::Directory, directory);
        self.push(Target { is_whole: true, shown: self.shown_end(directory), ..target });
        if directory != "." {
            let root = first_parts(directory);
            let target = self.target(place, TargetKind::Root, root);
            self.push(Target { is_whole: true, shown: self.shown(root), ..target });
        }
        *scratch = path;
    }

    /// A program and its first word.
    pub(super) fn command(
        &mut self,
        place: Place,
        program: &str,
        word: Option<&str>,
        scratch: &mut String,
    ) {
        lower(program, scratch);
        if let Some(word) = word {
            scratch.push(' ');
            lower_more(word, scratch);
        }
        let target = self.target(place, TargetKind::Command, scratch);
        self.push(Target { shown: self.shown(scratch), ..target });
    }

    /// A target of a value whose normal form is `normal`.
    fn target(&mut self, place: Place, kind: TargetKind, normal: &str) -> Target {
        self.target_of(place, kind, self.lens.key.value(normal))
    }

    /// A target whose value has the hash `value`.
    fn target_of(&mut self, place: Place, kind: TargetKind, value: u64) -> Target {
        self.finds += 1;
        Target { kind, key: place.key(), value, ..Target::default() }
    }

    /// The hash of a name; its letters and digits are left in `letters`.
    fn stem(&mut self, text: &str) -> u32 {
        letters(text, &mut self.letters);
        self.lens.key.stem(&self.letters)
    }

    fn shown(&self, text: &str) -> Shown {
        if self.lens.shows { Shown::new(text) } else { Shown::default() }
    }

    fn shown_end(&self, text: &str) -> Shown {
        if self.lens.shows { Shown::of_end(text) } else { Shown::default() }
    }
}

/// Writes `text` in lower case.
fn lower(text: &str, out: &mut String) {
    out.clear();
    lower_more(text, out);
}

/// Appends `text` in lower case.
fn lower_more(text: &str, out: &mut String) {
    if !text.is_ascii() {
        return out.extend(text.chars().flat_map(char::to_lowercase));
    }
    let start = out.len();
    out.push_str(text);
    if let Some(added) = out.get_mut(start..) {
        added.make_ascii_lowercase();
    }
}

/// Writes `text` in lower case, with one space for each run of white space.
fn lower_even(text: &str, out: &mut String) {
    let is_even = text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_even {
        return lower(text, out);
    }
    out.clear();
    for (index, word) in text.split_whitespace().enumerate() {
        if index > 0 {
            out.push(' ');
        }
        lower_more(word, out);
    }
}

/// Writes a path in its normal form: lower case, `/` between its parts, `.` and `..` resolved as
/// far as the text alone allows.
fn normal_path(text: &str, out: &mut String) {
    out.clear();
    if text.starts_with(['/', '\\']) {
        out.push('/');
    }
    let is_ascii = text.is_ascii();
    for part in text.split(['/', '\\']) {
        match part {
            "" | "." => {}
            ".." => up(out),
            _ => {
                if !out.is_empty() && !out.ends_with('/') {
                    out.push('/');
                }
                if is_ascii {
                    out.push_str(part);
                } else {
                    lower_more(part, out);
                }
            }
        }
    }
    if is_ascii {
        out.make_ascii_lowercase();
    }
    if out.is_empty() {
        out.push('.');
    }
}

/// Takes the last part off a path, or adds `..` where there is none.
fn up(path: &mut String) {
    let last = path.rsplit('/').next().unwrap_or_default();
    let is_fixed = matches!(last, "" | ".." | "~");
    if path == "/" {
    } else if is_fixed {
        path.push_str(if path.is_empty() { ".." } else { "/.." });
    } else {
        let keep = path.rfind('/').map_or(0, |at| at.max(1));
        path.truncate(keep);
    }
}

/// The first two parts of a directory in its normal form.
fn first_parts(directory: &str) -> &str {
    let from = usize::from(directory.starts_with('/'));
    let second = directory.match_indices('/').filter(|(at, _)| *at >= from).nth(1);
    second.and_then(|(end, _)| directory.get(..end)).unwrap_or(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_lead_to_one_place_have_one_form() {
        let check = |text: &str, expected: &str| {
            let mut path = String::new();
            normal_path(text, &mut path);
            assert_eq!(path, expected, "{text}");
        };
        check("/etc//./passwd/", "/etc/passwd");
        check("/srv/../etc/passwd", "/etc/passwd");
        check("/../../etc", "/etc");
        check("./a/B.rs", "a/b.rs");
        check("a/../../b", "../b");
        check("../../b", "../../b");
        check("~/../x", "~/../x");
        check("C:\\Users\\X", "c:/users/x");
        check("/a/..", "/");
        check("a/..", ".");
        check("/", "/");
        check(".", ".");
    }

    #[test]
    fn a_root_is_the_first_two_parts() {
        assert_eq!(first_parts("/home/u/x/y"), "/home/u");
        assert_eq!(first_parts("a/b/c"), "a/b");
        assert_eq!(first_parts("a"), "a");
        assert_eq!(first_parts("/"), "/");
    }
}
