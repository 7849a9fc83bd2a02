//! Messages, and how a store gets them.

use crate::Failure;
use crate::wait::wait;
use mail::{AccountId, Address, Domain, Flags, Timestamp};
use store::{Deliver, Delivered, DeliveredCopy, NewAccount, Provision, Store};

/// A message like most: some text, an attachment in base64.
pub(crate) fn message(number: u64, octets_wanted: usize) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut octets = format!(
        "Received: from mail.example.com by mx.example.org; Tue, 24 Nov 2026 08:00:00 +0000\r\n\
         From: sender{number}@example.com\r\nTo: u1@example.org\r\nSubject: Message {number}\r\n\
         Message-ID: <{number}@example.com>\r\nMIME-Version: 1.0\r\n\r\n"
    )
    .into_bytes();
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while octets.len() < octets_wanted {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        octets.push(ALPHABET[usize::from((state >> 58).to_le_bytes()[0])]);
        if octets.len() % 78 == 76 {
            octets.extend_from_slice(b"\r\n");
        }
    }
    octets.truncate(octets_wanted);
    octets
}

/// A box with one account.
pub(crate) fn provision(store: &Store) -> Result<(), Failure> {
    Ok(wait(store.provision(Provision {
        domains: vec![Domain::parse("example.org")?],
        accounts: vec![NewAccount {
            address: Address::parse("u1@example.org")?,
            verifier: String::new(),
            quota_octets: None,
        }],
        redirects: Vec::new(),
    }))?)
}

/// Delivers to that account; durable when it returns. The octets come in pieces, as from a socket.
pub(crate) fn deliver<'o>(
    store: &Store,
    pieces: impl IntoIterator<Item = &'o [u8]>,
) -> Result<Delivered, Failure> {
    let mut body = store.body();
    for piece in pieces {
        body.write(piece)?;
    }
    let delivered = wait(store.deliver(Deliver {
        body: body.seal()?,
        structure: vec![0; 300],
        received: Timestamp(0),
        copies: vec![DeliveredCopy {
            account: AccountId(1),
            header: b"Delivered-To: u1@example.org\r\n".to_vec(),
            flags: Flags::default(),
        }],
    }))?;
    delivered.first().copied().ok_or_else(|| "it went nowhere".into())
}
