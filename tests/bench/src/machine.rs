//! The machine that the figures are of, in one line.

use std::path::Path;

/// Processor, cores, memory, file system and kernel, as far as the system tells.
pub(crate) fn line(work: &Path) -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let after_colon = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned())).unwrap_or_else(|| "unknown".to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let kib = after_colon(&read("/proc/meminfo"), "MemTotal");
    let memory =
        kib.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_default() / 1_048_576.0;
    format!(
        "{}, {cores} cores shared by server and clients, {memory:.0} GiB memory, {}, Linux {}, load before {}",
        after_colon(&read("/proc/cpuinfo"), "model name"),
        file_system(&read("/proc/mounts"), work).unwrap_or_else(|| "unknown file system".to_owned()),
        read("/proc/sys/kernel/osrelease").trim(),
        read("/proc/loadavg").split_whitespace().next().unwrap_or("unknown"),
    )
}

/// The file system that a folder is on, with its device.
fn file_system(mounts: &str, folder: &Path) -> Option<String> {
    let fields = mounts.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?, words.next()?, words.next()?))
    });
    let above = fields.filter(|(_, place, _)| folder.starts_with(place));
    let (device, _, kind) = above.max_by_key(|(_, place, _)| place.len())?;
    Some(format!("{kind} on {device}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_counts() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /x/y tmpfs rw 0 0\n";
        assert_eq!(file_system(mounts, Path::new("/x/y/z")).as_deref(), Some("tmpfs on tmpfs"));
        assert_eq!(file_system(mounts, Path::new("/x/yz")).as_deref(), Some("ext4 on /dev/a"));
    }
}
