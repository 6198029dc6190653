//! A card from the command line: format, import, status, verify, extract, eject; and what is refused.

use std::path::Path;
use std::process::{Command, Output};

fn hindcapd(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hindcapd"))
        .arg("-q")
        .args(args)
        .output()
        .expect("built before its tests")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn done(args: &[&str]) -> String {
    let output = hindcapd(args);
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// What a status says of the card, also where there is none.
fn card_of(args: &[&str]) -> serde_json::Value {
    let status: serde_json::Value = serde_json::from_slice(&hindcapd(args).stdout).expect("always JSON");
    status["card"].clone()
}

/// A classic savefile of `packets` UDP packets from 10.0.0.1 to 10.0.0.2.
fn savefile(path: &Path, packets: u32) {
    let mut bytes = Vec::new();
    for field in [0xA1B2_C3D4_u32, 0x0004_0002, 0, 0, 65_535, 101] {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
    for number in 0..packets {
        let payload = [0x5A; 400];
        let mut packet = vec![0x45, 0, 0x01, 0xAC, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        packet.extend_from_slice(&[0x13, 0x88, 0x00, 0x35, 0x01, 0x98, 0, 0]);
        packet.extend_from_slice(&payload);
        for field in [1_795_300_000 + number, 0, packet.len() as u32, packet.len() as u32] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        bytes.extend_from_slice(&packet);
    }
    std::fs::write(path, bytes).expect("a temporary directory takes files");
}

#[test]
fn a_card_does_what_a_directory_does() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let (image, store, input, output) =
        (at("card.img"), format!("fat:{}", at("card.img")), at("in.pcap"), at("out.pcap"));
    savefile(Path::new(&input), 3000);
    let made =
        done(&["format", &store, "--image", "64MiB", "--segment", "4MiB", "--erase-unit", "1MiB", "--yes"]);
    assert!(made.contains("segments of 4MiB, aligned to 1MiB"), "{made}");
    let card = card_of(&["status", "--json", "--store", &store]);
    assert_eq!((&card["state"], &card["label"]), (&"present".into(), &"HINDCAP".into()), "{card}");
    assert_eq!((&card["place"], &card["segments"]["missing"]), (&store.clone().into(), &0.into()), "{card}");
    assert!(card["since"].is_null() && card["segments"]["whole"].as_u64() > Some(8), "{card}");
    done(&["import", "--store", &store, &input]);
    let status = done(&["status", "--store", &store]);
    assert!(status.contains("3000") || status.contains("3,000"), "{status}");
    assert!(done(&["verify", "--store", &store]).contains("3000 packets: all is well"));
    done(&["extract", "--store", &store, "-w", &output, "--host", "10.0.0.1"]);
    assert_eq!(std::fs::metadata(&output).unwrap().len(), std::fs::metadata(&input).unwrap().len());
    let sessions = done(&["search", "--store", &store, "--host", "10.0.0.1", "--json"]);
    assert!(sessions.contains("10.0.0.2") && sessions.contains("\"rows\":[{"), "{sessions}");
    let estimate = done(&["estimate", "--store", &store, "--host", "10.0.0.1", "--json"]);
    assert!(estimate.contains("\"packets_max\":3000"), "{estimate}");
    let absent = hindcapd(&["search", "--store", &store, "--host", "10.9.9.9"]);
    assert_eq!(absent.status.code(), Some(1), "{}", text(&absent.stderr));
    let ejected = done(&["eject", "--store", &store]);
    assert!(ejected.contains("1 segment with packets, 1 closed now"), "{ejected}");
    assert!(done(&["reindex", "--store", &store]).contains("1 as they were"));
    // Nothing is formatted that was not meant.
    let file = std::fs::OpenOptions::new().write(true).open(&image).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[b'x'; 1 << 20], 0).unwrap();
    drop(file);
    let refused = hindcapd(&["format", &store, "--yes"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        text(&refused.stderr).contains("to overwrite it, add --overwrite card.img"),
        "{}",
        text(&refused.stderr)
    );
    let small = hindcapd(&["format", &format!("fat:{}", at("small.img")), "--image", "9MiB", "--yes"]);
    assert!(text(&small.stderr).contains("too small: two segments"), "{}", text(&small.stderr));
    assert_eq!(card_of(&["status", "--json", "--store", &store])["state"], "foreign");
    assert_eq!(card_of(&["status", "--json", "--store", "fat:/nonexistent/card"])["state"], "missing");
    let none = hindcapd(&["status", "--store", &store]);
    assert!(
        text(&none.stderr).contains("no Hindcap card: it holds something unknown"),
        "{}",
        text(&none.stderr)
    );
    let unasked = hindcapd(&["format", &format!("fat:{}", at("other.img")), "--image", "64MiB"]);
    assert!(text(&unasked.stderr).contains("nothing was changed"), "{}", text(&unasked.stderr));
    done(&["format", &store, "--yes", "--overwrite", "card.img"]);
}
