//! Opening a capture on an interface, and what its failures mean.

use pcap::{Active, Capture, Device, Linktype, Precision};

use super::LiveOptions;
use super::link::LinkWatch;
use crate::CaptureError;

/// TPACKET_V3 hands over a block when it is full or this old, so a packet is seen at the latest then.
const BLOCK_TIMEOUT_MS: i32 = 100;

/// The pseudo-interface of libpcap that means all of them.
pub(super) const ANY: &str = "any";

/// What opening came to, when it did not succeed.
pub(super) enum Refusal {
    /// The interface is there but not up: worth trying again.
    NotUp,
    /// A person must act.
    Error(CaptureError),
}

/// Opens a capture as `options` say: TPACKET_V3, nanosecond times, non-blocking, filter in the kernel.
pub(super) fn open(options: &LiveOptions) -> Result<Capture<Active>, Refusal> {
    let refuse = |error: pcap::Error| refusal(options, error.to_string());
    let ring_bytes = i32::try_from(options.ring_bytes).unwrap_or(i32::MAX);
    let snaplen = i32::try_from(options.snaplen()).unwrap_or(i32::MAX);
    let capture = Capture::from_device(options.interface.as_str())
        .map_err(refuse)?
        .buffer_size(ring_bytes)
        .snaplen(snaplen)
        .timeout(BLOCK_TIMEOUT_MS)
        .precision(Precision::Nano)
        // "any" has no promiscuous mode and libpcap's warning about it would count as a failure.
        .promisc(options.promiscuous && options.interface != ANY)
        .open()
        .map_err(refuse)?;
    let mut capture = capture.setnonblock().map_err(refuse)?;
    if let Some(filter) = &options.filter {
        capture.filter(filter, true).map_err(|error| Refusal::Error(bad_filter(filter, &error)))?;
    }
    Ok(capture)
}

/// Compiles the filter without an interface, so that a wrong one is told even while the interface is down.
pub(super) fn check_filter(filter: &str) -> Result<(), CaptureError> {
    let compiled = Capture::dead(Linktype::ETHERNET).and_then(|dead| dead.compile(filter, true).map(drop));
    compiled.map_err(|error| bad_filter(filter, &error))
}

fn bad_filter(filter: &str, error: &pcap::Error) -> CaptureError {
    let message = error.to_string();
    let message = message.strip_prefix("libpcap error: ").unwrap_or(&message).to_owned();
    CaptureError::Filter { filter: filter.into(), message }
}

/// libpcap gives text only; facts from elsewhere go before it.
fn refusal(options: &LiveOptions, message: String) -> Refusal {
    let message = message.strip_prefix("libpcap error: ").unwrap_or(&message).to_owned();
    let interface = options.interface.clone();
    let lower = message.to_lowercase();
    let denied = ["permission", "permitted", "cap_net_raw"].iter().any(|word| lower.contains(word));
    if denied {
        return Refusal::Error(CaptureError::Permission { interface, message });
    }
    if lower.contains("not up") || lower.contains("network is down") {
        return Refusal::NotUp;
    }
    let missing = lower.contains("no such device")
        || lower.contains("doesn't exist")
        || lower.contains("does not exist");
    if missing && (interface == ANY || !LinkWatch::new(&interface).exists()) {
        return Refusal::Error(no_such(interface));
    }
    Refusal::Error(CaptureError::Live { interface, message })
}

/// There is no interface of this name; names those that there are.
pub(super) fn no_such(interface: String) -> CaptureError {
    let devices = Device::list().unwrap_or_default();
    let network = |device: &Device| LinkWatch::new(&device.name).exists() || device.name == ANY;
    let available = devices.into_iter().filter(network).map(|device| device.name).collect();
    CaptureError::NoSuchInterface { interface, available }
}
