//! The mail process on this computer, with a folder for its data disk.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::hostile;
use super::lines::Lines;
use super::{announced, own_name};
use crate::appliance::{Appliance, Plan, Service, Stage};
use crate::client::PATIENCE;
use crate::office::Office;

/// The stage of plain processes.
#[derive(Debug, Default)]
pub struct HostProcess;

impl Stage for HostProcess {
    fn name(&self) -> &'static str {
        "host process"
    }

    fn appliance(&self, plan: Plan) -> io::Result<Box<dyn Appliance>> {
        Ok(Box::new(HostProcess::start(plan)?))
    }
}

impl HostProcess {
    /// Starts `maild` for an office.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start(plan: Plan) -> io::Result<Running> {
        HostProcess::run(plan, Vec::new(), None)
    }

    fn run(plan: Plan, wrapper: Vec<String>, program: Option<PathBuf>) -> io::Result<Running> {
        let folder = tempfile::Builder::new().prefix("postolka-").tempdir()?;
        let provisioning = plan.office.provisioning();
        fs::write(folder.path().join("postolka.toml"), provisioning)?;
        let mut running = Running {
            office: plan.office,
            wrapper,
            program,
            folder,
            child: None,
            lines: Lines::default(),
            heard: 0,
            addrs: Vec::new(),
            ca_pem: String::new(),
            host_name: String::new(),
        };
        running.start()?;
        Ok(running)
    }

    /// As [`start`](Self::start), with somebody inside who takes orders (D43).
    ///
    /// # Errors
    /// It cannot be built, or does not come up.
    pub fn hostile(plan: Plan) -> io::Result<Running> {
        let program = hostile::build("maild", hostile::Place::Here)?;
        HostProcess::run(plan, Vec::new(), Some(program))
    }

    /// As [`start`](Self::start), with few descriptors, of which `prlimit` sees to it (D18).
    ///
    /// # Errors
    /// It does not come up.
    pub fn with_descriptors(plan: Plan, count: u32) -> io::Result<Running> {
        let wrapper = vec!["prlimit".to_owned(), format!("--nofile={count}:{count}")];
        HostProcess::run(plan, wrapper, None)
    }

    /// Runs `maild` with a provisioning file it is to refuse; gives its exit status and what it said.
    ///
    /// # Errors
    /// It cannot be run, or it is still running after [`PATIENCE`].
    pub fn refused(provisioning: &str) -> io::Result<(ExitStatus, String)> {
        HostProcess::refused_on(0, provisioning)
    }

    /// Runs `maild` on a port base where it cannot serve; gives its exit status and what it said.
    ///
    /// # Errors
    /// It cannot be run, or it is still running after [`PATIENCE`].
    pub fn refused_on(port_base: u16, provisioning: &str) -> io::Result<(ExitStatus, String)> {
        let folder = tempfile::Builder::new().prefix("postolka-").tempdir()?;
        fs::write(folder.path().join("postolka.toml"), provisioning)?;
        to_its_end(&folder, port_base)
    }
}

/// Runs `maild` on a folder until it ends.
fn to_its_end(folder: &TempDir, port_base: u16) -> io::Result<(ExitStatus, String)> {
    let lines = Lines::default();
    let mut child = command(folder, port_base)?.spawn()?;
    listen(&mut child, &lines);
    let status = wait(&mut child, PATIENCE);
    if status.is_err() {
        child.kill()?;
        child.wait()?;
    }
    lines.wait_ended(PATIENCE);
    Ok((status?, lines.text()))
}

/// A mail process that runs, or could.
#[derive(Debug)]
pub struct Running {
    office: Office,
    /// A program that runs it, with its arguments.
    wrapper: Vec<String>,
    /// Another than the one that was built beside this test.
    program: Option<PathBuf>,
    folder: TempDir,
    child: Option<Child>,
    lines: Lines,
    /// How much of them was said when it had started.
    heard: usize,
    addrs: Vec<(Service, SocketAddr)>,
    ca_pem: String,
    host_name: String,
}

impl Running {
    /// The folder with its data.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Tells the one inside what to try.
    ///
    /// # Errors
    /// The order cannot be written.
    pub fn order(&self, name: &str) -> io::Result<()> {
        let mut orders = OpenOptions::new().append(true).open(orders(&self.folder))?;
        orders.write_all(format!("{name}\n").as_bytes())
    }

    /// Waits until it has ended without being asked to.
    ///
    /// # Errors
    /// It is off, or goes on.
    pub fn ends(&mut self) -> io::Result<ExitStatus> {
        let mut child = self.child.take().ok_or_else(|| io::Error::other("it is off"))?;
        let status = wait(&mut child, PATIENCE);
        if status.is_err() {
            child.kill()?;
            child.wait()?;
        }
        status
    }

    /// Starts a second process on the same folder, and waits for its end.
    ///
    /// # Errors
    /// It cannot be run, or it is still running after [`PATIENCE`].
    pub fn another(&self) -> io::Result<(ExitStatus, String)> {
        to_its_end(&self.folder, 0)
    }

    /// All services are there; one of them says how the box is called.
    fn learn_name(&mut self) -> io::Result<()> {
        self.announces(&Service::ALL)?;
        self.host_name = own_name(self.addr(Service::Smtp))?;
        Ok(())
    }

    fn announces(&self, services: &[Service]) -> io::Result<()> {
        for service in services {
            if !self.addrs.iter().any(|(found, _)| found == service) {
                return Err(self.ended(&format!("announces no {}", service.name())));
            }
        }
        Ok(())
    }

    fn ended(&self, what: &str) -> io::Error {
        let text = self.lines.text();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(15)..].join("\n  ");
        io::Error::other(format!("maild {what}; it said:\n  {last}"))
    }
}

impl Appliance for Running {
    fn addr(&self, service: Service) -> SocketAddr {
        let mut addrs = self.addrs.iter();
        addrs
            .find(|(found, _)| *found == service)
            .expect("start() has checked that each service is announced")
            .1
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
        self.lines.text()
    }

    fn cut_power(&mut self) -> io::Result<()> {
        let mut child = self.child.take().ok_or_else(|| io::Error::other("it is off"))?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    fn start(&mut self) -> io::Result<()> {
        if self.child.is_some() {
            return Err(io::Error::other("it is on"));
        }
        let mark = self.lines.mark();
        fs::write(orders(&self.folder), "")?;
        let program = self.program.clone().map_or_else(maild, Ok)?;
        let mut child = command_of(&self.wrapper, program, &self.folder, 0).spawn()?;
        listen(&mut child, &self.lines);
        self.child = Some(child);
        let said = self
            .lines
            .wait_for(mark, "LISTENING", PATIENCE)
            .ok_or_else(|| self.ended("does not listen"))?;
        self.addrs = announced(&said);
        self.heard = self.lines.mark();
        self.ca_pem = fs::read_to_string(self.data().join("ca.pem"))?;
        // A box that is nobody's has no mail yet; one that a form has claimed since has.
        let is_nobodys = said.contains("belongs to nobody");
        if is_nobodys && self.office.accounts.is_empty() {
            return self.announces(&[Service::Https]);
        }
        self.learn_name()
    }

    fn wait_for_mail(&mut self) -> io::Result<()> {
        let said = self
            .lines
            .wait_for(self.heard, "LISTENING", PATIENCE)
            .ok_or_else(|| self.ended("does not serve mail"))?;
        self.addrs.extend(announced(&said));
        self.learn_name()
    }

    fn press_power_button(&mut self) -> io::Result<()> {
        let mut child = self.child.take().ok_or_else(|| io::Error::other("it is off"))?;
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        kill(Pid::from_raw(pid), Signal::SIGTERM).map_err(io::Error::from)?;
        let status = wait(&mut child, PATIENCE);
        if status.is_err() {
            child.kill()?;
            child.wait()?;
        }
        let status = status?;
        if status.success() {
            Ok(())
        } else {
            Err(self.ended(&format!("ended with {status} after SIGTERM")))
        }
    }

    fn maild_pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    fn listening(&self) -> io::Result<Vec<u16>> {
        let pid = self.maild_pid().ok_or_else(|| io::Error::other("it is off"))?;
        let port_inside = |port: u16| {
            let known = self.addrs.iter().find(|(_, addr)| addr.port() == port);
            known.map_or(port, |(service, _)| service.port())
        };
        Ok(listening_ports(pid)?.into_iter().map(port_inside).collect())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn command(folder: &TempDir, port_base: u16) -> io::Result<Command> {
    Ok(command_of(&[], maild()?, folder, port_base))
}

/// Where the orders are for somebody inside.
fn orders(folder: &TempDir) -> PathBuf {
    folder.path().join("orders")
}

fn command_of(wrapper: &[String], program: PathBuf, folder: &TempDir, port_base: u16) -> Command {
    let words: Vec<OsString> = wrapper
        .iter()
        .map(OsString::from)
        .chain([program.into_os_string()])
        .collect();
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .env("POSTOLKA_HOSTILE", orders(folder))
        .arg("--data")
        .arg(folder.path().join("data"))
        .args([
            "--listen",
            "127.0.0.1",
            "--port-base",
            &port_base.to_string(),
            // Whatever a log may ever say is said, and looked through for secrets (D41).
            "--log",
            "debug",
            "--provision",
        ])
        .arg(folder.path().join("postolka.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The program that was built beside this test, or the one `E2E_MAILD` names.
fn maild() -> io::Result<PathBuf> {
    let path = if let Some(path) = std::env::var_os("E2E_MAILD") {
        PathBuf::from(path)
    } else {
        // target/ci/deps/host-0123 → target/ci/maild
        let test = std::env::current_exe()?;
        test.ancestors()
            .nth(2)
            .map(|profile| profile.join("maild"))
            .unwrap_or_default()
    };
    if path.is_file() {
        return Ok(path);
    }
    Err(io::Error::other(format!(
        "there is no {}: 'cargo build --profile ci -p maild' makes it",
        path.display()
    )))
}

fn listen(child: &mut Child, lines: &Lines) {
    if let Some(stdout) = child.stdout.take() {
        lines.take_in(stdout);
    }
    if let Some(stderr) = child.stderr.take() {
        lines.take_in(stderr);
    }
}

fn wait(child: &mut Child, within: Duration) -> io::Result<ExitStatus> {
    let until = Instant::now() + within;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() > until {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "maild does not end"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The TCP ports a process listens on: its sockets (`/proc/PID/fd`) found in the tables of the kernel.
fn listening_ports(pid: u32) -> io::Result<Vec<u16>> {
    let mut inodes = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let Ok(target) = fs::read_link(entry?.path()) else {
            continue;
        };
        let target = target.to_string_lossy().into_owned();
        if let Some(inode) = target
            .strip_prefix("socket:[")
            .and_then(|rest| rest.strip_suffix(']'))
        {
            inodes.push(inode.to_owned());
        }
    }
    let mut ports = Vec::new();
    for table in ["tcp", "tcp6"] {
        let table = fs::read_to_string(format!("/proc/{pid}/net/{table}"))?;
        for row in table.lines().skip(1) {
            let columns: Vec<&str> = row.split_whitespace().collect();
            // sl local rem st(0A = listening) … inode in the tenth column
            let (Some(local), Some(&"0A"), Some(inode)) = (columns.get(1), columns.get(3), columns.get(9))
            else {
                continue;
            };
            if inodes.iter().any(|own| own == inode)
                && let Some((_, port)) = local.rsplit_once(':')
            {
                ports.push(u16::from_str_radix(port, 16).map_err(io::Error::other)?);
            }
        }
    }
    ports.sort_unstable();
    ports.dedup();
    Ok(ports)
}

/// What a process keeps in memory, and the most it ever kept, in octets (`VmRSS`, `VmHWM`).
///
/// # Errors
/// There is no such process.
pub fn resident_octets(pid: u32) -> io::Result<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let value = |name: &str| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
    };
    value("VmRSS")
        .zip(value("VmHWM"))
        .ok_or_else(|| io::Error::other("the process has ended"))
}
