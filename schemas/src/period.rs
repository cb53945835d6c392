//! Periods: calendar months, and windows of whole days. Always UTC.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveTime, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

/// A calendar month in UTC, `YYYY-MM`: the half-open interval from its first instant to the next
/// month's first instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period {
    first_day: NaiveDate,
}

impl JsonSchema for Period {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A calendar month in UTC.",
            "type": "string",
            "pattern": "^[0-9]{4}-(0[1-9]|1[0-2])$",
            "examples": ["2026-03"],
        })
    }
}

/// A text that is not a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("period must be YYYY-MM format.")]
pub struct InvalidPeriod;

impl Period {
    /// Returns the month that contains `at`.
    #[must_use]
    pub fn containing(at: DateTime<Utc>) -> Self {
        Self::of_date(at.date_naive())
    }

    /// Returns the month that contains `date`.
    #[must_use]
    pub fn of_date(date: NaiveDate) -> Self {
        Self {
            first_day: date.with_day(1).unwrap_or(date),
        }
    }

    /// Returns the first day of the month.
    #[must_use]
    pub const fn first_day(self) -> NaiveDate {
        self.first_day
    }

    /// Returns the first instant of the month.
    #[must_use]
    pub fn start(self) -> DateTime<Utc> {
        self.first_day.and_time(NaiveTime::MIN).and_utc()
    }

    /// Returns the following month; the calendar's last month follows itself.
    #[must_use]
    pub fn next(self) -> Self {
        Self {
            first_day: self
                .first_day
                .checked_add_months(Months::new(1))
                .unwrap_or(self.first_day),
        }
    }

    /// Returns the preceding month; the calendar's first month precedes itself.
    #[must_use]
    pub fn previous(self) -> Self {
        Self {
            first_day: self
                .first_day
                .checked_sub_months(Months::new(1))
                .unwrap_or(self.first_day),
        }
    }

    /// Returns the three consecutive months that end at this one, oldest first.
    #[must_use]
    pub fn window_of_three(self) -> [Self; 3] {
        [self.previous().previous(), self.previous(), self]
    }
}

impl FromStr for Period {
    type Err = InvalidPeriod;

    fn from_str(text: &str) -> Result<Self, InvalidPeriod> {
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        let (year, month) = text.split_once('-').ok_or(InvalidPeriod)?;
        if year.len() != 4 || month.len() != 2 || !digits(year) || !digits(month) {
            return Err(InvalidPeriod);
        }
        let year = year.parse().map_err(|_| InvalidPeriod)?;
        let month = month.parse().map_err(|_| InvalidPeriod)?;
        NaiveDate::from_ymd_opt(year, month, 1)
            .map(Self::of_date)
            .ok_or(InvalidPeriod)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.first_day.year(), self.first_day.month())
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The windows of summary and attribution (`../spec/cost-events.md` §8).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DayWindow {
    /// Today and the six days before.
    Days7,
    /// Today and the 29 days before.
    #[default]
    Days30,
    /// Today and the 89 days before.
    Days90,
}

impl DayWindow {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Days7 => "7d",
            Self::Days30 => "30d",
            Self::Days90 => "90d",
        }
    }

    /// Returns the first day of the window, which has no upper bound.
    #[must_use]
    pub fn first_day(self, now: DateTime<Utc>) -> NaiveDate {
        let days = match self {
            Self::Days7 => 6,
            Self::Days30 => 29,
            Self::Days90 => 89,
        };
        let today = now.date_naive();
        today.checked_sub_days(Days::new(days)).unwrap_or(today)
    }
}

impl FromStr for DayWindow {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "7d" => Ok(Self::Days7),
            "30d" => Ok(Self::Days30),
            "90d" => Ok(Self::Days90),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_months_strictly() {
        assert_eq!("2026-04".parse::<Period>().unwrap().to_string(), "2026-04");
        for bad in [
            "",
            "2026-13",
            "2026-00",
            "2026-4",
            "26-04",
            "2026-04-01",
            "2026/04",
            "+026-04",
            "2026-+4",
        ] {
            assert_eq!(bad.parse::<Period>(), Err(InvalidPeriod), "{bad}");
        }
    }

    #[test]
    fn months_are_half_open_in_utc() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let march: Period = "2026-03".parse().unwrap();
        assert_eq!(Period::containing(at("2026-03-31T23:59:59.999Z")), march);
        assert_eq!(Period::containing(at("2026-04-01T00:00:00.000Z")), march.next());
        assert_eq!(
            march.window_of_three().map(|p| p.to_string()),
            ["2026-01", "2026-02", "2026-03"]
        );
        assert_eq!(
            "2026-01".parse::<Period>().unwrap().previous().to_string(),
            "2025-12"
        );
    }

    #[test]
    fn windows_count_today() {
        let now = "2026-03-07T12:00:00Z".parse().unwrap();
        assert_eq!(DayWindow::Days7.first_day(now).to_string(), "2026-03-01");
    }
}
