//! Directory entries: written with long names, so that every system shows `000000.pcapng` and opens it in Wireshark; read
//! back whatever a laptop made of them (long names gone, files renamed, deleted, added).

use hindcap_wire::time::Timestamp;

use super::layout::Extent;

/// Bytes of an entry.
pub(crate) const ENTRY_BYTES: usize = 32;

/// Attributes.
pub(crate) const READ_ONLY: u8 = 0x01;
pub(crate) const DIRECTORY: u8 = 0x10;
pub(crate) const VOLUME_LABEL: u8 = 0x08;
const ARCHIVE: u8 = 0x20;
const LONG_NAME: u8 = 0x0F;
const DELETED: u8 = 0xE5;

/// Date and time as FAT keeps them: local time by custom, UTC here. From 1980 to 2107.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DosTime {
    date: u16,
    time: u16,
}

impl DosTime {
    pub(crate) fn of(at: Timestamp) -> Self {
        let secs = at.secs();
        let (year, month, day) = civil(secs / 86_400);
        if !(1980..=2107).contains(&year) {
            return Self { date: 0x21, time: 0 };
        }
        let of_day = secs % 86_400;
        Self {
            date: ((year - 1980) << 9 | month << 5 | day) as u16,
            time: (of_day / 3600 << 11 | of_day / 60 % 60 << 5 | of_day % 60 / 2) as u16,
        }
    }
}

/// Year, month and day of a day since 1970 (Howard Hinnant's `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + u64::from(month <= 2), month, doy - (153 * mp + 2) / 5 + 1)
}

/// A name in both forms.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    long: String,
    short: [u8; 11],
}

impl Name {
    /// `short` is the 8.3 form, 11 bytes without dot.
    pub(crate) fn new(long: &str, short: &[u8; 11]) -> Self {
        Self { long: long.to_owned(), short: *short }
    }

    /// Segment `number`: `000000.pcapng`, and `000000~1.PCA` where only short names are shown.
    pub(crate) fn segment(number: u32) -> Self {
        let mut short = *b"000000~1PCA";
        short[..6].copy_from_slice(format!("{number:06}").as_bytes());
        Self { long: format!("{number:06}.pcapng"), short }
    }
}

fn short_entry(name: &[u8; 11], attributes: u8, first: u32, bytes: u32, at: DosTime) -> [u8; ENTRY_BYTES] {
    let mut out = [0; ENTRY_BYTES];
    out[..11].copy_from_slice(name);
    out[11] = attributes;
    let mut put = |at: usize, value: u16| out[at..at + 2].copy_from_slice(&value.to_le_bytes());
    for (place, value) in [(14, at.time), (16, at.date), (18, at.date), (22, at.time), (24, at.date)] {
        put(place, value);
    }
    put(20, (first >> 16) as u16);
    put(26, first as u16);
    out[28..].copy_from_slice(&bytes.to_le_bytes());
    out
}

fn checksum(short: &[u8]) -> u8 {
    short.iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte))
}

/// Positions of the 13 characters in a long-name entry.
const LONG_AT: [usize; 13] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];

/// Appends the entries of a file or directory.
pub(crate) fn append(
    out: &mut Vec<u8>,
    name: &Name,
    attributes: u8,
    extent: Extent,
    bytes: u32,
    at: DosTime,
) {
    let mut units: Vec<u16> = name.long.encode_utf16().collect();
    if units.len() % LONG_AT.len() != 0 {
        units.push(0);
    }
    let pieces = units.chunks(LONG_AT.len()).enumerate().collect::<Vec<_>>();
    for (index, piece) in pieces.iter().rev() {
        let mut entry = [0; ENTRY_BYTES];
        let last = if index + 1 == pieces.len() { 0x40 } else { 0 };
        entry[0] = (*index as u8 + 1) | last;
        entry[11] = LONG_NAME;
        entry[13] = checksum(&name.short);
        for (place, at) in LONG_AT.iter().enumerate() {
            let unit = piece.get(place).copied().unwrap_or(0xFFFF);
            entry[*at..at + 2].copy_from_slice(&unit.to_le_bytes());
        }
        out.extend_from_slice(&entry);
    }
    let archive = if attributes & DIRECTORY == 0 { ARCHIVE } else { 0 };
    out.extend_from_slice(&short_entry(&name.short, attributes | archive, extent.first, bytes, at));
}

/// The entry that holds the volume's label.
pub(crate) fn append_label(out: &mut Vec<u8>, label: [u8; 11], at: DosTime) {
    out.extend_from_slice(&short_entry(&label, VOLUME_LABEL, 0, 0, at));
}

/// `.` and `..` of a directory; a parent that is the root is 0 there.
pub(crate) fn append_dots(out: &mut Vec<u8>, own: Extent, parent: u32, at: DosTime) {
    for (name, first) in [(b".          ", own.first), (b"..         ", parent)] {
        out.extend_from_slice(&short_entry(name, DIRECTORY, first, 0, at));
    }
}

/// The label of the volume, as the entries of its root directory tell it; `None` without one.
pub(crate) fn label_in(root: &[u8]) -> Option<String> {
    let entries = root.chunks_exact(ENTRY_BYTES).take_while(|entry| entry[0] != 0);
    let is_label =
        |entry: &&[u8]| entry[0] != DELETED && entry[11] & 0x3F != LONG_NAME && entry[11] & VOLUME_LABEL != 0;
    let label = entries.filter(|entry| entry.len() == ENTRY_BYTES).find(is_label)?;
    let text: String = label[..11]
        .iter()
        .map(|byte| if (0x20..0x7F).contains(byte) { char::from(*byte) } else { '?' })
        .collect();
    Some(text.trim_end().to_owned())
}

/// A label as the disk keeps it: 11 bytes, capitals.
pub(crate) fn label(text: &str) -> Option<[u8; 11]> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b" -_#$%&@!()".contains(&byte);
    let mut out = [b' '; 11];
    if text.is_empty() || text.len() > out.len() || !text.bytes().all(good) || text.starts_with(' ') {
        return None;
    }
    out[..text.len()].copy_from_slice(text.to_ascii_uppercase().as_bytes());
    Some(out)
}

/// A file or directory as it is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The long name, or the short one where there is none.
    pub name: String,
    /// Is a directory.
    pub directory: bool,
    /// First cluster; 0 for an empty file.
    pub first: u32,
    /// Bytes.
    pub bytes: u32,
}

impl Found {
    /// Whether it bears the name that segment `number` was given, in either form.
    pub(crate) fn is_named_as_segment(&self, number: u32) -> bool {
        let digits = self.name.get(..6).and_then(|digits| digits.parse::<u32>().ok());
        let rest = self.name.get(6..).unwrap_or_default();
        digits == Some(number)
            && (rest.eq_ignore_ascii_case(".pcapng") || rest.eq_ignore_ascii_case("~1.pca"))
    }
}

/// Reads the entries of one directory, cluster after cluster.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    long: Vec<u16>,
    sum: u8,
    /// The mark behind the last entry was seen.
    pub ended: bool,
}

impl Parser {
    /// Takes the next bytes of the directory.
    pub(crate) fn take(&mut self, bytes: &[u8], found: &mut Vec<Found>) {
        for entry in bytes.chunks_exact(ENTRY_BYTES) {
            match (entry[0], entry[11]) {
                (0, _) => {
                    self.ended = true;
                    return;
                }
                (DELETED, _) => self.long.clear(),
                (order, attributes) if attributes & 0x3F == LONG_NAME => self.take_long(order, entry),
                (b'.', _) => self.long.clear(),
                (_, attributes) if attributes & VOLUME_LABEL != 0 => self.long.clear(),
                _ => found.push(self.finish(entry)),
            }
        }
    }

    fn take_long(&mut self, order: u8, entry: &[u8]) {
        if order & 0x40 != 0 {
            self.long.clear();
            self.sum = entry[13];
        }
        let units = LONG_AT.iter().map(|at| u16::from_le_bytes([entry[*at], entry[at + 1]]));
        let mut piece: Vec<u16> = units.take_while(|unit| *unit != 0 && *unit != 0xFFFF).collect();
        piece.append(&mut self.long);
        self.long = piece;
    }

    fn finish(&mut self, entry: &[u8]) -> Found {
        let long = std::mem::take(&mut self.long);
        let name = if !long.is_empty() && self.sum == checksum(&entry[..11]) {
            String::from_utf16_lossy(&long)
        } else {
            short_name(&entry[..11])
        };
        let half = |at: usize| u32::from(u16::from_le_bytes([entry[at], entry[at + 1]]));
        Found {
            name,
            directory: entry[11] & DIRECTORY != 0,
            first: half(20) << 16 | half(26),
            bytes: u32::from_le_bytes([entry[28], entry[29], entry[30], entry[31]]),
        }
    }
}

fn short_name(bytes: &[u8]) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    let (stem, extension) = (text(&bytes[..8]), text(&bytes[8..]));
    if extension.is_empty() { stem } else { format!("{stem}.{extension}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp(1_795_300_215_000_000_000);

    #[test]
    fn names_are_read_back_with_and_without_their_long_form() {
        let extent = Extent { first: 0x12_3456, count: 9 };
        let mut bytes = Vec::new();
        append_label(&mut bytes, label("office 7").unwrap(), DosTime::of(AT));
        append_dots(&mut bytes, extent, 0, DosTime::of(AT));
        let at = bytes.len();
        append(&mut bytes, &Name::segment(12), READ_ONLY, extent, 64 << 20, DosTime::of(AT));
        assert_eq!(bytes.len() - at, 64, "thirteen characters take one long entry");
        append(
            &mut bytes,
            &Name::new("hindcap.state", b"HINDCA~1STA"),
            READ_ONLY,
            extent,
            5,
            DosTime::of(AT),
        );
        let mut found = Vec::new();
        Parser::default().take(&bytes, &mut found);
        assert_eq!(
            found[0],
            Found { name: "000012.pcapng".into(), directory: false, first: 0x12_3456, bytes: 64 << 20 }
        );
        assert!(found[0].is_named_as_segment(12) && !found[0].is_named_as_segment(13));
        assert_eq!(found[1].name, "hindcap.state");
        bytes[at] = DELETED;
        found.clear();
        Parser::default().take(&bytes, &mut found);
        assert_eq!(found[0].name, "000012~1.PCA");
        assert!(found[0].is_named_as_segment(12));
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(19_782), (2024, 2, 29));
        // 2026-11-21T22:30:15Z
        assert_eq!(DosTime::of(AT), DosTime { date: 46 << 9 | 11 << 5 | 21, time: 22 << 11 | 30 << 5 | 7 });
        assert_eq!(DosTime::of(Timestamp(0)), DosTime { date: 0x21, time: 0 });
        // 2038-01-19T03:14:08Z, where 32-bit clocks end.
        let late = DosTime::of(Timestamp((1 << 31) * 1_000_000_000));
        assert_eq!(late, DosTime { date: 58 << 9 | 1 << 5 | 19, time: 3 << 11 | 14 << 5 | 4 });
    }

    #[test]
    fn labels_are_plain() {
        let mut root = vec![0; 96];
        assert_eq!(label_in(&root), None);
        let mut entry = Vec::new();
        append_label(&mut entry, label("office 7").unwrap(), DosTime::of(AT));
        root[32..64].copy_from_slice(&entry);
        assert_eq!(label_in(&root), None, "behind the end");
        root[0] = DELETED;
        assert_eq!(label_in(&root).as_deref(), Some("OFFICE 7"));
        root[36] = 0x81;
        assert_eq!(label_in(&root).as_deref(), Some("OFFI?E 7"));
        assert_eq!(label("hindcap"), Some(*b"HINDCAP    "));
        assert_eq!((label(""), label("a/b"), label("much too long")), (None, None, None));
    }
}
