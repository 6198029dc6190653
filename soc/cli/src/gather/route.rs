//! Who is asked: sensors by name, pattern or group, everybody, or those whose site can have seen what is asked for.

use std::time::Duration;

use hindcap_soc_api::Api;
use hindcap_wire::message::SensorId;
use hindcap_wire::net::IpNet;
use hindcap_wire::query::Query;

use super::Sites;
use crate::args::{Pattern, Whom};
use crate::exit::{Code, Failure};

/// Sensors that one command asks at most: each has a file of its own while it sends.
const SENSORS_MAX: usize = 1_024;
/// How long to wait for the broker's list of sensors.
const LIST_WAIT: Duration = Duration::from_secs(10);

/// Who is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    /// At least one, each once.
    pub(crate) sensors: Vec<SensorId>,
    /// Why, a line each, for people; empty where they were named one by one.
    pub(crate) why: Vec<String>,
}

/// The sensors that `whom` means; with nobody named, those whose site's networks hold an address of `query`. The broker is
/// asked for its sensors only where there are patterns.
///
/// # Errors
/// Nobody fits; a group or a sensor of that name does not exist; too many.
pub(crate) fn choose(
    api: &mut dyn Api,
    sites: &Sites,
    whom: &Whom,
    query: Option<&Query>,
) -> Result<Chosen, Failure> {
    let (patterns, mut why) =
        if whom.is_open() { routed(sites, query)? } else { (named(sites, whom)?, Vec::new()) };
    let globs = patterns.iter().any(|pattern| matches!(pattern, Pattern::Glob(_)));
    let known: Vec<SensorId> = if globs {
        api.sensors(None, LIST_WAIT)?.into_iter().map(|view| view.sensor).collect()
    } else {
        Vec::new()
    };
    let mut sensors: Vec<SensorId> = Vec::new();
    for pattern in &patterns {
        let met: Vec<&SensorId> = match pattern {
            Pattern::Name(name) => vec![name],
            Pattern::Glob(_) => known.iter().filter(|sensor| pattern.matches(sensor)).collect(),
        };
        if met.is_empty() {
            let message =
                format!("no sensor that this broker knows fits {pattern}; `hindcap sensors` lists them");
            return Err(Failure { message, exit: Code::Offline });
        }
        for sensor in met {
            if !sensors.contains(sensor) {
                sensors.push(sensor.clone());
            }
        }
    }
    if sensors.len() > SENSORS_MAX {
        return Err(Failure::new(format!(
            "{} sensors fit, and {SENSORS_MAX} are asked by one command at most: name some with --sensor or --group",
            sensors.len()
        )));
    }
    if globs {
        let names: Vec<&str> = sensors.iter().map(SensorId::as_str).collect();
        why.push(format!("asking {}", names.join(", ")));
    }
    Ok(Chosen { sensors, why })
}

fn named(sites: &Sites, whom: &Whom) -> Result<Vec<Pattern>, Failure> {
    let mut patterns = whom.sensor.clone();
    for group in &whom.group {
        patterns.extend(sites.group(group).map_err(Failure::new)?);
    }
    if whom.all_sensors {
        patterns.extend("*".parse::<Pattern>());
    }
    if patterns.is_empty() {
        return Err(Failure::new(format!("no sensor is in {}", whom.group.join(", "))));
    }
    Ok(patterns)
}

/// The addresses that a query names, over all views of the session. `None` when a packet without any of them may match.
fn addresses(query: &Query) -> Option<Vec<IpNet>> {
    let mut all = Vec::new();
    for ends in query.ends() {
        let nets: Vec<IpNet> = ends.nets.iter().copied().chain(ends.src.net).chain(ends.dst.net).collect();
        if nets.is_empty() {
            return None;
        }
        all.extend(nets);
    }
    all.sort_unstable_by_key(ToString::to_string);
    all.dedup();
    Some(all)
}

const WAYS_OUT: &str = "name sensors with --sensor or --group, or ask everybody with --all-sensors";

fn routed(sites: &Sites, query: Option<&Query>) -> Result<(Vec<Pattern>, Vec<String>), Failure> {
    if query.is_none() || sites.sites.iter().all(|site| site.networks.is_empty()) {
        let learn = if query.is_some() {
            "; or tell in [sites.NAME] of the settings which networks pass by which sensors"
        } else {
            ""
        };
        return Err(Failure::new(format!("no sensor is named: {WAYS_OUT}{learn}")));
    }
    let Some(addresses) = query.and_then(addresses) else {
        return Err(Failure::new(format!(
            "what is asked for has no address by which the sites in the settings could be told apart: {WAYS_OUT}"
        )));
    };
    let (mut patterns, mut why) = (Vec::new(), Vec::new());
    for site in &sites.sites {
        let fits = |address: &&IpNet| site.networks.iter().any(|network| network.overlaps(address));
        let Some(address) = addresses.iter().find(fits) else { continue };
        let network = site.networks.iter().find(|network| network.overlaps(address));
        let sensors: Vec<String> = site.sensors.iter().map(ToString::to_string).collect();
        let network = network.map_or_else(String::new, ToString::to_string);
        why.push(format!("asking {}: {address} lies in {network} of site {}", sensors.join(", "), site.name));
        patterns.extend(site.sensors.iter().cloned());
    }
    if patterns.is_empty() {
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        return Err(Failure::new(format!(
            "no site of the settings has a network with {}: {WAYS_OUT}",
            addresses.join(" or ")
        )));
    }
    Ok((patterns, why))
}
