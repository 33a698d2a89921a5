//! The same operations on prost structs: slow, plain, and by other means.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use crate::batch::{Change, Column, Field, Outcome, Verdict};

/// One value of a column: its kind and its bytes.
type Cell = (u8, Vec<u8>);

/// A batch as a list of rows.
pub(super) struct Oracle {
    request: ExportLogsServiceRequest,
    rows: Vec<Row>,
    /// The fields in the order in which they were first changed, which is the order of what is new.
    order: Vec<Field>,
}

#[derive(Clone)]
struct Row {
    /// Where its scope is in the request.
    resource: usize,
    scope: usize,
    record: LogRecord,
    changes: Vec<(Field, Cell)>,
    route: Option<String>,
    is_touched: bool,
}

impl Row {
    fn changed(&self, field: &Field) -> Option<&Cell> {
        self.changes.iter().find(|(changed, _)| changed == field).map(|(_, cell)| cell)
    }
}

impl Oracle {
    pub(super) fn new(request: ExportLogsServiceRequest) -> Self {
        let mut rows = Vec::new();
        for (resource, resource_logs) in request.resource_logs.iter().enumerate() {
            for (scope, scope_logs) in resource_logs.scope_logs.iter().enumerate() {
                rows.extend(scope_logs.log_records.iter().cloned().map(|record| Row {
                    resource,
                    scope,
                    record,
                    changes: Vec::new(),
                    route: None,
                    is_touched: false,
                }));
            }
        }
        Self { request, rows, order: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn apply(&mut self, outcome: &Outcome) {
        for Change { field, rows, values } in &outcome.changes {
            let all: Vec<u32> = (0..self.len() as u32).collect();
            for (i, &row) in (if rows.is_empty() { &all } else { rows }).iter().enumerate() {
                let cell = cell(values, if values.kinds.len() == 1 { 0 } else { i });
                let row = &mut self.rows[row as usize];
                if *field == Field::LogRecord {
                    row.is_touched = true;
                    row.record = LogRecord::decode(&cell.1[..]).unwrap();
                    row.changes.retain(|(field, _)| !is_of_record(field));
                    continue;
                }
                // A removal of what is not there is none.
                if cell.0 == 0 && row.changed(field).is_none() && !has(&self.request, row, field) {
                    continue;
                }
                row.changes.retain(|(changed, _)| changed != field);
                row.is_touched = true;
                row.changes.push((field.clone(), cell));
            }
            if !self.order.contains(field) && self.rows.iter().any(|row| row.changed(field).is_some()) {
                self.order.push(field.clone());
            }
        }
        let mut verdicts = outcome.rows.iter().map(|&i| &outcome.verdicts[usize::from(i)]);
        self.rows.retain_mut(|row| match verdicts.next() {
            Some(Verdict::Drop(_)) => false,
            Some(Verdict::Route(route)) => {
                row.route = Some(route.clone());
                true
            }
            _ => true,
        });
    }

    fn resource(&self, row: &Row) -> Option<Resource> {
        let mut resource = self.request.resource_logs[row.resource].resource.clone();
        for field in &self.order {
            if let (Field::ResourceAttribute(name), Some(cell)) = (field, row.changed(field)) {
                set(&mut resource.get_or_insert_default().attributes, name, cell);
            }
        }
        resource
    }

    fn scope(&self, row: &Row) -> Option<InstrumentationScope> {
        let mut scope = self.request.resource_logs[row.resource].scope_logs[row.scope].scope.clone();
        for field in &self.order {
            if let (Field::ScopeAttribute(name), Some(cell)) = (field, row.changed(field)) {
                set(&mut scope.get_or_insert_default().attributes, name, cell);
            }
        }
        scope
    }

    fn record(&self, row: &Row) -> LogRecord {
        let mut record = row.record.clone();
        for field in &self.order {
            let Some(cell) = row.changed(field) else {
                continue;
            };
            let int = || cell.1[..].try_into().map_or(0, u64::from_le_bytes);
            let text = || String::from_utf8(cell.1.clone()).unwrap();
            match field {
                Field::Time => record.time_unix_nano = int(),
                Field::ObservedTime => record.observed_time_unix_nano = int(),
                Field::SeverityNumber => record.severity_number = int() as i32,
                Field::SeverityText => record.severity_text = text(),
                Field::EventName => record.event_name = text(),
                Field::Body => record.body = (cell.0 != 0).then(|| any_value(cell)),
                Field::TraceId => record.trace_id = cell.1.clone(),
                Field::SpanId => record.span_id = cell.1.clone(),
                Field::TraceFlags => record.flags = record.flags & !0xff | int() as u32,
                Field::Attribute(name) => set(&mut record.attributes, name, cell),
                _ => {}
            }
        }
        record
    }

    pub(super) fn column(&self, field: &Field) -> Vec<Cell> {
        let text = |text: String| {
            if text.is_empty() { (0, vec![]) } else { (1, text.into_bytes()) }
        };
        let bytes = |bytes: Vec<u8>| {
            if bytes.is_empty() { (0, vec![]) } else { (7, bytes) }
        };
        let int = |value: u64| {
            if value == 0 { (0, vec![]) } else { (3, value.to_le_bytes().to_vec()) }
        };
        let read = |row: &Row| {
            let record = self.record(row);
            match field {
                Field::Time => int(record.time_unix_nano),
                Field::ObservedTime => int(record.observed_time_unix_nano),
                Field::SeverityNumber => int(i64::from(record.severity_number) as u64),
                Field::SeverityText => text(record.severity_text),
                Field::EventName => text(record.event_name),
                Field::Body => record.body.map_or((0, vec![]), |value| from_any(&value)),
                Field::TraceId => bytes(record.trace_id),
                Field::SpanId => bytes(record.span_id),
                Field::TraceFlags => int(u64::from(record.flags & 0xff)),
                Field::Attribute(name) => get(&record.attributes, name),
                Field::ResourceAttribute(name) => get(&self.resource(row).unwrap_or_default().attributes, name),
                Field::ScopeAttribute(name) => get(&self.scope(row).unwrap_or_default().attributes, name),
                Field::ScopeName => text(self.scope(row).unwrap_or_default().name),
                Field::ScopeVersion => text(self.scope(row).unwrap_or_default().version),
                Field::LogRecord => (7, record.encode_to_vec()),
                Field::Scope => (7, self.scope(row).unwrap_or_default().encode_to_vec()),
                Field::Resource => (7, self.resource(row).unwrap_or_default().encode_to_vec()),
            }
        };
        self.rows.iter().map(read).collect()
    }

    /// What a destination gets that takes the routes which `select` accepts: the records by resource and scope, once
    /// for each combination of changes of the resource and of the scope.
    pub(super) fn encode(&self, select: impl Fn(Option<&str>) -> bool) -> ExportLogsServiceRequest {
        let rows: Vec<&Row> = self.rows.iter().filter(|row| select(row.route.as_deref())).collect();
        let same = |level: fn(&Field) -> bool, a: &Row, b: &Row| {
            let of = |row: &Row| -> Vec<_> {
                self.order.iter().filter(|f| level(f)).map(|f| row.changed(f).cloned()).collect()
            };
            of(a) == of(b)
        };
        let mut out = ExportLogsServiceRequest::default();
        for (i, resource_logs) in self.request.resource_logs.iter().enumerate() {
            let of_resource = rows.iter().copied().filter(|row| row.resource == i).collect();
            for rows in groups(of_resource, |a, b| same(is_of_resource, a, b)) {
                let resource = self.resource(rows[0]);
                let mut scope_logs = Vec::new();
                for (j, scope) in resource_logs.scope_logs.iter().enumerate() {
                    let of_scope = rows.iter().copied().filter(|row| row.scope == j).collect();
                    for rows in groups(of_scope, |a, b| same(is_of_scope, a, b)) {
                        let log_records = rows.iter().map(|row| self.record(row)).collect();
                        let (scope, schema_url) = (self.scope(rows[0]), scope.schema_url.clone());
                        scope_logs.push(ScopeLogs { scope, log_records, schema_url });
                    }
                }
                out.resource_logs.push(ResourceLogs {
                    resource,
                    scope_logs,
                    schema_url: resource_logs.schema_url.clone(),
                });
            }
        }
        out
    }

    /// For each row that `select` accepts, whether a filter changed it.
    pub(super) fn touched(&self, select: impl Fn(Option<&str>) -> bool) -> Vec<bool> {
        self.rows.iter().filter(|row| select(row.route.as_deref())).map(|row| row.is_touched).collect()
    }
}

/// Whether a row was received with an attribute.
fn has(request: &ExportLogsServiceRequest, row: &Row, field: &Field) -> bool {
    let resource = &request.resource_logs[row.resource];
    let (attributes, name) = match field {
        Field::ResourceAttribute(name) => (resource.resource.as_ref().map(|resource| &resource.attributes), name),
        Field::ScopeAttribute(name) => {
            let scope = resource.scope_logs[row.scope].scope.as_ref();
            (scope.map(|scope| &scope.attributes), name)
        }
        Field::Attribute(name) => (Some(&row.record.attributes), name),
        // Of the others nothing depends on it.
        _ => return true,
    };
    attributes.is_some_and(|attributes| attributes.iter().any(|pair| pair.key == *name))
}

fn is_of_resource(field: &Field) -> bool {
    matches!(field, Field::ResourceAttribute(_))
}

fn is_of_scope(field: &Field) -> bool {
    matches!(field, Field::ScopeAttribute(_))
}

fn is_of_record(field: &Field) -> bool {
    !is_of_resource(field) && !is_of_scope(field)
}

fn groups(rows: Vec<&Row>, same: impl Fn(&Row, &Row) -> bool) -> Vec<Vec<&Row>> {
    let mut groups: Vec<Vec<&Row>> = Vec::new();
    for row in rows {
        match groups.iter_mut().find(|group| same(group[0], row)) {
            Some(group) => group.push(row),
            None => groups.push(vec![row]),
        }
    }
    groups
}

pub(super) fn cell(column: &Column, at: usize) -> Cell {
    let start = if at == 0 { 0 } else { column.ends[at - 1] as usize };
    (column.kinds[at], column.data[start..column.ends[at] as usize].to_vec())
}

fn set(attributes: &mut Vec<KeyValue>, name: &str, cell: &Cell) {
    let new = KeyValue { key: name.into(), value: Some(any_value(cell)), key_strindex: 0 };
    let at = attributes.iter().position(|pair| pair.key == name);
    attributes.retain({
        let mut first = cell.0 != 0;
        move |pair| pair.key != name || std::mem::replace(&mut first, false)
    });
    match at {
        _ if cell.0 == 0 => {}
        Some(at) => attributes[at] = new,
        None => attributes.push(new),
    }
}

fn get(attributes: &[KeyValue], name: &str) -> Cell {
    let pair = attributes.iter().find(|pair| pair.key == name);
    pair.and_then(|pair| pair.value.as_ref()).map_or((0, vec![]), from_any)
}

pub(super) fn any_value((kind, data): &Cell) -> AnyValue {
    let fixed = || data[..].try_into().unwrap();
    let value = match kind {
        1 => Value::StringValue(String::from_utf8(data.clone()).unwrap()),
        2 => Value::BoolValue(data == &[1]),
        3 => Value::IntValue(i64::from_le_bytes(fixed())),
        4 => Value::DoubleValue(f64::from_le_bytes(fixed())),
        5 => Value::ArrayValue(ArrayValue::decode(&data[..]).unwrap()),
        6 => Value::KvlistValue(KeyValueList::decode(&data[..]).unwrap()),
        7 => Value::BytesValue(data.clone()),
        _ => return AnyValue { value: None },
    };
    AnyValue { value: Some(value) }
}

pub(super) fn from_any(value: &AnyValue) -> Cell {
    match &value.value {
        None | Some(Value::StringValueStrindex(_)) => (0, vec![]),
        Some(Value::StringValue(text)) => (1, text.clone().into_bytes()),
        Some(Value::BoolValue(value)) => (2, vec![u8::from(*value)]),
        Some(Value::IntValue(value)) => (3, value.to_le_bytes().to_vec()),
        Some(Value::DoubleValue(value)) => (4, value.to_le_bytes().to_vec()),
        Some(Value::ArrayValue(array)) => (5, array.encode_to_vec()),
        Some(Value::KvlistValue(list)) => (6, list.encode_to_vec()),
        Some(Value::BytesValue(bytes)) => (7, bytes.clone()),
    }
}
