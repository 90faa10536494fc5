"""The suites' own parts, without a server: generated records are what sites send, and the checkers do find every breach."""

import history
import records
import runner
import wire


def test_records_add_up_and_can_be_repeated():
    made = list(records.messages(7, 3000))
    found = [one for text in made for one in records.ids(text)]
    runner.same(len(found), 3000)
    runner.same(len(set(found)), 3000)
    runner.same(made, list(records.messages(7, 3000)))
    assert made != list(records.messages(8, 3000)), "the seed changes nothing"


def test_records_have_all_sizes_both_kinds_and_names_beyond_ascii():
    made = list(records.messages(1, 20000))
    sizes = [len(records.ids(text)) for text in made]
    runner.same((min(sizes), max(sizes)), (1, records.RECORDS_MAX))
    runner.same({text.split("\n")[0] for text in made}, {records.CLOUD, records.JOB})
    assert any("山田太郎" in text for text in made) and any("Γεώργιος" in text for text in made)
    assert all(text.endswith("\n%%\n") for text in made)


def test_a_text_that_is_no_message_is_refused():
    runner.raises(AssertionError, records.ids, "hello\nworld")


def published(*payloads):
    sent = history.Published()
    sent.sending(payloads)
    sent.done(list(range(len(payloads))), payloads)
    return sent


def consumer(*payloads, start=0):
    seen = history.Cumulative("s")
    seen.sought(start)
    seen.pulled([(start + at, data, "t%d" % (start + at)) for at, data in enumerate(payloads)])
    return seen


def test_a_complete_delivery_passes():
    history.check_delivery(published(b"a", b"b"), consumer(b"a", b"b"), 2)


def test_a_lost_message_is_found():
    error = runner.raises(AssertionError, history.check_delivery, published(b"a", b"b"), consumer(b"a"), 2)
    assert "never delivered: offsets [1]" in str(error), error
    error = runner.raises(AssertionError, history.check_delivery, published(b"a", b"b"), consumer(b"a"), 1)
    assert "lost" in str(error), error


def test_a_damaged_message_is_found():
    runner.raises(AssertionError, history.check_delivery, published(b"a", b"b"), consumer(b"a", b"c"), 2)
    foreign = history.Published()
    runner.raises(AssertionError, history.check_delivery, foreign, consumer(b"a"), 1)


def test_messages_in_another_order_are_found():
    runner.raises(AssertionError, history.check_delivery, published(b"a", b"b"), consumer(b"b", b"a"), 2)
    seen = history.Cumulative("s")
    runner.raises(AssertionError, seen.pulled, [(0, b"a", "t"), (2, b"b", "t")])
    runner.raises(AssertionError, seen.pulled, [(1, b"a", "t")])


def test_an_id_given_twice_and_a_torn_request_are_found():
    sent = published(b"a")
    runner.raises(AssertionError, sent.done, [0], [b"b"])
    runner.raises(AssertionError, sent.done, [5, 7], [b"c", b"d"])
    runner.raises(AssertionError, sent.done, [8], [b"c", b"d"])


def test_a_message_that_is_there_more_often_than_it_was_sent_is_found():
    sent = published(b"a")
    error = runner.raises(AssertionError, history.check_delivery, sent, consumer(b"a", b"a"), 2)
    assert "sent 1 times is there 2 times" in str(error), error
    sent.sending([b"a"])
    history.check_delivery(sent, consumer(b"a", b"a"), 2)


def test_a_delivery_after_a_durable_acknowledgement_is_found():
    seen = consumer(b"a", b"b")
    seen.acknowledging(1)
    seen.pulled([(0, b"a", "t0")])
    seen.acknowledged(1)
    runner.raises(AssertionError, seen.pulled, [(1, b"b", "t1")])


def test_bytes_that_change_between_deliveries_are_found():
    runner.raises(AssertionError, consumer(b"a").pulled, [(0, b"z", "t0")])


def test_a_lease_that_two_hold_is_found():
    leases = history.Leases()
    leases.granted(0, b"a", "one", asked=1.0, got=1.1, seconds=5)
    leases.granted(0, b"a", "two", asked=5.8, got=5.9, seconds=5)
    assert leases.broken, "overlapping leases passed"


def test_leases_that_follow_each_other_pass():
    leases = history.Leases()
    leases.granted(0, b"a", "one", asked=1.0, got=1.1, seconds=5)
    leases.granted(0, b"a", "two", asked=6.0, got=6.1, seconds=5)
    leases.giving_up([0], "two")
    leases.granted(0, b"a", "one", asked=6.2, got=6.3, seconds=5)
    leases.acknowledged([0], 6.4)
    leases.check(published(b"a"), 1)
    leases.granted(0, b"a", "two", asked=6.5, got=6.6, seconds=5)
    runner.raises(AssertionError, leases.check, published(b"a"), 1)


def test_a_seek_ends_leases_and_brings_back_only_what_follows():
    leases = history.Leases()
    for offset in (0, 1):
        leases.granted(offset, b"a", "one", asked=1.0, got=1.1, seconds=5)
        leases.acknowledged([offset], 1.2)
    leases.sought(1)
    leases.granted(1, b"a", "two", asked=1.3, got=1.4, seconds=5)
    assert not leases.broken, leases.broken
    leases.granted(0, b"a", "two", asked=1.3, got=1.4, seconds=5)
    assert leases.broken, "what lies before a seek came again"


def test_giving_up_a_lease_that_is_anothers_by_now_ends_nothing():
    leases = history.Leases()
    leases.granted(0, b"a", "one", asked=1.0, got=1.1, seconds=2)
    leases.granted(0, b"a", "two", asked=4.0, got=4.1, seconds=2)
    leases.giving_up([0], "one")
    leases.granted(0, b"a", "one", asked=5.0, got=5.1, seconds=2)
    assert leases.broken, "a late acknowledgement ended another consumer's lease"


def test_an_extended_lease_lasts_longer():
    leases = history.Leases()
    leases.granted(0, b"a", "one", asked=1.0, got=1.1, seconds=2)
    leases.extended([0], "one", asked=2.0, seconds=9)
    leases.granted(0, b"a", "two", asked=9.0, got=9.1, seconds=2)
    assert leases.broken, "a lease was given away although it was extended"


def test_a_message_that_nobody_acknowledged_is_found():
    runner.raises(AssertionError, history.Leases().check, published(b"a"), 1)


def test_the_error_envelope_is_the_contracts_to_the_byte():
    wanted = b'{\n   "error": {\n      "code": 404,\n      "message": "Topic doesn\'t exist",\n      "status": "NOT_FOUND"\n   }\n}'
    runner.same(wire.E404("Topic"), (404, wanted))
