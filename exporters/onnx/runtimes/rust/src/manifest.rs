//! `manifest.json`, format 1: checked against its own digest, then key by key. Unknown keys are another format.

use crate::digest::digest_of;
use crate::files::{Files, MANIFEST, SIGNATURES};
use crate::graphs::{self, Golden, Sizes};
use crate::json::Json;
use crate::reader::{is_sha256, At};
use crate::refused::{refuse, Refused};
use crate::sha256;
use crate::verdict::Rule;

/// What a graph answers where `valid` is false; every threshold is below it.
pub const INVALID_SCORE: f32 = 3e38;
const MOST_CELLS: usize = 4096;
const MOST_LAYERS: usize = 1024;
const WIDEST: usize = 1 << 20;
const MOST_NUMBERS: usize = 1 << 24;
const MOST_STEPS: usize = i32::MAX as usize;

pub struct Threshold {
    /// Flagged when score > value.
    pub value: f64,
    /// Calibration scores, smallest first.
    pub scores: Vec<f32>,
}

pub struct Manifest {
    pub json: Json,
    pub digest: String,
    /// T.
    pub cells: usize,
    /// C.
    pub layers: usize,
    pub domain: String,
    /// A cell must lie between them.
    pub range: (f32, f32),
    /// By rule: final, online.
    pub rules: [Threshold; 2],
    /// By graph: signal, prefix.
    pub golden: [Golden; 2],
    /// (budget, cells) of a grid that counts steps.
    pub steps: Option<(u64, u64)>,
}

impl Manifest {
    /// Reads and checks the manifest and the hashes of all other files.
    pub fn read(files: &Files, subject: &str) -> Result<Manifest, Refused> {
        let source = format!("{subject}/{MANIFEST}");
        let content = &files[MANIFEST];
        let text = std::str::from_utf8(content).map_err(|_| "bytes that are not UTF-8");
        let json = match text.and_then(|text| Json::read(text, false)) {
            Ok(json) => json,
            Err(problem) => refuse!("{source}: not a bundle manifest ({problem}). Export the guard again."),
        };
        let digest = head(&json, content, &source)?;
        let root = At::root(&json, &source).exactly(&[
            "anchors",
            "detector",
            "digest",
            "eps",
            "files",
            "fingerprint",
            "fingerprint_digest",
            "format",
            "golden",
            "graphs",
            "grid",
            "invalid_score",
            "pooling",
            "producer",
            "rates",
            "rules",
            "sensitive",
            "signal",
            "tau",
        ])?;
        check_files(&root, files, subject)?;
        check_rest(&root, &source)?;
        let signal = root.get("signal")?.exactly(&["cells", "domain", "hidden_size", "high", "layers", "low"])?;
        let cells = signal.get("cells")?.whole(1, MOST_CELLS)?;
        let layers = signal.get("layers")?.whole(1, MOST_LAYERS)?;
        let width = signal.get("hidden_size")?.whole(1, WIDEST)?;
        let domain = signal.get("domain")?.text()?.to_string();
        signal.check(domain == "sigma" || domain == "logit", "domain is neither sigma nor logit")?;
        let (low, high) = (signal.get("low")?.number()?, signal.get("high")?.number()?);
        signal.check(low < high, "an empty range")?;
        let rules = root.get("rules")?.exactly(&["final", "online"])?;
        Ok(Manifest {
            digest,
            cells,
            layers,
            domain,
            range: (low as f32, high as f32),
            rules: [threshold(&rules.get("final")?)?, threshold(&rules.get("online")?)?],
            golden: graphs::read(&root, &Sizes { cells, layers, width })?,
            steps: steps(&root)?,
            json: json.clone(),
        })
    }

    pub fn rule(&self, rule: Rule) -> &Threshold {
        &self.rules[rule as usize]
    }
}

/// Checks format and digest before anything else is believed.
fn head(json: &Json, content: &[u8], source: &str) -> Result<String, Refused> {
    let (Some(format), Some(digest)) = (json.get("format"), json.get("digest")) else {
        refuse!("{source}: not a bundle manifest (no format, or no digest). Export the guard again.");
    };
    if *format != Json::Number("1".into()) {
        let found: String = format.shown().chars().take(20).collect();
        refuse!(
            "{source}: manifest format {found}, this reader knows 1. Export the guard again, or use a newer reader."
        );
    }
    match digest {
        Json::Text(own) if is_sha256(own) && digest_of(content, own).as_ref() == Some(own) => Ok(own.clone()),
        _ => refuse!("{source}: the manifest does not match its own digest. Copy the bundle again."),
    }
}

/// Every listed file is there with its size and hash, and no other.
fn check_files(root: &At, files: &Files, subject: &str) -> Result<(), Refused> {
    let listed = root.get("files")?;
    let unlisted = |name: &str| name == MANIFEST || SIGNATURES.contains(&name);
    for name in listed.members()?.keys() {
        let entry = listed.get(name)?.exactly(&["sha256", "size"])?;
        let hash = entry.get("sha256")?.sha256()?;
        let size = entry.get("size")?.whole(0, 1 << 30)?;
        let Some(bytes) = files.get(name).filter(|_| !unlisted(name)) else {
            refuse!("{subject}: {name} is missing. Copy the bundle again, or export the guard again.");
        };
        if bytes.len() != size || sha256::hex(&[bytes]) != hash {
            refuse!("{subject}: {name} does not match its digest. Copy the bundle again.");
        }
    }
    for name in files.keys().filter(|name| !unlisted(name)) {
        if !listed.members()?.contains_key(name) {
            refuse!(
                "{subject}: {name} is not listed in the manifest. Copy the bundle again, or export the guard again."
            );
        }
    }
    Ok(())
}

/// Whatever is not used here, but is part of the format.
fn check_rest(root: &At, source: &str) -> Result<(), Refused> {
    let anchors = root.get("anchors")?.exactly(&["provenance", "sha256"])?;
    anchors.get("provenance")?.members()?;
    anchors.get("sha256")?.sha256()?;
    let fingerprint = root.get("fingerprint")?.exactly(&["hard", "soft"])?;
    fingerprint.get("hard")?.members()?;
    fingerprint.get("soft")?.members()?;
    root.get("fingerprint_digest")?.sha256()?;
    for rate in root.get("rates")?.all()? {
        let rate = rate.exactly(&["high", "k", "low", "n", "name"])?;
        rate.get("high")?.number()?;
        rate.get("low")?.number()?;
        rate.get("name")?.text()?;
        rate.get("k")?.whole(0, usize::MAX)?;
        rate.get("n")?.whole(1, usize::MAX)?;
    }
    for name in root.get("producer")?.members()?.keys() {
        root.get("producer")?.get(name)?.text()?;
    }
    root.get("tau")?.number()?;
    root.get("eps")?.number()?;
    let invalid = root.get("invalid_score")?;
    invalid.check(invalid.number()? == f64::from(INVALID_SCORE), "must be 3e38 as float32 holds it")?;
    let detector = root.get("detector")?.exactly(&["config", "name", "tier"])?;
    detector.get("config")?.members()?;
    detector.get("name")?.text()?;
    if detector.get("tier")?.text()? != "portable" {
        refuse!(
            "{source}: detector.tier: this detector runs in Python only, allowed here: portable. Score it with `sri score`."
        );
    }
    Ok(())
}

fn threshold(entry: &At) -> Result<Threshold, Refused> {
    let entry = entry.clone().exactly(&["alpha", "delta", "n", "rank", "scores", "tolerance", "value"])?;
    entry.get("alpha")?.share()?;
    if *entry.get("delta")?.json != Json::Null {
        entry.get("delta")?.share()?;
    }
    entry.check(entry.get("tolerance")?.number()? >= 0.0, "a tolerance below 0")?;
    let value = entry.get("value")?.number()?;
    entry.check(value < 3e38, "a threshold above invalid_score")?;
    let n = entry.get("n")?.whole(1, MOST_NUMBERS)?;
    entry.get("rank")?.whole(1, n)?;
    let scores = entry.get("scores")?.floats(&[Some(n)])?;
    // A binary search in anything else would find a wrong p-value.
    let in_order = scores.iter().all(|score| score.is_finite()) && scores.windows(2).all(|pair| pair[0] <= pair[1]);
    entry.check(in_order, "scores are not finite numbers in order")?;
    Ok(Threshold { value, scores })
}

fn steps(root: &At) -> Result<Option<(u64, u64)>, Refused> {
    let grid = root.get("grid")?;
    if grid.json.get("mapping") != Some(&Json::Text("step".into())) {
        return Ok(None);
    }
    let budget = grid.get("budget")?.whole(1, MOST_STEPS)?;
    Ok(Some((budget as u64, grid.get("cells")?.whole(1, MOST_STEPS)? as u64)))
}
