//! What a store knows of a secret that is presented to it: enough to find its record by, and
//! nothing that could be presented in its place.

use std::cmp::Ordering;
use std::fmt;
use std::marker::PhantomData;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;

/// A secret of which only the [`SecretHash`] is stored.
pub trait Secret {
    /// What `Debug` shows in place of the secret.
    const NAME: &'static str;
}

/// SHA-256 over a secret of the kind `S`, which is random enough for it. The hash opens nothing,
/// yet it stays out of logs: with it a log would name the secret's row.
///
/// Equality takes constant time. The order is for collections in memory.
pub struct SecretHash<S>([u8; 32], PhantomData<fn() -> S>);

impl<S> SecretHash<S> {
    /// A hash as a store holds it.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes, PhantomData)
    }

    /// The bytes that a store holds.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The hash over these parts, one behind the other. No two secrets may have the same bytes.
    pub(crate) fn over(parts: &[&[u8]]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in parts {
            context.update(part);
        }
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.finish().as_ref());
        Self::from_bytes(bytes)
    }
}

// Derived, these would ask the same of the secret itself.

impl<S> Clone for SecretHash<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for SecretHash<S> {}

impl<S> PartialEq for SecretHash<S> {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl<S> Eq for SecretHash<S> {}

impl<S> PartialOrd for SecretHash<S> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<S> Ord for SecretHash<S> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl<S: Secret> fmt::Debug for SecretHash<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}Hash", S::NAME)
    }
}
