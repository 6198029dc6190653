//! A cursor over text for formats that are recognised strictly: every step either fits or the line is another format.
//! No step looks at a byte twice, so that a format costs at most a fixed number of passes over its line.

/// What is left to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scan<'a> {
    rest: &'a str,
}

impl<'a> Scan<'a> {
    pub(crate) const fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    /// What is left.
    pub(crate) const fn rest(&self) -> &'a str {
        self.rest
    }

    pub(crate) const fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes `bytes` bytes, which must end on a character.
    fn take(&mut self, bytes: usize) -> Option<&'a str> {
        let (taken, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        Some(taken)
    }

    /// Passes exactly `word`.
    pub(crate) fn word(&mut self, word: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(word)?;
        Some(())
    }

    /// Passes `word` when it is there.
    pub(crate) fn maybe(&mut self, word: &str) -> bool {
        self.word(word).is_some()
    }

    /// Passes blanks and tabs; `false` when there was none.
    pub(crate) fn blanks(&mut self) -> bool {
        let rest = self.rest.trim_start_matches([' ', '\t']);
        let some = rest.len() < self.rest.len();
        self.rest = rest;
        some
    }

    /// Takes what stands before `end`, and passes `end`.
    pub(crate) fn until(&mut self, end: &str) -> Option<&'a str> {
        let (before, rest) = self.rest.split_once(end)?;
        self.rest = rest;
        Some(before)
    }

    /// Takes characters as long as `fits`; at least one.
    pub(crate) fn while_fits(&mut self, fits: impl Fn(char) -> bool) -> Option<&'a str> {
        let end = self.rest.find(|c| !fits(c)).unwrap_or(self.rest.len());
        if end == 0 { None } else { self.take(end) }
    }

    /// Takes characters up to a blank, a tab or the end; at least one.
    pub(crate) fn token(&mut self) -> Option<&'a str> {
        self.while_fits(|c| c != ' ' && c != '\t')
    }

    /// Takes `least..=most` digits and no more digits after them.
    pub(crate) fn digits(&mut self, least: usize, most: usize) -> Option<&'a str> {
        let count = self.rest.bytes().take(most + 1).take_while(u8::is_ascii_digit).count();
        if count < least || count > most { None } else { self.take(count) }
    }

    /// Takes a number of `least..=most` digits.
    pub(crate) fn number(&mut self, least: usize, most: usize) -> Option<u64> {
        self.digits(least, most)?.parse().ok()
    }

    /// Takes exactly `count` digits, whatever follows.
    pub(crate) fn exactly(&mut self, count: usize) -> Option<u64> {
        let fits = self.rest.bytes().take(count).filter(u8::is_ascii_digit).count() == count;
        if fits { self.take(count)?.parse().ok() } else { None }
    }
}

/// The part of `text` between its start and `end`, a later slice of it.
pub(crate) fn up_to<'a>(text: &'a str, end: &str) -> &'a str {
    let bytes = (end.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    text.get(..bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_fits_or_leaves_the_rest_alone() {
        let mut scan = Scan::new("[1:22:3] héllo");
        assert!(scan.word("[").is_some() && scan.word("x").is_none());
        assert_eq!((scan.number(1, 9), scan.maybe(":"), scan.number(1, 1)), (Some(1), true, None));
        assert_eq!(scan.until("] "), Some("22:3"));
        assert_eq!(scan.until("]"), None);
        assert_eq!(scan.token(), Some("héllo"));
        assert!(scan.is_done() && scan.token().is_none());
    }

    #[test]
    fn counts_digits() {
        assert_eq!(Scan::new("1234").digits(1, 3), None);
        assert_eq!(Scan::new("1234").exactly(3), Some(123));
        assert_eq!(Scan::new("12").exactly(3), None);
        assert_eq!(Scan::new("12é").exactly(3), None);
    }

    #[test]
    fn up_to_a_later_slice() {
        let text = "abc def";
        assert_eq!(up_to(text, &text[4..]), "abc ");
        assert_eq!(up_to(text, text), "");
    }
}
