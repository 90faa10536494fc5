//! What the kernel says of this process and its machine. On a system without `/proc` what is read there is zero.

use std::time::Duration;

/// Processor time that the process has used.
pub(crate) fn cpu_time() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(used.tv_sec.unsigned_abs(), u32::try_from(used.tv_nsec).unwrap_or_default())
}

/// Bytes of memory that the process has in use.
pub(crate) fn resident_bytes() -> u64 {
    kilobytes("/proc/self/status", "VmRSS:").saturating_mul(1_024)
}

/// Bytes of memory that the machine has.
pub(crate) fn machine_bytes() -> u64 {
    kilobytes("/proc/meminfo", "MemTotal:").saturating_mul(1_024)
}

/// Files and sockets that the process has open.
pub(crate) fn open_files() -> u64 {
    std::fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64)
}

/// The machine's name; `localhost` when it has none.
pub(crate) fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Some(name.trim()).filter(|name| !name.is_empty()).unwrap_or("localhost").to_owned()
}

/// The number behind a name in one of the kernel's files.
fn kilobytes(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_takes_something_of_what_the_machine_has() {
        assert!(cpu_time() > Duration::ZERO);
        assert!((1..machine_bytes()).contains(&resident_bytes()));
        assert!(open_files() > 0);
        assert!(!host_name().is_empty() && !host_name().contains(char::is_whitespace));
    }
}
