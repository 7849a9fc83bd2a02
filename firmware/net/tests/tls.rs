//! What TLS the box speaks, seen from outside: by a real client, and by raw hellos for what no client
//! of today can say any more.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Options, Served, blocking, client_config, connect_tls, served};
use rustls::{ALL_VERSIONS, ClientConfig, HandshakeKind, ProtocolVersion};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

/// RFC 8446 §6: alert(21), then the version, the length, fatal(2) and the description.
const ALERT: u8 = 21;
const HANDSHAKE_FAILURE: u8 = 40;
const PROTOCOL_VERSION: u8 = 70;

fn tls_first() -> Options {
    Options {
        is_tls_first: true,
        ..Options::default()
    }
}

/// A ClientHello (RFC 5246 §7.4.1.2) of `version` with `suites`, without `supported_versions`.
fn client_hello(version: [u8; 2], suites: &[u16]) -> Vec<u8> {
    let mut body = version.to_vec();
    body.extend([7; 32]);
    body.push(0);
    body.extend(u16::try_from(suites.len() * 2).unwrap().to_be_bytes());
    for suite in suites {
        body.extend(suite.to_be_bytes());
    }
    body.extend([1, 0]);
    // supported_groups: secp256r1; ec_point_formats: uncompressed; signature_algorithms: ecdsa_secp256r1_sha256, rsa_pkcs1_sha256.
    let extensions = [
        0, 10, 0, 4, 0, 2, 0, 23, 0, 11, 0, 2, 1, 0, 0, 13, 0, 6, 0, 4, 4, 3, 4, 1,
    ];
    body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    body.extend(extensions);
    let mut handshake = vec![1, 0];
    handshake.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    handshake.extend(body);
    let mut record = vec![22, 3, 1];
    record.extend(u16::try_from(handshake.len()).unwrap().to_be_bytes());
    record.extend(handshake);
    record
}

/// Sends octets and reads all that comes back.
fn exchange(address: SocketAddr, octets: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.write_all(octets).unwrap();
    let mut heard = Vec::new();
    socket.read_to_end(&mut heard).unwrap();
    heard
}

async fn alert_to(server: &Served, octets: Vec<u8>) -> u8 {
    let address = server.address;
    let heard = blocking(move || exchange(address, &octets)).await;
    assert_eq!(heard.len(), 7, "one alert and nothing else: {heard:?}");
    assert_eq!((heard[0], heard[5]), (ALERT, 2), "{heard:?}");
    heard[6]
}

/// T1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t1_versions_before_1_2_get_a_fatal_alert_and_no_data() {
    let server = served(&tls_first());
    // With suites that would do for TLS 1.2, so that the version alone decides.
    let suites = [0xc02b, 0xc02f, 0xc009, 0xc013, 0x002f];
    for version in [[3, 2], [3, 1], [3, 0]] {
        let alert = alert_to(&server, client_hello(version, &suites)).await;
        assert_eq!(alert, PROTOCOL_VERSION, "{version:?}");
    }
    // Counted when the connection is over, a moment after the client has seen its end.
    while server.gate.connections() > 0 {
        tokio::task::yield_now().await;
    }
    let failed = server.gate.counters().handshakes_failed.load(Ordering::Relaxed);
    assert_eq!(failed, 3);
}

/// T2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t2_cbc_rsa_dhe_3des_and_rc4_get_handshake_failure() {
    let server = served(&tls_first());
    let kinds: [(&str, &[u16]); 6] = [
        (
            "ECDHE with CBC",
            &[0xc009, 0xc00a, 0xc023, 0xc024, 0xc013, 0xc014, 0xc027, 0xc028],
        ),
        ("RSA key exchange", &[0x002f, 0x0035, 0x003c, 0x009c, 0x009d]),
        ("DHE", &[0x0033, 0x0039, 0x009e, 0x009f, 0xccaa]),
        ("3DES", &[0x000a, 0xc008, 0xc012]),
        ("RC4", &[0x0005, 0xc007, 0xc011]),
        ("anonymous and export", &[0x0034, 0x0003, 0xc018]),
    ];
    for (kind, suites) in kinds {
        let alert = alert_to(&server, client_hello([3, 3], suites)).await;
        assert_eq!(alert, HANDSHAKE_FAILURE, "{kind}");
    }
}

/// P3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_plaintext_gets_no_greeting() {
    let server = served(&tls_first());
    for said in [
        "EHLO client.example\r\n",
        "a1 CAPABILITY\r\n",
        "GET / HTTP/1.1\r\n\r\n",
    ] {
        let address = server.address;
        let heard = blocking(move || exchange(address, said.as_bytes())).await;
        assert!(
            heard.is_empty() || heard[0] == ALERT,
            "{said}: {}",
            heard.escape_ascii()
        );
        assert!(!heard.windows(5).any(|octets| octets == b"hello"));
    }
}

/// The version, the suite and the kind of a handshake of a real client.
async fn handshake(
    server: &Served,
    config: &Arc<ClientConfig>,
    name: &'static str,
) -> (ProtocolVersion, String, HandshakeKind) {
    let (address, config) = (server.address, Arc::clone(config));
    blocking(move || {
        let mut tls = connect_tls(&config, name, TcpStream::connect(address).unwrap());
        tls.write_all(b"quit\r\n").unwrap();
        let mut heard = String::new();
        tls.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "hello\r\nbye\r\n");
        let suite = tls.conn.negotiated_cipher_suite().unwrap().suite();
        (
            tls.conn.protocol_version().unwrap(),
            suite.as_str().unwrap().to_owned(),
            tls.conn.handshake_kind().unwrap(),
        )
    })
    .await
}

/// T1, T2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t1_t2_both_versions_use_ecdhe_and_the_order_is_ours() {
    let server = served(&tls_first());
    for (version, expected) in [
        (&rustls::version::TLS12, ProtocolVersion::TLSv1_2),
        (&rustls::version::TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let config = Arc::new(client_config(&server, &[version]));
        let (spoken, suite, _) = handshake(&server, &config, "localhost").await;
        assert_eq!(spoken, expected);
        assert!(
            expected == ProtocolVersion::TLSv1_3 || suite.starts_with("TLS_ECDHE_ECDSA_"),
            "{suite}"
        );
        // The same choice when the client would rather have it the other way round.
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.cipher_suites.reverse();
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone))
            .with_no_client_auth();
        let (_, same, _) = handshake(&server, &Arc::new(config), "localhost").await;
        assert_eq!(suite, same);
    }
}

/// Trusts anyone: for the test above, which is about suites.
#[derive(Debug)]
struct Anyone;

impl rustls::client::danger::ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        vec![rustls::SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// T3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t3_sessions_are_resumed_in_both_versions() {
    let server = served(&tls_first());
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = Arc::new(client_config(&server, &[version]));
        let (_, _, first) = handshake(&server, &config, "localhost").await;
        let (_, _, second) = handshake(&server, &config, "localhost").await;
        assert_eq!(
            (first, second),
            (HandshakeKind::Full, HandshakeKind::Resumed),
            "{version:?}"
        );
    }
}

/// T5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t5_a_known_name_gets_its_certificate_and_any_other_the_default() {
    let server = served(&tls_first());
    let default = server
        .authority
        .server_certificate(&common::names(), SystemTime::now())
        .unwrap();
    let other_folder = tempfile::tempdir().unwrap();
    let other = net::authority::Authority::open(other_folder.path()).unwrap();
    let named = other
        .server_certificate(&common::names(), SystemTime::now())
        .unwrap();
    server.tls.set_certificates(
        Arc::clone(&default),
        HashMap::from([("box.example.net".to_owned(), Arc::clone(&named))]),
    );
    let mut config = client_config(&server, ALL_VERSIONS);
    config.dangerous().set_certificate_verifier(Arc::new(Anyone));
    config.resumption = rustls::client::Resumption::disabled();
    let with_sni = Arc::new(config.clone());
    config.enable_sni = false;
    let without_sni = Arc::new(config);
    for (config, name, expected) in [
        (&with_sni, "BOX.example.NET", &named),
        (&with_sni, "nobody.example", &default),
        (&without_sni, "box.example.net", &default),
    ] {
        let (address, config) = (server.address, Arc::clone(config));
        let chain = blocking(move || {
            let mut tls = connect_tls(&config, name, TcpStream::connect(address).unwrap());
            let mut octets = [0; 7];
            tls.read_exact(&mut octets).unwrap();
            tls.conn.peer_certificates().unwrap().to_vec()
        })
        .await;
        assert_eq!(chain, expected.cert, "{name}");
        assert_eq!(chain.len(), 2, "the chain is served whole");
    }
}

/// AS33
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as33_broken_and_endless_hellos_end_the_connection() {
    let mut server = served(&tls_first());
    let hello = client_hello([3, 3], &[0xc02b]);
    for (position, value) in (0..hello.len()).zip([0xff, 0, 0x7f].into_iter().cycle()) {
        let mut broken = hello.clone();
        broken[position] ^= value | 1;
        let address = server.address;
        let heard = blocking(move || {
            let mut socket = TcpStream::connect(address).unwrap();
            let _ = socket.write_all(&broken);
            let _ = socket.shutdown(std::net::Shutdown::Write);
            let mut heard = Vec::new();
            let _ = socket.read_to_end(&mut heard);
            heard
        })
        .await;
        assert!(
            !heard.windows(5).any(|octets| octets == b"hello"),
            "octet {position}"
        );
    }
    // A handshake message that says it is 16 MiB long.
    let mut endless = vec![22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff];
    endless.resize(5 + 0x4000, 7);
    let address = server.address;
    let heard = blocking(move || exchange(address, &endless)).await;
    assert!(
        matches!(heard.first(), None | Some(&ALERT)),
        "{}",
        heard.escape_ascii()
    );
    // When it has stopped, every end has been counted.
    server.stop.take().unwrap().press();
    server.serving.await.unwrap().unwrap();
    assert_eq!(server.gate.counters().panicked.load(Ordering::Relaxed), 0);
}
