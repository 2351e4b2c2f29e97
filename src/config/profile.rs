//! What a profiling session measures: the matrix, and how often and how long.

use std::time::Duration;

use serde::Deserialize;

use super::{Profile, UsageError, check};
use crate::profile::matrix::Matrix;
use crate::words::parse_duration;

/// A length of time: `"2s"`, `"500ms"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Length(pub Duration);

impl TryFrom<String> for Length {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        parse_duration(&text).map(Self).map_err(|error| error.to_string())
    }
}

impl Profile {
    /// # Errors
    /// If a value does not fit. What viewers there are, the command line knows.
    pub(super) fn checked(self) -> Result<Self, UsageError> {
        if let Some(n) = self.repetitions {
            check(
                (1..=1000).contains(&n),
                format!("profile.repetitions is {n}; it goes from 1 to 1000"),
            )?;
        }
        for hz in self.rates_hz.iter().flatten() {
            check(
                (0.1..=1000.0).contains(hz),
                format!("profile.rates_hz has {hz}; a rate goes from 0.1 to 1000"),
            )?;
        }
        for n in self.threads.iter().flatten() {
            check(
                *n <= 256,
                format!("profile.threads has {n}; it goes from 0 (automatic) to 256"),
            )?;
        }
        Ok(self)
    }

    pub fn matrix(&self) -> Matrix {
        Matrix {
            sizes: self.sizes.clone().unwrap_or_default(),
            rates_hz: self.rates_hz.clone().unwrap_or_default(),
            threads: self.threads.clone().unwrap_or_default(),
            policies: self.policies.clone().unwrap_or_default(),
            viewers: self.viewers.clone().unwrap_or_default(),
        }
    }
}
