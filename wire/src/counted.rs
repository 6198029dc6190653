//! Numbers of things, in words for a person: "1 segment", "2 segments".

use core::fmt;

/// So many of a thing whose plural ends in "s".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted<'a>(pub u64, pub &'a str);

impl fmt::Display for Counted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.0, self.1, if self.0 == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn one_is_no_plural() {
        let texts = [0, 1, 2].map(|number| Counted(number, "segment").to_string());
        assert_eq!(texts, ["0 segments", "1 segment", "2 segments"]);
    }
}
