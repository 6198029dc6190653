//! Two network namespaces joined by a cable: a client's side with `va`, a server's with `vb`. Gone after the test.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::tools;

/// See the module. Addresses: 10.77.0.1 and fd77::1 at the client, .2 and ::2 at the server.
#[derive(Debug)]
pub struct Cable {
    /// Name of the client's namespace.
    client: String,
    /// Name of the server's namespace.
    server: String,
}

/// The client's IPv4 address.
pub const CLIENT: &str = "10.77.0.1";
/// The server's IPv4 address.
pub const SERVER: &str = "10.77.0.2";
/// The client's IPv6 address.
pub const CLIENT6: &str = "fd77::1";
/// The server's IPv6 address.
pub const SERVER6: &str = "fd77::2";

impl Cable {
    /// Makes it; `None`, with the reason printed, where that is not possible.
    ///
    /// # Panics
    /// When the namespaces can be made, but not what belongs into them.
    #[must_use]
    pub fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !tools::have(&["ip"]) {
            return None;
        }
        let name = format!("hct-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let cable = Self { client: format!("{name}-c"), server: format!("{name}-s") };
        for namespace in [&cable.client, &cable.server] {
            if !tools::run("ip", ["netns", "add", namespace]).status.success() {
                println!("skipped: needs root (for a network namespace)");
                return None;
            }
        }
        let peer =
            format!("link add va netns {} type veth peer name vb netns {}", cable.client, cable.server);
        assert!(tools::run("ip", peer.split(' ')).status.success(), "ip {peer}");
        for (namespace, end, host) in [(&cable.client, "va", 1), (&cable.server, "vb", 2)] {
            for words in [
                "link set lo up".to_owned(),
                format!("link set {end} up"),
                format!("addr add 10.77.0.{host}/24 dev {end}"),
                format!("addr add fd77::{host}/64 dev {end} nodad"),
            ] {
                cable.ip(namespace, &words);
            }
        }
        Some(cable)
    }

    /// A command in the client's namespace.
    #[must_use]
    pub fn client(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        inside(&self.client, program)
    }

    /// A command in the server's namespace.
    #[must_use]
    pub fn server(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        inside(&self.server, program)
    }

    /// Gives both ends an interface for the tagged network 7, 10.78.0.1 and .2; whether this kernel can.
    pub fn tagged(&self) -> bool {
        for (namespace, end, host) in [(&self.client, "va", 1), (&self.server, "vb", 2)] {
            let link = format!("-n {namespace} link add link {end} name {end}.7 type vlan id 7");
            if !tools::run("ip", link.split(' ')).status.success() {
                println!("skipped: this kernel makes no VLAN interfaces");
                return false;
            }
            self.ip(namespace, &format!("addr add 10.78.0.{host}/24 dev {end}.7"));
            self.ip(namespace, &format!("link set {end}.7 up"));
        }
        true
    }

    /// Runs `ip` at the client's side.
    pub fn client_ip(&self, words: &str) {
        self.ip(&self.client, words);
    }

    /// Runs `ip` at the server's side.
    pub fn server_ip(&self, words: &str) {
        self.ip(&self.server, words);
    }

    fn ip(&self, namespace: &str, words: &str) {
        let output = tools::run("ip", ["-n", namespace].into_iter().chain(words.split(' ')));
        assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        for namespace in [&self.client, &self.server] {
            let _ = Command::new("ip").args(["netns", "del", namespace]).output();
        }
    }
}

fn inside(namespace: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).arg(program);
    command
}
