//! `bearertokenauth` and `basicauth`: who may send.

use std::fmt;
use std::path::PathBuf;

use http::HeaderName;
use http::header::AUTHORIZATION;

use super::diagnostic::{Diagnostic, Span, Spanned};
use super::extensions::NO_CLIENT;
use super::node::Node;
use super::read::{Fields, Keys, Read, Reader};

/// An extension that tells who may send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authenticator {
    /// `bearertokenauth`: whoever has a token.
    Bearer(BearerTokenAuth),
    /// `basicauth`: whoever has a password.
    Basic(BasicAuth),
}

/// A `bearertokenauth` extension. It has one token at least, or a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BearerTokenAuth {
    /// The header that holds scheme and token.
    pub header: HeaderName,
    /// What stands before the token, followed by a space; nothing where it is empty.
    pub scheme: String,
    /// The tokens of which each is good (`token`, `tokens`).
    pub tokens: Vec<Secret>,
    /// A file of further tokens, one a line, read again when it changes (`filename`).
    pub file: Option<Spanned<PathBuf>>,
}

/// A `basicauth` extension: `htpasswd.inline`, `htpasswd.file`, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BasicAuth {
    /// Lines of `USER:PASSWORD`; a password is bcrypt's hash, or plain.
    pub inline: Option<Spanned<Secret>>,
    /// A file of the same, read again when it changes.
    pub file: Option<Spanned<PathBuf>>,
}

/// A text that no log and no message shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

const BEARER_TOKEN_AUTH: Keys =
    Keys { of: "a `bearertokenauth`", known: &["header", "scheme", "token", "tokens", "filename"], foreign: &[] };

const BASIC_AUTH: Keys =
    Keys { of: "a `basicauth`", known: &["htpasswd"], foreign: &[("client_auth", NO_CLIENT.0, NO_CLIENT.1)] };

const HTPASSWD: Keys = Keys { of: "`htpasswd`", known: &["file", "inline"], foreign: &[] };

impl Reader {
    pub(super) fn bearer_token_auth(&mut self, node: &Node, name: Span) -> Option<Authenticator> {
        let auth = self.fields(node, name, &BEARER_TOKEN_AUTH)?;
        let header = self.field(&auth, "header", AUTHORIZATION, Self::header_name);
        let scheme = self.field(&auth, "scheme", "Bearer".to_owned(), Self::scheme);
        let token = self.field(&auth, "token", None, |r, node| r.token(node, auth.span("token")).map(Some));
        let tokens = self.tokens(&auth);
        let file = self.field(&auth, "filename", None, |r, node| r.path(node).map(Some));
        let (token, mut tokens, file, scheme) = (token?, tokens?, file?, scheme?);
        self.scheme_twice(&auth, "token", &scheme, token.as_slice());
        self.scheme_twice(&auth, "tokens", &scheme, &tokens);
        tokens.extend(token);
        if tokens.is_empty() && file.is_none() {
            let error = self.error(name, "there is no token, so nobody could send");
            return self.report(error.help("write `token: ${env:TOKEN}`, or name a file of tokens by `filename`"));
        }
        Some(Authenticator::Bearer(BearerTokenAuth { header: header?, scheme, tokens, file }))
    }

    pub(super) fn basic_auth(&mut self, node: &Node, name: Span) -> Option<Authenticator> {
        let auth = self.fields(node, name, &BASIC_AUTH)?;
        let htpasswd = self.section(&auth, "htpasswd", &HTPASSWD)?;
        let inline = self.field(&htpasswd, "inline", None, |r, node| {
            let lines = r.secret(node, htpasswd.span("inline"))?;
            Ok(Some(Spanned::new(lines, htpasswd.span("inline"))))
        });
        let file = self.field(&htpasswd, "file", None, |r, node| r.path(node).map(Some));
        let (inline, file) = (inline?, file?);
        if inline.is_none() && file.is_none() {
            let error = self.error(htpasswd.span, "there is no user, so nobody could send");
            return self.report(error.help("write `htpasswd: { file: .htpasswd }`"));
        }
        Some(Authenticator::Basic(BasicAuth { inline, file }))
    }

    fn tokens(&mut self, auth: &Fields<'_>) -> Option<Vec<Secret>> {
        let span = auth.span("tokens");
        let list = self.field(auth, "tokens", &[][..], |r, node| r.list(node).map_err(|error| error.only_at(span)))?;
        let tokens: Vec<_> = list.iter().map(|node| self.value(node, |r, node| r.token(node, span))).collect();
        tokens.into_iter().collect()
    }

    /// Warns of tokens that begin with their scheme, which stands before them anyway.
    fn scheme_twice(&mut self, auth: &Fields<'_>, key: &str, scheme: &str, tokens: &[Secret]) {
        let twice =
            |Secret(token): &Secret| token.split_once(' ').is_some_and(|(first, _)| first.eq_ignore_ascii_case(scheme));
        if tokens.iter().any(twice) {
            let message = format!("a token begins with `{scheme}`, which senders would have to write twice");
            let warning = Diagnostic::warning(&self.source, auth.span(key), message);
            self.found.push(warning.help("write the token alone: `scheme` stands before it by itself"));
        }
    }

    /// A scheme, which may be none: `scheme: ""`.
    fn scheme(&self, node: &Node) -> Read<String> {
        match node.value.scalar() {
            Some(scalar) if scalar.text.is_empty() => Ok(String::new()),
            _ => Ok(self.string(node)?.to_owned()),
        }
    }

    /// A token that a header can hold, without the spaces and line ends around it that files bring along.
    fn token(&self, node: &Node, span: Span) -> Read<Secret> {
        let Secret(text) = self.secret(node, span)?;
        let token = text.trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
            return Err(self.error(span, "a token has only visible ASCII characters, and one at least"));
        }
        Ok(Secret(token.to_owned()))
    }

    /// A string that no message shows: what is wrong with it is said of its key, at `span`.
    fn secret(&self, node: &Node, span: Span) -> Read<Secret> {
        Ok(Secret(self.hidden(node, span)?.to_owned()))
    }
}
