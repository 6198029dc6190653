//! Writes made-up traffic as a classic nanosecond savefile: the food of the benchmarks.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::Parser;
use hindcap_tests::traffic::{Mix, Traffic};

/// Make a savefile of made-up branch-office traffic, the same for the same seed.
#[derive(Parser)]
struct Args {
    /// Kind of traffic.
    #[arg(long, value_enum, default_value = "mixed")]
    mix: Mix,
    /// Number of packets.
    #[arg(long, default_value_t = 100_000)]
    packets: u64,
    /// Sessions open at a time.
    #[arg(long, default_value_t = 6_000)]
    concurrent: usize,
    /// First timestamp, seconds since 1970.
    #[arg(long, default_value_t = 1_790_000_000)]
    start: u64,
    /// Time that the packets are spread over, seconds.
    #[arg(long, default_value_t = 60)]
    duration: u64,
    /// Seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Put one session of ten packets, 203.0.113.7:40000 to 203.0.113.99:8080, in the middle.
    #[arg(long)]
    needle: bool,
    /// The savefile.
    #[arg(short = 'w')]
    write: PathBuf,
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    let mut out = BufWriter::with_capacity(1 << 20, File::create(&args.write)?);
    out.write_all(&0xa1b2_3c4d_u32.to_le_bytes())?;
    out.write_all(&[2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0])?;
    out.write_all(&262_144_u32.to_le_bytes())?;
    out.write_all(&1_u32.to_le_bytes())?;
    let mut traffic = Traffic::new(args.mix, args.concurrent, args.seed);
    let step = args.duration.saturating_mul(1_000_000_000) / args.packets.max(1);
    for number in 0..args.packets {
        let nanos = number * step;
        if args.needle && number == args.packets / 2 {
            for (offset, frame) in
                Traffic::needle([203, 0, 113, 7], [203, 0, 113, 99], (40_000, 8_080), 10).iter().enumerate()
            {
                write_record(&mut out, args.start, nanos + offset as u64, frame)?;
            }
        }
        write_record(&mut out, args.start, nanos, traffic.next_frame())?;
    }
    out.flush()
}

fn write_record(out: &mut impl Write, start: u64, nanos: u64, frame: &[u8]) -> io::Result<()> {
    let secs = (start + nanos / 1_000_000_000) as u32;
    out.write_all(&secs.to_le_bytes())?;
    out.write_all(&((nanos % 1_000_000_000) as u32).to_le_bytes())?;
    out.write_all(&(frame.len() as u32).to_le_bytes())?;
    out.write_all(&(frame.len() as u32).to_le_bytes())?;
    out.write_all(frame)
}
