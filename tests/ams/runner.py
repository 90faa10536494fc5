"""A small test runner: finds a module's `test_*` functions, runs them in order, prints and counts.

A suite module may have `world(options)`, a context manager; what it yields is handed to every test that takes an argument.
Never decides what is right: tests do, by `assert` or the checks below.
"""

import contextlib
import ctypes
import inspect
import signal
import time
import traceback

PR_SET_PDEATHSIG = 1


class Skip(Exception):
    """Raised by a test or a world that cannot run here; the text says why."""


def die_with_parent(sent=signal.SIGTERM):
    """Asks the kernel to send this process a signal when what started it is gone. Does nothing where that is unknown."""
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(sent))
    except (OSError, AttributeError):
        pass


def run(module, options):
    """Runs the module's tests; the exit code."""
    signal.signal(signal.SIGTERM, _stop)
    tests = [(name, test) for name, test in vars(module).items() if name.startswith("test_") and callable(test)]
    tests = [(name, test) for name, test in tests if not options.tests or any(part in name for part in options.tests)]
    passed = failed = skipped = 0
    try:
        with _world(module, options) as world:
            for name, test in tests:
                result = _one(module.__name__, name, test, world)
                passed += result is True
                failed += result is False
                skipped += result is None
    except Skip as reason:
        print("SKIP %s: %s" % (module.__name__, reason))
        skipped += 1
    except Exception:
        print("FAIL %s: the suite could not be set up or taken down\n%s" % (module.__name__, traceback.format_exc()))
        failed += 1
    print("%d passed, %d failed" % (passed, failed))
    return 0 if not failed and passed + skipped else 1


def _one(suite, name, test, world):
    begun = time.monotonic()
    try:
        if inspect.signature(test).parameters:
            test(world)
        else:
            test()
    except Skip as reason:
        print("SKIP %s.%s: %s" % (suite, name, reason))
        return None
    except Exception as error:
        print("FAIL %s: %s: %s\n%s" % (name, type(error).__name__, error, traceback.format_exc()))
        return False
    print("ok   %s  %.2f s" % (name, time.monotonic() - begun))
    return True


def _world(module, options):
    make = getattr(module, "world", None)
    return make(options) if make else contextlib.nullcontext(options)


def _stop(*_):
    raise SystemExit("stopped")


def same(got, wanted, about=""):
    """Fails unless both are equal, showing both."""
    if got != wanted:
        raise AssertionError("%sexpected\n  %r\ngot\n  %r" % (about and about + ": ", wanted, got))


def until(condition, seconds, about, every=0.01):
    """Waits until the condition gives something true and returns it; fails after so many seconds."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("not within %s s: %s" % (seconds, about() if callable(about) else about))
        time.sleep(every)


def raises(kind, call, *arguments, **named):
    """Fails unless the call raises exactly this class; returns what was raised."""
    try:
        call(*arguments, **named)
    except Exception as error:
        if type(error) is kind:
            return error
        raise AssertionError("expected %s, got %s: %s" % (kind.__name__, type(error).__name__, error)) from error
    raise AssertionError("expected %s, but nothing was raised" % kind.__name__)
