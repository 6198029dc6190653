//! One JSON object as a flat list of values: `a.b.c` for nested and for dotted keys alike, one entry for each element of
//! an array. Numbers keep their digits (identifiers above 2^53, fractions of seconds), every value its place.
//!
//! serde_json checks the syntax and its depth; nesting deeper than [`DEPTH_MAX`] is not looked into, so that the cost is
//! at most that many passes.

use std::borrow::Cow;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Levels of nesting that are looked into. Kibana's `hits.hits._source.a.b.c` has seven.
const DEPTH_MAX: usize = 10;
/// Values that are looked at; the rest of a larger object is passed over.
const LEAVES_MAX: usize = 4_096;
/// Longest path that is kept: an array repeats its path for each element.
const PATH_BYTES_MAX: usize = 256;

/// The values of one object.
#[derive(Debug, Default)]
pub(crate) struct Object<'a> {
    leaves: Vec<(String, Value<'a>)>,
}

/// A string, number, boolean or null.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value<'a> {
    raw: &'a str,
}

impl<'a> Value<'a> {
    /// The text of a string without escapes, or of a number. Other values, and strings with escapes, have none: neither
    /// addresses, numbers nor stamps are written with escapes.
    pub(crate) fn text(self) -> Option<&'a str> {
        if let Some(inner) = self.raw.strip_prefix('"') {
            let inner = inner.strip_suffix('"')?;
            return (!inner.contains('\\')).then_some(inner);
        }
        self.raw.starts_with(|c: char| c.is_ascii_digit() || c == '-').then_some(self.raw)
    }

    /// The pieces of a string, unescaped, each with the slice it was written as.
    pub(crate) fn pieces(self) -> Option<Vec<(&'a str, Cow<'a, str>)>> {
        let mut rest = self.raw.strip_prefix('"')?.strip_suffix('"')?;
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            let len = match rest.find('\\') {
                Some(0) => escape_len(rest),
                Some(at) => at,
                None => rest.len(),
            };
            let (piece, after) = rest.split_at_checked(len)?;
            let meant = if piece.starts_with('\\') {
                Cow::Owned(
                    serde_json::from_str(&format!("\"{piece}\"")).unwrap_or_else(|_| "\u{fffd}".to_owned()),
                )
            } else {
                Cow::Borrowed(piece)
            };
            pieces.push((piece, meant));
            rest = after;
        }
        Some(pieces)
    }
}

/// Bytes of the escape sequence at the start; a pair of surrogates is one.
fn escape_len(text: &str) -> usize {
    let unit = |text: &str| text.starts_with("\\u");
    match text {
        _ if unit(text)
            && text.get(6..).is_some_and(unit)
            && matches!(text.get(2..4), Some("d8" | "d9" | "da" | "db" | "D8" | "D9" | "DA" | "DB")) =>
        {
            12
        }
        _ if unit(text) => 6,
        _ => 2,
    }
}

impl<'a> Object<'a> {
    /// Reads one object, or an array that holds exactly one.
    ///
    /// `None` when `text` is neither.
    pub(crate) fn new(text: &'a str) -> Option<Self> {
        let raw: &RawValue = serde_json::from_str(text).ok()?;
        let mut object = Self::default();
        object.add(String::new(), raw.get(), 0);
        let single = text.trim_start().starts_with('{')
            || serde_json::from_str::<Vec<&RawValue>>(text).is_ok_and(|elements| elements.len() == 1);
        (single && !object.leaves.is_empty()).then_some(object)
    }

    fn add(&mut self, path: String, raw: &'a str, depth: usize) {
        if self.leaves.len() >= LEAVES_MAX || depth > DEPTH_MAX || path.len() > PATH_BYTES_MAX {
            return;
        }
        match raw.as_bytes().first() {
            Some(b'{') => {
                for (key, value) in
                    serde_json::from_str::<Members<'a>>(raw).map(|members| members.0).unwrap_or_default()
                {
                    let path = if path.is_empty() { key.into_owned() } else { format!("{path}.{key}") };
                    self.add(path, value.get(), depth + 1);
                }
            }
            Some(b'[') => {
                for value in
                    serde_json::from_str::<Elements<'a>>(raw).map(|elements| elements.0).unwrap_or_default()
                {
                    self.add(path.clone(), value.get(), depth + 1);
                }
            }
            _ => self.leaves.push((path, Value { raw })),
        }
    }

    /// The first value at `path`.
    pub(crate) fn value(&self, path: &str) -> Option<Value<'a>> {
        self.leaves.iter().find(|(key, _)| key == path).map(|(_, value)| *value)
    }

    /// The text of the first value at `path`, see [`Value::text`]; empty strings are none.
    pub(crate) fn get(&self, path: &str) -> Option<&'a str> {
        self.value(path)?.text().filter(|text| !text.is_empty())
    }

    /// Whether anything stands at `path` or below it.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.leaves.iter().any(|(key, _)| {
            key.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }

    /// How many different values stand at `path`.
    fn distinct(&self, path: &str) -> usize {
        let mut found: Vec<&str> =
            self.leaves.iter().filter(|(key, _)| key == path).map(|(_, value)| value.raw).collect();
        found.sort_unstable();
        found.dedup();
        found.len()
    }

    /// The first of `keys` that stands more than once, with different values.
    pub(crate) fn twice<'k>(&self, keys: &[&'k str]) -> Option<&'k str> {
        keys.iter().copied().find(|key| self.distinct(key) > 1)
    }

    /// The same values with `prefix.` taken off, of those keys that have it.
    pub(crate) fn below(&self, prefix: &str) -> Self {
        let strip = |key: &str| key.strip_prefix(prefix)?.strip_prefix('.').map(str::to_owned);
        let leaves = self.leaves.iter().filter_map(|(key, value)| Some((strip(key)?, *value))).collect();
        Self { leaves }
    }
}

/// The members of an object, in order, repeated keys and all.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// A key, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Key(key), value)) = map.next_entry::<Key<'de>, &'de RawValue>()? {
                    if members.len() < LEAVES_MAX {
                        members.push((key, value));
                    }
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// The elements of an array, in order.
struct Elements<'a>(Vec<&'a RawValue>);

impl<'de> Deserialize<'de> for Elements<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Elements<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an array")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut elements = Vec::new();
                while let Some(value) = seq.next_element()? {
                    if elements.len() < LEAVES_MAX {
                        elements.push(value);
                    }
                }
                Ok(Elements(elements))
            }
        }
        deserializer.deserialize_seq(Collect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_dotted_and_listed_keys_are_one() {
        let text = r#"{"a":{"b":1522836617.123456789,"c":["x","y"]},"a.d":"e","big":9007199254740993,"n":null,"o":{}}"#;
        let object = Object::new(text).unwrap();
        assert_eq!(object.get("a.b"), Some("1522836617.123456789"));
        assert_eq!((object.get("a.c"), object.distinct("a.c")), (Some("x"), 2));
        assert_eq!((object.get("a.d"), object.get("big")), (Some("e"), Some("9007199254740993")));
        assert!(object.has("a") && !object.has("o") && object.get("n").is_none());
        assert_eq!(object.below("a").get("b"), object.get("a.b"));
        let start = text.find("e\",").unwrap();
        assert!(std::ptr::eq(object.get("a.d").unwrap(), &text[start..start + 1]));
    }

    #[test]
    fn only_one_object() {
        for text in ["", "1", "[]", "{}", "{\"a\":1", "{\"a\":1} {\"a\":2}", "[{\"a\":1},{\"a\":2}]", "\"x\""]
        {
            assert!(Object::new(text).is_none(), "{text}");
        }
        assert_eq!(Object::new("[{\"a\":1}]").unwrap().get("a"), Some("1"));
    }

    #[test]
    fn pieces_keep_their_places() {
        let object = Object::new(r#"{"log":"a\tb\ud83d\ude00\n"}"#).unwrap();
        let pieces = object.value("log").unwrap().pieces().unwrap();
        let meant: String = pieces.iter().map(|(_, meant)| meant.as_ref()).collect();
        assert_eq!(meant, "a\tb😀\n");
        assert_eq!(pieces[1].0, "\\t");
        assert!(object.get("log").is_none());
    }

    #[test]
    fn depth_and_number_are_bounded() {
        let deep = format!("{}1{}", "{\"a\":".repeat(100), "}".repeat(100));
        assert!(Object::new(&deep).is_none());
        let wide =
            format!("{{{}\"z\":1}}", (0..10_000).map(|n| format!("\"k{n}\":{n},")).collect::<String>());
        let wide = Object::new(&wide).unwrap();
        assert!(wide.get("k0").is_some() && wide.get("z").is_none());
    }
}
