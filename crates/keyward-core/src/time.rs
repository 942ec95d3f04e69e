//! A point in time, and lengths of time, as plain numbers.

use std::fmt;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Milliseconds since the Unix epoch, UTC.
///
/// Nothing in this crate makes one from a clock; it comes in as an argument.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// A point in time from milliseconds since the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// A point in time from whole seconds since the Unix epoch; saturates at the ends of the range.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Milliseconds since the Unix epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down: the `NumericDate` of RFC 7519, section 2.
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Reads RFC 3339 with any offset; what is finer than milliseconds is cut off. `None` for
    /// anything else.
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        let millis = at.unix_timestamp_nanos().div_euclid(1_000_000);
        i64::try_from(millis).ok().map(Self)
    }

    /// This point moved later by `duration`; saturates.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis_of(duration)))
    }

    /// This point moved earlier by `duration`; saturates.
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis_of(duration)))
    }

    /// How long after `earlier` this point lies; zero where it does not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The distance to `other`, whichever comes first. Clocks may step back.
    pub fn distance(self, other: Self) -> Duration {
        Duration::from_millis(self.0.abs_diff(other.0))
    }

    /// RFC 3339 in UTC, always with milliseconds: such texts sort as the times do.
    ///
    /// Years beyond 9999 have no RFC 3339 form and are shown as its last second; nothing before the
    /// Unix epoch happens here.
    pub fn to_rfc3339(self) -> String {
        let at = self.in_calendar();
        let (year, month, day) = at.to_calendar_date();
        let (hour, minute, second, milli) = at.to_hms_milli();
        let month = u8::from(month);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }

    /// The beginning of the month, in UTC, that this point lies in. The range of years is that of
    /// [`Timestamp::to_rfc3339`].
    pub fn start_of_month(self) -> Self {
        let at = self.in_calendar();
        let (hour, minute, second, milli) = at.to_hms_milli();
        let secs = 60 * (60 * u64::from(hour) + u64::from(minute)) + u64::from(second);
        let of_day = Duration::from_millis(1000 * secs + u64::from(milli));
        let days = Duration::from_secs(24 * 60 * 60) * u32::from(at.day() - 1);
        Self(self.0.clamp(0, LAST_MILLIS)).minus(of_day).minus(days)
    }

    fn in_calendar(self) -> OffsetDateTime {
        let millis = self.0.clamp(0, LAST_MILLIS);
        OffsetDateTime::UNIX_EPOCH + Duration::from_millis(millis.unsigned_abs())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

/// Between half of the longest wait and all of it, by a random number: who began together, or was
/// cut off together, does not come back together.
pub fn spread(longest: Duration, random: u16) -> Duration {
    longest / 2 + longest / 2 * u32::from(random) / u32::from(u16::MAX)
}

fn millis_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The last millisecond of the year 9999.
const LAST_MILLIS: i64 = 253_402_300_799_999;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_rfc3339() {
        assert_eq!(Timestamp::from_secs(0).to_rfc3339(), "1970-01-01T00:00:00.000Z");
        assert_eq!(
            Timestamp::from_millis(1_795_219_200_250).to_rfc3339(),
            "2026-11-21T00:00:00.250Z"
        );
        assert_eq!(Timestamp::from_millis(i64::MAX).to_rfc3339(), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn reads_rfc3339() {
        for (text, millis) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2026-11-21T00:00:00.250Z", 1_795_219_200_250),
            ("2026-11-21T00:00:00.250999Z", 1_795_219_200_250),
            ("2026-11-21T02:00:00.250+02:00", 1_795_219_200_250),
            ("1969-12-31T23:59:59.9999Z", -1),
        ] {
            assert_eq!(Timestamp::from_rfc3339(text), Some(Timestamp::from_millis(millis)));
        }
        for text in ["", "0", "2026-11-21", "2026-11-21T00:00:00", "2026-13-21T00:00:00Z", "now"] {
            assert_eq!(Timestamp::from_rfc3339(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_month_begins_with_its_first_millisecond() {
        for (at, start) in [
            ("2026-11-21T13:14:15.016Z", "2026-11-01T00:00:00Z"),
            ("2024-02-29T23:59:59.999Z", "2024-02-01T00:00:00Z"),
            ("2026-11-01T00:00:00Z", "2026-11-01T00:00:00Z"),
            ("2026-10-31T23:59:59.999Z", "2026-10-01T00:00:00Z"),
            ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
        ] {
            let at = Timestamp::from_rfc3339(at).expect("a time");
            assert_eq!(Some(at.start_of_month()), Timestamp::from_rfc3339(start), "{at:?}");
        }
        let last = Timestamp::from_millis(i64::MAX).start_of_month();
        assert_eq!(last.to_rfc3339(), "9999-12-01T00:00:00.000Z");
    }

    #[test]
    fn a_wait_is_spread_over_its_second_half() {
        let longest = Duration::from_secs(60 * 60);
        let [least, most] = [0, u16::MAX].map(|random| spread(longest, random));
        assert_eq!([least, most], [longest / 2, longest]);
        assert!((least..most).contains(&spread(longest, 12_345)));
    }

    #[test]
    fn arithmetic_saturates() {
        let last = Timestamp::from_millis(i64::MAX);
        assert_eq!(last.plus(Duration::from_secs(1)), last);
        assert_eq!(Timestamp::from_secs(5).since(Timestamp::from_secs(9)), Duration::ZERO);
        assert_eq!(
            Timestamp::from_secs(5).distance(Timestamp::from_secs(9)),
            Duration::from_secs(4)
        );
    }
}
