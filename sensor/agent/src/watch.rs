//! Looks at the health of storage and says once when it fails and once when it works again.

use hindcap_store::HealthSnapshot;

/// What was said last.
#[derive(Debug, Default)]
pub struct StorageWatch {
    failing: bool,
}

impl StorageWatch {
    /// Compares with what was said last.
    pub fn look(&mut self, health: &HealthSnapshot) {
        match (&health.failing, self.failing) {
            (Some((since, message)), false) => {
                log::error!(
                    "storage fails since {since}: {message}; capture goes on, packets are lost and counted"
                );
                self.failing = true;
            }
            (None, true) => {
                log::warn!("storage works again; {} packets were lost", health.packets_lost);
                self.failing = false;
            }
            _ => {}
        }
    }
}
