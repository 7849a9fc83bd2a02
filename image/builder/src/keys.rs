//! The keys that sign versions: made, kept in files, found.
//!
//! ```text
//! FILE          root:     seed, public key                        mode 0600, locked away
//! FILE.pub                public key                              for --other-root
//! FILE          release:  seed, certificate, public keys of the roots   mode 0600: all that a build needs
//! FILE.pub                certificate, public keys of the roots   for `verify` and `show`
//! ```
//!
//! Each machine that builds has a development key, made when it is first wanted, outside of the repository. Its
//! certificate says so, and the box says so on its console.

use std::fs;
use std::path::{Path, PathBuf};

use format::keys::{CERTIFICATE_OCTETS, PUBLIC_KEY_OCTETS, SEED_OCTETS};
use format::{Certificate, Roots, SigningKey};

use crate::error::Error;
use crate::keyfile::{KeyFile, Text, hex};
use crate::options::{Keys, NewRelease};

const ROOT: &str = "postolka root key v1";
const ROOT_PUBLIC: &str = "postolka root public key v1";
const RELEASE: &str = "postolka release key v1";
const RELEASE_PUBLIC: &str = "postolka release public key v1";
const PRIVATE_MODE: u32 = 0o600;
const PUBLIC_MODE: u32 = 0o644;
/// A box has room for this many.
const ROOTS_MAX: usize = 2;

type PublicKey = [u8; PUBLIC_KEY_OCTETS];

/// What signs a version.
pub(crate) struct ReleaseKey {
    pub(crate) key: SigningKey,
    pub(crate) certificate: Certificate,
    /// Whom the box that is built trusts.
    pub(crate) roots: Vec<PublicKey>,
}

/// A root's private key.
struct RootKey {
    key: SigningKey,
    /// One of these vouches only for keys that say so too.
    is_development: bool,
}

/// `cargo image key root FILE`
pub(crate) fn make_root(path: &Path) -> Result<(), Error> {
    new_root(path, false)?;
    println!(
        "{}: a root key. Keep it offline, and a copy of it elsewhere.",
        path.display()
    );
    println!("{}: its public part", public_path(path).display());
    Ok(())
}

/// `cargo image key release FILE --root FILE --epoch N`
pub(crate) fn make_release(new: &NewRelease) -> Result<(), Error> {
    let root = read_root(&new.root)?;
    let other = new.other_root.as_deref().map(read_root_public).transpose()?;
    new_release(&new.file, &root, other, new.epoch)?;
    println!(
        "{}: a release key of epoch {}, for cargo image --release --key",
        new.file.display(),
        new.epoch
    );
    println!("{}: its public part", public_path(&new.file).display());
    if new.other_root.is_none() {
        println!(
            "The box will trust one root. With --other-root FILE.pub it trusts a second, should this one be lost."
        );
    }
    Ok(())
}

/// The key that `--key` names, or the development key, made now where there is none.
pub(crate) fn for_build(given: Option<&Path>) -> Result<ReleaseKey, Error> {
    match given {
        Some(path) => read_release(path),
        None => development(&folder()),
    }
}

/// The roots to judge a file by.
pub(crate) fn roots_of(keys: Keys) -> Result<Vec<PublicKey>, Error> {
    match keys {
        Keys::Roots(roots) => Ok(roots),
        Keys::File(path) => read_roots(&path),
        Keys::Development => {
            let path = folder().join(DEVELOPMENT).join(RELEASE_FILE);
            if path.exists() {
                read_roots(&path)
            } else {
                Err(Error::Usage(
                    "whose keys shall be trusted? Say it with --key FILE or --roots HEX \
                     (this machine has no development key)"
                        .to_owned(),
                ))
            }
        }
    }
}

const DEVELOPMENT: &str = "development";
const ROOT_FILE: &str = "root.key";
const RELEASE_FILE: &str = "release.key";

/// The development key in `folder`. Made in a folder of its own and moved there, so that two builds get the same one.
fn development(folder: &Path) -> Result<ReleaseKey, Error> {
    let place = folder.join(DEVELOPMENT);
    let file = place.join(RELEASE_FILE);
    if !file.exists() {
        let new = folder.join(format!("{DEVELOPMENT}.new.{}", std::process::id()));
        fs::create_dir_all(&new).map_err(Error::file("make the folder", &new))?;
        let root = new_root(&new.join(ROOT_FILE), true)?;
        new_release(&new.join(RELEASE_FILE), &root, None, 1)?;
        match fs::rename(&new, &place) {
            Ok(()) => println!(
                "key: made a development key for this machine in {}",
                place.display()
            ),
            Err(_) if file.exists() => fs::remove_dir_all(&new).map_err(Error::file("remove", &new))?,
            Err(error) => return Err(Error::file("make the folder", &place)(error)),
        }
    }
    read_release(&file)
}

fn new_root(path: &Path, is_development: bool) -> Result<RootKey, Error> {
    let seed = seed()?;
    let key = SigningKey::from_seed(seed);
    let development = if is_development { "yes" } else { "no" };
    Text::new(
        "A root of Postolka: it vouches for release keys. Whoever has it can update every box.",
        ROOT,
    )
    .line("development", development)
    .octets("public", &key.public())
    .octets("seed", &seed)
    .write_new(path, PRIVATE_MODE)?;
    Text::new("The public part of a root of Postolka.", ROOT_PUBLIC)
        .line("development", development)
        .octets("public", &key.public())
        .write_new(&public_path(path), PUBLIC_MODE)?;
    Ok(RootKey { key, is_development })
}

fn new_release(path: &Path, root: &RootKey, other: Option<PublicKey>, epoch: u32) -> Result<(), Error> {
    let seed = seed()?;
    let public = SigningKey::from_seed(seed).public();
    let certificate = root.key.certify(public, epoch, root.is_development);
    let own = root.key.public();
    let other = other.filter(|other| *other != own);
    let with_trust = |text: Text| {
        let text = text
            .octets("certificate", &certificate.encode())
            .octets("root", &own);
        match other {
            Some(other) => text.octets("root", &other),
            None => text,
        }
    };
    with_trust(Text::new("A release key of Postolka: it signs versions.", RELEASE).octets("seed", &seed))
        .write_new(path, PRIVATE_MODE)?;
    with_trust(Text::new(
        "The public part of a release key of Postolka.",
        RELEASE_PUBLIC,
    ))
    .write_new(&public_path(path), PUBLIC_MODE)
}

fn read_root(path: &Path) -> Result<RootKey, Error> {
    let file = KeyFile::read(path)?;
    expect(path, &file, &[ROOT], "a root key")?;
    file.check_private()?;
    file.only(&["development", "public", "seed"])?;
    let key = SigningKey::from_seed(file.octets::<SEED_OCTETS>(file.one("seed")?)?);
    let line = file.one("public")?;
    if file.octets(line)? != key.public() {
        return Err(file.fault(line, "'public' does not belong to 'seed'"));
    }
    Ok(RootKey {
        key,
        is_development: file.is_yes(file.one("development")?)?,
    })
}

fn read_root_public(path: &Path) -> Result<PublicKey, Error> {
    let file = KeyFile::read(path)?;
    expect(path, &file, &[ROOT, ROOT_PUBLIC], "a root key's public part")?;
    file.octets(file.one("public")?)
}

fn read_release(path: &Path) -> Result<ReleaseKey, Error> {
    let file = KeyFile::read(path)?;
    expect(path, &file, &[RELEASE], "a release key, which signs versions")?;
    file.check_private()?;
    file.only(&["seed", "certificate", "root"])?;
    let key = SigningKey::from_seed(file.octets::<SEED_OCTETS>(file.one("seed")?)?);
    let (certificate, roots) = trust(&file)?;
    if certificate.key != key.public() {
        return Err(file.fault(
            file.one("certificate")?,
            "'certificate' is for another key than 'seed'",
        ));
    }
    Ok(ReleaseKey {
        key,
        certificate,
        roots,
    })
}

/// The roots that any of the four kinds of file names.
fn read_roots(path: &Path) -> Result<Vec<PublicKey>, Error> {
    let file = KeyFile::read(path)?;
    expect(
        path,
        &file,
        &[ROOT, ROOT_PUBLIC, RELEASE, RELEASE_PUBLIC],
        "a key of Postolka",
    )?;
    if [ROOT, ROOT_PUBLIC].contains(&file.kind.as_str()) {
        Ok(vec![file.octets(file.one("public")?)?])
    } else {
        trust(&file).map(|(_, roots)| roots)
    }
}

/// The certificate of a release key and the roots, one of which signed it.
fn trust(file: &KeyFile) -> Result<(Certificate, Vec<PublicKey>), Error> {
    let mut roots = Vec::new();
    for line in file.all("root") {
        if roots.len() == ROOTS_MAX {
            return Err(file.fault(line, format!("a box trusts {ROOTS_MAX} roots at most")));
        }
        roots.push(file.octets(line)?);
    }
    let line = file.one("certificate")?;
    let octets = file.octets::<CERTIFICATE_OCTETS>(line)?;
    let certificate = Certificate::decode(&octets)
        .filter(|certificate| certificate.is_trusted(Roots(&roots)))
        .ok_or_else(|| file.fault(line, "none of the roots in this file signed the certificate"))?;
    Ok((certificate, roots))
}

fn expect(path: &Path, file: &KeyFile, kinds: &[&str], wanted: &'static str) -> Result<(), Error> {
    if kinds.contains(&file.kind.as_str()) {
        Ok(())
    } else {
        Err(Error::KeyKind {
            path: path.to_owned(),
            kind: file.kind.clone(),
            wanted,
        })
    }
}

fn seed() -> Result<[u8; SEED_OCTETS], Error> {
    let mut seed = [0; SEED_OCTETS];
    getrandom::fill(&mut seed).map_err(|error| Error::Random(error.to_string()))?;
    Ok(seed)
}

fn public_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    PathBuf::from(name)
}

/// The user's folder for data that is not in a cache (XDG Base Directory Specification).
fn folder() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".local/share");
    std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .unwrap_or_else(home)
        .join("postolka")
}

/// Root keys as text: one a line in the box's `/roots`, comma separated for the loader's build.
pub(crate) fn spelt(roots: &[PublicKey], separator: &str) -> String {
    let roots: Vec<String> = roots.iter().map(|root| hex(root)).collect();
    roots.join(separator)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// The file of a development key.
    pub(crate) fn development_key(folder: &Path) -> PathBuf {
        development(folder).unwrap();
        folder.join(DEVELOPMENT).join(RELEASE_FILE)
    }

    fn said<T>(result: Result<T, Error>) -> String {
        match result {
            Ok(_) => panic!("it was taken"),
            Err(error) => error.to_string(),
        }
    }

    fn release(folder: &Path, root: &str, other: Option<&str>) -> PathBuf {
        let file = folder.join(format!("release-of-{root}"));
        make_release(&NewRelease {
            file: file.clone(),
            root: folder.join(root),
            other_root: other.map(|name| folder.join(name)),
            epoch: 4,
        })
        .unwrap();
        file
    }

    #[test]
    fn a_release_key_is_all_a_build_needs() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["one", "two"] {
            make_root(&folder.path().join(name)).unwrap();
        }
        let file = release(folder.path(), "one", Some("two.pub"));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let key = read_release(&file).unwrap();
        assert_eq!(
            (key.certificate.epoch, key.certificate.is_development),
            (4, false)
        );
        assert_eq!(key.certificate.key, key.key.public());
        assert_eq!(key.roots.len(), 2);
        assert!(key.certificate.is_trusted(Roots(&key.roots)));
        assert_eq!(read_roots(&public_path(&file)).unwrap(), key.roots);
        assert_eq!(read_roots(&folder.path().join("two")).unwrap(), key.roots[1..]);
        assert_eq!(spelt(&key.roots, ",").len(), 64 + 1 + 64);
        assert!(!fs::read_to_string(public_path(&file)).unwrap().contains("seed"));
    }

    #[test]
    fn the_development_key_is_made_once_and_says_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let first = development(folder.path()).unwrap();
        let second = development(folder.path()).unwrap();
        assert_eq!(first.certificate, second.certificate);
        assert!(first.certificate.is_development);
        assert_eq!(first.roots.len(), 1);
        // What a development root vouches for is a development key too.
        let place = folder.path().join(DEVELOPMENT);
        let file = release(&place, ROOT_FILE, None);
        assert!(read_release(&file).unwrap().certificate.is_development);
    }

    #[test]
    fn a_file_of_another_kind_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("one");
        make_root(&root).unwrap();
        assert!(
            said(read_release(&root))
                .ends_with("is a 'postolka root key v1', not a release key, which signs versions")
        );
        let file = release(folder.path(), "one", None);
        assert!(said(read_root(&file)).ends_with("is a 'postolka release key v1', not a root key"));
        assert!(said(read_root(&public_path(&root))).contains("not a root key"));
    }

    #[test]
    fn a_key_that_does_not_fit_is_named_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["one", "two"] {
            make_root(&folder.path().join(name)).unwrap();
        }
        let file = release(folder.path(), "one", None);
        let text = fs::read_to_string(&file).unwrap();
        let two = hex(&read_root_public(&folder.path().join("two.pub")).unwrap());
        let one = hex(&read_root_public(&folder.path().join("one.pub")).unwrap());
        let check = |text: &str, expected: &str| {
            fs::write(&file, text).unwrap();
            let said = said(read_release(&file));
            assert!(said.contains(expected), "{said}");
        };
        check(
            &text.replace(&one, &two),
            ", line 4: none of the roots in this file signed the certificate",
        );
        check(
            &format!("{text}root: {two}\nroot: {two}\n"),
            ", line 7: a box trusts 2 roots at most",
        );
        let seed = text.lines().find(|line| line.starts_with("seed")).unwrap();
        check(
            &text.replace(seed, &format!("seed: {}", "7".repeat(64))),
            "line 4: 'certificate' is for another key than 'seed'",
        );
        check(&text.replace("seed", "sead"), "'sead' does not belong here");
    }
}
