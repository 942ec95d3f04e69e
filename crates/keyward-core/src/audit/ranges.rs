//! Sets of ids of events, which are nearly without gaps.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Ids of events, rising, as the ranges that they make up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdRanges(Vec<RangeInclusive<i64>>);

impl IdRanges {
    /// How many ids there are.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|range| range.end().abs_diff(*range.start()).saturating_add(1)).sum()
    }

    /// The lowest id.
    pub fn first(&self) -> Option<i64> {
        self.0.first().map(|range| *range.start())
    }

    /// The highest id.
    pub fn last(&self) -> Option<i64> {
        self.0.last().map(|range| *range.end())
    }

    /// Every id, rising.
    pub fn iter(&self) -> impl Iterator<Item = i64> {
        self.0.iter().cloned().flatten()
    }
}

impl FromIterator<i64> for IdRanges {
    /// Takes ids as they rise; one that does not is left out.
    fn from_iter<T: IntoIterator<Item = i64>>(ids: T) -> Self {
        let mut ranges: Vec<RangeInclusive<i64>> = Vec::new();
        for id in ids {
            match ranges.last_mut() {
                Some(last) if id <= *last.end() => {}
                Some(last) if last.end().checked_add(1) == Some(id) => *last = *last.start()..=id,
                Some(_) | None => ranges.push(id..=id),
            }
        }
        Self(ranges)
    }
}

/// Such as `1-1000,1003`; nothing for none.
impl fmt::Display for IdRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, range) in self.0.iter().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            let (start, end) = (range.start(), range.end());
            if start == end {
                write!(f, "{comma}{start}")?;
            } else {
                write!(f, "{comma}{start}-{end}")?;
            }
        }
        Ok(())
    }
}

/// A text that names no ids, or not in their one form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidRanges;

impl fmt::Display for InvalidRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the text is not a list of ids like 1-1000,1003")
    }
}

impl std::error::Error for InvalidRanges {}

impl FromStr for IdRanges {
    type Err = InvalidRanges;

    /// Reads the form that is displayed, and no other.
    fn from_str(text: &str) -> Result<Self, InvalidRanges> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let range = |part: &str| {
            let (start, end) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| text.parse::<i64>().map_err(|_| InvalidRanges);
            Ok(number(start)?..=number(end)?)
        };
        let ranges = Self(text.split(',').map(range).collect::<Result<_, _>>()?);
        let rise = ranges.0.iter().all(|range| *range.start() > 0 && range.start() <= range.end());
        let is_apart = |end: &i64, start: &i64| end.checked_add(1).is_some_and(|id| id < *start);
        let apart = ranges.0.windows(2).all(|pair| is_apart(pair[0].end(), pair[1].start()));
        if rise && apart && ranges.to_string() == text { Ok(ranges) } else { Err(InvalidRanges) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_make_up_ranges_with_one_text() {
        for (ids, text, count) in [
            (&[][..], "", 0),
            (&[7], "7", 1),
            (&[1, 2, 3], "1-3", 3),
            (&[1, 2, 4, 6, 7, 9], "1-2,4,6-7,9", 6),
        ] {
            let ranges: IdRanges = ids.iter().copied().collect();
            assert_eq!(ranges.to_string(), text);
            assert_eq!(ranges.count(), count);
            assert_eq!(ranges.iter().collect::<Vec<_>>(), ids);
            assert_eq!(text.parse(), Ok(ranges));
        }
    }

    #[test]
    fn no_other_text_is_read() {
        for text in [
            ",", "-", "1-", "0", "2-1", "1,1", "1,2", "3,1", "1-2,2", "01", "1 ", "+1", "5-5", "-3",
        ] {
            assert_eq!(text.parse::<IdRanges>(), Err(InvalidRanges), "{text:?}");
        }
        let no_end = format!("1-{},5", i64::MAX);
        assert_eq!(no_end.parse::<IdRanges>(), Err(InvalidRanges));
        assert_eq!(format!("1,{}", i64::MAX).parse::<IdRanges>().map(|ids| ids.count()), Ok(2));
    }
}
