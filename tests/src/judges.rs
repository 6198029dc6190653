//! What other people's programs make of a savefile, as records that can be compared.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::netns::Cable;
use crate::process::Running;
use crate::savefile::{self, Record};
use crate::tools;

/// What tcpdump reads of a savefile, in time order.
#[derive(Debug)]
pub enum Reading {
    /// Link type and packets, up to the first damage.
    Packets(u32, Vec<Record>),
    /// libpcap does not read interfaces that differ; Wireshark does.
    Mixed,
    /// Nothing at all.
    Unreadable,
}

/// Starts tcpdump at the server's end, where the sensor listens too; it writes what passes `filter` to `file`.
#[must_use]
pub fn beside(cable: &Cable, file: &Path, filter: &str) -> Running {
    let mut command = cable.server("tcpdump");
    command.args(["-i", "vb", "-n", "-U", "-Z", "root", "-B", "65536", "--time-stamp-precision=nano", "-w"]);
    let mut tcpdump = Running::start(command.arg(file).args(filter.split_whitespace()));
    tcpdump.wait_said("listening on");
    tcpdump
}

/// Reads `file` with tcpdump and an optional filter.
#[must_use]
pub fn tcpdump(file: &Path, filter: &str) -> Reading {
    let scratch = tempfile::tempdir().expect("a folder");
    let out = scratch.path().join("tcpdump.pcap");
    let mut args = vec![OsStr::new("-r"), file.as_os_str(), "--time-stamp-precision=nano".as_ref()];
    args.extend(["-w".as_ref(), out.as_os_str()]);
    args.extend((!filter.is_empty()).then_some(OsStr::new(filter)));
    let output = tools::run("tcpdump", args);
    if String::from_utf8_lossy(&output.stderr).contains("different from the") {
        return Reading::Mixed;
    }
    match savefile::read(&out) {
        Ok((link_type, mut records)) => {
            records.sort_by_key(|record| record.0);
            Reading::Packets(link_type, records)
        }
        Err(_) => Reading::Unreadable,
    }
}

/// The packets of [`tcpdump`], none when it cannot read the file.
///
/// # Panics
/// When the interfaces of the file differ.
#[must_use]
pub fn packets(file: &Path, filter: &str) -> Vec<Record> {
    match tcpdump(file, filter) {
        Reading::Packets(_, records) => records,
        Reading::Mixed => panic!("{}: interfaces differ", file.display()),
        Reading::Unreadable => Vec::new(),
    }
}

/// All Ethernet packets of savefiles, a millisecond apart from 2023-11-14 22:13:20 UTC on, so that their order is known.
#[must_use]
pub fn ethernet(files: &[PathBuf]) -> Vec<Record> {
    let read = tools::in_parallel(files, |file| match tcpdump(file, "") {
        Reading::Packets(1, records) => records,
        _ => Vec::new(),
    });
    let start = 1_700_000_000_000_000_000;
    let all = read.into_iter().flatten().zip(0_u64..);
    all.map(|((_, orig_len, bytes), number)| (start + number * 1_000_000, orig_len, bytes)).collect()
}

/// What tshark reads of `file`, in time order: each packet with its encapsulation in Wireshark's numbers.
///
/// # Errors
/// What tshark complains of.
///
/// # Panics
/// When tshark prints something unheard of.
pub fn tshark(file: &Path) -> Result<Vec<(String, Record)>, String> {
    let args = ["-n", "-T", "json", "-x", "-j", "frame", "-r"].map(OsStr::new);
    let output = tools::run("tshark", args.into_iter().chain([file.as_os_str()]));
    let packets: Vec<Value> = serde_json::from_slice(&output.stdout)
        .map_err(|_| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let mut records: Vec<_> = packets.iter().map(|packet| frame(&packet["_source"]["layers"])).collect();
    records.sort_by_key(|(_, record)| record.0);
    Ok(records)
}

fn frame(layers: &Value) -> (String, Record) {
    let text = |name: &str| layers["frame"][name].as_str().expect("tshark tells each frame's fields");
    let (secs, nanos) = text("frame.time_epoch").split_once('.').expect("seconds and nanoseconds");
    let time =
        secs.parse::<u64>().expect("seconds") * 1_000_000_000 + nanos.parse::<u64>().expect("nanoseconds");
    let hex = layers["frame_raw"][0].as_str().expect("the bytes in hexadecimal");
    let bytes = hex
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(&String::from_utf8_lossy(pair), 16).expect("hexadecimal"));
    let orig_len = text("frame.len").parse().expect("a length");
    (text("frame.encap_type").to_owned(), (time, orig_len, bytes.collect()))
}

/// What tshark says of each packet that passes `display`: per field the values, outermost first.
///
/// # Panics
/// When tshark refuses the arguments.
#[must_use]
pub fn fields(file: &Path, display: &str, fields: &[&str]) -> Vec<Vec<Vec<String>>> {
    let mut args = vec!["-n", "-T", "fields", "-E", "occurrence=a", "-Y", display];
    fields.iter().for_each(|field| args.extend(["-e", field]));
    // Each packet by itself, as in a query.
    for preference in PREFERENCES {
        args.extend(["-o", preference]);
    }
    let args = args.into_iter().map(OsStr::new).chain(["-r".as_ref(), file.as_os_str()]);
    let output = tools::run("tshark", args);
    let values = |field: &str| field.split(',').filter(|value| !value.is_empty()).map(String::from).collect();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.is_empty(), "tshark {display:?}: {}", String::from_utf8_lossy(&output.stderr));
    text.lines().map(|line| line.split('\t').map(values).collect()).collect()
}

/// No packet is dissected with what another one said.
pub const PREFERENCES: [&str; 4] = [
    "ip.defragment:FALSE",
    "ipv6.defragment:FALSE",
    "tcp.desegment_tcp_streams:FALSE",
    "wlan.defragment:FALSE",
];

/// What the judges say on standard error of a savefile that is whole.
const HARMLESS: [&str; 3] = ["Running as user", "reading from file", "Unknown packet encapsulation"];

/// Opens `file` in tcpdump (unless `mixed`: its interfaces differ), tshark and capinfos; what they complain of.
#[must_use]
pub fn complaints(file: &Path, mixed: bool) -> Vec<String> {
    let runs = [
        ("capinfos", &["-c"][..]),
        ("tshark", &["-n", "-Y", "frame.number==0", "-r"]),
        ("tcpdump", &["-n", "-w", "/dev/null", "-r"]),
    ];
    let mut complaints = Vec::new();
    for (program, args) in runs.into_iter().filter(|(program, _)| !mixed || *program != "tcpdump") {
        let output = tools::run(program, args.iter().map(OsStr::new).chain([file.as_os_str()]));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let notices: Vec<_> = said
            .lines()
            .filter(|line| !line.trim().is_empty() && !HARMLESS.iter().any(|words| line.contains(words)))
            .collect();
        if !output.status.success() || !notices.is_empty() {
            complaints.push(format!("{program} {}: {}: {notices:?}", file.display(), output.status));
        }
    }
    complaints
}

/// Same bytes and lengths, times nearly: both took the kernel's stamp, each its own.
///
/// # Panics
/// When they are not alike, or there are none.
pub fn assert_alike(what: &str, ours: &[Record], theirs: &[Record]) {
    assert!(!theirs.is_empty(), "{what}: tcpdump saw nothing");
    let mut sorted = [ours, theirs].map(|records| {
        records.iter().map(|(at, orig_len, bytes)| (bytes, *orig_len, *at)).collect::<Vec<_>>()
    });
    sorted.iter_mut().for_each(|records| records.sort());
    let [ours, theirs] = sorted;
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!((ours.0, ours.1), (theirs.0, theirs.1), "{what}");
        assert!(ours.2.abs_diff(theirs.2) < 100_000_000, "{what}: {} and {}", ours.2, theirs.2);
    }
}

/// What is in one list of records and not in the other, each with how often: (missing from `ours`, only in `ours`).
#[must_use]
pub fn difference<'a>(theirs: &'a [Record], ours: &'a [Record]) -> (Vec<&'a Record>, Vec<&'a Record>) {
    let mut count: HashMap<&Record, i64> = HashMap::new();
    theirs.iter().for_each(|record| *count.entry(record).or_default() += 1);
    ours.iter().for_each(|record| *count.entry(record).or_default() -= 1);
    let pick = |sign: i64| count.iter().filter(|(_, n)| **n * sign > 0).map(|(record, _)| *record).collect();
    (pick(1), pick(-1))
}
