//! docs/CONFIG.md, printed from the table of keys.

use std::fmt::Write;

use super::keys::{KEYS, Key};

const HEAD: &str = "\
# CONFIG: every key of `hindcapd run -c FILE`

Printed from the table that reads the file (`hindcapd check-config --reference`); a test compares. TOML; an unknown key,
a missing unit or a value out of range is an error with its line, and `hindcapd check-config FILE` finds it before a
start does. Sizes are written `64MiB` (KiB, MiB, GiB, TiB, or kB, MB, GB, TB), durations `10s` (ms, s, m, h, d).

A small file:

```toml
[sensor]
id = \"branch-7\"

[capture]
interface = \"eth1\"

[store]
path = \"/var/lib/hindcap\"
size = \"25%\"

[mqtt]
broker = \"mqtt://192.0.2.10:1883\"
```
";

/// The text of docs/CONFIG.md.
#[must_use]
pub fn reference() -> String {
    let mut text = HEAD.to_owned();
    let mut section = "";
    for key in KEYS {
        if key.section() != section {
            section = key.section();
            let _ =
                write!(text, "\n## [{section}]\n\n| key | default | takes | meaning |\n|---|---|---|---|\n");
        }
        let _ = writeln!(text, "{}", row(key));
    }
    text
}

fn row(key: &Key) -> String {
    let name = key.name.split_once('.').map_or(key.name, |(_, name)| name);
    let default = match key.default {
        None => "required".to_owned(),
        Some("") => "empty".to_owned(),
        Some(value) => format!("`{value}`"),
    };
    format!("| `{name}` | {default} | {} | {} |", key.kind.expected(), key.meaning)
}
