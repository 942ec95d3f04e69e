//! Takes an input apart. Every input can be taken apart, however short it is.

/// What is left of an input.
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// All of it.
    pub(crate) const fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    /// The next `N` bytes; zeros where it has ended.
    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        let (taken, rest) = self.0.split_at(N.min(self.0.len()));
        bytes[..taken.len()].copy_from_slice(taken);
        self.0 = rest;
        bytes
    }

    /// The next byte as one of so many choices.
    pub(crate) fn choice(&mut self, count: usize) -> usize {
        usize::from(self.array::<1>()[0]) % count
    }

    /// Everything that was not taken.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.0
    }
}

/// The first line, and what follows it.
pub(crate) fn first_line(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, b""),
    }
}

/// The lines `name: value` of a text; what is no such line is left out.
pub(crate) fn header_lines(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    text.split(|byte| *byte == b'\n').filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        Some((&line[..colon], line[colon + 1..].trim_ascii()))
    })
}
