//! Times of day: the wall clock, and how mail writes it.

use jiff::civil;
use jiff::tz::Offset;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A moment of the wall clock, in seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(pub i64);

/// A moment with the offset from UTC that its writer lived at: what INTERNALDATE keeps
/// (RFC 9051 §2.3.3), and what Date and Received say (RFC 5322 §3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InternalDate {
    timestamp: Timestamp,
    offset_minutes: i16,
}

/// Why a text is not a date-time of IMAP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DateError {
    /// Not of the form `dd-Mon-yyyy hh:mm:ss +zzzz`, or a day that does not exist.
    #[error("not a date-time like \"17-Jul-1996 02:44:25 -0700\"")]
    NotADate,
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
/// RFC 5322 §3.3: the last two digits of a zone are at most 59; no zone is further than a day.
const OFFSET_MINUTES_MAX: i16 = 24 * 60 - 1;
/// 0001-01-02 to 9998-12-31: at every offset a year of four digits.
const SECONDS_RANGE: std::ops::RangeInclusive<i64> = -62_135_510_400..=253_370_678_400;

impl InternalDate {
    /// The moment `timestamp`, told at `offset_minutes` east of UTC. A moment before the year 1 or
    /// after 9998 becomes the nearest one inside, an offset of a day or more becomes UTC.
    pub fn new(timestamp: Timestamp, offset_minutes: i16) -> InternalDate {
        let seconds = timestamp.0.clamp(*SECONDS_RANGE.start(), *SECONDS_RANGE.end());
        let is_offset = (-OFFSET_MINUTES_MAX..=OFFSET_MINUTES_MAX).contains(&offset_minutes);
        InternalDate {
            timestamp: Timestamp(seconds),
            offset_minutes: if is_offset { offset_minutes } else { 0 },
        }
    }

    /// The moment, told in UTC.
    pub fn utc(timestamp: Timestamp) -> InternalDate {
        InternalDate::new(timestamp, 0)
    }

    /// The moment.
    pub const fn timestamp(self) -> Timestamp {
        self.timestamp
    }

    /// The offset from UTC, in minutes east.
    pub const fn offset_minutes(self) -> i16 {
        self.offset_minutes
    }

    /// The calendar day at the writer's offset, as (year, month, day). SEARCH BEFORE, ON and SINCE
    /// disregard time and timezone (RFC 9051 §6.4.4).
    pub fn day(self) -> (i16, i8, i8) {
        let date = self.civil().date();
        (date.year(), date.month(), date.day())
    }

    /// Parses a `date-time` without its quotes.
    ///
    /// ```text
    /// date-time       = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE
    /// date-day-fixed  = (SP DIGIT) / 2DIGIT
    /// ```
    ///
    /// Source: RFC 9051 §9.
    pub fn parse(text: &str) -> Result<InternalDate, DateError> {
        let octets: &[u8; 26] = text.as_bytes().try_into().map_err(|_| DateError::NotADate)?;
        let separators = [
            (2, b'-'),
            (6, b'-'),
            (11, b' '),
            (14, b':'),
            (17, b':'),
            (20, b' '),
        ];
        if separators.iter().any(|&(place, octet)| octets[place] != octet) {
            return Err(DateError::NotADate);
        }
        let day = if octets[0] == b' ' {
            digits(&octets[1..2])
        } else {
            digits(&octets[..2])
        }?;
        let month = month_number(&octets[3..6]).ok_or(DateError::NotADate)?;
        let zone_minutes = digits(&octets[22..24])? * 60 + digits(&octets[24..26])?;
        let offset_minutes = match octets[21] {
            b'+' => zone_minutes,
            b'-' => -zone_minutes,
            _ => return Err(DateError::NotADate),
        };
        if !(-OFFSET_MINUTES_MAX..=OFFSET_MINUTES_MAX).contains(&offset_minutes)
            || digits(&octets[24..26])? > 59
        {
            return Err(DateError::NotADate);
        }
        let small = |digits: i16| i8::try_from(digits).map_err(|_| DateError::NotADate);
        // RFC 5322 §3.3 knows leap seconds; the clock of POSIX does not.
        let second = small(digits(&octets[18..20])?)?;
        let second = if second == 60 { 59 } else { second };
        let date =
            civil::Date::new(digits(&octets[7..11])?, month, small(day)?).map_err(|_| DateError::NotADate)?;
        let time = civil::Time::new(
            small(digits(&octets[12..14])?)?,
            small(digits(&octets[15..17])?)?,
            second,
            0,
        )
        .map_err(|_| DateError::NotADate)?;
        let local = Offset::UTC
            .to_timestamp(date.to_datetime(time))
            .map_err(|_| DateError::NotADate)?;
        let timestamp = Timestamp(local.as_second() - i64::from(offset_minutes) * 60);
        Ok(InternalDate::new(timestamp, offset_minutes))
    }

    /// Reads the value of a Date field, and what is close to one. A time or a zone that makes no sense is taken for
    /// midnight, and UTC; without a day there is no date.
    ///
    /// Source: RFC 5322 §3.3, §4.3; RFC 5256 §2.2.
    pub fn parse_field(value: &[u8]) -> Option<InternalDate> {
        /// More is never needed of it.
        const OCTETS_MAX: usize = 256;
        let value = String::from_utf8_lossy(&value[..value.len().min(OCTETS_MAX)]);
        let parsed = mail_parser::DateTime::parse_rfc822(&value).and_then(|date| {
            let day = civil::Date::new(
                i16::try_from(date.year).ok()?,
                i8::try_from(date.month).ok()?,
                i8::try_from(date.day).ok()?,
            );
            let small = |number: u8| i8::try_from(number).unwrap_or(-1);
            let time = civil::Time::new(
                small(date.hour),
                small(date.minute),
                small(date.second.min(59)),
                0,
            );
            let offset = i16::from(date.tz_hour) * 60 + i16::from(date.tz_minute);
            let offset = if date.tz_before_gmt { -offset } else { offset };
            InternalDate::of_local(day.ok()?, time.unwrap_or_default(), offset)
        });
        parsed.or_else(|| InternalDate::parse_day(&value))
    }

    /// The day alone, as `Fri, 21 Nov 1997` begins.
    fn parse_day(value: &str) -> Option<InternalDate> {
        let date = value.split_once(',').map_or(value, |(_, date)| date);
        let mut words = date.split(|char: char| char.is_ascii_whitespace() || char == '-');
        let mut word = || words.find(|word| !word.is_empty());
        let (day, month, year) = (word()?, word()?, word()?);
        let year: i16 = year.parse().ok()?;
        let year = match year {
            0..=49 => 2000 + year,
            50..=999 => 1900 + year,
            year => year,
        };
        let month = month_number(month.get(..3)?.as_bytes())?;
        let day = civil::Date::new(year, month, day.parse().ok()?).ok()?;
        InternalDate::of_local(day, civil::Time::midnight(), 0)
    }

    fn of_local(day: civil::Date, time: civil::Time, offset_minutes: i16) -> Option<InternalDate> {
        let is_offset = (-OFFSET_MINUTES_MAX..=OFFSET_MINUTES_MAX).contains(&offset_minutes);
        let offset_minutes = if is_offset { offset_minutes } else { 0 };
        let local = Offset::UTC.to_timestamp(day.to_datetime(time)).ok()?;
        let timestamp = Timestamp(local.as_second() - i64::from(offset_minutes) * 60);
        Some(InternalDate::new(timestamp, offset_minutes))
    }

    /// The date as RFC 5322 §3.3 writes it: `Fri, 21 Nov 1997 09:55:06 -0600`.
    pub fn rfc5322(self) -> impl fmt::Display {
        struct Rfc5322(InternalDate);
        impl fmt::Display for Rfc5322 {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let local = self.0.civil();
                let weekday = WEEKDAYS[usize::from(local.weekday().to_monday_zero_offset().unsigned_abs())];
                write!(
                    f,
                    "{weekday}, {} {} {:04} ",
                    local.day(),
                    month_name(local),
                    local.year()
                )?;
                self.0.write_time_and_zone(f, local)
            }
        }
        Rfc5322(self)
    }

    fn civil(self) -> civil::DateTime {
        let moment = jiff::Timestamp::from_second(self.timestamp.0).expect("`new` keeps it in range");
        let offset =
            Offset::from_seconds(i32::from(self.offset_minutes) * 60).expect("`new` keeps it under a day");
        offset.to_datetime(moment)
    }

    fn write_time_and_zone(self, f: &mut fmt::Formatter<'_>, local: civil::DateTime) -> fmt::Result {
        let sign = if self.offset_minutes < 0 { '-' } else { '+' };
        let zone = self.offset_minutes.unsigned_abs();
        write!(
            f,
            "{:02}:{:02}:{:02} ",
            local.hour(),
            local.minute(),
            local.second()
        )?;
        write!(f, "{sign}{:02}{:02}", zone / 60, zone % 60)
    }
}

impl fmt::Display for InternalDate {
    /// The date as IMAP writes it, without quotes: `17-Jul-1996 02:44:25 -0700`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let local = self.civil();
        write!(f, "{:>2}-{}-{:04} ", local.day(), month_name(local), local.year())?;
        self.write_time_and_zone(f, local)
    }
}

fn month_name(local: civil::DateTime) -> &'static str {
    MONTHS[usize::from(local.month().unsigned_abs()) - 1]
}

fn month_number(name: &[u8]) -> Option<i8> {
    let place = MONTHS
        .iter()
        .position(|month| month.as_bytes().eq_ignore_ascii_case(name))?;
    i8::try_from(place + 1).ok()
}

fn digits(octets: &[u8]) -> Result<i16, DateError> {
    octets.iter().try_fold(0, |number: i16, octet| match octet {
        b'0'..=b'9' => Ok(number * 10 + i16::from(octet - b'0')),
        _ => Err(DateError::NotADate),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 3501 §2.3.3 and §8 write this date.
    #[test]
    fn the_date_of_the_standard_is_kept_with_its_zone() {
        let date = InternalDate::parse("17-Jul-1996 02:44:25 -0700").unwrap();
        assert_eq!(date.timestamp(), Timestamp(837_596_665));
        assert_eq!(date.to_string(), "17-Jul-1996 02:44:25 -0700");
        assert_eq!(date.rfc5322().to_string(), "Wed, 17 Jul 1996 02:44:25 -0700");
        assert_eq!(date.day(), (1996, 7, 17));
    }

    #[test]
    fn a_day_of_one_digit_has_a_space() {
        let date = InternalDate::parse(" 1-Feb-2026 00:00:00 +0100").unwrap();
        assert_eq!(date.to_string(), " 1-Feb-2026 00:00:00 +0100");
        assert_eq!(date.rfc5322().to_string(), "Sun, 1 Feb 2026 00:00:00 +0100");
    }

    #[test]
    fn the_date_of_a_field_is_read() {
        let date = |text: &str| InternalDate::parse_field(text.as_bytes()).map(|date| date.to_string());
        let is = |text: &str| Some(text.to_owned());
        assert_eq!(
            date("Fri, 21 Nov 1997 09:55:06 -0600"),
            is("21-Nov-1997 09:55:06 -0600")
        );
        assert_eq!(
            date(" Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\n"),
            is("17-Jul-1996 02:23:25 -0700")
        );
        assert_eq!(date("1 jan 26 00:00 GMT"), is(" 1-Jan-2026 00:00:00 +0000"));
        assert_eq!(date("Fri, 21 November 1997"), is("21-Nov-1997 00:00:00 +0000"));
        assert_eq!(
            date("Fri, 21 Nov 1997 77:00:00 +0100").map(|date| date[..11].to_owned()),
            is("21-Nov-1997")
        );
        for text in [
            "",
            "x",
            "Fri, 31 Feb 1997",
            "1 č 2026",
            "1 Jan",
            "99999 Jan 2026",
            "1 Jan 99999999999",
        ] {
            assert_eq!(date(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "",
            "17-Jul-1996 02:44:25",
            "31-Feb-2026 00:00:00 +0000",
            "17-Jux-1996 02:44:25 -0700",
            "17-Jul-1996 25:44:25 -0700",
            "17-Jul-1996 02:44:25 -0760",
            "17-Jul-1996 02:44:25 -9900",
            "17-Jul-1996 02:44:25 07000",
            "1x-Jul-1996 02:44:25 -0700",
            "17-Jul-1996 02:44:25 -070é",
        ] {
            assert_eq!(InternalDate::parse(text), Err(DateError::NotADate), "{text}");
        }
    }

    proptest! {
        /// AS15
        #[test]
        fn as15_any_octets_are_a_date_or_none(value in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = InternalDate::parse_field(&value);
        }

        #[test]
        fn what_is_written_in_a_field_can_be_read(seconds in 0_i64..4_000_000_000, offset in -1_439_i16..1_440) {
            let date = InternalDate::new(Timestamp(seconds), offset);
            prop_assert_eq!(InternalDate::parse_field(date.rfc5322().to_string().as_bytes()), Some(date));
        }

        #[test]
        fn what_is_written_can_be_read(seconds in any::<i64>(), offset in any::<i16>()) {
            let date = InternalDate::new(Timestamp(seconds), offset);
            prop_assert_eq!(InternalDate::parse(&date.to_string()), Ok(date));
        }
    }
}
