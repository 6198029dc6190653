"""What happens to a box in its years at a branch: trouble.py MACHINE DIRECTORY SAVEFILE PROGRAMS.

The broker goes away and comes back, the cable of the tap port is pulled and is loose, the port itself goes and comes, the
card is taken out while frames arrive and put in again, and a blank one is put in its place. Nothing of it restarts the box or
the sensor, and `hindcap fetch` gets every frame that arrived and is on the card that is in, byte by byte.
PROGRAMS is the folder of this machine's `hindcap` and `hindcapd`.
"""

import os
import random
import sys
import time

from box import Box, check
from console import judge_tap_port, next_page
from office import Office
from wire import frames_of

RATE = 200
STEP = 400
# How often a loose cable loses its contact.
FLAPS = 10
# A card that is back is in use again after this at the latest.
CARD_BACK_S = 30


class Branch:
    """A box that is on, its office, and how many of the frames have arrived at its tap port."""

    def __init__(self, office: Office, frames: list[bytes]) -> None:
        self.office, self.frames, self.arrived = office, frames, 0
        self.box = office.switch_on()

    def arrive(self) -> None:
        """The next frames come, STEP of them."""
        self.box.tap.send(self.frames[self.arrived : self.arrived + STEP], RATE)
        self.arrived += STEP

    def judge(self, first: int = 0) -> None:
        """Waits until all frames that arrived, from the `first` on, come over MQTT, unchanged."""
        expected = self.frames[first : self.arrived]
        self.box.wait(f"{len(expected)} packets over MQTT", lambda: len(self.office.fetched()) >= len(expected))
        check(self.office.fetched() == expected, "they are those that were sent, unchanged, in order", self.box)

    def wait_for(self, what: str, part: str, key: str, value: object) -> None:
        """Waits until the box says so of itself."""
        self.box.wait(what, lambda: self.office.status(part).get(key) == value)

    def cable(self, plugged: bool) -> None:
        self.box.monitor("set_link", name="tap", up=plugged)

    def take_card(self) -> None:
        self.box.monitor("eject", device="card", force=True)
        self.wait_for("a missing card", "card", "state", "missing")

    def judge_leds(self, recording: str, trouble: str) -> None:
        """Waits until the kernel says, on the status page, that they are as told."""
        told = f"recording {recording}, trouble {trouble}"
        self.box.wait(f"LEDs: {told}", lambda: f"\nLEDs        {told}" in self.box.text().split("=== Hindcap")[-1])

    def put_card(self, name: str) -> None:
        card = os.path.join(self.box.directory, name)
        self.box.monitor("blockdev-change-medium", device="card", filename=card, format="raw")


def broker_away(branch: Branch) -> None:
    branch.office.close()
    branch.arrive()
    branch.office.open()


def cable_out(branch: Branch) -> None:
    branch.cable(False)
    branch.wait_for("a tap port without a cable", "capture", "link_up", False)
    branch.cable(True)
    branch.wait_for("the cable again", "capture", "link_up", True)
    branch.arrive()


def cable_loose(branch: Branch) -> None:
    for plugged in (False, True) * FLAPS:
        branch.cable(plugged)
        time.sleep(random.uniform(0.05, 1.5))
    branch.wait_for("the cable again", "capture", "link_up", True)
    branch.arrive()


def port_out(branch: Branch) -> None:
    """As a port on USB that is pulled and plugged in again: the kernel has a new one."""
    box = branch.box
    if branch.office.machine == "armv7":
        print("  skipped: Debian's 32-bit kernel does not let go of a port (CONFIG_HOTPLUG_PCI)", flush=True)
        return
    box.monitor("device_del", id="tap-port")
    branch.wait_for("a missing tap port", "capture", "link_up", False)
    # The box lets go of it a little later.
    box.wait("an empty socket", lambda: "tap-port" not in [
        device["name"] for device in box.monitor("qom-list", path="/machine/peripheral")])
    box.monitor("device_add", driver="virtio-net-pci", id="tap-port", netdev="tap", bus="tap-socket",
                mac="02:48:43:00:00:01", romfile="")
    branch.wait_for("the port again", "capture", "link_up", True)
    judge_tap_port(next_page(box), box)
    branch.arrive()


def card_out(branch: Branch) -> None:
    branch.arrive()
    branch.judge_leds("on", "off")
    branch.take_card()
    branch.arrive()
    branch.judge_leds("off", "on")
    branch.put_card("card.img")
    inserted = time.monotonic()
    branch.judge()
    took = time.monotonic() - inserted
    check(took < CARD_BACK_S, f"the card is in use {took:.0f} s after it came back", branch.box)
    branch.judge_leds("on", "off")


def card_exchanged(branch: Branch) -> None:
    before = branch.arrived
    branch.take_card()
    blank = os.path.join(branch.box.directory, "blank.img")
    with open(blank, "wb") as file:
        file.truncate(os.path.getsize(os.path.join(branch.box.directory, "card.img")))
    branch.put_card("blank.img")
    branch.box.wait("a blank card in use",
                    lambda: (branch.office.status("card").get("swapped") or {}).get("now"))
    branch.arrive()
    branch.judge(before)
    branch.take_card()
    branch.put_card("card.img")
    # What came meanwhile is on the other one.
    branch.arrived = before


def main() -> None:
    machine, directory, savefile, programs = sys.argv[1:]
    print(f"{machine}, trouble:", flush=True)
    office = Office(machine, directory, programs)
    try:
        branch = Branch(office, frames_of(savefile))
        branch.arrive()
        branch.judge()
        for trouble in (broker_away, cable_out, cable_loose, port_out, card_out, card_exchanged):
            print(f" {trouble.__name__.replace('_', ' ')}:", flush=True)
            trouble(branch)
            branch.judge()
        box = branch.box
        check(box.text().count("recording tap into") == 1, "the sensor was never started again", box)
        box.cut()
        check(not box.tap.received, "the tap port sent 0 frames", box)
    finally:
        office.close()
    print(f"image-test: {machine} trouble passed")


main()
