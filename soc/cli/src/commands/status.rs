//! `status`: how sensors do.

use hindcap_soc_api::SensorView;
use hindcap_wire::message::{SensorId, State, Status};
use hindcap_wire::time::Timestamp;
use serde::Serialize;

use super::{Context, print, print_json};
use crate::args;
use crate::exit::{Code, Failure};
use crate::gather::choose;
use crate::report;

/// A sensor in JSON.
#[derive(Serialize)]
struct SensorJson<'a> {
    sensor: &'a str,
    online: bool,
    last_heard: Option<Timestamp>,
    state: &'a Option<State>,
    status: &'a Option<Status>,
}

/// As a line of JSON.
pub(super) fn print_view(view: &SensorView) -> Result<(), Failure> {
    let SensorView { sensor, online, state, status } = view;
    let (sensor, last_heard) = (sensor.as_str(), view.last_heard());
    print_json(&SensorJson { sensor, online: *online, last_heard, state, status })
}

/// Where no sensor is known.
pub(super) fn nobody() -> Code {
    eprintln!("hindcap: no sensor has ever been seen at this broker");
    Code::NothingMatched
}

pub(crate) fn status(cx: &mut Context<'_>, args: &args::Status) -> Result<Code, Failure> {
    let named = if args.whom.is_open() {
        None
    } else {
        Some(choose(cx.api, &cx.known.sites, &args.whom, None)?.sensors)
    };
    // One is asked for alone: a broker may let nobody see the others.
    let only = named.as_deref().and_then(|named| if let [one] = named { Some(one) } else { None });
    let mut views = cx.api.sensors(only, args.look.timeout.into())?;
    views.retain(|view| named.as_ref().is_none_or(|named| named.contains(&view.sensor)));
    for view in &views {
        if args.look.json {
            print_view(view)?;
        } else {
            print(&report::sensor(view, cx.known.now))?;
        }
    }
    let unseen = |sensor: &&SensorId| !views.iter().any(|view| view.sensor == **sensor);
    match &named {
        None if views.is_empty() => Ok(nobody()),
        None => Ok(Code::Done),
        Some(named) => match named.iter().find(unseen) {
            Some(sensor) => Err(Failure {
                message: format!("no sensor {sensor} has ever been seen at this broker"),
                exit: Code::Offline,
            }),
            None if views.iter().any(|view| !view.online) => Ok(Code::Offline),
            None => Ok(Code::Done),
        },
    }
}
