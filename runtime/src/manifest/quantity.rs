//! Sizes and durations as people write them: a whole number and a unit.

use std::time::Duration;

/// Text that is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a duration such as `30s`, `500ms` or `2m`, found `{}`", .found.escape_debug())]
pub struct InvalidDuration {
    found: String,
}

/// Text that is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a size such as `64MiB`, `512KiB` or `2GiB`, found `{}`", .found.escape_debug())]
pub struct InvalidSize {
    found: String,
}

/// Reads a whole number of `ms`, `s`, `m` or `h`.
///
/// # Errors
///
/// [`InvalidDuration`] for anything else: without a unit nobody knows which one was meant.
pub fn parse_duration(text: &str) -> Result<Duration, InvalidDuration> {
    const UNITS: &[(&str, u64)] = &[("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
    let milliseconds = quantity(text, UNITS);
    milliseconds
        .map(Duration::from_millis)
        .ok_or_else(|| InvalidDuration { found: text.to_owned() })
}

/// Reads a whole number of `B`, `KiB`, `MiB` or `GiB`, in bytes.
///
/// # Errors
///
/// [`InvalidSize`] for anything else; `MB` too, which some read as 1,000,000 bytes and some not.
pub fn parse_size(text: &str) -> Result<u64, InvalidSize> {
    const UNITS: &[(&str, u64)] = &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
    quantity(text, UNITS).ok_or_else(|| InvalidSize { found: text.to_owned() })
}

fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start_matches(' '))?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}
