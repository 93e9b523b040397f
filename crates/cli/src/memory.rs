//! The most memory that the process has held.

/// The largest resident size of the process so far in bytes, where the
/// operating system tells: Linux does, in `/proc/self/status` (`man 5 proc`).
pub(crate) fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
