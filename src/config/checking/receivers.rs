//! Receivers: where they are and how bodies for them are signed.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use crate::config::checked::Receiver;
use crate::config::checking::secrets::Origin;
use crate::config::checking::{Checker, SECOND, is_loopback};
use crate::config::document::Fault;
use crate::config::problem::Code;
use crate::config::receivers::RawReceiver;
use crate::deliver::Guard;

/// Seven days.
const WEEK: Duration = Duration::from_secs(7 * 86_400);

/// How to make a signing secret.
const MAKE_SECRET: &str = "make one with: echo \"whsec_$(openssl rand -base64 32)\"";

impl Checker<'_> {
    /// Checks all receivers; `None` when one has no URL or secret that can be used.
    pub(super) fn receivers(&mut self, raws: &[RawReceiver]) -> Option<Vec<Receiver>> {
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        let mut receivers = Vec::new();
        for (at, raw) in raws.iter().enumerate() {
            if let Some(first) = names.insert(&raw.name, at) {
                let message = format!("`receivers[{first}]` is already named `{}`", raw.name);
                self.fault(Code::Duplicate, format!("/receivers/{at}/name"), message, None);
            }
            receivers.push(self.receiver(raw, &format!("/receivers/{at}")));
        }
        receivers.into_iter().collect()
    }

    fn receiver(&mut self, raw: &RawReceiver, pointer: &str) -> Option<Receiver> {
        let allow_networks = self.networks(raw, pointer);
        let url = self.url(raw, pointer, &Guard::new(allow_networks.clone()));
        let signing_secret = self.signing_secret(raw, pointer);
        let previous_signing_secret = self.previous_secret(raw, pointer);
        let timeout =
            self.duration(&format!("{pointer}/timeout"), raw.timeout, (SECOND / 10, 120 * SECOND));
        let retry_for =
            self.duration(&format!("{pointer}/retry_for"), raw.retry_for, (Duration::ZERO, WEEK));
        let dedup_for =
            self.duration(&format!("{pointer}/dedup_for"), raw.dedup_for, (Duration::ZERO, WEEK));
        Some(Receiver {
            name: raw.name.clone(),
            url: url?,
            signing_secret: signing_secret?,
            previous_signing_secret,
            min_score: raw.min_score,
            send_resolved: raw.send_resolved,
            timeout,
            retry_for,
            dedup_for,
            catch_up_rate: raw.catch_up_rate,
            allow_networks,
        })
    }

    /// Reports that a receiver lacks something, pointing at the receiver.
    fn lacks(&mut self, pointer: &str, field: &str, fields: &str) {
        // The literal that was refused has been reported; one word about it is enough.
        let literal = format!("{pointer}/{field}");
        if self.is_secret_settled(&literal) {
            return;
        }
        self.faults.push(Fault {
            code: Code::MissingField,
            pointer: literal,
            place: Some(self.document.place(pointer).name()),
            message: format!("`{}` needs {fields}", crate::config::document::dotted(pointer)),
            help: (field == "signing_secret").then(|| MAKE_SECRET.to_owned()),
        });
    }

    /// Networks and single addresses.
    fn networks(&mut self, raw: &RawReceiver, pointer: &str) -> Vec<IpNet> {
        let mut networks = Vec::new();
        for (at, text) in raw.allow_networks.iter().enumerate() {
            let address = || text.parse().map(|address: IpAddr| IpNet::from(address));
            match text.parse().or_else(|_| address()) {
                Ok(network) => networks.push(network),
                Err(_) => {
                    let shown = crate::config::snippet::quote(text);
                    let message = format!("`{shown}` is neither a network nor an address");
                    let help = "write it as `10.0.0.0/8`, `fd00::/8` or `127.0.0.1`";
                    let pointer = format!("{pointer}/allow_networks/{at}");
                    self.fault(Code::Malformed, pointer, message, Some(help));
                }
            }
        }
        networks
    }

    fn url(&mut self, raw: &RawReceiver, pointer: &str, guard: &Guard) -> Option<SecretString> {
        let origin = Origin {
            pointer,
            name: "url",
            file: raw.url_file.as_deref(),
            env: raw.url_env.as_deref(),
        };
        let (field, url) = match (&raw.url, raw.url_file.is_some() || raw.url_env.is_some()) {
            (Some(_), true) => {
                let message = "the URL is given twice".to_owned();
                let help = "keep one of `url`, `url_file` and `url_env`";
                self.fault(Code::Conflict, format!("{pointer}/url"), message, Some(help));
                return None;
            }
            (Some(url), false) => (format!("{pointer}/url"), SecretString::from(url.0.as_str())),
            (None, true) => (origin.field(), self.secret(origin)?),
            (None, false) => {
                self.lacks(pointer, "url", "one of `url`, `url_file` and `url_env`");
                return None;
            }
        };
        self.check_url(&field, url.expose_secret(), guard);
        Some(url)
    }

    fn check_url(&mut self, pointer: &str, text: &str, guard: &Guard) {
        let help = "write a whole URL: `https://host/path`";
        let url = Url::parse(text);
        let host = url.as_ref().ok().and_then(Url::host_str);
        if let Some(Err(refused)) = host.map(|host| guard.check_host(host)) {
            let (address, purpose) = (refused.address, refused.purpose.as_str());
            let message = format!("the receiver may not be at {address}: it is {purpose}");
            let help = format!("if it is meant to be there, add `{address}` to `allow_networks`");
            self.fault(Code::Conflict, pointer, message, Some(&help));
            return;
        }
        match url {
            Err(error) => {
                let message = format!("the URL cannot be read: {error}");
                self.fault(Code::Malformed, pointer, message, Some(help));
            }
            Ok(url) if !["http", "https"].contains(&url.scheme()) => {
                let message = "the URL must begin with `https://` or `http://`".to_owned();
                self.fault(Code::Malformed, pointer, message, Some(help));
            }
            Ok(url) if url.scheme() == "http" && !url.host_str().is_some_and(is_loopback) => {
                let message = "alerts to this receiver can be read on the way".to_owned();
                self.fault(Code::Plaintext, pointer, message, Some("use `https://`"));
            }
            Ok(_) => {}
        }
    }

    fn signing_secret(&mut self, raw: &RawReceiver, pointer: &str) -> Option<SecretString> {
        let origin = Origin {
            pointer,
            name: "signing_secret",
            file: raw.signing_secret_file.as_deref(),
            env: raw.signing_secret_env.as_deref(),
        };
        if origin.file.is_none() && origin.env.is_none() {
            self.lacks(pointer, "signing_secret", "`signing_secret_file` or `signing_secret_env`");
            return None;
        }
        self.usable_secret(origin)
    }

    fn previous_secret(&mut self, raw: &RawReceiver, pointer: &str) -> Option<SecretString> {
        self.usable_secret(Origin {
            pointer,
            name: "previous_signing_secret",
            file: raw.previous_signing_secret_file.as_deref(),
            env: raw.previous_signing_secret_env.as_deref(),
        })
    }

    /// A secret that can sign; `None` where none is named or it cannot, which was reported.
    fn usable_secret(&mut self, origin: Origin<'_>) -> Option<SecretString> {
        let secret = self.secret(origin)?;
        let Some(encoded) = secret.expose_secret().strip_prefix("whsec_") else {
            let message = "the signing secret must begin with `whsec_`".to_owned();
            self.fault(Code::UnusableSecret, origin.field(), message, Some(MAKE_SECRET));
            return None;
        };
        let bytes = STANDARD.decode(encoded).map(|bytes| bytes.len());
        if !bytes.is_ok_and(|bytes| (24..=64).contains(&bytes)) {
            let message =
                "the signing secret must be `whsec_` and 24 to 64 bytes in base64".to_owned();
            self.fault(Code::UnusableSecret, origin.field(), message, Some(MAKE_SECRET));
            return None;
        }
        Some(secret)
    }
}
