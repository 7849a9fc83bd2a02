//! The door that is open for one message of the box to itself.
//!
//! # Invariants
//! - While no self-test is under way there is no such door, and its domain is one that is not hosted: `invalid` is
//!   nobody's (RFC 6761 §6.4), so an address in it gets what every foreign address gets (C2).
//! - While one is, only who knows its 128 random bits finds it, and they are told to nobody but the program itself.
//!   The first recipient that names them shuts the door again.
//! - It leads to [`store::SELF_TEST`], which is no account.

use crate::House;
use crate::route::{Route, Target};
use mail::{Address, Domain, ForwardPath, LocalPart};
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use store::SELF_TEST;

const DOMAIN: &str = "self-test.invalid";

/// The address that leads to the self-test's mailbox, while there is one.
#[derive(Default)]
pub(crate) struct Door(Mutex<Option<Address>>);

/// Shuts the door when it is dropped.
pub struct SelfTestDoor {
    house: Arc<House>,
    address: Address,
}

impl SelfTestDoor {
    pub(crate) fn open(house: Arc<House>) -> Result<SelfTestDoor, getrandom::Error> {
        let mut octets = [0; 16];
        getrandom::fill(&mut octets)?;
        let mut local_part = String::new();
        for octet in octets {
            write!(local_part, "{octet:02x}").expect("a String takes all text");
        }
        let address = Address {
            local_part: LocalPart::from_unquoted(&local_part).expect("32 digits are a local part"),
            domain: Domain::parse(DOMAIN).expect("it is a domain name"),
        };
        house.self_test.set(Some(address.clone()));
        Ok(SelfTestDoor { house, address })
    }

    /// The one recipient it is open for, once.
    pub fn address(&self) -> &Address {
        &self.address
    }
}

impl Drop for SelfTestDoor {
    fn drop(&mut self) {
        self.house.self_test.set(None);
    }
}

impl Door {
    /// Nothing panics while the lock is held.
    fn set(&self, address: Option<Address>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = address;
    }

    /// Where `forward_path` leads if it is the address of the door, which is shut then.
    pub(crate) fn route(&self, forward_path: &ForwardPath) -> Option<Route> {
        let ForwardPath::Address(address) = forward_path else {
            return None;
        };
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let address = open.take_if(|open| open == address)?;
        Some(Route {
            forward_path: forward_path.clone(),
            targets: vec![Target {
                account: SELF_TEST,
                address,
            }],
        })
    }
}
