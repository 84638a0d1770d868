//! Signals as JSON lines, as `sri score` reads them:
//!
//! ```text
//! {"sri_signals": 1, "fingerprint": {...}}                        optional first line
//! {"id": "req-1", "sigma": [0.98, 0.97, ...], "length": 12}       a number per cell; a list per cell where C > 1
//! ```
//!
//! The form the bundle reads, `sigma` or `logit`, must be there. `null` and NaN mean "not finite". Without `length` the
//! generation is finished.

use std::collections::BTreeSet;
use std::io::BufRead;

use crate::guard::Guard;
use crate::json::Json;
use crate::refused::{refuse, Refused};

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
    pub fn read(lines: impl BufRead, subject: &str, guard: &Guard) -> Result<Signals, Refused> {
        let mut signals = Signals::default();
        for (number, line) in lines.lines().enumerate() {
            let place = format!("{subject}, line {}", number + 1);
            let line = line.map_err(|err| Refused::new(format!("{place}: cannot be read ({err}).")))?;
            if line.trim().is_empty() {
                continue;
            }
            match Json::read(&line, true) {
                Err(problem) => refuse!("{place}: not JSON ({problem})."),
                Ok(value) if value.get("sri_signals").is_some() => signals.head(&value, &place)?,
                Ok(value) => signals.row(&value, &place, guard)?,
            }
        }
        if signals.ids.is_empty() {
            refuse!("{subject}: holds no signals.");
        }
        if signals.ids.iter().collect::<BTreeSet<_>>().len() < signals.ids.len() {
            refuse!("{subject}: an id is there twice.");
        }
        Ok(signals)
    }

    fn head(&mut self, value: &Json, place: &str) -> Result<(), Refused> {
        let print = value.get("fingerprint");
        let keys = 1 + usize::from(print.is_some());
        let known = matches!(value, Json::Object(members) if members.len() == keys);
        if !self.ids.is_empty() || value.get("sri_signals").and_then(Json::number) != Some(1.0) || !known {
            refuse!(
                "{place}: a head {{\"sri_signals\": 1, \"fingerprint\": {{...}}}} is allowed on the first line only, with \
                 these keys."
            );
        }
        self.fingerprint = print.filter(|print| **print != Json::Null).map(Json::to_string);
        Ok(())
    }

    fn row(&mut self, value: &Json, place: &str, guard: &Guard) -> Result<(), Refused> {
        let (cells, layers, domain) = (guard.cells(), guard.layers(), guard.domain());
        let known = ["id", "sigma", "logit", "length"];
        let fits = matches!(value, Json::Object(members) if members.keys().all(|key| known.contains(&key.as_str())));
        let (Some(Json::Text(id)), Some(list), true) = (value.get("id"), value.get(domain), fits) else {
            refuse!("{place}: a line needs a text `id` and `{domain}`, which the bundle reads, and may have `length`.");
        };
        let Some(numbers) = grid(list, cells, layers) else {
            refuse!(
                "{place}: {domain} is not {cells} cells of {layers} numbers each, which the guard takes. Lay the signals on \
                 the guard's step grid and tapped layers."
            );
        };
        let length = value.get("length").map_or(Some(cells as i64), Json::whole);
        let Some(length) = length.filter(|length| (0..=cells as i64).contains(length)) else {
            refuse!("{place}: length is not a whole number from 0 to {cells}: the number of cells filled so far.");
        };
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
    let row = |value: &Json| match value {
        Json::Array(items) if items.len() == layers => items.iter().map(number).collect(),
        Json::Array(_) => None,
        one if layers == 1 => number(one).map(|one| vec![one]),
        _ => None,
    };
    let rows: Vec<Vec<f32>> =
        if rows.len() == cells { rows.iter().map(row).collect::<Option<_>>()? } else { return None };
    Some(rows.concat())
}
