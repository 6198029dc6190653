//! The known word nearest to a mistyped one.

/// The nearest of `known` to `word`, unless all are too far away to be what was meant.
pub fn nearest<'n>(word: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let limit = word.len().div_ceil(3).max(2);
    known
        .map(|candidate| (distance(word.as_bytes(), candidate.as_bytes()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance, one row at a time.
fn distance(from: &[u8], to: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_levenshteins() {
        for (from, to, expected) in
            [("", "abc", 3), ("kitten", "sitting", 3), ("same", "same", 0), ("ab", "ba", 2)]
        {
            assert_eq!(distance(from.as_bytes(), to.as_bytes()), expected, "{from} {to}");
        }
    }

    #[test]
    fn near_words_are_suggested_and_far_ones_not() {
        let known = ["store.path", "store.size", "capture.ring"];
        assert_eq!(nearest("store.siez", known.into_iter()), Some("store.size"));
        assert_eq!(nearest("weather", known.into_iter()), None);
    }
}
