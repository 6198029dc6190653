//! Frames from the cable: every link type, any bytes. Cutting a frame short never finds more than the whole frame has.
#![no_main]

use hindcap_wire::flow::FlowKey;
use hindcap_wire::packet::fragments::FragmentCache;
use hindcap_wire::packet::{Dissection, LinkType, dissect};
use hindcap_wire::time::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&[link_type, cut, extra], frame)) = input.split_first_chunk::<3>() else { return };
    let link_type = LinkType(if link_type == 255 { 276 } else { u16::from(link_type) });
    let mut found = Dissection::default();
    let mut fragments = FragmentCache::new(4);
    let orig_len = frame.len() as u32 + u32::from(extra);
    dissect(link_type, frame, orig_len, &mut found);
    fragments.resolve(&mut found, Timestamp(1));
    for layer in &found.layers {
        let (there, _) = FlowKey::of(&layer.tuple, layer.vlan);
        let _ = FlowKey::of(&layer.tuple.reversed(), layer.vlan);
        assert!(matches!(there.version, 4 | 6));
    }
    let short = frame.len().saturating_sub(usize::from(cut));
    let layers = found.layers.len();
    dissect(link_type, &frame[..short], orig_len, &mut found);
    assert!(found.layers.len() <= layers.max(1));
});
