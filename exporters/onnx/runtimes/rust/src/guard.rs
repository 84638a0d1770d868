//! The guard: a bundle that was read, loaded and tested, and what it says of signals.

use std::path::Path;

use crate::admission::{admit, Options};
use crate::digest::check_pinned;
use crate::files::{check_sizes, read_folder, Files, MANIFEST};
use crate::graphs::GRAPHS;
use crate::manifest::{Manifest, Threshold, INVALID_SCORE};
use crate::refused::{refuse, Refused};
use crate::runtime::{Runtime, Session};
use crate::verdict::{Reason, Rule, Status, Verdict};

/// Rows per call, and cells, whichever is fewer: keeps temporaries small.
const CHUNK: usize = 256;
const CHUNK_CELLS: usize = 1 << 22;

/// A bundle, loaded and self-tested. May be shared between threads.
pub struct Guard {
    // Sessions are released before the environment they live in.
    sessions: [Session; 2],
    runtime: Runtime,
    manifest: Manifest,
}

/// One row, or one row so far.
#[derive(Clone, Copy)]
struct Judged {
    /// None = no length had a score.
    score: Option<f32>,
    /// All that were due had one.
    complete: bool,
    /// First cell with an alarm.
    alarm: Option<usize>,
}

impl Guard {
    /// Opens a bundle folder.
    ///
    /// `digest` (64 hex characters) must be the bundle's own: the one protection against tampering here.
    ///
    /// # Errors
    /// What is missing, listed but not there, there but not listed, not a plain file, too large, damaged, of another
    /// format or of tier `python`, what onnxruntime cannot load, and what computes something else than the golden vectors.
    pub fn open(path: impl AsRef<Path>, digest: Option<&str>) -> Result<Guard, Refused> {
        Guard::from_files(&path.as_ref().display().to_string(), &read_folder(path)?, digest)
    }

    /// The same for files in memory, `manifest.json` among them; `subject` names them in messages.
    ///
    /// # Errors
    /// See [`Guard::open`].
    pub fn from_files(subject: &str, files: &Files, digest: Option<&str>) -> Result<Guard, Refused> {
        check_sizes(subject, files.iter().map(|(name, bytes)| (name.as_str(), bytes.len() as u64)))?;
        let Some(content) = files.get(MANIFEST) else {
            refuse!("{subject}: {MANIFEST} is missing. Export the guard again.");
        };
        if let Some(wanted) = digest {
            check_pinned(content, subject, wanted)?;
        }
        let manifest = Manifest::read(files, subject)?;
        let runtime = Runtime::open(subject)?;
        let load = |which: usize| {
            let file = format!("{}.onnx", GRAPHS[which]);
            let grid = [manifest.cells, manifest.layers];
            runtime.load(&files[&file], format!("{subject}/{file}"), which == 1, grid)
        };
        let guard = Guard { sessions: [load(0)?, load(1)?], runtime, manifest };
        guard.self_test(subject, 0)?;
        guard.self_test(subject, 1)?;
        Ok(guard)
    }

    /// A runtime that computes something else never scores.
    fn self_test(&self, subject: &str, which: usize) -> Result<(), Refused> {
        let (golden, name) = (&self.manifest.golden[which], GRAPHS[which]);
        let (score, valid) = self.run_unchecked(&golden.signals, golden.lengths.as_deref())?;
        for row in 0..golden.score.len() {
            if valid[row] != golden.valid[row] {
                refuse!(
                    "{subject}: graph {name} says valid = {} of golden row {row}, not the opposite. This runtime cannot be \
                     trusted with it; use another onnxruntime, or export the guard again.",
                    valid[row]
                );
            }
            let gap = (f64::from(score[row]) - f64::from(golden.score[row])).abs();
            // NaN is wrong, too.
            if !matches!(gap.partial_cmp(&f64::from(golden.tolerance[row])), Some(order) if order.is_le()) {
                refuse!(
                    "{subject}: graph {name} scores golden row {row} {:?}, expected {:?} within {:?}. Use another \
                     onnxruntime, or export the guard again.",
                    score[row],
                    golden.score[row],
                    golden.tolerance[row]
                );
            }
        }
        Ok(())
    }

    /// T.
    pub fn cells(&self) -> usize {
        self.manifest.cells
    }

    /// C.
    pub fn layers(&self) -> usize {
        self.manifest.layers
    }

    /// `sigma` or `logit`: what signals must hold.
    pub fn domain(&self) -> &str {
        &self.manifest.domain
    }

    /// 64 hex characters that name this very bundle.
    pub fn digest(&self) -> &str {
        &self.manifest.digest
    }

    /// Flagged when score > threshold.
    pub fn threshold(&self, rule: Rule) -> f64 {
        self.manifest.rule(rule).value
    }

    /// The bare graphs, for streaming: [N, T, C] -> score [N], valid [N].
    ///
    /// With `lengths` (cells known so far) it is the score of running generations, to be compared with the threshold of
    /// [`Rule::Online`], and cells beyond a length are not read; without, that of finished ones. Where `valid` is false the
    /// score is 3e38, which is above every threshold.
    ///
    /// # Errors
    /// `signals` is not [N, T, C], or `lengths` not [N].
    pub fn run(&self, signals: &[f32], lengths: Option<&[i64]>) -> Result<(Vec<f32>, Vec<bool>), Refused> {
        let (mut scores, mut valids) = self.run_unchecked(signals, lengths)?;
        // A graph that calls a score valid which is no number below 3e38 is not believed: NaN is above no threshold, so it
        // would find every generation clear.
        for (score, valid) in
            scores.iter_mut().zip(&mut valids).filter(|(score, _)| score.is_nan() || score.abs() >= INVALID_SCORE)
        {
            (*score, *valid) = (INVALID_SCORE, false);
        }
        Ok((scores, valids))
    }

    fn run_unchecked(&self, signals: &[f32], lengths: Option<&[i64]>) -> Result<(Vec<f32>, Vec<bool>), Refused> {
        let size = self.row_size();
        let rows = self.rows(signals, lengths)?;
        let session = &self.sessions[usize::from(lengths.is_some())];
        let (mut scores, mut valids) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        let mut at = 0;
        while at < rows {
            let end = rows.min(at + self.chunk_rows());
            let known = lengths.map(|lengths| &lengths[at..end]);
            let (score, valid) = self.runtime.run(session, &signals[at * size..end * size], known, end - at)?;
            scores.extend(score);
            valids.extend(valid);
            at = end;
        }
        Ok((scores, valids))
    }

    /// One verdict per generation [N, T, C], in order; `lengths` [N] = cells filled so far, None = all T.
    ///
    /// A row that cannot be scored is unmonitored and says why; it never fails its neighbours.
    ///
    /// # Errors
    /// Shapes that do not fit, lengths outside 0..=T, no fingerprint without `unverified`, or a fingerprint of another
    /// model, tap or profile.
    pub fn score(&self, signals: &[f32], lengths: Option<&[i64]>, options: &Options) -> Result<Vec<Verdict>, Refused> {
        let rows = self.rows(signals, lengths)?;
        let whole = vec![self.cells() as i64; rows];
        let lengths = lengths.unwrap_or(&whole);
        if let Some(wrong) = lengths.iter().find(|length| !(0..=self.cells() as i64).contains(*length)) {
            refuse!(
                "signals: lengths must be numbers from 0 to {}, found {wrong}. A length is the number of cells filled so far.",
                self.cells()
            );
        }
        let accepted = admit(&self.manifest, options)?;
        let judged = match options.rule {
            Rule::Final => self.judge_final(signals, lengths)?,
            Rule::Online => self.judge_online(signals, lengths)?,
        };
        let row = |i: usize| &signals[i * self.row_size()..(i + 1) * self.row_size()];
        let conclude = |(i, judged)| self.conclude(judged, row(i), lengths[i] as usize, options.rule, &accepted);
        Ok(judged.into_iter().enumerate().map(conclude).collect())
    }

    fn row_size(&self) -> usize {
        self.cells() * self.layers()
    }

    fn chunk_rows(&self) -> usize {
        (CHUNK_CELLS / self.row_size()).clamp(1, CHUNK)
    }

    fn rows(&self, signals: &[f32], lengths: Option<&[i64]>) -> Result<usize, Refused> {
        let rows = signals.len() / self.row_size();
        if signals.len() % self.row_size() != 0 || lengths.is_some_and(|lengths| lengths.len() != rows) {
            refuse!(
                "signals: {} numbers and {} lengths, the guard takes [N, {}, {}] and [N]. Lay the signals on the guard's step \
                 grid and tapped layers.",
                signals.len(),
                lengths.map_or(rows, <[i64]>::len),
                self.cells(),
                self.layers()
            );
        }
        Ok(rows)
    }

    fn judge_final(&self, signals: &[f32], lengths: &[i64]) -> Result<Vec<Judged>, Refused> {
        let (score, valid) = self.run(signals, None)?;
        let judge = |i: usize| {
            let good = valid[i] && lengths[i] == self.cells() as i64;
            Judged { score: good.then_some(score[i]), complete: good, alarm: None }
        };
        Ok((0..lengths.len()).map(judge).collect())
    }

    /// Every length of every row goes through the graph `prefix`; (row, length) pairs are counted in one sequence.
    fn judge_online(&self, signals: &[f32], lengths: &[i64]) -> Result<Vec<Judged>, Refused> {
        let (cells, size) = (self.cells(), self.row_size());
        let start = |length: &i64| Judged { score: None, complete: *length > 0, alarm: None };
        let mut judged: Vec<Judged> = lengths.iter().map(start).collect();
        let threshold = self.threshold(Rule::Online);
        let pairs = lengths.len() * cells;
        for at in (0..pairs).step_by(self.chunk_rows()) {
            let chunk = at..pairs.min(at + self.chunk_rows());
            let rows: Vec<f32> = chunk.clone().flat_map(|k| &signals[k / cells * size..][..size]).copied().collect();
            let known: Vec<i64> = chunk.clone().map(|k| (k % cells) as i64 + 1).collect();
            let (score, valid) = self.run(&rows, Some(&known))?;
            for (i, k) in chunk.enumerate().filter(|(i, k)| known[*i] <= lengths[k / cells]) {
                let so_far = &mut judged[k / cells];
                if !valid[i] {
                    so_far.complete = false;
                    continue;
                }
                so_far.score = Some(so_far.score.map_or(score[i], |most| most.max(score[i])));
                if so_far.alarm.is_none() && f64::from(score[i]) > threshold {
                    so_far.alarm = Some(k % cells);
                }
            }
        }
        Ok(judged)
    }

    fn conclude(&self, judged: Judged, row: &[f32], length: usize, rule: Rule, accepted: &[String]) -> Verdict {
        let threshold = self.manifest.rule(rule);
        let flagged = judged.score.is_some_and(|score| f64::from(score) > threshold.value);
        let mut reasons = Vec::new();
        if flagged {
            reasons.push(Reason::ScoreAboveThreshold);
        }
        if !judged.complete {
            reasons.push(self.why(row, length, rule));
        }
        // An alarm stands even where later cells cannot be read: it was one when it rang.
        let status = match (flagged, judged.complete) {
            (true, _) => Status::Flagged,
            (false, true) => Status::Clear,
            (false, false) => Status::Unmonitored,
        };
        let score = judged.score.filter(|_| status != Status::Unmonitored);
        Verdict {
            status,
            reasons,
            score,
            threshold: threshold.value,
            p_value: score.map(|score| p_value(threshold, score)),
            first_alarm_step: judged.alarm.filter(|_| rule == Rule::Online).and_then(|cell| self.step(cell)),
            rule,
            bundle: self.manifest.digest.clone(),
            accepted: accepted.to_vec(),
        }
    }

    /// The step that was done when a cell closed, from 0; None where the grid counts tokens.
    fn step(&self, cell: usize) -> Option<u64> {
        let (budget, cells) = self.manifest.steps?;
        Some(((cell as u64 + 1) * budget).div_ceil(cells) - 1)
    }

    /// Why a row could not be judged completely.
    fn why(&self, row: &[f32], length: usize, rule: Rule) -> Reason {
        if length == 0 || (rule == Rule::Final && length < self.cells()) {
            return Reason::IncompleteSignal;
        }
        let seen = &row[..length * self.layers()];
        let (low, high) = self.manifest.range;
        if !seen.iter().all(|cell| cell.is_finite()) {
            Reason::NonFiniteSignal
        } else if !seen.iter().all(|cell| *cell > low && *cell < high) {
            Reason::SignalOutOfRange
        } else {
            Reason::ScoreNotFinite
        }
    }
}

/// (1 + #{s_i >= s}) / (n + 1).
fn p_value(threshold: &Threshold, score: f32) -> f64 {
    let n = threshold.scores.len();
    let below = threshold.scores.partition_point(|calibration| *calibration < score);
    (1 + n - below) as f64 / (n + 1) as f64
}
