//! The pump and the listener on real loopback sockets.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Options, blocking, client_config, connect_tls, served};
use net::listener::Limits;
use net::pump::End;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Sends `said` at once, and reads until the server closes.
fn dialogue(address: std::net::SocketAddr, said: &[u8]) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.write_all(said).unwrap();
    let mut heard = String::new();
    let _ = socket.read_to_string(&mut heard);
    heard
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipeline_is_answered_in_order_and_the_last_reply_arrives() {
    let mut server = served(&Options::default());
    let address = server.address;
    // What stands behind quit is never read; the reply to quit arrives all the same.
    let said = b"one\r\ntwo\r\ncopy 5\r\nquit\r\nmore and more\r\n".to_vec();
    let heard = blocking(move || dialogue(address, &said)).await;
    assert_eq!(heard, "hello\r\nONE\r\nTWO\r\nxxxxxbye\r\n");
    assert!(matches!(server.ends.recv().await, Some(End::Closed)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_copy_arrives_whole_at_a_slow_reader() {
    let server = served(&Options::default());
    let address = server.address;
    let heard = blocking(move || {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.write_all(b"copy 20000000\r\nquit\r\n").unwrap();
        let mut count = 0;
        let mut octets = vec![0; 100_000];
        loop {
            let read = socket.read(&mut octets).unwrap();
            if read == 0 {
                return count;
            }
            count += read;
        }
    })
    .await;
    assert_eq!(heard, "hello\r\n".len() + 20_000_000 + "bye\r\n".len());
}

/// P5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_octets_behind_starttls_end_the_connection() {
    let mut server = served(&Options::default());
    let address = server.address;
    let heard = blocking(move || dialogue(address, b"tls\r\ninjected\r\n")).await;
    assert_eq!(heard, "hello\r\ngo ahead\r\n");
    assert!(matches!(server.ends.recv().await, Some(End::OctetsBeforeTls)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_upgraded_in_place() {
    let mut server = served(&Options::default());
    let address = server.address;
    let config = Arc::new(client_config(&server, rustls::ALL_VERSIONS));
    let heard = blocking(move || {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.write_all(b"tls\r\n").unwrap();
        let mut octets = [0; 17];
        socket.read_exact(&mut octets).unwrap();
        assert_eq!(&octets, b"hello\r\ngo ahead\r\n");
        let mut tls = connect_tls(&config, "localhost", socket);
        tls.write_all(b"secret\r\ncopy 100000\r\nquit\r\n").unwrap();
        let mut heard = String::new();
        // Without close_notify this would be an error.
        tls.read_to_string(&mut heard).unwrap();
        heard
    })
    .await;
    assert_eq!(heard, format!("SECRET\r\n{}bye\r\n", "x".repeat(100_000)));
    assert!(matches!(server.ends.recv().await, Some(End::Closed)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listening_session_hears_notices_and_goes_on_with_octets() {
    let server = served(&Options::default());
    let address = server.address;
    let (told, tell) = std::sync::mpsc::channel();
    let client = tokio::task::spawn_blocking(move || {
        let mut socket = BufReader::new(TcpStream::connect(address).unwrap());
        let mut lines = Vec::new();
        let mut hear = |socket: &mut BufReader<TcpStream>| {
            let mut line = String::new();
            socket.read_line(&mut line).unwrap();
            lines.push(line);
        };
        hear(&mut socket);
        socket.get_mut().write_all(b"before\r\nlisten\r\n").unwrap();
        hear(&mut socket);
        told.send(()).unwrap();
        hear(&mut socket);
        socket.get_mut().write_all(b"quit\r\n").unwrap();
        hear(&mut socket);
        lines
    });
    blocking(move || tell.recv().unwrap()).await;
    server.news.send(7).unwrap();
    assert_eq!(
        client.await.unwrap(),
        ["hello\r\n", "BEFORE\r\n", "news 7\r\n", "bye\r\n"]
    );
}

/// D17
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d17_a_silent_peer_is_told_and_let_go() {
    let mut server = served(&Options {
        timeout: Duration::from_millis(100),
        ..Options::default()
    });
    let address = server.address;
    let heard = blocking(move || dialogue(address, b"")).await;
    assert_eq!(heard, "hello\r\ntoo slow\r\n");
    assert!(matches!(server.ends.recv().await, Some(End::TimedOut)));
}

/// D17: an octet now and then is not a command.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d17_octets_without_an_end_do_not_move_the_deadline() {
    let mut server = served(&Options {
        timeout: Duration::from_millis(200),
        ..Options::default()
    });
    let address = server.address;
    let start = Instant::now();
    blocking(move || {
        let mut socket = TcpStream::connect(address).unwrap();
        while socket.write_all(b"x").is_ok() && start.elapsed() < Duration::from_secs(60) {
            std::thread::yield_now();
        }
    })
    .await;
    assert!(matches!(
        server.ends.recv().await,
        Some(End::TimedOut | End::SessionStuck)
    ));
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_ends_its_session_only_and_is_counted() {
    let server = served(&Options::default());
    let address = server.address;
    let mut other = blocking(move || BufReader::new(TcpStream::connect(address).unwrap())).await;
    let heard = blocking(move || dialogue(address, b"panic\r\n")).await;
    assert!(heard == "hello\r\n" || heard.is_empty(), "{heard}");
    let heard = blocking(move || {
        other.get_mut().write_all(b"alive\r\nquit\r\n").unwrap();
        let mut heard = String::new();
        other.read_to_string(&mut heard).unwrap();
        heard
    })
    .await;
    assert_eq!(heard, "hello\r\nALIVE\r\nbye\r\n");
    while server.gate.connections() > 0 || server.gate.counters().panicked.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.gate.counters().panicked.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn octets_that_cannot_be_had_end_the_connection() {
    let mut server = served(&Options::default());
    let address = server.address;
    let heard = blocking(move || dialogue(address, b"broken\r\nquit\r\n")).await;
    assert!(!heard.contains("bye"), "it went on after a half copy: {heard}");
    assert!(matches!(server.ends.recv().await, Some(End::Source(_))));
}

/// D17: the one too many is told so, and those that are there are unharmed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d17_a_connection_over_the_limit_is_told_why() {
    for is_tls_first in [false, true] {
        let server = served(&Options {
            limits: Limits {
                connections_max: 10,
                connections_per_address_max: 2,
            },
            is_tls_first,
            ..Options::default()
        });
        let config = Arc::new(client_config(&server, rustls::ALL_VERSIONS));
        let address = server.address;
        blocking(move || {
            let connect = || -> Box<dyn ReadWrite> {
                let socket = TcpStream::connect(address).unwrap();
                if is_tls_first {
                    Box::new(connect_tls(&config, "localhost", socket))
                } else {
                    Box::new(socket)
                }
            };
            let mut held = [connect(), connect()];
            for connection in &mut held {
                let mut octets = [0; 7];
                connection.read_exact(&mut octets).unwrap();
            }
            let mut heard = String::new();
            connect().read_to_string(&mut heard).unwrap();
            assert_eq!(heard, "busy\r\n");
            for mut connection in held {
                connection.write_all(b"quit\r\n").unwrap();
                let mut heard = String::new();
                connection.read_to_string(&mut heard).unwrap();
                assert_eq!(heard, "bye\r\n");
            }
        })
        .await;
        assert_eq!(server.gate.counters().refused.load(Ordering::Relaxed), 1);
    }
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_are_told_when_the_service_stops_and_then_it_is_over() {
    let mut server = served(&Options::default());
    let address = server.address;
    let clients: Vec<_> = [b"".as_slice(), b"half a line", b"listen\r\n"]
        .into_iter()
        .map(|said| tokio::task::spawn_blocking(move || dialogue(address, said)))
        .collect();
    while server.gate.connections() < 3 {
        tokio::task::yield_now().await;
    }
    server.stop.take().unwrap().press();
    for client in clients {
        assert_eq!(client.await.unwrap(), "hello\r\nclosing down\r\n");
    }
    server.serving.await.unwrap().unwrap();
    assert!(TcpStream::connect(address).is_err(), "somebody still listens");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_of_a_dual_stack_socket_that_speaks_ipv4_counts_as_ipv4() {
    let Ok(probe) = std::net::TcpListener::bind("[::1]:0") else {
        eprintln!("this machine has no IPv6: nothing was tested");
        return;
    };
    drop(probe);
    let server = served(&Options {
        bind: "[::]:0",
        limits: Limits {
            connections_max: 10,
            connections_per_address_max: 1,
        },
        ..Options::default()
    });
    let port = server.address.port();
    blocking(move || {
        let mut four = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let mut octets = [0; 7];
        four.read_exact(&mut octets).unwrap();
        // Another source: both have their place.
        let mut six = TcpStream::connect(("::1", port)).unwrap();
        six.read_exact(&mut octets).unwrap();
        let mut heard = String::new();
        TcpStream::connect(("127.0.0.1", port))
            .unwrap()
            .read_to_string(&mut heard)
            .unwrap();
        assert_eq!(heard, "busy\r\n");
    })
    .await;
}
