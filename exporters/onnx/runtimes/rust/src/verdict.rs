//! What a guard says of one generation, in the schemas every runtime shares.

use std::slice;

use crate::guard::text_of;
use crate::native;

/// When a guard decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rule {
    /// Judge finished generations.
    #[default]
    Final,
    /// Judge every length up to the row's own, as a monitor would have done while it ran.
    Online,
    /// Judge what the guard says of requests alone; not every guard has this rule.
    Request,
}

impl Rule {
    fn name(self) -> &'static str {
        match self {
            Rule::Final => "final",
            Rule::Online => "online",
            Rule::Request => "request",
        }
    }
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

impl Status {
    fn of(code: u32) -> Status {
        match code {
            1 => Status::Clear,
            2 => Status::Flagged,
            _ => Status::Unmonitored,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Status::Unmonitored => "unmonitored",
            Status::Clear => "clear",
            Status::Flagged => "flagged",
        }
    }
}

/// How a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Its last cell is that of a refusal.
    Refusing,
    /// It is not.
    Complying,
}

/// What one part of a guard says of one generation.
#[derive(Debug, Clone, PartialEq)]
pub struct PartVerdict {
    /// Of the part.
    pub name: String,
    /// See [`Status`].
    pub status: Status,
    /// Higher = more suspicious, in the detector's own unit; None where nothing could be scored.
    pub score: Option<f32>,
    /// Flagged when score > threshold.
    pub threshold: f64,
    /// (1 + #{calibration scores >= score}) / (n + 1).
    pub p_value: Option<f64>,
    /// Code of its alarm, or of why it could not be judged; None = it is clear.
    pub reason: Option<String>,
}

/// What a guard says of one generation.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// See [`Status`].
    pub status: Status,
    /// Codes, most important first; docs/errors-and-cures.md says what to do about each.
    pub reasons: Vec<String>,
    /// Higher = more suspicious, in the detector's own unit; None where nothing could be scored. Of the part that decided.
    pub score: Option<f32>,
    /// Flagged when score > threshold.
    pub threshold: f64,
    /// (1 + #{calibration scores >= score}) / (n + 1); of several parts, that of the one that decided, times alpha over its
    /// share.
    pub p_value: Option<f64>,
    /// Step that was done when the online rule first alarmed, counted from 0.
    pub first_alarm_step: Option<u64>,
    /// Which rule judged.
    pub rule: Rule,
    /// Digest of the bundle that scored it.
    pub bundle: String,
    /// Soft fields of the fingerprint that differ and were accepted; `unverified` for signals without one.
    pub accepted: Vec<String>,
    /// Steps that the verdict is about, of a guard that decides on the first ones.
    pub judged_steps: Option<u64>,
    /// How the generation ended, if the guard can tell.
    pub ended: Option<Ended>,
    /// Whose thresholds counted; None = the guard has no groups, or not the one given.
    pub group: Option<String>,
    /// What each part of the rule says; empty in schema 1.
    pub parts: Vec<PartVerdict>,
    /// 1, or 2 of guards of format 2.
    pub schema: u32,
}

/// By bit of `accepted`.
const ACCEPTED: [&str; 6] = ["dtype", "adapter", "torch", "transformers", "system_prompt", "unverified"];

impl Verdict {
    /// # Safety
    /// A verdict of the library's, whose texts and parts are there.
    pub(crate) unsafe fn of(found: &native::Verdict) -> Verdict {
        let accepted = ACCEPTED.iter().enumerate().filter(|(bit, _)| found.accepted >> bit & 1 == 1);
        let parts = if found.parts.is_null() { &[] } else { slice::from_raw_parts(found.parts, found.part_count) };
        Verdict {
            status: Status::of(found.status),
            reasons: found.reasons.iter().map_while(|code| text_of(*code)).collect(),
            score: found.scored.then_some(found.score),
            threshold: found.threshold,
            p_value: found.scored.then_some(found.p_value),
            first_alarm_step: u64::try_from(found.first_alarm_step).ok(),
            rule: match found.rule {
                1 => Rule::Online,
                2 => Rule::Request,
                _ => Rule::Final,
            },
            bundle: text_of(found.bundle.as_ptr()).unwrap_or_default(),
            accepted: accepted.map(|(_, name)| (*name).into()).collect(),
            judged_steps: u64::try_from(found.judged_steps).ok(),
            ended: match found.ended {
                1 => Some(Ended::Refusing),
                2 => Some(Ended::Complying),
                _ => None,
            },
            group: text_of(found.group),
            parts: parts.iter().map(|part| PartVerdict::of(part)).collect(),
            schema: found.schema.unsigned_abs(),
        }
    }

    /// One line of JSON.
    pub fn to_json(&self, request_id: &str) -> String {
        let ended = self.ended.map(|ended| if ended == Ended::Refusing { "refusing" } else { "complying" });
        let parts: Vec<_> = self.parts.iter().map(PartVerdict::to_json).collect();
        let later = format!(
            "\"judged_steps\": {}, \"ended\": {}, \"group\": {}, \"parts\": [{}], ",
            maybe(self.judged_steps),
            ended.map_or_else(null, quoted),
            self.group.as_ref().map_or_else(null, quoted),
            parts.join(", ")
        );
        format!(
            "{{\"request_id\": {}, \"status\": \"{}\", \"reasons\": {}, \"score\": {}, \"threshold\": {:?}, \
             \"p_value\": {}, \"first_alarm_step\": {}, \"steps_seen\": null, \"steps_expected\": null, \
             \"rule\": \"{}\", \"bundle\": {}, \"accepted\": {}, {}\"schema\": {}}}",
            quoted(request_id),
            self.status.name(),
            list(self.reasons.iter()),
            maybe(self.score.map(f64::from)),
            self.threshold,
            maybe(self.p_value),
            maybe(self.first_alarm_step),
            self.rule.name(),
            quoted(&self.bundle),
            list(self.accepted.iter()),
            if self.schema == 1 { "" } else { &later },
            self.schema,
        )
    }
}

impl PartVerdict {
    /// # Safety
    /// Of a verdict of the library's, whose texts are there.
    unsafe fn of(found: &native::PartVerdict) -> PartVerdict {
        PartVerdict {
            name: text_of(found.name).unwrap_or_default(),
            status: Status::of(found.status),
            score: found.scored.then_some(found.score),
            threshold: found.threshold,
            p_value: found.scored.then_some(found.p_value),
            reason: text_of(found.reason),
        }
    }

    fn to_json(&self) -> String {
        format!(
            "{{\"name\": {}, \"status\": \"{}\", \"score\": {}, \"threshold\": {:?}, \"p_value\": {}, \"reason\": {}}}",
            quoted(&self.name),
            self.status.name(),
            maybe(self.score.map(f64::from)),
            self.threshold,
            maybe(self.p_value),
            self.reason.as_ref().map_or_else(null, quoted),
        )
    }
}

fn null() -> String {
    "null".into()
}

fn maybe<T: std::fmt::Debug>(value: Option<T>) -> String {
    value.map_or_else(null, |value| format!("{value:?}"))
}

fn list<'a>(texts: impl Iterator<Item = &'a String>) -> String {
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
