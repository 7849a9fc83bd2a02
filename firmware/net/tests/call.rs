//! The box calls its own listeners.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Options, served};
use net::authority::Authority;
use net::call::Caller;
use net::listener::{Gate, Limits, Service};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;

const fn service(is_tls_first: bool) -> Service {
    Service {
        name: "toy",
        is_tls_first,
        refusal: "busy\r\n",
    }
}

/// D17: neither is it turned away because others fill the box, nor are others because of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d17_the_box_calls_itself_without_taking_a_place() {
    for (bind, is_tls_first) in [("127.0.0.1:0", false), ("127.0.0.1:0", true), ("[::]:0", true)] {
        let server = served(&Options {
            is_tls_first,
            limits: Limits {
                connections_max: 1,
                connections_per_address_max: 1,
            },
            bind,
            ..Options::default()
        });
        let caller = Caller::new(&server.authority, server.gate.clone()).unwrap();
        let listener = SocketAddr::new(bind.parse::<SocketAddr>().unwrap().ip(), server.address.port());
        let mut calls = Vec::new();
        for _ in 0..3 {
            let mut call = caller.call(service(is_tls_first), listener).await.unwrap();
            assert_eq!(call.line().await.unwrap(), "hello");
            call.send(b"one\r\n").await.unwrap();
            assert_eq!(call.line().await.unwrap(), "ONE");
            calls.push(call);
        }
        assert_eq!(server.gate.connections(), 0);
        assert_eq!(server.gate.counters().accepted.load(Ordering::Relaxed), 0);

        // Its own gate does not know this one: the second is one too many.
        let stranger = Gate::new(Limits::default());
        let stranger = Caller::new(&server.authority, stranger).unwrap();
        let mut first = stranger.call(service(is_tls_first), listener).await.unwrap();
        assert_eq!(first.line().await.unwrap(), "hello");
        let mut second = stranger.call(service(is_tls_first), listener).await.unwrap();
        assert_eq!(second.line().await.unwrap(), "busy");
        assert_eq!(server.gate.connections(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_another_authority_is_refused() {
    let server = served(&Options {
        is_tls_first: true,
        ..Options::default()
    });
    let folder = tempfile::tempdir().unwrap();
    let other = Authority::open(folder.path()).unwrap();
    let caller = Caller::new(&other, server.gate.clone()).unwrap();
    let error = caller
        .call(service(true), server.address)
        .await
        .err()
        .expect("the handshake fails");
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_where_nobody_listens_and_a_line_without_an_end_are_errors() {
    let server = served(&Options::default());
    let caller = Caller::new(&server.authority, server.gate.clone()).unwrap();
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free = socket.local_addr().unwrap();
    drop(socket);
    assert!(caller.call(service(false), free).await.is_err());
    let mut call = caller.call(service(false), server.address).await.unwrap();
    assert_eq!(call.line().await.unwrap(), "hello");
    call.send(b"copy 5000\r\nquit\r\n").await.unwrap();
    let error = call.line().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
}
