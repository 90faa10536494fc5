"""The examples at work against the real binary: each pattern as its users would run it, with the accidents that it must bear."""

import os
import signal
import subprocess
import sys
import threading
import time
import uuid

import broadcast
import connect
import duplex
import runner
import task_distribution
import zaqar
from runner import same

HERE = os.path.dirname(os.path.abspath(__file__))


def world(_options):
    return zaqar.running("examples")


def url(server):
    return "http://127.0.0.1:%d" % server.ports["zaqar"]


def program(server, name, *words):
    """An example as a process of its own."""
    command = [sys.executable, os.path.join(HERE, name), url(server)] + list(words)
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=lambda: runner.die_with_parent(signal.SIGKILL))


def test_tasks_are_done_once_each_and_those_of_a_dead_worker_by_the_others(server):
    project, count = uuid.uuid4().hex, 200
    producer = connect.queue(url(server), project, "tasks")
    task_distribution.produce(producer, list(range(count)))
    # One worker claims and dies: it never deletes.
    doomed = connect.queue(url(server), project, "tasks").claim(ttl=task_distribution.CLAIM_SECONDS, grace=60, limit=5)
    lost = [message.body for message in doomed]
    same(len(lost), 5)
    begun, done, lock = time.monotonic(), [], threading.Lock()

    def do(task):
        with lock:
            done.append((task, time.monotonic() - begun))

    def enough():
        return len(done) >= count or time.monotonic() - begun > 2 * task_distribution.CLAIM_SECONDS

    def worker():
        task_distribution.work(connect.queue(url(server), project, "tasks"), do, enough=enough)

    threads = [threading.Thread(target=worker, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    runner.until(lambda: len(done) >= count - len(lost), 60, lambda: "%d of %d tasks are done" % (len(done), count))
    same(sorted(task for task, _ in done), sorted(set(range(count)) - set(lost)), "what nobody holds is done by all together")
    for thread in threads:
        thread.join(2 * task_distribution.CLAIM_SECONDS)
    same(sorted(task for task, _ in done), list(range(count)), "every task once")
    first = min(when for task, when in done if task in lost)
    assert first > task_distribution.CLAIM_SECONDS - 5, "a claimed task was given to another after %.1f s" % first
    same(producer.stats["messages"]["total"], 0)


def test_the_program_works_off_what_it_produced(server):
    same(program(server, "task_distribution.py", "produce", "7").wait(30), 0)
    worker = program(server, "task_distribution.py", "work")
    try:
        same(sorted(int(worker.stdout.readline()) for _ in range(7)), list(range(7)))
    finally:
        worker.kill()


def test_every_listener_gets_every_event_at_its_own_pace(server):
    project = uuid.uuid4().hex
    teller = connect.queue(url(server), project, "events")
    early, late = (connect.queue(url(server), project, "events") for _ in range(2))
    broadcast.tell(teller, *["first %d" % n for n in range(25)])
    events, marker = broadcast.news(early)
    same(events, ["first %d" % n for n in range(25)])
    same(broadcast.news(early, marker), ([], marker))
    broadcast.tell(teller, "second", "third")
    same(broadcast.news(early, marker)[0], ["second", "third"])
    same(len(broadcast.news(late)[0]), 27, "who comes late sees all that still lives")
    # The message that the marker names goes; the marker stays good.
    teller.message(marker).delete()
    same(broadcast.news(early, marker)[0], ["second", "third"])
    same(broadcast.news(teller)[0], [], "who tells is not told")


def test_a_listener_of_the_program_hears_what_is_told(server):
    listener = program(server, "broadcast.py", "listen")
    try:
        same(program(server, "broadcast.py", "tell", "one", "two").wait(30), 0)
        same([listener.stdout.readline() for _ in range(2)], ["one\n", "two\n"])
    finally:
        listener.kill()


def test_both_sides_of_one_queue_talk_to_each_other(server):
    project, over = uuid.uuid4().hex, threading.Event()
    caller, responder = (connect.queue(url(server), project, "duplex") for _ in range(2))
    thread = threading.Thread(target=duplex.respond, args=(responder, lambda question: question * 2, over.is_set), daemon=True)
    thread.start()
    same([duplex.ask(caller, number) for number in range(20)], [2 * number for number in range(20)])
    over.set()
    thread.join(30)
    same(caller.stats["messages"]["total"], 0)


def test_the_program_answers_a_question(server):
    responder = program(server, "duplex.py", "respond")
    try:
        asked = program(server, "duplex.py", "ask", "how are you")
        same(asked.stdout.read(), "HOW ARE YOU\n")
        same(asked.wait(30), 0)
    finally:
        responder.kill()
