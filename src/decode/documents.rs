//! JSON records: one object, several on lines of their own, or a list of them. Splits them, finds
//! out what each is, and goes on after one that is broken.

use std::fmt;

use serde::de::{Deserializer as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::decode::calls::Calls;
use crate::decode::json::{self, Failure, Text};
use crate::decode::native::{Document, Foreign};
use crate::decode::{DecodeError, Format, Reason, cloudevents, otlp};

/// How the documents of one text are to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    /// What they are, as far as it is known.
    pub(super) format: Format,
    /// Whether the text came out of an envelope; there is no second one inside.
    pub(super) unwrapped: bool,
    /// Whether the brackets of the text are few enough to need no look at its depth.
    shallow: bool,
    /// Whether the document is the only one left in its record, so that its call need not wait.
    alone: bool,
}

impl Reading {
    pub(super) const fn new(format: Format, unwrapped: bool) -> Self {
        Self { format, unwrapped, shallow: false, alone: false }
    }
}

/// Reads every document in `bytes`.
pub(super) fn read(bytes: &[u8], reading: Reading, calls: &mut Calls<'_>) {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let detail = format!("not valid UTF-8 at byte {}", error.valid_up_to());
            return calls.reject(DecodeError::new(Reason::Utf8, detail));
        }
    };
    let reading = Reading { shallow: json::is_shallow(text), ..reading };
    let (mut at, mut reread) = (0, 0);
    while let Some(rest) = rest_of(text, &mut at) {
        let result = if rest.starts_with('[') {
            read_list(rest, reading, calls)
        } else {
            let alone = !reading.unwrapped;
            read_document(rest, Reading { alone, ..reading }, calls)
        };
        match result {
            Ok(length) => at += length,
            Err(failure) => {
                calls.reject(located(failure.error, at));
                // A line that was cut short swallows the next ones, so those are read again, as
                // long as that does not make the whole costly.
                let skipped = if reread <= text.len() { 0 } else { failure.offset };
                reread += failure.offset;
                at = next_line(text, at + skipped);
            }
        }
        if calls.is_full() {
            return;
        }
    }
    if text.trim_ascii_start().is_empty() {
        calls.reject(DecodeError::new(Reason::Parse, "only white space; expected a JSON object"));
    }
}

/// What is left of `text` from `at` on, after moving `at` past white space; `None` at the end.
fn rest_of<'a>(text: &'a str, at: &mut usize) -> Option<&'a str> {
    let rest = text.get(*at..)?;
    let trimmed = rest.trim_ascii_start();
    *at += rest.len() - trimmed.len();
    (!trimmed.is_empty()).then_some(trimmed)
}

/// Where the next object begins at the start of a line, after a broken document.
///
/// The lines of one indented document are no documents: only an object in the first column is.
fn next_line(text: &str, from: usize) -> usize {
    let rest = text.as_bytes().get(from..).unwrap_or_default();
    rest.windows(2).position(|pair| pair == b"\n{").map_or(text.len(), |found| from + found + 1)
}

fn located(error: DecodeError, at: usize) -> DecodeError {
    if at == 0 {
        return error;
    }
    let detail = format!("in the document at byte {at}: {}", error.detail);
    DecodeError { detail, ..error }
}

/// Reads the document at the start of `text` and returns its length.
fn read_document(text: &str, reading: Reading, calls: &mut Calls<'_>) -> Result<usize, Failure> {
    if !reading.shallow {
        json::scan(text)?;
    }
    match reading.format {
        Format::OtlpJson => return otlp::read_json(text, calls),
        Format::CloudEvents => return cloudevents::read(text, calls),
        Format::Auto | Format::Native | Format::OtlpProto => {}
    }
    let scratch = std::mem::take(calls.scratch);
    let mut document = Document::seen_through(calls.options.lens(), scratch);
    let parsed = document.parse(text);
    *calls.scratch = document.take_scratch();
    let length = parsed.map_err(|error| Failure::from_serde(&error, text))?;
    if reading.format == Format::Auto && !document.has_tool() {
        if let Some(foreign) = document.foreign {
            return read_foreign(foreign, text, reading, calls);
        }
        if !document.is_native() {
            let detail = "a JSON object with none of the keys of a known format; \
                          a native event has `ts`, `tenant_id`, `agent_id` and `tool_name`";
            return Err(Failure::new(Reason::UnknownFormat, detail, length));
        }
    }
    let is_last = || text.get(length..).is_none_or(|rest| rest.trim_ascii_start().is_empty());
    let checked = calls.finish(&mut document.call, document.stamp);
    match checked {
        Ok(()) if reading.alone && is_last() => calls.only(document.call),
        Ok(()) => calls.push(document.call),
        Err(error) => calls.reject(error),
    }
    Ok(length)
}

/// Reads a document that is of another format.
fn read_foreign(
    foreign: Foreign,
    text: &str,
    reading: Reading,
    calls: &mut Calls<'_>,
) -> Result<usize, Failure> {
    let unknown = |detail: &str| Failure::new(Reason::UnknownFormat, detail, 0);
    match foreign {
        Foreign::Otlp => otlp::read_json(text, calls),
        Foreign::CloudEvent | Foreign::Message if reading.unwrapped => {
            Err(unknown("an envelope within an envelope; only one is unwrapped"))
        }
        Foreign::CloudEvent => cloudevents::read(text, calls),
        Foreign::Message => read_message(text, calls),
        Foreign::Unsupported(what) => {
            Err(unknown(&format!("{what}, which is not read; convert it to native events")))
        }
    }
}

/// The envelope log shippers put around a line.
#[derive(serde::Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    message: Text<'a>,
}

/// Reads the JSON that stands as a text in `message`.
fn read_message(text: &str, calls: &mut Calls<'_>) -> Result<usize, Failure> {
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Envelope<'_>>();
    let envelope = match stream.next() {
        Some(Ok(envelope)) => envelope,
        Some(Err(error)) => return Err(Failure::from_serde(&error, text)),
        None => return Ok(text.len()),
    };
    let message = envelope.message.value.unwrap_or_default();
    if !message.starts_with('{') {
        let detail = "a log line whose `message` is no JSON object";
        return Err(Failure::new(Reason::UnknownFormat, detail, stream.byte_offset()));
    }
    read(message.as_bytes(), Reading::new(Format::Auto, true), calls);
    Ok(stream.byte_offset())
}

/// Reads a list of documents at the start of `text` and returns its length.
fn read_list(text: &str, reading: Reading, calls: &mut Calls<'_>) -> Result<usize, Failure> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let visitor = ListVisitor { reading, calls };
    deserializer
        .deserialize_seq(visitor)
        .and_then(|()| deserializer.end())
        .map(|()| text.len())
        .map_err(|error| Failure::from_serde(&error, text))
}

struct ListVisitor<'c, 'r> {
    reading: Reading,
    calls: &'c mut Calls<'r>,
}

impl<'de> Visitor<'de> for ListVisitor<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut index = 0_usize;
        while let Some(element) = seq.next_element::<&RawValue>()? {
            // What comes after the bound is still read past, so that the list's end is checked.
            if !self.calls.is_full()
                && let Err(failure) = read_document(element.get(), self.reading, self.calls)
            {
                let detail = format!("element {index} of the list: {}", failure.error.detail);
                self.calls.reject(DecodeError { detail, ..failure.error });
            }
            index += 1;
        }
        Ok(())
    }
}
