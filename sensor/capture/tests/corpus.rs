//! Every savefile of the corpus is replayed as tcpdump reads it: same packets, times, lengths and bytes, damaged files
//! up to the damage. Where libpcap cannot or does not show all that is there, tshark judges.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use common::{Keep, Seen, corpus, parse_tcpdump, run};
use hindcap_capture::{CaptureError, PacketSource, Polled, SavefileSource};
use hindcap_wire::time::Timestamp;

fn replay(path: &Path) -> (Keep, Result<(), CaptureError>) {
    let mut keep = Keep::default();
    let mut source = match SavefileSource::open(path) {
        Ok(source) => source,
        Err(error) => return (keep, Err(error)),
    };
    loop {
        match source.poll(Duration::ZERO, &mut keep) {
            Ok(Polled::End) => return (keep, Ok(())),
            Ok(_) => {}
            Err(error) => return (keep, Err(error)),
        }
    }
}

/// Time and lengths of each packet according to tshark.
fn tshark(path: &str) -> Vec<(Timestamp, u32, usize)> {
    let fields = ["frame.time_epoch", "frame.len", "frame.cap_len"];
    let mut arguments = vec!["-n", "-r", path, "-T", "fields"];
    fields.iter().for_each(|field| arguments.extend(["-e", field]));
    let output = run("tshark", &arguments).expect("tshark is there if tcpdump is");
    let line = |line: &str| {
        let mut columns = line.split('\t');
        let (secs, nanos) = columns.next().unwrap().split_once('.').unwrap();
        let timestamp = Timestamp::from_parts(secs.parse().unwrap(), nanos.parse().unwrap());
        (timestamp, columns.next().unwrap().parse().unwrap(), columns.next().unwrap().parse().unwrap())
    };
    String::from_utf8(output.stdout).unwrap().lines().map(line).collect()
}

/// What libpcap shows of a packet: it cuts to the snaplen of the file, whatever the record says.
fn as_libpcap(packet: &Seen, snaplen: u32) -> Seen {
    let end = if snaplen == 0 { packet.bytes.len() } else { packet.bytes.len().min(snaplen as usize) };
    Seen { bytes: packet.bytes[..end].to_vec(), ..packet.clone() }
}

/// Compares one file; gives the judge's name, or what differs.
fn compare(path: &Path) -> Result<&'static str, String> {
    let name = path.to_str().unwrap();
    let (ours, end) = replay(path);
    let theirs = run("tcpdump", &["-n", "--nano", "-r", name, "-w", "-"]).expect("looked for before");
    let complaint = String::from_utf8_lossy(&theirs.stderr).into_owned();
    if complaint.contains("different from the type of the first interface")
        || complaint.contains("different from the snapshot length")
    {
        let lengths: Vec<_> = ours.packets.iter().map(|p| (p.timestamp, p.orig_len, p.bytes.len())).collect();
        return if lengths == tshark(name) { Ok("tshark") } else { Err("tshark differs".into()) };
    }
    let snaplen = ours.interfaces.first().map_or(0, |interface| interface.snaplen);
    let ours: Vec<_> = ours.packets.iter().map(|packet| as_libpcap(packet, snaplen)).collect();
    let theirs_packets = parse_tcpdump(&theirs.stdout);
    if ours != theirs_packets {
        let (at, both) =
            (ours.iter().zip(&theirs_packets).position(|(a, b)| a != b), (ours.len(), theirs_packets.len()));
        let pair = at.map(|at| (&ours[at], &theirs_packets[at]));
        return Err(format!(
            "packets (ours, theirs) {both:?}, first difference {at:?} {pair:?}: {end:?} {complaint}"
        ));
    }
    match (end, theirs.status.success()) {
        (Ok(()), true) => Ok("tcpdump, whole"),
        (Err(_), false) => Ok("tcpdump, damaged"),
        (end, _) => Err(format!("we say {end:?}, tcpdump {complaint}")),
    }
}

#[test]
fn every_savefile_is_read_as_tcpdump_reads_it() {
    let Some(files) = corpus() else { return println!("skipped: no corpus") };
    if run("tcpdump", &["--version"]).is_none() {
        return println!("skipped: no tcpdump");
    }
    let (mut counts, mut faults) = (BTreeMap::new(), Vec::new());
    for file in &files {
        match compare(file) {
            Ok(judge) => *counts.entry(judge).or_insert(0) += 1,
            Err(fault) => faults.push(format!("{}: {:.600}", file.display(), fault)),
        }
    }
    println!("{} savefiles: {counts:?}", files.len());
    assert!(faults.is_empty(), "{} of {} differ:\n{}", faults.len(), files.len(), faults.join("\n"));
}
