//! The alphabet of the binary forms: bytes, little-endian base-128 numbers, 128-bit ids, runs of offsets. Reading is strict: one
//! value has one form, what is left over is an error, and nothing is allocated that the bytes at hand could not fill.

use crate::domain::subscription::Run;
use crate::domain::{Error, Offset, Result};
use bytes::{BufMut, Bytes, BytesMut};

/// Collects bytes.
#[derive(Debug, Default)]
pub(super) struct Writer(BytesMut);

impl Writer {
    pub(super) fn byte(&mut self, byte: u8) {
        self.0.put_u8(byte);
    }

    pub(super) fn fixed(&mut self, number: u64) {
        self.0.put_u64_le(number);
    }

    pub(super) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.put_u8((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.put_u8((number & 0x7f) as u8);
    }

    pub(super) fn id(&mut self, id: u128) {
        self.0.put_u128_le(id);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.put_slice(bytes);
    }

    /// A run as its distance from `after`, where the one before it ended, and its length.
    pub(super) fn run(&mut self, after: Offset, run: Run) {
        self.number(run.first.since(after));
        self.number(run.count());
    }

    /// Sorted runs that do not touch.
    pub(super) fn runs(&mut self, runs: &[Run]) {
        self.number(runs.len() as u64);
        let mut after = Offset(0);
        for run in runs {
            self.run(after, *run);
            after = run.next;
        }
    }

    pub(super) fn finish(self) -> Bytes {
        self.0.freeze()
    }
}

/// Takes bytes apart again. `what` names the form in errors.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    /// The error for bytes that are not what they should be.
    pub(super) fn damaged(&self, why: &str) -> Error {
        Error::Damaged(format!("{}: {why}, {} bytes before its end", self.what, self.rest.len()))
    }

    pub(super) fn rest(&self) -> usize {
        self.rest.len()
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk::<N>().ok_or_else(|| self.damaged("it is cut short"))?;
        self.rest = rest;
        Ok(*array)
    }

    pub(super) fn byte(&mut self) -> Result<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn fixed(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn id(&mut self) -> Result<u128> {
        self.array().map(u128::from_le_bytes)
    }

    pub(super) fn number(&mut self) -> Result<u64> {
        let mut number: u64 = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let low = u64::from(byte & 0x7f);
            if low << shift >> shift != low || (byte == 0 && shift > 0) {
                return Err(self.damaged("a number is not in its one form"));
            }
            number |= low << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(self.damaged("a number is too long"))
    }

    pub(super) fn small(&mut self) -> Result<u32> {
        let number = self.number()?;
        u32::try_from(number).map_err(|_| self.damaged("a number is too large"))
    }

    /// How many things follow that take at least `least` bytes each.
    pub(super) fn count(&mut self, least: usize) -> Result<usize> {
        let count = self.number()?;
        let fits = |count: &usize| count.checked_mul(least).is_some_and(|bytes| bytes <= self.rest.len());
        usize::try_from(count).ok().filter(fits).ok_or_else(|| self.damaged("it counts more than it holds"))
    }

    /// A run, given where the one before it ended.
    pub(super) fn run(&mut self, after: Offset) -> Result<Run> {
        let (gap, count) = (self.number()?, self.number()?);
        let first = after.0.checked_add(gap);
        let next = first.and_then(|first| first.checked_add(count));
        match (first, next) {
            (Some(first), Some(next)) if first < next => Ok(Run { first: Offset(first), next: Offset(next) }),
            _ => Err(self.damaged("a run of offsets is empty or too long")),
        }
    }

    pub(super) fn runs(&mut self) -> Result<Vec<Run>> {
        let count = self.count(2)?;
        let mut runs: Vec<Run> = Vec::with_capacity(count);
        for _ in 0..count {
            let last = runs.last().map(|run| run.next);
            let run = self.run(last.unwrap_or_default())?;
            if last == Some(run.first) {
                return Err(self.damaged("two runs of offsets touch"));
            }
            runs.push(run);
        }
        Ok(runs)
    }

    /// The end: nothing may be left.
    pub(super) fn finish(self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.damaged("more follows than belongs to it")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_length_read_back_and_have_one_form() {
        for number in (0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit]).chain([u64::MAX]) {
            let mut writer = Writer::default();
            writer.number(number);
            let bytes = writer.finish();
            assert_eq!(Reader::new(&bytes, "test").number(), Ok(number));
        }
        let too_long = [0xff; 10];
        let padded = [0x80, 0x00];
        let too_large = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        for wrong in [&too_long[..], &padded, &too_large, &[0x80]] {
            assert!(Reader::new(wrong, "test").number().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_count_beyond_the_bytes_at_hand_is_refused() {
        assert!(Reader::new(&[3, 1, 1, 1, 1, 1], "test").runs().is_err());
        assert!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x0f], "test").count(1).is_err());
    }

    #[test]
    fn runs_that_touch_are_empty_or_overflow_are_refused() {
        assert!(Reader::new(&[2, 0, 1, 1, 1], "test").runs().is_ok());
        assert!(Reader::new(&[2, 0, 1, 0, 1], "test").runs().is_err());
        assert!(Reader::new(&[1, 0, 0], "test").runs().is_err());
        let mut overflowing = vec![1, 1];
        overflowing.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
        assert!(Reader::new(&overflowing, "test").runs().is_err());
    }
}
