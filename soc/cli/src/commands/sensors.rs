//! `sensors`: which sensors there are, a line each.

use hindcap_soc_api::SensorView;
use hindcap_wire::message::answer::Bytes;
use hindcap_wire::time::Timestamp;

use super::status::{nobody, print_view};
use super::{Context, print};
use crate::args;
use crate::exit::{Code, Failure};
use crate::report::{ago, columns, span};

pub(crate) fn sensors(cx: &mut Context<'_>, args: &args::Sensors) -> Result<Code, Failure> {
    let views = cx.api.sensors(None, args.timeout.into())?;
    if views.is_empty() {
        return Ok(nobody());
    }
    if args.json {
        views.iter().try_for_each(print_view)?;
    } else {
        print(&table(&views, cx.known.now))?;
    }
    Ok(Code::Done)
}

const HEAD: [&str; 8] =
    ["SENSOR", "STATE", "LAST HEARD", "REACHES BACK", "USED", "ALARMS", "VERSION", "DESCRIPTION"];

fn table(views: &[SensorView], now: Timestamp) -> String {
    let head = HEAD.map(String::from);
    columns(std::iter::once(head).chain(views.iter().map(|view| cells(view, now))).map(Vec::from).collect())
}

fn cells(view: &SensorView, now: Timestamp) -> [String; 8] {
    let unknown = || "-".to_owned();
    let status = view.status.as_ref();
    let store = status.and_then(|status| status.store.as_ref());
    let oldest = store.and_then(|store| store.oldest);
    let alarms = status.map(|status| status.alarms.len() as u64 + u64::from(status.alarms_more));
    [
        view.sensor.to_string(),
        if view.online { "online" } else { "offline" }.to_owned(),
        view.last_heard().map_or_else(unknown, |at| ago(at, now)),
        oldest.map_or_else(unknown, |oldest| span(now.secs().saturating_sub(oldest.secs()))),
        store.map_or_else(unknown, |store| {
            format!("{} of {}", Bytes(store.used_bytes), Bytes(store.quota_bytes))
        }),
        alarms.map_or_else(unknown, |alarms| alarms.to_string()),
        // A box's image holds its sensor; without one the sensor's own version is all there is.
        status.map_or_else(unknown, |status| {
            said(if status.system.is_empty() { &status.version } else { &status.system })
        }),
        status.map_or_else(String::new, |status| said(&status.description)),
    ]
}

/// What a sensor says of itself is not ours: one line, nothing that moves a terminal's cursor.
fn said(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(60).collect()
}

#[cfg(test)]
mod tests {
    use hindcap_wire::message::{Status, StoreStatus};

    use super::*;

    #[test]
    fn a_line_for_each_sensor() {
        let now = Timestamp::from_parts(1_790_000_000, 0);
        let ago = |secs: u64| Timestamp::from_parts(1_790_000_000 - secs, 0);
        let store = StoreStatus { oldest: Some(ago(7_300)), ..StoreStatus::default() };
        let status = Status {
            version: "0.1.0".into(),
            system: "0.1.0-20261122125829,\x1b slot A".into(),
            description: "shop\x1b[2J in Ulm".into(),
            store: Some(store),
            sent: ago(3),
            ..Status::new("branch-12".parse().unwrap())
        };
        let here =
            SensorView { sensor: status.sensor.clone(), online: true, state: None, status: Some(status) };
        let plain = Status { version: "0.1.0".into(), sent: ago(3), ..Status::new("b-1".parse().unwrap()) };
        let plain =
            SensorView { sensor: plain.sensor.clone(), online: true, state: None, status: Some(plain) };
        let gone = SensorView { sensor: "b-2".parse().unwrap(), online: false, state: None, status: None };
        assert_eq!(
            table(&[here, plain, gone], now),
            "SENSOR     STATE    LAST HEARD  REACHES BACK  USED        ALARMS  VERSION                       DESCRIPTION\n\
             branch-12  online   3 s ago     2 h           0 B of 0 B  0       0.1.0-20261122125829, slot A  shop[2J in Ulm\n\
             b-1        online   3 s ago     -             -           0       0.1.0\n\
             b-2        offline  -           -             -           -       -\n"
        );
    }
}
