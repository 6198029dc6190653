"""A box from the shop to the first case: fetch.py MACHINE DIRECTORY SAVEFILE PROGRAMS.

`hindcap ca` and `hindcap provision` write the files of a new box, they go onto its drive, the box connects to mosquitto by
TLS with its certificate, frames arrive at its tap port, and `hindcap fetch` gets them over MQTT, byte by byte those that
were sent. PROGRAMS is the folder of this machine's `hindcap` and `hindcapd`.
"""

import re
import sys

from box import check
from console import broker_line, next_page
from office import BROKER, Office
from wire import frames_of

RATE = 200
# Of which the kernel takes about half.
MEMORY_MIB = 96
# What the status page says of the broker.
CONNECTED = rf"connected to mqtts://{BROKER}:8883 since 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$"
LOST = f"no connection to mqtts://{BROKER}:8883 since 20"


def main() -> None:
    machine, directory, savefile, programs = sys.argv[1:]
    frames = frames_of(savefile)[:2000]
    print(f"{machine}, a new box, told who it is:", flush=True)
    office = Office(machine, directory, programs)
    try:
        box = office.switch_on("--memory", str(MEMORY_MIB))
        box.tap.send(frames, RATE)
        box.wait(f"{len(frames)} packets over MQTT", lambda: len(office.fetched()) >= len(frames))
        check(office.fetched() == frames, "they are those that were sent, unchanged, in order", box)
        page = next_page(box)
        check(" 0 listening ports" in page, "no port of a connected box listens", box)
        check(re.match(CONNECTED, broker_line(page)) is not None, f"the page says: {broker_line(page)}", box)
        system = office.look()["status"]["system"]
        check(re.match(r"\d+\.\d+\.\d+-\d{14}, slot A$", system) is not None, f"the office sees its image: {system}", box)
        office.close()
        box.wait("a page that misses the broker", lambda: broker_line(next_page(box)).startswith(LOST))
        box.cut()
        check(not box.tap.received, "the tap port sent 0 frames", box)
        left = office.drive.names()
        check(left == ["hindcap.result.txt"], f"the drive holds the answer and no secret: {left}")
    finally:
        office.close()
    print(f"image-test: {machine} fetch passed")


main()
