//! The box's own small certificate authority.
//!
//! Before a box has a name in DNS it needs a certificate all the same. So it makes an authority of its
//! own at its first start, and with it a certificate for its names. People compare the fingerprint on
//! the console, or install `ca.pem`, once.
//!
//! | file | holds | who may read |
//! | --- | --- | --- |
//! | `authority.pem` | the authority's key and certificate | the mail process |
//! | `server.pem` | the server's key and certificate | the mail process |
//! | `ca.pem` | the authority's certificate | everyone |
//!
//! A key and its certificate are one file, so that a power cut cannot separate them; each file is written
//! beside, synced and renamed. What lies there damaged is set aside under another name and made anew: a
//! box that serves with a new authority is better than one that does not serve.
//!
//! The clock may be wrong: a box without a battery starts at the date its firmware was built (D13).
//! The authority is valid from 2020, the server's certificate from two months back, and one that was
//! made under another idea of the time is replaced as soon as the clock says so.

use crate::tls;
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How far back the server's certificate is valid, for clients whose clocks are behind.
const VALID_BEFORE: Duration = Duration::from_hours(60 * 24);
/// How long it is valid from now. Apple's systems refuse server certificates of more than 825 days in
/// all, also under an authority that a person installed.
const VALID_FOR: Duration = Duration::from_hours(760 * 24);
/// It is replaced when less than this is left.
const RENEWED_BEFORE: Duration = Duration::from_hours(90 * 24);

const AUTHORITY_FILE: &str = "authority.pem";
const SERVER_FILE: &str = "server.pem";
const PUBLIC_FILE: &str = "ca.pem";

/// The names under which the box is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerNames {
    /// The box's own full name, such as `mail.example.net`, or only `postolka`.
    pub host_name: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// The authority, ready to make certificates.
pub struct Authority {
    folder: PathBuf,
    key: KeyPair,
    certificate: CertificateDer<'static>,
    /// Whether it was made just now.
    is_new: bool,
}

/// Why there is no authority or no certificate.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file cannot be read or written.
    #[error("{} cannot be read or written: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A certificate cannot be made: no random numbers, or a name that is none.
    #[error("no certificate could be made: {0}")]
    Make(#[from] rcgen::Error),
    /// The library refuses what was made.
    #[error("the certificate cannot be used: {0}")]
    Use(#[from] rustls::Error),
}

impl Authority {
    /// Opens the authority in `folder`, or makes it.
    pub fn open(folder: &Path) -> Result<Authority, AuthorityError> {
        let kept = read(folder, AUTHORITY_FILE, |pem| {
            let key = KeyPair::from_pem(std::str::from_utf8(pem).ok()?).ok()?;
            let certificate = CertificateDer::from_pem_slice(pem).ok()?;
            Some((key, certificate))
        })?;
        let is_new = kept.is_none();
        let (key, certificate) = match kept {
            Some(kept) => kept,
            None => make_authority(folder)?,
        };
        let authority = Authority {
            folder: folder.to_owned(),
            key,
            certificate,
            is_new,
        };
        authority.publish()?;
        Ok(authority)
    }

    /// Whether it was made just now: a first start, or the old one was damaged.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// SHA-256 of its certificate, which people compare.
    pub fn fingerprint(&self) -> [u8; 32] {
        let digest = digest::digest(&digest::SHA256, &self.certificate);
        *digest.as_ref().first_chunk().expect("SHA-256 has 32 octets")
    }

    /// Its certificate, which clients of the box trust.
    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Where its certificate lies for people to take.
    pub fn public_file(&self) -> PathBuf {
        self.folder.join(PUBLIC_FILE)
    }

    /// The server's certificate for `names`, with its key and the whole chain (T5): the one that is kept,
    /// or a new one when that lacks a name or is not valid from now for three months.
    pub fn server_certificate(
        &self,
        names: &ServerNames,
        now: SystemTime,
    ) -> Result<Arc<CertifiedKey>, AuthorityError> {
        let names = names.all();
        let kept = read(&self.folder, SERVER_FILE, |pem| {
            let key = PrivateKeyDer::from_pem_slice(pem).ok()?;
            let certificate = CertificateDer::from_pem_slice(pem).ok()?;
            Some((key, certificate))
        })?;
        if let Some((key, certificate)) = kept
            && self.is_good(&certificate, &names, &[now, now + RENEWED_BEFORE])
        {
            return self.certified(certificate, key);
        }
        let (key, certificate) = self.make_server_certificate(&names, now)?;
        self.certified(certificate, key)
    }

    /// Whether a client would take it, under each of the names and at each of the times. Judged by the
    /// code that clients use.
    fn is_good(
        &self,
        certificate: &CertificateDer<'_>,
        names: &[ServerName<'static>],
        times: &[SystemTime],
    ) -> bool {
        let mut roots = RootCertStore::empty();
        if roots.add(self.certificate.clone()).is_err() {
            return false;
        }
        let provider = Arc::new(tls::provider(true));
        let Ok(verifier) = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()
        else {
            return false;
        };
        times.iter().all(|time| {
            names.iter().all(|name| {
                verifier
                    .verify_server_cert(certificate, &[], name, &[], unix_time(*time))
                    .is_ok()
            })
        })
    }

    fn make_server_certificate(
        &self,
        names: &[ServerName<'static>],
        now: SystemTime,
    ) -> Result<(PrivateKeyDer<'static>, CertificateDer<'static>), AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let texts: Vec<String> = names.iter().map(|name| name.to_str().into_owned()).collect();
        let mut params = CertificateParams::new(texts)?;
        // People and old programs look here first; it holds 64 characters (RFC 5280 A.1).
        params.distinguished_name = named(&names[0].to_str().chars().take(64).collect::<String>());
        // In whole seconds, which is all that a certificate can say.
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        params.not_before = epoch + Duration::from_secs(unix_time(now - VALID_BEFORE).as_secs());
        params.not_after = epoch + Duration::from_secs(unix_time(now + VALID_FOR).as_secs());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let issuer = Issuer::new(authority_params(&self.key), &self.key);
        let certificate = params.signed_by(&key, &issuer)?;
        let pem = key.serialize_pem() + &certificate.pem();
        write(&self.folder, SERVER_FILE, pem.as_bytes(), 0o600)?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        Ok((key.into(), certificate.der().clone()))
    }

    fn certified(
        &self,
        certificate: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Arc<CertifiedKey>, AuthorityError> {
        let chain = vec![certificate, self.certificate.clone()];
        Ok(Arc::new(CertifiedKey::from_der(
            chain,
            key,
            &tls::provider(true),
        )?))
    }

    /// Lays the public certificate beside, if it is not there as it should be.
    fn publish(&self) -> Result<(), AuthorityError> {
        let pem = pem(&self.certificate);
        let path = self.public_file();
        if fs::read(&path).is_ok_and(|there| there == pem.as_bytes()) {
            return Ok(());
        }
        write(&self.folder, PUBLIC_FILE, pem.as_bytes(), 0o644)
    }
}

impl ServerNames {
    /// Every name a client may use before DNS knows the box, the box's own first.
    fn all(&self) -> Vec<ServerName<'static>> {
        let mut texts = vec![self.host_name.clone()];
        if !self.host_name.contains('.') {
            // As mDNS has it.
            texts.push(format!("{}.local", self.host_name));
        }
        texts.extend(["postolka.local", "localhost"].map(str::to_owned));
        let mut names: Vec<ServerName<'static>> = texts
            .into_iter()
            .filter_map(|text| ServerName::try_from(text).ok())
            .collect();
        let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let addresses = loopback.iter().chain(&self.addresses);
        names.extend(addresses.map(|address| ServerName::from(*address)));
        let mut unique = Vec::new();
        for name in names {
            if !unique.contains(&name) {
                unique.push(name);
            }
        }
        unique
    }
}

fn make_authority(folder: &Path) -> Result<(KeyPair, CertificateDer<'static>), AuthorityError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate = authority_params(&key).self_signed(&key)?;
    let pem = key.serialize_pem() + &certificate.pem();
    write(folder, AUTHORITY_FILE, pem.as_bytes(), 0o600)?;
    let certificate = certificate.der().clone();
    Ok((key, certificate))
}

/// The certificate of the authority, without its signature. Follows from the key alone, because its name
/// must be the same each time it signs: never change what is in here.
fn authority_params(key: &KeyPair) -> CertificateParams {
    let digest = digest::digest(&digest::SHA256, key.public_key_raw());
    let [a, b, c, d, ..] = digest.as_ref() else {
        unreachable!("SHA-256 has 32 octets")
    };
    let mut params = CertificateParams::default();
    // The number tells the authorities of two boxes apart in a phone's list.
    params.distinguished_name = named(&format!("Postolka {a:02X}{b:02X}{c:02X}{d:02X}"));
    // Before any clock that a box can have, and the last second that UTCTime can say (RFC 5280 §4.1.2.5).
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2050, 1, 1) - Duration::from_secs(1);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// RFC 7468.
fn pem(certificate: &CertificateDer<'_>) -> String {
    let encoded = STANDARD.encode(certificate);
    let mut text = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in encoded.as_bytes().chunks(64) {
        text.extend(line.iter().copied().map(char::from));
        text.push('\n');
    }
    text + "-----END CERTIFICATE-----\n"
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn unix_time(time: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

/// Reads a file of ours. `None` when it is not there, or was damaged and set aside.
fn read<T>(
    folder: &Path,
    name: &str,
    parse: impl FnOnce(&[u8]) -> Option<T>,
) -> Result<Option<T>, AuthorityError> {
    let path = folder.join(name);
    let octets = match fs::read(&path) {
        Ok(octets) => zeroize::Zeroizing::new(octets),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(AuthorityError::File { path, source }),
    };
    let parsed = parse(&octets);
    if parsed.is_none() {
        let aside = folder.join(format!("{name}.damaged"));
        tracing::error!(
            file = name,
            "a certificate file is damaged; it is set aside and made anew"
        );
        fs::rename(&path, aside).map_err(|source| AuthorityError::File { path, source })?;
    }
    Ok(parsed)
}

fn write(folder: &Path, name: &str, octets: &[u8], mode: u32) -> Result<(), AuthorityError> {
    write_durably(folder, name, octets, mode).map_err(|source| AuthorityError::File {
        path: folder.join(name),
        source,
    })
}

/// Writes a file of `folder` so that it is there whole or not at all, and is still there after a power
/// cut: beside, synced, renamed, and the folder synced.
pub fn write_durably(folder: &Path, name: &str, octets: &[u8], mode: u32) -> io::Result<()> {
    let path = folder.join(name);
    let beside = folder.join(format!("{name}.new"));
    // What an interrupted attempt left has perhaps other permissions.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&beside)?;
    file.write_all(octets)?;
    file.sync_all()?;
    fs::rename(&beside, &path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// 2026-11-24.
    fn today() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_hours(20_781 * 24)
    }

    fn days(count: u64) -> Duration {
        Duration::from_hours(count * 24)
    }

    fn names() -> ServerNames {
        ServerNames {
            host_name: "box.example.net".to_owned(),
            addresses: vec!["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()],
        }
    }

    /// What a client that trusts `authority` and nothing else says.
    fn is_trusted(authority: &Authority, key: &CertifiedKey, name: &str, now: SystemTime) -> bool {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        authority.is_good(&key.cert[0], &[name], &[now])
    }

    #[test]
    fn the_authority_and_the_certificate_stay_the_same_over_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let first = Authority::open(folder.path()).unwrap();
        assert!(first.is_new());
        let certificate = first.server_certificate(&names(), today()).unwrap();
        let again = Authority::open(folder.path()).unwrap();
        assert!(!again.is_new());
        assert_eq!(first.fingerprint(), again.fingerprint());
        let same = again.server_certificate(&names(), today() + days(400)).unwrap();
        assert_eq!(certificate.cert, same.cert);
    }

    /// T5: with the whole chain.
    #[test]
    fn t5_the_certificate_holds_every_name_and_its_chain() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open(folder.path()).unwrap();
        let key = authority.server_certificate(&names(), today()).unwrap();
        for name in [
            "box.example.net",
            "localhost",
            "postolka.local",
            "127.0.0.1",
            "::1",
            "192.0.2.7",
            "2001:db8::7",
        ] {
            assert!(is_trusted(&authority, &key, name, today()), "{name}");
        }
        assert!(!is_trusted(&authority, &key, "example.net", today()));
        assert_eq!(key.cert.len(), 2);
        let public = fs::read(authority.public_file()).unwrap();
        assert_eq!(CertificateDer::from_pem_slice(&public).unwrap(), key.cert[1]);
        let other = Authority::open(tempfile::tempdir().unwrap().path()).unwrap();
        assert!(!is_trusted(&other, &key, "localhost", today()));
    }

    #[test]
    fn a_certificate_is_replaced_when_it_is_old_or_lacks_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open(folder.path()).unwrap();
        let first = authority.server_certificate(&names(), today()).unwrap();
        let renewed = authority
            .server_certificate(&names(), today() + days(671))
            .unwrap();
        assert_ne!(first.cert[0], renewed.cert[0]);
        assert!(is_trusted(
            &authority,
            &renewed,
            "localhost",
            today() + days(1400)
        ));
        let mut moved = names();
        moved.addresses.push("192.0.2.8".parse().unwrap());
        let moved = authority.server_certificate(&moved, today() + days(671)).unwrap();
        assert!(is_trusted(&authority, &moved, "192.0.2.8", today() + days(671)));
    }

    /// D13: a box without a battery thinks that it is the day its firmware was built, and learns later.
    #[test]
    fn d13_a_certificate_made_at_a_wrong_time_is_replaced_when_the_time_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open(folder.path()).unwrap();
        let past = authority
            .server_certificate(&names(), today() - days(3000))
            .unwrap();
        assert!(!is_trusted(&authority, &past, "localhost", today()));
        let present = authority.server_certificate(&names(), today()).unwrap();
        assert!(is_trusted(&authority, &present, "localhost", today()));
        let future = authority
            .server_certificate(&names(), today() + days(3000))
            .unwrap();
        assert!(!is_trusted(&authority, &future, "localhost", today()));
        let present = authority.server_certificate(&names(), today()).unwrap();
        assert!(is_trusted(&authority, &present, "localhost", today()));
        // Clients whose clocks are a month behind.
        assert!(is_trusted(&authority, &present, "localhost", today() - days(30)));
    }

    #[test]
    fn keys_are_read_by_the_mail_process_only() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open(folder.path()).unwrap();
        authority.server_certificate(&names(), today()).unwrap();
        for (name, expected) in [(AUTHORITY_FILE, 0o600), (SERVER_FILE, 0o600)] {
            let mode = fs::metadata(folder.path().join(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, expected, "{name}");
        }
        let public = fs::read_to_string(authority.public_file()).unwrap();
        assert!(!public.contains("PRIVATE"));
    }

    #[test]
    fn a_damaged_file_is_set_aside_and_made_anew() {
        for name in [AUTHORITY_FILE, SERVER_FILE] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(name);
            let authority = Authority::open(folder.path()).unwrap();
            authority.server_certificate(&names(), today()).unwrap();
            let whole = fs::read(&path).unwrap();
            fs::write(&path, &whole[..whole.len() / 2]).unwrap();
            let authority = Authority::open(folder.path()).unwrap();
            assert_eq!(authority.is_new(), name == AUTHORITY_FILE);
            let key = authority.server_certificate(&names(), today()).unwrap();
            assert!(is_trusted(&authority, &key, "localhost", today()), "{name}");
            assert!(folder.path().join(format!("{name}.damaged")).exists());
        }
    }
}
