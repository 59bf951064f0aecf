//! Records to decode, what comes of them, and OTLP/JSON turned into OTLP/protobuf.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, LogsData, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, TracesData};
use prost::Message;
use serde_json::Value;
use toolwarden::decode::{DecodeError, Format, Ignored, Item, Options, Record, decode};
use toolwarden::event::{Position, Timestamp, ToolCall};

/// A record of the topic `calls` at partition 3, offset 41, appended on 2026-03-02 at noon.
pub(crate) fn record(payload: &[u8]) -> Record<'_> {
    Record {
        position: Position { topic: "calls", partition: 3, offset: 41, index: 0 },
        append_time: "2026-03-02T12:00:00Z".parse::<Timestamp>().unwrap(),
        key: None,
        content_type: None,
        payload: Some(payload),
    }
}

/// Everything a record held.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Found {
    pub(crate) calls: Vec<ToolCall<'static>>,
    pub(crate) ignored: Vec<Ignored>,
    pub(crate) rejected: Vec<DecodeError>,
}

impl Found {
    /// The only thing found, which is a call.
    pub(super) fn call(self) -> ToolCall<'static> {
        assert_eq!(
            (self.calls.len(), self.rejected.len(), self.ignored.len()),
            (1, 0, 0),
            "{self:?}"
        );
        self.calls.into_iter().next().unwrap()
    }

    /// The only thing found, which is a rejection.
    pub(super) fn error(self) -> DecodeError {
        assert_eq!((self.calls.len(), self.rejected.len()), (0, 1), "{self:?}");
        self.rejected.into_iter().next().unwrap()
    }
}

/// Decodes `record`.
pub(crate) fn decode_with(record: &Record<'_>, options: &Options) -> Found {
    let mut found = Found::default();
    decode(record, options, &mut |item| match item {
        Item::Call(call) => found.calls.push(call.into_owned("calls")),
        Item::Ignored(ignored) => found.ignored.push(ignored),
        Item::Rejected(error) => found.rejected.push(error),
    });
    found
}

/// Decodes a payload of unknown format.
pub(super) fn decode_auto(payload: &[u8]) -> Found {
    decode_as(payload, Format::Auto)
}

/// Decodes a payload of a told format.
pub(super) fn decode_as(payload: &[u8], format: Format) -> Found {
    decode_with(&record(payload), &Options { format, ..Options::default() })
}

/// The same export request in protobuf.
pub(crate) fn to_proto(request: &Value) -> Vec<u8> {
    if let Some(groups) = request.get("resourceSpans") {
        TracesData { resource_spans: list(groups, resource_spans) }.encode_to_vec()
    } else {
        LogsData { resource_logs: list(&request["resourceLogs"], resource_logs) }.encode_to_vec()
    }
}

fn list<T>(values: &Value, read: fn(&Value) -> T) -> Vec<T> {
    values.as_array().into_iter().flatten().map(read).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value) -> u64 {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(0)
}

fn bytes(value: &Value) -> Vec<u8> {
    let digits: Vec<u32> = text(value).chars().map(|digit| digit.to_digit(16).unwrap()).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
}

fn resource(group: &Value) -> Option<Resource> {
    let attributes = list(&group["resource"]["attributes"], key_value);
    Some(Resource { attributes, ..Resource::default() })
}

fn resource_spans(group: &Value) -> ResourceSpans {
    let scope_spans = list(&group["scopeSpans"], |scope| ScopeSpans {
        spans: list(&scope["spans"], span),
        ..ScopeSpans::default()
    });
    ResourceSpans { resource: resource(group), scope_spans, ..ResourceSpans::default() }
}

fn span(span: &Value) -> Span {
    let code = i32::try_from(number(&span["status"]["code"])).unwrap();
    Span {
        trace_id: bytes(&span["traceId"]),
        span_id: bytes(&span["spanId"]),
        parent_span_id: bytes(&span["parentSpanId"]),
        name: text(&span["name"]),
        kind: i32::try_from(number(&span["kind"])).unwrap(),
        start_time_unix_nano: number(&span["startTimeUnixNano"]),
        end_time_unix_nano: number(&span["endTimeUnixNano"]),
        attributes: list(&span["attributes"], key_value),
        status: Some(Status { code, ..Status::default() }),
        ..Span::default()
    }
}

fn resource_logs(group: &Value) -> ResourceLogs {
    let scope_logs = list(&group["scopeLogs"], |scope| ScopeLogs {
        scope: Some(InstrumentationScope {
            name: text(&scope["scope"]["name"]),
            ..InstrumentationScope::default()
        }),
        log_records: list(&scope["logRecords"], log_record),
        ..ScopeLogs::default()
    });
    ResourceLogs { resource: resource(group), scope_logs, ..ResourceLogs::default() }
}

fn log_record(log: &Value) -> LogRecord {
    LogRecord {
        time_unix_nano: number(&log["timeUnixNano"]),
        observed_time_unix_nano: number(&log["observedTimeUnixNano"]),
        body: log.get("body").map(any_value),
        attributes: list(&log["attributes"], key_value),
        event_name: text(&log["eventName"]),
        ..LogRecord::default()
    }
}

fn key_value(pair: &Value) -> KeyValue {
    KeyValue {
        key: text(&pair["key"]),
        value: pair.get("value").map(any_value),
        ..KeyValue::default()
    }
}

fn any_value(value: &Value) -> AnyValue {
    let Some((kind, inner)) = value.as_object().and_then(|members| members.iter().next()) else {
        return AnyValue::default();
    };
    let value = match kind.as_str() {
        "stringValue" => Any::StringValue(text(inner)),
        "boolValue" => Any::BoolValue(inner.as_bool().unwrap()),
        "intValue" => Any::IntValue(
            inner
                .as_str()
                .map_or_else(|| inner.as_i64().unwrap(), |digits| digits.parse().unwrap()),
        ),
        "doubleValue" => Any::DoubleValue(inner.as_f64().unwrap()),
        "arrayValue" => Any::ArrayValue(ArrayValue { values: list(&inner["values"], any_value) }),
        "kvlistValue" => {
            Any::KvlistValue(KeyValueList { values: list(&inner["values"], key_value) })
        }
        other => panic!("{other}"),
    };
    AnyValue { value: Some(value) }
}
