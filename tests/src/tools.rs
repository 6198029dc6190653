//! Finding and running programs: ours, and other people's as judges.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Root of the workspace.
#[must_use]
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in a folder of the workspace")
}

/// Path of one of our programs, built once per test process so that no test runs an old one. `HINDCAP_BIN` names a
/// folder of programs built elsewhere.
///
/// # Panics
/// When it does not build.
#[must_use]
pub fn ours(name: &str) -> PathBuf {
    static BUILD: Once = Once::new();
    if let Some(folder) = env::var_os("HINDCAP_BIN") {
        return PathBuf::from(folder).join(name);
    }
    let exe = env::current_exe().expect("the running test has a path");
    let profile = exe.ancestors().nth(2).expect("tests run from target/<profile>/deps").to_path_buf();
    BUILD.call_once(|| {
        let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build.current_dir(workspace()).args(["build", "--quiet", "--workspace", "--bins", "--locked"]);
        build.env("CARGO_TARGET_DIR", profile.parent().expect("the profile lies in the target folder"));
        if profile.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().is_ok_and(|status| status.success()), "our programs must build");
    });
    profile.join(name)
}

/// Whether all programs of these names can be started; says which cannot.
#[must_use]
pub fn have(programs: &[&str]) -> bool {
    let paths = env::var_os("PATH").unwrap_or_default();
    let missing = |name: &&&str| !env::split_paths(&paths).any(|dir| dir.join(name).is_file());
    let missing: Vec<_> = programs.iter().filter(missing).copied().collect();
    if !missing.is_empty() {
        println!("skipped: not installed: {}", missing.join(", "));
    }
    missing.is_empty()
}

/// Does `work` on every item, on as many threads as there are processors; what it returned, in order of the items.
///
/// # Panics
/// When `work` does.
pub fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (next, threads) = (AtomicUsize::new(0), std::thread::available_parallelism().map_or(1, usize::from));
    let worker = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            match items.get(at) {
                Some(item) => done.push((at, work(item))),
                None => return done,
            }
        }
    };
    let mut done: Vec<(usize, R)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a complaint of a worker")).collect()
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Waits until `look` finds something, at most half a minute.
///
/// # Panics
/// When the time is over.
pub fn wait_for<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    wait_at_most(Duration::from_secs(30), what, look)
}

/// As [`wait_for`], with a deadline of its own.
///
/// # Panics
/// When the time is over.
pub fn wait_at_most<T>(deadline: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(since.elapsed() < deadline, "gave up waiting for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs to the end without standard input.
///
/// # Panics
/// When the program cannot be started.
pub fn run<S: AsRef<OsStr>>(program: impl AsRef<OsStr>, args: impl IntoIterator<Item = S>) -> Output {
    let program = program.as_ref();
    let output = Command::new(program).args(args).stdin(Stdio::null()).output();
    output.unwrap_or_else(|err| panic!("{program:?}: {err}"))
}

/// Real savefiles to try things on: the folder that `HINDCAP_CORPUS` names, else `../shared/corpus` beside the
/// workspace; none there: the test is skipped.
#[must_use]
pub fn corpus() -> Vec<PathBuf> {
    let root = env::var_os("HINDCAP_CORPUS")
        .map_or_else(|| workspace().join("../shared/corpus"), |root| PathBuf::from(&root));
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    if files.is_empty() {
        println!("skipped: no corpus at {}", root.display());
    }
    files
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = dir.read_dir() else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            collect(&path, files);
        } else if !matches!(path.extension().and_then(OsStr::to_str), Some("md" | "tsv")) {
            files.push(path);
        }
    }
}

/// Runs `script` in a shell that finds a small file system at `folder`, in a namespace of mounts that ends with it; `None`,
/// with a message, where that is not allowed.
///
/// # Panics
/// When the folder cannot be made.
#[must_use]
pub fn on_tmpfs(folder: &Path, options: &str, script: &str) -> Option<Output> {
    if !have(&["unshare", "mount"]) {
        return None;
    }
    std::fs::create_dir_all(folder).expect("a folder");
    let mount = format!("mount -t tmpfs -o {options} none '{}' || exit 77; ", folder.display());
    let output = run("unshare", ["-m", "sh", "-c", &(mount + script)]);
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(77) || said.contains("unshare failed") {
        println!("skipped: needs root (to mount a file system)");
        return None;
    }
    Some(output)
}
