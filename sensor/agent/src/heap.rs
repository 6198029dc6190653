//! Memory that is free goes back to the system: a sensor runs for years on a box with little of it.
//!
//! glibc keeps what was freed in places of its own, one per thread, and the larger a piece was that came back, the larger
//! are those it keeps from then on: one query would cost its memory until the next start. How much it keeps is read
//! before a program's first instruction and can be changed later by an unsafe call alone. So a long-running command that
//! was started without these settings starts itself once more with them: same process, same arguments.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Where glibc looks.
const TUNABLES: &str = "GLIBC_TUNABLES";
/// Pieces of 32 KiB and more come from the system and go straight back; so does the end of the rest. One place for all
/// threads: those that record allocate nothing while they do, so nobody waits.
const SETTINGS: &str = "glibc.malloc.mmap_threshold=32768:glibc.malloc.trim_threshold=65536:glibc.malloc.top_pad=4096:glibc.malloc.arena_max=1";
/// Says that this was tried: where a program has more rights than its user, glibc takes the settings away again.
const TRIED: &str = "HINDCAPD_HEAP";

/// Starts the program again with settings that give memory back, unless somebody has set others. Returns where that is
/// not to be had, or not needed.
pub fn settle() {
    if !cfg!(target_env = "gnu") || env::var_os(TUNABLES).is_some() || env::var_os(TRIED).is_some() {
        return;
    }
    let Ok(program) = env::current_exe() else { return };
    let mut again = Command::new(program);
    let mut args = env::args_os();
    if let Some(name) = args.next() {
        again.arg0(name);
    }
    let error = again.args(args).env(TUNABLES, SETTINGS).env(TRIED, "1").exec();
    log::debug!("memory that is free is kept: {error}");
}
