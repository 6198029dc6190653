//! Text within bounds.

/// The longest beginning of `text` of at most `bytes_max` bytes that ends between characters.
pub(crate) fn beginning(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_stay_whole() {
        assert_eq!(beginning("a\u{e9}b", 9), "a\u{e9}b");
        assert_eq!(beginning("a\u{e9}b", 3), "a\u{e9}");
        assert_eq!(beginning("a\u{e9}b", 2), "a");
        assert_eq!(beginning("\u{e9}", 1), "");
    }
}
