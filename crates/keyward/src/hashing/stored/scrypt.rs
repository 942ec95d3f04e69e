//! scrypt as passlib, Django, Werkzeug and the PHC string format write it.

use super::{from_base64, from_hex, is_equal, is_output, number};

/// A hash with what it was made from.
pub(in crate::hashing) struct Scrypt {
    pub(super) cost: ScryptCost,
    salt: Vec<u8>,
    output: Vec<u8>,
}

/// What one scrypt takes: `N` as a power of two, `r` and `p`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ScryptCost {
    pub(super) log_n: u8,
    pub(super) r: u32,
    pub(super) p: u32,
}

impl ScryptCost {
    /// Reads `ln=16,r=8,p=1`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(',');
        let mut named = |name: &str| number(parts.next()?.strip_prefix(name)?);
        let (log_n, r, p) = (named("ln=")?, named("r=")?, named("p=")?);
        let cost = Self { log_n: u8::try_from(log_n).ok()?, r, p };
        parts.next().is_none().then_some(cost)
    }

    fn of_n(n: &str, r: &str, p: &str) -> Option<Self> {
        let n = number(n)?;
        let log_n = u8::try_from(n.ilog2()).ok().filter(|_| n.is_power_of_two() && n > 1)?;
        Some(Self { log_n, r: number(r)?, p: number(p)? })
    }

    pub(super) fn is_bounded(self) -> bool {
        (1..=LOG_N_MAX).contains(&self.log_n)
            && (1..=R_AND_P_MAX).contains(&self.r)
            && (1..=R_AND_P_MAX).contains(&self.p)
            && (u64::from(self.r) << self.log_n) <= N_R_MAX
            && (u64::from(self.r) * u64::from(self.p)) << self.log_n <= N_R_P_MAX
    }

    /// Of a bounded cost.
    pub(super) fn memory_kib(self) -> u32 {
        u32::try_from((u64::from(self.r) << self.log_n) / 8).unwrap_or(u32::MAX)
    }

    /// Derives as many bytes as `output` has. Of a bounded cost.
    pub(super) fn derive(self, password: &[u8], salt: &[u8], output: &mut [u8]) {
        let params = scrypt::Params::new(self.log_n, self.r, self.p)
            .expect("a bounded cost is within what scrypt allows");
        scrypt::scrypt(password, salt, &params, output)
            .expect("an output is not empty, and shorter than 128 bytes");
    }
}

impl Scrypt {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let hash = if let Some(rest) = text.strip_prefix("$scrypt$") {
            Self::parse_modular(rest)
        } else if let Some(rest) = text.strip_prefix("scrypt$") {
            Self::parse_django(rest)
        } else {
            Self::parse_werkzeug(text.strip_prefix("scrypt:")?)
        }?;
        is_output(&hash.output).then_some(hash)
    }

    /// `$scrypt$ln=16,r=8,p=1$salt$hash`.
    fn parse_modular(rest: &str) -> Option<Self> {
        let parts: Vec<&str> = rest.split('$').collect();
        let [cost, salt, output] = parts[..] else { return None };
        let (salt, output) = (from_base64(salt)?, from_base64(output)?);
        Some(Self { cost: ScryptCost::parse(cost)?, salt, output })
    }

    /// `scrypt$16384$salt$8$5$hash`, whose salt is hashed as it is written.
    fn parse_django(rest: &str) -> Option<Self> {
        let parts: Vec<&str> = rest.split('$').collect();
        let [n, salt, r, p, output] = parts[..] else { return None };
        let cost = ScryptCost::of_n(n, r, p)?;
        Some(Self { cost, salt: salt.into(), output: from_base64(output)? })
    }

    /// `scrypt:32768:8:1$salt$hash`, whose hash is in hexadecimal.
    fn parse_werkzeug(rest: &str) -> Option<Self> {
        let parts: Vec<&str> = rest.split('$').collect();
        let [method, salt, output] = parts[..] else { return None };
        let method: Vec<&str> = method.split(':').collect();
        let [n, r, p] = method[..] else { return None };
        let cost = ScryptCost::of_n(n, r, p)?;
        Some(Self { cost, salt: salt.into(), output: from_hex(output)? })
    }

    pub(in crate::hashing) fn verify(&self, password: &[u8]) -> bool {
        let mut output = vec![0; self.output.len()];
        self.cost.derive(password, &self.salt, &mut output);
        is_equal(&output, &self.output)
    }
}

const LOG_N_MAX: u8 = 24;
const R_AND_P_MAX: u32 = 1024;
/// 128 bytes each: 256 MiB.
const N_R_MAX: u64 = 1 << 21;
/// About two seconds.
const N_R_P_MAX: u64 = 1 << 22;
