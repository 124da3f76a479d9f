//! The servers between the plugin and the fake Loki: a front that terminates TLS, a proxy, and their certificate
//! authority.

use std::fs;
use std::future::Future;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsAcceptor;

/// A folder as a host hands it over.
pub struct Files(TempDir);

/// A certificate authority of a test's own.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key, in PEM.
#[derive(Clone)]
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

/// Ends TLS, and passes on what was in it. Dropping it stops it.
pub struct Front {
    port: u16,
    _runtime: Runtime,
}

/// An HTTP proxy. Dropping it stops it.
pub struct Proxy {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
    _runtime: Runtime,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

// === impl Files ===

impl Files {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    /// Writes a file, in place of one of that name as a program does that replaces it as a whole; gives its path.
    pub fn put(&self, name: &str, text: &str) -> String {
        let (path, new) = (self.path(name), self.path("new"));
        fs::write(&new, text).and_then(|()| fs::rename(&new, &path)).expect("a file in a fresh directory");
        path.to_str().expect("temporary directories have plain names").to_owned()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).expect("it was there");
    }
}

// === impl Authority ===

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are good names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Another authority of the same name would be taken for this one.
        params.distinguished_name.push(DnType::CommonName, format!("Authority {:016x}", fastrand::u64(..)));
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate"))
    }

    /// What is to be trusted.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Vouches for a server or client under a name or address.
    pub fn vouch_for(&self, name: &str) -> Identity {
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

// === impl Identity ===

impl Identity {
    /// One that vouches for itself, as openssl makes them: it says that it is an authority.
    pub fn self_signed(name: &str) -> Self {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// A server configuration that accepts all clients, or those with a certificate of an authority.
    pub fn serves(&self, clients: Option<&Authority>) -> Arc<ServerConfig> {
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let builder = builder.expect("ring has them all");
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.0.der().clone()).expect("an authority");
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.expect("an authority"))
            }
        };
        let chain = vec![CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("a key");
        Arc::new(builder.with_single_cert(chain, key).expect("they belong together"))
    }
}

// === impl Front ===

impl Front {
    /// In front of a port of this machine.
    pub fn start(to: u16, tls: &Arc<ServerConfig>) -> Self {
        let acceptor = TlsAcceptor::from(tls.clone());
        let (port, runtime) = serve(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                // One that does not come in is a thing that tests ask for.
                let Ok(mut inside) = acceptor.accept(stream).await else { return };
                if let Ok(mut behind) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await {
                    let _ = copy_bidirectional(&mut inside, &mut behind).await;
                }
            }
        });
        Self { port, _runtime: runtime }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where to push.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}/loki/api/v1/push", self.port)
    }
}

// === impl Proxy ===

impl Proxy {
    /// One that wants this `Proxy-Authorization`, if any, and speaks TLS, if so asked.
    pub fn start(authorization: Option<&str>, tls: Option<Arc<ServerConfig>>) -> Self {
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let wanted = authorization.map(|value| format!("proxy-authorization: {}\r\n", value.to_ascii_lowercase()));
        let acceptor = tls.map(TlsAcceptor::from);
        let (port, runtime) = serve({
            let heads = heads.clone();
            move |stream| {
                let (heads, wanted, acceptor) = (heads.clone(), wanted.clone(), acceptor.clone());
                async move {
                    let client: Box<dyn Stream> = match acceptor {
                        None => Box::new(stream),
                        Some(acceptor) => match acceptor.accept(stream).await {
                            Ok(stream) => Box::new(stream),
                            Err(_) => return,
                        },
                    };
                    let _ = pass_on(client, wanted, &heads).await;
                }
            }
        });
        Self { port, heads, _runtime: runtime }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The first request of each connection, without its body.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// As a proxy does with a connection. All its requests have to be for the target of the first.
async fn pass_on(
    mut client: Box<dyn Stream>,
    wanted: Option<String>,
    heads: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let end = loop {
        if client.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    heads.lock().unwrap_or_else(PoisonError::into_inner).push(head.clone());
    if wanted.is_some_and(|wanted| !head.to_ascii_lowercase().contains(&wanted)) {
        let answer = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        return client.write_all(answer).await;
    }
    let target = head.split(' ').nth(1).unwrap_or_default();
    if head.starts_with("CONNECT ") {
        let mut server = TcpStream::connect(target).await?;
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
        copy_bidirectional(&mut client, &mut server).await?;
    } else {
        let host = target.strip_prefix("http://").and_then(|rest| rest.split('/').next()).unwrap_or_default();
        let mut server = TcpStream::connect(host).await?;
        // Servers take whole URLs, too.
        server.write_all(&bytes).await?;
        copy_bidirectional(&mut client, &mut server).await?;
    }
    Ok(())
}

/// Accepts on a free port of loopback.
fn serve<F: Future<Output = ()> + Send + 'static>(
    converse: impl Fn(TcpStream) -> F + Send + Sync + 'static,
) -> (u16, Runtime) {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
    let port = listener.local_addr().expect("it listens").port();
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(converse(stream));
        }
    });
    (port, runtime)
}

/// Text as it is written where a value is one line.
pub fn on_one_line(pem: &str) -> String {
    pem.replace('\n', "\\n")
}

/// All regular files below a folder.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let (folders, mut files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    files.extend(folders.iter().flat_map(|folder| files_below(folder)));
    files
}
