//! A network prefix of either family, held as its first bits.

use std::{net::IpAddr, str::FromStr};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    V4,
    V6,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefix {
    pub family: Family,
    pub length: u8,
    /// The address, left-aligned in 128 bits, host bits zero.
    pub bits: u128,
}

#[derive(Debug, PartialEq, Eq)]
pub struct NotAPrefix;

impl Family {
    pub fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

impl Prefix {
    pub fn first_address(&self) -> IpAddr {
        match self.family {
            Family::V4 => IpAddr::V4(((self.bits >> 96) as u32).into()),
            Family::V6 => IpAddr::V6(self.bits.into()),
        }
    }
}

/// The address, left-aligned in 128 bits.
pub fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()) << 96,
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// The first `length` bits.
pub fn mask(bits: u128, length: u8) -> u128 {
    bits & u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
}

impl FromStr for Prefix {
    type Err = NotAPrefix;

    /// Strict: a slash, a length of the family, no host bits.
    fn from_str(text: &str) -> Result<Self, NotAPrefix> {
        let (ip, length) = text.split_once('/').ok_or(NotAPrefix)?;
        let ip: IpAddr = ip.parse().map_err(|_| NotAPrefix)?;
        let length: u8 = length.parse().map_err(|_| NotAPrefix)?;
        let family = Family::of(ip);
        let bits = bits(ip);
        let longest = if family == Family::V4 { 32 } else { 128 };
        if length > longest || mask(bits, length) != bits { Err(NotAPrefix) } else { Ok(Self { family, length, bits }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_read_strictly() {
        for good in ["0.0.0.0/0", "10.2.0.0/24", "10.2.0.1/32", "::/0", "fd00::/8", "fd00::1/128"] {
            assert!(good.parse::<Prefix>().is_ok(), "{good}");
        }
        for bad in ["10.2.0.1/24", "10.2.0.0", "10.2.0.0/33", "fd00::1/64", "::/129", "x/8", "", "/"] {
            assert_eq!(bad.parse::<Prefix>(), Err(NotAPrefix), "{bad}");
        }
    }

    impl Prefix {
        /// The plain meaning of a prefix, to hold the tables to.
        pub fn contains(self, ip: IpAddr) -> bool {
            self.family == Family::of(ip) && mask(bits(ip), self.length) == self.bits
        }
    }

    #[test]
    fn containment_keeps_families_apart() {
        let all: Prefix = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains("10.0.0.1".parse().unwrap()));
        assert!(!all.contains("fd00::1".parse().unwrap()));
        let net: Prefix = "10.2.0.0/23".parse().unwrap();
        assert!(net.contains("10.2.1.255".parse().unwrap()));
        assert!(!net.contains("10.2.2.0".parse().unwrap()));
    }
}
