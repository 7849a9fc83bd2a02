//! A toy protocol on real loopback sockets, and clients for it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use net::authority::{Authority, ServerNames};
use net::listener::{Gate, Limits, Service, serve};
use net::pump::{self, End};
use net::tls::Tls;
use net::{Host, Stop, stop_switch};
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use wire::{Input, Line, LineReader, Moment, Output, Session, Step, TlsFacts};

/// Answers each line in upper case. `tls`, `quit`, `copy N`, `broken`, `listen` and `panic` are commands.
pub struct Toy {
    lines: LineReader,
    has_greeted: bool,
    is_listening: bool,
    deadline: Moment,
    timeout: Duration,
}

/// What the toy asks.
pub enum Need {
    Shout(Vec<u8>),
    Panic,
}

/// So many octets, or so many and then an error.
pub struct Source {
    left: usize,
    is_broken: bool,
}

impl Toy {
    pub fn new(timeout: Duration) -> Toy {
        Toy {
            lines: LineReader::new(100_000),
            has_greeted: false,
            is_listening: false,
            deadline: net::now() + timeout,
            timeout,
        }
    }
}

impl Session for Toy {
    type Need = Need;
    type Answer = Vec<u8>;
    type Source = Source;

    fn advance(&mut self, input: &mut Input, output: &mut Output, now: Moment) -> Step<Need, Source> {
        if !self.has_greeted {
            self.has_greeted = true;
            output.push(b"hello\r\n");
        }
        let Some(line) = self.lines.next(input) else {
            return if self.is_listening {
                Step::Listen
            } else {
                Step::Read
            };
        };
        self.deadline = now + self.timeout;
        self.is_listening = false;
        let Line::Complete(line) = line else {
            return Step::Close;
        };
        if let Some(count) = line.strip_prefix(b"copy ") {
            let left = std::str::from_utf8(count).unwrap().parse().unwrap();
            return Step::Copy(Source {
                left,
                is_broken: false,
            });
        }
        match line.as_slice() {
            b"tls" => {
                output.push(b"go ahead\r\n");
                Step::StartTls
            }
            b"quit" => {
                output.push(b"bye\r\n");
                Step::Close
            }
            b"broken" => Step::Copy(Source {
                left: 10,
                is_broken: true,
            }),
            b"listen" => {
                self.is_listening = true;
                Step::Listen
            }
            b"panic" => Step::Need(Need::Panic),
            _ => Step::Need(Need::Shout(line)),
        }
    }

    fn answer(&mut self, answer: Vec<u8>, output: &mut Output, _now: Moment) {
        output.push(&answer);
        output.push(b"\r\n");
    }

    fn tls_started(&mut self, tls: TlsFacts, _now: Moment) {
        assert!(tls.cipher_suite.starts_with("TLS_"), "{}", tls.cipher_suite);
    }

    fn deadline(&self) -> Moment {
        self.deadline
    }

    fn timed_out(&mut self, output: &mut Output) {
        output.push(b"too slow\r\n");
    }

    fn shut_down(&mut self, output: &mut Output) {
        output.push(b"closing down\r\n");
    }
}

/// Shouts; hands on what is sent to `news`.
pub struct Shouter {
    pub news: watch::Receiver<u32>,
}

impl Host<Toy> for Shouter {
    async fn answer(&mut self, need: Need) -> Vec<u8> {
        match need {
            Need::Shout(line) => line.to_ascii_uppercase(),
            Need::Panic => panic!("a fault in a session, as the test wants"),
        }
    }

    async fn copy(&mut self, source: &mut Source, into: &mut Vec<u8>) -> std::io::Result<bool> {
        let piece = source.left.min(40_000);
        source.left -= piece;
        into.resize(into.len() + piece, b'x');
        if source.left == 0 && source.is_broken {
            return Err(std::io::Error::other("a damaged body"));
        }
        Ok(source.left > 0)
    }

    async fn notice(&mut self) -> Vec<u8> {
        match self.news.changed().await {
            Ok(()) => format!("news {}", *self.news.borrow_and_update()).into_bytes(),
            Err(_) => std::future::pending().await,
        }
    }
}

/// A served port.
pub struct Served {
    pub address: SocketAddr,
    pub gate: Gate,
    pub tls: Tls,
    pub authority: Authority,
    pub folder: tempfile::TempDir,
    pub news: watch::Sender<u32>,
    pub stop: Option<Stop>,
    /// How each connection ended.
    pub ends: mpsc::UnboundedReceiver<End>,
    pub serving: JoinHandle<std::io::Result<()>>,
}

pub struct Options {
    pub is_tls_first: bool,
    pub limits: Limits,
    pub timeout: Duration,
    pub bind: &'static str,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            is_tls_first: false,
            limits: Limits::default(),
            timeout: Duration::from_secs(300),
            bind: "127.0.0.1:0",
        }
    }
}

pub fn names() -> ServerNames {
    ServerNames {
        host_name: "box.example.net".to_owned(),
        addresses: Vec::new(),
    }
}

pub fn served(options: &Options) -> Served {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::open(folder.path()).unwrap();
    let tls = Tls::new(authority.server_certificate(&names(), SystemTime::now()).unwrap()).unwrap();
    let socket = std::net::TcpListener::bind(options.bind).unwrap();
    let address = socket.local_addr().unwrap();
    let gate = Gate::new(options.limits);
    let (stop, shutdown) = stop_switch();
    let (news, news_receiver) = watch::channel(0);
    let (ends_sender, ends) = mpsc::unbounded_channel();
    let service = Service {
        name: "toy",
        is_tls_first: options.is_tls_first,
        refusal: "busy\r\n",
    };
    let for_pump = shutdown.clone();
    let timeout = options.timeout;
    let converse = move |stream, _peer| {
        let host = Shouter {
            news: news_receiver.clone(),
        };
        let (shutdown, ends, session) = (for_pump.clone(), ends_sender.clone(), Toy::new(timeout));
        async move {
            let end = pump::run(stream, session, host, shutdown).await;
            let text = end.to_string();
            let _ = ends.send(end);
            // The listener logs it by itself; here only its kind is of interest.
            if text == "closed" {
                End::Closed
            } else {
                End::PeerClosed
            }
        }
    };
    let serving = tokio::spawn(serve(
        socket,
        service,
        tls.clone(),
        gate.clone(),
        shutdown,
        converse,
    ));
    Served {
        address,
        gate,
        tls,
        authority,
        folder,
        news,
        stop: Some(stop),
        ends,
        serving,
    }
}

/// A client that trusts the box's own authority.
pub fn client_config(
    served: &Served,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let pem = std::fs::read(served.authority.public_file()).unwrap();
    roots
        .add(rustls::pki_types::CertificateDer::from_pem_slice(&pem).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// A blocking client, on its own thread.
pub fn connect_tls(
    config: &Arc<ClientConfig>,
    name: &str,
    socket: std::net::TcpStream,
) -> rustls::StreamOwned<rustls::ClientConnection, std::net::TcpStream> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connection = rustls::ClientConnection::new(Arc::clone(config), name).unwrap();
    rustls::StreamOwned::new(connection, socket)
}

/// Runs a blocking client while the server runs.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}
