//! A box's settings: what `hindcap provision` writes, and what the box's own scripts (board/common) take from a card. The
//! scripts run on this machine with a folder as card; the emulated box runs them with a FAT partition (`make image-test`).

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hindcap_tests::tools;

/// What only the box knows; STATE is where its settings lie.
const BOX: &str = "[sensor]\nsystem = \"1.2.3, slot B\"\n\n[capture]\ninterface = \"tap\"\n\n[store]\npath = \"fat:/dev/card\"\n\n[mqtt]\nstate_dir = \"/box/uplink\"\n\
    connection_file = \"/box/broker/connection\"\n\
    password_file = \"STATE/settings/hindcap.password\"\nca = \"STATE/settings/hindcap.ca.crt\"\n\
    certificate = \"STATE/settings/hindcap.crt\"\nkey = \"STATE/settings/hindcap.key\"\n\n\
    [clock]\nsynchronised_marker = \"/box/synchronised\"\n";
const RESULT: &str = "hindcap.result.txt";

/// A card and a box beside it.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(bench.card("")).unwrap();
        let state = bench.dir.path().join("state").display().to_string();
        fs::write(bench.dir.path().join("box.toml"), BOX.replace("STATE", &state)).unwrap();
        bench
    }

    fn card(&self, name: &str) -> PathBuf {
        self.dir.path().join("card").join(name)
    }

    /// A file of the settings that count.
    fn settings(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join("state/settings").join(name)).unwrap_or_default()
    }

    /// What the box does at a start; its answer on the card.
    fn start(&self, keep: bool) -> String {
        let script = tools::workspace().join("board/common/rootfs_overlay/usr/lib/hindcap/import");
        let (card, state, own) =
            (self.card(""), self.dir.path().join("state"), self.dir.path().join("box.toml"));
        let mut command = Command::new(script);
        command.args([&card, &state, &own]).arg(rustix::process::getuid().as_raw().to_string());
        command.arg(tools::ours("hindcapd"));
        if keep {
            command.env("KEEP", "yes");
        }
        let _ = fs::remove_file(self.card(RESULT));
        let output = command.output().unwrap();
        let answer = fs::read_to_string(self.card(RESULT)).unwrap_or_default();
        assert_eq!(output.status.success(), !answer.starts_with("NOT"), "{output:?}");
        answer
    }

    /// What lies on the card beside the answer.
    fn left(&self) -> Vec<String> {
        let names = fs::read_dir(self.card("")).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names =
            names.map(|name| name.into_string().unwrap()).filter(|name| name != RESULT).collect::<Vec<_>>();
        names.sort();
        names
    }
}

fn provision(dir: &Path, flags: &str) -> Output {
    provision_for("mqtt://broker.example", dir, flags)
}

fn provision_for(broker: &str, dir: &Path, flags: &str) -> Output {
    Command::new(tools::ours("hindcap"))
        .args(["provision", "--id", "branch-7", "--broker", broker])
        .args(flags.split_whitespace())
        .arg(dir)
        .env("HINDCAP_SENSOR", "another")
        .output()
        .unwrap()
}

fn check(file: &Path) {
    let output = Command::new(tools::ours("hindcapd")).arg("check-config").arg(file).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_box_takes_what_the_command_writes_and_wipes_it_from_the_card() {
    let bench = Bench::new();
    assert!(provision(&bench.card(""), "--description cellar --unsigned").status.success());
    check(&bench.card("hindcap.toml"));
    let password = fs::read_to_string(bench.card("hindcap.password")).unwrap();
    assert_eq!(password.trim_end().len(), 24);
    // A second name of the file shows what was overwritten where it lay.
    fs::hard_link(bench.card("hindcap.password"), bench.dir.path().join("witness")).unwrap();
    let answer = bench.start(false);
    assert!(
        answer.starts_with("Taken over: hindcap.toml, hindcap.password. The box is branch-7 now."),
        "{answer}"
    );
    assert!(bench.left().is_empty(), "{:?}", bench.left());
    assert_eq!(fs::read(bench.dir.path().join("witness")).unwrap(), vec![0; password.len()]);
    assert_eq!(bench.settings("hindcap.password"), password);
    let merged = bench.settings("merged.toml");
    let state = bench.dir.path().join("state/settings").display().to_string();
    for line in BOX.lines().filter(|line| line.contains('=') && !line.contains("STATE")) {
        assert_eq!(merged.matches(line).count(), 1, "{line} in {merged}");
    }
    // Judged where it lay then; no certificates, no keys for them.
    assert_eq!(merged.matches(&state).count(), 1, "{merged}");
    assert!(merged.contains("settings.1/hindcap.password\"") && !merged.contains("hindcap.crt"), "{merged}");
    assert!(merged.contains("username = \"branch-7\"") && merged.contains("unsigned = true"), "{merged}");
    let mode = |name: &str| {
        fs::metadata(bench.dir.path().join("state").join(name)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(
        (mode("settings/hindcap.password"), mode("settings/hindcap.toml"), mode("settings.1")),
        (0o600, 0o600, 0o700)
    );
    // The next start finds nothing, and changes nothing.
    assert_eq!(bench.start(false), "");
    assert_eq!(bench.settings("merged.toml"), merged);
    // Others without a password replace all of it.
    assert!(provision(&bench.card(""), "--no-password").status.success());
    assert!(bench.start(false).starts_with("Taken over: hindcap.toml. The box"), "{:?}", bench.left());
    assert_eq!(bench.settings("hindcap.password"), "");
    assert!(!bench.settings("merged.toml").contains("password_file"), "{}", bench.settings("merged.toml"));
}

#[test]
fn wrong_settings_change_nothing_and_the_answer_names_the_line() {
    let bench = Bench::new();
    fs::write(bench.card("hindcap.toml"), "[sensor]\nid = \"good\"\n").unwrap();
    assert!(bench.start(false).contains("The box is good now"));
    let good = bench.settings("merged.toml");
    let cases = [
        (
            "[sensor]\nid = \"b\"\n[mqtt]\nbrokr = \"mqtt://h\"\n",
            "hindcap.toml:4: unknown key mqtt.brokr; did you mean mqtt.broker?",
        ),
        ("[sensor]\ndescription = \"who?\"\n", "sensor.id is missing"),
        ("\0\u{1}\u{2}", "hindcap.toml:1: "),
        ("[sensor]\nid = \"b\"\n[store]\n\"path\" = \"/etc\"\n", "put together with what only the box knows"),
    ];
    for (text, complaint) in cases {
        fs::write(bench.card("hindcap.toml"), text).unwrap();
        let answer = bench.start(false);
        assert!(answer.starts_with("NOT taken over: ") && answer.contains(complaint), "{text}: {answer}");
        assert_eq!(bench.left(), ["hindcap.toml"], "a person wants to correct it");
        assert_eq!(bench.settings("merged.toml"), good);
    }
    fs::write(bench.card("hindcap.toml"), vec![b'#'; 2 << 20]).unwrap();
    assert!(bench.start(false).contains("hindcap.toml is larger than 1 MiB"));
    fs::remove_file(bench.card("hindcap.toml")).unwrap();
    fs::create_dir(bench.card("hindcap.toml")).unwrap();
    assert!(bench.start(false).contains("hindcap.toml is no file"));
    assert_eq!(bench.settings("merged.toml"), good);
}

#[test]
fn what_windows_and_careless_people_write_is_taken_as_it_is_meant() {
    let bench = Bench::new();
    let text = "[ sensor ]\r\n  id='b.7' # cellar\r\nsystem = \"9.9\"\r\n\r\n[store]\r\npath = \"/etc/passwd\"\r\nflush_interval = \"3s\"\r\n[policy]\r\n\
        skip = [\r\n  \"udp port 4789\",\r\n]\r\n[mqtt]\r\nstate_dir=\"/etc\"\r\nconnection_file='/etc/shadow'\r\npassword_file = \"/etc/shadow\"\r\n";
    fs::write(bench.card("hindcap.toml"), text).unwrap();
    fs::write(bench.card("hindcap.password"), "secret").unwrap();
    assert!(bench.start(false).contains("The box is b.7 now"));
    let merged = bench.settings("merged.toml");
    assert!(!["/etc", "9.9", "\r"].iter().any(|wrong| merged.contains(wrong)), "{merged}");
    for right in ["system = \"1.2.3, slot B\"", "flush_interval = \"3s\""] {
        assert!(merged.contains(right), "{merged}");
    }
}

#[test]
fn without_a_disk_to_remember_on_the_card_keeps_its_files() {
    let bench = Bench::new();
    assert!(provision(&bench.card(""), "").status.success());
    let answer = bench.start(true);
    assert!(answer.starts_with("Taken over until the power goes"), "{answer}");
    assert_eq!(bench.left(), ["hindcap.password", "hindcap.toml"]);
    check(&bench.card("hindcap.toml"));
}

#[test]
fn the_command_writes_over_nothing_unless_told_to() {
    let bench = Bench::new();
    assert!(provision(&bench.card(""), "").status.success());
    let read =
        || ["hindcap.toml", "hindcap.password"].map(|name| fs::read(bench.card(name)).unwrap_or_default());
    let first = read();
    let again = provision(&bench.card(""), "--no-password");
    assert_eq!(again.status.code(), Some(2));
    assert!(
        String::from_utf8(again.stderr).unwrap().contains("hindcap.toml exists; --overwrite replaces it")
    );
    assert_eq!(read(), first);
    // A file that everybody may read does not stay that.
    fs::set_permissions(bench.card("hindcap.password"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(provision(&bench.card(""), "--overwrite").status.success());
    let second = read();
    assert!(second[0] == first[0] && second[1] != first[1], "a new password each time");
    let mode = fs::metadata(bench.card("hindcap.password")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(provision(&bench.card(""), "--overwrite --no-password").status.success());
    assert_eq!(bench.left(), ["hindcap.toml"]);
    let given = bench.dir.path().join("given");
    fs::write(&given, "known\nmore\n").unwrap();
    let flags = format!("--overwrite --box-user tap --box-password-file {}", given.display());
    assert!(provision(&bench.card(""), &flags).status.success());
    assert_eq!(fs::read_to_string(bench.card("hindcap.password")).unwrap(), "known\n");
    assert!(fs::read_to_string(bench.card("hindcap.toml")).unwrap().contains("username = \"tap\""));
    let new = bench.dir.path().join("new");
    let refused = provision_for("mqtt://analyst:secret@broker.example", &new, "");
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(2) && said.contains("name the box's user by --box-user"), "{said}");
    assert!(!said.contains("secret") && !new.exists());
}

/// A box for a broker with TLS: an authority, and the files that it issues to `branch-7` on the card.
fn issued(bench: &Bench) -> PathBuf {
    let ca = bench.dir.path().join("ca");
    let made = ca_command(&["init", ca.to_str().unwrap()]);
    assert!(made.status.success(), "{made:?}");
    let made = provision_for(TLS, &bench.card(""), &format!("--issue {}", ca.display()));
    assert!(made.status.success(), "{made:?}");
    ca
}

const TLS: &str = "mqtts://broker.example";
const ALL: [&str; 4] = ["hindcap.ca.crt", "hindcap.crt", "hindcap.key", "hindcap.toml"];

fn ca_command(args: &[&str]) -> Output {
    tools::run(tools::ours("hindcap"), [&["ca"], args].concat())
}

#[test]
fn certificates_are_taken_over_together_and_wiped() {
    let bench = Bench::new();
    let ca = issued(&bench);
    assert_eq!(bench.left(), ALL);
    fs::hard_link(bench.card("hindcap.key"), bench.dir.path().join("witness")).unwrap();
    let key = fs::read_to_string(bench.card("hindcap.key")).unwrap();
    let answer = bench.start(false);
    assert!(
        answer.starts_with(
            "Taken over: hindcap.toml, hindcap.ca.crt, hindcap.crt, hindcap.key. The box is branch-7"
        ),
        "{answer}"
    );
    assert!(bench.left().is_empty() && !answer.contains("Mind"), "{answer}");
    assert_eq!(fs::read(bench.dir.path().join("witness")).unwrap(), vec![0; key.len()]);
    assert_eq!(bench.settings("hindcap.key"), key);
    assert_eq!(bench.settings("hindcap.ca.crt"), fs::read_to_string(ca.join("ca.crt")).unwrap());
    // Wrong ones leave these in force, and the answer says what is wrong: another box's key, no PEM, no key at all.
    let good = bench.settings("merged.toml");
    let stranger = Bench::new();
    issued(&stranger);
    for (name, content, words) in [
        (
            "hindcap.key",
            Some(fs::read(stranger.card("hindcap.key")).unwrap()),
            "hindcap.key: the key is not that",
        ),
        (
            "hindcap.crt",
            Some(b"-----BEGIN CERTIFICATE-----\nAAAA".to_vec()),
            "hindcap.crt: holds no certificate",
        ),
        ("hindcap.ca.crt", Some(vec![0xff; 9_000]), "hindcap.ca.crt: holds no certificate"),
        ("hindcap.key", None, "mqtt.certificate is set, and mqtt.key is not"),
        ("hindcap.ca.crt", None, "mqtt.ca names no certificate"),
        ("hindcap.crt", Some(vec![b'x'; 2 << 20]), "hindcap.crt is larger than 1 MiB"),
    ] {
        let again = provision_for(TLS, &bench.card(""), &format!("--overwrite --issue {}", ca.display()));
        assert!(again.status.success(), "{again:?}");
        match content {
            Some(content) => fs::write(bench.card(name), content).unwrap(),
            None => fs::remove_file(bench.card(name)).unwrap(),
        }
        let answer = bench.start(false);
        assert!(answer.starts_with("NOT taken over: ") && answer.contains(words), "{words}: {answer}");
        assert!(!answer.contains("settings."), "names of the card, not of the box: {answer}");
        assert_eq!(
            (bench.settings("merged.toml"), bench.settings("hindcap.key")),
            (good.clone(), key.clone())
        );
    }
    // Settings without TLS do not keep the certificates of earlier ones.
    assert!(provision(&bench.card(""), "--overwrite --no-password").status.success());
    assert_eq!(bench.left(), ["hindcap.toml"]);
    assert!(bench.start(false).contains("The box is branch-7 now"));
    assert_eq!(bench.settings("hindcap.key"), "");
    assert!(!bench.settings("merged.toml").contains("hindcap.crt"));
}

#[test]
fn paths_of_certificates_are_the_boxs_own() {
    let bench = Bench::new();
    let text =
        "[sensor]\nid = \"b\"\n[mqtt]\nbroker = \"mqtts://h\"\nca = \"/etc/passwd\"\nkey='/etc/shadow'\n";
    fs::write(bench.card("hindcap.toml"), text).unwrap();
    assert!(bench.start(false).contains("mqtt.ca names no certificate"));
}

#[test]
fn what_the_authority_issues_is_what_openssl_believes() {
    if !tools::have(&["openssl"]) {
        return;
    }
    let bench = Bench::new();
    let ca = issued(&bench);
    let path = |name: &str| ca.join(name).display().to_string();
    let dir = path("");
    for args in [
        &["server", &dir, "--name", "broker.example", "--name", "192.0.2.7"][..],
        &["analyst", &dir, "--name", "ana"],
    ] {
        let made = ca_command(args);
        assert!(made.status.success(), "{made:?}");
        // Nothing is written over by accident.
        let again = ca_command(args);
        assert!(
            again.status.code() == Some(2) && String::from_utf8_lossy(&again.stderr).contains("--overwrite")
        );
        assert!(ca_command(&[args, &["--overwrite"]].concat()).status.success());
    }
    assert_eq!(ca_command(&["init", &dir]).status.code(), Some(2), "an authority is never replaced");
    let root = path("ca.crt");
    let verify = |more: &[&str], file: &str| {
        let output =
            tools::run("openssl", [&["verify", "-x509_strict", "-CAfile", &root], more, &[file]].concat());
        output.status.success()
    };
    let (server, box_, analyst) =
        (path("server/broker.example.crt"), path("sensor/branch-7.crt"), path("analyst/ana.crt"));
    for name in [["-verify_hostname", "broker.example"], ["-verify_ip", "192.0.2.7"]] {
        assert!(verify(&[&["-purpose", "sslserver"], &name[..]].concat(), &server));
    }
    assert!(!verify(&["-verify_hostname", "other.example"], &server));
    assert!(verify(&["-purpose", "sslclient"], &box_) && verify(&["-purpose", "sslclient"], &analyst));
    // A box cannot play the broker, nor the broker a box, and nobody but the authority issues.
    assert!(!verify(&["-purpose", "sslserver"], &box_) && !verify(&["-purpose", "sslclient"], &server));
    let told = |args: &[&str]| String::from_utf8(tools::run("openssl", args).stdout).unwrap();
    let subject = |file: &str| told(&["x509", "-noout", "-subject", "-nameopt", "RFC2253", "-in", file]);
    assert_eq!(
        (subject(&box_).trim(), subject(&analyst).trim()),
        ("subject=CN=branch-7", "subject=CN=analyst:ana")
    );
    assert_eq!(fs::read(&box_).unwrap(), fs::read(bench.card("hindcap.crt")).unwrap());
    let public = |args: &[&str]| told(&[args, &["-pubout"]].concat());
    let of_key = public(&["pkey", "-in", bench.card("hindcap.key").to_str().unwrap()]);
    assert_eq!(of_key, told(&["x509", "-noout", "-pubkey", "-in", &box_]));
    let mode = |name: &str| fs::metadata(ca.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode("ca.key"), mode("server/broker.example.key"), mode("analyst/ana.key"), mode("")),
        (0o600, 0o600, 0o600, 0o700)
    );
    assert!(!ca.join("sensor/branch-7.key").exists(), "the key is the box's alone");
}

#[test]
fn certificates_of_others_are_judged_before_they_are_handed_out() {
    let bench = Bench::new();
    issued(&bench);
    let stranger = Bench::new();
    issued(&stranger);
    let (new, card) = (bench.dir.path().join("new"), bench.card("").display().to_string());
    let file = |name: &str| format!("{card}/{name}");
    let whole = format!(
        "--ca {} --box-cert {} --box-key {}",
        file("hindcap.ca.crt"),
        file("hindcap.crt"),
        file("hindcap.key")
    );
    let wrong_key = whole.replace(&file("hindcap.key"), stranger.card("hindcap.key").to_str().unwrap());
    for (broker, flags, words) in [
        (TLS, "", "give --ca FILE, or --issue"),
        (TLS, "--box-cert x", "--box-key"),
        (TLS, &wrong_key, "the key is not that of the certificate"),
        (TLS, "--ca /nonexistent", "/nonexistent: No such file"),
        (TLS, "--issue /nonexistent", "hindcap ca init"),
        ("mqtt://broker.example", &whole, "write mqtts://"),
    ] {
        let refused = provision_for(broker, &new, flags);
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(refused.status.code() == Some(2) && said.contains(words), "{words}: {said}");
        assert!(!new.exists());
    }
    assert!(provision_for(TLS, &new, &whole).status.success());
    for name in ALL {
        assert_eq!(fs::metadata(new.join(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        assert_eq!(fs::read(new.join(name)).unwrap(), fs::read(bench.card(name)).unwrap(), "{name}");
    }
}
