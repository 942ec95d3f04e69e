//! A quick hash for states and questions, which are hashed by the hundred million. Nobody chooses
//! them to collide, so it need not withstand an attacker.

use std::hash::{BuildHasherDefault, Hasher};

/// Folds each number in by a multiplication to 128 bits.
#[derive(Debug, Clone)]
pub struct Mix(u64);

/// Makes them.
pub type BuildMix = BuildHasherDefault<Mix>;

impl Mix {
    fn fold(&mut self, number: u64) {
        let product = u128::from(self.0 ^ number) * u128::from(FACTOR);
        // The upper half has the carries, the lower one every bit of the input.
        self.0 = (product >> 64) as u64 ^ product as u64 ^ number.rotate_left(17);
    }
}

impl Default for Mix {
    fn default() -> Self {
        Self(START)
    }
}

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        let mut last = self.clone();
        last.fold(START);
        last.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut number = [0; 8];
            number[..chunk.len()].copy_from_slice(chunk);
            self.fold(u64::from_le_bytes(number));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.fold(number.into());
    }

    fn write_u16(&mut self, number: u16) {
        self.fold(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.fold(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.fold(number as u64);
    }

    fn write_isize(&mut self, number: isize) {
        self.fold(number as u64);
    }
}

const START: u64 = 0x9E37_79B9_7F4A_7C15;
const FACTOR: u64 = 0xD6E8_FEB8_6659_FD93;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::Hash;

    use super::*;

    #[test]
    fn neighbours_differ_in_every_part_of_the_hash() {
        let mut hashes = HashSet::new();
        let (mut low, mut high) = (HashSet::new(), HashSet::new());
        for a in 0..=255_u8 {
            for b in 0..=255_u16 {
                let mut mix = Mix::default();
                (a, b, [0_u8; 3], a == 7).hash(&mut mix);
                let hash = mix.finish();
                hashes.insert(hash);
                low.insert(hash % (1 << 20));
                high.insert(hash >> 44);
            }
        }
        assert_eq!(hashes.len(), 1 << 16);
        // Of 65,536 random numbers below 2^20, some 63,500 are different.
        assert!(low.len() > 63_000 && high.len() > 63_000, "{} {}", low.len(), high.len());
    }
}
