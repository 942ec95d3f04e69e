//! A history in lines for a person, kept where somebody will read them.

use keyward_core::time::Timestamp;

/// The lines so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Log {
    lines: Option<Vec<String>>,
}

impl Log {
    /// Keeps nothing: most histories are never read.
    pub(crate) fn none() -> Self {
        Self::default()
    }

    /// Keeps every line.
    pub(crate) fn kept() -> Self {
        Self { lines: Some(Vec::new()) }
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.lines.is_some()
    }

    pub(crate) fn add(&mut self, at: Timestamp, line: String) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{at:?}  {line}"));
        }
    }

    pub(crate) fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }
}
