"""What the box says of itself: the status page on its serial console."""

import re

from box import Box, check

SENSOR_MEMORY_MAX_KIB = 32 * 1024


def whole_pages(box: Box) -> list[str]:
    """Status pages, with a sensor that has told of its broker, that no message broke a line of."""
    lines = re.compile(r"^tap port .*^system .*^broker +(?!not known)\S.*^sensor +\d+ kB.*^clock ", re.MULTILINE | re.DOTALL)
    return [page for page in box.text().split("=== Hindcap") if lines.search(page)]


def next_page(box: Box) -> str:
    """The first whole page from now on."""
    before = len(whole_pages(box))
    box.wait("a whole status page", lambda: len(whole_pages(box)) > before)
    return whole_pages(box)[-1]


def broker_line(page: str) -> str:
    """How the connection to the broker stands, as the page says."""
    line = re.search(r"^broker +(.*?)\s*$", page, re.MULTILINE)
    return line.group(1) if line else ""


def judge_tap_port(page: str, box: Box) -> None:
    tap = re.search(r"^tap port +(.*)$", page, re.MULTILINE)
    settings = tap.group(1).strip().rstrip(";").split(";") if tap else []
    for setting in ("no-address", "no-addrgenmode", "no-arp", "no-multicast", "no-egress", "off:rx-gro-hw",
                    "off:rx-vlan-offload", "off:generic-receive-offload", "promiscuous", "up"):
        check(f"ok {setting}" in settings, f"tap port: {setting}", box)
    check(not [line for line in settings if line.startswith("not ")], "tap port: nothing was refused", box)


def judge_console(box: Box) -> None:
    """What the status page says of the whole box."""
    box.wait("a whole status page", lambda: whole_pages(box))
    page = whole_pages(box)[-1]
    judge_tap_port(page, box)
    check(" 0 listening ports" in page, "no port listens", box)
    # Nobody told it of a broker, or of one that is not there.
    check(re.match(r"none: set mqtt\.broker|(connecting|no connection) to mqtt://192\.0\.2\.1:1883", broker_line(page))
          is not None, f"broker: {broker_line(page)}", box)
    check(re.search(r"^system +squashfs ro", page, re.MULTILINE) is not None, "root file system is read-only", box)
    memory = re.search(r"^sensor +(\d+) kB", page, re.MULTILINE)
    check(memory is not None and int(memory.group(1)) <= SENSOR_MEMORY_MAX_KIB,
          f"sensor memory {memory.group(1) if memory else '?'} kB of {SENSOR_MEMORY_MAX_KIB}", box)
