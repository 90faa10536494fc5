"""The unmodified client library behind a balancer that answers 5xx and drops connections: what it retries, how often, and what comes of it."""

import contextlib

from argo_ams_library import (AmsBalancerException, AmsConnectionException, AmsException, AmsMessage, AmsServiceException, AmsTimeoutException,
                              ArgoMessagingService)

import balancer as balancers
import scene
import server as servers
from balancer import DROP, DROP_ANSWER
from runner import raises, same

QUICKLY = {"retrysleep": 0.01}


class World(scene.Projects):
    """A server behind a balancer, and fresh projects asked through it."""

    def __init__(self, server, balancer):
        super().__init__(server, "retries")
        self.balancer = balancer

    def with_messages(self, *messages):
        """The library behind the balancer, on a project with topic `t`, subscription `s` and these messages."""
        direct = self.project(["t"], [("s", "t")])
        if messages:
            direct.publish("t", [AmsMessage(data=text) for text in messages])
        return ArgoMessagingService(endpoint=self.balancer.endpoint(), project=direct.project, token=servers.SERVICE_TOKEN)

    def left(self, ams):
        """All that the subscription still holds."""
        direct = scene.service(self.server, ams.project)
        return [message.get_data() for _, message in direct.pull_sub("s", 100, return_immediately=True)]


@contextlib.contextmanager
def world(_options):
    with servers.running("retries") as server:
        balancer = balancers.Balancer(server)
        try:
            yield World(server, balancer)
        finally:
            balancer.close()


def calls(ams):
    """Publish, pull and acknowledge: the three that the library retries."""
    ack_id = "projects/%s/subscriptions/s:0" % ams.project
    return [lambda **more: ams.publish("t", AmsMessage(data="x"), **more),
            lambda **more: ams.pull_sub("s", 1, return_immediately=True, **more),
            lambda **more: ams.ack_sub("s", [ack_id], **more)]


def test_the_balancer_forwards_what_it_does_not_fail(world):
    ams = world.with_messages("a")
    same([one.get_data() for one in ams.pullack_sub("s", 1, return_immediately=True)], [b"a"])
    same(ams.has_topic("missing"), False)


def test_without_retries_each_fault_is_the_exception_that_it_is(world):
    for fault, kind in ((500, AmsBalancerException), (502, AmsBalancerException), (503, AmsBalancerException), (504, AmsTimeoutException),
                        (408, AmsTimeoutException), (DROP, AmsConnectionException)):
        for call in calls(world.with_messages("a")):
            with world.balancer.failing(fault) as seen:
                raises(kind, call)
            same(len(seen), 1)


def test_with_retries_the_call_gets_through(world):
    for faults in ((500, 502, 503), (504, 408), (DROP, DROP, 503)):
        for call in calls(world.with_messages("a")):
            with world.balancer.failing(*faults) as seen:
                call(retry=3, **QUICKLY)
            same(len(seen), len(faults) + 1)


def test_retries_end_after_as_many_as_were_asked_for(world):
    for call in calls(world.with_messages("a")):
        with world.balancer.failing(503, 503, 503) as seen:
            raises(AmsBalancerException, call, retry=2, **QUICKLY)
        same(len(seen), 3)


def test_retries_with_backoff_get_through_and_end(world):
    for call in calls(world.with_messages("a")):
        with world.balancer.failing(503, DROP) as seen:
            call(retry=3, retrybackoff=0.01)
        same(len(seen), 3)
    ams = world.with_messages("a")
    with world.balancer.failing(503, 503, 503) as seen:
        raises(AmsBalancerException, ams.publish, "t", AmsMessage(data="x"), retry=2, retrybackoff=0.01)
    same((len(seen), world.left(ams)), (3, [b"a"]))


def test_topic_objects_retry_and_subscription_objects_do_not(world):
    """The library's subscription object takes the retry parameters and does not pass them on; asking again works."""
    ams = world.with_messages("a")
    topic, sub = ams.get_topic("t", retobj=True), ams.get_sub("s", retobj=True)
    with world.balancer.failing(503, DROP):
        topic.publish(AmsMessage(data="b"), retry=2, **QUICKLY)
    with world.balancer.failing(502):
        raises(AmsBalancerException, sub.pull, 9, return_immediately=True, retry=1, **QUICKLY)
    pulled = sub.pull(9, return_immediately=True)
    same([message.get_data() for _, message in pulled], [b"a", b"b"])
    with world.balancer.failing(DROP):
        raises(AmsConnectionException, sub.ack, [pulled[0][0]], retry=1, **QUICKLY)
    same(sub.ack([pulled[0][0]]), True)
    same([one.get_data() for one in sub.pullack(9, return_immediately=True)], [b"b"])


def test_what_is_refused_for_good_is_asked_once(world):
    ams = world.with_messages("a")
    for call in (lambda: ams.publish("missing", AmsMessage(data="x"), retry=3, **QUICKLY),
                 lambda: ams.publish("t", AmsMessage(data=b"x" * 1_400_000), retry=3, **QUICKLY),
                 lambda: ams.pull_sub("missing", 1, True, retry=3, **QUICKLY),
                 lambda: ams.ack_sub("s", ["nonsense"], retry=3, **QUICKLY),
                 lambda: ams.create_topic("t")):
        with world.balancer.failing() as seen:
            raises(AmsServiceException, call)
        same(len(seen), 1)


def test_calls_that_the_library_does_not_retry_raise_and_change_nothing(world):
    ams = world.with_messages("a")
    for fault, kind in ((503, AmsServiceException), (DROP, AmsConnectionException)):
        for call in (lambda: ams.create_topic("new"), lambda: ams.delete_topic("t"), lambda: ams.modifyoffset_sub("s", 1),
                     lambda: ams.create_project("RETRYNEW", "")):
            with world.balancer.failing(fault):
                raises(kind, call)
    same((ams.has_topic("new"), ams.has_topic("t"), world.left(ams)), (False, True, [b"a"]))


def test_a_publish_whose_answer_is_lost_is_stored_again_never_lost(world):
    ams = world.with_messages()
    with world.balancer.failing(DROP_ANSWER) as seen:
        same(ams.publish("t", [AmsMessage(data="one"), AmsMessage(data="two")], retry=1, **QUICKLY), {"messageIds": ["2", "3"]})
    same((len(seen), world.left(ams)), (2, [b"one", b"two"] * 2))


def test_a_pull_whose_answer_is_lost_gives_the_same_messages_again(world):
    ams = world.with_messages("one", "two")
    with world.balancer.failing(DROP_ANSWER):
        pulled = ams.pull_sub("s", 2, return_immediately=True, retry=1, **QUICKLY)
    same([message.get_data() for _, message in pulled], [b"one", b"two"])
    same(ams.ack_sub("s", [pulled[1][0]]), True)


def test_an_acknowledgement_whose_answer_is_lost_counts(world):
    """Asked again it is refused, as it was done; the client gives up, and nothing comes twice."""
    ams = world.with_messages("one", "two")
    (ack_id, _), = ams.pull_sub("s", 1, return_immediately=True)
    with world.balancer.failing(DROP_ANSWER) as seen:
        error = raises(AmsBalancerException, ams.ack_sub, "s", [ack_id], retry=2, **QUICKLY)
    same((len(seen), error.msg), (3, "While trying the [sub_ack]: no ack pending"))
    same(world.left(ams), [b"two"])


def test_a_consumer_loop_through_a_bad_balancer_loses_nothing(world):
    """Pull, look, acknowledge the last; on any failure pull again: every message is seen, in order, once acknowledged never again."""
    texts = ["%d" % at for at in range(60)]
    ams = world.with_messages(*texts)
    faults = [None, 503, None, DROP, DROP_ANSWER, None, None, DROP_ANSWER, 504, None, DROP_ANSWER, DROP_ANSWER, None]
    world.balancer.faults = faults * 3
    seen = []
    while len(seen) < len(texts) or ams.getoffsets_sub("s", "current") < len(texts):
        try:
            pulled = ams.pull_sub("s", 7, return_immediately=True)
            for _, message in pulled:
                at = int(message.get_msgid())
                assert at <= len(seen), "message %d came before %d" % (at, len(seen))
                if at == len(seen):
                    seen.append(message.get_data().decode())
                same(message.get_data().decode(), texts[at])
            if pulled:
                ams.ack_sub("s", [pulled[-1][0]])
        except AmsException:
            pass
    world.balancer.faults = []
    same((seen, world.left(ams)), (texts, []))
