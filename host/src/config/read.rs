//! Readers over the YAML tree. What is wrong is gathered in [`Reader::found`] while reading goes on, so that all of
//! it comes out at once. A reader of one value answers a [`Diagnostic`] itself; `Option` means "reported already".

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Number;

use super::diagnostic::{Diagnostic, Diagnostics, Source, Span, Spanned};
use super::endpoint::{Address, redacted};
use super::node::{Node, Value};
use super::scalar::{Scalar, Style, Typed, duration};

/// What readers share.
pub(super) struct Reader {
    pub(super) source: Arc<Source>,
    /// Where relative paths start from: the configuration file's folder.
    pub(super) folder: PathBuf,
    /// What is wrong so far.
    pub(super) found: Diagnostics,
}

/// What fits into the address of a Unix domain socket on Linux: 108 bytes, of which the last is a zero.
const MAX_SOCKET: usize = 107;

/// What one value gives.
pub(super) type Read<T> = Result<T, Diagnostic>;

/// The keys that a map may have.
pub(super) struct Keys {
    /// Which map, for "unknown key ... in ...".
    pub(super) of: &'static str,
    /// The keys.
    pub(super) known: &'static [&'static str],
    /// Keys that the Collector has and Sluicegate has not.
    pub(super) foreign: &'static [Foreign],
}

/// A word of the Collector's that Sluicegate refuses: the word, what is so about it, and what to do.
pub(super) type Foreign = (&'static str, &'static str, &'static str);

/// A map whose keys are all known.
pub(super) struct Fields<'n> {
    /// What names the map: where an error about something missing points.
    pub(super) span: Span,
    /// Whether there were other keys, which are reported.
    pub(super) refused: bool,
    entries: Vec<(&'n Spanned<String>, &'n Node)>,
}

impl<'n> Fields<'n> {
    /// The value of `key`, unless it is left out or null, which are the same, as in the Collector.
    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        let (_, node) = self.entries.iter().find(|(name, _)| name.value == key)?;
        (!node.is_null()).then_some(node)
    }

    /// Whether `key` is there, null or not.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(name, _)| name.value == key)
    }

    /// Where `key` stands, or else the map's name.
    pub(super) fn span(&self, key: &str) -> Span {
        let entry = self.entries.iter().find(|(name, _)| name.value == key);
        entry.map_or(self.span, |(name, _)| name.span)
    }
}

/// Maps and lists, and what becomes of errors.
impl Reader {
    /// The fields of the map `node`, which is named at `span`. Nothing at all is a map without keys.
    pub(super) fn fields<'n>(&mut self, node: &'n Node, span: Span, keys: &Keys) -> Option<Fields<'n>> {
        let mut entries = self.entries(node)?;
        let written = entries.len();
        entries.retain(|(key, _)| {
            let known = keys.known.contains(&key.as_str());
            if !known {
                let error = self.unknown(key, "key", keys);
                self.found.push(error);
            }
            known
        });
        Some(Fields { span, refused: entries.len() < written, entries })
    }

    /// The fields of the map at `key` of `parent`, which may be left out.
    pub(super) fn section<'n>(&mut self, parent: &Fields<'n>, key: &str, keys: &Keys) -> Option<Fields<'n>> {
        let span = parent.span(key);
        match parent.get(key) {
            Some(node) => self.fields(node, span, keys),
            None => Some(Fields { span, refused: false, entries: Vec::new() }),
        }
    }

    /// The keys and values of the map `node`. Nothing at all is a map without keys.
    pub(super) fn entries<'n>(&mut self, node: &'n Node) -> Option<Vec<(&'n Spanned<String>, &'n Node)>> {
        self.value(node, |reader, node| match &node.value {
            Value::Map(entries) => Ok(entries.iter().map(|entry| (&entry.key, &entry.value)).collect()),
            _ if node.is_null() => Ok(Vec::new()),
            _ => Err(reader.mismatch(node, "a map")),
        })
    }

    /// What `read` makes of the value of `key`, or `default` where it is left out.
    pub(super) fn field<'n, T>(
        &mut self,
        fields: &Fields<'n>,
        key: &str,
        default: T,
        read: impl FnOnce(&Self, &'n Node) -> Read<T>,
    ) -> Option<T> {
        match fields.get(key) {
            Some(node) => self.value(node, read),
            None => Some(default),
        }
    }

    /// What `read` makes of the value of `key`, which must be there: it is `what`.
    pub(super) fn required<'n, T>(
        &mut self,
        fields: &Fields<'n>,
        key: &str,
        what: &str,
        read: impl FnOnce(&Self, &'n Node) -> Read<T>,
    ) -> Option<T> {
        let Some(node) = fields.get(key) else {
            let error = self.error(fields.span(key), format!("`{key}` is missing"));
            return self.report(error.help(format!("`{key}` is {what}")));
        };
        self.value(node, read)
    }

    /// What `read` makes of `node`.
    pub(super) fn value<'n, T>(&mut self, node: &'n Node, read: impl FnOnce(&Self, &'n Node) -> Read<T>) -> Option<T> {
        match read(self, node) {
            Ok(value) => Some(value),
            // What could not be expanded is reported already.
            Err(_) if node.is_unresolved() => None,
            Err(error) => self.report(error),
        }
    }

    /// What `read` makes of each entry of the list at `key`, which may be left out.
    pub(super) fn items<'n, T>(
        &mut self,
        fields: &Fields<'n>,
        key: &str,
        read: impl Fn(&Self, &'n Node) -> Read<T>,
    ) -> Option<Vec<T>> {
        let Some(node) = fields.get(key) else {
            return Some(Vec::new());
        };
        let list = self.value(node, Self::list)?;
        let items: Vec<_> = list.iter().map(|node| self.value(node, &read)).collect();
        items.into_iter().collect()
    }

    /// The names in the list `node`, which must be keys of `defined`, each one once.
    pub(super) fn names<T>(
        &mut self,
        node: &Node,
        section: &str,
        defined: &BTreeMap<String, T>,
    ) -> Option<Vec<Spanned<String>>> {
        let list = self.value(node, Self::list)?;
        let mut names: Vec<Spanned<String>> = Vec::new();
        for node in list {
            match self.value(node, |reader, node| reader.name(node, section, defined)) {
                Some(name) if names.iter().any(|other| other.value == name) => {
                    self.report::<()>(self.error(node.span, format!("`{name}` stands here twice")));
                }
                Some(name) => names.push(Spanned::new(name.to_owned(), node.span)),
                None => {}
            }
        }
        Some(names)
    }

    /// Notes an error. Answers nothing, for what could not be read.
    pub(super) fn report<T>(&mut self, error: Diagnostic) -> Option<T> {
        self.found.push(error);
        None
    }
}

/// Single values.
impl Reader {
    /// A string, not empty.
    pub(super) fn string<'n>(&self, node: &'n Node) -> Read<&'n str> {
        let Value::Scalar(scalar) = &node.value else {
            return Err(self.mismatch(node, "a string"));
        };
        if scalar.style != Style::Expanded && scalar.typed() != Typed::String {
            let error = self.mismatch(node, "a string");
            return Err(error.help(format!("put it in quotes: \"{}\"", scalar.text)));
        }
        if scalar.text.is_empty() {
            return Err(self.error(node.span, "expected a string, found an empty one"));
        }
        Ok(&scalar.text)
    }

    /// A string, not empty, that no message shows: what is wrong with it is said at `span`.
    pub(super) fn hidden<'n>(&self, node: &'n Node, span: Span) -> Read<&'n str> {
        self.string(node).map_err(|error| {
            let error = error.only_at(span);
            match node.value.scalar().map(Scalar::typed) {
                Some(Typed::Bool(_) | Typed::Number(_) | Typed::NotFinite) => error.help("put it in quotes"),
                _ => error,
            }
        })
    }

    /// A boolean.
    pub(super) fn boolean(&self, node: &Node) -> Read<bool> {
        match node.value.scalar().map(Scalar::typed) {
            Some(Typed::Bool(value)) => Ok(value),
            _ => Err(self.mismatch(node, "true or false")),
        }
    }

    /// An integer in `range`, whose ends `why` explains.
    pub(super) fn integer<N: TryFrom<i64> + PartialOrd + Display>(
        &self,
        node: &Node,
        range: RangeInclusive<N>,
        why: &str,
    ) -> Read<N> {
        let wanted = format!("an integer from {} to {}", range.start(), range.end());
        let read = |number: &Number| number.as_i64().and_then(|integer| N::try_from(integer).ok());
        self.number(node, &range, &wanted, why, read)
    }

    /// A number in `range`, whose ends `why` explains.
    pub(super) fn float(&self, node: &Node, range: RangeInclusive<f64>, why: &str) -> Read<f64> {
        let wanted = format!("a number from {} to {}", range.start(), range.end());
        self.number(node, &range, &wanted, why, Number::as_f64)
    }

    /// A percentage such as `12.5%`, as a share of one.
    pub(super) fn percentage(&self, node: &Node) -> Read<f64> {
        let wanted = "a percentage from 0% to 100%";
        let text = node.value.scalar().map_or("", |scalar| scalar.text.trim());
        match text.strip_suffix('%').and_then(|number| number.trim_end().parse::<f64>().ok()) {
            Some(number) if (0.0..=100.0).contains(&number) => Ok(number / 100.0),
            Some(_) => Err(self.error(node.span, format!("expected {wanted}, found {text}"))),
            None => Err(self.mismatch(node, wanted).help("write it with its sign: `10%`")),
        }
    }

    fn number<N: PartialOrd>(
        &self,
        node: &Node,
        range: &RangeInclusive<N>,
        wanted: &str,
        why: &str,
        read: impl FnOnce(&Number) -> Option<N>,
    ) -> Read<N> {
        let (text, number) = match node.value.scalar().map(|scalar| (scalar, scalar.typed())) {
            Some((scalar, Typed::Number(number))) => (scalar.text.trim(), number),
            _ => return Err(self.mismatch(node, wanted)),
        };
        read(&number)
            .filter(|number| range.contains(number))
            .ok_or_else(|| self.error(node.span, format!("expected {wanted}, found {text}")).help(why))
    }

    /// A duration.
    pub(super) fn duration(&self, node: &Node) -> Read<Duration> {
        let help = "a duration is numbers with units, such as `100ms`, `5s` or `1m30s`";
        let text = match node.value.scalar().map(|scalar| (scalar, scalar.typed())) {
            Some((scalar, Typed::String | Typed::Number(_))) => scalar.text.trim(),
            _ => return Err(self.mismatch(node, "a duration").help(help)),
        };
        duration(text).map_err(|error| self.error(node.span, format!("`{text}` is no duration: {error}")).help(help))
    }

    /// A duration in `range`, whose ends `why` explains.
    pub(super) fn duration_in(&self, node: &Node, range: RangeInclusive<Duration>, why: &str) -> Read<Duration> {
        let duration = self.duration(node)?;
        if range.contains(&duration) {
            return Ok(duration);
        }
        let (low, high) = (range.start(), range.end());
        let message = format!("expected a duration from {low:?} to {high:?}, found {duration:?}");
        Err(self.error(node.span, message).help(why))
    }

    /// A duration, of which `0s` stands for none.
    pub(super) fn limit(&self, node: &Node) -> Read<Option<Duration>> {
        let duration = self.duration(node)?;
        Ok((!duration.is_zero()).then_some(duration))
    }

    /// One of several words, in whatever case.
    pub(super) fn choice<T: Copy>(&self, node: &Node, choices: &[(&'static str, T)]) -> Read<T> {
        let text = self.string(node)?;
        let choice = choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
        choice.map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            self.error(node.span, format!("`{text}` is not allowed here"))
                .suggest(nearest(text, &words))
                .help(allowed(&words))
        })
    }

    /// Where to listen on the network.
    pub(super) fn listen(&self, node: &Node) -> Read<Spanned<Address>> {
        match self.address(node)? {
            Spanned { value: Address::Unix(_), span } => {
                let error = self.error(span, "a Unix domain socket is not supported here");
                Err(error.help("write `host:port`, such as `127.0.0.1:4317`"))
            }
            address => Ok(address),
        }
    }

    /// Where to listen, be it on a Unix domain socket.
    pub(super) fn address(&self, node: &Node) -> Read<Spanned<Address>> {
        let text = self.string(node)?;
        let address = text.parse().map_err(|error| {
            let message = format!("`{}` is nothing to listen on: {error}", redacted(text));
            let help = "write `host:port`, such as `127.0.0.1:4317`, with port 0 for any free one; or `unix:///PATH`";
            self.error(node.span, message).help(help)
        })?;
        match address {
            Address::Unix(path) => self.socket(&path, node.span),
            address => Ok(Spanned::new(address, node.span)),
        }
    }

    /// The Unix domain socket at `path`; a relative one starts from the configuration file's folder.
    pub(super) fn socket(&self, path: &Path, span: Span) -> Read<Spanned<Address>> {
        let path = self.folder.join(path);
        let length = path.as_os_str().len();
        if length > MAX_SOCKET {
            let message = format!("the socket's whole path has {length} bytes, and may have {MAX_SOCKET}");
            return Err(self.error(span, message).help("move it up, as into `/run`"));
        }
        Ok(Spanned::new(Address::Unix(path), span))
    }

    /// A path; a relative one starts from the configuration file's folder.
    pub(super) fn path(&self, node: &Node) -> Read<Spanned<PathBuf>> {
        let text = self.string(node)?;
        if text.contains('\0') {
            return Err(self.error(node.span, "a path can't hold a zero byte"));
        }
        Ok(Spanned::new(self.folder.join(text), node.span))
    }

    /// A list.
    pub(super) fn list<'n>(&self, node: &'n Node) -> Read<&'n [Node]> {
        match &node.value {
            Value::List(list) => Ok(list),
            Value::Scalar(scalar) => {
                let help = format!("a list of one is `[{}]`", redacted(&scalar.text));
                Err(self.mismatch(node, "a list").help(help))
            }
            Value::Map(_) => Err(self.mismatch(node, "a list")),
        }
    }

    /// A name that is a key of `defined`, which is the section `section`.
    fn name<'n, T>(&self, node: &'n Node, section: &str, defined: &BTreeMap<String, T>) -> Read<&'n str> {
        let name = self.string(node)?;
        if defined.contains_key(name) {
            return Ok(name);
        }
        let known: Vec<&str> = defined.keys().map(String::as_str).collect();
        let help = match known.as_slice() {
            [] => format!("`{section}` defines nothing"),
            known => format!("`{section}` defines {}", list(known)),
        };
        let error = self.error(node.span, format!("`{name}` is not defined in `{section}`"));
        Err(error.suggest(nearest(name, &known)).help(help))
    }

    /// That `word`, a `noun`, is none of `keys`.
    pub(super) fn unknown(&self, word: &Spanned<String>, noun: &str, keys: &Keys) -> Diagnostic {
        if let Some((_, message, help)) = keys.foreign.iter().find(|(key, ..)| *key == word.value) {
            return self.error(word.span, *message).help(*help);
        }
        self.error(word.span, format!("unknown {noun} `{}` in {}", word.value, keys.of))
            .suggest(nearest(word, keys.known))
            .help(allowed(keys.known))
    }

    /// That `node` is something else than `wanted`.
    pub(super) fn mismatch(&self, node: &Node, wanted: &str) -> Diagnostic {
        let error = self.error(node.span, format!("expected {wanted}, found {}", node.name()));
        let Some(scalar) = node.value.scalar() else {
            return error;
        };
        let plain = Scalar { style: Style::Plain, ..scalar.clone() };
        let quoted = scalar.style == Style::Text && plain.typed() != Typed::String;
        if quoted && !scalar.text.is_empty() {
            return error.help("without quotes it is another type");
        }
        error
    }

    /// An error at `span`.
    pub(super) fn error(&self, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(&self.source, span, message)
    }
}

/// The one of `words` that `word` was most likely meant to be.
pub(super) fn nearest<'w>(word: &str, words: &[&'w str]) -> Option<&'w str> {
    // A third of the letters wrong, or three, is a slip; more is another word.
    let limit = (word.chars().count() / 3).clamp(1, 3);
    let word = word.to_lowercase();
    let distances = words.iter().map(|other| (strsim::damerau_levenshtein(&word, &other.to_lowercase()), *other));
    let near = distances.filter(|(distance, _)| *distance <= limit).min();
    near.map(|(_, other)| other)
}

/// What may be written instead.
pub(super) fn allowed(words: &[&str]) -> String {
    match words {
        [word] => format!("allowed is only `{word}`"),
        words => format!("allowed are {}", list(words)),
    }
}

/// The words in backquotes.
pub(super) fn list(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    words.join(", ")
}
