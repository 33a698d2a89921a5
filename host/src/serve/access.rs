//! Who may connect and who may send: the certificates, tokens and passwords that a configuration names.
use std::{collections::BTreeMap, sync::Arc};

use super::transport::Transport;
use crate::{
    auth::Authenticator,
    config::{self, Config, Diagnostics},
    files::FileError,
    tls::{H2, HTTP_1_1, ServerTls},
};

/// What is behind the `tls` and `auth` of every listener, read from its files.
#[derive(Debug)]
pub struct Access {
    tls: BTreeMap<(String, Transport), ServerTls>,
    authenticators: BTreeMap<String, Arc<Authenticator>>,
}

impl Access {
    /// Reads all files.
    ///
    /// # Errors
    /// Everything that is wrong with them, at their places in the configuration.
    pub fn load(config: &Config) -> Result<Self, Diagnostics> {
        let mut problems = Diagnostics::default();
        let mut check = |error: FileError| problems.push(config.diagnostic(error.span, error.to_string()));
        let mut tls = BTreeMap::new();
        for (name, receiver) in &config.receivers {
            let grpc = receiver.grpc.as_ref().map(|grpc| (Transport::Grpc, &grpc.listener));
            let http = receiver.http.as_ref().map(|http| (Transport::Http, &http.listener));
            for (transport, listener) in grpc.into_iter().chain(http) {
                // On the port of OTLP/gRPC, too, HTTP/1.1 gets an answer that says what is wrong.
                match listener.tls.as_ref().map(|tls| ServerTls::new(tls, &[H2, HTTP_1_1])) {
                    Some(Ok(made)) => drop(tls.insert((name.clone(), transport), made)),
                    Some(Err(error)) => check(error),
                    None => {}
                }
            }
        }
        let mut authenticators = BTreeMap::new();
        for (name, settings) in &config.authenticators {
            match Authenticator::new(settings) {
                Ok(made) => drop(authenticators.insert(name.clone(), Arc::new(made))),
                Err(error) => check(error),
            }
        }
        if problems.is_empty() { Ok(Self { tls, authenticators }) } else { Err(problems) }
    }

    /// How the connections of this receiver's listener are encrypted, if they are.
    pub(super) fn tls(&self, receiver: &str, transport: Transport) -> Option<ServerTls> {
        self.tls.get(&(receiver.to_owned(), transport)).cloned()
    }

    /// Whom a listener asks who sends.
    pub(super) fn authenticator(&self, listener: &config::Listener) -> Option<Arc<Authenticator>> {
        let name = listener.auth.as_ref()?;
        Some(Arc::clone(self.authenticators.get(&name.value).expect("the configuration has what it refers to")))
    }
}
