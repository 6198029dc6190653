//! What the settings say of sites: which sensors stand there, and which networks pass by them.

use hindcap_wire::net::IpNet;

use crate::args::Pattern;

/// A place with sensors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Site {
    pub(crate) name: String,
    /// The sensors there.
    pub(crate) sensors: Vec<Pattern>,
    /// Networks whose packets pass by them.
    pub(crate) networks: Vec<IpNet>,
}

/// All that the settings say of sites and groups.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sites {
    pub(crate) sites: Vec<Site>,
    /// Groups by name: sensors, and names of sites.
    pub(crate) groups: Vec<(String, Vec<String>)>,
}

impl Sites {
    /// The sensors of the group, or of the site, called `name`.
    ///
    /// # Errors
    /// There is neither; a member is neither a sensor's name nor a site.
    pub(crate) fn group(&self, name: &str) -> Result<Vec<Pattern>, String> {
        if let Some((_, members)) = self.groups.iter().find(|(group, _)| group == name) {
            let all = members.iter().map(|member| match self.site(member) {
                Some(site) => Ok(site.sensors.clone()),
                None => member
                    .parse()
                    .map(|pattern| vec![pattern])
                    .map_err(|error: String| format!("group {name}: {member}: {error}")),
            });
            return all.collect::<Result<Vec<_>, _>>().map(|all| all.concat());
        }
        if let Some(site) = self.site(name) {
            return Ok(site.sensors.clone());
        }
        let known =
            self.groups.iter().map(|(group, _)| group).chain(self.sites.iter().map(|site| &site.name));
        let known: Vec<&str> = known.map(String::as_str).collect();
        Err(if known.is_empty() {
            format!("there is no group {name}: the settings have no [groups] and no [sites.NAME]")
        } else {
            format!("there is no group or site {name} in the settings; there are: {}", known.join(", "))
        })
    }

    fn site(&self, name: &str) -> Option<&Site> {
        self.sites.iter().find(|site| site.name == name)
    }
}
