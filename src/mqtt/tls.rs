//! The TLS configuration for `mqtts://` and `wss://`.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use super::error::ConnectError;
use crate::{
    files::read::{MAX_PEM_BYTES, MAX_SECRET_BYTES, read_regular},
    settings::MqttTls,
};

/// Builds the configuration: the system's trust anchors or `ca_file`, and the client certificate when there is one.
pub fn config(tls: &MqttTls) -> Result<Arc<ClientConfig>, ConnectError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|why| ConnectError::Settings(format!("mqtt.tls: {why}")))?
        .with_root_certificates(roots(tls)?);
    let config = match (&tls.cert_file, &tls.key_file) {
        (None, None) => builder.with_no_client_auth(),
        (Some(cert), Some(key)) => {
            let chain = certificates("mqtt.tls.cert_file", cert)?;
            let unreadable_key = |why: &dyn std::fmt::Display| unreadable("mqtt.tls.key_file", key, why);
            let pem = read_regular(key, MAX_SECRET_BYTES).map_err(|why| unreadable_key(&why))?;
            let secret = PrivateKeyDer::from_pem_slice(&pem).map_err(|why| unreadable_key(&why))?;
            builder.with_client_auth_cert(chain, secret).map_err(|why| unreadable("mqtt.tls.cert_file", cert, &why))?
        }
        _ => return Err(ConnectError::Settings("mqtt.tls: cert_file and key_file belong together; set both".into())),
    };
    Ok(Arc::new(config))
}

/// The trust anchors.
fn roots(tls: &MqttTls) -> Result<RootCertStore, ConnectError> {
    let mut store = RootCertStore::empty();
    if let Some(path) = &tls.ca_file {
        for certificate in certificates("mqtt.tls.ca_file", path)? {
            store.add(certificate).map_err(|why| unreadable("mqtt.tls.ca_file", path, &why))?;
        }
        return Ok(store);
    }
    let system = rustls_native_certs::load_native_certs();
    store.add_parsable_certificates(system.certs);
    if store.is_empty() {
        let why = system.errors.first().map_or_else(String::new, |why| format!(" ({why})"));
        return Err(ConnectError::Settings(format!(
            "the system has no trusted certificates{why}: install ca-certificates or set mqtt.tls.ca_file"
        )));
    }
    Ok(store)
}

/// Every certificate in a PEM file; at least one.
fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let pem = read_regular(path, MAX_PEM_BYTES).map_err(|why| unreadable(key, path, &why))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(unreadable(key, path, &"it holds no certificate in PEM form")),
        Ok(found) => Ok(found),
        Err(why) => Err(unreadable(key, path, &why)),
    }
}

fn unreadable(key: &str, path: &Path, why: &dyn std::fmt::Display) -> ConnectError {
    ConnectError::Settings(format!("{key}: {} can't be used: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_name_the_key_and_the_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let empty = dir.path().join("empty.pem");
        std::fs::write(&empty, "nothing").expect("writes");
        let ca = |path: &Path| config(&MqttTls { ca_file: Some(path.into()), ..MqttTls::default() });
        for path in [empty.as_path(), Path::new("/nonexistent.pem"), Path::new("/dev/zero")] {
            let error = ca(path).expect_err("is refused").to_string();
            assert!(error.contains("mqtt.tls.ca_file") && error.contains(&path.display().to_string()), "{error}");
        }
    }

    #[test]
    fn a_certificate_without_its_key_is_refused() {
        let tls = MqttTls { ca_file: None, cert_file: Some("/c.pem".into()), key_file: None };
        // A machine without trust anchors fails on those first; both are settings errors.
        assert!(matches!(config(&tls), Err(ConnectError::Settings(_))));
    }
}
