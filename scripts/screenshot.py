#!/usr/bin/env python3
"""Takes pictures of depthcast's web viewer in headless Chromium.

    scripts/screenshot.py OUT.png [--wait 60] [--again OUT2.png --after 3] -- COMMAND ...

COMMAND is a depthcast run with `--view web`. Its address is taken from what it prints; after --wait seconds of looking at it
the page is saved as OUT.png (1600x900), and once more after --after seconds as OUT2.png. Needs Debian's packages chromium and
chromium-driver and PyPI's selenium. Without a GPU the first picture takes about a minute.
"""
import argparse
import re
import signal
import subprocess
import sys
import tempfile
import time

from selenium import webdriver
from selenium.webdriver.chrome.service import Service


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--wait", type=float, default=60)
    parser.add_argument("--again")
    parser.add_argument("--after", type=float, default=3)
    parser.add_argument("--size", default="1600,900")
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()

    run = subprocess.Popen(args.command, stderr=subprocess.PIPE, text=True)
    address = None
    for line in run.stderr:
        sys.stderr.write(line)
        if found := re.search(r"http://\S+", line):
            address = found.group()
            break
    if not address:
        sys.exit("the command ended without an address")

    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    with tempfile.TemporaryDirectory() as profile:
        for flag in (
            "headless", "no-sandbox", "disable-quic", "no-first-run", "disable-background-networking",
            "disable-component-update", "disable-sync", "use-angle=swiftshader", "enable-unsafe-swiftshader",
            f"user-data-dir={profile}", f"window-size={args.size}", "hide-scrollbars",
        ):
            options.add_argument("--" + flag)
        browser = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
        try:
            browser.get(address)
            time.sleep(args.wait)
            browser.save_screenshot(args.out)
            if args.again:
                time.sleep(args.after)
                browser.save_screenshot(args.again)
        finally:
            browser.quit()
            run.send_signal(signal.SIGINT)
            run.communicate(timeout=30)


main()
