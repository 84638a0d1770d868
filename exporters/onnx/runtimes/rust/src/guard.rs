//! The guard: a bundle that the C library read, loaded and tested, and what it says of signals.

use std::ffi::{c_char, CStr, CString};
use std::mem::size_of;
use std::path::Path;
use std::ptr::{null, null_mut};

use crate::files::Files;
use crate::native;
use crate::refused::{refuse, Refused};
use crate::verdict::{Rule, Verdict};

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
    /// [N] to which group of prompts each generation belongs, None = not known; empty = nobody knows any. Guards without
    /// groups do not read it.
    pub groups: &'a [Option<String>],
}

/// A bundle, loaded and self-tested. May be shared between threads.
pub struct Guard {
    handle: *mut native::Guard,
}

// SAFETY: sri_guard.h promises that an open guard is immutable and may be shared between threads.
unsafe impl Send for Guard {}
// SAFETY: as above.
unsafe impl Sync for Guard {}

impl Drop for Guard {
    fn drop(&mut self) {
        // SAFETY: the handle came from the library and is closed once.
        unsafe { native::sri_guard_close(self.handle) }
    }
}

/// A text for C.
pub(crate) fn c_text(text: &str) -> Result<CString, Refused> {
    CString::new(text).map_err(|_| Refused::new(format!("{text}: holds a NUL.")))
}

/// What the library says, or the reason why it refuses.
pub(crate) fn asked(call: impl FnOnce(*mut native::Error) -> i32) -> Result<(), Refused> {
    let mut error = native::Error { text: [0; 1024] };
    if call(&mut error) == 0 {
        return Ok(());
    }
    // SAFETY: the library closes its text with a zero, and it began as zeros.
    Err(Refused::new(unsafe { CStr::from_ptr(error.text.as_ptr()) }.to_string_lossy()))
}

/// Another layout in C would be read as nonsense.
fn check_layout() -> Result<(), Refused> {
    let own = [
        size_of::<native::Verdict>(),
        size_of::<native::PartVerdict>(),
        size_of::<native::Options>(),
        size_of::<native::File>(),
        size_of::<native::Error>(),
    ];
    let mut found = [0; 5];
    // SAFETY: the library writes five sizes.
    unsafe { native::sri_struct_sizes(found.as_mut_ptr()) };
    if own != found {
        refuse!(
            "sri_guard: structs of {found:?} bytes, this crate declares {own:?}. Build both from the same release."
        );
    }
    Ok(())
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
        check_layout()?;
        let path = c_text(&path.as_ref().to_string_lossy())?;
        let digest = digest.map(c_text).transpose()?;
        let mut handle = null_mut();
        // SAFETY: both texts outlive the call.
        asked(|error| unsafe { native::sri_guard_open(path.as_ptr(), pointer(&digest), &mut handle, error) })?;
        Ok(Guard { handle })
    }

    /// The same for files in memory, `manifest.json` among them; `subject` names them in messages.
    ///
    /// # Errors
    /// See [`Guard::open`].
    pub fn from_files(subject: &str, files: &Files, digest: Option<&str>) -> Result<Guard, Refused> {
        check_layout()?;
        let subject = c_text(subject)?;
        let digest = digest.map(c_text).transpose()?;
        let names = files.keys().map(|name| c_text(name)).collect::<Result<Vec<_>, _>>()?;
        let entry = |(name, bytes): (&CString, &Vec<u8>)| native::File {
            name: name.as_ptr(),
            bytes: bytes.as_ptr(),
            size: bytes.len(),
        };
        let list: Vec<_> = names.iter().zip(files.values()).map(entry).collect();
        let mut handle = null_mut();
        // SAFETY: names and bytes outlive the call, and the library keeps nothing of them.
        asked(|error| unsafe {
            let (subject, digest) = (subject.as_ptr(), pointer(&digest));
            native::sri_guard_open_files(subject, list.as_ptr(), list.len(), digest, &mut handle, error)
        })?;
        Ok(Guard { handle })
    }

    pub(crate) fn handle(&self) -> *const native::Guard {
        self.handle
    }

    /// T.
    pub fn cells(&self) -> usize {
        // SAFETY: the guard is open.
        unsafe { native::sri_guard_cells(self.handle) }
    }

    /// C.
    pub fn columns(&self) -> usize {
        // SAFETY: the guard is open.
        unsafe { native::sri_guard_columns(self.handle) }
    }

    /// K.
    pub fn parts(&self) -> usize {
        // SAFETY: the guard is open.
        unsafe { native::sri_guard_parts(self.handle) }
    }

    /// Names of the C columns; empty in format 1.
    pub fn column_names(&self) -> Vec<String> {
        // SAFETY: the guard is open, and its texts live as long.
        (0..self.columns()).filter_map(|c| unsafe { text_of(native::sri_guard_column_name(self.handle, c)) }).collect()
    }

    /// Names of the K parts; empty in format 1.
    pub fn part_names(&self) -> Vec<String> {
        // SAFETY: as above.
        (0..self.parts()).filter_map(|k| unsafe { text_of(native::sri_guard_part_name(self.handle, k)) }).collect()
    }

    /// Whether the guard has a rule; all have `final` and `online`.
    pub fn has_rule(&self, rule: Rule) -> bool {
        // SAFETY: the guard is open.
        unsafe { native::sri_guard_has_rule(self.handle, rule as u32) }
    }

    /// `sigma` or `logit`: what signals must hold.
    pub fn domain(&self) -> &str {
        // SAFETY: the text is ASCII and lives as long as the guard.
        unsafe { CStr::from_ptr(native::sri_guard_domain(self.handle)) }.to_str().unwrap_or("")
    }

    /// 64 hex characters that name this very bundle.
    pub fn digest(&self) -> &str {
        // SAFETY: as above.
        unsafe { CStr::from_ptr(native::sri_guard_digest(self.handle)) }.to_str().unwrap_or("")
    }

    /// What scores of a part are compared with, flagged when above. Without a group that the guard has, it is the largest
    /// of all groups. None = the rule does not judge this part.
    pub fn threshold(&self, rule: Rule, part: usize, group: Option<&str>) -> Option<f64> {
        let group = group.and_then(|name| CString::new(name).ok());
        // SAFETY: the guard is open, and the text outlives the call.
        let found = unsafe { native::sri_guard_threshold(self.handle, rule as u32, part, pointer(&group)) };
        (!found.is_nan()).then_some(found)
    }

    /// The bare graphs, for streaming: [N, T, C] -> score [N, K], valid [N, K].
    ///
    /// With `lengths` (cells known so far) it is the score of running generations, to be compared with the thresholds of
    /// [`Rule::Online`], and cells beyond a length are not read; without, that of finished ones. Where `valid` is false the
    /// score is 3e38, which is above every threshold.
    ///
    /// # Errors
    /// `signals` is not [N, T, C], or `lengths` not [N].
    pub fn run(&self, signals: &[f32], lengths: Option<&[i64]>) -> Result<(Vec<f32>, Vec<bool>), Refused> {
        let rows = self.rows(signals, lengths)?;
        let size = rows * self.parts();
        let (mut score, mut valid) = (vec![0.0; size], vec![false; size]);
        // SAFETY: all arrays have the sizes that `rows` was checked against.
        asked(|error| unsafe {
            let known = lengths.map_or(null(), <[i64]>::as_ptr);
            let out = (score.as_mut_ptr(), valid.as_mut_ptr());
            native::sri_guard_run(self.handle, signals.as_ptr(), known, rows, out.0, out.1, error)
        })?;
        Ok((score, valid))
    }

    /// One verdict per generation [N, T, C], in order; `lengths` [N] = cells filled so far, None = all T.
    ///
    /// A row that cannot be scored is unmonitored and says why; it never fails its neighbours.
    ///
    /// # Errors
    /// Shapes that do not fit, lengths outside 0..=T, a rule that the guard does not have, no fingerprint without `unverified`, or a fingerprint of another
    /// model, tap or profile.
    pub fn score(&self, signals: &[f32], lengths: Option<&[i64]>, options: &Options) -> Result<Vec<Verdict>, Refused> {
        let rows = self.rows(signals, lengths)?;
        let fingerprint = options.fingerprint.map(c_text).transpose()?;
        let names = options.accept.iter().map(|name| c_text(name)).collect::<Result<Vec<_>, _>>()?;
        let accept: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
        let given = native::Options {
            rule: options.rule as u32,
            fingerprint: pointer(&fingerprint),
            accept: accept.as_ptr(),
            accept_count: accept.len(),
            unverified: options.unverified,
        };
        if !options.groups.is_empty() && options.groups.len() != rows {
            refuse!("signals: {} groups for {rows} generations. Give one each, or none.", options.groups.len());
        }
        let named = options.groups.iter().map(|group| group.as_deref().map(c_text).transpose());
        let named = named.collect::<Result<Vec<_>, _>>()?;
        let pointers: Vec<_> = named.iter().map(pointer).collect();
        let groups = if pointers.is_empty() { null() } else { pointers.as_ptr() };
        let mut found = Owned(null_mut());
        // SAFETY: all arrays have the sizes that `rows` was checked against, and texts and options outlive the call.
        asked(|error| unsafe {
            let known = lengths.map_or(null(), <[i64]>::as_ptr);
            native::sri_guard_score(self.handle, signals.as_ptr(), known, groups, rows, &given, &mut found.0, error)
        })?;
        // SAFETY: there are as many verdicts as rows, and all of them live until `found` is dropped.
        Ok((0..rows).map(|row| unsafe { Verdict::of(&*native::sri_verdicts_at(found.0, row)) }).collect())
    }

    fn rows(&self, signals: &[f32], lengths: Option<&[i64]>) -> Result<usize, Refused> {
        let (cells, columns) = (self.cells(), self.columns());
        let rows = signals.len() / (cells * columns);
        if signals.len() % (cells * columns) != 0 || lengths.is_some_and(|lengths| lengths.len() != rows) {
            refuse!(
                "signals: {} numbers and {} lengths, the guard takes [N, {cells}, {columns}] and [N]. Lay the signals on the \
                 guard's step grid and columns.",
                signals.len(),
                lengths.map_or(rows, <[i64]>::len)
            );
        }
        Ok(rows)
    }
}

/// Verdicts that the library made.
struct Owned(*mut native::Verdicts);

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: they came from the library and are freed once.
        unsafe { native::sri_verdicts_free(self.0) }
    }
}

/// None where there is no text.
///
/// # Safety
/// Null, or a text of the library's that ends with a zero.
pub(crate) unsafe fn text_of(text: *const c_char) -> Option<String> {
    (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
}

fn pointer(text: &Option<CString>) -> *const c_char {
    text.as_ref().map_or(null(), |text| text.as_ptr())
}
