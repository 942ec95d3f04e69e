//! Randomness, as an argument: the service draws it only through an [`Entropy`].

use std::fmt::Debug;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};

/// Gives unpredictable bytes.
pub trait Entropy: Send + Sync + Debug {
    /// Fills `bytes`. Every byte is fresh: none may come from a buffer that a fork or a snapshot of
    /// the machine would hand out twice.
    fn fill(&self, bytes: &mut [u8]);
}

/// So many fresh bytes.
pub fn array<const N: usize>(entropy: &dyn Entropy) -> [u8; N] {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes);
    bytes
}

/// The generator of the cryptographic library, seeded by the operating system.
#[derive(Debug, Clone, Default)]
pub struct SystemEntropy(SystemRandom);

impl SystemEntropy {
    /// The generator; costs nothing.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Entropy for SystemEntropy {
    /// # Panics
    ///
    /// Where the operating system has no randomness to give. No token, salt or id made after that
    /// could be trusted, so there is nothing safe to fall back to.
    fn fill(&self, bytes: &mut [u8]) {
        self.0.fill(bytes).expect("the operating system gives randomness");
    }
}

/// For tests only. What is made from it can be guessed by anyone.
pub mod danger_for_tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use aws_lc_rs::digest;

    use super::Entropy;

    /// The same bytes in the same order for the same seed; none of them twice.
    #[derive(Debug)]
    pub struct SeededEntropy {
        seed: u64,
        blocks: AtomicU64,
    }

    impl SeededEntropy {
        /// Starts at the first byte of this seed.
        pub const fn new(seed: u64) -> Self {
            Self { seed, blocks: AtomicU64::new(0) }
        }
    }

    impl Entropy for SeededEntropy {
        fn fill(&self, bytes: &mut [u8]) {
            for chunk in bytes.chunks_mut(digest::SHA256_OUTPUT_LEN) {
                let block = self.blocks.fetch_add(1, Ordering::SeqCst);
                let input = [self.seed.to_le_bytes(), block.to_le_bytes()].concat();
                let output = digest::digest(&digest::SHA256, &input);
                chunk.copy_from_slice(&output.as_ref()[..chunk.len()]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::danger_for_tests::SeededEntropy;
    use super::*;

    #[test]
    fn the_systems_bytes_differ_each_time() {
        let entropy = SystemEntropy::new();
        assert_ne!(array::<32>(&entropy), array::<32>(&entropy));
    }

    #[test]
    fn seeded_bytes_repeat_with_their_seed_only() {
        let (one, same, other) =
            (SeededEntropy::new(1), SeededEntropy::new(1), SeededEntropy::new(2));
        let first = array::<48>(&one);
        assert_eq!(first, array::<48>(&same));
        assert_ne!(first, array::<48>(&one));
        assert_ne!(first, array::<48>(&other));
        assert_ne!(first[..16], first[32..]);
    }
}
