//! What this process may have of the machine.

use net::listener::Limits;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::fs;

/// D18: descriptors kept for the store, deliveries and the process itself.
const DESCRIPTORS_RESERVED: usize = 64;
/// When the kernel does not say: the smaller kind of box.
const MEMORY_OCTETS_ASSUMED: u64 = 512 * 1024 * 1024;

/// Raises the soft limit of open files to the hard one, and lowers `limits` to what that allows.
pub(crate) fn fit_descriptors(limits: Limits) -> Limits {
    let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return limits;
    };
    if let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
    let soft = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
    let connections = usize::try_from(soft)
        .unwrap_or(usize::MAX)
        .saturating_sub(DESCRIPTORS_RESERVED);
    if connections < limits.connections_max {
        tracing::warn!(
            connections,
            "fewer connections than wanted: there may be only so many open files"
        );
    }
    Limits {
        connections_max: limits.connections_max.min(connections.max(1)),
        ..limits
    }
}

/// The memory of this machine.
pub(crate) fn memory_octets() -> u64 {
    fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| total_in_meminfo(&text))
        .unwrap_or(MEMORY_OCTETS_ASSUMED)
}

fn total_in_meminfo(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Workers of the runtime: two at least, so that one read from a slow card does not stop every session
/// (D19); four at most, as many as our boards have cores.
pub(crate) fn workers() -> usize {
    std::thread::available_parallelism()
        .map_or(2, usize::from)
        .clamp(2, 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_is_read_from_what_the_kernel_says() {
        let text = "MemTotal:         948280 kB\nMemFree:          100000 kB\n";
        assert_eq!(total_in_meminfo(text), Some(948_280 * 1024));
        assert_eq!(total_in_meminfo("MemFree: 1 kB\n"), None);
        assert!(memory_octets() > 0);
    }

    /// D18
    #[test]
    fn d18_connections_leave_descriptors_for_the_store() {
        let wanted = Limits {
            connections_max: usize::MAX,
            connections_per_address_max: 7,
        };
        let fitted = fit_descriptors(wanted);
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or_default();
        assert_eq!(soft, hard);
        assert_eq!(fitted.connections_max as u64 + DESCRIPTORS_RESERVED as u64, soft);
        assert_eq!(fitted.connections_per_address_max, 7);
    }
}
