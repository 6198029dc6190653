//! What a savefile says of the answer that it belongs to: the comments of pcapng results.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::Answer;
use crate::drops::DropCause;

/// Gaps named in comments; an answer may know more.
const LINES_MAX: usize = 32;

/// Notes of the answer among the comments.
const NOTES_MAX: usize = 8;

impl Answer {
    /// For the start of the file, when nothing has been counted: what is missing, and the notes.
    #[must_use]
    pub fn opening_comments(&self) -> Vec<String> {
        let mut lines = self.missing();
        lines.extend(self.notes.iter().take(NOTES_MAX).map(|note| format!("note: {note}")));
        lines
    }

    /// For its end: what is missing, and where packets that match are.
    #[must_use]
    pub fn closing_comments(&self) -> Vec<String> {
        let mut lines = self.missing();
        lines.extend(self.partial.iter().map(|partial| format!("partial: {partial}")));
        lines
    }

    /// The lines that tell what is missing.
    fn missing(&self) -> Vec<String> {
        let mut lines = vec![format!("window: {}", self.window)];
        lines.extend(self.gaps.iter().take(LINES_MAX).map(|gap| format!("gap: {gap}")));
        if self.drops.total() > 0 {
            let causes = DropCause::ALL.into_iter().filter(|cause| self.drops.get(*cause) > 0);
            let causes: Vec<String> =
                causes.map(|cause| format!("{} {}", cause.name(), self.drops.get(cause))).collect();
            lines.push(format!("dropped: {} packets ({})", self.drops.total(), causes.join(", ")));
        }
        lines.extend(self.thinned.policies.iter().take(LINES_MAX).map(|span| format!("policy: {span}")));
        if !self.thinned.left_out.is_none() {
            lines.push(format!("left out: {}", self.thinned.left_out));
        }
        lines
    }
}
