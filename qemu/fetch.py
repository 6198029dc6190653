"""A box from the shop to the first case: fetch.py MACHINE DIRECTORY SAVEFILE PROGRAMS.

`hindcap provision` writes the files of a new box, they go onto its drive, the box connects to mosquitto with them, frames
arrive at its tap port, and `hindcap fetch` gets them over MQTT, byte by byte those that were sent. PROGRAMS is the folder
of this machine's `hindcap` and `hindcapd`.
"""

import json
import os
import socket
import subprocess
import sys

from box import HERE, Box, check, output
from drive import Drive
from wire import frames_of

NAME = "branch-7"
# As the box reaches the broker (run --broker).
BROKER = "mqtt://10.0.2.100:1883"
RATE = 200
# Of which the kernel takes about half.
MEMORY_MIB = 96


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def broker(directory: str, box_password: str, port: int) -> subprocess.Popen:
    """mosquitto on the loopback, for the box and one analyst, with passwords."""
    users, settings = os.path.join(directory, "users"), os.path.join(directory, "mosquitto.conf")
    output("mosquitto_passwd", "-c", "-b", users, NAME, box_password)
    output("mosquitto_passwd", "-b", users, "analyst", "secret")
    os.chmod(users, 0o644)
    os.chmod(directory, 0o755)
    with open(settings, "w", encoding="ascii") as file:
        file.write(f"listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {users}\n")
    log = open(os.path.join(directory, "mosquitto.log"), "w", encoding="ascii")
    return subprocess.Popen(["mosquitto", "-c", settings], stdout=log, stderr=log)


def online(hindcap: str, url: str) -> bool:
    command = [hindcap, "status", "--sensor", NAME, "--json", "--timeout", "3s"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False,
                          env={"HINDCAP_BROKER": url})
    return done.returncode == 0 and json.loads(done.stdout).get("online") is True


def fetched(hindcap: str, url: str, file: str) -> list[bytes]:
    command = [hindcap, "fetch", "--sensor", NAME, "--last", "1d", "--quiet", "-w", file]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                          env={"HINDCAP_BROKER": url})
    return frames_of(file) if done.returncode == 0 else []


def main() -> None:
    machine, directory, savefile, programs = sys.argv[1:]
    hindcap = os.path.join(programs, "hindcap")
    frames, port = frames_of(savefile)[:2000], free_port()
    print(f"{machine}, a new box, told who it is:", flush=True)
    files = os.path.join(directory, "told")
    output(hindcap, "provision", "--id", NAME, "--broker", BROKER, "--unsigned", files)
    told = {}
    for name in ("hindcap.toml", "hindcap.password"):
        with open(os.path.join(files, name), encoding="utf-8") as file:
            told[name] = file.read()
    mosquitto = broker(directory, told["hindcap.password"].strip(), port)
    try:
        url = f"mqtt://analyst:secret@127.0.0.1:{port}"
        # The box's own disk, before the box is switched on.
        output(os.path.join(HERE, "run"), "--machine", machine, "--dir", directory, "--disk-only")
        drive = Drive(os.path.join(directory, "system.img"))
        for name, content in told.items():
            drive.put(name, content)
        box = Box(machine, directory, "--broker", str(port), "--memory", str(MEMORY_MIB))
        box.wait("recording", lambda: "recording tap into" in box.text())
        box.wait("status at the broker", lambda: online(hindcap, url))
        box.tap.send(frames, RATE)
        answer = os.path.join(directory, "answer.pcap")
        box.wait(f"{len(frames)} packets over MQTT", lambda: len(fetched(hindcap, url, answer)) >= len(frames))
        check(frames_of(answer) == frames, "they are those that were sent, unchanged, in order", box)
        pages = box.text().count("=== Hindcap")
        box.wait("status page of a connected box", lambda: box.text().count(" listening ports") > pages)
        check(" 0 listening ports" in box.text().split("=== Hindcap")[-1], "no port listens", box)
        box.cut()
        check(not box.tap.received, "the tap port sent 0 frames", box)
        left = drive.names()
        check(left == ["hindcap.result.txt"], f"the drive holds the answer and no secret: {left}")
    finally:
        mosquitto.kill()
        mosquitto.wait()
    print(f"image-test: {machine} fetch passed")


main()
