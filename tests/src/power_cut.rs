//! Rig R3: the power goes, and the disk loses what it was not told to flush.
//!
//! ```text
//!  clients ──SMTP──→ box ──virtio──→ QEMU ──NBD──→ ForgetfulDisk ──flushed──→ file
//!     └─ oracle: every reply                            └─ the cut: a random part of the rest
//! ```
//!
//! `Appliance::cut_power` alone is a process that is killed: what QEMU wrote is in this computer's cache, and there it stays.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use qemu::{ForgetfulDisk, Lost};

use crate::appliance::{Appliance, Plan, SENDER};
use crate::client::{PATIENCE, Smtp};
use crate::mail::random_message;
use crate::office::Account;
use crate::oracle::{Fate, Oracle};
use crate::random::Random;
use crate::stage::{Booted, BootedImage};

/// A box that writes nothing for so long writes nothing any more.
const IDLE: Duration = Duration::from_secs(20);

/// A booted box on a disk that forgets.
#[derive(Debug)]
pub struct OnForgetfulDisk {
    /// Its disk, which is dropped first: its socket lies in the folder of the box.
    pub disk: ForgetfulDisk,
    /// The box.
    pub booted: Booted,
}

impl OnForgetfulDisk {
    /// Makes the box, which is off.
    ///
    /// # Errors
    /// Its disk or stick cannot be written.
    pub fn new(plan: Plan) -> io::Result<OnForgetfulDisk> {
        let mut booted = BootedImage::new()?.machine(plan)?;
        let disk = booted.on_forgetful_disk()?;
        Ok(OnForgetfulDisk { disk, booted })
    }

    /// Takes the power away, from disk and machine. `random` draws what of the disk's cache survives.
    ///
    /// # Errors
    /// It is off.
    pub fn cut(&mut self, random: &mut dyn FnMut() -> u64) -> io::Result<Lost> {
        let lost = self.disk.cut(random)?;
        self.booted.cut_power()?;
        Ok(lost)
    }

    /// Takes the power away at the request of the machine behind so many writes and flushes, or in the end if it does not
    /// write so much.
    ///
    /// # Errors
    /// It is off.
    pub fn cut_in(&mut self, requests: u64, random: Random) -> io::Result<Lost> {
        let until = Instant::now() + IDLE;
        self.cut_in_or(requests, random, |_| Ok(Instant::now() > until))
    }

    /// Turns it on, and takes the power away in its start, likewise.
    ///
    /// # Errors
    /// QEMU does not start.
    pub fn cut_in_its_start(&mut self, requests: u64, random: Random) -> io::Result<Lost> {
        self.booted.power_on()?;
        let until = Instant::now() + PATIENCE;
        self.cut_in_or(requests, random, |booted| {
            Ok(booted.on()?.console().text().contains("LISTENING") || Instant::now() > until)
        })
    }

    fn cut_in_or(
        &mut self,
        requests: u64,
        mut random: Random,
        is_over: impl Fn(&Booted) -> io::Result<bool>,
    ) -> io::Result<Lost> {
        let mut later = random.clone();
        self.disk.cut_in(requests, Box::new(move || random.next_u64()));
        loop {
            if let Some(lost) = self.disk.fell() {
                self.booted.cut_power()?;
                return Ok(lost);
            }
            if is_over(&self.booted)? {
                return self.cut(&mut || later.next_u64());
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// What of the console speaks of a disk or a store that is not as it was written. A cut is no excuse for any of it.
    pub fn complaints(&self) -> Vec<String> {
        const WORDS: [&str; 4] = ["EXT4-fs error", "damaged", "corrupt", "panicked"];
        let console = self.booted.console();
        let is_complaint = |line: &&str| WORDS.iter().any(|word| line.contains(word));
        console.lines().filter(is_complaint).map(str::to_owned).collect()
    }
}

/// Clients that send mail and write down every reply.
#[derive(Debug)]
pub struct Load<'a> {
    /// Where to.
    pub smtp: SocketAddr,
    /// Whom it is for.
    pub account: &'a Account,
    /// Who writes down the replies.
    pub oracle: &'a Oracle,
    /// The number of the next message: no two are the same, whatever was cut in between.
    pub next: &'a AtomicUsize,
    /// What the messages are made from.
    pub seed: u64,
    /// How large the next one is to be.
    pub octets: fn(&mut Random) -> usize,
}

impl Load<'_> {
    /// Sends on four connections at once, until `goal` messages of the oracle's were acknowledged and `pause` is over; then
    /// `cut` is called, while the load goes on.
    ///
    /// # Errors
    /// What `cut` says.
    pub fn until_cut<T>(
        &self,
        goal: usize,
        pause: Duration,
        cut: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| self.send_until(&stop));
            }
            let until = Instant::now() + PATIENCE;
            while self.oracle.acknowledged() < goal && Instant::now() < until {
                thread::sleep(Duration::from_micros(500));
            }
            thread::sleep(pause);
            let result = cut();
            stop.store(true, Ordering::Relaxed);
            result
        })
    }

    /// Sends messages until told to stop, on a new connection whenever the old one is gone.
    fn send_until(&self, stop: &AtomicBool) {
        let mut connection = None;
        while !stop.load(Ordering::Relaxed) {
            let Some(smtp) = connection.as_mut() else {
                connection = Smtp::ehlo(self.smtp).ok();
                continue;
            };
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let id = format!("load-{number}@client.example.org");
            let seed = self.seed ^ number as u64;
            let octets = (self.octets)(&mut Random::new(seed));
            let message = random_message(SENDER, &self.account.address, &id, octets, seed);
            let reply = smtp.deliver(SENDER, &self.account.address, &message);
            self.oracle.write_down(&id, &message, Fate::of(&reply));
            if reply.is_err() {
                connection = None;
            }
        }
    }
}
