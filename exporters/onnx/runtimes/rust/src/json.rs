//! JSON values: what they are, when they are equal, and how they are written.

use std::collections::BTreeMap;
use std::fmt::{Display, Formatter, Result as Written, Write};

/// A value. Numbers keep their spelling: a double would round long ones.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    Array(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

impl Json {
    pub fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members.get(key),
            _ => None,
        }
    }

    pub fn number(&self) -> Option<f64> {
        match self {
            Json::Number(text) => text.replace("Infinity", "inf").parse().ok(),
            _ => None,
        }
    }

    /// A number without point and exponent.
    pub fn whole(&self) -> Option<i64> {
        match self {
            Json::Number(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// Whether two values are equal: members in any order, 1 equal to 1.0.
    pub fn same(&self, other: &Json) -> bool {
        match (self, other) {
            (Json::Number(a), Json::Number(b)) => {
                let whole = |text: &str| !text.contains(['.', 'e', 'E', 'N', 'I']);
                if whole(a) && whole(b) {
                    a == b
                } else {
                    self.number() == other.number()
                }
            }
            (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(x, y)| x.same(y)),
            (Json::Object(a), Json::Object(b)) => {
                a.len() == b.len() && a.iter().all(|(key, x)| b.get(key).is_some_and(|y| x.same(y)))
            }
            _ => self == other,
        }
    }

    /// For messages: a text without quotes, long values cut.
    pub fn shown(&self) -> String {
        let (text, most) = match self {
            Json::Text(text) => (text.clone(), if text.len() == 64 { 12 } else { 120 }),
            other => (other.to_string(), 120),
        };
        text.chars().take(most).collect()
    }
}

impl Display for Json {
    fn fmt(&self, f: &mut Formatter<'_>) -> Written {
        match self {
            Json::Null => f.write_str("null"),
            Json::Bool(value) => write!(f, "{value}"),
            Json::Number(text) => f.write_str(text),
            Json::Text(text) => f.write_str(&quoted(text)),
            Json::Array(items) => write!(f, "[{}]", joined(items.iter().map(Json::to_string))),
            Json::Object(members) => {
                let member = |(key, value): (&String, &Json)| format!("{}: {value}", quoted(key));
                write!(f, "{{{}}}", joined(members.iter().map(member)))
            }
        }
    }
}

pub fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

/// A text in quotes, with escapes where it needs them.
pub fn quoted(value: &str) -> String {
    let mut out = String::from("\"");
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if u32::from(c) < 32 || u32::from(c) == 127 => {
                write!(out, "\\u{:04x}", u32::from(c)).expect("a String takes everything");
            }
            c => out.push(c),
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use super::Json;

    #[test]
    fn equal_values_are_equal_however_they_are_written() {
        let same = |a, b| Json::read(a, true).unwrap().same(&Json::read(b, true).unwrap());
        assert!(same(r#"{"a": [1, 2.0], "b": "\u0041"}"#, r#"{"b": "A", "a": [1.0, 2]}"#));
        assert!(!same("9007199254740991", "9007199254740990"));
        assert!(
            !same("NaN", "NaN") && !same("[1]", "[1, 2]") && !same("true", "1") && !same(r#"{"a":1}"#, r#"{"b":1}"#)
        );
    }
}
