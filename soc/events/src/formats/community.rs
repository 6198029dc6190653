//! A bare Community ID v1, alone or behind a stamp: `1:LQU9qZlK+B5F3KDmev6m5PMibrg=`.
//!
//! Source: github.com/corelight/community-id-spec.

use hindcap_wire::community_id::CommunityId;

use crate::context::Context;
use crate::draft::{Draft, Outcome};
use crate::formats::Format;
use crate::line::Line;
use crate::reading::Meaning;

/// `1:LQU9qZlK+B5F3KDmev6m5PMibrg=`
pub(crate) const BARE: Format = Format {
    name: "community-id",
    title: "Community ID",
    time: "the stamp before it, when there is one; else it is asked for",
    fallback: false,
    read: bare,
};

fn bare<'a>(line: &Line<'a>, _: &Context) -> Option<Outcome<'a>> {
    let text = line.text.trim().trim_matches(['"', '\'']);
    let text =
        text.strip_prefix("community_id").map_or(text, |rest| rest.trim_start_matches([' ', ':', '=', '"']));
    text.parse::<CommunityId>().ok()?;
    let mut draft = Draft::new(Meaning::During).at_maybe(line.stamp);
    draft.community_id = Some(text);
    Some(Ok(draft))
}
