//! Exit codes, and the error that carries one.

use std::error::Error;
use std::fmt;

pub use hindcap_args::exit::{Code, HELP};

/// An error on its way to a person: what was being done, why it failed, and the exit code.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: Code,
    doing: Option<String>,
    source: Box<dyn Error + Send + Sync>,
}

impl Failure {
    /// A failure with its own exit code.
    pub fn new(code: Code, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { code, doing: None, source: source.into() }
    }

    /// The cause as what it is, when it is that.
    #[must_use]
    pub fn cause<E: Error + 'static>(&self) -> Option<&E> {
        self.source.downcast_ref()
    }

    /// Says what was being done.
    #[must_use]
    pub fn doing(mut self, what: impl Into<String>) -> Self {
        self.doing = Some(what.into());
        self
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for Failure {
    fn from(source: E) -> Self {
        Self::new(Code::Error, source)
    }
}

/// The whole chain, causes after colons; a cause that its parent already printed is not repeated.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.doing.as_ref().map_or_else(String::new, |what| format!("{what}: "));
        text.push_str(&self.source.to_string());
        let mut cause = self.source.source();
        while let Some(error) = cause {
            let message = error.to_string();
            if !text.ends_with(&message) {
                text.push_str(": ");
                text.push_str(&message);
            }
            cause = error.source();
        }
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_is_printed_once() {
        let io = std::io::Error::other("disk on fire");
        let config = crate::config::ConfigError::Read { path: "a.toml".into(), source: io };
        let failure = Failure::from(config).doing("check configuration");
        assert_eq!(failure.to_string(), "check configuration: read a.toml: disk on fire");
        assert_eq!(failure.code, Code::Error);
    }
}
