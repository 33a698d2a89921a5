//! What applications emitted, made comparable: two runs of one program differ in times, in random ids and in the
//! order in which signals arrive, and in nothing else.
use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The scope that the programs in `tests/sdks` emit under. SDKs add metrics of their own about what they export,
/// which depend on time.
const SCOPE: &str = "example";

/// Attributes of resources that no two processes share.
const OF_THE_PROCESS: [&str; 2] = ["process.pid", "service.instance.id"];

/// A signal in OTLP JSON: the names of its lists of resources, scopes and items.
const SIGNALS: [[&str; 3]; 3] = [
    ["resourceSpans", "scopeSpans", "spans"],
    ["resourceLogs", "scopeLogs", "logRecords"],
    ["resourceMetrics", "scopeMetrics", "metrics"],
];

/// What an application emitted, an item each with its resource and its scope, by what a person would call it.
#[derive(Debug, Default)]
pub(crate) struct Telemetry {
    pub(crate) spans: Vec<Value>,
    pub(crate) logs: Vec<Value>,
    pub(crate) metrics: Vec<Value>,
}

impl Telemetry {
    /// What the application `service` emitted of these requests in OTLP JSON.
    pub(crate) fn read(service: &str, requests: impl IntoIterator<Item = Value>) -> Self {
        let mut items: [Vec<Value>; 3] = Default::default();
        for request in requests {
            for (items, names) in items.iter_mut().zip(SIGNALS) {
                collect(&request, names, service, items);
            }
        }
        let mut ids = BTreeMap::new();
        for items in &mut items {
            items.sort_by_cached_key(name);
            items.iter_mut().for_each(|item| settle(item, &mut ids));
        }
        let [spans, logs, metrics] = items;
        Self { spans, logs, metrics }
    }
}

/// Adds to `items` those that `request` has of the signal `names` from the application `service`.
fn collect(request: &Value, [resources, scopes, list]: [&str; 3], service: &str, items: &mut Vec<Value>) {
    for resource in array(request, resources) {
        let mut attributes = array(&resource["resource"], "attributes").to_vec();
        let of = |key: &str| attributes.iter().find(|attribute| attribute["key"] == key);
        if of("service.name").is_none_or(|name| name["value"]["stringValue"] != service) {
            continue;
        }
        attributes.retain(|attribute| OF_THE_PROCESS.iter().all(|key| attribute["key"] != *key));
        // Some SDKs keep the attributes of resources without an order.
        attributes.sort_by_cached_key(|attribute| attribute["key"].to_string());
        for scope in array(resource, scopes).iter().filter(|scope| scope["scope"]["name"] == SCOPE) {
            items.extend(array(scope, list).iter().map(|item| {
                serde_json::json!({
                    "resource": attributes,
                    "resource schema": resource["schemaUrl"],
                    "scope": scope["scope"],
                    "scope schema": scope["schemaUrl"],
                    "item": item,
                })
            }));
        }
    }
}

/// Takes out times, and numbers ids by their first appearance.
fn settle(value: &mut Value, ids: &mut BTreeMap<String, usize>) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !name.to_ascii_lowercase().ends_with("timeunixnano"));
            for (name, value) in fields.iter_mut() {
                match name.as_str() {
                    "traceId" | "spanId" | "parentSpanId" => number(value, ids),
                    _ => settle(value, ids),
                }
            }
            order(fields);
        }
        Value::Array(values) => values.iter_mut().for_each(|value| settle(value, ids)),
        _ => {}
    }
}

/// Sorts the data points of a metric, which some SDKs keep without an order.
fn order(fields: &mut Map<String, Value>) {
    if let Some(Value::Array(points)) = fields.get_mut("dataPoints") {
        points.sort_by_cached_key(|point| point["attributes"].to_string());
    }
}

fn number(id: &mut Value, ids: &mut BTreeMap<String, usize>) {
    if let Some(text) = id.as_str().filter(|text| !text.is_empty()) {
        let next = ids.len();
        *id = (*ids.entry(text.to_owned()).or_insert(next)).into();
    }
}

/// What tells one item from the others: a span's or metric's name, a record's body.
fn name(item: &Value) -> String {
    let item = &item["item"];
    item.get("name").unwrap_or(&item["body"]).to_string()
}

fn array<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
