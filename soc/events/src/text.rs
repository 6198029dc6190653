//! A line as pasted becomes a line as written: colours, carriage returns, typographic quotes and arrows are undone, and
//! what cannot be seen is made visible as U+FFFD, so that it never joins or reorders what stands around it.
//!
//! The map leads from the clean text back to the bytes as given. One pass, linear in the length.

use std::ops::Range;

/// Clean text and where it came from.
#[derive(Debug, Default)]
pub(crate) struct Clean {
    text: String,
    /// (offset in the clean text, offset in the original), where the distance between the two changes; ascending.
    runs: Vec<(usize, usize)>,
    /// Length of the original, bytes.
    original_bytes: usize,
    /// Control characters, marks that turn the order of text round, or bytes that are no UTF-8 were found.
    pub(crate) invisible: bool,
}

impl Clean {
    /// Cleans `bytes`.
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let mut clean = Self { original_bytes: bytes.len(), ..Self::default() };
        // Quotes inside quotes are text; only a line that has none of the plain ones had them replaced.
        let quotes = !bytes.contains(&b'"');
        let mut at = 0;
        for chunk in bytes.utf8_chunks() {
            clean.valid(chunk.valid(), at, quotes);
            at += chunk.valid().len();
            if !chunk.invalid().is_empty() {
                clean.put(at, "\u{fffd}");
                clean.invisible = true;
                at += chunk.invalid().len();
            }
        }
        clean
    }

    /// Text that was unpacked from `outer`, each piece with the offset in `outer` where it stood.
    pub(crate) fn unpacked<'a>(outer: &Self, pieces: impl IntoIterator<Item = (usize, &'a str)>) -> Self {
        let mut clean = Self { original_bytes: outer.original_bytes, ..Self::default() };
        let mut unescaped = String::new();
        let mut origins = Vec::new();
        for (at, piece) in pieces {
            origins.push((unescaped.len(), outer.origin(at)));
            unescaped.push_str(piece);
        }
        let inner = Self::new(unescaped.as_bytes());
        let steps = Self { runs: origins, ..Self::default() };
        for &(at, from) in &inner.runs {
            clean.runs.push((at, steps.origin(from)));
        }
        for &(at, origin) in &steps.runs {
            clean.runs.push((inner.forward(at), origin));
        }
        clean.runs.sort_unstable();
        clean.runs.dedup_by_key(|run| run.0);
        clean.text = inner.text;
        clean.invisible = inner.invisible || outer.invisible;
        clean
    }

    /// The clean text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Where `part`, a slice of the clean text, stood in the original. `None` for any other text.
    pub(crate) fn span(&self, part: &str) -> Option<Range<usize>> {
        let start = (part.as_ptr() as usize).checked_sub(self.text.as_ptr() as usize)?;
        let end = start.checked_add(part.len())?;
        if part.is_empty() || end > self.text.len() {
            return None;
        }
        let (from, to) = (self.origin(start), self.origin(end - 1) + 1);
        Some(from.min(self.original_bytes)..to.clamp(from, self.original_bytes))
    }

    /// The original offset of a clean one.
    fn origin(&self, at: usize) -> usize {
        let next = self.runs.partition_point(|run| run.0 <= at);
        let (clean, original) = next.checked_sub(1).map_or((0, 0), |index| self.runs[index]);
        original + (at - clean)
    }

    /// The clean offset of an original one, or of the next byte that was kept.
    fn forward(&self, at: usize) -> usize {
        let next = self.runs.partition_point(|run| run.1 <= at);
        let (clean, original) = next.checked_sub(1).map_or((0, 0), |index| self.runs[index]);
        let end = self.runs.get(next).map_or(self.text.len(), |run| run.0);
        (clean + (at - original)).min(end)
    }

    fn put(&mut self, at: usize, text: &str) {
        let here = self.text.len();
        if self.runs.is_empty() || self.origin(here) != at {
            self.runs.push((here, at));
        }
        self.text.push_str(text);
    }

    fn valid(&mut self, text: &str, base: usize, quotes: bool) {
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let at = base + (text.len() - rest.len());
            let plain = rest.find(special).unwrap_or(rest.len());
            if plain > 0 {
                self.put(at, &rest[..plain]);
                rest = &rest[plain..];
                continue;
            }
            if c == '\u{1b}' {
                let colour = colour_len(rest);
                if colour > 1 {
                    rest = &rest[colour..];
                    continue;
                }
            }
            self.one(c, at, quotes);
            rest = &rest[c.len_utf8()..];
        }
    }

    fn one(&mut self, c: char, at: usize, quotes: bool) {
        match c {
            '\r' => {}
            '\u{feff}' if at == 0 => {}
            '“' | '”' | '„' | '«' | '»' if quotes => self.put(at, "\""),
            '‘' | '’' if quotes => self.put(at, "'"),
            '→' => self.put(at, "->"),
            '\u{a0}' | '\u{202f}' => self.put(at, " "),
            c if unseen(c) => {
                self.put(at, "\u{fffd}");
                self.invisible = true;
            }
            c => self.put(at, c.encode_utf8(&mut [0; 4])),
        }
    }
}

/// Whether a character needs a look.
fn special(c: char) -> bool {
    c == '\r'
        || unseen(c)
        || matches!(c, '“' | '”' | '„' | '«' | '»' | '‘' | '’' | '→' | '\u{a0}' | '\u{202f}')
}

/// Whether a character shows as nothing, or turns the order of its neighbours round (UAX 9).
const fn unseen(c: char) -> bool {
    matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{61c}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Bytes of an ANSI control sequence at the start of `text` (ECMA-48, CSI), 1 when it is none.
fn colour_len(text: &str) -> usize {
    let Some(rest) = text.strip_prefix("\u{1b}[") else { return 1 };
    let inner = rest.bytes().take(32).take_while(|byte| matches!(byte, 0x20..=0x3f)).count();
    match rest.as_bytes().get(inner) {
        Some(0x40..=0x7e) => 2 + inner + 1,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(clean: &Clean, word: &str) -> Range<usize> {
        let start = clean.text().find(word).unwrap();
        clean.span(&clean.text()[start..start + word.len()]).unwrap()
    }

    #[test]
    fn plain_text_stays_and_maps_to_itself() {
        let clean = Clean::new(b"src 1.2.3.4 end");
        assert_eq!(clean.text(), "src 1.2.3.4 end");
        assert_eq!(at(&clean, "1.2.3.4"), 4..11);
        assert!(!clean.invisible && clean.span("1.2.3.4").is_none());
    }

    #[test]
    fn colours_quotes_and_arrows_are_undone() {
        let line = "\u{1b}[01;31mSRC\u{1b}[0m=“a” → b\r\n";
        let clean = Clean::new(line.as_bytes());
        assert_eq!(clean.text(), "SRC=\"a\" -> b\n");
        assert_eq!(&line[at(&clean, "SRC")], "SRC");
        assert_eq!(&line[at(&clean, "a")], "a");
        assert_eq!(&line[at(&clean, "b")], "b");
        assert!(!clean.invisible);
        assert_eq!(Clean::new("\"say “hi”\"".as_bytes()).text(), "\"say “hi”\"");
    }

    #[test]
    fn what_cannot_be_seen_never_joins_its_neighbours() {
        for line in
            [&b"1.2\0.3.4"[..], "1.2\u{200b}.3.4".as_bytes(), b"1.2\xff.3.4", "1.2\u{202e}.3.4".as_bytes()]
        {
            let clean = Clean::new(line);
            assert_eq!(clean.text(), "1.2\u{fffd}.3.4");
            assert!(clean.invisible);
            assert_eq!(&line[at(&clean, ".3.4")], b".3.4");
        }
        assert_eq!(Clean::new(b"a\x1b]b").text(), "a\u{fffd}]b");
        assert_eq!(Clean::new("\u{feff}a".as_bytes()).text(), "a");
    }

    #[test]
    fn spans_of_unpacked_text_lead_to_the_original() {
        let outer = Clean::new(b"{\"log\":\"a\\tb 1.2.3.4\"}");
        // What stands in the string: `a`, an escaped tab, `b 1.2.3.4`.
        let inner = Clean::unpacked(&outer, [(8, "a"), (9, "\t"), (11, "b 1.2.3.4")]);
        assert_eq!(inner.text(), "a\tb 1.2.3.4");
        assert_eq!(at(&inner, "1.2.3.4"), 13..20);
        assert_eq!(at(&inner, "a"), 8..9);
    }
}
