//! Signals as JSON lines, as `sri score` reads them:
//!
//! ```text
//! {"sri_signals": 1, "fingerprint": {...}, "columns": [...]}      optional first line
//! {"id": "req-1", "sigma": [0.98, 0.97, ...], "length": 12}       a number per cell; a list per cell where C > 1
//! ```
//!
//! The form the bundle reads, `sigma` or `logit`, must be there. `null` and NaN mean "not finite". Without `length` the
//! generation is finished. A line may name its `group`. A byte-order mark in front is skipped; what is written twice, unknown or of another kind is
//! refused.

use std::io::{BufRead, Read};
use std::ptr::null_mut;
use std::slice;

use crate::guard::{asked, c_text, text_of, Guard};
use crate::native;
use crate::refused::Refused;

/// One more byte than the C library reads, so that it sees what is too much.
const MOST_BYTES: u64 = (1 << 30) + 1;

/// Signals of N generations.
#[derive(Debug, Default)]
pub struct Signals {
    /// [N], all different.
    pub ids: Vec<String>,
    /// [N, T, C] in the guard's domain.
    pub cells: Vec<f32>,
    /// [N] cells filled so far.
    pub lengths: Vec<i64>,
    /// [N] of which group of prompts each is; None = not named.
    pub groups: Vec<Option<String>>,
    /// JSON text of what made them.
    pub fingerprint: Option<String>,
}

struct Owned(*mut native::Signals);

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: it came from the library and is freed once.
        unsafe { native::sri_signals_free(self.0) }
    }
}

impl Signals {
    /// Reads all lines.
    ///
    /// # Errors
    /// Names the line and what is wrong with it.
    pub fn read(lines: impl BufRead, subject: &str, guard: &Guard) -> Result<Signals, Refused> {
        let mut bytes = Vec::new();
        let read = lines.take(MOST_BYTES).read_to_end(&mut bytes);
        read.map_err(|err| Refused::new(format!("{subject}: cannot be read ({err}).")))?;
        let subject = c_text(subject)?;
        let mut found = Owned(null_mut());
        // SAFETY: bytes and subject outlive the call, and the library keeps nothing of them.
        asked(|error| unsafe {
            let (text, size) = (bytes.as_ptr().cast(), bytes.len());
            native::sri_signals_parse(guard.handle(), subject.as_ptr(), text, size, &mut found.0, error)
        })?;
        // SAFETY: the library says how much there is, and all of it lives until `found` is dropped.
        unsafe {
            let rows = native::sri_signals_count(found.0);
            let size = rows * guard.cells() * guard.columns();
            let groups = slice::from_raw_parts(native::sri_signals_groups(found.0), rows);
            Ok(Signals {
                ids: (0..rows).filter_map(|row| text_of(native::sri_signals_id(found.0, row))).collect(),
                cells: slice::from_raw_parts(native::sri_signals_cells(found.0), size).to_vec(),
                lengths: slice::from_raw_parts(native::sri_signals_lengths(found.0), rows).to_vec(),
                groups: groups.iter().map(|group| text_of(*group)).collect(),
                fingerprint: text_of(native::sri_signals_fingerprint(found.0)),
            })
        }
    }
}
