//! Values out of a manifest, each with the type and shape it must have.

use std::collections::BTreeMap;

use crate::base64;
use crate::json::Json;
use crate::refused::Refused;

/// A value and its place, for messages.
#[derive(Clone)]
pub struct At<'a> {
    pub json: &'a Json,
    source: &'a str,
    place: String,
}

impl<'a> At<'a> {
    pub fn root(json: &'a Json, source: &'a str) -> Self {
        At { json, source, place: String::new() }
    }

    pub fn wrong(&self, problem: &str) -> Refused {
        let place = if self.place.is_empty() { "manifest" } else { &self.place };
        Refused::new(format!("{}: {place}: {problem}. Export the guard again.", self.source))
    }

    pub fn check(&self, fine: bool, problem: &str) -> Result<(), Refused> {
        if fine {
            Ok(())
        } else {
            Err(self.wrong(problem))
        }
    }

    pub fn members(&self) -> Result<&'a BTreeMap<String, Json>, Refused> {
        match self.json {
            Json::Object(members) => Ok(members),
            _ => Err(self.wrong("not an object")),
        }
    }

    pub fn get(&self, key: &str) -> Result<At<'a>, Refused> {
        let dot = if self.place.is_empty() { "" } else { "." };
        let place = format!("{}{dot}{key}", self.place);
        match self.members()?.get(key) {
            Some(json) => Ok(At { json, source: self.source, place }),
            None => Err(Refused::new(format!("{}: {place}: missing. Export the guard again.", self.source))),
        }
    }

    /// Refuses other keys than these.
    pub fn exactly(self, keys: &[&str]) -> Result<At<'a>, Refused> {
        for key in keys {
            self.get(key)?;
        }
        self.check(self.members()?.len() == keys.len(), "unknown keys")?;
        Ok(self)
    }

    pub fn text(&self) -> Result<&'a str, Refused> {
        match self.json {
            Json::Text(text) => Ok(text),
            _ => Err(self.wrong("not a text")),
        }
    }

    pub fn sha256(&self) -> Result<&'a str, Refused> {
        let text = self.text()?;
        self.check(is_sha256(text), "not a SHA-256")?;
        Ok(text)
    }

    pub fn items(&self) -> Result<&'a [Json], Refused> {
        match self.json {
            Json::Array(items) => Ok(items),
            _ => Err(self.wrong("not a list")),
        }
    }

    /// The items, each in its place.
    pub fn all(&self) -> Result<Vec<At<'a>>, Refused> {
        let place = self.place.as_str();
        Ok(self.items()?.iter().map(|json| At { json, source: self.source, place: place.into() }).collect())
    }

    pub fn number(&self) -> Result<f64, Refused> {
        match self.json.number() {
            Some(value) if value.is_finite() => Ok(value),
            _ => Err(self.wrong("not a finite number")),
        }
    }

    pub fn share(&self) -> Result<f64, Refused> {
        let value = self.number()?;
        self.check(value > 0.0 && value < 1.0, "not a share between 0 and 1")?;
        Ok(value)
    }

    pub fn whole(&self, least: usize, most: usize) -> Result<usize, Refused> {
        match self.json.whole().and_then(|value| usize::try_from(value).ok()) {
            Some(value) if (least..=most).contains(&value) => Ok(value),
            _ => Err(self.wrong("not a whole number in its range")),
        }
    }

    /// Elements of a packed array: little-endian bytes of `SIZE` each.
    fn unpack<const SIZE: usize>(&self, dtype: &str, shape: &[Option<usize>]) -> Result<Vec<[u8; SIZE]>, Refused> {
        let packed = self.clone().exactly(&["base64", "dtype", "shape"])?;
        self.check(packed.get("dtype")?.text()? == dtype, "an array of another type")?;
        let found = packed.get("shape")?.items()?;
        self.check(found.len() == shape.len(), "an array of another shape")?;
        let mut elements: usize = 1;
        for (found, expected) in found.iter().zip(shape) {
            let size = found.whole().and_then(|size| usize::try_from(size).ok());
            let size = size.filter(|size| expected.is_none_or(|expected| expected == *size));
            let whole = size.and_then(|size| elements.checked_mul(size));
            elements = whole.ok_or_else(|| self.wrong("an array of another shape"))?;
        }
        let bytes = base64::decode(packed.get("base64")?.text()?).ok_or_else(|| self.wrong("not base64"))?;
        let fits = elements.checked_mul(SIZE) == Some(bytes.len());
        self.check(fits, "an array whose bytes do not fit its shape")?;
        Ok(bytes.chunks_exact(SIZE).map(|one| one.try_into().expect("a whole chunk")).collect())
    }

    /// A packed array that must have this shape; None = whatever it says.
    pub fn floats(&self, shape: &[Option<usize>]) -> Result<Vec<f32>, Refused> {
        Ok(self.unpack::<4>("float32", shape)?.into_iter().map(f32::from_le_bytes).collect())
    }

    pub fn integers(&self, shape: &[Option<usize>]) -> Result<Vec<i64>, Refused> {
        Ok(self.unpack::<8>("int64", shape)?.into_iter().map(i64::from_le_bytes).collect())
    }

    pub fn bools(&self, shape: &[Option<usize>]) -> Result<Vec<bool>, Refused> {
        let bytes = self.unpack::<1>("bool", shape)?;
        self.check(bytes.iter().all(|one| one[0] < 2), "a bool that is neither 0 nor 1")?;
        Ok(bytes.into_iter().map(|one| one[0] == 1).collect())
    }
}

pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}
