#!/usr/bin/env python3
"""Takes pictures of depthcast's web viewer in headless Chromium, also without a GPU.

    screenshot.py OUT.png [--wait S] [--again OUT2.png --after S] [--size W,H] -- COMMAND...

COMMAND is a depthcast run with `--view web`. The page it names on standard error is opened, watched for --wait seconds and
saved as OUT.png, and once more --after seconds later as OUT2.png. Then COMMAND gets a SIGINT and prints its report.

A software renderer lags behind: leave it a minute, and give COMMAND a low --show-rate. When a picture takes longer than
90 s, COMMAND is stopped until it is taken (and frames get lost). Needs Debian's chromium and PyPI's websocket-client.
"""
import argparse
import base64
import json
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import websocket

CHROMIUM_FLAGS = (
    "--headless", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader", "--remote-debugging-port=0",
)
PATIENCE = 300  # seconds for one answer of a busy browser
STALL = 90  # seconds until COMMAND is stopped for a picture


class Page:
    """A Chromium with one page, spoken to over its debugging port."""

    def __init__(self, profile, size):
        self.last = 0
        binary = shutil.which("chromium") or sys.exit("chromium is not on the PATH")
        flags = [*CHROMIUM_FLAGS, f"--window-size={size}", f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen([binary, *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self.socket = websocket.create_connection(self.find(profile), timeout=PATIENCE, suppress_origin=True)
            width, height = map(int, size.split(","))
            self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
            self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        except BaseException:
            self.process.kill()
            raise

    @staticmethod
    def find(profile):
        port_file = pathlib.Path(profile, "DevToolsActivePort")
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if port_file.exists() and (lines := port_file.read_text().split()):
                with urllib.request.urlopen(f"http://127.0.0.1:{lines[0]}/json", timeout=PATIENCE) as answer:
                    pages = [target for target in json.load(answer) if target["type"] == "page"]
                if pages:
                    return pages[0]["webSocketDebuggerUrl"]
            time.sleep(0.2)
        sys.exit("chromium did not start")

    def call(self, method, **params):
        self.last += 1
        self.socket.send(json.dumps({"id": self.last, "method": method, "params": params}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == self.last:
                if "error" in message:
                    sys.exit(f"{method}: {message['error']}")
                return message["result"]

    def save(self, path):
        picture = self.call("Page.captureScreenshot", format="png", fromSurface=True)
        pathlib.Path(path).write_bytes(base64.b64decode(picture["data"]))

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start(command):
    """Starts the command, passes its standard error on, returns it, the address found there and the passing thread."""
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    for line in run.stderr:
        sys.stderr.write(line)
        if found := re.search(r"http://\S+", line):
            rest = threading.Thread(target=sys.stderr.writelines, args=(run.stderr,), daemon=True)
            rest.start()
            return run, found.group(), rest
    sys.exit("the command ended without an address")


def picture(page, run, path):
    began = time.monotonic()
    relief = threading.Timer(STALL, run.send_signal, [signal.SIGSTOP])
    relief.start()
    try:
        page.save(path)
    finally:
        relief.cancel()
        run.send_signal(signal.SIGCONT)
    print(f"{path} took {time.monotonic() - began:.0f} s", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--wait", type=float, default=60)
    parser.add_argument("--again")
    parser.add_argument("--after", type=float, default=5)
    parser.add_argument("--size", default="1600,900")
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()

    run, address, rest = start(args.command)
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            page = Page(profile, args.size)
            try:
                page.call("Page.navigate", url=address)
                time.sleep(args.wait)
                picture(page, run, args.out)
                if args.again:
                    time.sleep(args.after)
                    picture(page, run, args.again)
            finally:
                page.close()
    finally:
        run.send_signal(signal.SIGINT)
        try:
            run.wait(30)
        except subprocess.TimeoutExpired:
            run.kill()
            run.wait()
        rest.join(5)


if __name__ == "__main__":
    main()
