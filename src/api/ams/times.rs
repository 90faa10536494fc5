//! Times as AMS writes and reads them: UTC, RFC 3339 with `Z`.

use crate::domain::{Day, Timestamp};
use chrono::{DateTime, Datelike, NaiveDate, Timelike};

/// Writes a time: seconds, then up to six digits of a fraction without zeros at its end, nothing for none.
pub(crate) fn write(time: Timestamp, out: &mut Vec<u8>) {
    let micros = i64::try_from(time.0).unwrap_or(i64::MAX);
    let time = DateTime::from_timestamp_micros(micros).unwrap_or_default();
    // Digit by digit: this runs once for each message given out.
    digits(time.year().unsigned_abs(), 4, out);
    for (separator, value) in
        [(b'-', time.month()), (b'-', time.day()), (b'T', time.hour()), (b':', time.minute()), (b':', time.second())]
    {
        out.push(separator);
        digits(value, 2, out);
    }
    let fraction = time.timestamp_subsec_micros();
    if fraction > 0 {
        out.push(b'.');
        digits(fraction, 6, out);
        let zeros = out.iter().rev().take_while(|digit| **digit == b'0').count();
        out.truncate(out.len() - zeros);
    }
    out.push(b'Z');
}

/// An instant in whole seconds.
pub(crate) fn seconds(time: Timestamp) -> String {
    let mut text = Vec::with_capacity(20);
    write(Timestamp(time.0 - time.0 % 1_000_000), &mut text);
    String::from_utf8(text).unwrap_or_default()
}

/// A day as `YYYY-MM-DD`.
pub(crate) fn day(day: Day) -> String {
    let mut text = seconds(day.start());
    text.truncate(10);
    text
}

/// Reads `YYYY-MM-DD`, nothing shorter or longer.
pub(crate) fn read_date(text: &str) -> Option<NaiveDate> {
    let mut parts = text.split('-');
    let (year, month, day) =
        (number(parts.next()?, 4..=4)?, number(parts.next()?, 2..=2)?, number(parts.next()?, 2..=2)?);
    if parts.next().is_some() { None } else { NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day) }
}

/// Writes the last `count` decimal digits of a value.
fn digits(value: u32, count: u32, out: &mut Vec<u8>) {
    for place in (0..count).rev() {
        let digit = value / 10_u32.pow(place) % 10;
        out.push(b'0' + u8::try_from(digit).unwrap_or_default());
    }
}

/// Reads `YYYY-MM-DDTHH:MM:SS.mmmZ`: exactly three fraction digits; the hour may have one digit, `,` may stand for the dot, a blank
/// for the `T`. Times before 1970 are 1970: no message is older.
pub(crate) fn read(text: &str) -> Option<Timestamp> {
    let (date, time) = text.split_once(['T', ' '])?;
    let date = read_date(date)?;
    let (clock, fraction) = time.strip_suffix('Z')?.split_once(['.', ','])?;
    let mut clock = clock.split(':');
    let (hour, minute) = (number(clock.next()?, 1..=2)?, number(clock.next()?, 2..=2)?);
    let second = number(clock.next()?, 2..=2)?;
    let millis = number(fraction, 3..=3)?;
    if clock.next().is_some() {
        return None;
    }
    let time = date.and_hms_milli_opt(hour, minute, second, millis)?.and_utc();
    Some(Timestamp(u64::try_from(time.timestamp_micros()).unwrap_or(0)))
}

/// A number of so many decimal digits.
fn number(text: &str, length: std::ops::RangeInclusive<usize>) -> Option<u32> {
    if length.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(micros: u64) -> String {
        let mut out = Vec::new();
        write(Timestamp(micros), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn times_are_written_without_zeros_at_the_end() {
        assert_eq!(written(0), "1970-01-01T00:00:00Z");
        assert_eq!(written(1_704_164_645_000_000), "2024-01-02T03:04:05Z");
        assert_eq!(written(1_704_164_645_120_000), "2024-01-02T03:04:05.12Z");
        assert_eq!(written(1_704_164_645_000_001), "2024-01-02T03:04:05.000001Z");
        assert_eq!(written(951_782_399_999_999), "2000-02-28T23:59:59.999999Z");
    }

    #[test]
    fn days_are_written_and_read_in_one_form() {
        assert_eq!(day(Day(19_844)), "2024-05-01");
        assert_eq!(read_date("2024-05-01"), NaiveDate::from_ymd_opt(2024, 5, 1));
        for wrong in ["", "2024-5-1", "2024-05-01T00:00:00Z", "2024-05-01-", "2023-02-29", "24-05-01", " 2024-05-01"] {
            assert_eq!(read_date(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_are_read_in_the_one_form_and_its_tolerated_variants() {
        let expected = Some(Timestamp(1_704_164_645_123_000));
        for right in ["2024-01-02T03:04:05.123Z", "2024-01-02 03:04:05.123Z", "2024-01-02T3:04:05,123Z"] {
            assert_eq!(read(right), expected, "{right}");
        }
        assert_eq!(read("1969-12-31T23:59:59.999Z"), Some(Timestamp::EPOCH));
        assert_eq!(read("2024-02-29T00:00:00.000Z"), Some(Timestamp(1_709_164_800_000_000)));
        for wrong in [
            "",
            "2024-01-02T03:04:05Z",
            "2024-01-02T03:04:05.12Z",
            "2024-01-02T03:04:05.1234Z",
            "2024-01-02T03:04:05.123",
            "2024-01-02T03:04:05.123+00:00",
            "2024-01-02t03:04:05.123z",
            "2024-1-02T03:04:05.123Z",
            "2023-02-29T00:00:00.000Z",
            "2024-13-01T00:00:00.000Z",
            "2024-01-02T24:00:00.000Z",
            "2024-01-02T03:60:05.123Z",
            "2024-01-02T03:04:60.123Z",
            "2024-01-02T03:04:05.123ZZ",
            "2024-01-02-03T03:04:05.123Z",
            "+024-01-02T03:04:05.123Z",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
