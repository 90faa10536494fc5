"""The contract's 64 routes in matching order: how each is asked, what its answer looks like, who may ask, and in what it differs.

This is the one place that says so: `routes` asks each of them of the real binary, and writes the README's table from what it saw. Never
decides where a service listens or what is done about an answer that is wrong.
"""

import collections
import datetime
import json
import re

import wire
from runner import same
from wire import E409C

Route = collections.namedtuple("Route", "name method path roles differs ask")
ROUTES = []

SA, PA, PUB, CON, PW, MV = "service_admin", "project_admin", "publisher", "consumer", "push_worker", "metrics_viewer"
# Asked without a role: by anybody, or by any user.
ANYBODY, ANY_USER = "anybody", "any user"

UUID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
SECONDS = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
HEX64 = re.compile(r"^[0-9a-f]{64}$")

USER = "uuid projects? name first_name? last_name? organization? description? token? email service_roles created_on modified_on created_by?"
REGISTRATION = ("uuid name first_name last_name organization description email status decline_comment? activation_token? registered_at "
                "modified_by? modified_at?")
SUBSCRIPTION = "name topic pushConfig ackDeadlineSeconds ackMode? pushStatus? createdOn"
PUSH = ("type pushEndpoint maxMessages authorizationHeader retryPolicy verificationHash verified mattermostUrl mattermostUsername "
        "mattermostChannel base64Decode")
METRIC = "metric metric_type value_type resource_type resource_name timeseries description"
USAGE = "projects_metrics total_users_count total_topics_count total_subscriptions_count"
SCHEMA = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}


def route(name, line, roles, differs=""):
    """Takes a function as the one that asks this route; the contract's order is the order in this file."""
    method, path = line.split(" ")
    roles = roles if isinstance(roles, str) else tuple(roles)

    def take(ask):
        ROUTES.append(Route(name, method, path, roles, differs, ask))
        return ask
    return take


def keys(thing, wanted):
    """Fails unless an object's fields are these, in this order; those with a question mark may be left out."""
    wanted = wanted.split(" ")
    got = list(thing)
    there = [name.rstrip("?") for name in wanted if not name.endswith("?") or name[:-1] in got]
    same(got, there)
    return thing


def shown(answer, indent=3):
    """The JSON of a 200 answer of the one type, laid out with this indentation."""
    same((answer.status, answer.headers["content-type"]), (200, wire.JSON_TYPE), answer.body[:300])
    value = answer.json()
    compact = {"separators": (",", ":")} if indent is None else {"indent": indent}
    laid = json.dumps(value, ensure_ascii=False, **compact)
    for sign, escaped in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
        laid = laid.replace(sign, escaped)
    same(answer.body.decode("utf-8"), laid)
    return value


def empty(answer):
    same((answer.status, answer.body), (200, b""))


def braces(answer):
    same((answer.status, answer.body), (200, b"{}"))


def user(answer):
    made = keys(shown(answer), USER)
    assert UUID.match(made["uuid"]) and SECONDS.match(made["created_on"]) and HEX64.match(made["token"]), made
    for entry in made.get("projects", []):
        keys(entry, "project roles topics subscriptions")
    return made


def page(answer, field, wanted):
    got = keys(shown(answer), field + " nextPageToken totalSize")
    assert got["totalSize"] >= len(got[field]) > 0, got
    return [keys(one, wanted) for one in got[field]]


def metrics(answer, *names):
    got = keys(shown(answer), "metrics")["metrics"]
    for one in got:
        keys(one, METRIC)
        for point in one["timeseries"]:
            keys(point, "timestamp value")
    same([one["metric"] for one in got], list(names))
    return got


def usage(value):
    keys(value, USAGE)
    for one in keys(value["projects_metrics"], "projects total_message_count average_daily_messages")["projects"]:
        keys(one, "project message_count average_daily_messages topics_count subscriptions_count users_count")
    return {one["project"]: one["message_count"] for one in value["projects_metrics"]["projects"]}


# Service, users.


@route("ams:metrics", "GET /metrics", [SA, MV, PA], "the node that answers shows itself, one entry of each kind")
def service_metrics(world):
    for one in metrics(world.get("/v1/metrics"), "ams_node.cpu_usage", "ams_node.memory_usage"):
        assert 0 <= one["timeseries"][0]["value"] < 100 * 64, one


@route("ams:healthStatus", "GET /status", ANYBODY, "`details=True` counts as `true`")
def status(world):
    keys(shown(world.as_user(None).get("/v1/status"), 1), "status push_functionality? push_servers?")
    keys(shown(world.as_user(world.token_of("admin_viewer")).get("/v1/status?details=true"), 1), "status push_functionality? push_servers?")
    wire.refused(world.as_user(world.token_of(MV)).get("/v1/status?details=true"), wire.E401)
    wire.refused(world.as_user(None).get("/v1/status?details=true"), wire.E403)


@route("ams:vaMetrics", "GET /metrics/va_metrics", [SA, MV, PA], "`users_count` counts the members made in the period")
def va_metrics(world):
    today = datetime.datetime.utcnow().strftime("%Y-%m-%d")
    counts = usage(shown(world.get("/v1/metrics/va_metrics?projects=R&start_date=2020-01-01&end_date=" + today), 1))
    assert counts.get("R", 0) >= 3, counts


@route("users:byToken", "GET /users:byToken/{token}", [SA, PW])
def user_by_token(world):
    same(user(world.get("/v1/users:byToken/" + world.token_of(PW)))["name"], PW)


@route("users:byUUID", "GET /users:byUUID/{uuid}", [SA, "argo_api_authn"])
def user_by_uuid(world):
    made = user(world.get("/v1/users/" + PW))
    same(user(world.get("/v1/users:byUUID/" + made["uuid"])), made)


@route("users:list", "GET /users", [SA, PA], "role lists are never `null`; `nextPageToken` is taken for `pageToken`")
def users(world):
    page(world.get("/v1/users?details=true&pageSize=2"), "users", USER)


@route("users:profile", "GET /users/profile", ANY_USER, "role lists are never `null`")
def profile(world):
    same(user(world.as_user(world.token_of(CON)).get("/v1/users/profile"))["name"], CON)


@route("users:usageReport", "GET /users/usageReport", ANY_USER, "`users_count` counts the members made in the period")
def usage_report(world):
    report = keys(shown(world.as_user(world.token_of(PA)).get("/v1/users/usageReport")), "va_metrics operational_metrics")
    assert "R" in usage(report["va_metrics"]), report
    same([one["metric"] for one in report["operational_metrics"]["metrics"]], ["ams_node.cpu_usage", "ams_node.memory_usage"])
    nobody = shown(world.as_user(world.token_of(CON)).get("/v1/users/usageReport"))
    same((usage(nobody["va_metrics"]), nobody["operational_metrics"]), ({}, {"metrics": []}))


@route("users:show", "GET /users/{user}", [SA])
def show_user(world):
    same(user(world.get("/v1/users/" + PUB))["projects"][0]["roles"], [PUB])


@route("users:refreshToken", "POST /users/{user}:refreshToken", [SA], "an unknown user is 404")
def refresh_token(world):
    made = world.user("refreshed")
    fresh = user(world.post("/v1/users/refreshed:refreshToken"))
    assert fresh["token"] != made["token"] and fresh["uuid"] == made["uuid"], fresh
    wire.refused(world.post("/v1/users/nobody:refreshToken"), wire.E404("User"))


@route("users:create", "POST /users/{user}", [SA])
def create_user(world):
    made = user(world.post("/v1/users/made", {"email": "m@e.org", "projects": [{"project": "R", "roles": [CON]}]}))
    same((made["email"], made["service_roles"]), ("m@e.org", []))


@route("users:update", "PUT /users/{user}", [SA], "an unknown user is 404; a new name must keep the name rule")
def update_user(world):
    world.user("changed")
    same(user(world.put("/v1/users/changed", {"description": "d", "service_roles": [MV]}))["service_roles"], [MV])
    wire.refused(world.put("/v1/users/nobody", {}), wire.E404("User"))


@route("users:delete", "DELETE /users/{user}", [SA], "an unknown user is 404")
def delete_user(world):
    world.user("removed")
    empty(world.delete("/v1/users/removed"))
    wire.refused(world.delete("/v1/users/removed"), wire.E404("User"))


# Registrations.


@route("registrations:newUser", "POST /registrations", [SA, "register_admin"], "without a name it is refused; the name must keep the name rule")
def register(world):
    made = keys(shown(world.post("/v1/registrations", {"name": "wisher", "email": "w@e.org"})), REGISTRATION)
    assert made["status"] == "pending" and HEX64.match(made["activation_token"]), made


@route("registrations:acceptNewUser", "POST /registrations/{uuid}:accept", [SA])
def accept_registration(world):
    path = world.registration("accepted-one")
    same(user(world.post(path + ":accept"))["name"], "accepted-one")
    same(keys(shown(world.get(path)), REGISTRATION)["status"], "accepted")


@route("registrations:declineNewUser", "POST /registrations/{uuid}:decline", [SA])
def decline_registration(world):
    path = world.registration("declined-one")
    braces(world.post(path + ":decline", {"comment": "no"}))
    same(keys(shown(world.get(path)), REGISTRATION)["decline_comment"], "no")


@route("registrations:delete", "DELETE /registrations/{uuid}", [SA], "open to `service_admin` by default")
def delete_registration(world):
    path = world.registration("removed-one")
    empty(world.delete(path))
    wire.refused(world.get(path), wire.E404("User registration"))


@route("registrations:show", "GET /registrations/{uuid}", [SA])
def show_registration(world):
    same(keys(shown(world.get(world.registration("seen"))), REGISTRATION)["name"], "seen")


@route("registrations:list", "GET /registrations", [SA])
def registrations(world):
    world.registration("listed")
    found = keys(shown(world.get("/v1/registrations?status=pending&name=listed")), "user_registrations")["user_registrations"]
    same([keys(one, REGISTRATION)["name"] for one in found], ["listed"])


# Projects and members.

PROJECT = "name created_on modified_on created_by? description?"


@route("projects:list", "GET /projects", [SA])
def projects(world):
    assert "R" in [keys(one, PROJECT)["name"] for one in shown(world.get("/v1/projects"))["projects"]]


@route("projects:metrics", "GET /projects/{project}:metrics", [SA, PA])
def project_metrics(world):
    metrics(world.get("/v1/projects/R:metrics"), "project.number_of_topics", "project.number_of_subscriptions",
            "project.user.number_of_topics", "project.user.number_of_subscriptions", "project.number_of_daily_messages")


@route("projects:addUser", "POST /projects/{project}/members/{user}:add", [SA, PA])
def add_member(world):
    world.user("joins")
    same(user(world.post("/v1/projects/R/members/joins:add", {"roles": [PUB]}))["projects"][0]["roles"], [PUB])


@route("projects:removeUser", "POST /projects/{project}/members/{user}:remove", [SA, PA])
def remove_member(world):
    world.user("leaves", projects=[{"project": "R", "roles": [CON]}])
    braces(world.post("/v1/projects/R/members/leaves:remove"))


@route("projects:showUser", "GET /projects/{project}/members/{user}", [SA, PA])
def show_member(world):
    seen = user(world.get("/v1/projects/R/members/" + PUB))
    same((seen["projects"][0]["topics"], seen["projects"][0]["subscriptions"]), (["t"], []))


@route("projects:createUser", "POST /projects/{project}/members/{user}", [SA, PA])
def create_member(world):
    user(world.post("/v1/projects/R/members/newcomer", {"projects": [{"project": "R", "roles": [PUB]}]}))


@route("projects:updateUser", "PUT /projects/{project}/members/{user}", [SA, PA])
def update_member(world):
    world.user("moves", projects=[{"project": "R", "roles": [CON]}])
    changed = user(world.put("/v1/projects/R/members/moves", {"projects": [{"project": "R", "roles": [PUB]}]}))
    same(changed["projects"][0]["roles"], [PUB])


@route("projects:listUsers", "GET /projects/{project}/members", [SA, PA])
def members(world):
    page(world.get("/v1/projects/R/members?details=true"), "users", USER)


@route("projects:show", "GET /projects/{project}", [SA, PA])
def show_project(world):
    same(keys(shown(world.get("/v1/projects/R")), PROJECT)["description"], "every route")


@route("projects:create", "POST /projects/{project}", [SA])
def create_project(world):
    keys(shown(world.post("/v1/projects/NEW", {"description": "x"})), PROJECT)


@route("projects:update", "PUT /projects/{project}", [SA, PA], "a new name must keep the name rule")
def update_project(world):
    world.project_named("OLD")
    same(keys(shown(world.put("/v1/projects/OLD", {"name": "RENAMED"})), PROJECT)["name"], "RENAMED")


@route("projects:delete", "DELETE /projects/{project}", [SA, PA], "removes memberships and schemas too")
def delete_project(world):
    world.project_named("GOING")
    empty(world.delete("/v1/projects/GOING"))


# Subscriptions.


def subscription(answer):
    made = keys(shown(answer), SUBSCRIPTION)
    keys(made["pushConfig"], PUSH)
    return made


S = "/v1/projects/R/subscriptions/"
T = "/v1/projects/R/topics/"


@route("subscriptions:list", "GET /projects/{project}/subscriptions", [SA, PA, CON])
def subscriptions(world):
    page(world.get("/v1/projects/R/subscriptions"), "subscriptions", SUBSCRIPTION)


@route("subscriptions:listByTopic", "GET /projects/{project}/topics/{topic}/subscriptions", [SA, PA])
def subscriptions_of_topic(world):
    world.topic_with("of-topic", "of-one", "of-two")
    wanted = {"subscriptions": ["/projects/R/subscriptions/of-one", "/projects/R/subscriptions/of-two"]}
    same(shown(world.get(T + "of-topic/subscriptions"), None), wanted)


@route("subscriptions:offsets", "GET /projects/{project}/subscriptions/{subscription}:offsets", [SA, PA, CON])
def offsets(world):
    world.topic_with("offsets", "offsets", messages=3)
    same(keys(shown(world.get(S + "offsets:offsets")), "max min current"), {"max": 3, "min": 0, "current": 0})


@route("subscriptions:timeToOffset", "GET /projects/{project}/subscriptions/{subscription}:timeToOffset", [SA, PA, CON], "a blank may stand for the `T`")
def time_to_offset(world):
    world.topic_with("times", "times", messages=1)
    same(shown(world.get(S + "times:timeToOffset?time=2020-01-01T00:00:00.000Z"), None), {"offset": 0})


@route("subscriptions:acl", "GET /projects/{project}/subscriptions/{subscription}:acl", [SA, PA])
def subscription_acl(world):
    same(shown(world.get(S + "s:acl")), {"authorized_users": [CON]})


@route("subscriptions:metrics", "GET /projects/{project}/subscriptions/{subscription}:metrics", [SA, PA, CON],
       "a pull that finds nothing and ends no window leaves the rate as it was")
def subscription_metrics(world):
    world.topic_with("metered", "metered", messages=2)
    world.post(S + "metered:pull", {"maxMessages": "2"}).ok()
    got = metrics(world.get(S + "metered:metrics"), "subscription.number_of_messages", "subscription.number_of_bytes",
                  "subscription.consumption_rate")
    same([one["timeseries"][0]["value"] for one in got], [2, 8, 2])


@route("subscriptions:show", "GET /projects/{project}/subscriptions/{subscription}", [SA, PA, CON, PW])
def show_subscription(world):
    same(subscription(world.get(S + "s"))["topic"], "/projects/R/topics/t")


@route("subscriptions:create", "PUT /projects/{project}/subscriptions/{subscription}", [SA, PA],
       "`ackMode` (extension); negative deadlines are refused; a topic of another project is 404")
def create_subscription(world):
    made = subscription(world.put(S + "made", {"topic": "projects/R/topics/t", "ackDeadlineSeconds": 30}))
    same((made["ackDeadlineSeconds"], made["pushConfig"]["pushEndpoint"]), (30, ""))
    individual = subscription(world.put(S + "leased", {"topic": "projects/R/topics/t", "ackMode": "individual"}))
    same(individual["ackMode"], "individual")


@route("subscriptions:delete", "DELETE /projects/{project}/subscriptions/{subscription}", [SA, PA])
def delete_subscription(world):
    world.topic_with("unsubscribed", "going")
    empty(world.delete(S + "going"))


@route("subscriptions:pull", "POST /projects/{project}/subscriptions/{subscription}:pull", [SA, PA, CON, PW],
       "numbers and booleans are taken too; all that is there comes at once; a waiting pull blocks nobody and ends with its client "
       "(HTTP/1.1; on HTTP/2 with its connection); at most 32 MiB an answer")
def pull(world):
    world.topic_with("pulled", "pulled", messages=2)
    got = keys(shown(world.post(S + "pulled:pull", {"maxMessages": "9", "returnImmediately": "true"})), "receivedMessages")["receivedMessages"]
    same([keys(one, "ackId message")["ackId"] for one in got], ["projects/R/subscriptions/pulled:%d" % at for at in range(2)])
    keys(got[0]["message"], "messageId attributes? data publishTime")


@route("subscriptions:acknowledge", "POST /projects/{project}/subscriptions/{subscription}:acknowledge", [SA, PA, CON, PW],
       "with `ackMode: individual` an ack id is `…:{offset}.{fence}`")
def acknowledge(world):
    world.topic_with("acked", "acked", messages=1)
    world.post(S + "acked:pull", {}).ok()
    braces(world.post(S + "acked:acknowledge", {"ackIds": ["projects/R/subscriptions/acked:0"]}))


@route("subscriptions:verifyPushEndpoint", "POST /projects/{project}/subscriptions/{subscription}:verifyPushEndpoint", [SA, PA],
       "times out; follows no redirect; addresses are guarded")
def verify_push_endpoint(world):
    wire.refused(world.post(S + "s:verifyPushEndpoint"), E409C("Push functionality is currently disabled"))


@route("subscriptions:modifyAckDeadline", "POST /projects/{project}/subscriptions/{subscription}:modifyAckDeadline", [SA, PA, CON],
       "with `ackMode: individual` and `ackIds`: extends these leases, 0 releases")
def modify_ack_deadline(world):
    world.topic_with("deadline", "deadline")
    empty(world.post(S + "deadline:modifyAckDeadline", {"ackDeadlineSeconds": 44}))
    same(subscription(world.get(S + "deadline"))["ackDeadlineSeconds"], 44)


@route("subscriptions:modifyPushConfig", "POST /projects/{project}/subscriptions/{subscription}:modifyPushConfig", [SA, PA],
       "an endpoint without `type` is an `http_endpoint`; `base64Decode` is kept")
def modify_push_config(world):
    empty(world.post(S + "s:modifyPushConfig", {"pushConfig": {}}))
    push = {"type": "http_endpoint", "pushEndpoint": "https://receiver.example.org/here"}
    wire.refused(world.post(S + "s:modifyPushConfig", {"pushConfig": push}), E409C("Push functionality is currently disabled"))
    wire.refused(world.post(S + "s:modifyPushConfig", "{"), wire.E400G("Subscription"))


@route("subscriptions:modifyOffset", "POST /projects/{project}/subscriptions/{subscription}:modifyOffset", [SA, PA, CON], "out of bounds changes nothing")
def modify_offset(world):
    world.topic_with("moved", "moved", messages=2)
    empty(world.post(S + "moved:modifyOffset", {"offset": 2}))
    wire.refused(world.post(S + "moved:modifyOffset", {"offset": 3}), wire.E400A("Offset out of bounds"))
    same(world.get(S + "moved:offsets").ok()["current"], 2)


@route("subscriptions:modifyAcl", "POST /projects/{project}/subscriptions/{subscription}:modifyAcl", [SA, PA], "an unknown subscription is 404")
def modify_subscription_acl(world):
    world.topic_with("listed", "listed")
    empty(world.post(S + "listed:modifyAcl", {"authorized_users": [CON]}))
    wire.refused(world.post(S + "nothing:modifyAcl", {"authorized_users": []}), wire.E404("Subscription"))


# Topics.

TOPIC = "name schema? created_on"


@route("topics:list", "GET /projects/{project}/topics", [SA, PA, PUB])
def topics(world):
    page(world.get("/v1/projects/R/topics?pageSize=1"), "topics", TOPIC)


@route("topics:acl", "GET /projects/{project}/topics/{topic}:acl", [SA, PA])
def topic_acl(world):
    same(shown(world.get(T + "t:acl")), {"authorized_users": [PUB]})


@route("topics:metrics", "GET /projects/{project}/topics/{topic}:metrics", [SA, PA, PUB],
       "an empty publish leaves the rate and the days as they were; publishes stored as one count as one; a topic made again begins its days anew")
def topic_metrics(world):
    world.topic_with("counted", "counted", messages=2)
    got = metrics(world.get(T + "counted:metrics"), "topic.number_of_subscriptions", "topic.number_of_messages", "topic.number_of_bytes",
                  "topic.number_of_daily_messages", "topic.publishing_rate")
    same([one["timeseries"][0]["value"] for one in got], [1, 2, 8, 2, 2])


@route("topics:show", "GET /projects/{project}/topics/{topic}", [SA, PA, PUB])
def show_topic(world):
    same(keys(shown(world.get(T + "t")), TOPIC)["name"], "/projects/R/topics/t")


@route("topics:create", "PUT /projects/{project}/topics/{topic}", [SA, PA], "a topic made again starts its subscriptions at its beginning")
def create_topic(world):
    keys(shown(world.put(T + "made")), TOPIC)


@route("topics:delete", "DELETE /projects/{project}/topics/{topic}", [SA, PA])
def delete_topic(world):
    world.topic_with("gone")
    empty(world.delete(T + "gone"))


@route("topics:publish", "POST /projects/{project}/topics/{topic}:publish", [SA, PA, PUB],
       "real offsets as ids; all messages or none; over the size limit is 413; attributes keep every character")
def publish(world):
    world.topic_with("published")
    body = {"messages": [{"data": "YQ==", "attributes": {"a\"b": "c\\d\n<é>"}}, {}]}
    same(shown(world.post(T + "published:publish", body)), {"messageIds": ["0", "1"]})


@route("topics:modifyAcl", "POST /projects/{project}/topics/{topic}:modifyAcl", [SA, PA], "an unknown topic is 404")
def modify_topic_acl(world):
    world.topic_with("listed-topic")
    empty(world.post(T + "listed-topic:modifyAcl", {"authorized_users": [PUB]}))
    wire.refused(world.post(T + "nothing:modifyAcl", {"authorized_users": []}), wire.E404("Topic"))


@route("topics:attachSchema", "POST /projects/{project}/topics/{topic}:attachSchema", [SA, PA])
def attach_schema(world):
    world.schema("attached")
    world.topic_with("described")
    empty(world.post(T + "described:attachSchema", {"schema": "projects/R/schemas/attached"}))
    same(keys(shown(world.get(T + "described")), TOPIC)["schema"], "projects/R/schemas/attached")


@route("topics:detachSchema", "POST /projects/{project}/topics/{topic}:detachSchema", [SA, PA])
def detach_schema(world):
    world.schema("detached")
    world.put(T + "undescribed", {"schema": "projects/R/schemas/detached"}).ok()
    empty(world.post(T + "undescribed:detachSchema"))
    assert "schema" not in world.get(T + "undescribed").ok()


# Schemas, version.

SCHEMAS = "/v1/projects/R/schemas"


def schema(answer):
    made = keys(shown(answer, 1), "uuid name type schema attributes?")
    assert UUID.match(made["uuid"]), made
    return made


@route("schemas:validateMessage", "POST /projects/{project}/schemas/{schema}:validate", [SA, PA])
def validate(world):
    world.schema("judge")
    same(shown(world.post(SCHEMAS + "/judge:validate", {"name": "x"}), 1), {"message": "Message validated successfully"})
    wire.refused(world.post(SCHEMAS + "/judge:validate", {}), wire.E400A("Message 0 data is not valid,(root): name is required"))


@route("schemas:create", "POST /projects/{project}/schemas/{schema}", [SA, PA], "references out of the document are refused; an Avro schema must be given")
def create_schema(world):
    made = schema(world.post(SCHEMAS + "/made", {"type": "JSON", "schema": SCHEMA}))
    same((made["name"], made["type"], made["schema"]), ("projects/R/schemas/made", "json", SCHEMA))


@route("schemas:show", "GET /projects/{project}/schemas/{schema}", [SA, PA])
def show_schema(world):
    world.schema("shown")
    same(schema(world.get(SCHEMAS + "/shown"))["schema"], SCHEMA)


@route("schemas:list", "GET /projects/{project}/schemas", [SA, PA])
def schemas(world):
    world.schema("listed")
    assert "projects/R/schemas/listed" in [one["name"] for one in keys(shown(world.get(SCHEMAS), 1), "schemas")["schemas"]]


@route("schemas:update", "PUT /projects/{project}/schemas/{schema}", [SA, PA], "a new name must keep the name rule")
def update_schema(world):
    world.schema("before")
    same(schema(world.put(SCHEMAS + "/before", {"name": "projects/R/schemas/after"}))["name"], "projects/R/schemas/after")


@route("schemas:delete", "DELETE /projects/{project}/schemas/{schema}", [SA, PA])
def delete_schema(world):
    world.schema("removed")
    empty(world.delete(SCHEMAS + "/removed"))
    wire.refused(world.get(SCHEMAS + "/removed"), wire.E404("Schema"))


@route("version:list", "GET /version", ANYBODY, "`golang` is `n/a`, `compiler` is `rustc`; `build_time` is the build's `SOURCE_DATE_EPOCH`")
def version(world):
    keys(shown(world.as_user(None).get("/v1/version"), 1), "build_time golang compiler os architecture distro? hostname?")
    assert "release" in shown(world.as_user(world.token_of("admin_viewer")).get("/v1/version"), 1)
