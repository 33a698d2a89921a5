//! YAML as a tree in which everything knows where it stands, with its references to the environment expanded.
//!
//! Aliases become copies and merge keys (`<<`) are merged, so that readers see plain maps and lists.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use granit_parser::{ErrorKind, Event, Marker, Parser, ScalarStyle, Span as Position, Tag};

use super::diagnostic::{Diagnostic, Diagnostics, Source, Span, Spanned};
use super::endpoint::secrets;
use super::expand::expand;
use super::node::{Entry, Node, Value};
use super::read::nearest;
use super::scalar::{Scalar, Style};

/// Where references to the environment are looked up.
pub(super) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// How deep maps and lists may be nested. The configuration's own reach 7, and settings leave as JSON, whose
/// readers often stop at 128.
const MAX_DEPTH: usize = 64;

/// How much aliases may add to a file, in bytes of text and one more a value. A few lines of aliases of aliases
/// would otherwise fill any memory.
const MAX_COPIED: usize = 1 << 20;

/// Keys and types whose values may be secrets, wherever they stand: also where they are refused, or misspelt.
const SECRETS: &[&str] = &[
    "headers",
    "response_headers",
    "bearertokenauth",
    "basicauth",
    "token",
    "tokens",
    "inline",
    "password",
    "client_secret",
    "key_pem",
];

/// What is no secret of an authenticator, by its type: worth showing where it is wrong.
const PUBLIC: &[(&str, &str)] = &[("bearertokenauth", "filename"), ("basicauth", "file")];

/// Reads the one document in `source`, and says in `found` what is wrong with it. Nothing is returned where the text
/// is empty or ends in a syntax error.
pub(super) fn read(source: &Arc<Source>, env: Env<'_>, found: &mut Diagnostics) -> Option<Node> {
    let secrets = Vec::new();
    let (stack, anchors) = (Vec::new(), HashMap::new());
    let mut builder = Builder { source, env, found, stack, anchors, copied: 0, secrets, root: None };
    let read = builder.read();
    source.hide(builder.secrets);
    read.and(builder.root)
}

/// Puts the parser's events together.
struct Builder<'a> {
    source: &'a Arc<Source>,
    env: Env<'a>,
    found: &'a mut Diagnostics,
    /// The maps and lists that are open, outermost first.
    stack: Vec<Open>,
    /// What aliases refer to, by the parser's number of the anchor.
    anchors: HashMap<usize, Node>,
    /// What aliases have added so far, up to [`MAX_COPIED`].
    copied: usize,
    /// Where the values under [`SECRETS`] stand, and the passwords in endpoints.
    secrets: Vec<Span>,
    root: Option<Node>,
}

/// A map or list of which not all is read.
struct Open {
    start: Span,
    anchor: usize,
    value: Collection,
}

enum Collection {
    List(Vec<Node>),
    Map(MapBuilder),
}

/// A map of which not all is read.
#[derive(Default)]
struct MapBuilder {
    entries: Vec<Entry>,
    /// Where each key stands that is written in the map itself.
    keys: HashMap<String, Span>,
    /// The key whose value comes next.
    key: Option<Key>,
    /// Whether the last key is one of [`SECRETS`].
    is_secret: bool,
    /// The values of `<<`.
    merged: Vec<Node>,
}

/// A key of which the value is still to come.
enum Key {
    Name(Spanned<String>),
    /// `<<`
    Merge,
    /// One that can't be, which is reported already.
    Refused,
}

impl Open {
    /// The key whose value comes next.
    fn key(&self) -> Option<&str> {
        match &self.value {
            Collection::Map(MapBuilder { key: Some(Key::Name(key)), .. }) => Some(key),
            _ => None,
        }
    }
}

impl Builder<'_> {
    /// Takes all events in. Nothing is returned where the text can't be read to its end.
    fn read(&mut self) -> Option<()> {
        let (source, mut documents) = (self.source, 0);
        for event in Parser::new_from_str(&source.text) {
            let (event, at) = match event {
                Ok(event) => event,
                Err(error) => {
                    self.syntax_error(*error.marker(), error.kind());
                    return None;
                }
            };
            if matches!(event, Event::DocumentStart(..)) {
                let span = self.span(at.start, at.end);
                documents += 1;
                if documents > 1 {
                    let second = Diagnostic::error(source, span, "a second document in one file");
                    self.found.push(second.help("a configuration is one document: remove the `---`"));
                    return None;
                }
            }
            self.event(event, at)?;
        }
        Some(())
    }

    /// Takes one event in. Nothing is returned where reading on makes no sense.
    fn event(&mut self, event: Event<'_>, at: Position) -> Option<()> {
        let span = self.span(at.start, at.end);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let style = self.style(style, tag.as_deref(), at);
                let scalar = Scalar { text: text.into_owned(), style };
                let scalar = if self.at_key() { scalar } else { self.expand(scalar, span) };
                let node = Node { span, value: Value::Scalar(scalar) };
                self.note_secrets(&node);
                self.add(node, anchor);
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.tag(tag.as_deref(), at);
                self.open(Collection::List(Vec::new()), anchor, span)?;
            }
            Event::MappingStart(_, anchor, tag) => {
                self.tag(tag.as_deref(), at);
                self.open(Collection::Map(MapBuilder::default()), anchor, span)?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Open { start, anchor, value } = self.stack.pop()?;
                let value = match value {
                    Collection::List(list) => Value::List(list),
                    Collection::Map(map) => Value::Map(self.merge(map)),
                };
                let span = Span { start: start.start, end: span.end.max(start.end) };
                self.add(Node { span, value }, anchor);
            }
            Event::Alias(anchor) => {
                let node = self.alias(anchor, span)?;
                self.note_secrets(&node);
                self.add(node, 0);
            }
            _ => {}
        }
        Some(())
    }

    /// Begins a map or list.
    fn open(&mut self, value: Collection, anchor: usize, start: Span) -> Option<()> {
        if self.stack.len() == MAX_DEPTH {
            self.error(start, format!("nested more than {MAX_DEPTH} deep"));
            return None;
        }
        self.stack.push(Open { start, anchor, value });
        Some(())
    }

    /// A copy of what an alias refers to.
    fn alias(&mut self, anchor: usize, span: Span) -> Option<Node> {
        let Some(node) = self.anchors.get(&anchor) else {
            self.error(span, "an alias inside of what it refers to");
            return None;
        };
        let (weight, depth) = node.size();
        self.copied += weight;
        if self.copied > MAX_COPIED {
            self.error(span, "the aliases up to here stand for more than 1 MiB");
            return None;
        }
        if self.stack.len() + depth > MAX_DEPTH {
            self.error(span, format!("nested more than {MAX_DEPTH} deep"));
            return None;
        }
        Some(self.anchors.get(&anchor)?.clone())
    }

    /// Puts a finished node where it belongs.
    fn add(&mut self, node: Node, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.stack.last_mut() else {
            self.root = Some(node);
            return;
        };
        let map = match &mut open.value {
            Collection::List(list) => return list.push(node),
            Collection::Map(map) => map,
        };
        match map.key.take() {
            Some(Key::Name(key)) => map.entries.push(Entry { key, value: node }),
            Some(Key::Merge) => map.merged.push(node),
            Some(Key::Refused) => {}
            None => {
                map.is_secret = matches!(&node.value, Value::Scalar(key) if is_secret(&key.text));
                map.key = Some(key(self.source, node, &mut map.keys).unwrap_or_else(|error| {
                    self.found.push(error);
                    Key::Refused
                }));
            }
        }
    }

    /// The entries of a map, with what `<<` brings in: a map, or several of which the first ones win.
    fn merge(&mut self, map: MapBuilder) -> Vec<Entry> {
        let MapBuilder { mut entries, mut keys, merged, .. } = map;
        let sources = merged.into_iter().flat_map(|node| match node.value {
            Value::List(list) => list,
            _ => vec![node],
        });
        for node in sources {
            let Value::Map(more) = node.value else {
                self.error(node.span, "`<<` takes a map, or a list of maps");
                continue;
            };
            for entry in more {
                if !keys.contains_key(&entry.key.value) {
                    keys.insert(entry.key.value.clone(), entry.key.span);
                    entries.push(entry);
                }
            }
        }
        entries
    }

    /// Whether the next node is a key.
    fn at_key(&self) -> bool {
        matches!(self.stack.last(), Some(Open { value: Collection::Map(MapBuilder { key: None, .. }), .. }))
    }

    /// Whether what comes next belongs to a value of one of [`SECRETS`].
    fn in_secret(&self) -> bool {
        let is_secret = |open: &Open| matches!(&open.value, Collection::Map(map) if map.is_secret && map.key.is_some());
        self.stack.iter().any(is_secret)
    }

    /// Whether what comes next is the value of one of [`PUBLIC`], right inside of an authenticator or its `htpasswd`.
    fn at_public(&self) -> bool {
        let keys: Option<Vec<&str>> = self.stack.iter().map(Open::key).collect();
        let Some(["extensions", of, within @ .., last]) = keys.as_deref() else {
            return false;
        };
        let of = of.split('/').next().unwrap_or(of);
        PUBLIC.contains(&(of, *last)) && matches!(within, [] | ["htpasswd"])
    }

    /// Notes where the secrets of `node` stand, if it has any. Names are none.
    fn note_secrets(&mut self, node: &Node) {
        if self.at_key() {
            return;
        }
        let in_secret = self.in_secret() && !self.at_public();
        node.scalars(&mut |span| match in_secret {
            true => self.secrets.push(span),
            false => self.secrets.extend(secrets(self.source.slice(span)).map(|range| within(span.start, range))),
        });
    }

    /// Hides the rest of the line at `offset` where the text can't be read, if it may hold secrets.
    fn hide_line(&mut self, offset: usize) {
        let (start, line) = self.source.line_at(offset);
        self.secrets.extend(secrets(line).map(|range| within(start, range)));
        let named = SECRETS.iter().filter_map(|key| line.find(key)).min();
        if named.is_none() && !self.in_secret() {
            return;
        }
        let named = named.unwrap_or(0);
        let value = line[named..].find(':').map_or(named, |colon| named + colon + 1);
        self.secrets.push(Span { start: start + value, end: start + line.len() });
    }

    /// Replaces the references to the environment in a value.
    fn expand(&mut self, scalar: Scalar, span: Span) -> Scalar {
        let errors = match expand(&scalar.text, scalar.style, self.env) {
            Ok(expanded) => return expanded,
            Err(errors) => errors,
        };
        // The caret goes under the reference itself, unless escapes make it look different in the file.
        let mut rest = span;
        for error in errors {
            let within = match self.source.slice(rest).find(&error.reference) {
                Some(at) => {
                    let start = rest.start + at;
                    rest.start = start + error.reference.len();
                    Span { start, end: rest.start }
                }
                None => span,
            };
            let error = Diagnostic::error(self.source, within, error.message).help(error.help);
            self.found.push(error);
        }
        Scalar { style: Style::Unresolved, ..scalar }
    }

    /// How a scalar came to its text. YAML's own tags say the same as quotes and their absence do.
    fn style(&mut self, style: ScalarStyle, tag: Option<&Tag>, at: Position) -> Style {
        self.tag(tag, at);
        match tag.map(|tag| tag.core_suffix().unwrap_or("str")) {
            Some("str") => Style::Text,
            Some(_) => Style::Plain,
            None if style == ScalarStyle::Plain => Style::Plain,
            None => Style::Text,
        }
    }

    /// Refuses tags that aren't YAML's own.
    fn tag(&mut self, tag: Option<&Tag>, at: Position) {
        let Some(tag) = tag else { return };
        let known = ["str", "int", "float", "bool", "null", "map", "seq"];
        if !tag.core_suffix().is_some_and(|suffix| known.contains(&suffix)) {
            let at = at.tag_span().unwrap_or(at);
            let span = self.span(at.start, at.end);
            let message = format!("the tag `{}` has no meaning here", tag.original());
            self.error(span, message);
        }
    }

    fn syntax_error(&mut self, marker: Marker, kind: &ErrorKind) {
        let span = self.span(marker, marker);
        self.hide_line(span.start);
        let mut error = Diagnostic::error(self.source, span, format!("this is not YAML: {kind}"));
        if let Some(open) = self.stack.last().map(|open| open.start)
            && let bracket @ ("{" | "[") = self.source.slice(Span { end: open.start + 1, ..open })
        {
            let (line, column) = self.source.position(open.start);
            error = error.note(format!("line {line}, column {column} has an open `{bracket}`"));
        }
        let help = match kind {
            ErrorKind::TabNotAllowed | ErrorKind::TabInBlockIndentation => {
                "indent with spaces: YAML forbids tabs there"
            }
            _ if self.source.line_at(span.start).1.contains("${") => {
                "inside of `{...}` and `[...]` a reference needs quotes: \"${env:NAME}\""
            }
            ErrorKind::ExpectedBlockMappingKey | ErrorKind::InvalidIndentation => {
                "the keys of a map begin in one column: check the spaces before them"
            }
            ErrorKind::MappingValueNotAllowed => {
                "is a `:` missing on the line before? A value with `: ` in it needs quotes"
            }
            _ => return self.found.push(error),
        };
        self.found.push(error.help(help));
    }

    fn error(&mut self, span: Span, message: impl Into<String>) {
        self.found.push(Diagnostic::error(self.source, span, message));
    }

    /// The parser's positions in bytes.
    fn span(&self, start: Marker, end: Marker) -> Span {
        let length = self.source.text.len();
        let byte = |marker: Marker| marker.byte_offset().unwrap_or(length).min(length);
        Span { start: byte(start), end: byte(end).max(byte(start)) }
    }
}

/// A piece of what begins at `start`.
fn within(start: usize, range: Range<usize>) -> Span {
    Span { start: start + range.start, end: start + range.end }
}

/// Whether the values of `key` may be secrets.
fn is_secret(key: &str) -> bool {
    nearest(key.split('/').next().unwrap_or(key), SECRETS).is_some()
}

/// What a node in a key's place gives.
fn key(source: &Arc<Source>, node: Node, keys: &mut HashMap<String, Span>) -> Result<Key, Diagnostic> {
    let Value::Scalar(Scalar { text, style }) = node.value else {
        let message = "a key must be a name, not a map or a list";
        return Err(Diagnostic::error(source, node.span, message));
    };
    if text == "<<" && style == Style::Plain {
        return Ok(Key::Merge);
    }
    if let Some(first) = keys.get(&text) {
        let error = Diagnostic::error(source, node.span, format!("duplicate key `{text}`"));
        return Err(error.earlier(*first));
    }
    keys.insert(text.clone(), node.span);
    Ok(Key::Name(Spanned::new(text, node.span)))
}
