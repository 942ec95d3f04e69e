//! Argon2 in its stored form: `$argon2id$v=19$m=19456,t=2,p=1$salt$hash` (the PHC string format).

use std::fmt;
use std::time::Duration;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Params, Version};

use crate::policy::HashingPolicy;

/// What one hash costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cost {
    pub(super) memory_kib: u32,
    pub(super) passes: u32,
    pub(super) lanes: u32,
}

impl Cost {
    pub(super) fn of(policy: &HashingPolicy) -> Self {
        let HashingPolicy { memory_kib, passes, lanes, .. } = *policy;
        Self { memory_kib, passes, lanes }
    }

    /// The cost itself, if Argon2 allows it and one hash cannot exhaust the machine.
    pub(super) fn within_bounds(self) -> Option<Self> {
        let bounded = self.memory_kib <= HashingPolicy::MEMORY_KIB_MAX
            && self.passes <= HashingPolicy::PASSES_MAX
            && self.lanes <= HashingPolicy::LANES_MAX;
        let allowed = Params::new(self.memory_kib, self.passes, self.lanes, None).is_ok();
        (bounded && allowed).then_some(self)
    }

    /// About how long one hash takes: a pass over a gigabyte in somewhat more than a second.
    pub(super) fn estimate(self) -> Duration {
        Duration::from_micros(u64::from(self.memory_kib) * u64::from(self.passes) * 6 / 5)
    }
}

/// A hash with what it was made from, apart from the password.
pub(super) struct Phc {
    /// Ours are Argon2id.
    algorithm: Algorithm,
    /// Ours are of version 19.
    version: Version,
    /// Within bounds.
    pub(super) cost: Cost,
    /// 8 to 48 bytes.
    pub(super) salt: Vec<u8>,
    /// 10 to 64 bytes.
    pub(super) output: Vec<u8>,
}

impl Phc {
    /// A hash of ours that is yet to be made: its output is all zeros.
    pub(super) fn ours(cost: Cost, salt: Vec<u8>) -> Self {
        let (algorithm, version) = (Algorithm::Argon2id, Version::V0x13);
        Self { algorithm, version, cost, salt, output: vec![0; OUTPUT_BYTES] }
    }

    /// Reads a PHC string of ours. `None` where it is malformed, of another algorithm or version,
    /// or out of bounds: a row that someone wrote to must not exhaust memory or be matched by a
    /// short output.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::parse_any(text).filter(Self::is_ours)
    }

    /// As [`Phc::parse`], of any algorithm and version of Argon2.
    pub(super) fn parse_any(text: &str) -> Option<Self> {
        let parsed = PasswordHash::new(text).ok()?;
        let algorithm = Algorithm::try_from(parsed.algorithm.as_str()).ok()?;
        // Version 16 was before there were numbers.
        let version = Version::try_from(parsed.version.unwrap_or(Version::V0x10.into())).ok()?;
        let number = |name| parsed.params.get_decimal(name);
        let cost = Cost { memory_kib: number("m")?, passes: number("t")?, lanes: number("p")? };
        // A further parameter would change the output in a way that is not known here.
        if parsed.params.iter().count() != 3 {
            return None;
        }
        let (salt, output) = (parsed.salt?.to_vec(), parsed.hash?.as_bytes().to_vec());
        let cost = cost.within_bounds()?;
        let is_salted = salt.len() >= argon2::MIN_SALT_LEN;
        is_salted.then_some(Self { algorithm, version, cost, salt, output })
    }

    /// Whether new hashes are made by the same function, whatever they cost.
    fn is_ours(&self) -> bool {
        self.algorithm == Algorithm::Argon2id && self.version == Version::V0x13
    }

    /// The hash function at this cost and output length.
    pub(super) fn argon2(&self) -> Argon2<'static> {
        let Cost { memory_kib, passes, lanes } = self.cost;
        let params = Params::new(memory_kib, passes, lanes, Some(self.output.len()))
            .expect("the cost is within bounds, and so is the output's length");
        Argon2::new(self.algorithm, self.version, params)
    }
}

impl fmt::Display for Phc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cost { memory_kib, passes, lanes } = self.cost;
        let params: ParamsString =
            format!("m={memory_kib},t={passes},p={lanes}").parse().map_err(|_| fmt::Error)?;
        let hash = PasswordHash {
            algorithm: self.algorithm.ident(),
            version: Some(self.version.into()),
            params,
            salt: Some(Salt::new(&self.salt).map_err(|_| fmt::Error)?),
            hash: Some(Output::new(&self.output).map_err(|_| fmt::Error)?),
        };
        hash.fmt(f)
    }
}

const OUTPUT_BYTES: usize = 32;
