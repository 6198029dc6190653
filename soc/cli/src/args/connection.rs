//! Through whom sensors are asked: the flags that every command has which asks them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hindcap_soc_api::{Broker, Ending, Identity, Known, TimeSource, Tls, Trust, Whose};
use hindcap_wire::time::NANOS_PER_SEC;

use crate::exit::Failure;
use crate::secret::at;

/// Through whom sensors are asked.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Sensor")]
pub(crate) struct Connection {
    /// The broker: mqtts://host[:port] with TLS, mqtt://[user@]host[:port] without
    #[arg(long, value_name = "URL", hide_env_values = true)]
    pub(crate) broker: Broker,
    /// A file whose first line is the password of the broker's user
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// Whose signature makes the certificate of an mqtts:// broker good, PEM [default: those this computer trusts]
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Your own certificate for an mqtts:// broker, PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) cert: Option<PathBuf>,
    /// The private key of --cert, PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
}

impl Connection {
    /// The broker, with its password where that is in a file.
    ///
    /// # Errors
    /// The file cannot be read or has no first line; there is no user.
    pub(crate) fn broker(&self) -> Result<Broker, Failure> {
        let Some(path) = &self.password_file else { return Ok(self.broker.clone()) };
        self.broker.clone().with_password(first_line(path)?).map_err(Failure::new)
    }

    /// What TLS to the broker needs; nothing for a broker without it.
    ///
    /// # Errors
    /// Flags that do not fit together, and files that cannot be used.
    pub(crate) fn tls(&self) -> Result<Option<Tls>, Failure> {
        if !self.broker.is_tls() {
            let named = [("ca", &self.ca), ("cert", &self.cert), ("key", &self.key)];
            return match named.iter().find(|(_, file)| file.is_some()) {
                Some((flag, _)) => Err(Failure::new(format!(
                    "--{flag} is for a broker with TLS, and {} is without: write mqtts://, or leave it out",
                    self.broker
                ))),
                None => Ok(None),
            };
        }
        let identity = match (&self.cert, &self.key) {
            (Some(certificate), Some(key)) => Some(Identity { certificate, key }),
            (None, None) => None,
            _ => return Err(Failure::new("--cert and --key belong together: give both or none")),
        };
        let trust = match &self.ca {
            Some(file) => Trust::File(file),
            None => trusted_here(),
        };
        let tls = Tls::load(trust, identity, this_clock()).map_err(Failure::new)?;
        if let Some(doubt) = tls.doubt() {
            eprintln!("hindcap: {doubt}");
        }
        for ending in tls.endings().unwrap_or_default() {
            self.warn(&ending);
        }
        Ok(Some(tls))
    }
}

impl Connection {
    /// Tells of a certificate that ends; that ours has ended is a doubt already.
    fn warn(&self, ending: &Ending) {
        let file = |file: &Option<PathBuf>| file.as_deref().unwrap_or(Path::new("")).display().to_string();
        match ending.whose {
            Whose::Own if !ending.is_over() => eprintln!(
                "hindcap: {}: your certificate {ending}, and the broker refuses it then: have another one issued \
                 (`hindcap ca analyst`)",
                file(&self.cert)
            ),
            Whose::Authority => eprintln!(
                "hindcap: {}: the authority {ending}, and with it all that it issued: make another one, and tell broker, \
                 sensors and analysts anew (docs/OPERATIONS.md, Certificates end)",
                file(&self.ca)
            ),
            _ => {}
        }
    }
}

/// The time certificates are judged by: that of this computer, which is believed.
pub(crate) fn this_clock() -> TimeSource {
    Arc::new(|| Known::Is(crate::now().0 / NANOS_PER_SEC))
}

/// The authorities that this computer trusts.
fn trusted_here() -> Trust<'static> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        log::debug!("an authority of this computer is left out: {error}");
    }
    Trust::These(found.certs.into_iter().map(|certificate| certificate.to_vec()).collect())
}

/// The first line of a file, which is a password.
///
/// # Errors
/// The file cannot be read or has no first line.
pub(crate) fn first_line(path: &Path) -> Result<String, Failure> {
    let text = fs::read_to_string(path).map_err(|error| at(path, &error))?;
    let Some(password) = text.lines().next().filter(|line| !line.is_empty()) else {
        return Err(at(path, &"the first line, which is the password, is empty"));
    };
    Ok(password.to_owned())
}
