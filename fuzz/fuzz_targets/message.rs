//! Documents from the broker: every kind, in both encodings. What is read can be written, and reads the same again.
#![no_main]

use hindcap_wire::message::{
    Ack, Chunk, ChunkSet, Encoding, Envelope, Reply, Request, SensorId, State, Status, Ulid, decode,
    decode_envelope, decode_request, encode,
};
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;

const MOST: usize = 1 << 20;
const BOTH: [Encoding; 2] = [Encoding::Postcard, Encoding::Json];

/// Reads it, writes it in these encodings, and reads it again.
fn check<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
    input: &[u8],
    encoding: Encoding,
    into: &[Encoding],
) -> Option<T> {
    let document: T = decode(input, encoding, MOST).ok()?;
    for encoding in into.iter().copied() {
        let bytes = encode(&document, encoding).expect("what was read can be written");
        let again: T = decode(&bytes, encoding, usize::MAX).expect("what was written can be read");
        assert_eq!(again, document);
    }
    Some(document)
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else { return };
    let encoding = if kind & 1 == 0 { Encoding::Postcard } else { Encoding::Json };
    match kind >> 1 & 7 {
        0 => drop(check::<Request>(bytes, encoding, &BOTH)),
        // What was signed stays as it was written: JSON in JSON.
        1 => drop(check::<Envelope>(bytes, encoding, &[encoding])),
        2 => drop(check::<Reply>(bytes, encoding, &BOTH)),
        3 => drop(check::<Status>(bytes, encoding, &BOTH)),
        4 => drop(check::<State>(bytes, encoding, &BOTH)),
        5 => {
            if let Some(chunk) = check::<Chunk>(bytes, encoding, &BOTH) {
                let _ = chunk.is_intact();
            }
        }
        6 => {
            if let Some(ack) = check::<Ack>(bytes, encoding, &BOTH) {
                let mut set = ChunkSet::new(1_000);
                assert!(set.merge(&ack) <= 1_000);
                assert!((0..1_000).all(|index| !ack.has(index) || set.has(index) || set.merge(&ack) == 0));
            }
        }
        _ => {
            if let Ok(text) = std::str::from_utf8(bytes) {
                if let Ok(id) = text.parse::<Ulid>() {
                    assert_eq!(id.to_string().parse(), Ok(id));
                }
                let _ = text.parse::<SensorId>();
            }
        }
    }
    let encoding = Encoding::of(None, bytes);
    if let Ok(envelope) = decode_envelope(bytes, encoding) {
        let _ = decode_request(&envelope.inner.0, encoding);
    }
    let _ = decode_request(bytes, encoding);
});
