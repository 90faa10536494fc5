//! Networks: addresses that share their first bits, as configurations name them.

use std::net::IpAddr;

/// Addresses that share their first bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Reads `address/bits`, or an address alone; none for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(width), |bits| bits.parse().ok().filter(|bits| *bits <= width))?;
        Some(Self { address, bits })
    }

    /// Reads networks with commas or blanks between them; the first text that is none is answered instead.
    ///
    /// # Errors
    /// That text.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, String> {
        let words = text.split([',', ' ']).filter(|word| !word.is_empty());
        words.map(|word| Self::parse(word).ok_or_else(|| word.to_owned())).collect()
    }

    /// Whether an address is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let same = |one: u128, other: u128, width: u32| {
            let free = width.saturating_sub(u32::from(self.bits));
            one.checked_shr(free).unwrap_or(0) == other.checked_shr(free).unwrap_or(0)
        };
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => same(u128::from(own.to_bits()), u128::from(other.to_bits()), 32),
            (IpAddr::V6(own), IpAddr::V6(other)) => same(own.to_bits(), other.to_bits(), 128),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_network_is_named() {
        assert_eq!(Network::parse_all(""), Ok(Vec::new()));
        for wrong in ["10.0.0.0/33", "::/129", "localhost", "10.0.0.0/", "10.0.0/8", "/8", "10.0.0.0/-1"] {
            assert_eq!(Network::parse_all(&format!("10.0.0.0/8,{wrong}")), Err(wrong.to_owned()));
        }
    }
}
