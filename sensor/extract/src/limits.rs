//! Every bound of this crate, each with its reason.

use hindcap_wire::flow::proto;
use hindcap_wire::limits::{CHUNK_BYTES, PAGE_BYTES};
use hindcap_wire::time::NANOS_PER_SEC;

/// Bytes of matches that wait for their turn. Live traffic needs far less; beyond it, imported savefiles that overlap
/// are read in several passes.
pub const WAITING_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Pages that are read in one go: those of a chunk, so that a unit never reads more than 1 MiB.
pub(crate) const UNIT_PAGES_MAX: u32 = CHUNK_BYTES / PAGE_BYTES;

/// First fragments remembered while reading, about 1 MiB: those of all units that overlap in time must find room, and in
/// imported savefiles many may.
pub(crate) const FRAGMENTS_MAX: usize = 4096;

/// How long a later fragment waits for its first one. Fragments of a datagram travel together, and disorder on the way
/// is a matter of milliseconds; waiting for the full reassembly time of 30 s would hold back the whole stream.
pub(crate) const ORPHAN_WAIT_NANOS: u64 = 2 * NANOS_PER_SEC;

/// Flows that one `session` query may widen to: their states take about 1 MiB.
pub const SESSION_FLOWS_MAX: usize = 4096;

/// Sessions that one `session` query may give.
pub(crate) const SESSIONS_MAX: usize = 65_536;

/// Rows that a search may list: some 10 MiB.
pub const ROWS_MAX: usize = 50_000;

/// Flows followed across segments to count sessions in an estimate or a summary; above it the number is an upper bound.
pub(crate) const COUNTED_FLOWS_MAX: usize = 32_768;

/// Talkers of one list of a summary: some 700 KiB for each of the four lists.
pub(crate) const TALKERS_MAX: usize = 8_192;

/// Flows whose sequence numbers are followed, to tell what policy cut off: as many as a table of 0.6 MiB takes, the next
/// larger one being twice that.
pub(crate) const CUT_FLOWS_MAX: usize = 3_584;

/// Savefiles of one import that lie this close together count as one stretch of recorded time.
pub(crate) const IMPORT_SILENCE_NANOS: u64 = 60 * NANOS_PER_SEC;

/// Silence after which a session of `proto` is over, nanoseconds: what address translators must wait at least
/// (RFC 5382 REQ-5 for TCP, RFC 4787 REQ-5 for UDP, RFC 5508 REQ-2 for ICMP); others as UDP.
#[must_use]
pub const fn idle_nanos(proto: u8) -> u64 {
    let secs = match proto {
        proto::TCP => 2 * 3600 + 4 * 60,
        proto::ICMP | proto::ICMPV6 => 60,
        _ => 300,
    };
    secs * NANOS_PER_SEC
}

/// Silence after FIN or RST that ends a TCP session (RFC 5382 REQ-5, "transitory").
pub(crate) const CLOSING_NANOS: u64 = 4 * 60 * NANOS_PER_SEC;

/// A SYN so long after the session's start belongs to a new connection, even if no FIN or RST was seen: Linux gives up
/// repeating a SYN after 127 s (tcp_syn_retries 6), and nearly all repeats come in the first 31 s.
pub(crate) const SYN_REPEAT_NANOS: u64 = 60 * NANOS_PER_SEC;
