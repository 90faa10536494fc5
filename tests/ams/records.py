"""Accounting records as sites send them: cloud usage and batch jobs, in messages of 1 to 400 records.

All from a seed, so that any run can be repeated. Never sends anything.
"""

import re
import string

CLOUD = "APEL-cloud-message: v0.4"
JOB = "APEL-individual-job-message: v0.3"
SEPARATOR = "%%"
RECORDS_MAX = 400

SITES = ["UKI-SOUTHGRID-OX-HEP", "CESGA", "GRIF-IRFU", "BEIJING-LCG2", "T2_Estonia", "INFN-CATANIA-STACK", "Univ. Płock"]
PEOPLE = ["Γεώργιος Παπαδόπουλος", "Zoë Müller", "Íñigo Ñandú", "山田太郎", "Ольга Петрова", "Robert'); DROP TABLE", "Sean O\"Brien"]
GROUPS = ["/atlas/Role=production", "/vo.access.egi.eu", "/biomed/Role=NULL/Capability=NULL", "None"]


def messages(seed, total, prefix=""):
    """Message texts that hold exactly `total` records between them, every record with an id of its own."""
    import random
    dice = random.Random(seed)
    number = 0
    while number < total:
        # Most messages are small and a few are full, as the sites' are: the size is uniform in its logarithm.
        size = min(total - number, max(1, int(RECORDS_MAX ** dice.random())))
        if dice.random() < 0.02:
            size = min(total - number, RECORDS_MAX)
        make, header = (cloud, CLOUD) if dice.random() < 0.5 else (job, JOB)
        body = [make(dice, "%s%d-%d" % (prefix, seed, number + one)) for one in range(size)]
        yield "%s\n%s\n%s\n" % (header, ("\n%s\n" % SEPARATOR).join(body), SEPARATOR)
        number += size


def cloud(dice, unique):
    start = 1_700_000_000 + dice.randrange(30_000_000)
    wall = dice.randrange(1, 400_000)
    return lines([
        ("VMUUID", "%s %s" % (unique, word(dice, 12))), ("SiteName", dice.choice(SITES)),
        ("CloudComputeService", "https://%s.example.org:8774/v2.1" % word(dice, 6)),
        ("MachineName", "one-%d" % dice.randrange(100_000)), ("LocalUserId", dice.randrange(10_000)),
        ("LocalGroupId", word(dice, 8)), ("GlobalUserName", "/DC=org/DC=example/CN=" + dice.choice(PEOPLE)),
        ("FQAN", dice.choice(GROUPS)), ("Status", dice.choice(["started", "completed", "suspended"])),
        ("StartTime", start), ("EndTime", dice.choice([start + wall, "NULL"])), ("SuspendDuration", 0),
        ("WallDuration", wall), ("CpuDuration", dice.randrange(wall + 1)), ("CpuCount", dice.choice([1, 2, 4, 16])),
        ("NetworkType", "NULL"), ("NetworkInbound", dice.randrange(10_000)), ("NetworkOutbound", dice.randrange(10_000)),
        ("PublicIPCount", dice.randrange(3)), ("Memory", dice.choice([512, 2048, 65536])), ("Disk", dice.choice([0, 20, 400])),
        ("BenchmarkType", "HEPSPEC06"), ("Benchmark", round(dice.uniform(5, 30), 2)), ("StorageRecordId", "NULL"),
        ("ImageId", "https://appdb.example.org/store/vo/image/%s/" % word(dice, 16)),
        ("CloudType", "caso/%d.%d (OpenStack)" % (dice.randrange(5), dice.randrange(10))),
    ])


def job(dice, unique):
    start = 1_700_000_000 + dice.randrange(30_000_000)
    wall = dice.randrange(1, 400_000)
    return lines([
        ("Site", dice.choice(SITES)), ("SubmitHost", "ce%02d.example.org:2811/nordugrid" % dice.randrange(30)),
        ("MachineName", "batch.example.org"), ("Queue", dice.choice(["long", "short", "grid"])), ("LocalJobId", unique),
        ("LocalUserId", word(dice, 8)), ("GlobalUserName", "/C=GR/O=HellasGrid/CN=" + dice.choice(PEOPLE)),
        ("FQAN", dice.choice(GROUPS)), ("WallDuration", wall), ("CpuDuration", dice.randrange(wall + 1)),
        ("Processors", dice.choice([1, 8])), ("NodeCount", 1), ("StartTime", start), ("EndTime", start + wall),
        ("InfrastructureDescription", "APEL-CREAM-SLURM"), ("InfrastructureType", "grid"),
        ("MemoryReal", dice.randrange(8_000_000)), ("MemoryVirtual", dice.randrange(16_000_000)),
        ("ServiceLevelType", "HEPSPEC"), ("ServiceLevel", round(dice.uniform(5, 30), 3)),
    ])


def lines(pairs):
    return "\n".join("%s: %s" % pair for pair in pairs)


def word(dice, length):
    return "".join(dice.choice(string.ascii_lowercase + string.digits) for _ in range(length))


def ids(text):
    """The ids of all records of a message; fails on a text that is no such message."""
    header, _, body = text.partition("\n")
    assert header in (CLOUD, JOB), "no accounting message: %r" % text[:80]
    key = "VMUUID" if header == CLOUD else "LocalJobId"
    parts = [part for part in re.split("^%s$" % SEPARATOR, body, flags=re.MULTILINE) if part.strip()]
    found = []
    for part in parts:
        fields = dict(line.split(": ", 1) for line in part.strip().splitlines())
        found.append(fields[key].split(" ")[0])
    return found
