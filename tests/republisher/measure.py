"""Measures the republisher: `measure.py [--messages N] [--bytes N] [--rounds N] [ROW…]`, with release binaries.

A service is preloaded; then the republisher moves everything, from one topic to others of the same
service, and is timed from its first answered publish to its last acknowledgement. `cargo xtask
republisher` builds the binaries and calls this. A figure counts only if every message arrived, once.
"""

import argparse
import base64
import json
import os
import random
import sys
import time

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "ams")]

import server as servers
import wire
from process import Republisher, pair, rule, service

# name: pairs, ack mode, topics, more of the configuration
ROWS = {
    "batches of 100": (1, "cumulative", 10, "pull_messages = 1000\npublish_messages = 100\nparallel_topics = 10"),
    "individual": (1, "individual", 10, "pull_messages = 1000\npublish_messages = 100\nparallel_topics = 10"),
    "one topic": (1, "cumulative", 1, "pull_messages = 4000\npublish_messages = 4000\npublish_bytes = 4194304"),
    "pull 100": (10, "cumulative", 1, "pull_messages = 100\npublish_messages = 100"),
}


def preload(raw, topic, total, size, topics):
    """So many messages of this payload, each with the number of its target."""
    dice = random.Random(1)
    batch = 2_000
    messages = [{"data": base64.b64encode(dice.randbytes(size)).decode(), "attributes": {"site": str(number % topics)}} for number in range(batch)]
    body = json.dumps({"messages": messages})
    for _ in range(total // batch):
        raw.topic(topic, "POST", body, "publish").ok()


def measure(name, total, size):
    pairs, mode, topics, more = ROWS[name]
    settings = ["listen.ams_tls=off", "listen.ops=off", "log.level=warn"]
    with servers.running("measure", settings) as server, servers.folder("republisher") as root:
        raw = wire.Session(server, project="flow")
        raw.call("POST", "/v1/projects/flow", {}).ok()
        text = '[ops]\nlisten = "127.0.0.1:0"\n' + service("here", "http://127.0.0.1:%d" % server.ports["ams"])
        for number in range(pairs):
            source, out = "in%d" % number, "out%d-" % number
            raw.topic(source).ok()
            raw.subscribe(source, source, ackMode=mode, ackDeadlineSeconds=60).ok()
            for site in range(topics):
                raw.topic(out + str(site)).ok()
                raw.subscribe(out + str(site), out + str(site)).ok()
            preload(raw, source, total // pairs, size, topics)
            text += pair(source, source, rule(out + "{attribute:site}"), target="here", more=more)
        one = Republisher(os.path.join(root, "r"), "")
        one.write(text)
        one.start()
        try:
            left = {"in%d" % number for number in range(pairs)}
            while not any(one.metric("published_messages_total", source) for source in left):
                time.sleep(0.002)
            begun = time.monotonic()
            while left:
                time.sleep(0.02)
                left = {source for source in left if one.metric("acknowledged_messages_total", source) < total // pairs}
            took = time.monotonic() - begun
            assert one.stop() == 0
        finally:
            one.close()
        kept = sum(raw.offsets("out%d-%d" % (number, site))["max"] for number in range(pairs) for site in range(topics))
        assert kept == total // pairs * pairs, "%d of %d messages arrived" % (kept, total)
        return total / took


def main():
    words = argparse.ArgumentParser(prog="measure.py", description="measures the republisher")
    words.add_argument("--messages", type=int, default=1_000_000)
    words.add_argument("--bytes", type=int, default=256)
    words.add_argument("--rounds", type=int, default=1)
    words.add_argument("rows", nargs="*")
    options = words.parse_args()
    for _ in range(options.rounds):
        for name in options.rows or ROWS:
            rate = measure(name, options.messages, options.bytes)
            print("%-16s %5d bytes %12.0f messages/s" % (name, options.bytes, rate), flush=True)


if __name__ == "__main__":
    main()
