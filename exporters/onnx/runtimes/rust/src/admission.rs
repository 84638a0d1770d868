//! Who may be scored: signals of the model, tap and profile the guard was fitted on.

use std::collections::BTreeMap;

use crate::json::Json;
use crate::manifest::Manifest;
use crate::refused::{refuse, Refused};
use crate::verdict::Rule;

/// How signals are to be judged.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// When to decide.
    pub rule: Rule,
    /// JSON object with `hard` and `soft`: what made the signals; None = not known.
    pub fingerprint: Option<&'a str>,
    /// Names of soft fields that may differ.
    pub accept: &'a [&'a str],
    /// Score signals without a fingerprint, at the caller's risk.
    pub unverified: bool,
}

const SOFT: [&str; 5] = ["dtype", "adapter", "torch", "transformers", "system_prompt"];

/// The soft fields that differ, all of them accepted; `unverified` for signals without a fingerprint.
pub fn admit(manifest: &Manifest, options: &Options) -> Result<Vec<String>, Refused> {
    if let Some(unknown) = options.accept.iter().find(|name| !SOFT.contains(name)) {
        refuse!(
            "accept: {unknown} is not a soft field; allowed: {}. Hard fields cannot be accepted: fit a guard for that model.",
            SOFT.join(", ")
        );
    }
    let Some(text) = options.fingerprint else {
        if options.unverified {
            return Ok(vec!["unverified".into()]);
        }
        refuse!(
            "signals: no fingerprint says what made them, so they may belong to another model. Give one, or score them at \
             your own risk as unverified."
        );
    };
    let given = Json::read(text, true).unwrap_or(Json::Null);
    let (Some(Json::Object(hard)), Some(Json::Object(soft))) = (given.get("hard"), given.get("soft")) else {
        refuse!("fingerprint: expected an object with `hard` and `soft`. Compute the signals again.");
    };
    made_with(&manifest.json, &given)?;
    let own = |part: &str| match manifest.json.get("fingerprint").and_then(|print| print.get(part)) {
        Some(Json::Object(members)) => members,
        _ => unreachable!("the manifest was checked"),
    };
    if let Some(name) = differing(own("hard"), hard).first() {
        refuse!(
            "{} Anchors and thresholds do not carry over; use the guard of this model and profile.",
            difference(name, own("hard"), hard)
        );
    }
    let names = differing(own("soft"), soft);
    if let Some(name) = names.iter().find(|name| !options.accept.contains(&name.as_str())) {
        refuse!("{} If that is intended, accept it by name.", difference(name, own("soft"), soft));
    }
    Ok(SOFT.iter().filter(|name| names.iter().any(|one| one == *name)).map(|name| (*name).into()).collect())
}

/// Beside `hard` and `soft`, a fingerprint may say with which anchors, tau and eps the signals were made.
fn made_with(manifest: &Json, given: &Json) -> Result<(), Refused> {
    for name in ["anchors", "tau", "eps"] {
        let own = manifest.get(name).map(|own| own.get("sha256").unwrap_or(own));
        let (Some(own), Some(found)) = (own, given.get(name)) else { continue };
        if !found.same(own) {
            refuse!(
                "signals: made with {name} {}, the guard was calibrated with {}. Compute the signals again with the guard's \
                 own anchors and settings.",
                found.shown(),
                own.shown()
            );
        }
    }
    Ok(())
}

type Fields = BTreeMap<String, Json>;

fn differing(own: &Fields, given: &Fields) -> Vec<String> {
    let differs = |name: &&String| !given.get(*name).is_some_and(|found| found.same(&own[*name]));
    own.keys().filter(differs).cloned().collect()
}

fn difference(name: &str, own: &Fields, given: &Fields) -> String {
    let found = given.get(name).map_or_else(|| "nothing".into(), Json::shown);
    format!("signals: {name} is {found}, the guard was fitted on {}.", own[name].shown())
}
