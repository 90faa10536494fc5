"""Many connections at once from one thread, and a normal client beside them.

Owns sockets that are slow, silent or greedy, and the figures of the client that must not suffer. Never judges an answer.
"""

import errno
import resource
import select
import socket
import threading
import time

import wire

# The longest that a normal request may take beside hostile ones, with a debug build on a busy machine too.
PROMPT_SECONDS = 10.0
# How often a normal client may find its kept connection closed in one test.
RESETS_MAX = 2


def allow_files(count):
    """Raises this process's limit on open files; how many it then may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


class Line:
    """One raw connection: what it still has to send, and what it got."""

    def __init__(self, port, to_send=b"", keep=100_000):
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.started = self.socket.connect_ex(("127.0.0.1", port))
        assert self.started in (0, errno.EINPROGRESS), "connect: %s" % errno.errorcode[self.started]
        self.to_send = to_send
        self.sent = 0
        self.keep = keep
        self.got = b""
        self.received = 0
        self.closed = None

    def fileno(self):
        return self.socket.fileno()

    def write(self):
        """Sends what can be sent."""
        try:
            while self.to_send:
                count = self.socket.send(self.to_send[:262_144])
                self.sent += count
                self.to_send = self.to_send[count:]
        except BlockingIOError:
            pass
        except OSError as error:
            self.end(error)

    def read(self):
        """Takes what is there."""
        try:
            while self.closed is None:
                piece = self.socket.recv(262_144)
                if not piece:
                    self.end("end")
                self.received += len(piece)
                if len(self.got) < self.keep:
                    self.got += piece
        except BlockingIOError:
            pass
        except OSError as error:
            self.end(error)

    def end(self, why):
        self.closed = why
        self.to_send = b""

    def close(self):
        self.socket.close()

    def statuses(self):
        """The status codes of all answers so far."""
        return [int(part[2:5]) for part in self.got.split(b"HTTP/1.")[1:] if part[2:5].isdigit()]

    def status(self):
        """The first answer's status, or none."""
        return int(self.got[9:12]) if self.got[9:12].isdigit() else None


class Crowd:
    """Lines that are driven together."""

    def __init__(self, port):
        self.port = port
        self.lines = []
        self.poll = select.epoll()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.poll.close()
        for line in self.lines:
            line.close()

    def add(self, count, to_send=b"", read=True, pace=500, **named):
        """Opens lines, a few at a time so that none is lost on the way; each sends the same."""
        made = []
        while len(made) < count:
            some = [Line(self.port, to_send, **named) for _ in range(min(pace, count - len(made)))]
            for line in some:
                self.poll.register(line.fileno(), select.EPOLLOUT | (select.EPOLLIN if read else 0))
            self.lines += some
            made += some
            self.drive(until=lambda some=some: all(line.sent or line.closed or not line.to_send and connected(line) for line in some), seconds=10)
        return made

    def drive(self, seconds, until=lambda: False):
        """Sends and receives until the condition holds or the time is over; whether it holds."""
        by_file = {line.fileno(): line for line in self.lines}
        end = time.monotonic() + seconds
        while not until():
            if time.monotonic() > end:
                return False
            for file, events in self.poll.poll(0.02):
                line = by_file.get(file)
                if events & select.EPOLLOUT:
                    line.write()
                if events & select.EPOLLIN:
                    line.read()
                if events & (select.EPOLLERR | select.EPOLLHUP) and line.closed is None:
                    line.read()
                    line.end(line.closed or "reset")
                if line.closed is not None:
                    self.poll.modify(file, 0)
                elif not line.to_send:
                    self.poll.modify(file, select.EPOLLIN if line.keep else 0)
        return True

    def trickle(self, seconds, byte=b"a", every=0.2):
        """Sends one more byte on each open line from time to time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and any(line.closed is None for line in self.lines):
            for line in self.lines:
                if line.closed is None:
                    line.to_send += byte
                    line.write()
            self.drive(every)


def connected(line):
    try:
        line.socket.getpeername()
        return True
    except OSError:
        return False


class Normal:
    """A normal client that publishes, pulls and acknowledges all the time, on a topic of its own."""

    def __init__(self, server, project, name):
        self.raw = wire.Wire(server, project=project)
        self.name = name
        self.worst = 0.0
        self.rounds = 0
        self.resets = 0
        self.wrong = []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.raw.topic(name)
        self.raw.subscribe(name, name)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, *_):
        self.over.set()
        self.thread.join(60)
        if kind is None:
            self.check()

    def check(self):
        assert not self.wrong, "the normal client met %d wrong answers, first %s" % (len(self.wrong), self.wrong[0][:900])
        assert self.rounds > 0, "the normal client was never served"
        assert self.worst < PROMPT_SECONDS, "the normal client waited %.1f s" % self.worst

    def work(self):
        while not self.over.wait(0.02):
            for step in (self.publish, self.take):
                begun = time.monotonic()
                try:
                    self.persist(step)
                except Exception as error:
                    self.wrong.append("%s: %s" % (type(error).__name__, error))
                self.worst = max(self.worst, time.monotonic() - begun)
            self.rounds += 1

    def persist(self, step):
        """As any client does: a kept connection that was closed meanwhile is opened anew, once; seldom."""
        try:
            step()
        except ConnectionError:
            self.resets += 1
            if self.resets > RESETS_MAX:
                raise
            step()

    def publish(self):
        answer = self.raw.publish(self.name, "round %d" % self.rounds, timeout=30)
        assert answer.status == 200, answer

    def take(self):
        for ack_id, _ in self.raw.pulled(self.name, 10):
            last = ack_id
        self.raw.ack(self.name, [last]).ok()
