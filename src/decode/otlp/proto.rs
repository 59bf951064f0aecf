//! OTLP/protobuf of either signal. Logs and traces have the same field numbers down to the leaf,
//! so what a record is shows only there.

use std::borrow::Cow;

use opentelemetry_proto::tonic::common::v1 as common;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, LogsData};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{self as trace, TracesData};
use prost::Message as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::decode::otlp::view::{Attributes, Batch, Log, Span, Value};
use crate::decode::{DecodeError, ITEMS_MAX, Reason};

/// The most spans or log records, with the groups they stand in, of one record.
const MESSAGES_MAX: u32 = 3 * ITEMS_MAX;

/// The most fields of one span or log record: each costs far more memory read than sent.
const LEAF_FIELDS_MAX: u32 = 4_096;

/// The most fields of all spans or log records of one record together.
const FIELDS_MAX: u32 = 1_000_000;

/// The length of a trace id: a log record read as a span has none.
const TRACE_ID_BYTES: usize = 16;

/// The kind of a span that tells of a call from the called side.
const KIND_SERVER: i32 = 2;

/// The status of a span that failed.
const STATUS_ERROR: i32 = 2;

/// Reads a request of either signal.
pub(super) fn read(bytes: &[u8]) -> Result<Batch<'static>, DecodeError> {
    check_bounds(bytes)?;
    let traces = match TracesData::decode(bytes) {
        Ok(traces) if has_trace_ids(&traces) => return Ok(from_traces(traces)),
        traces => traces,
    };
    match (traces, LogsData::decode(bytes)) {
        (_, Ok(logs)) => Ok(from_logs(logs)),
        (Ok(traces), Err(_)) => Ok(from_traces(traces)),
        (Err(traces), Err(logs)) => {
            let detail = format!("neither OTLP traces ({traces}) nor OTLP logs ({logs})");
            let detail: String = detail.chars().take(300).collect();
            Err(DecodeError::new(Reason::Parse, detail))
        }
    }
}

/// Whether every span has a trace id of the right length, and there is one at all.
fn has_trace_ids(traces: &TracesData) -> bool {
    let mut spans = traces
        .resource_spans
        .iter()
        .flat_map(|group| &group.scope_spans)
        .flat_map(|scope| &scope.spans)
        .peekable();
    spans.peek().is_some() && spans.all(|span| span.trace_id.len() == TRACE_ID_BYTES)
}

fn from_traces(traces: TracesData) -> Batch<'static> {
    let mut batch = Batch::default();
    for group in traces.resource_spans {
        let resource = add_resource(&mut batch, group.resource);
        let spans = group.scope_spans.into_iter().flat_map(|scope| scope.spans);
        batch.spans.extend(spans.map(|span| from_span(span, resource)));
    }
    batch
}

fn from_logs(logs: LogsData) -> Batch<'static> {
    let mut batch = Batch::default();
    for group in logs.resource_logs {
        let resource = add_resource(&mut batch, group.resource);
        for scope in group.scope_logs {
            let name = scope.scope.unwrap_or_default().name;
            let logs = scope.log_records.into_iter();
            batch.logs.extend(logs.map(|log| from_log(log, resource, name.clone())));
        }
    }
    batch
}

fn add_resource(batch: &mut Batch<'static>, resource: Option<Resource>) -> usize {
    batch.resources.push(attributes(resource.unwrap_or_default().attributes));
    batch.resources.len() - 1
}

fn from_span(span: trace::Span, resource: usize) -> Span<'static> {
    Span {
        resource,
        trace_id: hex(&span.trace_id),
        span_id: hex(&span.span_id),
        parent_id: hex(&span.parent_span_id),
        name: Cow::Owned(span.name),
        is_server: span.kind == KIND_SERVER,
        is_error: span.status.is_some_and(|status| status.code == STATUS_ERROR),
        start: span.start_time_unix_nano,
        end: span.end_time_unix_nano,
        attributes: attributes(span.attributes),
    }
}

fn from_log(log: LogRecord, resource: usize, scope: String) -> Log<'static> {
    Log {
        resource,
        scope: Cow::Owned(scope),
        time: log.time_unix_nano,
        observed: log.observed_time_unix_nano,
        event_name: Cow::Owned(log.event_name),
        body: value(log.body),
        attributes: attributes(log.attributes),
    }
}

fn attributes(pairs: Vec<common::KeyValue>) -> Attributes<'static> {
    Attributes::new(members(pairs))
}

fn members(pairs: Vec<common::KeyValue>) -> Vec<(Cow<'static, str>, Value<'static>)> {
    pairs.into_iter().map(|pair| (Cow::Owned(pair.key), value(pair.value))).collect()
}

fn value(any: Option<common::AnyValue>) -> Value<'static> {
    match any.and_then(|any| any.value) {
        Some(AnyValue::StringValue(text)) => Value::Text(Cow::Owned(text)),
        Some(AnyValue::BoolValue(value)) => Value::Bool(value),
        Some(AnyValue::IntValue(value)) => Value::Integer(value),
        Some(AnyValue::DoubleValue(value)) => Value::Float(value),
        Some(AnyValue::BytesValue(bytes)) => Value::Bytes(bytes),
        Some(AnyValue::ArrayValue(list)) => {
            Value::List(list.values.into_iter().map(|element| value(Some(element))).collect())
        }
        Some(AnyValue::KvlistValue(list)) => Value::Map(members(list.values)),
        // A reference into the dictionary of a profile means nothing outside one.
        Some(AnyValue::StringValueStrindex(_)) | None => Value::Absent,
    }
}

/// An id as lower-case hexadecimal; one of zeros only is none.
fn hex(id: &[u8]) -> Cow<'static, str> {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    if id.iter().all(|byte| *byte == 0) {
        return Cow::Borrowed("");
    }
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or('?');
    Cow::Owned(id.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect())
}

/// Counts messages and their fields before any memory is spent on them.
///
/// What is not well formed passes: the decoder says it better.
fn check_bounds(bytes: &[u8]) -> Result<(), DecodeError> {
    let mut bounds = Bounds::default();
    for group in Fields(bytes).filter_map(|field| field.of(1)) {
        bounds.message()?;
        for field in Fields(group) {
            match (field.number, field.content) {
                (1, Some(resource)) => bounds.leaf(resource)?,
                (2, Some(scope)) => bounds.scope(scope)?,
                _ => {}
            }
        }
    }
    Ok(())
}

/// What a record has held so far.
#[derive(Default)]
struct Bounds {
    messages: u32,
    fields: u32,
}

impl Bounds {
    fn message(&mut self) -> Result<(), DecodeError> {
        self.messages += 1;
        if self.messages <= MESSAGES_MAX {
            return Ok(());
        }
        let detail = format!("more than {MESSAGES_MAX} spans or logs and their groups in a record");
        Err(DecodeError::new(Reason::TooLarge, detail))
    }

    /// A scope: its own description and the spans or log records under it.
    fn scope(&mut self, scope: &[u8]) -> Result<(), DecodeError> {
        self.message()?;
        Fields(scope)
            .filter(|field| matches!(field.number, 1 | 2))
            .filter_map(|field| field.content)
            .try_for_each(|leaf| self.leaf(leaf))
    }

    /// A span, a log record, or the description of a resource or scope.
    fn leaf(&mut self, leaf: &[u8]) -> Result<(), DecodeError> {
        self.message()?;
        let count = u32::try_from(Fields(leaf).count()).unwrap_or(u32::MAX);
        self.fields = self.fields.saturating_add(count);
        if count <= LEAF_FIELDS_MAX && self.fields <= FIELDS_MAX {
            return Ok(());
        }
        let detail =
            format!("more than {LEAF_FIELDS_MAX} fields in a span or log, or {FIELDS_MAX} in all");
        Err(DecodeError::new(Reason::TooLarge, detail))
    }
}

/// One field of a message, with its content where it has a length.
struct Field<'a> {
    number: u32,
    content: Option<&'a [u8]>,
}

impl<'a> Field<'a> {
    fn of(self, number: u32) -> Option<&'a [u8]> {
        self.content.filter(|_| self.number == number)
    }
}

/// The fields of a message, up to the first that is broken.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        if self.0.is_empty() {
            return None;
        }
        let (number, wire_type) = decode_key(&mut self.0).ok()?;
        if wire_type != WireType::LengthDelimited {
            skip_field(wire_type, number, &mut self.0, DecodeContext::default()).ok()?;
            return Some(Field { number, content: None });
        }
        let length = usize::try_from(decode_varint(&mut self.0).ok()?).ok()?;
        let (content, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(Field { number, content: Some(content) })
    }
}
