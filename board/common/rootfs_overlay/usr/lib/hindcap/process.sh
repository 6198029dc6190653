# shellcheck shell=sh
# Sourced: finds the sensor among the processes. Others of the same name only read the store.

# Prints the process id of the sensor; fails when it does not run.
sensor_pid() {
    read -r pid </run/hindcap/sensor.pid && grep -qx hindcapd "/proc/$pid/comm" && echo "$pid"
} 2>/dev/null
