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
BROKER = "10.0.2.100"
# The configuration that people are given.
SAMPLES = os.path.join(HERE, "../soc/mosquitto")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Office:
    """A broker for one box and one analyst, TLS 1.3 with the certificates of `hindcap`; open from the start. PROGRAMS has
    this machine's `hindcap`."""

    def __init__(self, machine: str, directory: str, programs: str) -> None:
        self.machine, self.directory, self.port = machine, directory, free_port()
        self.hindcap = os.path.join(programs, "hindcap")
        self.ca = os.path.join(directory, "ca")
        self.settings = {"HINDCAP_BROKER": f"mqtts://127.0.0.1:{self.port}", "HINDCAP_CA": f"{self.ca}/ca.crt",
                         "HINDCAP_CERT": f"{self.ca}/analyst/ana.crt", "HINDCAP_KEY": f"{self.ca}/analyst/ana.key"}
        self.provision()
        self.open()

    def provision(self) -> None:
        """Writes the files of a new box and puts them on its drive, before it is switched on."""
        files = os.path.join(self.directory, "told")
        output(self.hindcap, "ca", "init", self.ca)
        output(self.hindcap, "ca", "server", self.ca, "--name", BROKER, "--name", "127.0.0.1")
        output(self.hindcap, "ca", "analyst", self.ca, "--name", "ana")
        output(self.hindcap, "provision", "--issue", self.ca, "--id", NAME, "--broker", f"mqtts://{BROKER}", "--unsigned",
               files)
        output(os.path.join(HERE, "run"), "--machine", self.machine, "--dir", self.directory, "--disk-only")
        self.drive = Drive(os.path.join(self.directory, "system.img"))
        for name in os.listdir(files):
            with open(os.path.join(files, name), encoding="utf-8") as file:
                self.drive.put(name, file.read())

    def open(self) -> None:
        settings = os.path.join(self.directory, "mosquitto.conf")
        with open(os.path.join(SAMPLES, "mosquitto.conf"), encoding="ascii") as file:
            text = file.read()
        for sample, ours in (
            # Started by root, mosquitto would become somebody who cannot read here.
            ("listener 8883", f"listener {self.port} 127.0.0.1\nuser root"),
            ("/etc/mosquitto/hindcap/ca.crt", f"{self.ca}/ca.crt"),
            ("/etc/mosquitto/hindcap/server", f"{self.ca}/server/{BROKER}"),
            ("/etc/mosquitto/hindcap/acl", os.path.join(SAMPLES, "acl")),
            # It forgets everything when it goes.
            ("persistence true", "persistence false"),
        ):
            text = text.replace(sample, ours)
        with open(settings, "w", encoding="ascii") as file:
            file.write(text)
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
                              stderr=subprocess.PIPE, check=False, env=self.settings)

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
