//! Whatever a broker delivers: no panic, and a request that is read is written and read back the same.
#![no_main]

use hindcap_wire::limits::MESSAGE_BYTES_MAX;
use hindcap_wire::message::{
    Ack, Chunk, ChunkSet, Encoding, Reply, State, Status, decode, decode_envelope, decode_request, encode,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let encoding = Encoding::of(None, bytes);
    if let Ok(envelope) = decode_envelope(bytes, encoding) {
        let _ = decode_request(&envelope.inner.0, encoding);
    }
    if let Ok(request) = decode_request(bytes, encoding) {
        let again = encode(&request, encoding).expect("a request can be written");
        assert_eq!(decode_request(&again, encoding), Ok(request));
    }
    let _ = decode::<Reply>(bytes, encoding, MESSAGE_BYTES_MAX);
    let _ = decode::<State>(bytes, encoding, MESSAGE_BYTES_MAX);
    let _ = decode::<Status>(bytes, encoding, MESSAGE_BYTES_MAX);
    if let Ok(chunk) = decode::<Chunk>(bytes, encoding, MESSAGE_BYTES_MAX) {
        let _ = chunk.is_intact();
    }
    if let Ok(ack) = decode::<Ack>(bytes, encoding, MESSAGE_BYTES_MAX) {
        let mut there = ChunkSet::new(1000);
        there.merge(&ack);
        let mut copy = ChunkSet::new(1000);
        copy.merge(&there.ack(ack.job, false));
        assert!(copy.complete_below() == there.complete_below());
    }
});
