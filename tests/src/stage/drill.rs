//! A way into the machine for what no socket can do: to kill one process, to ask for its memory.
//!
//! The image is not changed. A program (`drill/drill.rs`) is appended to its initial file system, and the kernel is told
//! to start that first; see there. A second one (`drill/saboteur.rs`) is what a version that does not come up is made of.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use super::hostile;
use crate::client::PATIENCE;
use crate::tool;

/// An initial file system with the drill in it.
///
/// # Errors
/// The drill does not compile, or a file cannot be written.
pub(super) fn initrd_with_drill(initrd: &Path, folder: &Path) -> io::Result<PathBuf> {
    let mut octets = fs::read(initrd)?;
    append(&mut octets, "drill", &compiled("drill")?);
    let path = folder.join("initrd");
    fs::write(&path, octets)?;
    Ok(path)
}

/// Puts the hostile kind of a program beside it, where the drill takes it from.
///
/// # Errors
/// It does not compile.
pub(super) fn add_hostile(initrd: &Path, program: &str) -> io::Result<()> {
    static BUILDING: Mutex<()> = Mutex::new(());
    let built = {
        // Two scenarios that want the same would write one file.
        let _building = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
        fs::read(hostile::build(program, hostile::Place::Box)?)?
    };
    let mut octets = fs::read(initrd)?;
    append(&mut octets, &format!("{program}-hostile"), &built);
    fs::write(initrd, octets)
}

/// Puts the saboteur into an initial file system, in place of one of its programs or beside them.
///
/// # Errors
/// It does not compile.
pub(crate) fn saboteur(initrd: &mut Vec<u8>, name: &str) -> io::Result<()> {
    append(initrd, name, &compiled("saboteur")?);
    Ok(())
}

/// A program of the folder `drill`, compiled for the box when somebody wants it first.
///
/// # Errors
/// It does not compile.
fn compiled(name: &'static str) -> io::Result<Arc<[u8]>> {
    static COMPILED: Mutex<BTreeMap<&str, Arc<[u8]>>> = Mutex::new(BTreeMap::new());
    // Whoever wants the same meanwhile waits.
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(program) = compiled.get(name) {
        return Ok(Arc::clone(program));
    }
    let folder = tempfile::Builder::new().prefix("postolka-").tempdir()?;
    let program: Arc<[u8]> = fs::read(compile(name, folder.path())?)?.into();
    compiled.insert(name, Arc::clone(&program));
    Ok(program)
}

/// Compiles a program of the folder `drill` for the box; gives where it lies in `folder`.
///
/// # Errors
/// It does not compile.
fn compile(name: &str, folder: &Path) -> io::Result<PathBuf> {
    let program = folder.join(name);
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut compile = Command::new(rustc);
    compile
        .args(["--edition", "2024", "--target", "aarch64-unknown-linux-musl"])
        .args([
            "-C",
            "linker=rust-lld",
            "-C",
            "opt-level=s",
            "-C",
            "strip=symbols",
            "-o",
        ])
        .arg(&program)
        .arg(format!("drill/{name}.rs"))
        // Here the pinned toolchain is found.
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    tool::run(&mut compile).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(program)
}

/// Puts an executable into an initial file system, in place of one of that name.
fn append(initrd: &mut Vec<u8>, name: &str, program: &[u8]) {
    // The kernel takes one archive behind another; each begins at a multiple of four octets.
    initrd.resize(initrd.len().next_multiple_of(4), 0);
    initrd.extend(archive(name, program));
}

/// What QEMU needs for the serial line.
pub(super) fn arguments(socket: &Path) -> [String; 6] {
    [
        "-device".to_owned(),
        "virtio-serial-pci".to_owned(),
        "-chardev".to_owned(),
        format!("socket,id=drill,path={},server=on,wait=off", socket.display()),
        "-device".to_owned(),
        "virtconsole,chardev=drill".to_owned(),
    ]
}

/// Gives an order and takes the answer.
///
/// # Errors
/// Nobody answers.
pub(super) fn order(socket: &Path, order: &str) -> io::Result<String> {
    let mut line = UnixStream::connect(socket)?;
    line.set_read_timeout(Some(PATIENCE))?;
    writeln!(line, "{order}")?;
    let mut answer = String::new();
    for read in BufReader::new(line).lines() {
        // The terminal in between says our letter back, and puts CR before LF.
        let read = read.map_err(|error| {
            let kind = error.kind();
            io::Error::new(
                kind,
                format!("the drill does not answer '{order}': {error}; so far: {answer}"),
            )
        })?;
        match read.trim() {
            "." => return Ok(answer),
            echo if echo == order => {}
            said => answer.extend([said, "\n"]),
        }
    }
    Err(io::Error::other("the drill's line was closed"))
}

/// Gives an order and waits for nothing: what it does may end the machine.
///
/// # Errors
/// Nobody is there.
pub(super) fn start(socket: &Path, letter: &str) -> io::Result<()> {
    writeln!(UnixStream::connect(socket)?, "{letter}")
}

/// Gives an order and takes what is said until the power goes.
///
/// # Errors
/// Nobody is there.
pub(super) fn follow(socket: &Path, letter: &str) -> io::Result<String> {
    let mut line = UnixStream::connect(socket)?;
    line.set_read_timeout(Some(PATIENCE))?;
    writeln!(line, "{letter}")?;
    let mut said = String::new();
    for read in BufReader::new(line).lines() {
        match read {
            Ok(read) => said.extend([read.trim(), "\n"]),
            // The machine is gone in the middle of a word.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
            Err(error) => return Err(error),
        }
    }
    Ok(said)
}

/// A cpio archive ("newc") with one executable.
///
/// ```text
/// 070701, then 13 numbers of 8 hexadecimal digits: inode, mode, uid, gid, links, mtime, size,
/// device (2), special device (2), length of the name, check; name and NUL; data; each filled to four octets
/// ```
fn archive(name: &str, data: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    for (name, mode, data) in [(name, 0o100_755, data), ("TRAILER!!!", 0, [].as_slice())] {
        let numbers = [0, mode, 0, 0, 1, 0, data.len(), 0, 0, 0, 0, name.len() + 1, 0];
        octets.extend_from_slice(b"070701");
        for number in numbers {
            octets.extend_from_slice(format!("{number:08x}").as_bytes());
        }
        octets.extend_from_slice(name.as_bytes());
        octets.push(0);
        octets.resize(octets.len().next_multiple_of(4), 0);
        octets.extend_from_slice(data);
        octets.resize(octets.len().next_multiple_of(4), 0);
    }
    octets
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    /// The judge is the program that defines the format.
    #[test]
    fn cpio_reads_the_archive() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut child = Command::new("cpio")
            .args(["--extract", "--quiet"])
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .spawn()
            .expect("cpio is installed by tests/run");
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(&archive("drill", b"five!")).expect("cpio reads");
        drop(stdin);
        assert!(child.wait().expect("cpio ends").success());
        assert_eq!(
            fs::read(folder.path().join("drill")).expect("it was unpacked"),
            b"five!"
        );
    }
}
