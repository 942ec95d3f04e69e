//! A small sorted set that lies in its owner: states are copied and hashed by the million.

use std::hash::{Hash, Hasher};

/// At most `N` different values, in order, so that equal sets are equal states.
#[derive(Debug, Clone, Copy)]
pub struct Set<T, const N: usize> {
    values: [Option<T>; N],
    len: u8,
}

impl<T: Copy + Ord, const N: usize> Set<T, N> {
    /// No values.
    pub const fn new() -> Self {
        Self { values: [None; N], len: 0 }
    }

    /// Adds a value that may be there already.
    ///
    /// # Panics
    ///
    /// Where there is no room: to leave a value out would leave runs out without a word.
    pub fn insert(&mut self, value: T) {
        let Err(at) = self.position(&value) else { return };
        assert!(self.len() < N, "a set of the model is too small for the bounds of the scenario");
        let len = self.len();
        self.values.copy_within(at..len, at + 1);
        self.values[at] = Some(value);
        self.len += 1;
    }

    /// Takes a value out, if it is there.
    pub fn remove(&mut self, value: &T) {
        self.retain(|other| other != value);
    }

    /// Keeps the values that `keep` names.
    pub fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        let before = *self;
        *self = Self::new();
        for value in before.iter().filter(|value| keep(value)) {
            self.values[self.len()] = Some(value);
            self.len += 1;
        }
    }

    /// Whether the value is there.
    pub fn contains(&self, value: &T) -> bool {
        self.position(value).is_ok()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All of them, the least first.
    pub fn iter(&self) -> impl Iterator<Item = T> + use<'_, T, N> {
        self.values[..self.len()].iter().flatten().copied()
    }

    fn position(&self, value: &T) -> Result<usize, usize> {
        self.values[..self.len()].binary_search(&Some(*value))
    }
}

impl<T: Copy + Ord, const N: usize> Default for Set<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Hash + Copy + Ord, const N: usize> Hash for Set<T, N> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.len.hash(state);
        for value in self.iter() {
            value.hash(state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_each_value_once_and_in_order() {
        let mut set = Set::<u8, 3>::new();
        for value in [7, 3, 7, 5] {
            set.insert(value);
        }
        assert_eq!(set.iter().collect::<Vec<_>>(), [3, 5, 7]);
        set.remove(&5);
        assert!(!set.contains(&5) && set.contains(&7));
        assert_eq!(set.len(), 2);
        set.retain(|value| *value > 9);
        assert!(set.is_empty());
    }

    #[test]
    #[should_panic(expected = "too small")]
    fn never_leaves_a_value_out() {
        let mut set = Set::<u8, 1>::new();
        set.insert(1);
        set.insert(2);
    }
}
