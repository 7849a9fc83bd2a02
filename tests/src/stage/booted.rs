//! The image in an emulated machine.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use format::Slot;
use qemu::{Builder, Disk, Firmware, ForgetfulDisk, HostPort, Image, Machine, Network, Stick};
use tempfile::TempDir;

use super::{Card, drill, own_name};
use crate::appliance::{Appliance, Plan, Service, Stage};
use crate::client::{Conversation, PATIENCE, tls};
use crate::office::Office;
use crate::peer::Peer;

/// P2: ports that other boxes have open, and those that ours will have later.
const OTHER_PORTS: [u16; 15] = [
    21, 22, 23, 24, 80, 110, 111, 143, 389, 465, 587, 995, 3306, 4190, 8080,
];

/// Enough for every shared scenario: the largest messages stay on it until the end.
const DISK_MIB: u64 = 4096;

/// The stage of emulated machines.
#[derive(Debug)]
pub struct BootedImage {
    image: Image,
    /// Where the initial file system with the drill lies, if there is to be one.
    drill: Option<TempDir>,
    /// What starts it from its flashed disk; without, QEMU puts kernel and file system into memory.
    firmware: Option<Firmware>,
}

impl BootedImage {
    /// The stage for the image that was built last.
    ///
    /// # Errors
    /// There is none.
    pub fn new() -> io::Result<BootedImage> {
        let image = Image::built("ci").map_err(io::Error::other)?;
        Ok(BootedImage {
            image,
            drill: None,
            firmware: None,
        })
    }

    /// The image as it is flashed, started by this firmware from power-on.
    #[must_use]
    pub fn flashed(mut self, firmware: Firmware) -> BootedImage {
        self.firmware = Some(firmware);
        self
    }

    /// The same image with the drill beside it, which kills and measures inside.
    ///
    /// # Errors
    /// The drill cannot be made.
    pub fn with_drill(mut self) -> io::Result<BootedImage> {
        let folder = tempfile::Builder::new().prefix("postolka-").tempdir()?;
        let initrd = drill::initrd_with_drill(self.image.initrd(), folder.path())?;
        self.image = self.image.with_initrd(&initrd);
        self.drill = Some(folder);
        Ok(self)
    }

    /// Puts the hostile kind of a program beside it (D43). It must have the drill, which has the box start it.
    ///
    /// # Errors
    /// It does not compile, or there is no drill.
    pub fn with_hostile(self, program: &str) -> io::Result<BootedImage> {
        if self.drill.is_none() {
            return Err(io::Error::other("only the drill can start a hostile program"));
        }
        drill::add_hostile(self.image.initrd(), program)?;
        Ok(self)
    }

    /// Boots a machine that has no disk, until its console says `text`.
    ///
    /// # Errors
    /// It does not say so.
    pub fn boot_without_disk(&self, text: &str) -> io::Result<String> {
        let machine = Machine::builder(&self.image).start().map_err(io::Error::other)?;
        machine
            .console()
            .wait_for(text, PATIENCE)
            .map_err(io::Error::other)?;
        Ok(machine.console().text())
    }

    /// Makes a machine without starting it.
    ///
    /// # Errors
    /// Its disk or stick cannot be written.
    pub fn machine(self, plan: Plan) -> io::Result<Booted> {
        let folder = tempfile::Builder::new().prefix("postolka-").tempdir()?;
        let (path, octets) = (
            folder.path().join("disk"),
            plan.disk_mib.unwrap_or(DISK_MIB) << 20,
        );
        let disk = match self.firmware {
            Some(_) => {
                let image = self.image.disk().map_err(io::Error::other)?;
                Disk::flash(&image, &path, octets)
            }
            None => Disk::create(&path, octets),
        };
        let disk = disk.map_err(io::Error::other)?;
        let provisioning = plan.office.provisioning();
        let stick = Stick::prepare(
            &folder.path().join("stick"),
            &[("postolka.toml", provisioning.as_bytes())],
        )
        .map_err(io::Error::other)?;
        let builder = match self.firmware {
            Some(firmware) => Machine::from_disk(&disk, firmware),
            None => Machine::builder(&self.image).disk(&disk),
        };
        let mut builder = builder.stick(&stick);
        if let Some(mib) = plan.memory_mib {
            builder = builder.memory(mib);
        }
        if let Some(clock) = plan.clock {
            builder = builder.arguments(&["-rtc", &format!("base={clock}")]);
        }
        if let Some(word) = plan.kernel_word {
            builder = builder.kernel_words(word);
        }
        let socket = folder.path().join("drill");
        if self.drill.is_some() {
            let arguments = drill::arguments(&socket);
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            builder = builder.kernel_words("rdinit=/drill").arguments(&arguments);
        }
        Ok(Booted {
            office: plan.office,
            builder,
            disk,
            machine: None,
            ports: Vec::new(),
            past: String::new(),
            mark: 0,
            sticks: 0,
            ca_pem: String::new(),
            host_name: String::new(),
            drill: self.drill,
            folder,
        })
    }
}

impl Stage for BootedImage {
    fn name(&self) -> &'static str {
        "booted image"
    }

    fn appliance(&self, plan: Plan) -> io::Result<Box<dyn Appliance>> {
        let mut booted = BootedImage::new()?.machine(plan)?;
        booted.start()?;
        Ok(Box::new(booted))
    }
}

/// A machine with its disk.
#[derive(Debug)]
pub struct Booted {
    office: Office,
    builder: Builder,
    /// Its data disk, for growing it while the power is off.
    pub disk: Disk,
    machine: Option<Machine>,
    /// Port of the box, port on loopback.
    ports: Vec<(u16, u16)>,
    /// The consoles of earlier boots.
    past: String,
    /// How far this one was waited for.
    mark: usize,
    sticks: usize,
    ca_pem: String,
    host_name: String,
    drill: Option<TempDir>,
    folder: TempDir,
}

impl Booted {
    /// The machine, which is on.
    ///
    /// # Errors
    /// It is off.
    pub fn on(&self) -> io::Result<&Machine> {
        self.machine.as_ref().ok_or_else(|| io::Error::other("it is off"))
    }

    /// Gives the drill an order, as they are listed in `drill/drill.rs`.
    ///
    /// # Errors
    /// There is none in this machine, or it does not answer.
    pub fn drill(&self, letter: &str) -> io::Result<String> {
        if self.drill.is_none() {
            return Err(io::Error::other("this machine was made without the drill"));
        }
        drill::order(&self.folder.path().join("drill"), letter)
    }

    /// Gives the drill an order whose answer ends with the power, which `meanwhile` is to switch off.
    ///
    /// # Errors
    /// There is no drill in this machine, or what `meanwhile` says.
    pub fn drill_until_off(
        &mut self,
        letter: &str,
        meanwhile: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> io::Result<String> {
        let (socket, letter) = (self.folder.path().join("drill"), letter.to_owned());
        let listener = std::thread::spawn(move || drill::follow(&socket, &letter));
        let done = meanwhile(self);
        // Without a machine there is nobody to speak.
        self.switched_off();
        let said = listener
            .join()
            .map_err(|_| io::Error::other("the listener panicked"))?;
        done.and(said)
    }

    /// Gives the drill an order and waits for no answer: the box may be gone before it comes.
    ///
    /// # Errors
    /// There is none in this machine.
    pub fn drill_start(&self, letter: &str) -> io::Result<()> {
        drill::start(&self.folder.path().join("drill"), letter)
    }

    /// Waits until it has left its disk and is off.
    ///
    /// # Errors
    /// It stays on, or has not left its disk.
    pub fn wait_until_off(&mut self) -> io::Result<()> {
        let machine = self
            .machine
            .as_mut()
            .ok_or_else(|| io::Error::other("it is off"))?;
        let status = machine.wait_exit(PATIENCE).map_err(io::Error::other)?;
        let console = machine.console().text();
        self.switched_off();
        if status.success() && console.contains("STOPPED") {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "QEMU ended with {status}; the console:\n{console}"
        )))
    }

    /// Kills the mail process alone; init starts it again.
    ///
    /// # Errors
    /// There is no drill in this machine, or no such process.
    pub fn kill_maild(&self) -> io::Result<()> {
        let answer = self.drill("k")?;
        if answer.trim() == "killed 1" {
            Ok(())
        } else {
            Err(io::Error::other(answer))
        }
    }

    /// Turns it on, until its console says `text`; gives what it said.
    ///
    /// # Errors
    /// It does not say so.
    pub fn boot_until(self, text: &str) -> io::Result<String> {
        let machine = self.builder.start().map_err(io::Error::other)?;
        machine
            .console()
            .wait_for(text, PATIENCE)
            .map_err(io::Error::other)?;
        Ok(machine.console().text())
    }

    /// Gives it one card for each of these cables, and QEMU's own network no more. With none it has no card at all, and
    /// sockets for those that are plugged in later.
    pub fn on_cables(&mut self, peers: &[&Peer]) {
        let builder = self.builder.clone().network(Network::Absent).usb();
        let add = |builder: Builder, peer: &&Peer| builder.cable(peer.cable());
        self.builder = peers.iter().fold(builder, add);
    }

    /// Puts its disk behind a server that forgets in a cut what was not flushed. It is to be dropped before this.
    ///
    /// # Errors
    /// The disk cannot be served.
    pub fn on_forgetful_disk(&mut self) -> io::Result<ForgetfulDisk> {
        let socket = self.folder.path().join("forgetful");
        let disk = ForgetfulDisk::serve(&self.disk, &socket).map_err(io::Error::other)?;
        self.builder = self.builder.clone().forgetful_disk(&disk);
        Ok(disk)
    }

    /// From now on its services are reached at this address, by the cable of `peer`; learns its name and its CA there.
    ///
    /// # Errors
    /// It does not answer there.
    pub fn reached_at(&mut self, peer: &Peer, ip: IpAddr) -> io::Result<()> {
        let services = Service::ALL.into_iter().map(Service::port);
        let doors = services.map(|port| Ok((port, peer.open_door(ip, port)?)));
        self.ports = doors.collect::<io::Result<_>>()?;
        self.host_name = own_name(self.addr(Service::Smtp))?;
        self.ca_pem = self.trusted_ca()?;
        Ok(())
    }

    /// Its disk, while the power is off.
    pub fn card(&self) -> Card<'_> {
        Card(&self.disk)
    }

    /// Plugs another stick in, while the power is off.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn insert(&mut self, files: &[(&str, &[u8])]) -> io::Result<()> {
        self.sticks += 1;
        let path = self.folder.path().join(format!("stick{}", self.sticks));
        let stick = Stick::prepare(&path, files).map_err(io::Error::other)?;
        self.builder = self.builder.clone().stick(&stick);
        Ok(())
    }

    /// Turns it on and waits for nothing.
    ///
    /// # Errors
    /// QEMU does not start.
    pub fn power_on(&mut self) -> io::Result<()> {
        self.mark = 0;
        self.machine = Some(self.builder.start().map_err(io::Error::other)?);
        Ok(())
    }

    /// Waits until the console says `text` behind what was waited for before; gives the line.
    ///
    /// # Errors
    /// It does not say so.
    pub fn says(&mut self, text: &str) -> io::Result<String> {
        let machine = self
            .machine
            .as_ref()
            .ok_or_else(|| io::Error::other("it is off"))?;
        machine
            .console()
            .wait_for_next(&mut self.mark, text, PATIENCE)
            .map_err(io::Error::other)
    }

    /// Waits until the loader starts this slot, on this try if it is on trial.
    ///
    /// # Errors
    /// It starts another, on another try, or none.
    pub fn starts(&mut self, slot: Slot, number: Option<u8>) -> io::Result<()> {
        let line = loop {
            let line = self.says("Postolka loader")?;
            // Behind the slot's letter comes what is wrong with it, or the name of its version.
            if line.contains("slot A, ") || line.contains("slot B, ") {
                break line;
            }
        };
        let is_try = number.is_none_or(|number| line.contains(&format!(", try {number} of ")));
        if line.contains(&format!("slot {slot}, ")) && is_try {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "the loader was to start slot {slot}, try {number:?}, and said: {line}"
        )))
    }

    /// Where a port of the box appears.
    fn forwarded(&self, port: u16) -> Option<SocketAddr> {
        let (_, host) = self.ports.iter().find(|(guest, _)| *guest == port)?;
        Some((Ipv4Addr::LOCALHOST, *host).into())
    }

    fn switched_off(&mut self) {
        if let Some(machine) = self.machine.take() {
            self.past.push_str(&machine.console().text());
        }
    }

    /// The certificate of the box's CA: the one in its chain that has the fingerprint of its console.
    fn trusted_ca(&self) -> io::Result<String> {
        // The one port that every box has, also one that is nobody's; by a name that every certificate has.
        let addr = self.addr(Service::Https);
        let chain = tls::chain(&mut Conversation::connect(addr)?, "localhost")?;
        // The page with the fingerprint comes a moment behind LISTENING.
        let until = Instant::now() + PATIENCE;
        loop {
            let console = self.on()?.console().text();
            let printed = fingerprints(&console);
            let found = chain
                .iter()
                .find(|certificate| printed.contains(&tls::sha256_hex(certificate)));
            if let Some(certificate) = found {
                return Ok(tls::to_pem(certificate));
            }
            if Instant::now() > until {
                let count = chain.len();
                return Err(io::Error::other(format!(
                    "none of the {count} certificates has the fingerprint of the console:\n{console}"
                )));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Appliance for Booted {
    fn addr(&self, service: Service) -> SocketAddr {
        self.forwarded(service.port())
            .expect("start() has forwarded every service")
    }

    fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    fn host_name(&self) -> &str {
        &self.host_name
    }

    fn office(&self) -> &Office {
        &self.office
    }

    fn console(&self) -> String {
        let now = self.machine.as_ref().map(|machine| machine.console().text());
        format!("{}{}", self.past, now.unwrap_or_default())
    }

    fn cut_power(&mut self) -> io::Result<()> {
        let machine = self.machine.take().ok_or_else(|| io::Error::other("it is off"))?;
        self.past.push_str(&machine.console().text());
        machine.cut().map_err(io::Error::other)
    }

    fn start(&mut self) -> io::Result<()> {
        if self.machine.is_some() {
            return Err(io::Error::other("it is on"));
        }
        if self.ports.is_empty() {
            let guests = Service::ALL.into_iter().map(Service::port).chain(OTHER_PORTS);
            self.ports = guests
                .map(|guest| Ok((guest, port_for_a_box()?)))
                .collect::<io::Result<_>>()?;
        }
        // At each start on the ports of the first, so that clients find the box again.
        let forward =
            |builder: Builder, (guest, host): &(u16, u16)| builder.forward(*guest, HostPort::At(*host));
        let builder = self.ports.iter().fold(self.builder.clone(), forward);
        let machine = builder.start().map_err(io::Error::other)?;
        let listens = machine.console().wait_for("LISTENING", PATIENCE).map(drop);
        self.machine = Some(machine);
        listens.map_err(io::Error::other)?;
        self.ca_pem = self.trusted_ca()?;
        // A box that is nobody's has no mail yet; one that a form has claimed since has.
        if self.office.accounts.is_empty() && self.listening()? == [Service::Https.port()] {
            return Ok(());
        }
        self.host_name = own_name(self.addr(Service::Smtp))?;
        Ok(())
    }

    fn wait_for_mail(&mut self) -> io::Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            // QEMU accepts for the box, so that a port that is closed is a connection without a greeting.
            match own_name(self.addr(Service::Smtp)) {
                Ok(name) => {
                    self.host_name = name;
                    return Ok(());
                }
                Err(error) if Instant::now() > until => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    fn press_power_button(&mut self) -> io::Result<()> {
        self.on()?.press_power().map_err(io::Error::other)?;
        self.wait_until_off()
    }

    fn maild_pid(&self) -> Option<u32> {
        None
    }

    fn listening(&self) -> io::Result<Vec<u16>> {
        let mut listening = Vec::new();
        for &(guest, host) in &self.ports {
            // QEMU accepts for the box, and closes when the box refuses. A service waits for its client instead.
            let mut conversation = Conversation::connect((Ipv4Addr::LOCALHOST, host).into())?;
            if !conversation.closes_within(Duration::from_secs(2))? {
                listening.push(guest);
            }
        }
        listening.sort_unstable();
        Ok(listening)
    }
}

/// A port of this computer that is a box's from now on, whether it is on or not.
///
/// One that the kernel chose would be somebody else's as soon as the power is cut: another box's, or a client's of one of the many
/// connections that the tests open. So these lie below what it chooses from (`ip_local_port_range`: from 32768), and no two
/// boxes of this process get the same one.
fn port_for_a_box() -> io::Result<u16> {
    const FIRST: u16 = 12_000;
    /// So many of a run lie beside those of another run, which has another process number.
    const OF_A_RUN: u16 = 2_000;
    const RUNS: u16 = 10;
    static NEXT: Mutex<Option<u16>> = Mutex::new(None);
    let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
    let run = u16::try_from(std::process::id() % u32::from(RUNS)).unwrap_or_default();
    let wanted = next.unwrap_or(FIRST + run * OF_A_RUN);
    let port = qemu::free_from(wanted).ok_or_else(|| io::Error::other("no port is free"))?;
    *next = Some(port + 1);
    Ok(port)
}

/// The digits of all words like `0F:A3:…`, one behind the other: a fingerprint takes two lines of the console page.
fn fingerprints(console: &str) -> String {
    let words = console.split_whitespace().filter(|word| {
        word.len() >= 8
            && word.contains(':')
            && word
                .bytes()
                .all(|octet| octet == b':' || octet.is_ascii_hexdigit())
    });
    words
        .flat_map(|word| word.bytes())
        .filter(|octet| *octet != b':')
        .map(|octet| char::from(octet).to_ascii_lowercase())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::fingerprints;

    #[test]
    fn a_fingerprint_on_two_lines_is_read_as_one() {
        let page = "  Fingerprint 0F:A3:00:11 (SHA-256 of the box's\r\n              BE:EF:22:33  own authority)\r\n at 10:15";
        assert_eq!(fingerprints(page), "0fa30011beef2233");
    }
}
