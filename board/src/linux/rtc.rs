//! The clock that goes on while the power is off, where a computer has one.
//!
//! Source: Documentation/admin-guide/rtc.rst, include/uapi/linux/rtc.h.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

const SECONDS_PER_DAY: i64 = 86_400;
/// Days from 1 March of the year 0 to 1 January 1970, in the proleptic Gregorian calendar.
const DAYS_BEFORE_1970: i64 = 719_468;
/// Four hundred years of the Gregorian calendar.
const DAYS_PER_ERA: i64 = 146_097;
/// `struct rtc_time` counts years from here.
const YEAR_ZERO: i64 = 1900;

/// A clock that goes on without power. It runs in UTC: no other system is on this computer.
#[derive(Debug)]
pub struct Rtc {
    device: File,
}

/// `struct rtc_time` of linux/rtc.h. Months count from 0, years from 1900; the last three the kernel does not use.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct RtcTime {
    second: i32,
    minute: i32,
    hour: i32,
    day: i32,
    month: i32,
    year: i32,
    week_day: i32,
    year_day: i32,
    is_summer: i32,
}

impl Rtc {
    /// Opens the first one.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if the computer has none.
    pub fn open() -> io::Result<Self> {
        Self::open_at(Path::new("/dev/rtc0"))
    }

    fn open_at(path: &Path) -> io::Result<Self> {
        let device = File::open(path)?;
        Ok(Self { device })
    }

    /// The time it shows, in seconds since 1970. Whether that can be true is for the caller to judge: a clock whose
    /// battery was changed shows its first day.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] for what is no time, [`io::ErrorKind::InvalidInput`] where the clock itself
    /// knows that it has stood still; else what its driver says.
    pub fn read(&self) -> io::Result<i64> {
        let time = read_time(&self.device)?;
        unix_seconds(&time).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Sets it to a time in seconds since 1970.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for a time that it has no digits for; else what its driver says.
    pub fn set(&self, unix_seconds: i64) -> io::Result<()> {
        let time = rtc_time(unix_seconds).ok_or(io::ErrorKind::InvalidInput)?;
        set_time(&self.device, &time)
    }
}

#[allow(unsafe_code)]
fn read_time(device: &File) -> io::Result<RtcTime> {
    nix::ioctl_read!(rtc_rd_time, b'p', 0x09, RtcTime);
    let mut time = RtcTime::default();
    // SAFETY: the descriptor is open for as long as `device` is borrowed, and the kernel writes one `rtc_time`, which
    // `RtcTime` is laid out as.
    unsafe { rtc_rd_time(device.as_raw_fd(), &raw mut time) }?;
    Ok(time)
}

#[allow(unsafe_code)]
fn set_time(device: &File, time: &RtcTime) -> io::Result<()> {
    nix::ioctl_write_ptr!(rtc_set_time, b'p', 0x0a, RtcTime);
    // SAFETY: the descriptor is open for as long as `device` is borrowed, and the kernel reads one `rtc_time`, which
    // `RtcTime` is laid out as.
    unsafe { rtc_set_time(device.as_raw_fd(), &raw const *time) }?;
    Ok(())
}

/// Nothing, if it is no time: a clock without a battery may hold any digits.
fn unix_seconds(time: &RtcTime) -> Option<i64> {
    let month = i64::from(time.month) + 1;
    let is_time = (0..60).contains(&time.second)
        && (0..60).contains(&time.minute)
        && (0..24).contains(&time.hour)
        && (1..=12).contains(&month)
        && (1..=31).contains(&time.day);
    // The year begins in March, so that the day that not every year has is its last.
    let year = YEAR_ZERO + i64::from(time.year) - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + i64::from(time.day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * DAYS_PER_ERA + day_of_era - DAYS_BEFORE_1970;
    let second = i64::from(time.hour) * 3600 + i64::from(time.minute) * 60 + i64::from(time.second);
    let unix = days * SECONDS_PER_DAY + second;
    // The 31st of a month of thirty days comes back as the first of the next.
    (is_time && rtc_time(unix)?.day == time.day).then_some(unix)
}

/// Source of the arithmetic: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn rtc_time(unix: i64) -> Option<RtcTime> {
    let (days, second) = (unix.div_euclid(SECONDS_PER_DAY), unix.rem_euclid(SECONDS_PER_DAY));
    let days = days.checked_add(DAYS_BEFORE_1970)?;
    let (era, day_of_era) = (days.div_euclid(DAYS_PER_ERA), days.rem_euclid(DAYS_PER_ERA));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let month = (month_from_march + 2) % 12;
    let year = era * 400 + year_of_era + i64::from(month < 2) - YEAR_ZERO;
    let number = |value: i64| i32::try_from(value).ok();
    Some(RtcTime {
        second: number(second % 60)?,
        minute: number(second / 60 % 60)?,
        hour: number(second / 3600)?,
        day: number(day_of_year - (153 * month_from_march + 2) / 5 + 1)?,
        month: number(month)?,
        year: number(year)?,
        ..RtcTime::default()
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(unix: i64, [year, month, day, hour, minute, second]: [i32; 6]) {
        let time = RtcTime {
            second,
            minute,
            hour,
            day,
            month: month - 1,
            year: year - 1900,
            ..RtcTime::default()
        };
        assert_eq!(rtc_time(unix), Some(time));
        assert_eq!(unix_seconds(&time), Some(unix));
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        check(0, [1970, 1, 1, 0, 0, 0]);
        check(951_782_399, [2000, 2, 28, 23, 59, 59]);
        check(951_782_400, [2000, 2, 29, 0, 0, 0]);
        check(951_868_800, [2000, 3, 1, 0, 0, 0]);
        check(1_790_251_200, [2026, 9, 24, 12, 0, 0]);
        // The last second of a signed 32-bit count, and the next.
        check(2_147_483_647, [2038, 1, 19, 3, 14, 7]);
        check(2_147_483_648, [2038, 1, 19, 3, 14, 8]);
        // 2100 has no 29 February.
        check(4_107_542_399, [2100, 2, 28, 23, 59, 59]);
        check(4_107_542_400, [2100, 3, 1, 0, 0, 0]);
        check(-1, [1969, 12, 31, 23, 59, 59]);
    }

    #[test]
    fn what_is_no_time_is_none() {
        let of = |year, month, day, hour, minute, second| RtcTime {
            second,
            minute,
            hour,
            day,
            month,
            year,
            ..RtcTime::default()
        };
        for wrong in [
            of(126, 1, 29, 0, 0, 0),
            of(126, 3, 31, 0, 0, 0),
            of(126, 0, 0, 0, 0, 0),
            of(126, 0, 32, 0, 0, 0),
            of(126, 12, 1, 0, 0, 0),
            of(126, -1, 1, 0, 0, 0),
            of(126, 0, 1, 24, 0, 0),
            of(126, 0, 1, 0, 60, 0),
            of(126, 0, 1, 0, 0, 60),
            of(126, 0, 1, -1, 0, 0),
            of(i32::MAX, i32::MAX, i32::MAX, i32::MAX, i32::MAX, i32::MAX),
            of(i32::MIN, i32::MIN, i32::MIN, i32::MIN, i32::MIN, i32::MIN),
        ] {
            assert_eq!(unix_seconds(&wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn what_is_no_clock_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rtc0");
        assert_eq!(Rtc::open_at(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        std::fs::write(&path, "").unwrap();
        let rtc = Rtc::open_at(&path).unwrap();
        rtc.read().unwrap_err();
        rtc.set(0).unwrap_err();
        assert_eq!(rtc.set(i64::MAX).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn what_is_set_is_read(unix in -62_135_596_800_i64..253_402_300_800) {
            prop_assert_eq!(unix_seconds(&rtc_time(unix).unwrap()), Some(unix));
        }

        #[test]
        fn no_digits_make_it_panic(digits: [i32; 6], unix: i64) {
            let [second, minute, hour, day, month, year] = digits;
            let _ = unix_seconds(&RtcTime { second, minute, hour, day, month, year, ..RtcTime::default() });
            let _ = rtc_time(unix);
        }
    }
}
