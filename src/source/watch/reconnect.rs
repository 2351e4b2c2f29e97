//! How long a camera is tried to be brought back: `--reconnect 60s|forever|never`.

use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use crate::words::parse_duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Reconnect {
    /// The first stall is the end.
    Never,
    /// For so long after each stall.
    For(Duration),
    Forever,
}

impl Default for Reconnect {
    fn default() -> Self {
        Self::For(Duration::from_secs(60))
    }
}

impl FromStr for Reconnect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "never" => Ok(Self::Never),
            "forever" => Ok(Self::Forever),
            _ => match parse_duration(text) {
                Ok(Duration::ZERO) => Ok(Self::Never),
                Ok(duration) => Ok(Self::For(duration)),
                Err(error) => Err(format!("{error}; or never, or forever")),
            },
        }
    }
}

impl TryFrom<String> for Reconnect {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_never_or_forever() {
        for (text, want) in [
            ("60s", Reconnect::default()),
            ("2m", Reconnect::For(Duration::from_secs(120))),
            ("0s", Reconnect::Never),
            ("never", Reconnect::Never),
            ("forever", Reconnect::Forever),
        ] {
            assert_eq!(text.parse(), Ok(want), "{text}");
        }
        for bad in ["", "always", "-1s", "60 bananas"] {
            assert!(
                bad.parse::<Reconnect>().unwrap_err().ends_with("or never, or forever"),
                "{bad}"
            );
        }
    }
}
