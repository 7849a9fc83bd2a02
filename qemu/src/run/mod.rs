//! The story of `qemu/run`, from the build to the power button.

mod card;
mod home;
pub(crate) mod options;
mod trust;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use qemu::{Builder, Disk, HostPort, Image, Machine, Network, SERVICES, Stick, free_from};
use thiserror::Error;

use card::Card;
use home::{ADDRESS, Home};
use options::Options;
use trust::Trusted;

/// The size of a new disk: room for a lot of mail, and a file with holes in it.
const DISK_OCTETS: u64 = 4 << 30;
/// What init writes when all services accept connections.
const READY: &str = "LISTENING";
/// The name under which the box looks for an update on a stick.
const UPDATE: &str = "postolka.update";
/// A stick has no room for more, and no update is as large.
const UPDATE_OCTETS_MAX: u64 = 64 << 20;
const WORD_EVERY: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A clean stop takes a second or two; a computer with much else to do may need more.
const STOPPED_WITHIN: Duration = Duration::from_secs(90);

/// Why the box does not run.
#[derive(Debug, Error)]
pub(crate) enum Trouble {
    #[error(transparent)]
    Machine(#[from] qemu::Error),
    #[error("cannot {what} {}: {source}", path.display())]
    File {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("the image was not built (see above)")]
    NotBuilt,
    #[error(
        "{} holds mail and nothing that a firmware could start: it was made when QEMU still started the kernel itself. \
         '--firmware direct' goes on with it; '--fresh' starts anew and keeps it as {}",
        disk.display(),
        aside.display()
    )]
    OldDisk { disk: PathBuf, aside: PathBuf },
    #[error(
        "{} has a file system and nothing that a firmware could start. '--firmware direct' takes it as it is; one that is \
         empty or not there is flashed with the image",
        .0.display()
    )]
    DataOnly(PathBuf),
    #[error("{} is larger than any update", .0.display())]
    NoUpdate(PathBuf),
    #[error("no port from {0} upwards is free on this computer")]
    NoPort(u16),
    #[error("Ctrl-C cannot be watched: {0}")]
    Signals(nix::Error),
}

impl Trouble {
    fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { what, path, source }
    }
}

/// What the person needs to know to use the box.
struct Visit {
    login: Login,
    ca: PathBuf,
}

/// Who can log in.
enum Login {
    /// The mailbox that this program has made, with this password.
    Ours(String),
    /// Whoever is in the person's own file.
    Theirs,
    /// Nobody yet, on a new box: it is claimed with the code on its console.
    Unclaimed,
}

/// Builds and boots the box and stays with it until it is off.
pub(crate) fn run(options: &Options) -> Result<(), Trouble> {
    let home = Home::open()?;
    // What was given is looked at before minutes go into building.
    let card = look_at_disk(options, &home)?;
    let (provision, login) = match &options.provision {
        _ if options.is_unclaimed => (None, Login::Unclaimed),
        Some(path) => {
            let text = fs::read_to_string(path).map_err(Trouble::file("read", path))?;
            (Some(text), Login::Theirs)
        }
        None => {
            let (text, password) = home.provision()?;
            (Some(text), Login::Ours(password))
        }
    };
    if let Some(path) = &options.update {
        File::open(path).map_err(Trouble::file("read", path))?;
    }
    let image = build(options)?;
    let card = if options.fresh {
        home.put_disk_aside()?;
        Card::at(&home.disk())?
    } else {
        card
    };
    let disk = card.ready(&image, DISK_OCTETS)?;

    let folder = tempfile::tempdir().map_err(Trouble::file("make a folder in", &std::env::temp_dir()))?;
    // Read only now: it may be what was just built.
    let update = options.update.as_deref().map(update).transpose()?;
    let mut files = Vec::new();
    files.extend(
        provision
            .as_deref()
            .map(|text| ("postolka.toml", text.as_bytes())),
    );
    files.extend(update.as_deref().map(|octets| (UPDATE, octets)));
    let mut builder = machine(options, &image, &disk)?
        .memory(options.memory_mib)
        .snapshot(options.snapshot)
        .network(if options.is_offline {
            Network::Closed
        } else {
            Network::Open
        })
        .echo();
    if !files.is_empty() {
        builder = builder.stick(&Stick::prepare(&folder.path().join("stick.img"), &files)?);
    }
    if options.kernel_log {
        builder = builder.kernel_words("ignore_loglevel");
    }
    for service in SERVICES {
        let port = free_from(service.host).ok_or(Trouble::NoPort(service.host))?;
        builder = builder.forward(service.guest, HostPort::At(port));
    }

    // Before the machine's threads start, so that all of them leave these signals to us.
    let signals = watch_signals()?;
    println!("Booting; the console of the box follows. Ctrl-C switches it off.\n");
    let mut machine = builder.start()?;
    let mut visit = Visit { login, ca: home.ca() };
    if wait_until_ready(&machine, &signals)? {
        if matches!(visit.login, Login::Unclaimed) && serves_mail(&machine.console().text()) {
            // The disk is of a box that was claimed before.
            visit.login = Login::Theirs;
        }
        print!("\n{}", welcome(&machine, &visit));
        stay(&machine, &signals);
    }
    stop(&mut machine, &signals)
}

/// What was given for a disk, if it can be one, or the box's own.
fn look_at_disk(options: &Options, home: &Home) -> Result<Card, Trouble> {
    let path = options.disk.clone().unwrap_or_else(|| home.disk());
    let card = Card::at(&path)?;
    match card {
        Card::DataOnly(_) if options.firmware.is_some() && !options.fresh => Err(if options.disk.is_some() {
            Trouble::DataOnly(path)
        } else {
            Trouble::OldDisk {
                disk: path,
                aside: home.old_disk(),
            }
        }),
        card => Ok(card),
    }
}

/// What is put on the stick as an update. Whether it is one is for the box to say: it may be wrong on purpose.
fn update(path: &Path) -> Result<Vec<u8>, Trouble> {
    let octets = File::open(path).and_then(|file| {
        let mut octets = Vec::new();
        file.take(UPDATE_OCTETS_MAX + 1).read_to_end(&mut octets)?;
        Ok(octets)
    });
    let octets = octets.map_err(Trouble::file("read", path))?;
    if octets.len() as u64 > UPDATE_OCTETS_MAX {
        return Err(Trouble::NoUpdate(path.to_owned()));
    }
    println!("The box gets {} on its stick.", card::told_name(&octets));
    Ok(octets)
}

/// The machine, and a word if what it starts is not what was built.
fn machine(options: &Options, image: &Image, disk: &Disk) -> Result<Builder, Trouble> {
    let Some(firmware) = options.firmware else {
        return Ok(Machine::builder(image).disk(disk));
    };
    if let Some(difference) = card::difference(disk, image)? {
        println!("{difference}");
    }
    Ok(Machine::from_disk(disk, firmware))
}

fn build(options: &Options) -> Result<Image, Trouble> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let profile = if options.release { "release" } else { "ci" };
    if options.no_build {
        return Ok(Image::built(profile)?);
    }
    let mut command = Command::new(&cargo);
    command
        .current_dir(qemu::workspace())
        .args(["run", "--profile", "ci", "-p", "builder", "--"]);
    if options.release {
        command.arg("--release");
    }
    let status = command
        .status()
        .map_err(Trouble::file("run", Path::new(&cargo)))?;
    if !status.success() {
        return Err(Trouble::NotBuilt);
    }
    Ok(Image::built(profile)?)
}

/// Ctrl-C, a closed terminal and a polite kill arrive in a channel instead of ending this program.
fn watch_signals() -> Result<Receiver<Signal>, Trouble> {
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]
        .into_iter()
        .collect();
    signals.thread_block().map_err(Trouble::Signals)?;
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        while let Ok(signal) = signals.wait() {
            if sender.send(signal).is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

/// Waits for the box's word, saying now and then how long it has been. `false` if the box is to stop instead.
fn wait_until_ready(machine: &Machine, signals: &Receiver<Signal>) -> Result<bool, Trouble> {
    let started = Instant::now();
    let mut word = WORD_EVERY;
    loop {
        match machine.console().wait_for(READY, LOOK_EVERY) {
            Ok(_) => return Ok(true),
            Err(qemu::Error::NotSeen { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        if signals.try_recv().is_ok() {
            return Ok(false);
        }
        if started.elapsed() > word {
            println!("(booting for {} s)", started.elapsed().as_secs());
            word += WORD_EVERY;
        }
    }
}

/// Whether the box that says this has an owner: no other has the ports of mail open.
fn serves_mail(console: &str) -> bool {
    console
        .lines()
        .filter_map(|line| line.strip_prefix(READY))
        .any(|ports| ports.split_whitespace().any(|port| port == "25"))
}

/// Stays until the box switches itself off or a signal comes.
fn stay(machine: &Machine, signals: &Receiver<Signal>) {
    while !machine.has_ended() {
        if !matches!(signals.recv_timeout(LOOK_EVERY), Err(RecvTimeoutError::Timeout)) {
            return;
        }
    }
}

/// Presses the power button and waits; a second Ctrl-C, or a box that does not go, gets its power cut.
fn stop(machine: &mut Machine, signals: &Receiver<Signal>) -> Result<(), Trouble> {
    if !machine.has_ended() {
        println!("\nPressing the power button. Ctrl-C again cuts the power.");
        machine.press_power()?;
        let started = Instant::now();
        while !machine.has_ended() {
            if signals.recv_timeout(LOOK_EVERY).is_ok() {
                println!("The power is cut.");
                return Ok(());
            }
            if started.elapsed() > STOPPED_WITHIN {
                println!(
                    "The box does not go off within {} s; its power is cut.",
                    STOPPED_WITHIN.as_secs()
                );
                return Ok(());
            }
        }
    }
    machine.wait_exit(Duration::ZERO)?;
    println!("The box is off.");
    Ok(())
}

/// The text that says where everything is and how to send and read the first message.
fn welcome(machine: &Machine, visit: &Visit) -> String {
    let port = |guest| machine.port(guest).unwrap_or_default();
    let mut text = vec!["The box is up. On this computer:".to_owned()];
    let is_unclaimed = matches!(visit.login, Login::Unclaimed);
    let services = SERVICES
        .into_iter()
        .filter(|service| service.guest == 443 || !is_unclaimed);
    text.extend(services.map(|service| format!("  {:14} 127.0.0.1:{}", service.name, port(service.guest))));
    let ca = visit.ca.display();
    let kept = trust::fetch(port(443), machine.console()).and_then(|trusted| {
        let written = fs::write(&visit.ca, &trusted.ca_pem);
        written
            .map(|()| trusted)
            .map_err(|error| format!("{ca} cannot be written: {error}"))
    });
    match kept {
        Err(why) => text.push(format!("Its certificate is not trusted: {why}.")),
        Ok(trusted) => {
            text.push(format!(
                "Its CA certificate (fingerprint compared with the console): {ca}"
            ));
            text.push(lines(visit, &trusted, port));
        }
    }
    text.join("\n") + "\n"
}

/// Lines to copy: send a message, read it; or how to claim a box that has nobody who could.
fn lines(visit: &Visit, trusted: &Trusted, port: impl Fn(u16) -> u16) -> String {
    let (address, password) = match &visit.login {
        Login::Ours(password) => (ADDRESS, password.as_str()),
        Login::Theirs => ("ADDRESS", "PASSWORD"),
        Login::Unclaimed => {
            return format!(
                "\nClaim it in a browser, with the code on its console:\n  https://localhost:{}/setup\n",
                port(443)
            );
        }
    };
    let (name, ca, smtp, imaps) = (&trusted.name, visit.ca.display(), port(25), port(993));
    format!(
        "\nSend {address} a message:\n  \
         swaks --server 127.0.0.1:{smtp} --from me@example.org --to {address} --header 'Subject: Hello'\n\
         Read it:\n  \
         curl -sS --cacert '{ca}' --resolve {name}:{imaps}:127.0.0.1 --user '{address}:{password}' \
         'imaps://{name}:{imaps}/INBOX;MAILINDEX=1'\n"
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_update_is_taken_as_it_is_and_named_and_what_is_too_large_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new.update");
        let mut header = [0; 4096];
        header[..16].copy_from_slice(b"postolka slot v1");
        header[64..69].copy_from_slice(b"0.2.0");
        assert_eq!(card::told_name(&header), "0.2.0");
        assert_eq!(card::told_name(b"something else"), "a version without a name");
        fs::write(&path, header).unwrap();
        assert_eq!(update(&path).unwrap(), header);
        File::create(&path)
            .unwrap()
            .set_len(UPDATE_OCTETS_MAX + 1)
            .unwrap();
        let said = update(&path).unwrap_err().to_string();
        assert!(said.ends_with("is larger than any update"), "{said}");
        fs::remove_file(&path).unwrap();
        assert!(update(&path).unwrap_err().to_string().contains("cannot read"));
    }

    /// What is said about a box whose ports appear as they are, plus 2000.
    fn said(login: Login) -> String {
        let visit = Visit {
            login,
            ca: "/home/anna/ca.pem".into(),
        };
        let trusted = Trusted {
            ca_pem: String::new(),
            name: "box.test".to_owned(),
        };
        lines(&visit, &trusted, |guest| 2000 + guest)
    }

    #[test]
    fn the_lines_to_copy_name_the_ports_the_name_and_the_mailbox() {
        let text = said(Login::Ours("abcd-efgh".to_owned()));
        for part in [
            "swaks --server 127.0.0.1:2025 --from me@example.org --to anna@firma.test",
            "--cacert '/home/anna/ca.pem' --resolve box.test:2993:127.0.0.1",
            "--user 'anna@firma.test:abcd-efgh' 'imaps://box.test:2993/INBOX;MAILINDEX=1'",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn with_a_file_of_ones_own_the_lines_leave_room_for_address_and_password() {
        let text = said(Login::Theirs);
        assert!(
            text.contains("--to ADDRESS ") && text.contains("'ADDRESS:PASSWORD'"),
            "{text}"
        );
    }

    #[test]
    fn a_box_serves_mail_when_it_says_so() {
        assert!(serves_mail("Ready.\nLISTENING 25 443 993\n"));
        assert!(!serves_mail("LISTENING 443\nmaild: a line with 25\n"));
    }

    #[test]
    fn a_box_that_nobody_has_claimed_is_claimed_in_a_browser() {
        let text = said(Login::Unclaimed);
        assert!(text.contains("https://localhost:2443/setup"), "{text}");
        assert!(!text.contains("swaks"), "{text}");
    }
}
