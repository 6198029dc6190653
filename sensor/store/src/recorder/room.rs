//! Whether the recorder takes packets now, for sources that can keep them a while longer.
//!
//! While the medium is busy the writer gives no buffer back. A kernel ring holds what comes meanwhile as well as a buffer
//! does, so whoever reads one asks first and leaves packets where they are: ring and buffers together carry a stall, and
//! neither needs memory for all of it. A source that does not ask loses nothing of this: [`Recorder::push`] counts what
//! finds no buffer.

use super::Recorder;
use super::outage::Storage;

/// Room for so many bytes is enough for the packets that a source gives before it asks again.
const ROOM_BYTES: usize = 256 * 1024;

impl Recorder {
    /// Whether the next packets would find no buffer although storage is there: it is busy. While storage fails or is
    /// away packets are taken in any case, and the oldest give way.
    pub fn is_short(&mut self) -> bool {
        self.collect();
        // What waits from an outage is recorded again through one buffer of its own.
        let reserved = usize::from(!self.kept.is_empty());
        self.storage == Storage::There
            && self.buffers.len() <= reserved
            && self.limit.saturating_sub(self.used) < ROOM_BYTES
    }
}
