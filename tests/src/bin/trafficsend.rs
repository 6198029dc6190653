//! Sends made-up traffic out of an interface: the load of the live tests.

use std::error::Error;
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::Parser;
use hindcap_tests::traffic::{Mix, Traffic};
use pcap::Capture;

/// Send made-up branch-office traffic, the same for the same seed, and say how many frames went out.
#[derive(Parser)]
struct Args {
    /// Interface.
    #[arg(short, long)]
    interface: String,
    /// Kind of traffic.
    #[arg(long, value_enum, default_value = "mixed")]
    mix: Mix,
    /// Number of frames; 0 goes on until killed.
    #[arg(long, default_value_t = 0)]
    packets: u64,
    /// Frames in a second; 0 is as fast as it goes.
    #[arg(long, default_value_t = 1_000)]
    rate: u64,
    /// Seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let mut out = Capture::from_device(args.interface.as_str())?.open()?;
    let mut traffic = Traffic::new(args.mix, 300, args.seed);
    let (start, mut sent) = (Instant::now(), 0_u64);
    while args.packets == 0 || sent < args.packets {
        let due =
            Duration::from_nanos(sent.saturating_mul(1_000_000_000).checked_div(args.rate).unwrap_or(0));
        if let Some(early) = due.checked_sub(start.elapsed()).filter(|early| early.as_millis() > 0) {
            sleep(early);
        }
        // A full queue is waited for: every frame counts.
        let frame = traffic.next_frame();
        let mut tries = 0;
        while let Err(error) = out.sendpacket(frame) {
            tries += 1;
            if tries > 1_000 {
                return Err(error.into());
            }
            sleep(Duration::from_millis(1));
        }
        sent += 1;
    }
    println!("{sent}");
    Ok(())
}
