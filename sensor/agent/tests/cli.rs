//! The command line as a user meets it: what is refused, how, and with which exit code.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn hindcapd(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hindcapd"))
        .args(args)
        .output()
        .expect("the binary was built for this test")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A classic pcap savefile of `packets` small Ethernet frames, one a second.
fn savefile(packets: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(0xa1b2_3c4d_u32.to_le_bytes());
    bytes.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend(65_535_u32.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes());
    for number in 0..packets {
        for field in [1_700_000_000 + number, 5, 60, 60] {
            bytes.extend(field.to_le_bytes());
        }
        bytes.extend([0xff; 60]);
    }
    bytes
}

fn import(store: &Path, files: &[&Path]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hindcapd"));
    command.args(["import", "--json", "--store-size", "32MiB", "--store"]).arg(store).args(files);
    command.output().expect("the binary was built for this test")
}

#[test]
fn help_documents_exit_codes_and_unknown_flags_are_refused() {
    let help = hindcapd(&["--help"]);
    assert!(stdout(&help).contains("5 partial result"), "{}", stdout(&help));
    let unknown = hindcapd(&["record", "-i", "eth0", "--sore", "/tmp"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(stderr(&unknown).contains("--store"), "{}", stderr(&unknown));
    assert_eq!(hindcapd(&[]).status.code(), Some(2));
}

#[test]
fn check_config_names_line_and_suggestion() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("h.toml");
    std::fs::write(&file, "[sensor]\nid = \"x\"\n[capture]\ninterfaec = \"eth1\"\n").unwrap();
    let output = hindcapd(&["check-config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("h.toml:4: unknown key capture.interfaec; did you mean capture.interface?")
    );
    let json = hindcapd(&["check-config", "--json", file.to_str().unwrap()]);
    let answer: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((answer["ok"].as_bool(), json.status.code()), (Some(false), Some(2)));
}

#[test]
fn import_goes_on_after_damage_and_says_where() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("good.pcap"), savefile(10)).unwrap();
    let whole = savefile(10);
    std::fs::write(at("cut.pcap"), &whole[..whole.len() - 7]).unwrap();
    std::fs::write(at("garbage.pcap"), b"this is no savefile at all, but long enough").unwrap();
    std::fs::write(at("empty.pcap"), b"").unwrap();
    let store = at("store");
    let files = ["cut.pcap", "garbage.pcap", "empty.pcap", "missing.pcap", "good.pcap"].map(at);
    let mut files: Vec<&Path> = files.iter().map(AsRef::as_ref).collect();
    files.push(directory.path());
    let output = import(&store, &files);
    assert_eq!(output.status.code(), Some(5), "{}", stderr(&output));
    let said = stderr(&output);
    for part in
        ["cut.pcap: damaged at byte 708", "garbage.pcap", "empty.pcap", "missing.pcap", "is a directory"]
    {
        assert!(said.contains(part), "{part} in {said}");
    }
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["packets"], 19);
    assert_eq!(answer["files"][0]["packets"], 9);
    assert_eq!(answer["files"][4]["error"], serde_json::Value::Null);
}

#[test]
fn import_of_nothing_readable_is_an_error_and_of_all_is_none() {
    let directory = tempfile::tempdir().unwrap();
    let good = directory.path().join("good.pcap");
    std::fs::write(&good, savefile(3)).unwrap();
    let store = directory.path().join("store");
    assert_eq!(import(&store, &[Path::new("/nonexistent/a.pcap")]).status.code(), Some(2));
    let output = import(&store, &[&good, &good]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["packets"], 6);
}

#[test]
fn an_interface_that_is_not_there_is_named_with_those_that_are() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    let output =
        hindcapd(&["record", "-i", "hc-none", "--store", store.to_str().unwrap(), "--store-size", "32MiB"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("no interface hc-none"), "{}", stderr(&output));
    assert!(!store.exists(), "no store is made when the interface is wrong");
}

#[test]
fn a_reader_that_has_gone_is_no_failure_and_a_full_disk_is() {
    let reference = |stdout: Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hindcapd"));
        command.args(["check-config", "--reference"]).stdout(stdout).output().unwrap()
    };
    let (writer, reader) = UnixStream::pair().unwrap();
    drop(reader);
    let gone = reference(OwnedFd::from(writer).into());
    assert_eq!((gone.status.code(), stderr(&gone).as_str()), (Some(0), ""));
    let full = reference(std::fs::File::options().write(true).open("/dev/full").unwrap().into());
    assert_eq!(full.status.code(), Some(2));
    assert!(stderr(&full).contains("write to standard output: No space left"), "{}", stderr(&full));
}
