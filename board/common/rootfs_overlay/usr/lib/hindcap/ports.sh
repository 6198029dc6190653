# shellcheck shell=sh
# Sourced: finds the ports of this board. /etc/hindcap/board.env names them by their place in the machine, which no
# change of driver, firmware or start order alters. Programs that BusyBox has a small version of are called by their
# path: its shell may prefer its own.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
# shellcheck source=/dev/null
. /etc/hindcap/board.env

# Prints the name of the network port whose device path contains "/$1/"; fails when there is none.
port_at() {
    for port in /sys/class/net/*; do
        case $(readlink -f "$port/device")/ in
        */"$1"/*) echo "${port##*/}"; return 0 ;;
        esac
    done
    return 1
}

# Names the port at place $1 "$2", waiting for it at most $3 seconds.
name_port() {
    left=$3
    until found=$(port_at "$1"); do
        [ "$left" -gt 0 ] || return 1
        left=$((left - 1))
        sleep 1
    done
    [ "$found" = "$2" ] || /sbin/ip link set dev "$found" name "$2"
}
