#![doc = include_str!("../README.md")]

mod accept;
mod check;
mod content;
mod route;
mod self_test;
mod trace_fields;

pub use accept::{AcceptError, Accepted, Envelope};
pub use check::{CheckBuffer, CheckError, Checked};
pub use content::{Content, ContentError};
pub use route::{Route, RouteError, Target, is_duty};
pub use self_test::SelfTestDoor;
pub use trace_fields::{Client, Protocol};

use arc_swap::ArcSwap;
use mail::{Domain, ForwardPath};
use std::sync::Arc;
use store::{Space, Store, StoreError};

/// The one door for new mail. Clones are the same door.
#[derive(Clone)]
pub struct Delivery {
    house: Arc<House>,
}

struct House {
    store: Store,
    host_name: ArcSwap<Domain>,
    check_buffer: CheckBuffer,
    self_test: self_test::Door,
}

/// Why no message is wanted now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdmitError {
    /// The disk is so full that the rest is for other things (S8, D9). Passes.
    #[error("the disk is low")]
    DiskLow,
}

impl Delivery {
    /// A door to `store` on the box called `host_name` (H7).
    pub fn new(store: Store, host_name: Domain) -> Delivery {
        let house = House {
            store,
            host_name: ArcSwap::from_pointee(host_name),
            check_buffer: CheckBuffer::new(),
            self_test: self_test::Door::default(),
        };
        Delivery {
            house: Arc::new(house),
        }
    }

    /// What the box calls itself.
    pub fn host_name(&self) -> Arc<Domain> {
        self.house.host_name.load_full()
    }

    /// The box is called this from now on. Conversations that are under way keep the name they began with.
    pub fn set_host_name(&self, host_name: Domain) {
        self.house.host_name.store(Arc::new(host_name));
    }

    /// The one place that may hold a whole message, for others who have to look at one.
    pub fn check_buffer(&self) -> &CheckBuffer {
        &self.house.check_buffer
    }

    /// Whether there is room for a message of `octets` (what the client declares; `None` if it does
    /// not), before anything of it is sent (S2, S8).
    ///
    /// # Errors
    /// [`AdmitError::DiskLow`].
    pub fn admit(&self, octets: Option<u64>) -> Result<(), AdmitError> {
        match self.house.store.space_for(octets.unwrap_or(0)) {
            Space::Enough => Ok(()),
            Space::Low => Err(AdmitError::DiskLow),
        }
    }

    /// Says where a message of `octets` (what the client declares; `None` if it does not) to
    /// `forward_path` goes. Looks, and changes nothing.
    ///
    /// # Errors
    /// See [`RouteError`].
    pub fn route(&self, forward_path: ForwardPath, octets: Option<u64>) -> Result<Route, RouteError> {
        if let Some(route) = self.house.self_test.route(&forward_path) {
            return Ok(route);
        }
        let view = self.house.store.view()?;
        route::route(&view, forward_path, octets)
    }

    /// Opens the door for one message of the box to itself, into the mailbox of
    /// [`open_self_test`](Store::open_self_test).
    ///
    /// # Errors
    /// When the system gives no random octets.
    pub fn open_self_test(&self) -> Result<SelfTestDoor, getrandom::Error> {
        SelfTestDoor::open(Arc::clone(&self.house))
    }

    /// Makes room for the content of a message.
    ///
    /// # Errors
    /// [`ContentError::DiskFull`] when there is none.
    pub fn open(&self) -> Result<Content, ContentError> {
        match self.house.store.space() {
            Space::Enough => Ok(Content::new(self.house.store.body())),
            Space::Low => Err(ContentError::DiskFull),
        }
    }
}

/// Whether an error of the store says that the disk is full.
fn is_full(error: &StoreError) -> bool {
    matches!(error, StoreError::Full)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
