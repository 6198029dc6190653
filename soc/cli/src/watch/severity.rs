//! How severe a line says that it is, brought to three words. Sources: Snort and Suricata priorities (1 is the worst), CEF and
//! LEEF severities (10 is the worst, or words), Sourcefire's words.

use std::str::FromStr;
use std::sync::LazyLock;

use regex::Regex;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    Low,
    Medium,
    High,
}

impl FromStr for Severity {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "low" | "informational" | "unknown" => Ok(Self::Low),
            "medium" => Ok(Self::Medium),
            "high" | "very-high" | "critical" => Ok(Self::High),
            _ => Err("expected low, medium or high"),
        }
    }
}

/// A pattern that cannot fail to compile.
fn pattern(text: &str) -> Option<Regex> {
    Regex::new(text).ok()
}

/// `[Priority: 2]` of Snort and Suricata; `"severity":2` inside eve's alert.
static PRIORITY: LazyLock<Option<Regex>> =
    LazyLock::new(|| pattern(r#"\[Priority: (\d{1,3})\]|"severity"\s*:\s*(\d{1,3})\b"#));
/// The seventh field of CEF's header; `sev=` of LEEF.
static SCALE: LazyLock<Option<Regex>> =
    LazyLock::new(|| pattern(r"CEF:\s?[01]\|(?:(?:[^|\\]|\\.)*\|){5}([\w-]+)\||LEEF:.*[\t|^]sev=(\d+)"));
/// A word of a Defense Center's row.
static WORD: LazyLock<Option<Regex>> =
    LazyLock::new(|| pattern(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\s+(low|medium|high)\b"));

/// What `line` says, if it says something.
pub(super) fn severity(line: &str) -> Option<Severity> {
    let found = |pattern: &Option<Regex>| {
        let captures = pattern.as_ref()?.captures(line)?;
        captures.iter().skip(1).flatten().next().map(|group| group.as_str().to_owned())
    };
    if let Some(priority) = found(&PRIORITY) {
        return Some(match priority.parse::<u32>() {
            Ok(0 | 1) => Severity::High,
            Ok(2) => Severity::Medium,
            _ => Severity::Low,
        });
    }
    if let Some(scale) = found(&SCALE) {
        return match scale.parse::<u32>() {
            Ok(0..=3) => Some(Severity::Low),
            Ok(4..=6) => Some(Severity::Medium),
            Ok(_) => Some(Severity::High),
            Err(_) => scale.parse().ok(),
        };
    }
    found(&WORD).and_then(|word| word.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scale_has_its_own_direction() {
        for (line, expected) in [
            ("x [**] [1:1:1] y [**] [Priority: 1] {TCP} 1.2.3.4:5 -> 6.7.8.9:10", Some(Severity::High)),
            ("x [Priority: 3] {TCP}", Some(Severity::Low)),
            (r#"{"event_type":"alert","alert":{"severity":2,"signature":"x"}}"#, Some(Severity::Medium)),
            (r"CEF:0|Vendor|Pro\|duct|1.0|100|name|9|src=1.2.3.4", Some(Severity::High)),
            ("CEF:0|V|P|1|1|n|Low|src=1.2.3.4", Some(Severity::Low)),
            ("LEEF:1.0|V|P|1|id|src=1.2.3.4\tsev=5", Some(Severity::Medium)),
            ("2010-03-31 13:24:36 high x tcp", Some(Severity::High)),
            ("May 16 11:49:05 host sshd[1]: Failed password", None),
            ("CEF:0|V|P|1|1|n|?|src=1.2.3.4", None),
        ] {
            assert_eq!(severity(line), expected, "{line}");
        }
        assert!(Severity::High > Severity::Medium && Severity::Medium > Severity::Low);
    }
}
