//! A program without the standard library around `hindcap-wire`.
//!
//! It has a panic handler and a global allocator of its own. If any crate behind `hindcap-wire` linked `std`, there would
//! be two panic handlers and the compiler would refuse: that this builds is the proof, and it needs no other target.
//! Running it dissects one packet without allocating and exits with 0.
#![no_std]
#![no_main]

use core::alloc::{GlobalAlloc, Layout};
use core::hint::black_box;
use core::ptr::null_mut;

use hindcap_wire::community_id::CommunityId;
use hindcap_wire::flow::FlowKey;
use hindcap_wire::packet::{Dissection, LinkType, dissect};

/// Refuses every request: what is proven here does not allocate.
struct NoMemory;

// SAFETY: no memory is ever handed out, so there is none to be misused.
unsafe impl GlobalAlloc for NoMemory {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: NoMemory = NoMemory;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(101)
}

/// The precompiled `core` names this even where nothing unwinds.
// SAFETY: nothing else has this name, and with `panic = "abort"` nobody calls it.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

// Start code, memcpy and its kin come from the C library, as on any system without `std`.
// SAFETY: the signature is that of exit(2), which may be called at any time.
#[link(name = "c")]
unsafe extern "C" {
    #[link_name = "_exit"]
    safe fn exit(status: i32) -> !;
}

/// 192.0.2.1:40000 to 198.51.100.7:443 over TCP.
const PACKET: [u8; 40] = [
    0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0, 192, 0, 2, 1, 198, 51, 100, 7, // IPv4
    0x9c, 0x40, 1, 0xbb, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x12, 0xff, 0xff, 0, 0, 0, 0, // TCP
];

// SAFETY: what the start code of the C library calls; nothing else has this name.
#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    let mut out = Dissection::new();
    dissect(LinkType::RAW, black_box(&PACKET), 40, &mut out);
    let found = out.layers.first().is_some_and(|layer| {
        let id = CommunityId::of(&FlowKey::of(&layer.tuple, layer.vlan).0);
        layer.tuple.dst_port == 443 && id.key() != 0
    });
    i32::from(!found)
}
