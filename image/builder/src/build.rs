//! The whole story of a build: kernel, programs, file system, archive, slot, loader, disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use format::Board;

use crate::archive::{self, Parts};
use crate::disk::{self, Disk};
use crate::error::Error;
use crate::esp::{self, Esp};
use crate::kernel::{self, Kernel};
use crate::keys::{self, ReleaseKey};
use crate::options::Build;
use crate::programs::{self, PROGRAMS, Profile};
use crate::slot::{self, Contents};
use crate::version::{self, Commit};
use crate::{bmap, e2fsck, loader, pi, pristine, progress};

/// Few words on the console until init speaks, and a kernel that gives up starts anew soon.
const COMMAND_LINE: &str = "quiet panic=3";

pub(crate) fn build(options: &Build) -> Result<(), Error> {
    let started = Instant::now();
    // What is wrong with the key is better said before the kernel is built than after.
    let key = (!options.kernel_only).then(|| signer(options)).transpose()?;
    let workspace = workspace();
    let target = target(&workspace);
    let place = target.join("image").join(options.profile.name());
    fs::create_dir_all(&place).map_err(Error::file("make the folder", &place))?;

    let kernel = kernel::kernel(&cache(), options.kernel_source.as_deref())?;
    put_kernel(&place, &kernel)?;
    let Some(key) = key else {
        return Ok(());
    };

    let about = version::About {
        commit: version::commit(&workspace)?,
        number: match options.number {
            Some(number) => number,
            None => version::number(&workspace, key.certificate.is_development)?,
        },
        board: options.board,
        profile: options.profile,
        is_development: key.certificate.is_development,
    };
    let initrd = initrd(options.profile, &about, &kernel, &key, &place)?;
    put(&place, "initrd", &initrd)?;
    say("initrd", initrd.len(), "of programs and file system, packed");

    let name = |kind: &str| format!("postolka-{}.{kind}", options.board.name());
    let slot = slot::pack(
        &Contents {
            kernel: &read(&kernel.zboot)?,
            cpio: &initrd,
            command_line: options.command_line.as_deref().unwrap_or(COMMAND_LINE),
            board: options.board,
            number: about.number,
            min_from: options.min_from,
            built: about.commit.epoch,
            name: &slot::name(&about.commit.name),
        },
        &key,
    )?;
    put(&place, &name("update"), &slot)?;
    say("slot", slot.len(), &described(&about, &key));

    let loader = loader::loader(options.board, &key.roots, &workspace, &target)?;
    say("loader", loader.len(), "");
    let esp = esp(options, loader, &kernel)?;
    say("esp", esp.used, "of it used");
    let disk = disk::disk(options.board, &esp, &slot)?;
    disk.write(&place.join(name("img")))?;
    put(&place, &name("img.bmap"), bmap::bmap(&disk).as_bytes())?;
    say("disk", disk.octets.len(), &written(&disk));
    let packed = archive::compress_disk(&disk.octets, options.profile.disk_compression())?;
    put(&place, &name("img.zst"), &packed)?;
    say("packed", packed.len(), "to download and flash");
    println!(
        "postolka-{}.update and .img in {} ({})",
        options.board.name(),
        place.display(),
        progress::spoken(started.elapsed())
    );
    Ok(())
}

/// What people flash is signed by a key whose root is kept offline, and by no other.
fn signer(options: &Build) -> Result<ReleaseKey, Error> {
    if options.profile == Profile::Release && options.key.is_none() {
        return Err(Error::ReleaseWithoutKey);
    }
    let key = keys::for_build(options.key.as_deref())?;
    if options.profile == Profile::Release && key.certificate.is_development {
        return Err(Error::ReleaseWithDevelopmentKey);
    }
    Ok(key)
}

fn put_kernel(place: &Path, kernel: &Kernel) -> Result<(), Error> {
    if !kernel.pinned {
        println!(
            "kernel: unpinned ({} is not in image/kernel.lock)",
            kernel.version
        );
    }
    let zboot = read(&kernel.zboot)?;
    put(place, "kernel", &zboot)?;
    put(place, "Image", &read(&kernel.bare)?)?;
    let trees = place.join("dtb");
    fs::create_dir_all(&trees).map_err(Error::file("make the folder", &trees))?;
    for tree in &kernel.device_trees {
        let name = tree.file_name().unwrap_or_default().to_string_lossy();
        put(&trees, &name, &read(tree)?)?;
    }
    say("kernel", zboot.len(), &kernel.version);
    Ok(())
}

/// Builds what is in the archive, and packs it.
fn initrd(
    profile: Profile,
    about: &version::About,
    kernel: &Kernel,
    key: &ReleaseKey,
    place: &Path,
) -> Result<Vec<u8>, Error> {
    let work = place.join(format!("work.{}", std::process::id()));
    fs::create_dir_all(&work).map_err(Error::file("make the folder", &work))?;
    let pristine = pristine::pristine(&work);
    fs::remove_dir_all(&work).map_err(Error::file("remove", &work))?;
    let mut parts = Parts {
        programs: Vec::new(),
        pristine: pristine?,
        version: version::text(about, kernel),
        roots: keys::spelt(&key.roots, "\n") + "\n",
    };
    let e2fsck = e2fsck::e2fsck(&cache())?;
    let pinned = if e2fsck.is_pinned {
        ""
    } else {
        " (unpinned: not in image/e2fsck.lock)"
    };
    say(
        "e2fsck",
        e2fsck.octets.len(),
        &format!("{}{pinned}", e2fsck.version),
    );
    parts.programs.push(("e2fsck", e2fsck.octets));
    let workspace = workspace();
    for name in PROGRAMS {
        let octets = programs::program(name, profile, &workspace, &target(&workspace))?;
        say(name, octets.len(), "of program");
        parts.programs.push((name, octets));
    }
    say("data", parts.pristine.len(), "of empty file system");
    archive::pack(&parts, profile.compression())
}

/// The ESP for the board.
fn esp(options: &Build, loader: Vec<u8>, kernel: &Kernel) -> Result<Esp, Error> {
    let mut files = vec![(esp::LOADER.to_owned(), loader)];
    if options.board == Board::Rpi {
        let pi = pi::files(options.pi_firmware.as_deref(), &kernel.device_trees)?;
        for note in &pi.notes {
            println!("pi: {note}");
        }
        files.extend(pi.files);
    }
    esp::esp(&files)
}

fn described(about: &version::About, key: &ReleaseKey) -> String {
    let Commit { name, .. } = &about.commit;
    let certificate = &key.certificate;
    let kind = if certificate.is_development {
        "the development key"
    } else {
        "a release key"
    };
    format!(
        "for board {}: version {} ({name}), signed with {kind} of epoch {}",
        about.board.name(),
        about.number,
        certificate.epoch
    )
}

fn written(disk: &Disk) -> String {
    let blocks: usize = disk.written.iter().map(ExactSizeIterator::len).sum();
    let octets = blocks * disk::MAP_OCTETS;
    format!("of which {} say something", spoken(octets as u64).trim())
}

fn say(what: &str, octets: usize, words: &str) {
    println!(
        "{}",
        format!("{what:9} {}  {words}", spoken(octets as u64)).trim_end()
    );
}

/// Writes a finished file in one step, so that a machine being started never meets half of it.
fn put(place: &Path, name: &str, octets: &[u8]) -> Result<(), Error> {
    let (path, new) = (place.join(name), place.join(format!("{name}.new")));
    fs::write(&new, octets).map_err(Error::file("write", &new))?;
    fs::rename(&new, &path).map_err(Error::file("write", &path))
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(Error::file("read", path))
}

/// `  3.7 MiB`, `  2.1 KiB`: right-aligned for the list of parts.
pub(crate) fn spoken(octets: u64) -> String {
    let tenths = |unit: u64| {
        let tenths = octets.saturating_mul(10) / unit;
        format!("{}.{}", tenths / 10, tenths % 10)
    };
    if octets >= 1 << 20 {
        format!("{:>6} MiB", tenths(1 << 20))
    } else {
        format!("{:>6} KiB", tenths(1 << 10))
    }
}

/// The checkout this program was built from.
fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

fn target(workspace: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from)
}

/// The user's cache folder (XDG Base Directory Specification).
fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .unwrap_or_else(home)
        .join("postolka")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_spoken_in_the_unit_that_fits() {
        assert_eq!(spoken(2_150), "   2.0 KiB");
        assert_eq!(spoken(3_900_000), "   3.7 MiB");
    }

    fn release(key: Option<PathBuf>) -> String {
        let options = Build {
            key,
            ..Build::new(Profile::Release)
        };
        match signer(&options) {
            Ok(_) => panic!("it was taken"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_release_is_never_signed_with_a_development_key() {
        assert!(release(None).contains("cargo image key release"));
        let folder = tempfile::tempdir().unwrap();
        let key = keys::tests::development_key(folder.path());
        assert!(release(Some(key)).contains("a development key"));
    }
}
