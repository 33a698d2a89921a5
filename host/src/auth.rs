//! Who may send: what the extensions `bearertokenauth` and `basicauth` become.
//!
//! Secrets are compared in a time that does not tell how much of them was right, over all that there are, and none
//! reaches a log or a message.
use http::{HeaderMap, HeaderValue};

use self::{basic::Basic, bearer::Bearer};
use crate::{config, files::FileError, status::Error};

mod basic;
mod bearer;

/// Tells by a request's headers whether its sender may send.
#[derive(Debug)]
pub struct Authenticator(Kind);

#[derive(Debug)]
enum Kind {
    Bearer(Bearer),
    Basic(Basic),
}

const MISSING: Error = Error::Unauthenticated("the request carries no credentials of the kind that is asked for here");
const WRONG: Error = Error::Unauthenticated("the request's credentials are not known here");
const CROWDED: Error = Error::Busy("too many requests wait for their passwords to be checked");

impl Authenticator {
    /// Reads the files of `config`.
    ///
    /// # Errors
    /// What is wrong with a file, or with inline users.
    pub fn new(config: &config::Authenticator) -> Result<Self, FileError> {
        Ok(Self(match config {
            config::Authenticator::Bearer(config) => Kind::Bearer(Bearer::new(config)?),
            config::Authenticator::Basic(config) => Kind::Basic(Basic::new(config)?),
        }))
    }

    /// Checks the headers of a request.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`], or [`Error::Busy`] where that can't be told for now.
    pub async fn check(&self, headers: &HeaderMap) -> Result<(), Error> {
        match &self.0 {
            Kind::Bearer(bearer) => bearer.check(headers).await,
            Kind::Basic(basic) => basic.check(headers).await,
        }
    }

    /// What is asked for, as `WWW-Authenticate` (RFC 9110, section 11.6.1).
    #[must_use]
    pub fn challenge(&self) -> HeaderValue {
        match &self.0 {
            Kind::Bearer(bearer) => bearer.challenge(),
            Kind::Basic(_) => HeaderValue::from_static(r#"Basic realm="OTLP", charset="UTF-8""#),
        }
    }
}

/// The text after the scheme's name, which has no case (RFC 9110, section 11.1), and at least one space.
fn after_scheme<'a>(value: &'a [u8], scheme: &str) -> Option<&'a [u8]> {
    if scheme.is_empty() {
        return Some(value);
    }
    let (name, rest) = value.split_at_checked(scheme.len())?;
    let credentials = rest.trim_ascii_start();
    (name.eq_ignore_ascii_case(scheme.as_bytes()) && credentials.len() < rest.len()).then_some(credentials)
}

#[cfg(test)]
mod tests;
