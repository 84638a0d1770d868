//! Signals as JSON lines, as `sri score` reads them:
//!
//! ```text
//! {"sri_signals": 1, "fingerprint": {...}}                        optional first line
//! {"id": "req-1", "sigma": [0.98, 0.97, ...], "length": 12}       a number per cell; a list per cell where C > 1
//! ```
//!
//! The form the bundle reads, `sigma` or `logit`, must be there. `null` and NaN mean "not finite". Without `length` the
//! generation is finished. A byte-order mark in front is skipped; what is written twice, unknown or of another kind is
//! refused.

use std::collections::BTreeSet;
use std::io::{BufRead, Read};

use crate::guard::Guard;
use crate::json::Json;
use crate::refused::{refuse, Refused};

const MARK: &[u8] = b"\xef\xbb\xbf";
const MOST_ROWS: usize = 1_000_000;
const MOST_NUMBERS: usize = 1 << 25;
const MOST_BYTES: usize = 1 << 30;
const LONGEST_LINE: u64 = 1 << 24;
/// Characters.
const LONGEST_ID: usize = 1024;

/// Signals of N generations.
#[derive(Debug, Default)]
pub struct Signals {
    /// [N], all different.
    pub ids: Vec<String>,
    /// [N, T, C] in the guard's domain.
    pub cells: Vec<f32>,
    /// [N] cells filled so far.
    pub lengths: Vec<i64>,
    /// JSON text of what made them.
    pub fingerprint: Option<String>,
}

impl Signals {
    /// Reads all lines.
    ///
    /// # Errors
    /// Names the line and what is wrong with it.
    pub fn read(mut lines: impl BufRead, subject: &str, guard: &Guard) -> Result<Signals, Refused> {
        let mut signals = Signals::default();
        let (mut first, mut total, mut both, mut bytes) = (true, 0, None, Vec::new());
        for number in 1.. {
            let place = format!("{subject}, line {number}");
            bytes.clear();
            // Not `lines()`, which has no limit.
            let size = (&mut lines).take(LONGEST_LINE + 1).read_until(b'\n', &mut bytes);
            let size = size.map_err(|err| Refused::new(format!("{place}: cannot be read ({err}).")))?;
            total += size;
            if size == 0 {
                break;
            }
            if bytes.len() as u64 > LONGEST_LINE || number > MOST_ROWS + 1 || total > MOST_BYTES {
                refuse!(
                    "{place}: too much at once; allowed: up to {LONGEST_LINE} bytes in a line, {} lines and {MOST_BYTES} \
                     bytes. Split the file.",
                    MOST_ROWS + 1
                );
            }
            let line = if number == 1 { bytes.strip_prefix(MARK).unwrap_or(&bytes) } else { &bytes[..] };
            if line.iter().all(|c| matches!(c, b' ' | b'\t' | b'\r' | b'\n')) {
                continue;
            }
            let text = std::str::from_utf8(line).map_err(|_| "bytes that are not UTF-8");
            match text.and_then(|text| Json::read(text, true)) {
                Err(problem) => refuse!("{place}: not JSON ({problem})."),
                Ok(value) if value.get("sri_signals").is_some() => signals.head(&value, first, &place)?,
                Ok(value) => signals.row(&value, &mut both, &place, guard)?,
            }
            first = false;
        }
        if signals.ids.is_empty() {
            refuse!("{subject}: holds no signals.");
        }
        if signals.ids.iter().collect::<BTreeSet<_>>().len() < signals.ids.len() {
            refuse!("{subject}: an id is there twice.");
        }
        Ok(signals)
    }

    fn head(&mut self, value: &Json, first: bool, place: &str) -> Result<(), Refused> {
        let print = value.get("fingerprint");
        let keys = 1 + usize::from(print.is_some());
        let known = matches!(value, Json::Object(members) if members.len() == keys);
        if !first || value.get("sri_signals").and_then(Json::whole) != Some(1) || !known {
            refuse!(
                "{place}: a head {{\"sri_signals\": 1, \"fingerprint\": {{...}}}} is allowed on the first line only, with \
                 these keys."
            );
        }
        let Some(print) = print.filter(|print| **print != Json::Null) else { return Ok(()) };
        if !["hard", "soft"].iter().all(|part| matches!(print.get(part), Some(Json::Object(_)))) {
            refuse!("{place}: the fingerprint must be an object with the objects `hard` and `soft`, or null.");
        }
        self.fingerprint = Some(print.to_string());
        Ok(())
    }

    /// `both`: whether lines hold both forms; None = there was none yet.
    fn row(&mut self, value: &Json, both: &mut Option<bool>, place: &str, guard: &Guard) -> Result<(), Refused> {
        let (cells, layers, domain) = (guard.cells(), guard.layers(), guard.domain());
        let known = ["id", "sigma", "logit", "length"];
        let other = value.get(if domain == "sigma" { "logit" } else { "sigma" });
        let fits = matches!(value, Json::Object(members) if members.keys().all(|key| known.contains(&key.as_str())))
            && *both.get_or_insert(other.is_some()) == other.is_some();
        let (Some(Json::Text(id)), Some(list), true) = (value.get("id"), value.get(domain), fits) else {
            refuse!(
                "{place}: a line needs a text `id` and `{domain}`, which the bundle reads, and may have `length`; the other \
                 form is in every line, or in none."
            );
        };
        let other = other.is_none_or(|other| grid(other, cells, layers).is_some());
        let (Some(numbers), true) = (grid(list, cells, layers), other) else {
            refuse!(
                "{place}: {domain} or the other form is not {cells} cells of {layers} numbers each, which the guard takes. \
                 Lay the signals on the guard's step grid and tapped layers."
            );
        };
        let length = value.get("length").map_or(Some(cells as i64), Json::whole);
        let Some(length) = length.filter(|length| (0..=cells as i64).contains(length)) else {
            refuse!("{place}: length is not a whole number from 0 to {cells}: the number of cells filled so far.");
        };
        if id.contains('\0') || id.chars().count() > LONGEST_ID {
            refuse!("{place}: `id` holds a NUL, or more than {LONGEST_ID} characters.");
        }
        if self.ids.len() == MOST_ROWS || self.cells.len() + numbers.len() > MOST_NUMBERS {
            refuse!(
                "{place}: too much at once; allowed: up to {MOST_ROWS} generations and {MOST_NUMBERS} numbers. Split the file."
            );
        }
        self.ids.push(id.clone());
        self.cells.extend(numbers);
        self.lengths.push(length);
        Ok(())
    }
}

/// A list of T numbers, or of T lists of C numbers.
fn grid(list: &Json, cells: usize, layers: usize) -> Option<Vec<f32>> {
    let number = |value: &Json| match value {
        Json::Null => Some(f32::NAN),
        other => other.number().map(|value| value as f32),
    };
    let Json::Array(rows) = list else { return None };
    let nested = matches!(rows.first(), Some(Json::Array(_)));
    if rows.len() != cells || (!nested && layers != 1) {
        return None;
    }
    let row = |value: &Json| match value {
        Json::Array(items) if nested && items.len() == layers => items.iter().map(number).collect(),
        one if !nested => number(one).map(|one| vec![one]),
        _ => None,
    };
    let rows: Vec<Vec<f32>> = rows.iter().map(row).collect::<Option<_>>()?;
    Some(rows.concat())
}
