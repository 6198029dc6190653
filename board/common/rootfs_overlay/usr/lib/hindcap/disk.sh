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

# The card of board.env is a device, or the partition of this name.
case $CARD in
/*) ;;
*) CARD=$(partition "$CARD") || CARD=/dev/none ;;
esac
