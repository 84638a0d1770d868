//! Scores a guard's bundle from Rust, over the C library next door and libonnxruntime (1.27 or later).
//!
//! ```no_run
//! use sri_guard::{Guard, Options, Rule};
//!
//! let guard = Guard::open("guard/bundle", None)?;
//! let signals = vec![0.9_f32; guard.cells() * guard.columns()];
//! let fingerprint = std::fs::read_to_string("fingerprint.json").ok();
//! let options = Options { rule: Rule::Final, fingerprint: fingerprint.as_deref(), ..Options::default() };
//! for verdict in guard.score(&signals, None, &options)? {
//!     println!("{}", verdict.to_json("req-1"));
//! }
//! # Ok::<(), sri_guard::Refused>(())
//! ```
//!
//! Letters in shapes: N generations, T cells of the step grid, C columns (in format 1, the tapped layers), K parts (1 in
//! format 1); arrays are row-major. A guard may be shared between threads. The signature of a bundle and its static inspection are left to `sri bundle verify`.

#![deny(missing_docs)]
#![deny(unsafe_code)]

mod files;
#[allow(unsafe_code)]
mod guard;
#[allow(unsafe_code)]
mod native;
mod refused;
#[allow(unsafe_code)]
pub mod signals;
#[allow(unsafe_code)]
mod verdict;

pub use files::{read_folder, Files};
pub use guard::{Guard, Options};
pub use refused::Refused;
pub use verdict::{Ended, PartVerdict, Rule, Status, Verdict};
