//! CloudEvents in structured mode: takes the data out. What the data is, is found out anew.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::value::RawValue;

use crate::decode::calls::Calls;
use crate::decode::documents::{self, Reading};
use crate::decode::json::{Failure, Text};
use crate::decode::{Format, Ignored, Reason, sniff};

/// The two places where a CloudEvent has its data.
#[derive(serde::Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data_base64: Text<'a>,
}

/// Whether a `content-type` header says that the value is a whole CloudEvent.
pub(super) fn is_structured(content_type: &str) -> bool {
    let kind = b"application/cloudevents";
    content_type
        .trim_ascii_start()
        .as_bytes()
        .get(..kind.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(kind))
}

/// Reads the CloudEvent at the start of `text` and returns its length.
pub(super) fn read(text: &str, calls: &mut Calls<'_>) -> Result<usize, Failure> {
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Envelope<'_>>();
    let envelope = match stream.next() {
        Some(Ok(envelope)) => envelope,
        Some(Err(error)) => return Err(Failure::from_serde(&error, text)),
        None => return Ok(text.len()),
    };
    let length = stream.byte_offset();
    if let Some(encoded) = envelope.data_base64.value {
        let bytes = BASE64_STANDARD.decode(encoded.as_bytes()).map_err(|_| {
            Failure::new(Reason::Parse, "the CloudEvent's `data_base64` is no base64", length)
        })?;
        sniff::read(&bytes, calls);
    } else if let Some(data) = envelope.data {
        read_data(data.get(), calls);
    } else {
        calls.ignore(Ignored::Tombstone);
    }
    Ok(length)
}

/// Reads data that is JSON, or a text that holds some.
fn read_data(data: &str, calls: &mut Calls<'_>) {
    match serde_json::from_str::<String>(data) {
        Ok(text) => sniff::read(text.as_bytes(), calls),
        Err(_) => documents::read(data.as_bytes(), Reading::new(Format::Auto, true), calls),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_content_type_is_known_in_any_case() {
        let check = |text: &str, expected: bool| {
            assert_eq!(super::is_structured(text), expected, "{text}");
        };
        check("application/cloudevents+json", true);
        check("Application/CloudEvents+JSON; charset=UTF-8", true);
        check("application/cloudevents-batch+json", true);
        check("application/json", false);
        check("", false);
    }
}
