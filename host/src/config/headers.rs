//! HTTP headers, which are gRPC metadata as well: those that are sent, and the names of those that are passed on.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::diagnostic::{Span, Spanned};
use super::node::Node;
use super::read::{Fields, Read, Reader};

/// Headers that the transport sets, beside those that begin with `grpc-`: another value would break the connection or
/// say of the body what it is not.
const RESERVED: &[&str] = &[
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

impl Reader {
    /// The headers in the map at `key`. Their values may be secrets, so no message shows one, and carets go under
    /// their names. `binary` is whether names may end in `-bin`, which gRPC takes for binary ones.
    pub(super) fn headers(&mut self, fields: &Fields<'_>, key: &str, binary: bool) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        let Some(node) = fields.get(key) else {
            return Some(headers);
        };
        for (key, value) in self.entries(node)? {
            match self.value(value, |reader, value| reader.header(key, value, binary)) {
                Some((name, _)) if headers.contains_key(&name) => {
                    let help = "upper and lower case are the same in a header's name";
                    let error = self.error(key.span, format!("duplicate header `{name}`"));
                    self.found.push(error.help(help));
                }
                Some((name, value)) => {
                    headers.insert(name, value);
                }
                None => {}
            }
        }
        Some(headers)
    }

    /// The names in the list at `key`, each one once, of headers that are passed on. The transport's own are refused.
    pub(super) fn passed_on(&mut self, fields: &Fields<'_>, key: &str) -> Option<Vec<HeaderName>> {
        let names = self.items(fields, key, |reader, node| {
            let name = reader.header_name(node)?;
            reader.not_reserved(&name, node.span)?;
            Ok(Spanned::new(name, node.span))
        })?;
        for (at, name) in names.iter().enumerate() {
            if names[..at].iter().any(|other| other.value == name.value) {
                self.report::<()>(self.error(name.span, format!("`{}` stands here twice", name.value)));
            }
        }
        Some(names.into_iter().map(|name| name.value).collect())
    }

    /// A header's name.
    pub(super) fn header_name(&self, node: &Node) -> Read<HeaderName> {
        self.named(self.string(node)?, node.span)
    }

    fn header(&self, key: &Spanned<String>, value: &Node, binary: bool) -> Read<(HeaderName, HeaderValue)> {
        let name = self.named(key, key.span)?;
        self.not_reserved(&name, key.span)?;
        if !binary && name.as_str().ends_with("-bin") {
            let error = self.error(key.span, "binary headers are not supported yet");
            return Err(error.note("gRPC takes a name that ends in `-bin` for a binary one"));
        }
        let text = self.hidden(value, key.span)?;
        let mut text = HeaderValue::from_str(text)
            .map_err(|_| self.error(key.span, "a header's value may have only visible ASCII characters and spaces"))?;
        text.set_sensitive(true);
        Ok((name, text))
    }

    fn named(&self, text: &str, span: Span) -> Read<HeaderName> {
        HeaderName::from_bytes(text.as_bytes()).map_err(|_| self.error(span, format!("`{text}` is no header's name")))
    }

    fn not_reserved(&self, name: &HeaderName, span: Span) -> Read<()> {
        if name.as_str().starts_with("grpc-") || RESERVED.contains(&name.as_str()) {
            return Err(self.error(span, format!("the header `{name}` is the transport's own")));
        }
        Ok(())
    }
}
