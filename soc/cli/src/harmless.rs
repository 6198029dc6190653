//! Words of others, for a terminal: what a sensor says of itself, why it refuses, what another analyst wrote beside a hold.

/// `text` with a blank for every character that would move the cursor, colour what follows or ring; ends of lines stay.
pub(crate) fn harmless(text: &str) -> String {
    text.replace(|c: char| c.is_control() && c != '\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ends_of_lines_are_left_of_what_controls_a_terminal() {
        assert_eq!(harmless("a\x1b[2Jb\r\x07\u{9b}1mc\n\u{fc}\t."), "a [2Jb   1mc\n\u{fc} .");
    }
}
