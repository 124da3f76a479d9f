//! TLS: trusted certificates and the client's identity.
//!
//! As with Grafana's driver (Go), certificates in `loki-tls-ca-file` are trusted instead of the public ones. A server's
//! own certificate in that file is enough, even if it is marked as a CA's. Most self-signed certificates are, and
//! webpki alone would reject them.

use std::sync::Arc;

use hyper_rustls::HttpsConnector;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::link::Contents;
use super::{Flaw, Material, Tls};

/// Trusts some certificates, and servers that present one of them.
#[derive(Debug)]
struct Own {
    inner: Arc<WebPkiServerVerifier>,
    certificates: Vec<CertificateDer<'static>>,
}

/// Trusts any server that has the key of the certificate that it presents.
#[derive(Debug)]
struct Blind(Arc<CryptoProvider>);

/// The TLS configuration of `tls` with these contents of its files.
///
/// # Errors When a file contains no certificate or key, or they do not match.
pub fn config(tls: &Tls, contents: &Contents) -> Result<ClientConfig, Flaw> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| Flaw { option: "loki-url", reason: format!("no TLS is to be had: {error}") })?;
    let own = tls.ca.as_ref().zip(contents.ca.as_deref());
    let own = own.map(|(material, pem)| Own::new(material, pem, provider.clone())).transpose()?;
    let builder = match own {
        // The file is still read, so that an error in it shows before verification is enabled.
        _ if tls.insecure => builder.dangerous().with_custom_certificate_verifier(Arc::new(Blind(provider))),
        Some(own) => builder.dangerous().with_custom_certificate_verifier(Arc::new(own)),
        None => builder.with_root_certificates(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }),
    };
    let (Some((certificate, key)), Some((chain, secret))) = (&tls.identity, &contents.identity) else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates(certificate, chain)?;
    let secret = PrivateKeyDer::from_pem_slice(secret)
        .map_err(|_| key.flaw("has no private key in PEM (one that is encrypted with a password cannot be used)"))?;
    builder.with_client_auth_cert(chain, secret).map_err(|error| match error {
        Error::InconsistentKeys(_) => {
            key.flaw(format!("is not the private key of the certificate in {}", certificate.option))
        }
        error => key.flaw(format!("cannot be used with {}: {error}", certificate.option)),
    })
}

/// Adds TLS to the connections of `http`, where a URL needs it.
pub fn over<C>(http: C, config: &Arc<ClientConfig>, name: Option<&ServerName<'static>>) -> HttpsConnector<C> {
    match name {
        None => HttpsConnector::from((http, config.clone())),
        Some(name) => {
            let resolver = hyper_rustls::FixedServerNameResolver::new(name.clone());
            HttpsConnector::new(http, config.clone(), false, Arc::new(resolver))
        }
    }
}

fn certificates(material: &Material, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Flaw> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        _ => Err(material.flaw("has no certificate in PEM (try a file that begins with -----BEGIN CERTIFICATE-----)")),
    }
}

// === impl Own ===

impl Own {
    fn new(material: &Material, pem: &[u8], provider: Arc<CryptoProvider>) -> Result<Own, Flaw> {
        let certificates = certificates(material, pem)?;
        let mut roots = RootCertStore::empty();
        // Unparsable certificates among others are skipped, as Go does.
        let (_, skipped) = roots.add_parsable_certificates(certificates.iter().cloned());
        let unusable = || material.flaw("has a certificate that cannot be understood");
        if skipped == certificates.len() {
            return Err(unusable());
        }
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        Ok(Own { inner: inner.map_err(|_| unusable())?, certificates })
    }
}

impl ServerCertVerifier for Own {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.inner.verify_server_cert(end_entity, intermediates, name, ocsp, now);
        // At this point webpki has checked the dates, but not the name.
        if is_a_ca(&verified) && self.certificates.iter().any(|own| own == end_entity) {
            rustls::client::verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
            return Ok(ServerCertVerified::assertion());
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Whether a server's certificate was rejected because it is that of a CA.
fn is_a_ca(verified: &Result<ServerCertVerified, Error>) -> bool {
    let Err(Error::InvalidCertificate(CertificateError::Other(other))) = verified else { return false };
    matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

// === impl Blind ===

impl ServerCertVerifier for Blind {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
