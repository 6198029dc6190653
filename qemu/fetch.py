"""A box from the shop to the first case: fetch.py MACHINE DIRECTORY SAVEFILE PROGRAMS.

`hindcap ca` and `hindcap provision` write the files of a new box, they go onto its drive, the box connects to mosquitto by
TLS with its certificate, frames arrive at its tap port, and `hindcap fetch` gets them over MQTT, byte by byte those that
were sent. PROGRAMS is the folder of this machine's `hindcap` and `hindcapd`.
"""

import sys

from box import check
from office import Office
from wire import frames_of

RATE = 200
# Of which the kernel takes about half.
MEMORY_MIB = 96


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
        pages = box.text().count("=== Hindcap")
        box.wait("status page of a connected box", lambda: box.text().count(" listening ports") > pages)
        check(" 0 listening ports" in box.text().split("=== Hindcap")[-1], "no port listens", box)
        box.cut()
        check(not box.tap.received, "the tap port sent 0 frames", box)
        left = office.drive.names()
        check(left == ["hindcap.result.txt"], f"the drive holds the answer and no secret: {left}")
    finally:
        office.close()
    print(f"image-test: {machine} fetch passed")


main()
