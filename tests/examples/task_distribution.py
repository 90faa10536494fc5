"""Task distribution: a producer posts tasks, workers claim them, and delete each when it is done.

What a worker has claimed no other gets, until the claim's time is over: a worker that dies loses nothing, its tasks go to the others.

    python task_distribution.py http://127.0.0.1:8888 produce 20
    python task_distribution.py http://127.0.0.1:8888 work
"""

import sys
import time

import connect

# The shortest that a claim lasts, and so the time after which a dead worker's tasks are given out again.
CLAIM_SECONDS = 60


def produce(queue, tasks, ttl=3600):
    """Posts tasks."""
    queue.post([{"body": task, "ttl": ttl} for task in tasks])


def work(queue, do, at_once=4, enough=lambda: False):
    """Claims tasks and does them, until it is enough. A task is deleted only when it is done, under the claim that it came with."""
    while not enough():
        claim = queue.claim(ttl=CLAIM_SECONDS, grace=CLAIM_SECONDS, limit=at_once)
        idle = True
        for message in claim:
            do(message.body)
            message.delete()
            idle = False
        if idle:
            time.sleep(0.2)


def main(url, role, count="10"):
    queue = connect.queue(url, "examples", "tasks")
    if role == "produce":
        produce(queue, [{"task": number} for number in range(int(count))])
    else:
        work(queue, lambda task: print(task["task"], flush=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
