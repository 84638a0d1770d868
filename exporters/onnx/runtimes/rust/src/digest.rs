//! A bundle's digest: the SHA-256 of its manifest's bytes, with the 64 characters of the digest in it set to "0".

use crate::reader::is_sha256;
use crate::refused::{refuse, Refused};
use crate::sha256;

/// That hash, if `own` stands in the bytes exactly once.
pub fn digest_of(content: &[u8], own: &str) -> Option<String> {
    let mut places = content.windows(64).enumerate().filter(|(_, window)| *window == own.as_bytes());
    let (at, _) = places.next()?;
    let alone = places.next().is_none();
    alone.then(|| sha256::hex(&[&content[..at], &[b'0'; 64], &content[at + 64..]]))
}

/// Refuses another bundle than the one that was asked for, before a byte of it is parsed: whoever pins a digest need not
/// trust this reader with what it did not pin.
pub fn check_pinned(content: &[u8], subject: &str, wanted: &str) -> Result<(), Refused> {
    let wanted = wanted.to_ascii_lowercase();
    if !is_sha256(&wanted) {
        refuse!("digest: not a SHA-256 in hex, 64 characters. `sri bundle inspect` prints a bundle's.");
    }
    if digest_of(content, &wanted).as_ref() == Some(&wanted) {
        return Ok(());
    }
    refuse!(
        "{subject}: not the bundle with digest {}..., which was asked for. Get that one, or ask for the digest of this one \
         if you know why it changed.",
        &wanted[..12]
    );
}
