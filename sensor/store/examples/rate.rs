//! How fast is the recorder alone? Pushes made-up office traffic into a store and prints the rate.
//!
//! Usage: rate DIRECTORY [million packets] [live|import|inline]. For instructions per packet:
//! `perf stat -e instructions:u target/release/examples/rate /var/tmp/store 10`.

use std::path::PathBuf;
use std::time::Instant;

use hindcap_store::{Reading, RecorderOptions, Store, StoreError, StoreOptions, StoreSize};
use hindcap_wire::drops::DropCounts;
use hindcap_wire::packet::{Interface, LinkType, Packet};
use hindcap_wire::time::Timestamp;

const START: u64 = 1_700_000_000_000_000_000;
const FLOWS: u32 = 6_000;

/// One frame of each of many flows: Ethernet, IPv4, TCP or UDP, 60 to 1514 bytes, 684 on average.
fn frames() -> Vec<Vec<u8>> {
    (0..FLOWS * 4)
        .map(|number| {
            let flow = number % FLOWS;
            let len = if number.wrapping_mul(2_654_435_761) >> 16 & 15 < 7 {
                1514
            } else {
                60 + (flow % 60) as usize
            };
            let (proto, header) = if flow % 4 == 0 { (17, 8) } else { (6, 20) };
            let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0];
            bytes.extend(((len - 14) as u16).to_be_bytes());
            bytes.extend([
                0,
                0,
                0,
                0,
                64,
                proto,
                0,
                0,
                10,
                0,
                (flow >> 8) as u8,
                flow as u8,
                192,
                0,
                2,
                flow as u8,
            ]);
            bytes.extend([(flow >> 7) as u8 | 0x80, flow as u8, 1, 187]);
            bytes.extend([0; 8]);
            bytes.extend(if header == 20 { [0x50, 0x10, 0, 0, 0, 0, 0, 0].as_slice() } else { &[] });
            bytes.resize(len, number as u8);
            bytes
        })
        .collect()
}

fn main() -> Result<(), StoreError> {
    let mut arguments = std::env::args().skip(1);
    let path = PathBuf::from(arguments.next().unwrap_or_else(|| String::from("rate-store")));
    let millions: u64 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(4);
    let options = match arguments.next().as_deref() {
        Some("live") => RecorderOptions { may_wait: true, ..RecorderOptions::live() },
        Some("inline") => RecorderOptions::inline(),
        _ => RecorderOptions::import(),
    };
    let store = Store::open_or_create(&StoreOptions::new(path, StoreSize::Bytes(2 << 30)))?;
    let mut recorder = store.recorder(options, Reading::default())?;
    let tap = Interface { link_type: LinkType::ETHERNET, snaplen: 0, name: String::from("eth1") };
    let interface = recorder.interface(&tap)?;
    let frames = frames();
    let began = Instant::now();
    let mut bytes_pushed = 0;
    for number in 0..millions * 1_000_000 {
        let bytes = &frames[number.wrapping_mul(40_503) as usize % frames.len()];
        bytes_pushed += bytes.len() as u64;
        let timestamp = Timestamp(START + number * 20_000);
        recorder.push(&Packet { timestamp, interface, orig_len: bytes.len() as u32, bytes });
        if number % 2_000 == 0 {
            let nanos = number * 20_000;
            let now =
                Reading { wall: Timestamp(START + nanos), monotonic_nanos: nanos, ..Reading::default() };
            recorder.tick(now, DropCounts::default());
        }
    }
    let (drops, health) = (recorder.drops(), recorder.health());
    recorder.close(Reading { wall: Timestamp(START), ..Reading::default() })?;
    let (seconds, health) = (began.elapsed().as_secs_f64(), health.snapshot());
    println!(
        "{millions} M packets, {:.0} MB in {seconds:.2} s: {:.0} MB/s, {:.2} Mpps; {} dropped; \
         {} segments sealed, {} without flows; {:.4} bytes written per captured byte",
        bytes_pushed as f64 / 1e6,
        bytes_pushed as f64 / 1e6 / seconds,
        millions as f64 / seconds,
        drops.total(),
        health.segments_sealed,
        health.segments_without_flows,
        health.bytes_written as f64 / bytes_pushed as f64,
    );
    Ok(())
}
