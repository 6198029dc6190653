//! Every bound of the formats and tables in this crate, each with its reason. Relations between them are asserted
//! at compile time.

/// Largest captured length of one packet, libpcap's `MAXIMUM_SNAPLEN` (pcap-int.h, 1.10).
pub const CAPLEN_MAX: u32 = 262_144;

/// Largest pcapng block: libpcap and Wireshark both refuse more, so nothing of ours may be larger and nothing larger is
/// read.
pub const PCAPNG_BLOCK_BYTES_MAX: u32 = 16 * 1024 * 1024;

/// Interfaces that one savefile may describe; real ones have fewer than a hundred.
pub const SAVEFILE_INTERFACES_MAX: usize = 4096;

/// Flows noted per packet, outermost first. Real stacks seen in the corpus have at most four (GTP in VXLAN in GRE);
/// deeper ones are kept and found by their outer layers.
pub const FLOW_LAYERS_MAX: usize = 4;

/// VLAN identifiers noted per layer stack; deeper tags are stepped over.
pub const VLAN_TAGS_MAX: usize = 4;

/// Headers walked in one packet before it is called malformed: bounds the work on a hostile packet.
pub const HEADERS_MAX: usize = 48;

/// Age up to which a first fragment completes later ones, nanoseconds: what hosts wait for the rest of a datagram
/// (Linux `ipfrag_time`, 30 s).
pub const FRAGMENT_AGE_NANOS_MAX: u64 = 30_000_000_000;

/// Unit of the index and of every read: one flash page of common cards (docs/DESIGN.md, "Pages").
pub const PAGE_BYTES: u32 = 16 * 1024;

/// A batch never crosses a boundary of this size, so the last page of every chunk ends with a commit block.
pub const CHUNK_BYTES: u32 = 1024 * 1024;

/// Segment sizes that a store may be made with.
pub const SEGMENT_BYTES_MIN: u32 = 4 * CHUNK_BYTES;
/// See [`SEGMENT_BYTES_MIN`]. Page numbers are `u16`: 65,536 pages of 16 KiB are 1 GiB.
pub const SEGMENT_BYTES_MAX: u32 = 512 * CHUNK_BYTES;
/// The size a store is made with by default.
pub const SEGMENT_BYTES_DEFAULT: u32 = 64 * CHUNK_BYTES;

/// Interfaces (pcapng IDBs) in one segment; an import of many savefiles shares equal ones.
pub const INTERFACES_MAX: usize = 64;

/// Bytes of an interface's name that are kept: Linux allows 15; a savefile's description may be longer. With
/// [`INTERFACES_MAX`] it keeps the summary inside one page.
pub const INTERFACE_NAME_BYTES_MAX: usize = 64;

/// Hosts, networks and ports that one query may name.
pub const QUERY_ENDS_MAX: usize = 2;
/// Largest number of other ends in a query: before and after two translations, with ports to choose from.
pub const QUERY_OR_MAX: usize = 7;
/// Length of a pcap-filter expression in a query, bytes.
pub const FILTER_BYTES_MAX: usize = 4096;

const _: () = assert!(CHUNK_BYTES % PAGE_BYTES == 0);
const _: () = assert!(SEGMENT_BYTES_MAX / PAGE_BYTES <= u16::MAX as u32);
const _: () = assert!(CAPLEN_MAX < CHUNK_BYTES);
const _: () = assert!(CAPLEN_MAX < PCAPNG_BLOCK_BYTES_MAX && CHUNK_BYTES < PCAPNG_BLOCK_BYTES_MAX);

/// Largest request as it arrives, envelope included: 128 KiB is what AWS IoT carries and thousands of times what a
/// query needs.
pub const REQUEST_BYTES_MAX: usize = 128 * 1024;
/// Largest reply, status, event or chunk as it is sent.
pub const MESSAGE_BYTES_MAX: usize = 128 * 1024;
/// Bytes of a result in one chunk: 64 KiB is 88 KiB as base64 in JSON, below every broker's packet limit.
pub const RESULT_CHUNK_BYTES: u32 = 64 * 1024;
/// Largest result that is sent in chunks; with whole chunks this is 65,536 of them.
pub const RESULT_BYTES_MAX: u64 = RESULT_CHUNK_BYTES as u64 * 65_536;
/// Chunks of one result in flight. 16 (1 MiB) fill 10 MB/s at 100 ms and bound the memory on both sides.
pub const RESULT_WINDOW_MAX: u16 = 16;
/// Chunks that an acknowledgement can name past the first that is missing; several windows, so that a receiver may
/// report everything it has after a resend.
pub const ACK_BITMAP_BYTES_MAX: usize = 64;
/// Sensor identifiers are one topic level.
pub const SENSOR_ID_BYTES_MAX: usize = 64;
/// Free text in a request (reason, case), bytes each.
pub const REQUEST_TEXT_BYTES_MAX: usize = 1024;
/// Why a hold was made, bytes; the store's state has 2 KiB for all holds.
pub const HOLD_WHY_BYTES_MAX: usize = 96;
/// Who asked for a hold, bytes.
pub const HOLD_WHO_BYTES_MAX: usize = 32;
/// Longest hold, seconds: ten years, beyond what a medium lives.
pub const HOLD_SECS_MAX: u64 = 3650 * 86_400;
/// Pins that a sensor remembers; more are refused while all are at work.
pub const PINS_MAX: usize = 64;
/// How long a pin follows its sessions when nobody said, seconds.
pub const PIN_SECS_DEFAULT: u64 = 3_600;
/// Longest that a pin follows, seconds: 30 days. What was copied stays longer.
pub const PIN_SECS_MAX: u64 = 30 * 86_400;
/// Sessions that one search gives.
pub const SEARCH_SESSIONS_MAX: u32 = 2_000;
/// Sessions in one reply, so that a page stays below [`MESSAGE_BYTES_MAX`] in JSON (about 330 bytes a row).
pub const SEARCH_PAGE_SESSIONS: usize = 150;
/// Rows of each of the eight lists of a summary, so that it stays below [`MESSAGE_BYTES_MAX`] in JSON (about 130 bytes a row).
pub const SUMMARY_ROWS_MAX: u32 = 100;
/// Longest time from issue to expiry of a request: a site that is offline for a week still gets it.
pub const REQUEST_LIFE_SECS_MAX: u64 = 7 * 86_400;

const _: () = assert!(RESULT_CHUNK_BYTES as usize * 4 / 3 + 1024 < 96 * 1024);
const _: () = assert!(RESULT_WINDOW_MAX as usize * 4 <= ACK_BITMAP_BYTES_MAX * 8);
const _: () = assert!(SEARCH_PAGE_SESSIONS * 400 < MESSAGE_BYTES_MAX / 2);
const _: () = assert!(SUMMARY_ROWS_MAX as usize * 8 * 150 < MESSAGE_BYTES_MAX);
