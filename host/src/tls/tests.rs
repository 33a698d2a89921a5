use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::config::Spanned;

/// An authority, and the folder for its files.
struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // No two have the same name.
        params.distinguished_name.push(DnType::CommonName, folder.path().to_string_lossy().into_owned());
        let key = KeyPair::generate().unwrap();
        fs::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key) }
    }

    /// Writes a certificate for `name` and its key: `NAME.pem`, `NAME.key`.
    fn issue(&self, name: &str) {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.path(&format!("{name}.pem")).value, certificate.pem()).unwrap();
        fs::write(self.path(&format!("{name}.key")).value, key.serialize_pem()).unwrap();
    }

    /// A file of the folder. Its span tells which one: it is as long as the name.
    fn path(&self, name: &str) -> Spanned<PathBuf> {
        Spanned::new(self.folder.path().join(name), Span { start: 0, end: name.len() })
    }

    fn identity(&self, name: &str) -> (Spanned<PathBuf>, Spanned<PathBuf>) {
        (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")))
    }

    /// A server's settings, with the certificate for `name`.
    fn server(&self, name: &str) -> config::ServerTls {
        let (cert_file, key_file) = self.identity(name);
        config::ServerTls {
            cert_file,
            key_file,
            client_ca_file: None,
            min_version: TlsVersion::V1_2,
            max_version: TlsVersion::V1_3,
            reload_interval: None,
        }
    }

    /// A client's settings, for servers with certificates of this authority.
    fn client(&self) -> config::ClientTls {
        config::ClientTls { ca_file: Some(self.path("ca.pem")), ..config::ClientTls::default() }
    }
}

/// Shakes hands and sends a byte to the client: in TLS 1.3 it hears only then that it was refused. Gives the protocol
/// that they agree on, or what the one says who found the fault.
async fn meet(server: &ServerTls, client: &ClientTls, host: &str) -> Result<Option<Vec<u8>>, String> {
    let (near, far) = tokio::io::duplex(1 << 16);
    let serving = async {
        let mut stream = server.accept(far).await?;
        stream.write_all(b"!").await
    };
    let connecting = async {
        let mut stream = client.connect(host, near).await?;
        stream.read_exact(&mut [0]).await?;
        io::Result::Ok(stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec))
    };
    let (served, connected) = tokio::join!(serving, connecting);
    let errors = [served.as_ref().err(), connected.as_ref().err()].into_iter().flatten().map(ToString::to_string);
    match errors.max_by_key(|error| !error.contains("fatal alert") && !error.contains("eof")) {
        Some(error) => Err(error),
        None => Ok(connected.expect("there is no error")),
    }
}

#[tokio::test]
async fn who_may_meet_whom() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    ours.issue("localhost");
    ours.issue("app");
    theirs.issue("app");
    let plain = ours.server("localhost");
    let mutual = config::ServerTls { client_ca_file: Some(ours.path("ca.pem")), ..plain.clone() };
    let modern = config::ServerTls { min_version: TlsVersion::V1_3, ..plain.clone() };
    let client = ours.client();
    let known = config::ClientTls { identity: Some(ours.identity("app")), ..client.clone() };
    let unknown = config::ClientTls { identity: Some(theirs.identity("app")), ..client.clone() };
    let trusting = config::ClientTls { insecure_skip_verify: true, ..config::ClientTls::default() };
    let renamed = config::ClientTls { server_name_override: Some("localhost".to_owned()), ..client.clone() };
    let old = config::ClientTls { max_version: TlsVersion::V1_2, ..client.clone() };

    let check = async |server: &config::ServerTls, client: &config::ClientTls, host: &str, expected: &str| {
        let server = ServerTls::new(server, &[H2, HTTP_1_1]).unwrap();
        let client = ClientTls::new(client, &[HTTP_1_1, H2]).unwrap();
        match meet(&server, &client, host).await {
            Ok(protocol) => assert_eq!((expected, protocol.as_deref()), ("", Some(H2))),
            Err(error) => assert!(!expected.is_empty() && error.contains(expected), "{error} but not {expected}"),
        }
    };
    check(&plain, &client, "localhost", "").await;
    check(&plain, &client, "elsewhere", "not valid for name").await;
    check(&plain, &client, "not a name", "no name that a certificate can have").await;
    check(&plain, &renamed, "elsewhere", "").await;
    check(&plain, &trusting, "elsewhere", "").await;
    check(&plain, &theirs.client(), "localhost", "UnknownIssuer").await;
    check(&mutual, &known, "localhost", "").await;
    check(&mutual, &client, "localhost", "sent no certificates").await;
    check(&mutual, &unknown, "localhost", "UnknownIssuer").await;
    check(&plain, &old, "localhost", "").await;
    check(&modern, &old, "localhost", "incompatible").await;
}

#[tokio::test]
async fn new_files_are_used_without_a_restart() {
    let (old, new) = (Authority::new(), Authority::new());
    old.issue("localhost");
    new.issue("localhost");
    let config = config::ServerTls { reload_interval: Some(Duration::ZERO), ..old.server("localhost") };
    let server = ServerTls::new(&config, &[H2]).unwrap();
    let client = |authority: &Authority| ClientTls::new(&authority.client(), &[H2]).unwrap();
    let (old_client, new_client) = (client(&old), client(&new));
    meet(&server, &old_client, "localhost").await.unwrap();

    let replace = |file: &str| fs::copy(new.path(file).value, old.path(file).value).unwrap();
    replace("localhost.pem");
    meet(&server, &old_client, "localhost").await.expect("a certificate whose key is yet to come is not used");
    replace("localhost.key");
    meet(&server, &new_client, "localhost").await.unwrap();
    meet(&server, &old_client, "localhost").await.unwrap_err();
}

#[test]
fn a_bad_file_is_named_with_its_place() {
    let authority = Authority::new();
    for name in ["one", "two"] {
        authority.issue(name);
    }
    let write = |name: &str, text: &str| fs::write(authority.path(name).value, text).unwrap();
    let read = |name: &str| fs::read_to_string(authority.path(name).value).unwrap();
    write("empty", "");
    write("text", "not PEM");
    write("cut.pem", &read("one.pem")[..200]);
    write("encrypted.key", &read("one.key").replace("PRIVATE", "ENCRYPTED PRIVATE"));
    write("garbled.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    write("garbled.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");

    let check = |cert: &str, key: &str, ca: Option<&str>, at: &str, expected: &str| {
        let config = config::ServerTls {
            cert_file: authority.path(cert),
            key_file: authority.path(key),
            client_ca_file: ca.map(|name| authority.path(name)),
            ..authority.server("one")
        };
        let error = ServerTls::new(&config, &[]).unwrap_err();
        assert_eq!((&error.path, error.span), (&authority.path(at).value, authority.path(at).span), "{error}");
        assert!(error.reason.contains(expected), "{error}");
    };
    check("one.pem", "missing", None, "missing", "No such file");
    check("empty", "one.key", None, "empty", "no certificate in PEM");
    check("text", "one.key", None, "text", "no certificate in PEM");
    check("one.key", "one.key", None, "one.key", "no certificate in PEM");
    check("cut.pem", "one.key", None, "cut.pem", "broken PEM");
    check("garbled.pem", "one.key", None, "garbled.pem", "can't be read");
    check("one.pem", "one.pem", None, "one.pem", "no private key in PEM");
    check("one.pem", "encrypted.key", None, "encrypted.key", "encrypted");
    check("one.pem", "garbled.key", None, "garbled.key", "key");
    check("one.pem", "two.key", None, "two.key", "not that of the certificate");
    check("one.pem", "one.key", Some("empty"), "empty", "no certificate in PEM");
    check("one.pem", "one.key", Some("garbled.pem"), "garbled.pem", "can't be read");
    check("one.pem", "one.key", Some("."), ".", "directory");

    let identity = Some((authority.path("one.pem"), authority.path("two.key")));
    let client = config::ClientTls { identity, ..authority.client() };
    assert_eq!(ClientTls::new(&client, &[]).unwrap_err().path, authority.path("two.key").value);
    let client = config::ClientTls { ca_file: Some(authority.path("text")), ..authority.client() };
    assert_eq!(ClientTls::new(&client, &[]).unwrap_err().path, Path::new(&authority.path("text").value));
}
