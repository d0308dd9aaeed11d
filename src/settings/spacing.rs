//! How far commits are apart.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::units::{duration, scalar};

const AUTO: &str = "auto";

/// `[ring] commit_spacing`, written "auto" or as a duration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CommitSpacing {
    /// As what comes in has it: at most 20 ms, and at once where nothing else would share the
    /// commit.
    #[default]
    Auto,
    /// The least time between commits.
    Fixed(Duration),
}

impl fmt::Display for CommitSpacing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str(AUTO),
            Self::Fixed(spacing) => humantime::format_duration(*spacing).fmt(f),
        }
    }
}

impl Serialize for CommitSpacing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CommitSpacing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = scalar(deserializer)?;
        if text == AUTO {
            return Ok(Self::Auto);
        }
        duration::parse(&text).map(Self::Fixed).map_err(|why| D::Error::custom(format!("{why}, or \"{AUTO}\"")))
    }
}
