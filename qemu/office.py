"""The office of an emulated box: mosquitto on this machine's loopback, and an analyst with `hindcap`."""

import json
import os
import socket
import subprocess

from box import HERE, Box, output
from drive import Drive
from wire import frames_of

NAME = "branch-7"
# As the box reaches the broker (run --broker).
BROKER = "mqtt://10.0.2.100:1883"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Office:
    """A broker for one box and one analyst, with passwords; open from the start. PROGRAMS has this machine's `hindcap`."""

    def __init__(self, machine: str, directory: str, programs: str) -> None:
        self.machine, self.directory, self.port = machine, directory, free_port()
        self.hindcap = os.path.join(programs, "hindcap")
        self.url = f"mqtt://analyst:secret@127.0.0.1:{self.port}"
        self.provision()
        self.open()

    def provision(self) -> None:
        """Writes the files of a new box and puts them on its drive, before it is switched on."""
        files = os.path.join(self.directory, "told")
        output(self.hindcap, "provision", "--id", NAME, "--broker", BROKER, "--unsigned", files)
        output(os.path.join(HERE, "run"), "--machine", self.machine, "--dir", self.directory, "--disk-only")
        self.drive = Drive(os.path.join(self.directory, "system.img"))
        for name in ("hindcap.toml", "hindcap.password"):
            with open(os.path.join(files, name), encoding="utf-8") as file:
                content = file.read()
            self.drive.put(name, content)
        users = os.path.join(self.directory, "users")
        output("mosquitto_passwd", "-c", "-b", users, NAME, content.strip())
        output("mosquitto_passwd", "-b", users, "analyst", "secret")

    def open(self) -> None:
        settings = os.path.join(self.directory, "mosquitto.conf")
        with open(settings, "w", encoding="ascii") as file:
            # Started by root, mosquitto would become somebody who cannot read here.
            file.write(f"user root\nlistener {self.port} 127.0.0.1\nallow_anonymous false\n"
                       f"password_file {os.path.join(self.directory, 'users')}\n")
        log = open(os.path.join(self.directory, "mosquitto.log"), "a", encoding="ascii")
        self.mosquitto = subprocess.Popen(["mosquitto", "-c", settings], stdout=log, stderr=log)

    def close(self) -> None:
        """The broker is gone, with all it knew."""
        self.mosquitto.kill()
        self.mosquitto.wait()

    def switch_on(self, *options: str) -> Box:
        """Switches the box on and waits until it is at the broker."""
        box = Box(self.machine, self.directory, "--broker", str(self.port), *options)
        box.wait("recording", lambda: "recording tap into" in box.text())
        box.wait("status at the broker", lambda: self.look().get("online") is True)
        return box

    def ask(self, *arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run([self.hindcap, *arguments, "--sensor", NAME], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, check=False, env={"HINDCAP_BROKER": self.url})

    def look(self) -> dict:
        """What `hindcap status` says of the box; nothing when there is no answer."""
        done = self.ask("status", "--json", "--timeout", "3s")
        return json.loads(done.stdout) if done.returncode == 0 else {}

    def status(self, part: str) -> dict:
        """One part of the box's own account."""
        return (self.look().get("status") or {}).get(part) or {}

    def fetched(self) -> list[bytes]:
        """Everything the box has recorded today, over MQTT; nothing when there is no answer."""
        file = os.path.join(self.directory, "answer.pcap")
        done = self.ask("fetch", "--last", "1d", "--quiet", "-w", file)
        return frames_of(file) if done.returncode == 0 else []
