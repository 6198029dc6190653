# shellcheck shell=bash
# Sourced after common.sh: Debian packages of any architecture, downloaded and unpacked beside the system, never
# installed into it. apt runs with its own state in the cache, reads the system's sources and keys, and needs no root.

# Everything downloaded or built once for all checkouts lives here.
cache=${HINDCAP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/hindcap}
apt_home=$cache/apt

# Fails unless this is Debian: other distributions keep ARM packages elsewhere.
need_debian() {
    # shellcheck disable=SC1091
    [ "$(. /etc/os-release && echo "${ID-}")" = debian ] || die "$1"
}

# Copies the system's sources that hold Debian itself, with the source packages added.
private_sources() {
    local codename file parts=$apt_home/sources
    # shellcheck disable=SC1091
    codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
    rm -rf "$parts"
    mkdir -p "$parts"
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
        if ! grep -qs "^[^#]*$codename" "$file" || ! grep -q '^[^#]*\bmain\b' "$file"; then continue; fi
        case $file in
        *.sources) sed 's/^Types:.*/Types: deb deb-src/' "$file" >"$parts/${file##*/}" ;;
        *.list) sed -n '/^deb /{p;s/^deb /deb-src /p}' "$file" >"$parts/${file##*/}" ;;
        esac
    done
    [ -n "$(ls "$parts")" ] || die "no package source with $codename main in /etc/apt"
}

# Runs apt tool $1 on the private state, for this machine's architecture and both ARM ones.
private_apt() {
    local tool=$1
    shift
    "$tool" -o Dir::State="$apt_home/state" -o Dir::State::status="$apt_home/status" -o Dir::Cache="$apt_home/cache" \
        -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$apt_home/sources" \
        -o APT::Architectures::="$(dpkg --print-architecture)" -o APT::Architectures::=arm64 \
        -o APT::Architectures::=armhf -o APT::Sandbox::User="$(id -un)" "$@"
}

# Brings the package lists up to date, at most once a day.
update_lists() {
    [ -z "$(find "$apt_home/updated" -mmin -1440 2>/dev/null)" ] || return 0
    mkdir -p "$apt_home/state/lists/partial" "$apt_home/cache/archives/partial"
    : >"$apt_home/status"
    private_sources
    say "reading the package lists for ARM"
    # A list that a mirror has not finished copying is no reason to stop: what is missing is told where it is wanted.
    private_apt apt-get update -qq || say "not every package list could be read; going on with the others"
    touch "$apt_home/updated"
}

# Prints the versions of package $1 (name:architecture), newest first.
package_versions() {
    private_apt apt-cache madison "${1%:*}" | awk -F ' *[|] *' '$3 ~ / Packages$/ { print $2 }' | sort -uVr |
        while read -r version; do
            if private_apt apt-cache show "$1=$version" 2>/dev/null |
                grep -x "Architecture: ${1#*:}" >/dev/null; then
                echo "$version"
            fi
        done
}

# Prints packages "${@:2}" with architecture $1 and their newest versions.
exact_packages() {
    local architecture=$1
    shift
    private_apt apt-cache policy "${@/%/:$architecture}" | awk -v arch="$architecture" '
        /^[^ ]/ { name = $1; sub(":(" arch ":)?$", "", name) }
        $1 == "Candidate:" { print name ":" arch "=" $2 }'
}

# Downloads the packages "${@:2}" (name:architecture=version, apt checks their signatures) and unpacks them into $1,
# which appears only when it is complete.
unpack_packages() {
    local into=$1 work file
    shift
    if [ -e "$into" ]; then return 0; fi
    work=$(mktemp -d "$cache/unpack.XXXXXX")
    say "downloading $*"
    (cd "$work" && private_apt apt-get download -qq "$@") || die "download failed: $*"
    mkdir "$work/root"
    for file in "$work"/*.deb; do dpkg -x "$file" "$work/root"; done
    mkdir -p "$(dirname "$into")"
    mv "$work/root" "$into"
    rm -rf "$work"
}
