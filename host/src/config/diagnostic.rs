//! What is wrong with a configuration, and where: a message, the source line with a caret, and what to do.

use std::fmt;
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use annotate_snippets::{AnnotationKind, Group, Level as Title, Origin, Renderer, Snippet};

/// A configuration file: the text that spans point into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file, as it was given.
    pub path: PathBuf,
    /// What it holds. Broken UTF-8 is replaced, so that it can still be shown.
    pub text: String,
    /// What is not shown. Known once the text is read.
    secrets: OnceLock<Vec<Span>>,
}

/// A piece of a [`Source`]. The default stands for the whole file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte after the last one.
    pub end: usize,
}

/// A value and where it stands. A default stands where the section does that leaves it out.
///
/// Two are equal if their values are: a line more above them changes nothing.
#[derive(Debug, Clone)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

/// How much a [`Diagnostic`] matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The configuration can't be used.
    Error,
    /// It can be used, but a part of it does nothing.
    Warning,
}

/// One thing that is wrong. Displays as text of several lines, without colours and without a final line end.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    source: Arc<Source>,
    level: Level,
    /// Nothing where the file as a whole is meant.
    span: Option<Span>,
    message: String,
    label: Option<String>,
    notes: Vec<Note>,
}

/// Everything that is wrong. Displays as the diagnostics in the order of the text, with an empty line after each, then
/// one line that counts the errors.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics(Vec<Diagnostic>);

/// A line under the source.
#[derive(Debug, Clone)]
enum Note {
    /// What else happened, or why.
    More(String),
    /// What to do.
    Help(String),
    /// Where the same stands already.
    Earlier(Span),
}

/// Longer reports help nobody. The count at the end still counts all.
const SHOWN: usize = 50;

impl Source {
    /// The file at `path`, which holds `text`.
    pub(super) fn new(path: &Path, text: impl Into<String>) -> Self {
        Self { path: path.to_owned(), text: text.into(), secrets: OnceLock::new() }
    }

    /// Keeps these pieces out of what is shown, here and by whoever shares this source. Counts once.
    pub(super) fn hide(&self, secrets: Vec<Span>) {
        let _ = self.secrets.set(secrets);
    }

    /// The line of these bytes as it is shown: each byte of a secret's words is a `*`, so that everything keeps its place.
    fn shown(&self, line: Range<usize>) -> String {
        let mut shown = self.text.as_bytes()[line.clone()].to_vec();
        for secret in self.secrets.get().into_iter().flatten() {
            let start = secret.start.clamp(line.start, line.end);
            let end = secret.end.clamp(start, line.end);
            let secret = &mut shown[start - line.start..end - line.start];
            // Spaces stay, as the indentation behind a block of lines counts as its end.
            secret.iter_mut().filter(|byte| !byte.is_ascii_whitespace()).for_each(|byte| *byte = b'*');
        }
        String::from_utf8_lossy(&shown).into_owned()
    }

    /// One-based line and column of a byte, the column counted in characters.
    #[must_use]
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let (line, range) = self.line(offset);
        let before = self.text.get(range.start..offset.min(range.end)).unwrap_or_default();
        (line, before.chars().count() + 1)
    }

    /// The text of `span`.
    #[must_use]
    pub fn slice(&self, span: Span) -> &str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    /// Where the line that holds the byte at `offset` starts, and its text.
    pub(super) fn line_at(&self, offset: usize) -> (usize, &str) {
        let (_, line) = self.line(offset);
        (line.start, &self.text[line])
    }

    /// The one-based number and the bytes, without its end, of the line that holds the byte at `offset`.
    fn line(&self, offset: usize) -> (usize, Range<usize>) {
        let (before, after) = self.text.as_bytes().split_at(offset.min(self.text.len()));
        let number = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let newline = before.iter().rposition(|byte| *byte == b'\n');
        let start = newline.map_or(0, |newline| newline + 1);
        let length = after.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        let end = before.len() + length.unwrap_or(after.len());
        (number, start..end)
    }
}

impl<T> Spanned<T> {
    /// `value`, which stands at `span`.
    pub fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

impl<T: PartialEq> PartialEq for Spanned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Spanned<T> {}

impl<T> Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl Diagnostic {
    /// Something at `span` of `source` that makes the configuration unusable.
    #[must_use]
    pub fn error(source: &Arc<Source>, span: Span, message: impl Into<String>) -> Self {
        Self::new(source, Level::Error, Some(span), message.into())
    }

    /// Something at `span` of `source` that does nothing.
    #[must_use]
    pub fn warning(source: &Arc<Source>, span: Span, message: impl Into<String>) -> Self {
        Self::new(source, Level::Warning, Some(span), message.into())
    }

    /// Something about the file itself.
    #[must_use]
    pub fn file(path: &Path, message: impl Into<String>) -> Self {
        let source = Source::new(path, String::new());
        Self::new(&Arc::new(source), Level::Error, None, message.into())
    }

    /// Says beside the caret what the piece under it is.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// The same at `span`, without what stands beside the caret and below: that may quote the value.
    pub(super) fn only_at(self, span: Span) -> Self {
        Self { span: Some(span), label: None, notes: Vec::new(), ..self }
    }

    /// Asks beside the caret whether `near` was meant.
    pub(super) fn suggest(self, near: Option<&str>) -> Self {
        match near {
            Some(near) => self.label(format!("did you mean `{near}`?")),
            None => self,
        }
    }

    /// Adds what else happened, or why.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(Note::More(note.into()));
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.notes.push(Note::Help(help.into()));
        self
    }

    /// Adds the line of what this one repeats.
    #[must_use]
    pub fn earlier(mut self, span: Span) -> Self {
        self.notes.push(Note::Earlier(span));
        self
    }

    /// How much it matters.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }

    /// What happened, without where.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it, where that is said.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        self.notes.iter().find_map(|note| match note {
            Note::Help(text) => Some(&**text),
            Note::More(_) | Note::Earlier(_) => None,
        })
    }

    /// One-based line and column of the first character meant, the column counted in characters.
    #[must_use]
    pub fn position(&self) -> (usize, usize) {
        self.source.position(self.span.unwrap_or_default().start)
    }

    fn new(source: &Arc<Source>, level: Level, span: Option<Span>, message: String) -> Self {
        Self { source: Arc::clone(source), level, span, message, label: None, notes: Vec::new() }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.source.path.to_string_lossy();
        let title = match self.level {
            Level::Error => Title::ERROR,
            Level::Warning => Title::WARNING,
        };
        let mut group = Group::with_title(title.primary_title(self.message.as_str()));
        group = match self.span {
            Some(span) => {
                // One line is shown, so a value of many lines is marked to the end of its first.
                let (number, line) = self.source.line(span.start);
                let start = span.start.clamp(line.start, line.end) - line.start;
                let end = span.end.clamp(line.start + start, line.end) - line.start;
                let caret = AnnotationKind::Primary.span(start..end).label(self.label.as_deref());
                let snippet = Snippet::source(self.source.shown(line)).line_start(number).path(path.as_ref());
                group.element(snippet.annotation(caret))
            }
            None => group.element(Origin::path(path.as_ref())),
        };
        for note in &self.notes {
            group = group.element(match note {
                Note::More(text) => Title::NOTE.message(text.as_str()),
                Note::Help(text) => Title::HELP.message(text.as_str()),
                Note::Earlier(span) => {
                    let (line, _) = self.source.position(span.start);
                    Title::NOTE.message(format!("line {line} has it already"))
                }
            });
        }
        f.write_str(&Renderer::plain().render(&[group]))
    }
}

impl Diagnostics {
    /// Adds one more.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the configuration can't be used.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|diagnostic| diagnostic.level == Level::Error)
    }

    /// One after the other.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    /// `value` and the warnings if nothing worse is found, or else the errors alone: one mistake in a pipeline
    /// would make everything else look unused.
    pub(super) fn finish<T>(mut self, value: Option<T>) -> Result<(T, Self), Self> {
        match value {
            Some(value) if !self.has_errors() => Ok((value, self)),
            _ => {
                self.0.retain(|diagnostic| diagnostic.level == Level::Error);
                Err(self)
            }
        }
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

impl Extend<Diagnostic> for Diagnostics {
    fn extend<I: IntoIterator<Item = Diagnostic>>(&mut self, diagnostics: I) {
        self.0.extend(diagnostics);
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted: Vec<&Diagnostic> = self.0.iter().collect();
        sorted.sort_by_key(|diagnostic| diagnostic.span);
        for diagnostic in sorted.into_iter().take(SHOWN) {
            write!(f, "{diagnostic}\n\n")?;
        }
        let Some(first) = self.0.first() else {
            return Ok(());
        };
        let errors = self.0.iter().filter(|diagnostic| diagnostic.level == Level::Error).count();
        let path = first.source.path.display();
        match (errors, self.0.len() - errors) {
            (0, 1) => write!(f, "{path}: 1 warning"),
            (0, warnings) => write!(f, "{path}: {warnings} warnings"),
            (1, _) => write!(f, "{path}: 1 error"),
            (errors, _) => write!(f, "{path}: {errors} errors"),
        }?;
        if self.0.len() > SHOWN { write!(f, ", of which the first {SHOWN} are shown") } else { Ok(()) }
    }
}

impl std::error::Error for Diagnostics {}
