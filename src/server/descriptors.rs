//! Open files: takes all that the system allows this process, and tells how many connections fit. Never goes beyond the hard limit.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the store, the listeners and the runtime may need.
const OTHERS: u64 = 512;
/// A connection's socket, and the second handle that watches whether its client is still there.
const EACH: u64 = 2;

/// How many of the wanted connections the limit on open files has room for, after raising it as far as it goes. Fewer are told
/// to the log.
pub(super) fn connections(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let files = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let fit = fitting(wanted, files);
    if fit < wanted {
        tracing::warn!(
            open_files = files,
            connections = fit,
            "limits.connections is {wanted}, but the limit on open files has no room for so many: raise it (ulimit -Hn, LimitNOFILE)"
        );
    }
    fit
}

/// None for no limit. At least a few always.
fn fitting(wanted: usize, files: Option<u64>) -> usize {
    let room = files.map(|files| files.saturating_sub(OTHERS) / EACH);
    let room = room.map_or(usize::MAX, |room| usize::try_from(room).unwrap_or(usize::MAX));
    wanted.min(room.max(16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_cut_to_what_the_limit_on_files_has_room_for() {
        assert_eq!(fitting(10_000, None), 10_000);
        assert_eq!(fitting(10_000, Some(1 << 20)), 10_000);
        assert_eq!(fitting(10_000, Some(20_000)), 9_744);
        assert_eq!(fitting(10_000, Some(100)), 16);
    }
}
