//! The table of formats. One file each, or one for a family that shares its fields.

use crate::context::Context;
use crate::draft::Outcome;
use crate::line::Line;

mod asa;
mod community;
mod dropbear;
mod ecs;
mod exim;
mod filters;
mod generic;
mod netfilter;
mod openfpc;
mod pairs;
mod paloalto;
mod servers;
mod snort;
mod snort3;
mod sourcefire;
mod suricata;
mod zeek;

/// One format of log lines.
#[derive(Debug)]
pub struct Format {
    /// Its name for machines, as in `--log-format`.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// What its stamp means and what is assumed, one sentence for the table of formats.
    pub time: &'static str,
    /// Looked at only when no other format knows the line.
    pub(crate) fallback: bool,
    /// `None`: another kind of line. `Err`: of this kind, but it lacks something.
    pub(crate) read: for<'a> fn(&Line<'a>, &Context) -> Option<Outcome<'a>>,
}

/// All formats, in the order in which they are looked at.
#[must_use]
pub fn formats() -> &'static [Format] {
    FORMATS
}

/// See [`formats`].
pub(crate) static FORMATS: &[Format] = &[
    snort::FAST,
    snort::SYSLOG,
    suricata::EVE,
    zeek::JSON,
    zeek::TSV,
    exim::MAINLOG,
    sourcefire::TABLE,
    sourcefire::SYSLOG,
    sourcefire::FTD,
    asa::ASA,
    openfpc::EVENT,
    openfpc::PASSIVE_DNS,
    openfpc::PRADS,
    openfpc::NFTRACKER,
    openfpc::CXSEARCH,
    openfpc::SEARCH,
    netfilter::LOG,
    snort3::JSON,
    snort3::CSV,
    paloalto::CSV,
    pairs::FORTIGATE,
    servers::WEB,
    servers::POSTFIX,
    servers::SSHD,
    dropbear::DROPBEAR,
    filters::FILTERLOG,
    filters::PFLOG,
    filters::WINDOWS,
    ecs::ECS,
    pairs::CEF,
    pairs::LEEF,
    community::BARE,
    // Guesses, last.
    generic::WITH_PORTS,
    generic::WITHOUT_PORTS,
];
