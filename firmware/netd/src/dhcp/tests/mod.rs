//! Table tests of the client: a server's answers are written with dhcproto and read back octet by octet.
#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::rc::Rc;

use dhcproto::v4::{self, DhcpOption, HType, MessageType, Opcode, OptionCode};
use dhcproto::{Decodable, Encodable};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

mod answers;
mod life;
mod random;

const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const OURS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 15);

/// The network around one client: what it sent last, and the answers a server gives.
struct Net {
    machine: Machine<Box<dyn FnMut() -> u32>>,
    now_ms: u64,
    actions: Vec<Action>,
}

impl Net {
    /// The random numbers are 1000, 1001 …: the jitter is then 1000 ms and a bit more than nothing.
    fn new() -> Self {
        let next = Rc::new(Cell::new(1000));
        let random = move || next.replace(next.get() + 1);
        Self {
            machine: Machine::new(MAC, name(), Box::new(random), 0),
            now_ms: 0,
            actions: Vec::new(),
        }
    }

    /// A client with a lease of an hour from `SERVER`.
    fn bound() -> Self {
        let mut net = Self::new();
        net.until_due();
        net.answer(MessageType::Offer, &[]);
        net.answer(MessageType::Ack, &[]);
        assert!(matches!(net.actions[..], [Action::Lease(_)]), "{:?}", net.actions);
        net
    }

    /// Lets the time pass to the next deadline.
    fn until_due(&mut self) -> &mut Self {
        self.now_ms = self.machine.deadline_ms().unwrap();
        self.actions = self.machine.tick(self.now_ms);
        self
    }

    fn xid(&self) -> u32 {
        self.machine.xid
    }

    /// Receives an answer of `SERVER` that offers `OURS` for an hour, with some options changed.
    fn answer(&mut self, kind: MessageType, options: &[DhcpOption]) -> &mut Self {
        let mut message = reply(kind, self.xid());
        for option in options {
            message.opts_mut().insert(option.clone());
        }
        self.receive(&message)
    }

    fn receive(&mut self, message: &v4::Message) -> &mut Self {
        // What is malformed has no actions.
        let _ = self.hear(&message.to_vec().unwrap());
        self
    }

    fn hear(&mut self, octets: &[u8]) -> Result<(), Malformed> {
        self.actions.clear();
        self.actions = self.machine.receive(octets, self.now_ms)?;
        Ok(())
    }

    /// The message that was sent, and whether to everybody.
    fn sent(&self) -> (v4::Message, Option<Ipv4Addr>) {
        match &self.actions[..] {
            [.., Action::Broadcast(octets)] => (v4::Message::from_bytes(octets).unwrap(), None),
            [.., Action::Unicast(to, octets)] => (v4::Message::from_bytes(octets).unwrap(), Some(*to)),
            other => panic!("nothing was sent: {other:?}"),
        }
    }

    fn lease(&self) -> &Lease {
        let [Action::Lease(lease)] = &self.actions[..] else {
            panic!("no lease: {:?}", self.actions)
        };
        lease
    }

    fn sent_kind(&self) -> MessageType {
        self.sent().0.opts().msg_type().unwrap()
    }
}

fn name() -> HostName {
    HostName::new("postolka").unwrap()
}

fn reply(kind: MessageType, xid: u32) -> v4::Message {
    let mut message = v4::Message::default();
    message
        .set_opcode(Opcode::BootReply)
        .set_htype(HType::Eth)
        .set_chaddr(&MAC)
        .set_xid(xid)
        .set_yiaddr(OURS);
    for option in [
        DhcpOption::MessageType(kind),
        DhcpOption::ServerIdentifier(SERVER),
        DhcpOption::SubnetMask(Ipv4Addr::new(255, 255, 255, 0)),
        DhcpOption::Router(vec![SERVER]),
        DhcpOption::DomainNameServer(vec![SERVER, OTHER]),
        DhcpOption::AddressLeaseTime(3600),
    ] {
        message.opts_mut().insert(option);
    }
    message
}

/// Takes a lease with these options, and looks when it is to be renewed and rebound.
fn times(options: &[DhcpOption], renew_seconds: u64, rebind_seconds: u64) {
    let mut net = Net::new();
    net.until_due()
        .answer(MessageType::Offer, &[])
        .answer(MessageType::Ack, options);
    let times = net.machine.held.unwrap().times.unwrap();
    assert_eq!(
        (times.renew_ms, times.rebind_ms),
        (renew_seconds * 1000, rebind_seconds * 1000)
    );
}
