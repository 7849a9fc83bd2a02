//! On a computer: opens its own sockets, says when it is ready, stops on a signal.

use crate::arguments::Dev;
use crate::house::{House, Options, ProvisionFile};
use crate::log::Keeper;
use crate::provision::FILE_OCTETS_MAX;
use crate::services::{Entry, Protocol, SERVICES};
use crate::trouble::Trouble;
use mail::Domain;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::TcpSocket;
use tokio::signal::unix::{SignalKind, signal};

/// What the box is called when no file says so. Its certificate has this name in any case.
const HOST_NAME: &str = "postolka.local";
/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;
/// How long sessions may take to end.
const GRACE: Duration = Duration::from_secs(8);

/// What is opened before the sandbox is closed.
pub(crate) struct Ready {
    pub(crate) data: PathBuf,
    provision: Option<ProvisionFile>,
    listen: IpAddr,
    sockets: Vec<Bound>,
}

/// A service whose port is ours, and where nobody is listened to yet.
struct Bound {
    entry: Entry,
    address: SocketAddr,
    socket: TcpSocket,
}

/// Opens what the process may not open later: its ports, and the files that were named. What fails here has touched no mail.
pub(crate) fn prepare(dev: Dev) -> Result<Ready, Trouble> {
    let provision = dev.provision.as_deref().map(read_file).transpose()?;
    let sockets = take_ports(&dev)?;
    Ok(Ready {
        data: dev.data,
        provision,
        listen: dev.listen,
        sockets,
    })
}

/// Serves until a signal.
pub(crate) async fn run(ready: Ready, keeper: Keeper) -> Result<(), Trouble> {
    // From here on a signal is a clean stop, also while it starts.
    let mut terminate = signal(SignalKind::terminate()).map_err(Trouble::System)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Trouble::System)?;

    let Ready {
        data,
        provision,
        listen,
        sockets,
    } = ready;
    let whole = if listen.is_ipv4() { 32 } else { 128 };
    let options = Options {
        folder: data,
        host_name: Domain::parse(HOST_NAME).expect("it is a domain name"),
        addresses: vec![(listen, whole)],
        has_button: false,
        provision,
    };
    let mut house = House::open(options).await?;
    let _sending = house.send_log(&keeper);
    let claiming = house.claiming().clone();
    let mut ready = String::new();
    // AX2: before the box belongs to somebody only the web is there.
    let (first, later): (Vec<Bound>, Vec<Bound>) = sockets
        .into_iter()
        .partition(|bound| house.is_claimed() || bound.entry.protocol == Protocol::Web);
    let mut later = Some(later).filter(|later| !later.is_empty());
    let web = first.iter().find(|bound| bound.entry.protocol == Protocol::Web);
    let invitation = claiming.code().zip(web).map(|(code, web)| {
        let address = web.address;
        format!("This box belongs to nobody yet. Open https://{address}/ and enter the code {code}\n")
    });
    ready += &serve(&mut house, first)?;
    ready += invitation.as_deref().unwrap_or_default();
    let self_test = tokio::spawn(house.self_test()?.run());
    announce(&(ready + "LISTENING\n")).map_err(Trouble::System)?;

    let outcome = loop {
        tokio::select! {
            _ = terminate.recv() => break Ok(()),
            _ = interrupt.recv() => break Ok(()),
            trouble = house.failed() => break Err(trouble),
            () = claiming.claimed(), if later.is_some() => {
                let served = serve(&mut house, later.take().unwrap_or_default());
                let announced = served.and_then(|lines| {
                    announce(&(lines + "LISTENING\n")).map_err(Trouble::System)
                });
                if let Err(trouble) = announced {
                    break Err(trouble);
                }
            }
        }
    };
    self_test.abort();
    tracing::info!("stopping");
    house.close(GRACE).await;
    outcome
}

/// Begins to listen and to serve. Gives a line for each service with its address.
fn serve(house: &mut House, sockets: Vec<Bound>) -> Result<String, Trouble> {
    let mut lines = String::new();
    for bound in sockets {
        let Bound {
            entry,
            address,
            socket,
        } = bound;
        let socket = socket.listen(BACKLOG).and_then(tokio::net::TcpListener::into_std);
        let socket = socket.map_err(|source| Trouble::Port { address, source })?;
        let _ = writeln!(lines, "{} {address}", entry.service.name);
        house.serve(entry, socket);
    }
    Ok(lines)
}

fn read_file(path: &Path) -> Result<ProvisionFile, Trouble> {
    let name = path.display().to_string();
    let mut octets = Vec::new();
    // One octet more than a file may have, so that one that is too large is seen to be.
    match File::open(path).and_then(|file| file.take(FILE_OCTETS_MAX + 1).read_to_end(&mut octets)) {
        Ok(_) => Ok(ProvisionFile {
            name,
            octets,
            is_named: true,
        }),
        Err(source) => Err(Trouble::ProvisionFile { name, source }),
    }
}

/// Takes the ports. Who connects before [`serve`] is refused, as if nobody had them.
fn take_ports(dev: &Dev) -> Result<Vec<Bound>, Trouble> {
    let take = |entry: Entry| {
        let port = match dev.port_base {
            0 => 0,
            base => base + entry.port,
        };
        let wanted = SocketAddr::new(dev.listen, port);
        let taken = || {
            let socket = match wanted {
                SocketAddr::V4(_) => TcpSocket::new_v4(),
                SocketAddr::V6(_) => TcpSocket::new_v6(),
            }?;
            // Connections of the process before this one that have not quite ended keep nobody off.
            socket.set_reuseaddr(true)?;
            socket.bind(wanted)?;
            let address = socket.local_addr()?;
            Ok(Bound {
                entry,
                address,
                socket,
            })
        };
        taken().map_err(|source| Trouble::Port {
            address: wanted,
            source,
        })
    };
    SERVICES.into_iter().map(take).collect()
}

/// In one write, so that a reader sees all of it or nothing.
fn announce(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
