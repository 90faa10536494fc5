//! Times as Zaqar writes and reads them: UTC, to the second.

use crate::domain::Timestamp;
use chrono::{DateTime, NaiveDate, NaiveDateTime};
use std::time::Duration;

/// What may stand for a time beside RFC 3339; without an offset it is UTC.
const PLAIN: [&str; 4] = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];
const WITH_OFFSET: &str = "%Y-%m-%dT%H:%M:%S%.f%z";

/// Writes a time as `YYYY-MM-DDTHH:MM:SS`.
pub(crate) fn write(time: Timestamp) -> String {
    let seconds = i64::try_from(time.seconds()).unwrap_or(i64::MAX);
    DateTime::from_timestamp(seconds, 0).unwrap_or_default().format("%Y-%m-%dT%H:%M:%S").to_string()
}

/// Reads an ISO 8601 time; times before 1970 are 1970. None for what is none.
pub(crate) fn read(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let zoned = DateTime::parse_from_rfc3339(text).or_else(|_| DateTime::parse_from_str(text, WITH_OFFSET));
    let utc = zoned.map(|time| time.to_utc()).ok().or_else(|| {
        let plain = PLAIN.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
        let date = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
        plain.or_else(date).map(|time| time.and_utc())
    })?;
    Some(Timestamp(u64::try_from(utc.timestamp_micros()).unwrap_or(0)))
}

/// Whole seconds of a length that was given in seconds and measured between two clock readings.
pub(crate) fn seconds(length: Duration) -> u64 {
    length.saturating_add(Duration::from_millis(500)).as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_in_all_its_forms_and_written_in_one() {
        for text in [
            "2030-01-02T03:04:05",
            "2030-01-02T03:04:05.999999",
            "2030-01-02T03:04:05Z",
            "2030-01-02 03:04:05",
            "2030-01-02T05:04:05+02:00",
            "2030-01-02T05:04:05+0200",
        ] {
            assert_eq!(read(text).map(write).as_deref(), Some("2030-01-02T03:04:05"), "{text}");
        }
        assert_eq!(read("2030-01-02").map(write).as_deref(), Some("2030-01-02T00:00:00"));
        assert_eq!(read("1900-01-01T00:00:00"), Some(Timestamp(0)));
        for wrong in ["", "nope", "12345", "2030-13-01T00:00:00", "2030-01-01T25:00:00"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
