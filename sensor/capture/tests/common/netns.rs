//! A network namespace with a veth pair `va` - `vb`, gone after the test. The test runs itself again inside, so that
//! `/sys` shows the namespace's interfaces.

use std::process::Command;

const INSIDE: &str = "HINDCAP_TEST_NETNS";

/// Deletes its namespace.
struct Namespace(String);

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

/// Runs `body` in a fresh namespace with both ends of the pair up; says so when that is not possible. `test` is the name
/// of the calling test.
pub fn in_namespace(test: &str, body: fn()) {
    if std::env::var_os(INSIDE).is_some() {
        for end in ["lo", "va", "vb"] {
            ip(&format!("link set {end} up"));
        }
        return body();
    }
    let name = format!("hc-{}-{test}", std::process::id());
    let made = Command::new("ip").args(["netns", "add", &name]).output();
    if !made.is_ok_and(|made| made.status.success()) {
        return println!("skipped: needs root (for a network namespace)");
    }
    let namespace = Namespace(name);
    let program = std::env::current_exe().unwrap();
    let setup = "ip link add va type veth peer name vb";
    let output = Command::new("ip")
        .args(["netns", "exec", &namespace.0, "sh", "-c", &format!("{setup} && exec \"$@\"")])
        .args(["sh".as_ref(), program.as_os_str()])
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, &namespace.0)
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{test} failed inside its namespace:\n{stdout}{stderr}");
    assert!(stdout.contains("1 passed"), "{test} is not the name of the test:\n{stdout}");
    stdout.lines().filter(|line| line.contains("skipped: ")).for_each(|line| println!("{line}"));
}

/// Runs `ip` with these words.
pub fn ip(words: &str) {
    assert!(try_ip(words), "ip {words}");
}

/// Runs `ip` with these words; whether it could.
pub fn try_ip(words: &str) -> bool {
    Command::new("ip").args(words.split(' ')).status().unwrap().success()
}
