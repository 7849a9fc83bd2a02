//! A network cable with this process at its other end: every datagram is an Ethernet frame.
//!
//! QEMU's user network has one DHCP server that grants a day, one gateway, no conflicts and no silence. What plugs this
//! cable in instead is a whole network of its own, as friendly or hostile as a test wants it, and needs no powers for it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::error::Error;

const FULL_PAUSE: Duration = Duration::from_millis(1);
const FULL_RETRIES: u32 = 500;

/// The cable as a machine sees it. One that has been laid can be plugged into one machine after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cable {
    /// What the card is called on the control socket is `card-` and this.
    name: String,
    machine_socket: PathBuf,
    our_socket: PathBuf,
    mac: [u8; 6],
}

/// Our end of it.
#[derive(Debug)]
pub struct CableEnd {
    socket: UnixDatagram,
    machine_socket: PathBuf,
}

impl Cable {
    /// Lays a cable. `name` is a short word, and tells cables in one folder apart; `mac` is that of the card which the
    /// machine will have at its end.
    ///
    /// # Errors
    /// [`Error::File`] if the socket cannot be made in `folder`.
    pub fn lay(folder: &Path, name: &str, mac: [u8; 6]) -> Result<(Self, CableEnd), Error> {
        let our_socket = folder.join(format!("{name}-ours"));
        let machine_socket = folder.join(format!("{name}-machine"));
        let socket = UnixDatagram::bind(&our_socket).map_err(Error::file("make the socket", &our_socket))?;
        socket
            .set_nonblocking(true)
            .map_err(Error::file("make the socket", &our_socket))?;
        let end = CableEnd {
            socket,
            machine_socket: machine_socket.clone(),
        };
        let cable = Self {
            name: name.to_owned(),
            machine_socket,
            our_socket,
            mac,
        };
        Ok((cable, end))
    }

    /// The hardware address of the card at the machine's end.
    pub fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// The value for `-netdev`, whose paths cannot be split off as files: there are two in it.
    pub(crate) fn backend(&self) -> String {
        let path = |path: &Path| path.to_string_lossy().replace(',', ",,");
        format!(
            "dgram,id={},local.type=unix,local.path={},remote.type=unix,remote.path={}",
            self.backend_id(),
            path(&self.machine_socket),
            path(&self.our_socket)
        )
    }

    /// The same for `netdev_add`.
    pub(crate) fn backend_json(&self) -> Value {
        let address = |path: &Path| json!({"type": "unix", "path": path.to_string_lossy()});
        json!({
            "type": "dgram",
            "id": self.backend_id(),
            "local": address(&self.machine_socket),
            "remote": address(&self.our_socket),
        })
    }

    pub(crate) fn backend_id(&self) -> String {
        format!("cable-{}", self.name)
    }

    pub(crate) fn card_id(&self) -> String {
        format!("card-{}", self.name)
    }

    pub(crate) fn mac_text(&self) -> String {
        let octets: Vec<String> = self.mac.iter().map(|octet| format!("{octet:02x}")).collect();
        octets.join(":")
    }
}

impl CableEnd {
    /// Puts a frame onto the cable. As with any cable, nothing tells whether somebody hears it: a machine that is off,
    /// or whose queue stays full for half a second, loses it.
    ///
    /// # Errors
    /// The socket itself is of no use.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        // Ten datagrams fill the queue of a unix socket; a busy QEMU takes a moment to empty it.
        for _ in 0..FULL_RETRIES {
            match self.socket.send_to(frame, &self.machine_socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(FULL_PAUSE),
                Err(error) if !is_lost(&error) => return Err(error),
                _ => break,
            }
        }
        Ok(())
    }

    /// The next frame that has come, cut to the length of `frame`. Does not wait.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when there is none; otherwise the socket is of no use.
    pub fn receive(&self, frame: &mut [u8]) -> io::Result<usize> {
        self.socket.recv(frame)
    }
}

/// Readable when a frame has come.
impl AsFd for CableEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn is_lost(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [0x52, 0x54, 0, 0xca, 0xb1, 0x0e];

    #[test]
    fn frames_go_both_ways_and_those_for_a_machine_that_is_off_are_lost() {
        let folder = tempfile::tempdir().unwrap();
        let (cable, end) = Cable::lay(folder.path(), "lan", MAC).unwrap();
        end.send(b"nobody is there").unwrap();
        let machine = UnixDatagram::bind(&cable.machine_socket).unwrap();
        end.send(b"a frame").unwrap();
        let mut frame = [0; 64];
        assert_eq!(machine.recv(&mut frame).unwrap(), 7);
        assert_eq!(
            end.receive(&mut frame).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        machine.send_to(b"an answer", &cable.our_socket).unwrap();
        assert_eq!(end.receive(&mut frame).unwrap(), 9);
        drop(machine);
        end.send(b"off again").unwrap();
    }

    #[test]
    fn two_cables_in_one_folder_do_not_meet() {
        let folder = tempfile::tempdir().unwrap();
        let (one, _end) = Cable::lay(folder.path(), "one", MAC).unwrap();
        let (two, _end) = Cable::lay(folder.path(), "two", MAC).unwrap();
        assert_ne!(one.backend(), two.backend());
        assert!(Cable::lay(folder.path(), "one", MAC).is_err());
    }
}
