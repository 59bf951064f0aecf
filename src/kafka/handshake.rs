//! A broker that can be reached and does not come to terms with this process: it refuses the login,
//! or is not the one it should be.
//!
//! Whoever asks librdkafka for something is only told that nobody could be reached. Why is told to
//! the client's callback for errors, and nowhere else.

use std::sync::Mutex;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError as LibraryError;
use rdkafka::types::RDKafkaErrorCode;

use crate::kafka::context::lock;
use crate::kafka::{ClientSettings, KafkaError};

/// What happened to a client is looked through for why nobody answers.
const EVENTS_MAX: usize = 100;

/// Why a connection fails though there is somebody at its other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandshakeFailure {
    /// The user, the password or the mechanism is not taken.
    Login,
    /// No TLS session comes about.
    Tls,
    /// The other end speaks another protocol.
    Protocol,
}

impl HandshakeFailure {
    /// By what a client's callback for errors is told.
    pub(crate) fn of(error: &LibraryError, reason: &str) -> Option<Self> {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Authentication) => Some(Self::Login),
            Some(RDKafkaErrorCode::SSL) => Some(Self::Tls),
            // It only guesses, and has no code for it.
            _ => reason.contains("incorrect security.protocol").then_some(Self::Protocol),
        }
    }

    /// What it is and what to do.
    pub(crate) const fn advice(self) -> &'static str {
        match self {
            Self::Login => {
                "the brokers refuse the login: check `kafka.security.sasl` and that they know the user"
            }
            Self::Tls => {
                "the brokers and this instance do not trust each other: check \
                 `kafka.security.ca_file`, that `kafka.brokers` are names in the brokers' \
                 certificates, and `certificate_file` where they ask for one"
            }
            Self::Protocol => {
                "the brokers speak another protocol at this port: check `kafka.security.protocol`"
            }
        }
    }
}

/// Keeps why the brokers do not let a client in.
#[derive(Debug, Default)]
pub(crate) struct Trouble(Mutex<Option<HandshakeFailure>>);

impl Trouble {
    /// Takes what the callback for errors is told. It is tried again and again, and said once.
    pub(crate) fn note(&self, error: &LibraryError, reason: &str) {
        let Some(failure) = HandshakeFailure::of(error, reason) else { return };
        if lock(&self.0).replace(failure) != Some(failure) {
            tracing::error!(reason, "{}", failure.advice());
        }
    }

    /// A broker lets it in.
    pub(crate) fn end(&self) {
        *lock(&self.0) = None;
    }

    /// What it is, if it is any.
    pub(crate) fn get(&self) -> Option<HandshakeFailure> {
        *lock(&self.0)
    }
}

/// The callbacks of a client that asks once.
#[derive(Debug, Default)]
pub(crate) struct Asking(Trouble);

impl ClientContext for Asking {
    fn error(&self, error: LibraryError, reason: &str) {
        self.0.note(&error, reason);
    }
}

impl ConsumerContext for Asking {}

impl Asking {
    /// A client that asks once.
    pub(crate) fn client(settings: &ClientSettings) -> Result<BaseConsumer<Self>, KafkaError> {
        settings
            .config(&[])
            .create_with_context(Self::default())
            .map_err(KafkaError::when("create a consumer"))
    }

    /// Says what was being done when `cause` happened to `client`, and why, where that is known.
    pub(crate) fn when(
        client: &BaseConsumer<Self>,
        doing: &'static str,
    ) -> impl FnOnce(LibraryError) -> KafkaError {
        // The callback is called in here; what is polled and handed to a callback looks like nothing.
        (0..EVENTS_MAX).for_each(|_| drop(client.poll(Duration::ZERO)));
        let failure = client.context().0.get();
        move |cause| KafkaError::when(doing)(cause).because_of(failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_is_told_says_whose_fault_it_is() {
        let of = |code, reason| HandshakeFailure::of(&LibraryError::Global(code), reason);
        let words = "sasl_ssl://h:1/bootstrap: SASL authentication error: Authentication failed";
        assert_eq!(of(RDKafkaErrorCode::Authentication, words), Some(HandshakeFailure::Login));
        let words = "ssl://h:1/bootstrap: SSL handshake failed: certificate verify failed";
        assert_eq!(of(RDKafkaErrorCode::SSL, words), Some(HandshakeFailure::Tls));
        let code = RDKafkaErrorCode::BrokerTransportFailure;
        let words = "h:1/bootstrap: Disconnected while requesting ApiVersion: might be caused by \
                     incorrect security.protocol configuration (connecting to a SSL listener?)";
        assert_eq!(of(code, words), Some(HandshakeFailure::Protocol));
        let words = "h:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused";
        assert_eq!(of(code, words), None);
    }
}
