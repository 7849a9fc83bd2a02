//! What can keep the mail process from starting, as plain sentences.

use crate::provision::Mistakes;
use net::authority::AuthorityError;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use store::StoreError;

/// Why it does not serve.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// The folder is missing and cannot be made, or is not ours.
    #[error("the data folder {} cannot be used: {}", .path.display(), plain(.source))]
    Folder {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Two processes on one folder would ruin it.
    #[error("another maild already uses the data folder {}", .0.display())]
    InUse(PathBuf),
    /// The mail itself.
    #[error("the mail cannot be opened: {0}")]
    Store(#[source] StoreError),
    /// Certificates.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The TLS library.
    #[error("TLS cannot be started: {0}")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The provisioning file is not there, or cannot be read.
    #[error("the provisioning file {name} cannot be read: {}", plain(.source))]
    ProvisionFile {
        name: String,
        #[source]
        source: io::Error,
    },
    /// It says something that cannot be.
    #[error("nothing of {name} was applied, because of {mistakes}")]
    Provision { name: String, mistakes: Mistakes },
    /// It was right, and could not be kept.
    #[error("the accounts could not be made: {0}")]
    Provisioning(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nobody could claim the box, or it cannot be told whether somebody has.
    #[error("the box cannot be offered for claiming: {0}")]
    Claim(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Somebody else listens there, or only root may.
    #[error("{address} cannot be listened on: {}", plain(.source))]
    Port {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    /// No threads, no signals, no random numbers: a machine at its end.
    #[error("the system does not give what maild needs: {}", plain(.0))]
    System(#[source] io::Error),
    /// A program that serves strangers is confined, or does not run.
    #[error("maild is not started unconfined: {0}")]
    Sandbox(#[from] cage::CageError),
    /// init is not there, or does not speak as agreed.
    #[error("init cannot be understood: {0}")]
    Handoff(String),
    /// The disk failed while mail was served. Reading went on; a new start opens it again.
    #[error("the store stopped writing: {0}")]
    StoreStopped(String),
}

/// The few errors that people meet, in words they can act on.
fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another program listens there".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this computer does not have that address".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::NotFound => "it is not there".to_owned(),
        io::ErrorKind::StorageFull => "the disk is full".to_owned(),
        io::ErrorKind::ReadOnlyFilesystem => "the disk is read-only".to_owned(),
        io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        io::ErrorKind::NotADirectory => "it is not a folder".to_owned(),
        _ => error.to_string(),
    }
}
