//! What `CONTENTS.txt` says: which segment covers what, for a person with the files and without this program.

use std::fmt::Write as _;

use hindcap_wire::time::Timestamp;

/// How a segment came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Sealed,
    /// Storage failed, or a crash took the summary: read by its batches.
    NotSealed,
    /// Written to when the notes were taken.
    Open,
}

/// One line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub segment: u32,
    pub generation: u64,
    /// Earliest and latest timestamp; (MAX, MIN) without packets, or when nobody knows.
    pub times: (Timestamp, Timestamp),
    pub packets: u64,
    pub kept: Kept,
}

/// The text: every segment that holds something, newest last. A line is shorter than what the layout sets aside for it.
pub(crate) fn text(now: Timestamp, segments: u32, notes: &mut [Note]) -> String {
    notes.sort_by_key(|note| note.generation);
    let mut text = format!(
        "Hindcap store: {} of {segments} segments in use. Noted at {now}.\n\
         Each line is a file segments/NUMBER.pcapng, which Wireshark and tcpdump open; oldest first, newest last.\n\
         When the ring is full, the oldest is overwritten: its file then holds newer packets than is said here.\n\n\
         number  first packet                    last packet                     packets       generation  state\n",
        notes.len()
    );
    for Note { segment, generation, times: (first, last), packets, kept } in notes {
        let (first, last) = if first > last {
            (String::from("none known"), String::from("none known"))
        } else {
            (first.to_string(), last.to_string())
        };
        let state = match kept {
            Kept::Sealed => "sealed",
            Kept::NotSealed => "not sealed",
            Kept::Open => "open",
        };
        // Writing to a string cannot fail.
        let _ =
            writeln!(text, "{segment:06}  {first:<30}  {last:<30}  {packets:<12}  {generation:<10}  {state}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_last_and_short_lines() {
        let note = |segment, generation, kept| Note {
            segment,
            generation,
            times: (Timestamp(1), Timestamp(1_700_000_000_123_456_789)),
            packets: 999_999_999_999,
            kept,
        };
        let unknown =
            Note { times: (Timestamp::MAX, Timestamp::MIN), packets: 0, ..note(2, 3, Kept::NotSealed) };
        let mut notes = [note(7, 9_999_999_999, Kept::Open), unknown, note(999_999, 8, Kept::Sealed)];
        let text = text(Timestamp(5), 40, &mut notes);
        let lines: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("number")).skip(1).collect();
        let starts: Vec<&str> = lines.iter().map(|line| &line[..6]).collect();
        assert_eq!(starts, ["000002", "999999", "000007"]);
        assert!(lines[0].contains("none known") && lines[0].ends_with("not sealed"));
        assert!(lines[1].ends_with("  sealed") && lines[2].ends_with("  open"));
        assert!(lines.iter().all(|line| line.len() < 128), "{text}");
    }
}
