//! OTLP logs and traces, from protobuf or JSON, which become the same view before anything is read
//! from them. What an attribute means is the business of `genai` and `claude_code`.

mod claude_code;
mod genai;
mod json;
mod merge;
mod proto;
mod view;

use crate::decode::calls::Calls;
use crate::decode::json::Failure;
use crate::decode::{DecodeError, Ignored};

/// Reads an OTLP/JSON export request at the start of `text` and returns its length.
pub(super) fn read_json(text: &str, calls: &mut Calls<'_>) -> Result<usize, Failure> {
    let (batch, length) = json::read(text)?;
    take(&batch, calls);
    Ok(length)
}

/// Reads an OTLP/protobuf export request of either signal.
pub(super) fn read_proto(bytes: &[u8], calls: &mut Calls<'_>) -> Result<(), DecodeError> {
    let batch = proto::read(bytes)?;
    take(&batch, calls);
    Ok(())
}

fn take(batch: &view::Batch<'_>, calls: &mut Calls<'_>) {
    if batch.spans.is_empty() && batch.logs.is_empty() {
        calls.ignore(Ignored::NotAToolCall);
    }
    genai::read(batch, calls);
    claude_code::read(batch, calls);
}
