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


def ask(queue, question, patience=30):
    """Asks, and waits for the reply to just this."""
    number = uuid.uuid4().hex
    queue.post({"body": {"request": number, "question": question}, "ttl": TTL})
    end = time.monotonic() + patience
    while time.monotonic() < end:
        for message in list(queue.messages()):
            message.delete()
            if message.body.get("reply") == number:
                return message.body["answer"]
        time.sleep(0.05)
    raise TimeoutError("nobody answered within %d seconds" % patience)


def respond(queue, answer, enough=lambda: False):
    """Answers what is asked, until it is enough. A request is taken away only when its reply is there."""
    while not enough():
        for message in list(queue.messages()):
            asked = message.body
            queue.post({"body": {"reply": asked["request"], "answer": answer(asked["question"])}, "ttl": TTL})
            message.delete()
        time.sleep(0.05)


def main(url, role, question=""):
    queue = connect.queue(url, "examples", "duplex")
    if role == "ask":
        print(ask(queue, question))
    else:
        respond(queue, str.upper)


if __name__ == "__main__":
    main(*sys.argv[1:])
