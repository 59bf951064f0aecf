//! OTLP/JSON as it occurs: ids in any case, 64-bit numbers as text or number, enumerations as
//! number or name. Keys are lowerCamelCase, as the protocol demands; unknown ones are ignored.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::decode::json::{Count, Failure, Text};
use crate::decode::otlp::view::{Attributes, Batch, Log, Span, Value};

/// Reads the request at the start of `text`, and its length.
pub(super) fn read(text: &str) -> Result<(Batch<'_>, usize), Failure> {
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Request<'_>>();
    match stream.next() {
        Some(Ok(request)) => Ok((request.into_batch(), stream.byte_offset())),
        Some(Err(error)) => Err(Failure::from_serde(&error, text)),
        None => Ok((Batch::default(), text.len())),
    }
}

/// A list that may be `null`.
#[derive(Debug)]
struct List<T>(Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Option::deserialize(deserializer)?.unwrap_or_default()))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    // Trace stores answer with the same content under `batches`.
    #[serde(borrow, default, alias = "batches")]
    resource_spans: List<ResourceSpans<'a>>,
    #[serde(borrow, default)]
    resource_logs: List<ResourceLogs<'a>>,
}

#[derive(Default, Deserialize)]
struct Resource<'a> {
    #[serde(borrow, default)]
    attributes: List<KeyValue<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans<'a> {
    #[serde(borrow, default)]
    resource: Option<Resource<'a>>,
    #[serde(borrow, default, alias = "instrumentationLibrarySpans")]
    scope_spans: List<ScopeSpans<'a>>,
}

#[derive(Deserialize)]
struct ScopeSpans<'a> {
    #[serde(borrow, default)]
    spans: List<SpanJson<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpanJson<'a> {
    #[serde(borrow, default)]
    trace_id: Text<'a>,
    #[serde(borrow, default)]
    span_id: Text<'a>,
    #[serde(borrow, default)]
    parent_span_id: Text<'a>,
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(borrow, default)]
    kind: Text<'a>,
    #[serde(default)]
    start_time_unix_nano: Count,
    #[serde(default)]
    end_time_unix_nano: Count,
    #[serde(borrow, default)]
    attributes: List<KeyValue<'a>>,
    #[serde(borrow, default)]
    status: Option<Status<'a>>,
}

#[derive(Default, Deserialize)]
struct Status<'a> {
    #[serde(borrow, default)]
    code: Text<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceLogs<'a> {
    #[serde(borrow, default)]
    resource: Option<Resource<'a>>,
    #[serde(borrow, default)]
    scope_logs: List<ScopeLogs<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScopeLogs<'a> {
    #[serde(borrow, default)]
    scope: Option<Scope<'a>>,
    #[serde(borrow, default)]
    log_records: List<LogJson<'a>>,
}

#[derive(Default, Deserialize)]
struct Scope<'a> {
    #[serde(borrow, default)]
    name: Text<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogJson<'a> {
    #[serde(default)]
    time_unix_nano: Count,
    #[serde(default)]
    observed_time_unix_nano: Count,
    #[serde(borrow, default)]
    event_name: Text<'a>,
    #[serde(borrow, default)]
    body: Option<AnyValue<'a>>,
    #[serde(borrow, default)]
    attributes: List<KeyValue<'a>>,
}

#[derive(Deserialize)]
struct KeyValue<'a> {
    #[serde(borrow, default)]
    key: Text<'a>,
    #[serde(borrow, default)]
    value: Option<AnyValue<'a>>,
}

impl<'a> Request<'a> {
    fn into_batch(self) -> Batch<'a> {
        let mut batch = Batch::default();
        for group in self.resource_spans.0 {
            let resource = add_resource(&mut batch, group.resource);
            let spans = group.scope_spans.0.into_iter().flat_map(|scope| scope.spans.0);
            batch.spans.extend(spans.map(|span| span.into_span(resource)));
        }
        for group in self.resource_logs.0 {
            let resource = add_resource(&mut batch, group.resource);
            for scope in group.scope_logs.0 {
                let name = string(scope.scope.unwrap_or_default().name);
                let logs = scope.log_records.0.into_iter();
                batch.logs.extend(logs.map(|log| log.into_log(resource, name.clone())));
            }
        }
        batch
    }
}

fn add_resource<'a>(batch: &mut Batch<'a>, resource: Option<Resource<'a>>) -> usize {
    batch.resources.push(attributes(resource.unwrap_or_default().attributes));
    batch.resources.len() - 1
}

impl<'a> SpanJson<'a> {
    fn into_span(self, resource: usize) -> Span<'a> {
        let code = string(self.status.unwrap_or_default().code);
        let kind = string(self.kind);
        Span {
            resource,
            trace_id: hex(self.trace_id),
            span_id: hex(self.span_id),
            parent_id: hex(self.parent_span_id),
            name: string(self.name),
            is_server: kind == "2" || kind == "SPAN_KIND_SERVER",
            is_error: code == "2" || code == "STATUS_CODE_ERROR",
            start: self.start_time_unix_nano.value.unwrap_or(0),
            end: self.end_time_unix_nano.value.unwrap_or(0),
            attributes: attributes(self.attributes),
        }
    }
}

impl<'a> LogJson<'a> {
    fn into_log(self, resource: usize, scope: Cow<'a, str>) -> Log<'a> {
        Log {
            resource,
            scope,
            time: self.time_unix_nano.value.unwrap_or(0),
            observed: self.observed_time_unix_nano.value.unwrap_or(0),
            event_name: string(self.event_name),
            body: self.body.map(|body| body.0).unwrap_or_default(),
            attributes: attributes(self.attributes),
        }
    }
}

fn string(text: Text<'_>) -> Cow<'_, str> {
    text.value.unwrap_or_default()
}

/// An id in lower case; one of zeros only is none.
fn hex(text: Text<'_>) -> Cow<'_, str> {
    let id = string(text);
    if id.bytes().all(|byte| byte == b'0') {
        Cow::Borrowed("")
    } else if id.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(id.to_ascii_lowercase())
    } else {
        id
    }
}

fn attributes(list: List<KeyValue<'_>>) -> Attributes<'_> {
    Attributes::new(pairs(list))
}

fn pairs(list: List<KeyValue<'_>>) -> Vec<(Cow<'_, str>, Value<'_>)> {
    list.0
        .into_iter()
        .map(|KeyValue { key, value }| (string(key), value.map(|v| v.0).unwrap_or_default()))
        .collect()
}

/// An `AnyValue`: an object of which one member is set.
struct AnyValue<'a>(Value<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for AnyValue<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AnyValueVisitor).map(Self)
    }
}

struct AnyValueVisitor;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Member {
    StringValue,
    BoolValue,
    IntValue,
    DoubleValue,
    ArrayValue,
    KvlistValue,
    BytesValue,
    #[serde(other)]
    Unknown,
}

#[derive(Default, Deserialize)]
struct Values<T> {
    #[serde(default = "List::default", bound(deserialize = "T: Deserialize<'de>"))]
    values: List<T>,
}

impl<'de> Visitor<'de> for AnyValueVisitor {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an OTLP value such as {\"stringValue\": …}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
        let mut value = Value::Absent;
        while let Some(member) = map.next_key::<Member>()? {
            let read = match member {
                Member::StringValue => {
                    map.next_value::<Text<'de>>()?.value.map_or(Value::Absent, Value::Text)
                }
                Member::BoolValue | Member::IntValue | Member::DoubleValue => {
                    scalar(map.next_value::<Scalar<'de>>()?.0, &member)
                }
                Member::BytesValue => bytes(map.next_value()?),
                Member::ArrayValue => {
                    let list: Option<Values<AnyValue<'de>>> = map.next_value()?;
                    let values = list.map(|list| list.values.0).unwrap_or_default();
                    Value::List(values.into_iter().map(|value| value.0).collect())
                }
                Member::KvlistValue => {
                    let list: Option<Values<KeyValue<'de>>> = map.next_value()?;
                    Value::Map(pairs(list.map(|list| list.values).unwrap_or_default()))
                }
                Member::Unknown => {
                    map.next_value::<IgnoredAny>()?;
                    Value::Absent
                }
            };
            if read != Value::Absent {
                value = read;
            }
        }
        Ok(value)
    }
}

/// A scalar by what its member says it is, since numbers come as text and floats as integers.
fn scalar<'a>(value: Value<'a>, member: &Member) -> Value<'a> {
    match (member, value) {
        (Member::IntValue, Value::Text(text)) => {
            text.parse().map_or(Value::Text(text), Value::Integer)
        }
        (Member::DoubleValue, Value::Text(text)) => match &*text {
            "NaN" => Value::Float(f64::NAN),
            "Infinity" => Value::Float(f64::INFINITY),
            "-Infinity" => Value::Float(f64::NEG_INFINITY),
            other => other.parse().map_or(Value::Text(text), Value::Float),
        },
        (_, value) => value,
    }
}

/// Bytes from base64; what is none is kept as the text it is.
fn bytes(text: Text<'_>) -> Value<'_> {
    let text = string(text);
    BASE64_STANDARD.decode(text.as_bytes()).map_or(Value::Text(text), Value::Bytes)
}

/// Any JSON scalar.
struct Scalar<'a>(Value<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor).map(Self)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, a boolean or a text")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value<'de>, E> {
        Ok(Value::Absent)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value<'de>, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value<'de>, E> {
        Ok(i64::try_from(value)
            .map_or_else(|_| Value::Text(Cow::Owned(value.to_string())), Value::Integer))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value<'de>, E> {
        Ok(Value::Float(value))
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }
}
