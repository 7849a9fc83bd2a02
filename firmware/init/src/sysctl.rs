//! Settings of the kernel for the box as a whole. Those of each network card are in `network/sysctl`.
//!
//! Many are what the kernel's configuration (`image/kernel.config`) or its defaults say already; they stand here so that they
//! hold whatever kernel the box is started with.

use std::fs;
use std::path::Path;

use crate::trouble::reason;

const FOLDER: &str = "/proc/sys";

/// Name below /proc/sys, value.
const SETTINGS: &[(&str, &str)] = &[
    // Who breaks into a program learns no address of the kernel, and nothing of what it says.
    ("kernel/kptr_restrict", "2"),
    ("kernel/dmesg_restrict", "1"),
    ("kernel/randomize_va_space", "2"),
    // The kernel tells which call a program was ended for (see `refused`). No one else reads its lines.
    ("kernel/print-fatal-signals", "1"),
    // A kernel that stumbled starts afresh: half of one may serve wrong octets for weeks.
    ("kernel/panic_on_oops", "1"),
    ("kernel/panic", "10"),
    // A program that took all memory is ended, and is back in a second. The box goes on.
    ("vm/panic_on_oom", "0"),
    // What cannot be had is refused at once, and what is only set aside is not counted: threads and the index set aside much.
    ("vm/overcommit_memory", "0"),
    // A core dump would hold other people's mail. The kernel has no code for it; this is the second lock.
    ("fs/suid_dumpable", "0"),
    // In a folder that others may write to, nobody is led somewhere by a link, or to a file laid out for them.
    ("fs/protected_symlinks", "1"),
    ("fs/protected_hardlinks", "1"),
    ("fs/protected_fifos", "2"),
    ("fs/protected_regular", "2"),
    // Connections can be opened while somebody floods the box with half-open ones (RFC 4987 §3.6).
    ("net/ipv4/tcp_syncookies", "1"),
    // A stray reset does not cut short the wait of a connection that has ended (RFC 1337).
    ("net/ipv4/tcp_rfc1337", "1"),
    // As many may wait for a service as it asks for.
    ("net/core/somaxconn", "4096"),
    // Clients that went away without a word: known after a quarter of an hour, and not after two hours. The shortest time
    // that routers keep a silent connection is longer (RFC 5382 §5: 124 minutes).
    ("net/ipv4/tcp_keepalive_time", "600"),
    ("net/ipv4/tcp_keepalive_intvl", "60"),
    ("net/ipv4/tcp_keepalive_probes", "5"),
    // The box answers nobody who asks everybody (RFC 2644), and takes down no nonsense of routers (RFC 1122 §3.2.2).
    ("net/ipv4/icmp_echo_ignore_broadcasts", "1"),
    ("net/ipv4/icmp_ignore_bogus_error_responses", "1"),
    // Senders that could not be answered are not heard (RFC 3704 §2.4). Not the strict kind: with two cards on one link the
    // answer may leave by the other.
    ("net/ipv4/conf/all/rp_filter", "2"),
    // What lies below here is for cards that appear later; `network/sysctl` says the same for each.
    ("net/ipv4/ip_forward", "0"),
    ("net/ipv4/conf/all/accept_redirects", "0"),
    ("net/ipv4/conf/default/accept_redirects", "0"),
    ("net/ipv4/conf/all/send_redirects", "0"),
    ("net/ipv4/conf/default/send_redirects", "0"),
    ("net/ipv4/conf/all/accept_source_route", "0"),
    ("net/ipv4/conf/default/accept_source_route", "0"),
    ("net/ipv6/conf/all/forwarding", "0"),
    ("net/ipv6/conf/all/accept_redirects", "0"),
    ("net/ipv6/conf/default/accept_redirects", "0"),
];

/// Makes all settings.
///
/// # Errors
/// A sentence that names those that could not be made. The others are.
pub(crate) fn apply() -> Result<(), String> {
    apply_to(Path::new(FOLDER))
}

fn apply_to(folder: &Path) -> Result<(), String> {
    let failed: Vec<String> = SETTINGS
        .iter()
        .filter_map(|(name, value)| {
            let error = fs::write(folder.join(name), value).err()?;
            Some(format!("{name} ({})", reason(&error)))
        })
        .collect();
    if failed.is_empty() {
        return Ok(());
    }
    Err(format!(
        "The kernel's settings are not all as they should be: {}.",
        failed.join(", ")
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_is_one_that_a_kernel_has() {
        for (name, _) in SETTINGS {
            // A machine without IPv6 has none of its settings.
            if Path::new(FOLDER).join("net/ipv6").exists() || !name.starts_with("net/ipv6") {
                assert!(Path::new(FOLDER).join(name).exists(), "{name}");
            }
        }
    }

    #[test]
    fn what_cannot_be_set_is_named_and_the_rest_is_set() {
        let folder = tempfile::tempdir().unwrap();
        for (name, _) in SETTINGS.iter().filter(|(name, _)| *name != "kernel/panic") {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "as it was").unwrap();
        }
        // A folder cannot be written to as a file can.
        fs::create_dir(folder.path().join("kernel/panic")).unwrap();
        let sentence = apply_to(folder.path()).unwrap_err();
        assert_eq!(
            sentence,
            "The kernel's settings are not all as they should be: kernel/panic (Is a directory)."
        );
        for (name, value) in SETTINGS.iter().filter(|(name, _)| *name != "kernel/panic") {
            assert_eq!(
                &fs::read_to_string(folder.path().join(name)).unwrap(),
                value,
                "{name}"
            );
        }
        fs::remove_dir(folder.path().join("kernel/panic")).unwrap();
        fs::write(folder.path().join("kernel/panic"), "").unwrap();
        apply_to(folder.path()).unwrap();
    }
}
