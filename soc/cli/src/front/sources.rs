//! The settings of machines that write logs: what their lines do not say themselves.
//!
//! ```toml
//! [sources."fw1.example"]   # the host name as it stands in the lines; letter case does not count
//! tz = "Europe/Berlin"      # the zone of its stamps
//! addresses = ["192.0.2.1"] # its own, for lines that name only the other end (sshd, nginx, Exim)
//! csv-fields = ["seconds", "src_ap", "dst_ap", "proto"] # the columns of its Snort 3 alert_csv
//! ```

use std::net::IpAddr;

use hindcap_events::{Source, Zone};
use toml::Spanned;
use toml::de::DeValue;

use super::settings::{Wrong, text, texts, unknown, wrong};

const KEYS: [&str; 3] = ["tz", "addresses", "csv-fields"];

/// The table `[sources.NAME]`.
pub(super) fn source(name: &str, table: &Spanned<DeValue<'_>>) -> Result<Source, Wrong> {
    let DeValue::Table(keys) = table.get_ref() else {
        return wrong(table.span().start, "a source is a table: [sources.\"NAME\"]");
    };
    let mut source = Source { name: name.to_owned(), ..Source::default() };
    for (key, value) in keys {
        let at = value.span().start;
        match key.get_ref().as_ref() {
            "tz" => {
                let zone =
                    text(value, "tz").and_then(|text| Zone::new(text).or_else(|e| wrong(at, e.to_string())));
                source.zone = Some(zone?);
            }
            "addresses" => {
                for text in texts(value, "addresses")? {
                    let Ok(address) = text.parse::<IpAddr>() else {
                        return wrong(at, format!("{text:?} in addresses is no IP address"));
                    };
                    source.addresses.push(address);
                }
            }
            "csv-fields" => {
                source.csv_fields = texts(value, "csv-fields")?.into_iter().map(String::from).collect()
            }
            _ => return unknown(key, "source", &KEYS),
        }
    }
    Ok(source)
}
