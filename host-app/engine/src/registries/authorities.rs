//! Certificate authorities that this host trusts and a guest would not. Guests have Mozilla's list,
//! so of the host's trust store only what is beyond that is handed over.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use linkspan_proto::error::{ErrorCode, Failure};

/// Those of the trust store (`SSL_CERT_FILE` and `SSL_CERT_DIR` count) and those of the files, in PEM.
/// Blocking.
pub(crate) fn foreign(files: &[PathBuf]) -> Result<Vec<String>, Failure> {
    let mut authorities = of_the_host().to_vec();
    for file in files {
        authorities.extend(of_file(file)?);
    }
    Ok(authorities)
}

/// Read once: it can take long on some systems, and hardly ever changes.
fn of_the_host() -> &'static [String] {
    static FOREIGN: OnceLock<Vec<String>> = OnceLock::new();
    FOREIGN.get_or_init(|| {
        let store = rustls_native_certs::load_native_certs();
        for error in &store.errors {
            tracing::warn!(%error, "a part of this host's trust store cannot be read");
        }
        let mozilla: HashSet<&[u8]> =
            webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(AsRef::as_ref).collect();
        let beyond = store.certs.iter().filter(|one| !mozilla.contains(one.as_ref()));
        beyond.map(|one| pem(one)).collect()
    })
}

/// The certificates of a file, of which there must be one at least.
pub(crate) fn of_file(file: &Path) -> Result<Vec<String>, Failure> {
    let fail = |why: String| {
        let message = format!("cannot use the authority file `{}`: {why}", file.display());
        Failure::new(ErrorCode::InvalidArgument, message)
    };
    let read = rustls_native_certs::load_certs_from_paths(Some(file), None);
    if let Some(error) = read.errors.first() {
        return Err(fail(error.to_string()));
    }
    if read.certs.is_empty() {
        return Err(fail("it has no certificate in PEM".into()));
    }
    Ok(read.certs.iter().map(|one| pem(one)).collect())
}

/// RFC 7468, section 5.
fn pem(certificate: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(certificate);
    let lines = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line) + "\n");
    let body: String = lines.collect();
    format!("-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_certificates_come_back_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let one: &[u8] = &webpki_root_certs::TLS_SERVER_ROOT_CERTS[0];
        let two: &[u8] = &webpki_root_certs::TLS_SERVER_ROOT_CERTS[1];
        std::fs::write(&file, format!("# mine\n{}{}", pem(one), pem(two))).unwrap();
        let mut expected = [pem(one), pem(two)];
        let mut read = of_file(&file).unwrap();
        expected.sort();
        read.sort();
        assert_eq!(read, expected);
    }

    #[test]
    fn a_file_without_a_certificate_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key.pem");
        for (content, there) in [("nothing", true), ("", false)] {
            std::fs::remove_file(&file).ok();
            if there {
                std::fs::write(&file, content).unwrap();
            }
            let failure = of_file(&file).unwrap_err();
            assert!(failure.message.contains("key.pem"), "{failure}");
        }
    }
}
