//! What one sensor gave, in words and in JSON.

use hindcap_soc_api::{ApiError, Fetched};
use hindcap_wire::counted::Counted;
use hindcap_wire::message::answer::Bytes;
use hindcap_wire::message::{Manifest, SensorId};
use hindcap_wire::time::TimeRange;
use serde::{Serialize, Serializer};

use super::merge::Given;
use crate::exit::{Code, of_error, of_outcome};
use crate::report::columns;

/// What one sensor gave.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) sensor: SensorId,
    pub(crate) result: Result<Fetched, ApiError>,
    /// Of its packets, those that another sensor had seen before.
    pub(crate) duplicates: u64,
}

/// A part in JSON.
#[derive(Serialize)]
struct PartJson<'a> {
    sensor: &'a SensorId,
    state: &'static str,
    packets: u64,
    bytes: u64,
    duplicates: u64,
    /// When its recorder was running, inside the window.
    coverage: &'a [TimeRange],
    note: String,
    manifest: Option<&'a Manifest>,
}

impl Serialize for Part {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let manifest = self.manifest();
        let json = PartJson {
            sensor: &self.sensor,
            state: self.state(),
            packets: self.packets(),
            bytes: manifest.map_or(0, |manifest| manifest.bytes),
            duplicates: self.duplicates,
            coverage: manifest.map_or(&[], |manifest| manifest.answer.coverage.as_slice()),
            note: self.note(),
            manifest,
        };
        json.serialize(serializer)
    }
}

impl Part {
    pub(super) const fn new(sensor: SensorId, result: Result<Fetched, ApiError>) -> Self {
        Self { sensor, result, duplicates: 0 }
    }

    /// Its savefile, to be merged; `place` is its place among those who were asked.
    pub(super) fn given(&self, place: usize) -> Option<Given<'_>> {
        let Ok(Fetched { path: Some(path), manifest, .. }) = &self.result else { return None };
        Some(Given { place, sensor: self.sensor.as_str(), path, manifest })
    }

    pub(crate) fn manifest(&self) -> Option<&Manifest> {
        self.result.as_ref().ok().map(|fetched| &fetched.manifest)
    }

    pub(crate) fn packets(&self) -> u64 {
        self.manifest().map_or(0, |manifest| manifest.packets)
    }

    /// How it went, as an exit code.
    pub(crate) fn code(&self) -> Code {
        match &self.result {
            Ok(fetched) => match of_outcome(fetched.outcome) {
                Code::Done if fetched.manifest.packets == 0 => Code::NothingMatched,
                code => code,
            },
            Err(error) => of_error(error),
        }
    }

    /// How it went, in a word.
    pub(crate) fn state(&self) -> &'static str {
        state(self.code())
    }

    /// What else there is to know of it, in a sentence; may be empty.
    pub(crate) fn note(&self) -> String {
        match &self.result {
            Err(error) => error.to_string(),
            Ok(fetched) => {
                let answer = &fetched.manifest.answer;
                let partial = answer.partial.as_ref().map(ToString::to_string);
                let empty = answer.why_empty.as_ref().map(ToString::to_string);
                let drops = answer.drops.total();
                let dropped = (drops > 0).then(|| format!("{drops} packets of the window were dropped"));
                let twice = self.duplicates;
                let twice =
                    (twice > 0).then(|| format!("{} seen elsewhere as well", Counted(twice, "packet")));
                let told = [
                    Some(fetched.detail.clone()).filter(|detail| !detail.is_empty()),
                    partial,
                    empty,
                    dropped,
                    twice,
                ];
                told.into_iter().flatten().collect::<Vec<_>>().join("; ")
            }
        }
    }
}

/// A code as the state of a sensor.
pub(crate) const fn state(code: Code) -> &'static str {
    match code {
        Code::Done => "answered",
        Code::NothingMatched => "nothing",
        Code::Error => "failed",
        Code::OutOfRetention => "gone",
        Code::Denied => "denied",
        Code::Partial => "partial",
        Code::Offline => "offline",
        Code::Interrupted => "interrupted",
    }
}

/// Who gave what, as a table.
pub(crate) fn table(parts: &[Part]) -> String {
    let head = ["SENSOR", "STATE", "PACKETS", "BYTES", "COVERAGE", "NOTE"].map(String::from).into();
    let rows = parts.iter().map(|part| {
        let manifest = part.manifest();
        vec![
            part.sensor.to_string(),
            part.state().to_owned(),
            manifest.map_or_else(|| "-".into(), |manifest| manifest.packets.to_string()),
            manifest.map_or_else(|| "-".into(), |manifest| Bytes(manifest.bytes).to_string()),
            manifest.map_or_else(|| "-".into(), |manifest| covered(&manifest.answer.coverage)),
            part.note(),
        ]
    });
    columns(std::iter::once(head).chain(rows).collect())
}

/// When the recorder was running: from the first to the last instant, and in how many pieces.
fn covered(coverage: &[TimeRange]) -> String {
    let (Some(first), Some(last)) = (coverage.first(), coverage.last()) else { return "none".into() };
    let whole = TimeRange::new(first.start, last.end);
    if coverage.len() == 1 { whole.to_string() } else { format!("{whole} in {} parts", coverage.len()) }
}
