//! A reader of classic nanosecond savefiles in the machine's own byte order, independent of the code under test: what
//! `tcpdump --time-stamp-precision nano -w` and `hindcapd extract` write.

use std::fs;
use std::path::Path;

/// One record: (nanoseconds since 1970, length on the wire, captured bytes).
pub type Record = (u64, u32, Vec<u8>);

/// All records of a little-endian nanosecond savefile and its link type.
///
/// # Errors
/// A text that says what is wrong with the file.
pub fn read(path: &Path) -> Result<(u32, Vec<Record>), String> {
    let bytes = fs::read(path).map_err(|err| format!("{}: {err}", path.display()))?;
    parse(&bytes).map_err(|err| format!("{}: {err}", path.display()))
}

/// As [`read`], from memory.
///
/// # Errors
/// A text that says what is wrong.
pub fn parse(bytes: &[u8]) -> Result<(u32, Vec<Record>), String> {
    let word = |at: usize| -> Result<u32, String> {
        let field = bytes.get(at..at + 4).ok_or_else(|| format!("ends inside a field at {at}"))?;
        Ok(u32::from_le_bytes([field[0], field[1], field[2], field[3]]))
    };
    if word(0)? != 0xa1b2_3c4d {
        return Err(format!("magic {:#x} is not that of a nanosecond savefile", word(0)?));
    }
    let (mut at, mut records) = (24, Vec::new());
    while at < bytes.len() {
        let (secs, nanos, caplen, orig_len) =
            (word(at)?, word(at + 4)?, word(at + 8)? as usize, word(at + 12)?);
        at += 16;
        let data = bytes.get(at..at + caplen).ok_or_else(|| format!("ends inside a packet at {at}"))?;
        records.push((u64::from(secs) * 1_000_000_000 + u64::from(nanos), orig_len, data.to_vec()));
        at += caplen;
    }
    // The upper half of the field says how long the frame check sequence is, or is noise.
    Ok((word(20)? & 0xffff, records))
}

/// The bytes of a nanosecond savefile with these records.
#[must_use]
pub fn encode(link_type: u32, records: &[Record]) -> Vec<u8> {
    let mut out = Vec::new();
    for field in [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, 262_144, link_type] {
        out.extend(field.to_le_bytes());
    }
    for (nanos, orig_len, bytes) in records {
        let (secs, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
        for field in [secs as u32, rest as u32, bytes.len() as u32, *orig_len] {
            out.extend(field.to_le_bytes());
        }
        out.extend(bytes);
    }
    out
}
