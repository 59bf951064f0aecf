//! Addresses within a text: URLs, e-mail addresses and bare hosts, told by shape alone.

// Parsing of addresses only: nothing here reaches a network.
use core::net::{Ipv4Addr, Ipv6Addr};

/// The longest name of a host, in bytes (RFC 1035).
const HOST_BYTES_MAX: usize = 253;

/// The most `@` of one piece of text that are looked at.
const EMAILS_MAX: usize = 32;

/// The longest name of a mailbox, in bytes (RFC 5321).
const MAILBOX_BYTES_MAX: usize = 64;

/// Domains of two letters are countries', and any of them may stand behind a bare host.
const COUNTRY_LETTERS: usize = 2;

/// The generic domains that bare hosts are known by.
const GENERIC: [&str; 40] = [
    "com", "org", "net", "edu", "gov", "mil", "int", "info", "biz", "name", "pro", "app", "dev",
    "cloud", "xyz", "online", "site", "shop", "store", "tech", "top", "club", "live", "link",
    "page", "blog", "email", "agency", "digital", "network", "systems", "internal", "local", "lan",
    "corp", "home", "onion", "example", "test", "invalid",
];

/// Endings of files that would pass for a country's domain.
const FILE_ENDINGS: [&str; 28] = [
    "rs", "py", "sh", "md", "ts", "js", "go", "rb", "kt", "hs", "cs", "vb", "pm", "so", "ps", "gz",
    "xz", "bz", "db", "tf", "mk", "jl", "hh", "mm", "lz", "7z", "ui", "el",
];

/// Domains where anybody can have a mailbox: the large public providers.
const FREEMAIL: [&str; 24] = [
    "gmail.com",
    "googlemail.com",
    "outlook.com",
    "hotmail.com",
    "live.com",
    "msn.com",
    "yahoo.com",
    "ymail.com",
    "icloud.com",
    "me.com",
    "aol.com",
    "proton.me",
    "protonmail.com",
    "pm.me",
    "tutanota.com",
    "fastmail.com",
    "zoho.com",
    "mail.com",
    "gmx.com",
    "gmx.de",
    "web.de",
    "mail.ru",
    "yandex.ru",
    "qq.com",
];

/// A URL as far as it says where it leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Url<'t> {
    /// Without `www.`, user, password and port; as written otherwise.
    pub(super) host: &'t str,
    /// Without query, fragment and the slashes around it.
    pub(super) path: &'t str,
    /// Query and fragment.
    pub(super) rest: &'t str,
}

/// What an address in a text turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Address<'t> {
    /// A URL.
    Url(Url<'t>),
    /// The path of a `file:` URL.
    File(&'t str),
    /// The place of a repository that git reaches over SSH: host and path.
    Git(&'t str, &'t str),
    /// One or more e-mail addresses.
    Email,
}

/// The address a piece of text without white space is, or holds first.
pub(super) fn address(piece: &str) -> Option<Address<'_>> {
    if let Some((scheme, after)) = piece.split_once("://") {
        let scheme = scheme.rsplit(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        if scheme.eq_ignore_ascii_case("file") {
            return Some(Address::File(after.strip_prefix("localhost").unwrap_or(after)));
        }
        return (!scheme.is_empty()).then(|| url(after).map(Address::Url)).flatten();
    }
    if piece.contains('@') {
        return git(piece).or_else(|| emails(piece).next().map(|_| Address::Email));
    }
    let start = find_www(piece)?;
    url(piece.get(start..)?).filter(|url| url.host.contains('.')).map(Address::Url)
}

/// Where `www.` begins a word of `piece`.
fn find_www(piece: &str) -> Option<usize> {
    let bytes = piece.as_bytes();
    let at = bytes.windows(4).position(|four| four.eq_ignore_ascii_case(b"www."))?;
    let begins = at.checked_sub(1).and_then(|before| bytes.get(before));
    begins.is_none_or(|byte| !byte.is_ascii_alphanumeric()).then_some(at)
}

/// Takes apart what follows the scheme of a URL.
fn url(text: &str) -> Option<Url<'_>> {
    let end = text.find(['/', '?', '#', '\\']).unwrap_or(text.len());
    let (authority, after) = text.split_at_checked(end)?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = without_port(host)?;
    let end = after.find(['?', '#']).unwrap_or(after.len());
    let (path, rest) = after.split_at_checked(end)?;
    is_host(host).then(|| Url { host: without_www(host), path: path.trim_matches('/'), rest })
}

/// A host without brackets and port.
fn without_port(host: &str) -> Option<&str> {
    if let Some(inner) = host.strip_prefix('[') {
        return inner.split_once(']').map(|(host, _)| host);
    }
    let host = host.split_once(':').map_or(host, |(host, _)| host);
    Some(host.trim_end_matches(['.', ',', ';', '!', ')']))
}

fn without_www(host: &str) -> &str {
    match host.split_at_checked(4) {
        Some((www, rest)) if www.eq_ignore_ascii_case("www.") && rest.contains('.') => rest,
        _ => host,
    }
}

/// Whether a text can name a host at all.
fn is_host(host: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_name = host.chars().all(is_part) && host.chars().any(char::is_alphanumeric);
    host.len() <= HOST_BYTES_MAX
        && (is_name && !host.contains("..") && !host.starts_with('.')
            || host.parse::<Ipv6Addr>().is_ok())
}

/// `git@host:owner/name.git`.
fn git(piece: &str) -> Option<Address<'_>> {
    let (user, after) = piece.split_once('@')?;
    let (host, path) = after.split_once(':')?;
    let is_path = path.contains('/') && (user.ends_with("git") || path.ends_with(".git"));
    (is_path && is_host(host)).then_some(Address::Git(host, path))
}

/// The e-mail addresses of `text`: mailbox and domain.
pub(super) fn emails(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.match_indices('@').take(EMAILS_MAX).filter_map(|(at, _)| email_at(text, at))
}

/// The e-mail address around the `@` at `at`.
fn email_at(text: &str, at: usize) -> Option<(&str, &str)> {
    let (before, after) = (text.get(..at)?, text.get(at + 1..)?);
    let is_mailbox = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '%' | '+' | '-');
    let start = before.rfind(|c| !is_mailbox(c));
    let mailbox = match start {
        Some(start) => before.get(start..)?.trim_start_matches(|c| !is_mailbox(c)),
        None => before,
    };
    let is_domain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-');
    let end = after.find(|c| !is_domain(c)).unwrap_or(after.len());
    let domain = after.get(..end)?.trim_end_matches(['.', '-']);
    let top = domain.rsplit_once('.').map(|(_, top)| top)?;
    let is_top = top.chars().all(char::is_alphabetic) && top.chars().nth(1).is_some();
    let is_bounded = !mailbox.is_empty() && mailbox.len() <= MAILBOX_BYTES_MAX;
    (is_top && is_bounded && is_host(domain)).then_some((mailbox, domain))
}

/// A host that stands alone, without scheme: `evil.example:8080/in`, `10.0.0.1`, `[::1]:80`.
pub(super) fn bare(text: &str) -> Option<Url<'_>> {
    if is_ipv6(text) {
        return Some(Url { host: text, path: "", rest: "" });
    }
    let url = url(text)?;
    let is_known = is_ipv6(url.host)
        || url.host.parse::<Ipv4Addr>().is_ok()
        || has_known_top(url.host, !url.path.is_empty());
    (is_known && !text.starts_with('.') && !text.contains('@')).then_some(url)
}

fn is_ipv6(text: &str) -> bool {
    // `a::b` is a path of some language, not an address.
    text.bytes().any(|byte| byte.is_ascii_digit()) && text.parse::<Ipv6Addr>().is_ok()
}

/// Whether the last label of a name is a domain that bare hosts are known by.
fn has_known_top(host: &str, has_path: bool) -> bool {
    let Some((labels, top)) = host.rsplit_once('.') else { return false };
    if !top.bytes().all(|byte| byte.is_ascii_alphabetic())
        || !labels.bytes().any(|byte| byte.is_ascii_alphanumeric())
    {
        return false;
    }
    let is_one_of = |list: &[&str]| list.iter().any(|known| top.eq_ignore_ascii_case(known));
    if top.len() == COUNTRY_LETTERS {
        has_path || !is_one_of(&FILE_ENDINGS)
    } else {
        is_one_of(&GENERIC)
    }
}

/// Whether anybody can have a mailbox at a domain, given in lower case.
pub(super) fn is_freemail(domain: &str) -> bool {
    FREEMAIL.contains(&domain)
}

/// Whether a name, given in lower case, is kept for examples and tests (RFC 2606, RFC 6761).
pub(super) fn is_reserved(host: &str) -> bool {
    let is_top = |top: &&str| {
        host.strip_suffix(*top).is_some_and(|head| head.is_empty() || head.ends_with('.'))
    };
    let reserved =
        ["example", "test", "invalid", "localhost", "example.com", "example.net", "example.org"];
    reserved.iter().any(is_top)
}

/// The label that tells most of a host, given in lower case: the longest before the last.
pub(super) fn telling_label(host: &str) -> &str {
    if host.parse::<Ipv4Addr>().is_ok() || host.contains(':') {
        return host;
    }
    let (labels, _) = host.rsplit_once('.').unwrap_or((host, ""));
    labels.split('.').rev().max_by_key(|label| label.len()).unwrap_or(host)
}

/// Whether a host, given in lower case, is a forge whose URLs begin with a repository.
pub(super) fn is_forge(host: &str) -> bool {
    ["github.com", "gitlab.com", "bitbucket.org", "codeberg.org"].contains(&host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(piece: &str) -> String {
        match address(piece) {
            Some(Address::Url(url)) => format!("url {} {}", url.host, url.path).trim().to_owned(),
            Some(Address::File(path)) => format!("file {path}"),
            Some(Address::Git(host, path)) => format!("git {host} {path}"),
            Some(Address::Email) => {
                let (mailbox, domain) = emails(piece).next().unwrap();
                format!("email {mailbox} {domain}")
            }
            None => "none".to_owned(),
        }
    }

    #[test]
    fn addresses_are_taken_apart() {
        let check = |piece: &str, expected: &str| assert_eq!(shown(piece), expected, "{piece}");
        check("https://www.Evil.io:8443/a/b/?q=1#f", "url Evil.io a/b");
        check("http://user:hunter2@evil.io/x", "url evil.io x");
        check("postgres://app:hunter2@db.acme.io:5432/orders", "url db.acme.io orders");
        check("url=https://evil.io.", "url evil.io");
        check("http://[2001:db8::1]:80/x", "url 2001:db8::1 x");
        check("http://10.0.0.1", "url 10.0.0.1");
        check("http://localhost:8080/health", "url localhost health");
        check("www.evil.io/path?x", "url evil.io path");
        check("http://${HOST}/x", "none");
        check("://x", "none");
        check("http://", "none");
        check("http://..", "none");
        check("awww.evil", "none");
        check("file:///etc/passwd", "file /etc/passwd");
        check("git@github.com:acme/ledger.git", "git github.com acme/ledger.git");
        check("mailto:bob@evil.io", "email bob evil.io");
        check("Bob.Smith+x@mail.evil.co.uk.", "email Bob.Smith+x mail.evil.co.uk");
        check("bоb@evil.io", "email bоb evil.io");
        check("ü@ü.de", "email ü ü.de");
        check("bob@evil", "none");
        check("lib@1.2.3", "none");
        check("@evil.io", "none");
        check("a@@evil.io", "none");
        check("@@@@", "none");
        check("bob@.io", "none");
    }

    #[test]
    fn bare_hosts_are_told_from_files_and_versions() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(bare(text).map(|url| url.host), expected, "{text}");
        };
        check("evil.io", Some("evil.io"));
        check("WWW.Evil.IO", Some("Evil.IO"));
        check("a.b.evil.com:443/x", Some("a.b.evil.com"));
        check("10.0.0.1:80", Some("10.0.0.1"));
        check("[::1]:80", Some("::1"));
        check("2001:db8::1", Some("2001:db8::1"));
        check("docs.rs/regex", Some("docs.rs"));
        for text in [
            "main.rs",
            "report.pdf",
            "v1.2.3",
            "1.2.3",
            "evil",
            "a::b",
            "std::io",
            "12:30:45",
            ".io",
            "a@b.io",
            "x y.io",
            "",
            ".",
            "..",
            "évil.zzzz",
            "999.1.1.1",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn names_for_examples_and_public_mail_are_known() {
        for host in ["example.com", "a.example.org", "x.test", "localhost", "a.b.example"] {
            assert!(is_reserved(host), "{host}");
        }
        for host in ["myexample.com", "contest", "example.com.evil.io", ""] {
            assert!(!is_reserved(host), "{host}");
        }
        assert!(is_freemail("gmail.com") && !is_freemail("acme.com"));
        assert_eq!(telling_label("a.payroll.acme.co.uk"), "payroll");
        assert_eq!(telling_label("evil.io"), "evil");
        assert_eq!(telling_label("10.0.0.1"), "10.0.0.1");
        assert_eq!(telling_label("localhost"), "localhost");
    }
}
