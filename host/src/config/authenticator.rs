//! `bearertokenauth` and `basicauth`: who may send.

use std::fmt;
use std::path::PathBuf;

use http::HeaderName;

use super::diagnostic::Spanned;

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
