//! What a guard says of one generation, in the schema every runtime shares.

use std::ffi::CStr;

use crate::native;

const SCHEMA: u32 = 1;

/// When a guard decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rule {
    /// Judge finished generations.
    #[default]
    Final,
    /// Judge every length up to the row's own, as a monitor would have done while it ran.
    Online,
}

/// `Unmonitored` is never `Clear`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Nothing is known.
    Unmonitored,
    /// Judged, and not above the threshold.
    Clear,
    /// Above the threshold.
    Flagged,
}

/// Why a verdict is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It was flagged.
    ScoreAboveThreshold,
    /// A cell is NaN or infinite.
    NonFiniteSignal,
    /// A cell lies outside the range of its domain.
    SignalOutOfRange,
    /// No cell is filled, or not all are and the rule needs all.
    IncompleteSignal,
    /// The detector could not score it.
    ScoreNotFinite,
}

impl Reason {
    /// The code in the schema.
    pub fn code(self) -> &'static str {
        match self {
            Reason::ScoreAboveThreshold => "score_above_threshold",
            Reason::NonFiniteSignal => "non_finite_signal",
            Reason::SignalOutOfRange => "signal_out_of_range",
            Reason::IncompleteSignal => "incomplete_signal",
            Reason::ScoreNotFinite => "score_not_finite",
        }
    }
}

/// What a guard says of one generation.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// See [`Status`].
    pub status: Status,
    /// Most important first.
    pub reasons: Vec<Reason>,
    /// Higher = more suspicious, in the detector's own unit; None where nothing could be scored.
    pub score: Option<f32>,
    /// Flagged when score > threshold.
    pub threshold: f64,
    /// (1 + #{calibration scores >= score}) / (n + 1).
    pub p_value: Option<f64>,
    /// Step that was done when the online rule first alarmed, counted from 0.
    pub first_alarm_step: Option<u64>,
    /// Which rule judged.
    pub rule: Rule,
    /// Digest of the bundle that scored it.
    pub bundle: String,
    /// Soft fields of the fingerprint that differ and were accepted; `unverified` for signals without one.
    pub accepted: Vec<String>,
}

impl native::Verdict {
    pub fn empty() -> native::Verdict {
        native::Verdict {
            status: 0,
            rule: 0,
            reasons: [0; 2],
            scored: false,
            score: 0.0,
            threshold: 0.0,
            p_value: 0.0,
            first_alarm_step: -1,
            accepted: 0,
            bundle: [0; 65],
        }
    }
}

/// By bit of `accepted`.
const ACCEPTED: [&str; 6] = ["dtype", "adapter", "torch", "transformers", "system_prompt", "unverified"];

impl Verdict {
    pub(crate) fn of(found: &native::Verdict) -> Verdict {
        let reason = |code: &u32| match code {
            0 => None,
            1 => Some(Reason::ScoreAboveThreshold),
            2 => Some(Reason::NonFiniteSignal),
            3 => Some(Reason::SignalOutOfRange),
            4 => Some(Reason::IncompleteSignal),
            _ => Some(Reason::ScoreNotFinite),
        };
        let accepted = ACCEPTED.iter().enumerate().filter(|(bit, _)| found.accepted >> bit & 1 == 1);
        Verdict {
            status: match found.status {
                1 => Status::Clear,
                2 => Status::Flagged,
                _ => Status::Unmonitored,
            },
            reasons: found.reasons.iter().filter_map(reason).collect(),
            score: found.scored.then_some(found.score),
            threshold: found.threshold,
            p_value: found.scored.then_some(found.p_value),
            first_alarm_step: u64::try_from(found.first_alarm_step).ok(),
            rule: if found.rule == 1 { Rule::Online } else { Rule::Final },
            // SAFETY: the library closes it with a zero.
            bundle: unsafe { CStr::from_ptr(found.bundle.as_ptr()) }.to_string_lossy().into_owned(),
            accepted: accepted.map(|(_, name)| (*name).into()).collect(),
        }
    }

    /// One line of JSON.
    pub fn to_json(&self, request_id: &str) -> String {
        let status = match self.status {
            Status::Unmonitored => "unmonitored",
            Status::Clear => "clear",
            Status::Flagged => "flagged",
        };
        let rule = if self.rule == Rule::Online { "online" } else { "final" };
        format!(
            "{{\"request_id\": {}, \"status\": \"{status}\", \"reasons\": {}, \"score\": {}, \"threshold\": {:?}, \
             \"p_value\": {}, \"first_alarm_step\": {}, \"steps_seen\": null, \"steps_expected\": null, \
             \"rule\": \"{rule}\", \"bundle\": {}, \"accepted\": {}, \"schema\": {SCHEMA}}}",
            quoted(request_id),
            list(self.reasons.iter().map(|reason| reason.code())),
            maybe(self.score.map(f64::from)),
            self.threshold,
            maybe(self.p_value),
            maybe(self.first_alarm_step),
            quoted(&self.bundle),
            list(self.accepted.iter().map(String::as_str)),
        )
    }
}

fn maybe<T: std::fmt::Debug>(value: Option<T>) -> String {
    value.map_or_else(|| "null".into(), |value| format!("{value:?}"))
}

fn list<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    format!("[{}]", texts.map(quoted).collect::<Vec<_>>().join(", "))
}

/// A text as JSON.
fn quoted(text: impl AsRef<str>) -> String {
    let mut out = String::from("\"");
    for c in text.as_ref().chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
