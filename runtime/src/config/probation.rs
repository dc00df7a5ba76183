//! What counts against a version on probation beside failed calls: statuses, and how much slower.

use std::fmt;
use std::str::FromStr;

use super::ConfigError;

/// Statuses of answers. Written as `5xx`, as `503`, as `500-599`, as several of those with commas between,
/// or as `none`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusSet {
    /// First and last of each range.
    ranges: Vec<(u16, u16)>,
}

impl StatusSet {
    /// The answers that say that the server is at fault: 500 to 599.
    #[must_use]
    pub fn server_errors() -> Self {
        Self { ranges: vec![(500, 599)] }
    }

    /// No status at all.
    #[must_use]
    pub fn none() -> Self {
        Self { ranges: Vec::new() }
    }

    /// Whether `status` is one of them.
    #[must_use]
    pub fn contains(&self, status: u16) -> bool {
        self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&status))
    }

    /// The first and the last status of each range.
    #[must_use]
    pub fn ranges(&self) -> &[(u16, u16)] {
        &self.ranges
    }
}

impl Default for StatusSet {
    fn default() -> Self {
        Self::server_errors()
    }
}

impl FromStr for StatusSet {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        if text.trim() == "none" {
            return Ok(Self::none());
        }
        let invalid = || ConfigError::Statuses { found: text.to_owned() };
        let ranges = text.split(',').map(|part| range(part.trim()).ok_or_else(invalid));
        Ok(Self { ranges: ranges.collect::<Result<_, _>>()? })
    }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let status = |text: &str| {
        // `parse` alone takes a sign.
        let is_number = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|status| is_number && (100..=599).contains(status))
    };
    if let Some(class) = text.strip_suffix("xx") {
        let first = status(&format!("{class}00"))?;
        return Some((first, first + 99));
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (status(first.trim_end())?, status(last.trim_start())?);
    (first <= last).then_some((first, last))
}

/// How many times slower a version may be than the one before it: 1 or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slowdown {
    /// In hundredths, so that two of them can be compared.
    hundredths: u32,
}

impl Slowdown {
    /// So many times slower, to the hundredth.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Slowdown`] for less than 1, with which a version that is as fast would be too slow, and
    /// for more than a million.
    pub fn new(times: f64) -> Result<Self, ConfigError> {
        if (1.0..=1e6).contains(&times) {
            // It was just seen to fit.
            Ok(Self { hundredths: (times * 100.0).round() as u32 })
        } else {
            Err(ConfigError::Slowdown { found: times.to_string() })
        }
    }

    /// How many times.
    #[must_use]
    pub fn get(self) -> f64 {
        f64::from(self.hundredths) / 100.0
    }
}

impl Default for Slowdown {
    /// Three times: more than a change of the machine's load makes of most calls.
    fn default() -> Self {
        Self { hundredths: 300 }
    }
}

impl fmt::Display for Slowdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_classes_numbers_and_ranges() {
        let check = |text: &str, inside: &[u16], outside: &[u16]| {
            let set: StatusSet = text.parse().unwrap();
            assert!(inside.iter().all(|it| set.contains(*it)), "{text}");
            assert!(!outside.iter().any(|it| set.contains(*it)), "{text}");
        };
        check("5xx", &[500, 503, 599], &[200, 499]);
        check("503", &[503], &[502, 504]);
        check("500-502, 429 ,4xx", &[500, 502, 429, 404], &[503, 200]);
        check("none", &[], &[200, 500, 599]);
        for text in
            ["", "5x", "6xx", "0xx", "xx", "50", "+50", "600", "503-500", "500-", "5xx,", "all"]
        {
            let error = text.parse::<StatusSet>().unwrap_err();
            assert!(error.to_string().contains("such as `5xx`"), "{text}: {error}");
        }
        assert_eq!(StatusSet::default(), "5xx".parse().unwrap());
    }

    #[test]
    fn slowdown_is_at_least_one() {
        assert_eq!(Slowdown::new(2.5).unwrap().get(), 2.5);
        assert_eq!(
            (Slowdown::default().get(), Slowdown::default().to_string()),
            (3.0, "3".to_owned())
        );
        for times in [0.0, 0.99, -1.0, f64::NAN, f64::INFINITY, 1e7] {
            assert!(Slowdown::new(times).is_err(), "{times}");
        }
    }
}
