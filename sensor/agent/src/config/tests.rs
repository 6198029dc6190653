//! Tests of the configuration: every key, its errors and the reference.

use super::*;

const MINIMAL: &str = "[sensor]\nid = \"branch-7\"\n[capture]\ninterface = \"eth1\"\n";

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("hindcap.toml"))
}

fn message(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn a_minimal_file_gets_every_default() {
    let config = parse(MINIMAL).unwrap();
    assert_eq!((config.sensor_id.as_str(), config.interface.as_str()), ("branch-7", "eth1"));
    assert_eq!((config.ring.0, config.snaplen.0, config.promiscuous), (8 << 20, 0, true));
    assert_eq!((config.store_size, config.segment.0), (Quota::Percent(25), None));
    assert_eq!((config.flush_interval.millis(), config.unsigned), (5_000, false));
    assert_eq!(config.log_level, log::LevelFilter::Info);
    assert_eq!((config.cutoff.0, config.sample, config.headers_only), (None, 100, false));
    assert_eq!(config.skip.0, Vec::<String>::new());
}

#[test]
fn defaults_fit_their_own_keys() {
    for key in KEYS {
        let Some(default) = key.default else { continue };
        let quoted = !matches!(key.kind, Kind::Bool | Kind::Number(..));
        assert_eq!(key.kind.check(default, quoted), Ok(()), "{}", key.name);
    }
}

#[test]
fn errors_name_line_and_suggestion() {
    let unknown = format!("{MINIMAL}[store]\nsiez = \"2GiB\"\n");
    assert_eq!(message(&unknown), "hindcap.toml:6: unknown key store.siez; did you mean store.size?");
    let section = format!("{MINIMAL}\n[captrue]\nx = 1\n");
    assert_eq!(message(&section), "hindcap.toml:6: unknown section captrue; did you mean capture?");
    let unit = format!("{MINIMAL}ring = 8\n");
    assert_eq!(message(&unit), "hindcap.toml:5: capture.ring: expected a size from 1MiB to 1GiB, not \"8\"");
    assert!(message(&format!("{MINIMAL}[store]\nsegment = \"4097KiB\"\n")).contains("whole number of 1MiB"));
    assert!(message(&format!("{MINIMAL}ring = \"2GiB\"\n")).starts_with("hindcap.toml:5: capture.ring"));
    assert!(message(&format!("{MINIMAL}promiscuous = \"true\"\n")).contains("expected true or false"));
    assert!(
        message(&format!("{MINIMAL}[mqtt]\nbroker = \"broker:1883\"\n"))
            .contains(":6: mqtt.broker: expected")
    );
    assert!(message("[sensor\n").starts_with("hindcap.toml:1: "));
    assert!(message("sensor = 3\n").contains("write [sensor]"));
    assert!(message("[sensor]\nid = \"a/b\"\n").contains("sensor.id"));
}

#[test]
fn a_description_is_as_long_as_a_status_can_show() {
    let with = |bytes: usize| format!("[sensor]\nid = \"s1\"\ndescription = \"{}\"\n", "x".repeat(bytes));
    assert_eq!(parse(&with(512)).unwrap().sensor_description.len(), 512);
    let error = message(&with(100_000));
    assert!(error.starts_with("hindcap.toml:3: sensor.description: expected text of at most 512 bytes, not"));
    assert!(error.len() < 300, "{} bytes of a message", error.len());
}

#[test]
fn a_policy_is_checked_before_it_is_used() {
    let with = |lines: &str| parse(&format!("{MINIMAL}[policy]\n{lines}\n"));
    let config = with("cutoff = \"1MB\"\nsample = 0\nskip = [\"host 192.0.2.1\", \"udp\"]").unwrap();
    assert_eq!((config.cutoff.0, config.sample), (Some(1_000_000), 0));
    assert_eq!(config.skip.0, ["host 192.0.2.1", "udp"]);
    assert_eq!(with("skip = []").unwrap().skip.0, Vec::<String>::new());
    let nets = with("never_cut = [\"10.0.0.5\", \"2001:db8::/32\"]").unwrap().never_cut.0;
    assert_eq!(nets.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.5", "2001:db8::/32"]);
    let many = format!("never_cut = [{}]", "\"10.0.0.1\", ".repeat(65));
    for (line, words) in [
        (many.as_str(), "65 are too many"),
        ("never_cut = [\"10.0.0.0/33\"]", "10.0.0.0/33: expected an IPv4 or IPv6 address"),
        ("never_cut = \"10.0.0.5\"", "write ["),
        ("cutoff = \"99kB\"", "policy.cutoff: expected off, or a size from 100kB"),
        ("cutoff = \"5GiB\"", "policy.cutoff"),
        ("sample = 10001", "policy.sample: expected a number from 0 to 10000"),
        ("sample = \"100\"", "policy.sample"),
        ("skip = \"udp\"", "write ["),
        ("skip = [7]", "each one line of text"),
        ("skip = [\"tcp prot 80\"]", "syntax error"),
        ("skip = [\"\"]", "each one line of text"),
        ("skip = [\"udp\", \"vlan 7\"]", "make it the only rule"),
    ] {
        let message = with(line).unwrap_err().to_string();
        assert!(message.starts_with("hindcap.toml:6: policy.") && message.contains(words), "{message}");
    }
}

#[test]
fn wear_is_checked_before_it_is_used() {
    let with = |lines: &str| parse(&format!("{MINIMAL}[wear]\n{lines}\n"));
    let config = with("endurance = \"3000 cycles\"\nwrite_amplification = 1.5\nlife = \"3650d\"").unwrap();
    assert_eq!((config.endurance, config.write_amplification.0), (Endurance::Cycles(3_000), Some(1_500)));
    assert_eq!(with("endurance = \"70TB\"").unwrap().endurance, Endurance::Bytes(70_000_000_000_000));
    assert_eq!(with("write_amplification = \"2\"").unwrap().write_amplification.0, Some(2_000));
    let default = parse(MINIMAL).unwrap();
    assert_eq!((default.endurance, default.write_amplification.0), (Endurance::Auto, None));
    for (line, words) in [
        ("endurance = \"0B\"", "wear.endurance: expected auto, bytes written"),
        ("endurance = \"70 TBW\"", "such as \"70TB\""),
        ("endurance = \"5 cycles\"", "cycles from 10 to 1000000"),
        ("endurance = 3000", "wear.endurance: expected auto"),
        ("write_amplification = 0.5", "wear.write_amplification: expected auto, or a factor from 1 to 100"),
        ("write_amplification = \"x\"", "wear.write_amplification"),
        ("life = \"0d\"", "wear.life: expected a duration from 1d"),
    ] {
        let message = with(line).unwrap_err().to_string();
        assert!(message.starts_with("hindcap.toml:6: wear.") && message.contains(words), "{message}");
    }
}

#[test]
fn what_has_no_default_must_be_there() {
    assert_eq!(message("[capture]\n"), "hindcap.toml: sensor.id is missing and has no default");
    assert!(matches!(Config::load(Path::new("/nonexistent/h.toml")), Err(ConfigError::Read { .. })));
}

#[test]
fn the_reference_is_checked_in() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/CONFIG.md");
    if std::env::var_os("HINDCAP_BLESS").is_some() {
        fs::write(&path, reference()).unwrap();
    }
    let checked_in = fs::read_to_string(&path).unwrap();
    assert!(
        checked_in == reference(),
        "docs/CONFIG.md differs from the table of keys; HINDCAP_BLESS=1 cargo test -p hindcapd rewrites it"
    );
}
