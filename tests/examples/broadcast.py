"""Event broadcasting: whoever listens gets every event, at its own pace.

Nobody takes a message away; each listener remembers where it is by a marker, the id of the last message that it saw. The marker stays
good when that message is gone.

    python broadcast.py http://127.0.0.1:8888 listen
    python broadcast.py http://127.0.0.1:8888 tell "something happened"
"""

import sys
import time

import connect


def tell(queue, *events, ttl=3600):
    """Posts events."""
    queue.post([{"body": event, "ttl": ttl} for event in events])


def news(queue, marker=None):
    """The events behind a marker, all that there are now, and the marker behind them. Others claim or not: all are shown."""
    events = []
    while True:
        page = list(queue.messages(marker=marker, include_claimed=True) if marker else queue.messages(include_claimed=True))
        if not page:
            return events, marker
        events += [message.body for message in page]
        marker = page[-1].id


def main(url, role, *events):
    queue = connect.queue(url, "examples", "events")
    if role == "tell":
        return tell(queue, *events)
    marker = None
    while True:
        events, marker = news(queue, marker)
        for event in events:
            print(event, flush=True)
        time.sleep(0.5)


if __name__ == "__main__":
    main(*sys.argv[1:])
