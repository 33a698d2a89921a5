//! Certificates and keys from PEM files, and what is wrong with those.
use std::{path::PathBuf, time::SystemTime};

use tokio_rustls::rustls::{
    Error, InconsistentKeys, RootCertStore,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
};

use super::validity::not_after;
use crate::{
    config::Spanned,
    files::{FileError, Files},
};

/// A certificate chain and its private key.
pub(super) type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The certificates of authorities in `file`.
pub(super) fn authorities(file: &Spanned<PathBuf>, files: &mut Files) -> Result<RootCertStore, FileError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file, files)? {
        roots.add(certificate).map_err(|error| FileError::new(file, reason(&error)))?;
    }
    Ok(roots)
}

/// The certificate chain in `cert_file` and the key in `key_file`. Whether they belong together is seen later.
pub(super) fn identity(
    cert_file: &Spanned<PathBuf>,
    key_file: &Spanned<PathBuf>,
    files: &mut Files,
) -> Result<Identity, FileError> {
    let chain = certificates(cert_file, files)?;
    if let Some(end) =
        chain.first().and_then(|certificate| not_after(certificate)).filter(|end| *end < SystemTime::now())
    {
        let (file, end) = (cert_file.value.display(), httpdate::fmt_http_date(end));
        tracing::warn!("the certificate in {file} was good until {end}: the other side will refuse it");
    }
    let text = files.read(key_file)?;
    let key = PrivateKeyDer::from_pem_slice(text).map_err(|error| {
        let encrypted = text.windows(9).any(|window| window == b"ENCRYPTED");
        FileError::new(
            key_file,
            match error {
                pem::Error::NoItemsFound if encrypted => {
                    "its private key is encrypted, and there is nobody to ask for the password: store it decrypted"
                        .to_owned()
                }
                pem::Error::NoItemsFound => "it holds no private key in PEM".to_owned(),
                // Not in full: the line at fault may be a piece of the key.
                _ => "it is broken PEM".to_owned(),
            },
        )
    })?;
    Ok((chain, key))
}

/// What is wrong with a certificate chain and a key, each of which can be read.
pub(super) fn mismatch(cert_file: &Spanned<PathBuf>, key_file: &Spanned<PathBuf>, error: Error) -> FileError {
    match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            let reason = format!("its private key is not that of the certificate in {}", cert_file.value.display());
            FileError::new(key_file, reason)
        }
        Error::InvalidCertificate(_) => FileError::new(cert_file, reason(&error)),
        // What is left is said of keys: of a kind that is not known, or of broken ones.
        error => FileError::new(key_file, error.to_string()),
    }
}

fn certificates(file: &Spanned<PathBuf>, files: &mut Files) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let text = files.read(file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match found {
        Ok(found) if found.is_empty() => Err(FileError::new(file, "it holds no certificate in PEM")),
        Ok(found) => Ok(found),
        Err(error) => Err(FileError::new(file, format!("it is broken PEM: {error}"))),
    }
}

/// rustls' errors about certificates are the names of cases.
fn reason(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => format!("a certificate in it can't be read: {error}"),
        error => error.to_string(),
    }
}
