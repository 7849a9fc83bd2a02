//! On a computer: opens its own sockets, says when it is ready, stops on a signal.

use crate::arguments::Dev;
use crate::house::{House, Options, ProvisionFile};
use crate::provision::FILE_OCTETS_MAX;
use crate::services::{Entry, SERVICES};
use crate::trouble::Trouble;
use mail::Domain;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// What the box is called when no file says so. Its certificate has this name in any case.
const HOST_NAME: &str = "postolka.local";
/// How long sessions may take to end.
const GRACE: Duration = Duration::from_secs(8);

/// Serves until a signal.
pub(crate) async fn run(dev: Dev) -> Result<(), Trouble> {
    // From here on a signal is a clean stop, also while it starts.
    let mut terminate = signal(SignalKind::terminate()).map_err(Trouble::System)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Trouble::System)?;

    let provision = dev.provision.as_deref().map(read_file).transpose()?;
    // Before the store: what fails here has touched nothing.
    let sockets = open_sockets(&dev)?;
    let options = Options {
        folder: dev.data,
        host_name: Domain::parse(HOST_NAME).expect("it is a domain name"),
        addresses: vec![dev.listen],
        provision,
    };
    let mut house = House::open(options).await?;
    let mut ready = String::new();
    for (entry, address, socket) in sockets {
        let _ = writeln!(ready, "{} {address}", entry.service.name);
        house.serve(entry, socket);
    }
    let self_test = tokio::spawn(house.self_test()?.run());
    announce(&(ready + "LISTENING\n")).map_err(Trouble::System)?;

    let trouble = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        trouble = house.failed() => Some(trouble),
    };
    self_test.abort();
    tracing::info!("stopping");
    house.close(GRACE).await;
    trouble.map_or(Ok(()), Err)
}

fn read_file(path: &Path) -> Result<ProvisionFile, Trouble> {
    let name = path.display().to_string();
    let mut octets = Vec::new();
    // One octet more than a file may have, so that one that is too large is seen to be.
    match File::open(path).and_then(|file| file.take(FILE_OCTETS_MAX + 1).read_to_end(&mut octets)) {
        Ok(_) => Ok(ProvisionFile {
            name,
            octets,
            limits_hold: true,
        }),
        Err(source) => Err(Trouble::ProvisionFile { name, source }),
    }
}

fn open_sockets(dev: &Dev) -> Result<Vec<(Entry, SocketAddr, TcpListener)>, Trouble> {
    let open = |entry: Entry| {
        let port = match dev.port_base {
            0 => 0,
            base => base + entry.port,
        };
        let wanted = SocketAddr::new(dev.listen, port);
        let failed = |source| Trouble::Port {
            address: wanted,
            source,
        };
        let socket = TcpListener::bind(wanted).map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok((entry, address, socket))
    };
    SERVICES.into_iter().map(open).collect()
}

/// In one write, so that a reader sees all of it or nothing.
fn announce(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
