# shellcheck shell=sh
# Sourced after ports.sh: finds the partitions of the box's own disk by their names (board/common/partitions).

# Prints the device of the partition named $1; fails when there is none.
partition() {
    for entry in /sys/class/block/*/uevent; do
        if grep -qx "PARTNAME=$1" "$entry"; then
            sed -n 's|^DEVNAME=|/dev/|p' "$entry"
            return 0
        fi
    done
    return 1
}

# Prints the device of the card in the slot at place $1 of the bus, whether there is a card or not; waits for the slot.
card_at() {
    left=10
    until host=$(echo "/sys/bus/pci/devices/$1/mmc_host"/mmc*) && [ -d "$host" ]; do
        [ "$left" -gt 0 ] || return 1
        left=$((left - 1))
        sleep 1
    done
    echo "/dev/mmcblk${host##*/mmc}"
}

# The card of board.env is a device, the slot at this place of the bus, or the partition of this name.
case $CARD in
/*) ;;
*:*) CARD=$(card_at "$CARD") || CARD=/dev/none ;;
*) CARD=$(partition "$CARD") || CARD=/dev/none ;;
esac
