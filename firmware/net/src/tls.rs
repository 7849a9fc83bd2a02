//! What TLS the box speaks, and which certificate a name gets.

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite};
use rustls::server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// Sessions remembered for resumption by id. Tickets, which nearly all clients use, need no memory.
const SESSIONS_REMEMBERED_MAX: usize = 256;

/// The server side of TLS. Clones share it, and a certificate that is changed is changed for all.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
}

impl Tls {
    /// TLS with this certificate for every name.
    ///
    /// # Errors
    /// When the library has no random numbers or refuses our choice of suites; not in normal life.
    pub fn new(default: Arc<CertifiedKey>) -> Result<Tls, rustls::Error> {
        let certificates = Arc::new(Certificates(ArcSwap::from_pointee(Table {
            default,
            named: HashMap::new(),
        })));
        // T1: 1.2 and 1.3 only. RFC 8996 has retired what came before.
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider(has_aes())))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&certificates) as Arc<dyn ResolvesServerCert>);
        config.ignore_client_order = true;
        // T3: resumption. Tickets are sealed by keys that live in memory and change every six hours.
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        config.session_storage = ServerSessionMemoryCache::new(SESSIONS_REMEMBERED_MAX);
        // Early data could be replayed by whoever recorded it (RFC 8446 §8), and mail gains nothing by it.
        config.max_early_data_size = 0;
        Ok(Tls {
            config: Arc::new(config),
            certificates,
        })
    }

    /// Changes the certificates: `named` by server name in lower case, `default` for every other name
    /// and for clients that send none (T5). Connections that are open keep what they have.
    pub fn set_certificates(&self, default: Arc<CertifiedKey>, named: HashMap<String, Arc<CertifiedKey>>) {
        self.certificates.0.store(Arc::new(Table { default, named }));
    }

    /// The same, for a service whose protocol is agreed on in the handshake (RFC 7301): the first of `protocols` that
    /// the client has too. A client that asks for none gets none; one that has only others is refused.
    #[must_use]
    pub fn speaking(&self, protocols: &[&[u8]]) -> Tls {
        let mut config = ServerConfig::clone(&self.config);
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Tls {
            config: Arc::new(config),
            certificates: Arc::clone(&self.certificates),
        }
    }

    /// The same, for saying no in the last, simplest protocol: [`Service::refusal`](crate::listener::Service::refusal)
    /// is text, which is not what HTTP/2 is made of.
    pub(crate) fn speaking_last(&self) -> Tls {
        match self.config.alpn_protocols.last() {
            Some(last) => self.speaking(&[last]),
            None => self.clone(),
        }
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

/// Which certificate a name gets. Looking one up allocates nothing and never fails (T5, AS33).
#[derive(Debug)]
struct Certificates(ArcSwap<Table>);

#[derive(Debug)]
struct Table {
    default: Arc<CertifiedKey>,
    named: HashMap<String, Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let table = self.0.load();
        // rustls has made the name lower case and refused what is no DNS name.
        let named = hello.server_name().and_then(|name| table.named.get(name));
        Some(Arc::clone(named.unwrap_or(&table.default)))
    }
}

/// Whether the processor encrypts AES itself. The Cortex-A53 and A72 of a Pi 3 and 4 do not, and there
/// ChaCha20 is about three times as fast.
fn has_aes() -> bool {
    #[cfg(target_arch = "aarch64")]
    {
        std::arch::is_aarch64_feature_detected!("aes")
    }
    #[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
    {
        std::arch::is_x86_feature_detected!("aes")
    }
    #[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64", target_arch = "x86")))]
    {
        false
    }
}

/// T2: what is offered, in our order. ECDHE and authenticated encryption throughout; the library has
/// no other. AES-128 stands before AES-256: no attack makes a difference between them, and it is faster.
pub(crate) fn provider(has_aes: bool) -> CryptoProvider {
    let mut suites = vec![
        cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        cipher_suite::TLS13_AES_128_GCM_SHA256,
        cipher_suite::TLS13_AES_256_GCM_SHA384,
        cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ];
    if has_aes {
        // Stable: the order within each kind stays.
        suites.sort_by_key(|suite| is_chacha(suite.suite()));
    }
    CryptoProvider {
        cipher_suites: suites,
        ..aws_lc_rs::default_provider()
    }
}

fn is_chacha(suite: rustls::CipherSuite) -> bool {
    suite.as_str().is_some_and(|name| name.contains("CHACHA20"))
}
