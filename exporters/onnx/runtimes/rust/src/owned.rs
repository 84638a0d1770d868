//! What onnxruntime gives: objects that must be released, and statuses that must be read.

use std::ffi::CStr;
use std::ptr::null_mut;

use crate::ort::{Api, Opaque, Status};
use crate::refused::{refuse, Refused};

/// Something of onnxruntime's, released when it goes out of scope.
pub struct Owned {
    pub pointer: *mut Opaque,
    pub release: unsafe extern "C" fn(*mut Opaque),
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: the pointer came from onnxruntime together with its release function, and is released once.
        unsafe { (self.release)(self.pointer) }
    }
}

/// Turns a status into a refusal; the status is released.
pub fn checked(api: &Api, status: Status, subject: &str, doing: &str) -> Result<(), Refused> {
    if status.is_null() {
        return Ok(());
    }
    let status = Owned { pointer: status, release: api.release_status };
    // SAFETY: the message belongs to the status, which lives until the end of this function.
    let message = unsafe { CStr::from_ptr((api.get_error_message)(status.pointer)) }.to_string_lossy();
    let brief: String = message.lines().next().unwrap_or("").chars().take(160).collect();
    refuse!("{subject}: onnxruntime {doing} ({brief}). Export the guard again.");
}

/// Calls something that makes an object, and owns what it made.
pub fn made(
    api: &Api,
    release: unsafe extern "C" fn(*mut Opaque),
    subject: &str,
    doing: &str,
    make: impl FnOnce(*mut *mut Opaque) -> Status,
) -> Result<Owned, Refused> {
    let mut pointer = null_mut();
    checked(api, make(&mut pointer), subject, doing)?;
    if pointer.is_null() {
        refuse!("{subject}: onnxruntime {doing}.");
    }
    Ok(Owned { pointer, release })
}
