//! Values as people write them: modes, colours, lengths of time, sizes.

use std::fmt;
use std::str::FromStr;

use anyhow::bail;
use serde::Deserialize;

/// A depth mode: `848x480@90`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct Mode {
    pub width: u32,
    pub height: u32,
    pub fps: f64,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}@{}", self.width, self.height, self.fps)
    }
}

impl TryFrom<String> for Mode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = || {
            let (size, fps) = text.split_once('@')?;
            let (width, height) = size.split_once('x')?;
            Some(Self {
                width: width.parse().ok()?,
                height: height.parse().ok()?,
                fps: fps.parse().ok()?,
            })
        };
        let mode =
            parsed().ok_or_else(|| format!("`{text}` is not a mode; one looks like 848x480@90"))?;
        if !(1..=4096).contains(&mode.width) || !(1..=4096).contains(&mode.height) {
            return Err(format!("`{text}`: width and height go from 1 to 4096 pixels"));
        }
        if !(0.1..=1000.0).contains(&mode.fps) {
            return Err(format!("`{text}`: the rate goes from 0.1 to 1000 frames a second"));
        }
        Ok(mode)
    }
}

/// A colour: `#rrggbb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Rgb(pub(super) u32);

impl TryFrom<String> for Rgb {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text
            .strip_prefix('#')
            .filter(|digits| digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let rgb = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        rgb.map(Self).ok_or_else(|| format!("`{text}` is no colour; one looks like #9fb4ff"))
    }
}

/// A length of time on the command line: `10s`, `2.5s`, `500ms`, `3m`, `1h`, or a number of
/// seconds.
pub fn parse_duration(text: &str) -> anyhow::Result<std::time::Duration> {
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
    Ok(std::time::Duration::from_secs_f64(seconds))
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
    use std::time::Duration;

    use super::*;

    #[test]
    fn modes_and_durations() {
        assert_eq!("848x480@90".parse(), Ok(Mode { width: 848, height: 480, fps: 90.0 }));
        for bad in [
            "848x480",
            "848@90",
            "0x480@90",
            "848x480@0",
            "848x480@nan",
            "1e3x2@3",
            "",
            "99999x1@1",
        ] {
            assert!(bad.parse::<Mode>().is_err(), "{bad}");
        }
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
