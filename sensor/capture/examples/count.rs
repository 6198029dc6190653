//! Captures on an interface for some seconds, or replays a savefile, and prints what came. For measuring a source
//! alone: `count live IFACE SECONDS` or `count file PATH`.

use std::time::{Duration, Instant};

use hindcap_capture::{LiveOptions, LiveSource, PacketSink, PacketSource, Polled, SavefileSource};
use hindcap_wire::packet::{Interface, Packet};

#[derive(Default)]
struct Count {
    packets: u64,
    bytes: u64,
}

impl PacketSink for Count {
    fn interface(&mut self, index: u32, interface: &Interface) {
        eprintln!("interface {index}: {interface:?}");
    }

    fn packet(&mut self, packet: &Packet<'_>) {
        self.packets += 1;
        self.bytes += packet.bytes.len() as u64;
    }
}

fn run<S: PacketSource>(source: &mut S, until: Option<Instant>) -> Result<Count, Box<dyn std::error::Error>> {
    let mut count = Count::default();
    while until.is_none_or(|until| Instant::now() < until) {
        match source.poll(Duration::from_millis(100), &mut count)? {
            Polled::End => break,
            Polled::Packets(_) | Polled::Idle | Polled::Short => {}
            other => eprintln!("{other:?}"),
        }
    }
    Ok(count)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (count, drops) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["live", interface, seconds] => {
            let mut source = LiveSource::open(LiveOptions::new(interface))?;
            let count = run(&mut source, Some(Instant::now() + Duration::from_secs(seconds.parse()?)))?;
            eprintln!("{:?}", source.health());
            (count, source.drops())
        }
        ["file", path] => {
            let mut source = SavefileSource::open(path)?;
            (run(&mut source, None)?, source.drops())
        }
        _ => return Err("usage: count live IFACE SECONDS | count file PATH".into()),
    };
    println!("packets {} bytes {} dropped {}", count.packets, count.bytes, drops.total());
    Ok(())
}
