//! The one error of this crate.

use std::fmt;

/// Why something was refused: one line of printable text that names the subject and the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(String);

impl Refused {
    /// Names in a damaged bundle may hold anything; a log line must not.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        Refused(text.chars().map(|c| if c.is_control() { '?' } else { c }).take(1000).collect())
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// Refuses with a formatted line.
macro_rules! refuse {
    ($($part:tt)*) => { return Err($crate::refused::Refused::new(format!($($part)*))) };
}
pub(crate) use refuse;
