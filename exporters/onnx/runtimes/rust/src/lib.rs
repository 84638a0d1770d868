//! Scores a guard's bundle from Rust, without dependencies but libonnxruntime (1.27 or later).
//!
//! ```no_run
//! use sri_guard::{Guard, Options, Rule};
//!
//! let guard = Guard::open("guard/bundle", None)?;
//! let signals = vec![0.9_f32; guard.cells() * guard.layers()];
//! let fingerprint = std::fs::read_to_string("fingerprint.json").ok();
//! let options = Options { rule: Rule::Final, fingerprint: fingerprint.as_deref(), ..Options::default() };
//! for verdict in guard.score(&signals, None, &options)? {
//!     println!("{}", verdict.to_json("req-1"));
//! }
//! # Ok::<(), sri_guard::Refused>(())
//! ```
//!
//! Letters in shapes: N generations, T cells of the step grid, C tapped layers; arrays are row-major. A guard may be
//! shared between threads. The signature of a bundle and its static inspection are left to `sri bundle verify`.

#![deny(missing_docs)]
#![deny(unsafe_code)]

mod admission;
mod base64;
mod digest;
mod files;
mod graphs;
mod guard;
mod json;
mod json_reader;
mod manifest;
#[allow(unsafe_code)]
mod ort;
#[allow(unsafe_code)]
mod owned;
mod reader;
mod refused;
#[allow(unsafe_code)]
mod runtime;
mod sha256;
pub mod signals;
mod verdict;

pub use admission::Options;
pub use files::{read_folder, Files};
pub use guard::Guard;
pub use refused::Refused;
pub use verdict::{Reason, Rule, Status, Verdict};
