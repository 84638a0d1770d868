//! What `../c/sri_guard.h` declares, once more; opening a bundle compares the sizes.

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::marker::PhantomData;

#[repr(C)]
pub struct Guard {
    _private: [u8; 0],
    _pinned: PhantomData<*mut u8>,
}

#[repr(C)]
pub struct Signals {
    _private: [u8; 0],
    _pinned: PhantomData<*mut u8>,
}

#[repr(C)]
pub struct Error {
    pub text: [c_char; 1024],
}

#[repr(C)]
pub struct Verdicts {
    _private: [u8; 0],
    _pinned: PhantomData<*mut u8>,
}

pub const MOST_REASONS: usize = 22;

#[repr(C)]
pub struct PartVerdict {
    pub name: *const c_char,
    pub status: c_uint,
    pub scored: bool,
    pub score: f32,
    pub threshold: f64,
    pub p_value: f64,
    pub reason: *const c_char,
}

#[repr(C)]
pub struct Verdict {
    pub status: c_uint,
    pub rule: c_uint,
    pub reasons: [*const c_char; MOST_REASONS],
    pub scored: bool,
    pub score: f32,
    pub threshold: f64,
    pub p_value: f64,
    pub first_alarm_step: i64,
    pub judged_steps: i64,
    pub ended: c_uint,
    pub group: *const c_char,
    pub parts: *const PartVerdict,
    pub part_count: usize,
    pub accepted: c_uint,
    pub schema: c_int,
    pub bundle: [c_char; 65],
}

#[repr(C)]
pub struct Options {
    pub rule: c_uint,
    pub fingerprint: *const c_char,
    pub accept: *const *const c_char,
    pub accept_count: usize,
    pub unverified: bool,
}

#[repr(C)]
pub struct File {
    pub name: *const c_char,
    pub bytes: *const u8,
    pub size: usize,
}

extern "C" {
    /// [verdict, part verdict, options, file, error], in bytes.
    pub fn sri_struct_sizes(sizes: *mut usize);
    pub fn sri_guard_open(
        folder: *const c_char,
        digest: *const c_char,
        guard: *mut *mut Guard,
        error: *mut Error,
    ) -> c_int;
    pub fn sri_guard_open_files(
        subject: *const c_char,
        files: *const File,
        count: usize,
        digest: *const c_char,
        guard: *mut *mut Guard,
        error: *mut Error,
    ) -> c_int;
    pub fn sri_guard_close(guard: *mut Guard);
    pub fn sri_guard_cells(guard: *const Guard) -> usize;
    pub fn sri_guard_columns(guard: *const Guard) -> usize;
    pub fn sri_guard_parts(guard: *const Guard) -> usize;
    pub fn sri_guard_has_rule(guard: *const Guard, rule: c_uint) -> bool;
    pub fn sri_guard_column_name(guard: *const Guard, column: usize) -> *const c_char;
    pub fn sri_guard_part_name(guard: *const Guard, part: usize) -> *const c_char;
    pub fn sri_guard_digest(guard: *const Guard) -> *const c_char;
    pub fn sri_guard_domain(guard: *const Guard) -> *const c_char;
    pub fn sri_guard_threshold(guard: *const Guard, rule: c_uint, part: usize, group: *const c_char) -> f64;
    pub fn sri_guard_score(
        guard: *const Guard,
        signals: *const f32,
        lengths: *const i64,
        groups: *const *const c_char,
        count: usize,
        options: *const Options,
        verdicts: *mut *mut Verdicts,
        error: *mut Error,
    ) -> c_int;
    pub fn sri_verdicts_at(verdicts: *const Verdicts, row: usize) -> *const Verdict;
    pub fn sri_verdicts_free(verdicts: *mut Verdicts);
    pub fn sri_guard_run(
        guard: *const Guard,
        signals: *const f32,
        lengths: *const i64,
        count: usize,
        score: *mut f32,
        valid: *mut bool,
        error: *mut Error,
    ) -> c_int;
    pub fn sri_signals_parse(
        guard: *const Guard,
        subject: *const c_char,
        bytes: *const c_void,
        size: usize,
        signals: *mut *mut Signals,
        error: *mut Error,
    ) -> c_int;
    pub fn sri_signals_free(signals: *mut Signals);
    pub fn sri_signals_count(signals: *const Signals) -> usize;
    pub fn sri_signals_id(signals: *const Signals, row: usize) -> *const c_char;
    pub fn sri_signals_cells(signals: *const Signals) -> *const f32;
    pub fn sri_signals_lengths(signals: *const Signals) -> *const i64;
    pub fn sri_signals_groups(signals: *const Signals) -> *const *const c_char;
    pub fn sri_signals_fingerprint(signals: *const Signals) -> *const c_char;
}
