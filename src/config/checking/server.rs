//! The admin listener: where it listens, and who may have what was learned.

use std::net::SocketAddr;

use secrecy::{ExposeSecret as _, SecretString};

use crate::config::checked::Server;
use crate::config::checking::Checker;
use crate::config::checking::secrets::Origin;
use crate::config::problem::Code;
use crate::config::server::RawServer;

/// The fewest characters of a token.
const TOKEN_CHARACTERS_MIN: usize = 16;

/// How to make a token.
const MAKE_TOKEN: &str = "make one with: openssl rand -base64 32";

impl Checker<'_> {
    /// Checks the admin listener. A token that cannot be used was reported.
    pub(super) fn server(&mut self, raw: &RawServer) -> Option<Server> {
        let listen = &*raw.listen;
        let export_token = self.export_token(raw);
        let Ok(address) = listen.parse::<SocketAddr>() else {
            let message = format!(
                "`server.listen` must be an IP address and a port such as `127.0.0.1:9464`, found `{}`",
                crate::config::snippet::quote(listen)
            );
            self.fault(
                Code::Malformed,
                "/server/listen",
                message,
                Some("`0.0.0.0` and `[::]` stand for every address"),
            );
            return None;
        };
        if !address.ip().is_loopback() {
            let message =
                format!("the admin listener on {address} can be reached from other machines");
            let help = "it asks nobody who they are: let only Prometheus and operators reach it";
            self.fault(Code::Exposed, "/server/listen", message, Some(help));
        }
        Some(Server { listen: address, export_token })
    }

    fn export_token(&mut self, raw: &RawServer) -> Option<SecretString> {
        let origin = Origin {
            pointer: "/server",
            name: "export_token",
            file: raw.export_token_file.as_deref(),
            env: raw.export_token_env.as_deref(),
        };
        let token = self.secret(origin)?;
        let is_word = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        let text = token.expose_secret();
        if text.chars().count() < TOKEN_CHARACTERS_MIN || !is_word(text) {
            let message = format!(
                "the token must have at least {TOKEN_CHARACTERS_MIN} characters of ASCII, no spaces"
            );
            self.fault(Code::UnusableSecret, origin.field(), message, Some(MAKE_TOKEN));
            return None;
        }
        Some(token)
    }
}
