//! The settings of sites and groups of sensors.
//!
//! ```toml
//! [sites.ulm]
//! sensors = ["branch-12"]                       # the sensors there, or patterns of their names
//! networks = ["10.12.0.0/16", "198.51.100.12"]  # whose packets pass by them: inside, and after address translation
//!
//! [groups]
//! south = ["ulm", "branch-7"]                   # names of sites, sensors, patterns
//! ```

use std::fmt::Display;
use std::str::FromStr;

use toml::Spanned;
use toml::de::DeValue;

use super::settings::{Wrong, texts, unknown, wrong};
use crate::gather::Site;

const KEYS: [&str; 2] = ["sensors", "networks"];

/// The table `[sites.NAME]`.
pub(super) fn site(name: &str, table: &Spanned<DeValue<'_>>) -> Result<Site, Wrong> {
    let DeValue::Table(keys) = table.get_ref() else {
        return wrong(table.span().start, "a site is a table: [sites.NAME]");
    };
    let mut site = Site { name: name.to_owned(), ..Site::default() };
    for (key, value) in keys {
        match key.get_ref().as_ref() {
            "sensors" => site.sensors = all(value, "sensors")?,
            "networks" => site.networks = all(value, "networks")?,
            _ => return unknown(key, "site", &KEYS),
        }
    }
    if site.sensors.is_empty() {
        return wrong(table.span().start, format!("site {name} has no sensors: sensors = [\"...\"]"));
    }
    Ok(site)
}

/// A member of `[groups]`: sensors, patterns and names of sites.
pub(super) fn group(members: &Spanned<DeValue<'_>>) -> Result<Vec<String>, Wrong> {
    let members = texts(members, "a group")?;
    Ok(members.into_iter().map(String::from).collect())
}

fn all<T: FromStr<Err: Display>>(value: &Spanned<DeValue<'_>>, key: &str) -> Result<Vec<T>, Wrong> {
    let parse = |text: &str| {
        text.parse().or_else(|error: T::Err| wrong(value.span().start, format!("{text:?} in {key}: {error}")))
    };
    texts(value, key)?.into_iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use toml::de::DeTable;

    use super::*;
    use crate::gather::Sites;

    #[test]
    fn mistakes_are_told() {
        for (text, words) in [
            ("x = 1", "a site is a table"),
            ("x = {networks = []}", "has no sensors"),
            ("x = {sensors = ['a b']}", "\"a b\" in sensors"),
            ("x = {sensors = ['a'], networks = ['10.0.0.0/33']}", "in networks: expected"),
            ("x = {sensor = ['a']}", "did you mean sensors?"),
        ] {
            let document = DeTable::parse(text).unwrap();
            let (name, table) = document.get_ref().iter().next().unwrap();
            let error = site(name.get_ref(), table).unwrap_err();
            assert!(error.what.contains(words), "{error:?}");
        }
    }

    #[test]
    fn a_group_holds_sensors_and_sites() {
        let document = DeTable::parse("ulm = {sensors = ['b-1', 'b-2']}").unwrap();
        let (name, table) = document.get_ref().iter().next().unwrap();
        let groups = vec![("south".to_owned(), vec!["ulm".to_owned(), "c-*".to_owned()])];
        let sites = Sites { sites: vec![site(name.get_ref(), table).unwrap()], groups };
        let names = |group: &str| {
            sites.group(group).map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(names("south"), Ok("b-1 b-2 c-*".into()));
        assert_eq!(names("ulm"), Ok("b-1 b-2".into()));
        assert!(names("north").unwrap_err().contains("there are: south, ulm"));
    }
}
