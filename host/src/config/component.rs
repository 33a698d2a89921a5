//! What receivers, processors, exporters and extensions have in common: they are defined under `type` or
//! `type/name`, and used by that name.

use std::collections::{BTreeMap, BTreeSet};

use super::diagnostic::{Diagnostic, Span, Spanned};
use super::node::Node;
use super::read::{Fields, Keys, Reader, list};

/// The components of one section, by their whole name.
pub(super) type Components<T> = BTreeMap<String, Component<T>>;

/// A defined component.
pub(super) struct Component<T> {
    /// Where its name stands.
    pub(super) span: Span,
    /// Nothing where it can't be read. It counts as defined, so that one mistake gives one error.
    pub(super) value: Option<T>,
}

/// The longest name the Collector allows.
const MAX_NAME: usize = 1024;

impl Reader {
    /// The components in the section at `key`. `types` are the known types, which `read` is given with the
    /// component's name and value.
    pub(super) fn components<T>(
        &mut self,
        config: &Fields<'_>,
        key: &str,
        types: &Keys,
        mut read: impl FnMut(&mut Self, &str, Span, &Node) -> Option<T>,
    ) -> Components<T> {
        let entries = match config.get(key) {
            Some(node) => self.entries(node).unwrap_or_default(),
            None => Vec::new(),
        };
        let mut components = BTreeMap::new();
        for (name, node) in entries {
            let value = match self.component_type(name, types) {
                Ok(of) => read(self, of, name.span, node),
                Err(error) => self.report(error),
            };
            components.insert(name.value.clone(), Component { span: name.span, value });
        }
        components
    }

    /// The type in a component's name, if the name is right.
    fn component_type<'n>(&self, name: &'n Spanned<String>, types: &Keys) -> Result<&'n str, Diagnostic> {
        let (of, rest) = match name.value.split_once('/') {
            Some((of, rest)) => (of, Some(rest)),
            None => (name.value.as_str(), None),
        };
        if of.is_empty() {
            let error = self.error(name.span, "a component's name begins with its type");
            return Err(error.help(format!("types in {} are {}", types.of, list(types.known))));
        }
        if !types.known.contains(&of) {
            // The caret goes under the type, unless quotes stand before it.
            let quoted = !self.source.slice(name.span).starts_with(of);
            let end = if quoted { name.span.end } else { name.span.start + of.len() };
            let span = Span { end, ..name.span };
            return Err(self.unknown(&Spanned::new(of.to_owned(), span), "type", types));
        }
        match rest {
            Some(rest) if !is_name(rest) => {
                let error = self.error(name.span, format!("`{}` is no name", name.value));
                let help = format!("a name is `{of}` or `{of}/NAME`, NAME without spaces and without $+<=>^`|~");
                Err(error.help(help))
            }
            _ => Ok(of),
        }
    }

    /// Moves the components that `names` lists out of `components`; what is left there is not used.
    pub(super) fn used<'n, T>(
        &mut self,
        components: Components<T>,
        names: impl IntoIterator<Item = &'n Spanned<String>>,
        by: &str,
    ) -> BTreeMap<String, T> {
        let names: BTreeSet<&str> = names.into_iter().map(|name| name.as_str()).collect();
        let mut used = BTreeMap::new();
        for (name, component) in components {
            if names.contains(name.as_str()) {
                used.extend(component.value.map(|value| (name, value)));
            } else {
                let message = format!("`{name}` is defined but not used");
                let warning = Diagnostic::warning(&self.source, component.span, message);
                self.found.push(warning.help(format!("name it in {by}, or remove it")));
            }
        }
        used
    }
}

/// Whether `text` can be the name of a component or of a route: what the Collector allows, and so nothing that
/// would have to be escaped in logs and metrics.
pub(super) fn is_name(text: &str) -> bool {
    let bad = |c: char| c.is_whitespace() || c.is_control() || "$+<=>^`|~".contains(c);
    !text.is_empty() && text.chars().count() <= MAX_NAME && !text.contains(bad)
}
