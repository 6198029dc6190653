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


def arrive(box: Box, frames: list[bytes], number: int) -> int:
    """Sends the next frames, STEP of them; gives how many have been sent then."""
    box.tap.send(frames[number : number + STEP], RATE)
    return number + STEP


def all_there(office: Office, box: Box, frames: list[bytes], number: int) -> None:
    """Waits until the first `number` frames come over MQTT, unchanged."""
    box.wait(f"{number} packets over MQTT", lambda: len(office.fetched()) >= number)
    check(office.fetched() == frames[:number], "they are those that were sent, unchanged, in order", box)


def broker_away(office: Office, box: Box, frames: list[bytes], number: int) -> int:
    office.close()
    number = arrive(box, frames, number)
    office.open()
    all_there(office, box, frames, number)
    return number


def cable_out(office: Office, box: Box, frames: list[bytes], number: int) -> int:
    box.monitor("set_link", name="tap", up=False)
    box.wait("a tap port without a cable", lambda: office.status("capture").get("link_up") is False)
    box.monitor("set_link", name="tap", up=True)
    box.wait("the cable again", lambda: office.status("capture").get("link_up") is True)
    number = arrive(box, frames, number)
    all_there(office, box, frames, number)
    return number


def cable_loose(office: Office, box: Box, frames: list[bytes], number: int) -> int:
    for _ in range(FLAPS):
        box.monitor("set_link", name="tap", up=False)
        time.sleep(random.uniform(0.05, 1.5))
        box.monitor("set_link", name="tap", up=True)
        time.sleep(random.uniform(0.05, 1.5))
    box.wait("the cable again", lambda: office.status("capture").get("link_up") is True)
    number = arrive(box, frames, number)
    all_there(office, box, frames, number)
    return number


def port_out(office: Office, box: Box, frames: list[bytes], number: int) -> int:
    """As a port on USB that is pulled and plugged in again: the kernel has a new one."""
    if office.machine == "armv7":
        print("  skipped: Debian's 32-bit kernel does not let go of a port (CONFIG_HOTPLUG_PCI)", flush=True)
        return number
    box.monitor("device_del", id="tap-port")
    box.wait("a missing tap port", lambda: office.status("capture").get("link_up") is False)
    # The box lets go of it a little later.
    box.wait("an empty socket", lambda: "tap-port" not in [
        device["name"] for device in box.monitor("qom-list", path="/machine/peripheral")])
    box.monitor("device_add", driver="virtio-net-pci", id="tap-port", netdev="tap", bus="tap-socket",
                mac="02:48:43:00:00:01", romfile="")
    box.wait("the port again", lambda: office.status("capture").get("link_up") is True)
    number = arrive(box, frames, number)
    all_there(office, box, frames, number)
    judge_tap_port(next_page(box), box)
    return number


def pull(office: Office, box: Box) -> None:
    box.monitor("eject", device="card", force=True)
    box.wait("a missing card", lambda: office.status("card").get("state") == "missing")


def put_in(box: Box, name: str) -> None:
    box.monitor("blockdev-change-medium", device="card", filename=os.path.join(box.directory, name), format="raw")


def card_out(office: Office, box: Box, frames: list[bytes], number: int) -> int:
    pull(office, box)
    number = arrive(box, frames, number)
    put_in(box, "card.img")
    inserted = time.monotonic()
    all_there(office, box, frames, number)
    took = time.monotonic() - inserted
    check(took < CARD_BACK_S, f"the card is in use {took:.0f} s after it came back", box)
    return number


def card_exchanged(office: Office, box: Box, frames: list[bytes], number: int) -> int:
    pull(office, box)
    blank = os.path.join(box.directory, "blank.img")
    with open(blank, "wb") as file:
        file.truncate(os.path.getsize(os.path.join(box.directory, "card.img")))
    put_in(box, "blank.img")
    box.wait("a blank card in use", lambda: (office.status("card").get("swapped") or {}).get("now"))
    after = arrive(box, frames, number)
    box.wait(f"{after - number} packets over MQTT", lambda: len(office.fetched()) >= after - number)
    check(office.fetched() == frames[number:after], "they are those sent since, unchanged, in order", box)
    pull(office, box)
    put_in(box, "card.img")
    all_there(office, box, frames, number)
    return after


def main() -> None:
    machine, directory, savefile, programs = sys.argv[1:]
    frames = frames_of(savefile)
    print(f"{machine}, trouble:", flush=True)
    office = Office(machine, directory, programs)
    try:
        box = office.switch_on()
        number = arrive(box, frames, 0)
        all_there(office, box, frames, number)
        for trouble in (broker_away, cable_out, cable_loose, port_out, card_out, card_exchanged):
            print(f" {trouble.__name__.replace('_', ' ')}:", flush=True)
            number = trouble(office, box, frames, number)
        check(box.text().count("recording tap into") == 1, "the sensor was never started again", box)
        box.cut()
        check(not box.tap.received, "the tap port sent 0 frames", box)
    finally:
        office.close()
    print(f"image-test: {machine} trouble passed")


main()
