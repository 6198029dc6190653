//! What the sensor is told to leave out, from the configuration or the command line.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use clap::Args;
use hindcap_capture::{CaptureError, SkipRules};
use hindcap_store::policy::{
    CUTOFF_BYTES_MAX, CUTOFF_BYTES_MIN, Control, NEVER_CUT_MAX, SAMPLE_DEFAULT, SAMPLE_MAX,
};
use hindcap_wire::net::IpNet;
use hindcap_wire::policy::{Policy, PolicyReason};

use crate::config::Config;
use crate::units::Size;

/// `libpcap` sees a cooked header instead of frames there.
const ANY: &str = "any";

/// A cutoff as people write it: `off`, or a size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cutoff(pub Option<u64>);

impl Cutoff {
    /// What it takes, for messages.
    #[must_use]
    pub fn expected() -> String {
        format!(
            "off, or a size from {} to {}",
            Size(CUTOFF_BYTES_MIN),
            Size(CUTOFF_BYTES_MAX + 1 - (1 << 20))
        )
    }
}

impl FromStr for Cutoff {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        match text.parse() {
            Ok(Size(bytes)) if (CUTOFF_BYTES_MIN..=CUTOFF_BYTES_MAX).contains(&bytes) => {
                Ok(Self(Some(bytes)))
            }
            _ => Err(format!("expected {}", Self::expected())),
        }
    }
}

impl fmt::Display for Cutoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(bytes) => Size(bytes).fmt(f),
            None => f.write_str("off"),
        }
    }
}

/// The flags of `record` and `import`.
#[derive(Args, Clone, Debug, Default)]
pub struct PolicyArgs {
    /// Record so much of each flow whole, both directions together; off records everything
    #[arg(long, value_name = "SIZE", default_value = "off")]
    pub cutoff: Cutoff,

    /// Behind the cutoff record one packet in so many, without its payload; 0 none
    #[arg(long, value_name = "NUMBER", default_value_t = SAMPLE_DEFAULT, value_parser = clap::value_parser!(u32).range(..=SAMPLE_MAX as i64))]
    pub sample: u32,

    /// Record TLS and QUIC without payload behind the handshake
    #[arg(long)]
    pub headers_only: bool,

    /// Do not record packets that match this pcap-filter expression, tagged or not; may be repeated
    #[arg(long, value_name = "EXPRESSION")]
    pub skip: Vec<String>,

    /// Record flows with an end at this address or in this block whole, whatever the cutoff; may be repeated
    #[arg(long, value_name = "NET")]
    pub never_cut: Vec<IpNet>,
}

/// What is left out.
#[derive(Debug)]
pub struct Rules {
    policy: Policy,
    never_cut: Vec<IpNet>,
    /// The rules for packets that are not recorded at all.
    pub skip: SkipRules,
}

impl Rules {
    /// As the command line says.
    ///
    /// # Errors
    /// A skip rule is no expression.
    pub fn of_args(args: &PolicyArgs) -> Result<Self, CaptureError> {
        Self::new(args.cutoff, args.sample, args.headers_only, &args.skip, &args.never_cut)
    }

    /// As the configuration says.
    ///
    /// # Errors
    /// As [`Rules::of_args`].
    pub fn of_config(config: &Config) -> Result<Self, CaptureError> {
        Self::new(config.cutoff, config.sample, config.headers_only, &config.skip.0, &config.never_cut.0)
    }

    fn new(
        cutoff: Cutoff,
        sample: u32,
        headers_only: bool,
        skip: &[String],
        never_cut: &[IpNet],
    ) -> Result<Self, CaptureError> {
        let policy = Policy {
            cutoff: cutoff.0,
            sample,
            headers_only,
            skip_rules: u16::try_from(skip.len()).unwrap_or(u16::MAX),
            reason: PolicyReason::Configuration,
        };
        Ok(Self { policy, never_cut: never_cut.to_vec(), skip: SkipRules::new(skip.to_vec())? })
    }

    /// For the recorder; `None` when everything is recorded, so that judging costs nothing.
    #[must_use]
    pub fn control(&self) -> Option<Arc<Control>> {
        (!self.policy.is_everything()).then(|| self.control_of(self.policy))
    }

    /// For a recorder that begins with `policy`.
    #[must_use]
    pub fn control_of(&self, policy: Policy) -> Arc<Control> {
        Arc::new(Control::new(policy).sparing(&self.never_cut))
    }

    /// The expression that the kernel is given: what `filter` lets pass and no rule skips.
    ///
    /// # Errors
    /// The rules cannot be taken together.
    pub fn kernel_filter(&self, filter: &str, interface: &str) -> Result<Option<String>, CaptureError> {
        self.skip.kernel_filter(Some(filter), interface != ANY)
    }
}

/// Skip rules as a configuration lists them, one a line when they are text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SkipList(pub Vec<String>);

impl FromStr for SkipList {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.lines().map(str::to_owned).collect()))
    }
}

impl SkipList {
    /// Why the rules cannot be used.
    ///
    /// # Errors
    /// libpcap's words, or that rules cannot be taken together.
    pub fn check(text: &str) -> Result<(), String> {
        let Ok(Self(rules)) = text.parse();
        let rules = SkipRules::new(rules).map_err(|error| error.to_string())?;
        rules.kernel_filter(None, true).map(drop).map_err(|error| error.to_string())
    }
}

/// Addresses and blocks whose flows are never cut, as a configuration lists them, one a line when they are text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetList(pub Vec<IpNet>);

impl FromStr for NetList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let nets = text.lines().map(|line| line.parse().map_err(|error| format!("{line}: {error}")));
        let nets: Vec<IpNet> = nets.collect::<Result<_, _>>()?;
        if nets.len() > NEVER_CUT_MAX {
            return Err(format!("{} are too many: at most {NEVER_CUT_MAX}, so name blocks", nets.len()));
        }
        Ok(Self(nets))
    }
}

#[cfg(test)]
mod tests {
    use hindcap_wire::flow::{FiveTuple, FlowKey, addr_bytes};

    use super::*;

    #[test]
    fn hosts_that_are_never_cut_are_told_to_the_recorder() {
        let host = |last: u8| addr_bytes(std::net::Ipv4Addr::new(192, 0, 2, last).into());
        let flow = |src, dst| {
            let (src, dst) = (host(src), host(dst));
            FlowKey::of(&FiveTuple { src, dst, src_port: 1, dst_port: 2, proto: 6, version: 4 }, None).0
        };
        let never = ["192.0.2.7/32".parse().unwrap()];
        let rules = Rules::new(Cutoff(Some(1 << 20)), 100, false, &[], &never).unwrap();
        let control = rules.control().unwrap();
        assert!(control.spares(&flow(7, 1)) && control.spares(&flow(1, 7)) && !control.spares(&flow(1, 2)));
    }
}
