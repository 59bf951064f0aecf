//! Finds out how bytes are written when nobody has said so.
//!
//! The first byte decides and nothing is trimmed before it is looked at: OTLP/protobuf begins with
//! 0x0A, which is also a line feed, and the byte after it is a length, which can be `{`.

use crate::decode::calls::Calls;
use crate::decode::documents::{self, Reading};
use crate::decode::{DecodeError, Format, Reason, otlp};

/// Reads data that came out of an envelope.
pub(super) fn read(bytes: &[u8], calls: &mut Calls<'_>) {
    read_as(bytes, Reading::new(Format::Auto, true), calls);
}

/// Reads bytes of any known format.
pub(super) fn read_as(bytes: &[u8], reading: Reading, calls: &mut Calls<'_>) {
    match bytes {
        [b'{' | b'[', ..] => documents::read(bytes, reading, calls),
        [0x0a, ..] => match otlp::read_proto(bytes, calls) {
            Ok(()) => {}
            Err(_) if is_indented_json(bytes) => documents::read(bytes, reading, calls),
            Err(error) => calls.reject(error),
        },
        [b' ' | b'\t' | b'\r', ..] if is_indented_json(bytes) => {
            documents::read(bytes, reading, calls);
        }
        _ => calls.reject(unknown(bytes)),
    }
}

fn is_indented_json(bytes: &[u8]) -> bool {
    matches!(bytes.trim_ascii_start(), [b'{' | b'[', ..])
}

fn unknown(bytes: &[u8]) -> DecodeError {
    let detail = match bytes {
        [0x1f, 0x8b, ..] => {
            "gzip within the record; let the producer compress (`compression.type`) instead".into()
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            "zstd within the record; let the producer compress (`compression.type`) instead".into()
        }
        [0, _, _, _, _, ..] => {
            "framed by a Schema Registry serialiser, which is not read; send plain JSON or OTLP"
                .into()
        }
        _ => {
            let start: Vec<String> =
                bytes.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
            format!("neither JSON nor OTLP/protobuf; the record begins with {}", start.join(" "))
        }
    };
    DecodeError::new(Reason::UnknownFormat, detail)
}
