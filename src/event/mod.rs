//! Facts: what one tool call is, wherever it was read and whatever format it came in.
//!
//! Nothing here judges or does IO. A [`ToolCall`] borrows from the bytes it was decoded from, so
//! that decoding one allocates nothing.

mod call;
mod sip;
mod target;
mod time;

pub use call::{Arguments, Operation, Origin, Position, Quality, Status, ToolCall};
pub use sip::sip13;
pub use target::{Shown, TARGETS_MAX, Target, TargetKind, WORDS_MAX};
pub use time::{HOUR_NS, ParseTimestampError, Timestamp};
