//! Savefiles: the streaming decoder ends on every input, never consumes more than there is, and finds the same packets
//! however the input is cut into pieces.
#![no_main]

use hindcap_wire::savefile::{Decoder, Event};
use hindcap_wire::time::Timestamp;
use libfuzzer_sys::fuzz_target;

fn packets(input: &[u8], step: usize) -> Vec<(Timestamp, u32, usize)> {
    let (mut decoder, mut start, mut end, mut found) =
        (Decoder::default(), 0, step.min(input.len()), Vec::new());
    let mut idle = 0;
    loop {
        let window = &input[start..end];
        let mut grown = false;
        match decoder.next(window) {
            Ok((consumed, event)) => {
                assert!(consumed <= window.len());
                if let Event::Packet(packet) = event {
                    found.push((packet.timestamp, packet.orig_len, packet.bytes.len()));
                    assert!(consumed > 0);
                } else if matches!(event, Event::Need(_)) {
                    assert_eq!(consumed, 0);
                    if end == input.len() {
                        let _ = decoder.finish(window);
                        return found;
                    }
                    end = (end + step).min(input.len());
                    grown = true;
                }
                // A step may take nothing and only change what the decoder knows, but not over and over.
                idle = if consumed == 0 && !grown { idle + 1 } else { 0 };
                assert!(idle < 8, "the decoder goes on");
                start += consumed;
            }
            Err(_) => return found,
        }
    }
}

fuzz_target!(|input: &[u8]| {
    assert_eq!(packets(input, usize::MAX / 2), packets(input, 37));
});
