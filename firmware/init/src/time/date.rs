//! Times for people. Two lines of the page do not warrant a calendar library in the first process of the box. Pure.

const DAY_MS: u64 = 86_400_000;

/// `2026-11-24`.
pub(super) fn date(unix_ms: u64) -> String {
    let (year, month, day) = civil(unix_ms / DAY_MS);
    format!("{year}-{month:02}-{day:02}")
}

/// `2026-11-24 14:15`.
pub(super) fn moment(unix_ms: u64) -> String {
    let minutes = unix_ms % DAY_MS / 60_000;
    format!("{} {:02}:{:02}", date(unix_ms), minutes / 60, minutes % 60)
}

/// Year, month and day of the Gregorian calendar, so many days after 1970-01-01.
fn civil(days: u64) -> (u64, u64, u64) {
    // From the first of March of the year 0, so that a leap day ends its year; eras of 400 years are all alike.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let check = |seconds: u64, expected: &str| assert_eq!(moment(seconds * 1000), expected);
        check(0, "1970-01-01 00:00");
        check(951_782_400, "2000-02-29 00:00");
        check(1_795_529_700, "2026-11-24 14:15");
        check(2_147_483_647, "2038-01-19 03:14");
        check(4_107_542_400, "2100-03-01 00:00");
        check(32_503_679_999, "2999-12-31 23:59");
    }

    #[test]
    fn each_day_of_a_thousand_years_follows_the_one_before() {
        let mut before = civil(0);
        for days in 1..376_000 {
            let (year, month, day) = civil(days);
            let is_next = match before {
                (y, m, d) if day == d + 1 => (year, month) == (y, m) && day <= 31,
                (y, 12, 31) => (year, month, day) == (y + 1, 1, 1),
                (y, m, d) => (year, month, day) == (y, m + 1, 1) && d >= 28,
            };
            assert!(is_next, "{before:?} {year}-{month}-{day}");
            before = (year, month, day);
        }
    }
}
