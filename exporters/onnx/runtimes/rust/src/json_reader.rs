//! A small strict JSON reader. It refuses what readers disagree on, as ../vectors/refusals.json has it.

use std::collections::BTreeMap;

use crate::json::Json;

const DEPTH: usize = 64;
const MOST_VALUES: usize = 1 << 20;
const MOST_DIGITS: usize = 63;

impl Json {
    /// Reads text; `not_finite` also allows NaN, Infinity and -Infinity, which signals may hold.
    pub fn read(text: &str, not_finite: bool) -> Result<Json, &'static str> {
        let mut reader = Reader { text, at: 0, not_finite, values: 0 };
        let value = reader.value(0)?;
        reader.blanks();
        if reader.at < text.len() {
            return Err("something behind the end");
        }
        Ok(value)
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    not_finite: bool,
    values: usize,
}

impl Reader<'_> {
    fn peek(&self) -> u8 {
        *self.text.as_bytes().get(self.at).unwrap_or(&0)
    }

    fn eat(&mut self, c: u8) -> bool {
        let found = self.at < self.text.len() && self.peek() == c;
        self.at += usize::from(found);
        found
    }

    fn word(&mut self, word: &str) -> bool {
        let found = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        self.at += if found { word.len() } else { 0 };
        found
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), b' ' | b'\t' | b'\r' | b'\n') {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<Json, &'static str> {
        self.values += 1;
        if self.values > MOST_VALUES {
            return Err("too many values");
        }
        self.blanks();
        if depth == DEPTH && matches!(self.peek(), b'[' | b'{') {
            return Err("too many levels");
        }
        match self.peek() {
            b'"' => Ok(Json::Text(self.string()?)),
            b'[' => self.array(depth),
            b'{' => self.object(depth),
            _ if self.word("null") => Ok(Json::Null),
            _ if self.word("true") => Ok(Json::Bool(true)),
            _ if self.word("false") => Ok(Json::Bool(false)),
            _ => self.number(),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Json, &'static str> {
        let mut items = Vec::new();
        self.at += 1;
        self.blanks();
        while !self.eat(b']') {
            if !items.is_empty() && !self.eat(b',') {
                return Err("no comma between two values");
            }
            items.push(self.value(depth + 1)?);
            self.blanks();
        }
        Ok(Json::Array(items))
    }

    fn object(&mut self, depth: usize) -> Result<Json, &'static str> {
        let mut members: BTreeMap<String, Json> = BTreeMap::new();
        self.at += 1;
        self.blanks();
        while !self.eat(b'}') {
            if !members.is_empty() && !self.eat(b',') {
                return Err("no comma between two values");
            }
            self.blanks();
            let key = self.string()?;
            if members.contains_key(&key) {
                return Err("a key that is there twice");
            }
            self.blanks();
            if !self.eat(b':') {
                return Err("no colon behind a key");
            }
            let value = self.value(depth + 1)?;
            members.insert(key, value);
            self.blanks();
        }
        Ok(Json::Object(members))
    }

    fn digits(&mut self) -> usize {
        let from = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        self.at - from
    }

    fn number(&mut self) -> Result<Json, &'static str> {
        let from = self.at;
        if self.not_finite && self.word("NaN") {
            return Ok(Json::Number("NaN".into()));
        }
        self.eat(b'-');
        if self.not_finite && self.word("Infinity") {
            return Ok(Json::Number(self.text[from..self.at].to_string()));
        }
        let zero = self.peek() == b'0';
        let digits = self.digits();
        if digits == 0 || (zero && digits > 1) {
            return Err(if self.at < self.text.len() { "not a value" } else { "it ends too early" });
        }
        if self.eat(b'.') && self.digits() == 0 {
            return Err("a number without digits");
        }
        if self.eat(b'e') || self.eat(b'E') {
            if !self.eat(b'-') {
                self.eat(b'+');
            }
            if self.digits() == 0 {
                return Err("a number without digits");
            }
        }
        if self.at - from > MOST_DIGITS {
            return Err("a number with too many digits");
        }
        let found = Json::Number(self.text[from..self.at].to_string());
        match (found.whole(), found.number()) {
            (Some(whole), _) if whole.unsigned_abs() < 1 << 53 => Ok(found),
            (None, Some(value)) if value.is_finite() && self.text[from..self.at].contains(['.', 'e', 'E']) => Ok(found),
            _ => Err("an integer beyond 2^53 - 1, or a number that no double holds"),
        }
    }

    fn string(&mut self) -> Result<String, &'static str> {
        if !self.eat(b'"') {
            return Err("no text where one must be");
        }
        let mut out = String::new();
        loop {
            let from = self.at;
            while !matches!(self.peek(), b'"' | b'\\' | 0..=31) {
                self.at += 1;
            }
            out.push_str(&self.text[from..self.at]);
            match self.peek() {
                b'"' => break,
                b'\\' => out.push(self.escape()?),
                _ if self.at == self.text.len() => return Err("a text without an end"),
                _ => return Err("a control character in a text"),
            }
        }
        self.at += 1;
        Ok(out)
    }

    fn escape(&mut self) -> Result<char, &'static str> {
        self.at += 1;
        let c = self.peek();
        self.at += 1;
        Ok(match c {
            b'"' | b'\\' | b'/' => char::from(c),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let mut code = self.hex()?;
                if (0xd800..0xdc00).contains(&code) && self.word("\\u") {
                    let low = self.hex()?;
                    if !(0xdc00..0xe000).contains(&low) {
                        return Err("half a surrogate pair");
                    }
                    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                }
                char::from_u32(code).ok_or("half a surrogate pair")?
            }
            _ => return Err("an unknown escape"),
        })
    }

    fn hex(&mut self) -> Result<u32, &'static str> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4).ok_or("an unknown escape")?;
        self.at += 4;
        digits.iter().try_fold(0, |code, digit| {
            char::from(*digit).to_digit(16).map(|value| code * 16 + value).ok_or("an unknown escape")
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::json::Json;

    #[test]
    fn texts_are_read_with_their_escapes() {
        let value = Json::read(r#"["a\n\u00e9\ud83d\ude00\"", "é"]"#, true);
        let texts = ["a\né😀\"", "é"].map(|text| Json::Text(text.into()));
        assert_eq!(value, Ok(Json::Array(texts.into())));
    }

    #[test]
    fn what_is_not_json_is_refused() {
        let cases = [
            "",
            " ",
            "{",
            "[",
            "[1,]",
            "[1 2]",
            "{\"a\"}",
            "{\"a\":1,}",
            "{a:1}",
            "01",
            "1.",
            ".5",
            "+1",
            "1e",
            "-",
            "nul",
            "\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\ud800\"",
            "\"\n\"",
            "1 2",
            "[1]]",
            "{\"a\":1,\"a\":1}",
            "'a'",
            "\"\\u00é0\"",
            "1e999",
            "9007199254740992",
            "-NaN",
            "NaNs",
        ];
        for text in cases {
            assert!(Json::read(text, true).is_err(), "{text}");
        }
        for text in ["NaN", "Infinity", "-Infinity"] {
            assert!(Json::read(text, true).is_ok() && Json::read(text, false).is_err(), "{text}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(Json::read(&deep, false), Err("too many levels"));
    }
}
