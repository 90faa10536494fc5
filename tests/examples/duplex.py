"""Point-to-point, both ways on one queue: a caller asks, a responder answers.

Each sees only what the other posted (messages are not echoed to who posted them), and deletes what it has read. A request carries a number,
and so does its reply.

    python duplex.py http://127.0.0.1:8888 respond
    python duplex.py http://127.0.0.1:8888 ask "how are you"
"""

import sys
import time
import uuid

import connect

TTL = 300


def incoming(queue):
    """What the other side has said so far; each message is taken away."""
    for message in list(queue.messages()):
        yield message.body
        message.delete()


def ask(queue, question, patience=30):
    """Asks, and waits for the reply to just this."""
    number = uuid.uuid4().hex
    queue.post({"body": {"request": number, "question": question}, "ttl": TTL})
    end = time.monotonic() + patience
    while time.monotonic() < end:
        for said in incoming(queue):
            if said.get("reply") == number:
                return said["answer"]
        time.sleep(0.05)
    raise TimeoutError("nobody answered within %d seconds" % patience)


def respond(queue, answer, enough=lambda: False):
    """Answers what is asked, until it is enough."""
    while not enough():
        for said in incoming(queue):
            queue.post({"body": {"reply": said["request"], "answer": answer(said["question"])}, "ttl": TTL})
        time.sleep(0.05)


def main(url, role, question=""):
    queue = connect.queue(url, "examples", "duplex")
    if role == "ask":
        print(ask(queue, question))
    else:
        respond(queue, str.upper)


if __name__ == "__main__":
    main(*sys.argv[1:])
