//! How counts, lengths of time and sizes are written and read.

use std::fmt::Display;
use std::time::Duration;

use anyhow::bail;

/// `1 frame`, `2 frames`.
pub fn count(n: impl Display, thing: &str) -> String {
    let n = n.to_string();
    let ending = if n == "1" { "" } else { "s" };
    format!("{n} {thing}{ending}")
}

/// A length of time on the command line: `10s`, `2.5s`, `500ms`, `3m`, `1h`, or a number of
/// seconds.
pub fn parse_duration(text: &str) -> anyhow::Result<Duration> {
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let Ok(number) = number.trim().parse::<f64>() else {
        bail!("`{text}` is no length of time; write 500ms, 10s, 3m or 1h")
    };
    let factor_s = match unit {
        "ms" => 1e-3,
        "s" | "" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => bail!("`{unit}` is no unit of time; write 500ms, 10s, 3m or 1h"),
    };
    let seconds = number * factor_s;
    if seconds < 0.0 {
        bail!("`{text}` is less than nothing; write 500ms, 10s, 3m or 1h");
    }
    if !(0.0..=1e9).contains(&seconds) {
        bail!("`{text}` is out of range");
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// A number of bytes on the command line: `500MB`, `4GiB`, `1.5G` or just a number. As usual, `K`,
/// `M`, `G` and `T` alone are those of `KiB`.
pub fn parse_bytes(text: &str) -> anyhow::Result<u64> {
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1024f64.powi(2),
        "g" | "gib" => 1024f64.powi(3),
        "t" | "tib" => 1024f64.powi(4),
        _ => bail!("`{unit}` is no unit of size; write 500MB or 4GiB"),
    };
    let Ok(number) = number.trim().parse::<f64>() else {
        bail!("`{text}` is no size; write 500MB or 4GiB")
    };
    let bytes = number * factor;
    if bytes < 0.0 {
        bail!("`{text}` is less than nothing; write 500MB or 4GiB");
    }
    if !(0.0..=1e18).contains(&bytes) {
        bail!("`{text}` is out of range");
    }
    Ok(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_many() {
        assert_eq!(
            [0, 1, 2, 11].map(|n| count(n, "byte")),
            ["0 bytes", "1 byte", "2 bytes", "11 bytes"]
        );
    }

    #[test]
    fn durations() {
        for (text, ms) in [
            ("10s", 10_000),
            ("2.5s", 2500),
            ("500ms", 500),
            ("3m", 180_000),
            ("1h", 3_600_000),
            ("7", 7000),
        ] {
            assert_eq!(parse_duration(text).unwrap(), Duration::from_millis(ms));
        }
        for bad in ["", "s", "-1s", "1d", "nan", "inf", "1e300h", "ten"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("500MB", 500_000_000),
            ("4GiB", 4 << 30),
            ("1.5G", 3 << 29),
            ("0", 0),
            ("64k", 65_536),
            ("7 b", 7),
        ] {
            assert_eq!(parse_bytes(text).unwrap(), bytes, "{text}");
        }
        for bad in ["", "GB", "-1GB", "4 GiBs", "nan", "1e30", "big"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }
}
