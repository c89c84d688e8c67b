#!/usr/bin/env python3
"""Takes the pictures of the console that the README shows: the release binary, a real browser, some load.

Runs from the project's folder; `make screenshots` calls it. Wants chromium and chromedriver, as the tests do, and
nothing beyond Python's standard library.
"""

import argparse
import base64
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

SCREENS = {"desktop": (1280, 800, 1), "phone": (390, 800, 1.5)}
SCHEMES = ("light", "dark")

# How long callers are busy while the charts are looked at: they span a minute.
BUSY_SECONDS = 64

TEXT = "you are awful, and everybody knows it"
WORDS = "what a lovely day you are awful stupid people never listen thank you so much for the garden coffee".split()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", default="target", help="cargo's target folder")
    parser.add_argument("--out", default="docs/screenshots", type=pathlib.Path, help="where the pictures go")
    options = parser.parse_args()
    for program in ("chromedriver", "chromium"):
        if not shutil.which(program):
            raise SystemExit(f"error: {program} is not on the PATH; run 'make setup'")
    options.out.mkdir(parents=True, exist_ok=True)
    server, page = start_server(f"{options.target}/release/glassbox")
    try:
        with tempfile.TemporaryDirectory() as folder, Browser(folder) as browser:
            take_all(browser, page, options.out)
    finally:
        server.terminate()
        server.wait()


def take_all(browser, page, out):
    browser.go(f"{page}/console#/predict")
    browser.wait("return document.querySelector('#text') !== null")
    # The first request of all pays for connections and pages of memory; the second one is as all others are.
    for text in ("hello", TEXT):
        browser.run(f"document.querySelector('#text').value = {json.dumps(text)}")
        browser.run("document.querySelector('#run').click()")
        time.sleep(1)
    take(browser, out, "predict")

    browser.go(f"{page}/console#/live")
    stop = threading.Event()
    callers = [threading.Thread(target=call, args=(page, stop, seed), daemon=True) for seed in range(3)]
    for caller in callers:
        caller.start()
    time.sleep(BUSY_SECONDS)
    take(browser, out, "live")
    stop.set()
    for caller in callers:
        caller.join()

    browser.go(f"{page}/console#/requests")
    browser.wait("return document.querySelector('.record') !== null")
    browser.run("document.querySelector('.record').open = true")
    take(browser, out, "requests", screens=["desktop"], schemes=["light"])

    browser.go(f"{page}/console#/file")
    browser.wait("return document.querySelector('#model').value !== ''")
    rows = "\n".join(f"{number},{' '.join(random.Random(number).sample(WORDS, 6))}" for number in range(1, 13))
    drop = f"""const data = new DataTransfer();
        data.items.add(new File(["id,text\\n" + {json.dumps(rows)}], "comments.csv"));
        document.querySelector("#drop").dispatchEvent(new DragEvent("drop", {{ dataTransfer: data }}));"""
    browser.run(drop)
    browser.wait("return document.querySelector('#file-start') !== null")
    browser.run("document.querySelector('#file-start').click()")
    browser.wait("return !document.querySelector('#file-save').hidden")
    take(browser, out, "file", screens=["desktop"], schemes=["light"])


def take(browser, out, name, screens=SCREENS, schemes=SCHEMES):
    """One section on these screens, by day and by night."""
    for screen in screens:
        for scheme in schemes:
            browser.look(SCREENS[screen], scheme)
            # As a screen of this size opens the page.
            browser.run("document.querySelector('#model-facts').open = innerWidth >= 960")
            picture = out / f"{name}-{screen}-{scheme}.png"
            picture.write_bytes(browser.picture())
            print(f"{picture}  {picture.stat().st_size / 1024:.0f} KiB")


def call(page, stop, seed):
    """A caller with some variety: known and new texts, numbers, and now and then a mistake."""
    chance = random.Random(seed)
    while not stop.is_set():
        busy = 1 + (time.time() % 40 > 20)
        kind = chance.random()
        if kind < 0.7:
            words = chance.sample(WORDS, chance.choice((2, 2, 3)))
            path, body = "predict", {"model": "toxicity", "text": " ".join(words)}
        elif kind < 0.85:
            path, body = "predict", {"model": "linear_regression", "input": [round(chance.random() / 10, 2)] * 10}
        elif kind < 0.98:
            texts = [" ".join(chance.sample(WORDS, 2)) for _ in range(chance.randint(2, 12))]
            path, body = "predict_batch", {"model": "toxicity", "texts": texts}
        else:
            path, body = "predict", {"model": chance.choice(("doubler", "none")), "input": ["x"]}
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{page}/v1/{path}", json.dumps(body).encode(), headers)
        try:
            urllib.request.urlopen(request).read()
        except urllib.error.HTTPError as error:
            error.read()
        stop.wait(chance.expovariate(25 * busy))


def start_server(binary):
    settings = {"GLASSBOX__SERVER__LISTEN": "127.0.0.1:0", "GLASSBOX__TELEMETRY__LOG_FORMAT": "json"}
    command = [binary, "serve", "--config", "config/development.toml"]
    server = subprocess.Popen(command, env={**os.environ, **settings}, stdout=subprocess.PIPE, text=True)
    address = None
    for line in server.stdout:
        line = json.loads(line)
        address = line.get("addr", address)
        if line.get("message") == "ready":
            threading.Thread(target=server.stdout.read, daemon=True).start()
            return server, f"http://{address}"
    raise SystemExit("error: the server does not start")


class Browser:
    """Headless Chromium behind chromedriver, by the calls of WebDriver that are wanted here."""

    def __init__(self, folder):
        command = ["chromedriver", "--port=0"]
        self.driver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        found = (re.search(r"successfully on port (\d+)", line) for line in self.driver.stdout)
        port = next(match for match in found if match).group(1)
        self.base = f"http://127.0.0.1:{port}/session"
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
        arguments += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
        arguments += [f"--user-data-dir={folder}", "--window-size=1280,1000"]
        capabilities = {"browserName": "chrome", "goog:chromeOptions": {"args": arguments}}
        session = self.ask("", {"capabilities": {"alwaysMatch": capabilities}})["sessionId"]
        self.base = f"{self.base}/{session}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        urllib.request.urlopen(urllib.request.Request(self.base, method="DELETE")).read()
        self.driver.terminate()
        self.driver.wait()

    def ask(self, path, body):
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.base + path, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def go(self, url):
        self.ask("/url", {"url": url})

    def run(self, script):
        return self.ask("/execute/sync", {"script": script, "args": []})

    def wait(self, script):
        deadline = time.monotonic() + 30
        while not self.run(script):
            if time.monotonic() > deadline:
                raise SystemExit(f"error: not within 30 s: {script}")
            time.sleep(0.05)

    def tell(self, command, **parameters):
        return self.ask("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def look(self, size, scheme):
        width, height, scale = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": scale > 1}
        self.tell("Emulation.setDeviceMetricsOverride", **metrics)
        wishes = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
        features = [{"name": name, "value": value} for name, value in wishes.items()]
        self.tell("Emulation.setEmulatedMedia", features=features)
        time.sleep(0.4)

    def picture(self):
        """What is seen, and a bit of what lies below."""
        tall = self.run("return Math.min(document.documentElement.scrollHeight, innerHeight * 1.25)")
        wide = self.run("return innerWidth")
        clip = {"x": 0, "y": 0, "width": wide, "height": tall, "scale": 1}
        shot = self.tell("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        return base64.b64decode(shot["data"])


if __name__ == "__main__":
    main()
