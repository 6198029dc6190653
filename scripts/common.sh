# shellcheck shell=bash
# Sourced by the scripts beside it: messages, the way to root, and a Rust that is new enough. Changes nothing by itself.

# Oldest Rust that builds the workspace; the same as rust-version in Cargo.toml.
RUST_MIN=1.85

say() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }
die() { say "$*"; exit 2; }

# Succeeds when version $1 is at least $2.
version_at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# Prints the version of the cargo at $1 ("1.85.0"), nothing when it does not run.
cargo_version() { "$1" --version 2>/dev/null | awk '{ print $2; exit }'; }

# Puts a new enough cargo first in PATH; fails when there is none.
use_rust() {
    local dir version
    for dir in "$(dirname "$(command -v cargo || echo /nonexistent/cargo)")" "${CARGO_HOME:-$HOME/.cargo}/bin" /usr/bin; do
        [ -x "$dir/cargo" ] || continue
        version=$(cargo_version "$dir/cargo")
        if [ -n "$version" ] && version_at_least "$version" "$RUST_MIN"; then
            export PATH="$dir:$PATH"
            return 0
        fi
    done
    return 1
}

need_rust() { use_rust || die "no Rust >= $RUST_MIN found: run 'make setup'"; }

# Prints the command that gives root ("", "sudo" or "sudo -n"); fails when there is no way.
root_command() {
    if [ "$(id -u)" -eq 0 ]; then
        echo ""
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        echo "sudo -n"
    elif command -v sudo >/dev/null && [ -t 0 ]; then
        echo "sudo"
    else
        return 1
    fi
}
