//! One end of a control socket: sends and receives messages with their descriptors.
//!
//! Whether it blocks is the owner's choice ([`Channel::set_nonblocking`]).

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use heapless::Vec;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, send, sendmsg,
    socketpair,
};

use crate::codec::{DecodeError, Message, PACKET_OCTETS};

/// The most descriptors beside one message.
const DESCRIPTORS_MAX: usize = 4;
/// The most that the kernel lets a peer send beside one packet (`SCM_MAX_FD` of include/net/scm.h).
const SENDABLE_MAX: usize = 253;

/// One end of a control socket.
#[derive(Debug)]
pub struct Channel(OwnedFd);

/// A message with its descriptors: as many as [`Message::descriptors`] says, closed on exec.
#[derive(Debug)]
pub struct Received<M> {
    /// The message.
    pub message: M,
    /// Its descriptors, in the order they were sent.
    pub descriptors: Vec<OwnedFd, DESCRIPTORS_MAX>,
}

/// Why nothing was received.
#[derive(Debug)]
pub enum ReceiveError {
    /// The peer has closed its end, which for a process means that it has ended.
    Closed,
    /// The socket failed; `WouldBlock` when it is non-blocking and nothing is there.
    Io(io::Error),
    /// The peer broke the contract.
    Message(DecodeError),
    /// The peer sent another number of descriptors than its message has. All were closed.
    Descriptors,
}

impl Channel {
    /// A new pair of ends, closed on exec. The second goes to a child as its standard input.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (ours, theirs) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )?;
        Ok((Self(ours), Self(theirs)))
    }

    /// The end this process was started with: its standard input.
    ///
    /// # Errors
    /// When standard input is closed. A standard input that is no socket shows at the first receive (`ENOTSOCK`).
    pub fn inherited() -> io::Result<Self> {
        Ok(Self(io::stdin().as_fd().try_clone_to_owned()?))
    }

    /// Sends and receives fail with `WouldBlock` instead of waiting.
    pub fn set_nonblocking(&self) -> io::Result<()> {
        let flags = OFlag::from_bits_retain(fcntl(&self.0, FcntlArg::F_GETFL)?);
        fcntl(&self.0, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        Ok(())
    }

    /// Sends one message with its descriptors, which stay open here. It is sent whole or not at all.
    ///
    /// # Errors
    /// `InvalidInput` when the number of descriptors is not the message's; else what `sendmsg` says
    /// (`BrokenPipe` when the peer has ended; no signal is raised).
    pub fn send<M: Message>(&self, message: &M, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        if descriptors.len() != message.descriptors() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let packet = message.encode();
        let socket = self.0.as_raw_fd();
        if descriptors.is_empty() {
            // Not sendmsg, which init does not let its children call.
            send(socket, &packet, MsgFlags::MSG_NOSIGNAL)?;
            return Ok(());
        }
        let numbers: Vec<RawFd, DESCRIPTORS_MAX> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&numbers)];
        let parts = [IoSlice::new(&packet)];
        sendmsg::<()>(socket, &parts, &rights, MsgFlags::MSG_NOSIGNAL, None)?;
        Ok(())
    }

    /// Receives one message with its descriptors.
    pub fn receive<M: Message>(&self) -> Result<Received<M>, ReceiveError> {
        // One octet more than a packet, so that a longer one is seen to be too long.
        let mut octets = [0; PACKET_OCTETS + 1];
        let received = match self.receive_raw(&mut octets) {
            // The peer has ended with messages of ours unread. The kernel says so once, and what the peer had sent is
            // behind that.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => self.receive_raw(&mut octets),
            result => result,
        };
        let (length, descriptors, is_complete) = received.map_err(ReceiveError::Io)?;
        if length == 0 && descriptors.is_empty() {
            return Err(ReceiveError::Closed);
        }
        let message = M::decode(&octets[..length]).map_err(ReceiveError::Message)?;
        if !is_complete || descriptors.len() != message.descriptors() {
            return Err(ReceiveError::Descriptors);
        }
        Ok(Received { message, descriptors })
    }

    /// One packet: its length, its descriptors, and whether all of them are here.
    fn receive_raw(&self, octets: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd, DESCRIPTORS_MAX>, bool)> {
        // Room for all that a peer can send: what did not fit would be open here, and nobody would know its number.
        let mut space = nix::cmsg_space!([RawFd; SENDABLE_MAX]);
        let mut parts = [IoSliceMut::new(octets)];
        let received = recvmsg::<()>(
            self.0.as_raw_fd(),
            &mut parts,
            Some(&mut space),
            MsgFlags::MSG_CMSG_CLOEXEC,
        )?;
        let (mut descriptors, mut is_complete) = (Vec::new(), true);
        if let Ok(messages) = received.cmsgs() {
            for message in messages {
                let ControlMessageOwned::ScmRights(numbers) = message else {
                    continue;
                };
                for number in numbers {
                    // One too many is closed here.
                    is_complete &= descriptors.push(own(number)).is_ok();
                }
            }
        } else {
            // Cut short, because this process may not open as many.
            is_complete = false;
        }
        Ok((received.bytes, descriptors, is_complete))
    }
}

/// Takes ownership of a descriptor that `recvmsg` has just installed.
#[allow(unsafe_code)]
fn own(number: RawFd) -> OwnedFd {
    // SAFETY: the kernel installed this descriptor for SCM_RIGHTS a moment ago and told its number once, to our
    // only caller, which does not keep it: it is open and owned by nobody else.
    unsafe { OwnedFd::from_raw_fd(number) }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Channel> for OwnedFd {
    fn from(channel: Channel) -> Self {
        channel.0
    }
}

impl fmt::Display for ReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => write!(f, "the peer has closed the control socket"),
            Self::Io(_) => write!(f, "the control socket failed"),
            Self::Message(_) => write!(f, "the peer sent no valid message"),
            Self::Descriptors => write!(f, "the peer sent a wrong number of descriptors"),
        }
    }
}

impl std::error::Error for ReceiveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Message(error) => Some(error),
            Self::Closed | Self::Descriptors => None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::{FromMaild, HostName, ToMaild};

    #[test]
    fn a_descriptor_arrives_beside_its_message_and_works() {
        let (ours, theirs) = Channel::pair().unwrap();
        let (mut near, far) = UnixStream::pair().unwrap();
        ours.send(&ToMaild::Listener { port: 993 }, &[far.as_fd()])
            .unwrap();
        drop(far);
        let mut received = theirs.receive::<ToMaild>().unwrap();
        assert_eq!(received.message, ToMaild::Listener { port: 993 });
        let descriptor = received.descriptors.pop().unwrap();
        let flags = fcntl(&descriptor, FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags & 1, 1, "FD_CLOEXEC");
        near.write_all(b"x").unwrap();
        let mut octet = [0];
        File::from(descriptor).read_exact(&mut octet).unwrap();
        assert_eq!(&octet, b"x");
    }

    #[test]
    fn messages_keep_their_borders_and_their_order() {
        let (ours, theirs) = Channel::pair().unwrap();
        let name = ToMaild::HostName(HostName::new("postolka").unwrap());
        ours.send(&name, &[]).unwrap();
        ours.send(&ToMaild::Start, &[]).unwrap();
        assert_eq!(theirs.receive::<ToMaild>().unwrap().message, name);
        assert_eq!(theirs.receive::<ToMaild>().unwrap().message, ToMaild::Start);
    }

    #[test]
    fn the_end_of_the_peer_is_seen() {
        let (ours, theirs) = Channel::pair().unwrap();
        drop(theirs);
        assert!(matches!(ours.receive::<FromMaild>(), Err(ReceiveError::Closed)));
        let error = ours.send(&ToMaild::Start, &[]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_nonblocking_channel_does_not_wait() {
        let (ours, _theirs) = Channel::pair().unwrap();
        ours.set_nonblocking().unwrap();
        let Err(ReceiveError::Io(error)) = ours.receive::<FromMaild>() else {
            panic!("received from nobody")
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn sending_another_number_of_descriptors_is_refused_before_it_is_sent() {
        let (ours, theirs) = Channel::pair().unwrap();
        let error = ours.send(&ToMaild::Start, &[theirs.as_fd()]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let error = ours.send(&ToMaild::Listener { port: 25 }, &[]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    fn send_raw(channel: &Channel, octets: &[u8], numbers: &[RawFd]) {
        let rights = [ControlMessage::ScmRights(numbers)];
        let control = if numbers.is_empty() {
            &rights[..0]
        } else {
            &rights[..]
        };
        sendmsg::<()>(
            channel.0.as_raw_fd(),
            &[IoSlice::new(octets)],
            control,
            MsgFlags::empty(),
            None,
        )
        .unwrap();
    }

    #[test]
    fn a_packet_with_a_wrong_number_of_descriptors_is_refused() {
        let (ours, theirs) = Channel::pair().unwrap();
        let number = theirs.0.as_raw_fd();
        for count in [0, 2, 3, 4, 9] {
            send_raw(
                &ours,
                &ToMaild::Listener { port: 25 }.encode(),
                &vec![number; count],
            );
            let result = theirs.receive::<ToMaild>();
            assert!(
                matches!(result, Err(ReceiveError::Descriptors)),
                "{count}: {result:?}"
            );
        }
    }

    /// How many descriptors this process has open.
    fn open_descriptors() -> usize {
        std::fs::read_dir("/proc/self/fd").unwrap().count()
    }

    #[test]
    fn a_peer_that_sends_descriptors_for_nothing_leaves_none_open_here() {
        let (ours, theirs) = Channel::pair().unwrap();
        let number = theirs.0.as_raw_fd();
        let before = open_descriptors();
        for _ in 0..100 {
            for count in [1, 2, 3, 9, SENDABLE_MAX] {
                send_raw(&ours, &ToMaild::Start.encode(), &vec![number; count]);
                theirs.receive::<ToMaild>().unwrap_err();
            }
        }
        // Other tests have a few open for a moment; a leak would be some hundreds.
        let after = open_descriptors();
        assert!(after < before + 100, "{before} descriptors before, {after} after");
    }

    #[test]
    fn what_a_peer_said_before_it_ended_is_heard_though_it_did_not_listen() {
        let (ours, theirs) = Channel::pair().unwrap();
        ours.send(&ToMaild::Start, &[]).unwrap();
        theirs.send(&FromMaild::Alive, &[]).unwrap();
        drop(theirs);
        assert_eq!(ours.receive::<FromMaild>().unwrap().message, FromMaild::Alive);
        assert!(matches!(ours.receive::<FromMaild>(), Err(ReceiveError::Closed)));
    }

    #[test]
    fn a_packet_of_another_size_is_refused() {
        let (ours, theirs) = Channel::pair().unwrap();
        let mut long = ToMaild::Start.encode().to_vec();
        long.push(0);
        for octets in [&long[..], &long[..10]] {
            send_raw(&ours, octets, &[]);
            let result = theirs.receive::<ToMaild>();
            assert!(
                matches!(result, Err(ReceiveError::Message(DecodeError::Size(_)))),
                "{result:?}"
            );
        }
    }
}
