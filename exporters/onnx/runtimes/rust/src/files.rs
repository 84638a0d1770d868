//! The files of a bundle in memory: only plain files, not too many bytes of them, and nothing is parsed before all of it
//! is read, so a file that changes meanwhile cannot be half old and half new.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use crate::refused::{refuse, Refused};

/// Bytes by name.
pub type Files = BTreeMap<String, Vec<u8>>;

const MANIFEST: &str = "manifest.json";
/// Ours, and that of OpenSSF model-signing; left unread: `sri bundle verify` checks them.
const SIGNATURES: [&str; 2] = ["manifest.sig", "model.sig"];
const LARGEST_MANIFEST: u64 = 16 << 20;
const LARGEST_SIGNATURE: u64 = 1 << 20;
const LARGEST_BUNDLE: u64 = 1 << 30;
const MOST_FILES: usize = 16;
const LONGEST_NAME: usize = 100;

/// What holds for the files of a bundle wherever they come from: few, with plain names, and not too large.
fn check_sizes<'a>(subject: &str, files: impl Iterator<Item = (&'a str, u64)>) -> Result<(), Refused> {
    let mut total = 0;
    for (count, (name, size)) in files.enumerate() {
        if count == MOST_FILES {
            refuse!("{subject}: more than {MOST_FILES} files. This is not a bundle of this SDK.");
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || name.len() > LONGEST_NAME || name.starts_with(['.', '-']) || !name.chars().all(plain) {
            let name: String = name.chars().take(LONGEST_NAME).collect();
            refuse!(
                "{subject}: a file called {name}; allowed are letters, digits, '.', '_' and '-', not beginning with '.' or \
                 '-'. Copy the bundle again, without files of other programs."
            );
        }
        let most = match name {
            MANIFEST => LARGEST_MANIFEST,
            _ if SIGNATURES.contains(&name) => LARGEST_SIGNATURE,
            _ => LARGEST_BUNDLE,
        };
        total = size.saturating_add(total);
        let (what, found, most) = if size > most { (name, size, most) } else { ("all", total, LARGEST_BUNDLE) };
        if found > most {
            refuse!("{subject}: {what} has {found} bytes, allowed are {most}. This is not a bundle of this SDK.");
        }
    }
    Ok(())
}

fn unreadable(subject: &str, err: std::io::Error) -> Refused {
    Refused::new(format!("{subject}: cannot be read ({err}). Check who may read its files."))
}

/// All files of a bundle folder.
///
/// # Errors
/// Not a folder, no manifest in it, something else than plain files, or too large.
pub fn read_folder(path: impl AsRef<Path>) -> Result<Files, Refused> {
    let path = path.as_ref();
    let subject = path.display().to_string();
    if !path.is_dir() {
        refuse!("{subject}: not a bundle folder. Point to the folder that holds {MANIFEST}.");
    }
    if fs::symlink_metadata(path.join(MANIFEST)).is_err() {
        if path.join("bundle").exists() {
            refuse!("{subject}: a guard's folder, not a bundle. Its bundle is {subject}/bundle.");
        }
        refuse!("{subject}: {MANIFEST} is missing. Point to a bundle folder, or export the guard again.");
    }
    let mut listed: BTreeMap<String, fs::Metadata> = BTreeMap::new();
    for entry in fs::read_dir(path).map_err(|err| unreadable(&subject, err))? {
        let entry = entry.map_err(|err| unreadable(&subject, err))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let found = fs::symlink_metadata(entry.path()).map_err(|err| unreadable(&subject, err))?;
        if !found.is_file() {
            refuse!(
                "{subject}: {name} is not a plain file, and a bundle holds plain files only. Copy the bundle again."
            );
        }
        listed.insert(name, found);
        if listed.len() > MOST_FILES {
            break;
        }
    }
    check_sizes(&subject, listed.iter().map(|(name, found)| (name.as_str(), found.len())))?;
    listed.into_iter().map(|(name, found)| read_one(path, &subject, name, &found)).collect()
}

fn read_one(folder: &Path, subject: &str, name: String, listed: &fs::Metadata) -> Result<(String, Vec<u8>), Refused> {
    let file = fs::File::open(folder.join(&name)).map_err(|err| unreadable(subject, err))?;
    let opened = file.metadata().map_err(|err| unreadable(subject, err))?;
    let mut bytes = Vec::with_capacity(listed.len() as usize);
    // One byte more than listed: has it grown? And what was a plain file a moment ago may be a link by now.
    if opened.is_file() && same_file(listed, &opened) {
        file.take(listed.len() + 1).read_to_end(&mut bytes).map_err(|err| unreadable(subject, err))?;
    }
    if !same_file(listed, &opened) || bytes.len() as u64 != listed.len() {
        refuse!("{subject}: {name} changed while it was read. Try again.");
    }
    Ok((name, bytes))
}

#[cfg(unix)]
fn same_file(a: &fs::Metadata, b: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

#[cfg(not(unix))]
fn same_file(_: &fs::Metadata, _: &fs::Metadata) -> bool {
    true
}
