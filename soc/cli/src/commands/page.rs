//! `--http`: the result as an HTML page, for a web server that runs this command (OpenFPC's `--http`).

use std::path::Path;

use hindcap_wire::message::answer::Bytes;
use maud::{DOCTYPE, Markup, html};

use crate::gather::Gathered;

fn page(title: &str, body: &Markup) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head { meta charset="utf-8"; title { (title) " - Hindcap" } }
            body { h1 { (title) } (body) }
        }
    }
    .into_string()
        + "\n"
}

/// What was fetched, with a link to `file` by its name alone: the page and the file lie side by side.
pub(super) fn result(file: Option<&Path>, gathered: &Gathered, comment: Option<&str>) -> String {
    let name = file.and_then(Path::file_name).map(|name| name.to_string_lossy());
    let body = html! {
        @match name {
            Some(name) => p { a href={ "./" (encoded(&name)) } download=(name) { (name) } },
            None => p { "No packet matched." },
        }
        table {
            tr { th { "packets" } td { (gathered.packets) } }
            tr { th { "size" } td { (Bytes(gathered.bytes).to_string()) } }
            @if let Some(comment) = comment { tr { th { "comment" } td { (comment) } } }
        }
        @for part in &gathered.parts {
            h2 { (part.sensor.to_string()) }
            @match part.manifest() {
                Some(manifest) => {
                    table {
                        tr { th { "request" } td { code { (manifest.job.to_string()) } } }
                        tr { th { "SHA-256 of what it sent" } td { code { (manifest.sha256.to_string()) } } }
                    }
                    pre { (manifest.answer.to_string()) }
                },
                None => p { (part.state()) ": " (part.note()) },
            }
        }
    };
    page("Packets", &body)
}

/// What went wrong.
pub(super) fn failure(message: &str) -> String {
    page("No packets", &html! { p { (message) } })
}

/// A file's name inside a link (RFC 3986, unreserved characters stay).
fn encoded(name: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    name.bytes().fold(String::new(), |mut text, byte| {
        if keep(byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_wrote_stays_text() {
        let page = failure("<script>alert(1)</script>");
        assert!(page.contains("&lt;script&gt;"), "{page}");
        assert!(!page.contains("<script>"));
    }

    #[test]
    fn names_are_encoded_in_links() {
        assert_eq!(encoded("case 7/ü\".pcap"), "case%207%2F%C3%BC%22.pcap");
    }
}
