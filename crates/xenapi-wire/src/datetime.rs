//! XAPI's dates.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The name under which a date passes through serde, so that XML-RPC writes its tag.
pub(crate) const NEWTYPE: &str = "$xenapi::DateTime";

/// A point in time as XAPI sends it: `20261121T10:11:12Z`.
///
/// The text is kept as it came, so that a record goes back unchanged; [`DateTime::unix_seconds`]
/// reads it, whatever the spelling: date and time each with separators or without, a fraction or
/// none, the zone as `Z`, `+01`, `+0100`, `+01:00` or missing, which means UTC. Seconds since the
/// epoch (`1627478400.`), which the older event calls send, are understood as well. Two spellings of
/// one instant are not equal; compare their seconds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DateTime(Box<str>);

/// A text that no spelling of a date fits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a date: {0:?}; expected a form like 20261121T10:11:12Z")]
pub struct DateTimeError(pub String);

impl DateTime {
    /// `19700101T00:00:00Z`, XAPI's "never" or "not known".
    pub fn epoch() -> Self {
        Self("19700101T00:00:00Z".into())
    }

    /// A date from seconds since 1970-01-01 in UTC, as XAPI would write it.
    ///
    /// Dates outside the years 0 to 9999, which have no form on the wire, become the nearest that has.
    pub fn from_unix_seconds(seconds: i64) -> Self {
        let seconds = seconds.clamp(YEAR_ZERO, YEAR_9999_END);
        let (days, time) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
        let (year, month, day) = civil_from_days(days);
        let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
        Self(format!("{year:04}{month:02}{day:02}T{hour:02}:{minute:02}:{second:02}Z").into())
    }

    /// Seconds since 1970-01-01 in UTC, rounded down.
    ///
    /// # Errors
    /// When the text is no date in any known spelling.
    pub fn unix_seconds(&self) -> Result<i64, DateTimeError> {
        Ok(self.unix_micros()?.div_euclid(1_000_000))
    }

    /// Microseconds since 1970-01-01 in UTC; further digits of a fraction are cut off.
    ///
    /// # Errors
    /// When the text is no date in any known spelling.
    pub fn unix_micros(&self) -> Result<i64, DateTimeError> {
        let micros = parse(self.0.as_bytes()).or_else(|| parse_seconds(&self.0));
        micros.ok_or_else(|| DateTimeError(self.0.chars().take(64).collect()))
    }

    /// Whether this is [`DateTime::epoch`], whatever the spelling: "never" or "not known".
    pub fn is_epoch(&self) -> bool {
        self.unix_seconds() == Ok(0)
    }

    /// The text as it is on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A date from text that is not looked at.
    pub(crate) fn from_wire(text: &str) -> Self {
        Self(text.into())
    }
}

impl Default for DateTime {
    fn default() -> Self {
        Self::epoch()
    }
}

impl FromStr for DateTime {
    type Err = DateTimeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let date = Self::from_wire(text);
        date.unix_micros()?;
        Ok(date)
    }
}

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for DateTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(NEWTYPE, &*self.0)
    }
}

impl<'de> Deserialize<'de> for DateTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = DateTime;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a date")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<DateTime, E> {
                Ok(DateTime::from_wire(text))
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<DateTime, D::Error> {
                inner.deserialize_str(self)
            }
        }
        deserializer.deserialize_newtype_struct(NEWTYPE, Visitor)
    }
}

const DAY: i64 = 86_400;
const YEAR_ZERO: i64 = -62_167_219_200;
const YEAR_9999_END: i64 = 253_402_300_799;

/// Days since 1970-01-01 of a date in the proleptic Gregorian calendar. Years begin in March here,
/// so that the leap day is the last of its year.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let day = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year * 365 + year / 4 - year / 100 + day - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let first = (153 * month + 2) / 5;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (year + era * 400 + next, month, day - first + 1)
}

/// The date and time spellings, as microseconds.
fn parse(text: &[u8]) -> Option<i64> {
    let mut rest = text;
    let year = digits(&mut rest, 4)?;
    let dashes = eat(&mut rest, b"-").is_some();
    let month = digits(&mut rest, 2)?;
    if dashes {
        eat(&mut rest, b"-")?;
    }
    let day = digits(&mut rest, 2)?;
    eat(&mut rest, b"Tt ")?;
    let hour = digits(&mut rest, 2)?;
    let colons = eat(&mut rest, b":").is_some();
    let minute = digits(&mut rest, 2)?;
    if colons {
        eat(&mut rest, b":")?;
    }
    let second = digits(&mut rest, 2)?;
    let micros = if eat(&mut rest, b".,").is_some() { fraction(&mut rest)? } else { 0 };
    let offset = zone(&mut rest)?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    // Second 60 is a leap second, told as the next minute's first.
    let valid = (1..=last).contains(&day) && hour < 24 && minute < 60 && second <= 60 && rest.is_empty();
    let seconds = days_from_civil(year, month, day) * DAY + hour * 3600 + minute * 60 + second - offset;
    valid.then_some(seconds * 1_000_000 + micros)
}

fn digits(rest: &mut &[u8], count: usize) -> Option<i64> {
    let (number, after) = rest.split_at_checked(count)?;
    *rest = after;
    number.iter().try_fold(0, |sum, byte| Some(sum * 10 + i64::from((*byte as char).to_digit(10)?)))
}

fn eat(rest: &mut &[u8], any: &[u8]) -> Option<u8> {
    let (first, after) = rest.split_first()?;
    any.contains(first).then(|| {
        *rest = after;
        *first
    })
}

fn fraction(rest: &mut &[u8]) -> Option<i64> {
    let len = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let (number, after) = rest.split_at(len);
    *rest = after;
    let digit = |at: usize| number.get(at).map_or(0, |b| i64::from(b - b'0'));
    (len > 0).then(|| (0..6).fold(0, |sum, at| sum * 10 + digit(at)))
}

/// Seconds east of UTC.
fn zone(rest: &mut &[u8]) -> Option<i64> {
    if rest.is_empty() || eat(rest, b"Zz").is_some() {
        return Some(0);
    }
    let sign = if eat(rest, b"+-")? == b'+' { 1 } else { -1 };
    let hours = digits(rest, 2)?;
    let minutes = if rest.is_empty() {
        0
    } else {
        eat(rest, b":");
        digits(rest, 2)?
    };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// Seconds since the epoch as a decimal number, as microseconds.
fn parse_seconds(text: &str) -> Option<i64> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
        return None;
    }
    let micros = text.parse::<f64>().ok()? * 1e6;
    let range = YEAR_ZERO as f64 * 1e6..=YEAR_9999_END as f64 * 1e6;
    range.contains(&micros).then_some(micros.round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_the_same_instant() {
        let instant = 1_795_169_472;
        for date in ["2026-11-20", "20261120"] {
            for (time, micros) in
                [("10:11:12", 0), ("101112", 0), ("10:11:12.345", 345_000), ("101112.3456789", 345_678)]
            {
                for (zone, offset) in
                    [("Z", 0), ("", 0), ("+02", 7200), ("+0200", 7200), ("+02:00", 7200), ("-05:30", -19_800)]
                {
                    let text = format!("{date}T{time}{zone}");
                    let date = DateTime::from_wire(&text);
                    assert_eq!(date.unix_micros(), Ok((instant - offset) * 1_000_000 + micros), "{text}");
                }
            }
        }
    }

    #[test]
    fn odd_dates() {
        for (text, seconds) in [
            ("19700101T00:00:00Z", Some(0)),
            ("99991231T23:59:59Z", Some(YEAR_9999_END)),
            ("00000101T00:00:00Z", Some(YEAR_ZERO)),
            ("20240229T00:00:00Z", Some(1_709_164_800)),
            ("20161231T23:59:60Z", Some(1_483_228_800)),
            ("1627478400.", Some(1_627_478_400)),
            ("0.0", Some(0)),
            ("-1.5", Some(-2)),
            ("20230229T00:00:00Z", None),
            ("20261320T10:11:12Z", None),
            ("2026-11-20", None),
            ("20261120T10:11:12Zz", None),
            ("20261120T10:11:12+2", None),
            ("2026-1120T10:11:12Z", None),
            ("1e300", None),
            ("nan", None),
            ("garbage", None),
            ("", None),
        ] {
            assert_eq!(DateTime::from_wire(text).unix_seconds().ok(), seconds, "{text:?}");
        }
    }

    #[test]
    fn seconds_come_back() {
        for seconds in (YEAR_ZERO..=YEAR_9999_END).step_by(86_400 * 97 + 12_345) {
            assert_eq!(DateTime::from_unix_seconds(seconds).unix_seconds(), Ok(seconds));
        }
        assert_eq!(DateTime::from_unix_seconds(1_795_169_472).as_str(), "20261120T10:11:12Z");
        assert_eq!(DateTime::from_unix_seconds(i64::MAX).as_str(), "99991231T23:59:59Z");
    }
}
