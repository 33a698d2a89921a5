//! `bearertokenauth`: whoever has a token.
use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};
use subtle::{Choice, ConstantTimeEq as _};

use super::{MISSING, WRONG, after_scheme};
use crate::{
    config::BearerTokenAuth,
    files::{FileError, Files, Watched},
    status::Error,
};

#[derive(Debug)]
pub(super) struct Bearer {
    header: HeaderName,
    scheme: String,
    tokens: Arc<Watched<Tokens>>,
}

struct Tokens(Vec<Vec<u8>>);

/// How soon a changed file counts: at once for people, and seldom enough that reading it costs nothing.
pub(super) const REREAD: Duration = Duration::from_secs(1);

impl Bearer {
    pub(super) fn new(config: &BearerTokenAuth) -> Result<Self, FileError> {
        let (header, scheme) = (config.header.clone(), config.scheme.clone());
        let config = config.clone();
        let interval = config.file.is_some().then_some(REREAD);
        let tokens = Watched::new(interval, move |files| Tokens::read(&config, files))?;
        Ok(Self { header, scheme, tokens })
    }

    pub(super) async fn check(&self, headers: &HeaderMap) -> Result<(), Error> {
        let given = headers.get(&self.header).ok_or(MISSING)?;
        let given = after_scheme(given.as_bytes(), &self.scheme).ok_or(MISSING)?;
        let Tokens(tokens) = &*self.tokens.current().await;
        let known = tokens.iter().fold(Choice::from(0), |known, token| known | token.ct_eq(given));
        if known.into() { Ok(()) } else { Err(WRONG) }
    }

    pub(super) fn challenge(&self) -> HeaderValue {
        let scheme = if self.scheme.is_empty() { "Bearer" } else { &self.scheme };
        HeaderValue::try_from(scheme).unwrap_or(HeaderValue::from_static("Bearer"))
    }
}

impl Tokens {
    fn read(config: &BearerTokenAuth, files: &mut Files) -> Result<Self, FileError> {
        let mut tokens: Vec<_> = config.tokens.iter().map(|token| token.0.as_bytes().to_vec()).collect();
        if let Some(file) = &config.file {
            let lines = files.read(file)?.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
            let before = tokens.len();
            tokens.extend(lines.filter(|line| !line.is_empty()).map(<[u8]>::to_vec));
            if tokens.len() == before {
                return Err(FileError::new(file, "it holds no token: write one a line"));
            }
        }
        // An empty one would let everybody in who writes nothing after the scheme.
        tokens.retain(|token| !token.is_empty());
        Ok(Self(tokens))
    }
}
