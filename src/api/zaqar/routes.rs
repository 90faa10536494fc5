//! The route table: every path with its methods, and what a path's segments mean.

use super::collection::Collection;
use percent_encoding::percent_decode_str;

/// What a route does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Operation {
    Versions,
    Home,
    PingGet,
    PingHead,
    HealthGet,
    QueuesList,
    QueueGet,
    QueueCreate,
    QueueUpdate,
    QueueDelete,
    QueueStats,
    QueuePurge,
    QueueShare,
    MessagesList,
    MessagesPost,
    MessagesDelete,
    MessageGet,
    MessageDelete,
    ClaimCreate,
    ClaimGet,
    ClaimUpdate,
    ClaimDelete,
    SubscriptionsList,
    SubscriptionCreate,
    SubscriptionGet,
    SubscriptionUpdate,
    SubscriptionDelete,
    SubscriptionConfirm,
}

/// A method of a resource.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    /// The method.
    pub(crate) method: &'static str,
    /// What it does.
    pub(crate) operation: Operation,
    /// The policy rule that opens it; its name in metrics, too.
    pub(crate) rule: &'static str,
    /// What is said when the store fails it.
    pub(crate) trouble: &'static str,
}

/// A path with its methods, in alphabetical order.
#[derive(Debug)]
pub(crate) struct Resource {
    /// Literal segments and `{variables}`.
    path: &'static str,
    /// Whether it is there in admin mode only.
    pub(crate) admin: bool,
    routes: &'static [Route],
}

const fn route(method: &'static str, operation: Operation, rule: &'static str, trouble: &'static str) -> Route {
    Route { method, operation, rule, trouble }
}

const fn open(path: &'static str, routes: &'static [Route]) -> Resource {
    Resource { path, admin: false, routes }
}

use Operation as Op;

// What queues and topics have in common.
const MESSAGES: &[Route] = &[
    route("DELETE", Op::MessagesDelete, "messages:delete_all", "Messages could not be deleted."),
    route("GET", Op::MessagesList, "messages:get_all", "Messages could not be listed."),
    route("POST", Op::MessagesPost, "messages:create", "Messages could not be enqueued."),
];
const MESSAGE: &[Route] = &[
    route("DELETE", Op::MessageDelete, "messages:delete", "Message could not be deleted."),
    route("GET", Op::MessageGet, "messages:get", "Message could not be retrieved."),
];
const SUBSCRIPTIONS: &[Route] = &[
    route("GET", Op::SubscriptionsList, "subscription:get_all", "Subscriptions could not be listed."),
    route("POST", Op::SubscriptionCreate, "subscription:create", "Subscription could not be created."),
];
const SUBSCRIPTION: &[Route] = &[
    route("DELETE", Op::SubscriptionDelete, "subscription:delete", "Subscription could not be deleted."),
    route("GET", Op::SubscriptionGet, "subscription:get", "Subscription could not be retrieved."),
    route("PATCH", Op::SubscriptionUpdate, "subscription:update", "Subscription could not be updated."),
];
const CONFIRMATION: &[Route] =
    &[route("PUT", Op::SubscriptionConfirm, "subscription:confirm", "Subscription could not be confirmed.")];

/// The table.
const RESOURCES: &[Resource] = &[
    open("/", &[route("GET", Op::Versions, "versions", "Versions could not be listed.")]),
    open("/v2/", &[route("GET", Op::Home, "home", "The home document could not be shown.")]),
    open(
        "/v2/ping",
        &[
            route("GET", Op::PingGet, "ping:get", "The service could not be asked."),
            route("HEAD", Op::PingHead, "ping:get", "The service could not be asked."),
        ],
    ),
    Resource {
        path: "/v2/health",
        admin: true,
        routes: &[route("GET", Op::HealthGet, "health:get", "Health status could not be read.")],
    },
    open("/v2/queues", &[route("GET", Op::QueuesList, "queues:get_all", "Queues could not be listed.")]),
    open(
        "/v2/queues/{queue}",
        &[
            route("DELETE", Op::QueueDelete, "queues:delete", "Queue could not be deleted."),
            route("GET", Op::QueueGet, "queues:get", "Queue metadata could not be retrieved."),
            route("PATCH", Op::QueueUpdate, "queues:update", "Queue could not be updated."),
            route("PUT", Op::QueueCreate, "queues:create", "Queue could not be created."),
        ],
    ),
    open("/v2/queues/{queue}/stats", &[route("GET", Op::QueueStats, "queues:stats", "Queue stats could not be read.")]),
    open("/v2/queues/{queue}/purge", &[route("POST", Op::QueuePurge, "queues:purge", "Queue could not be purged.")]),
    open("/v2/queues/{queue}/share", &[route("POST", Op::QueueShare, "queues:share", "Queue could not be shared.")]),
    open("/v2/queues/{queue}/messages", MESSAGES),
    open("/v2/queues/{queue}/messages/{id}", MESSAGE),
    open(
        "/v2/queues/{queue}/claims",
        &[route("POST", Op::ClaimCreate, "claims:create", "Claim could not be created.")],
    ),
    open(
        "/v2/queues/{queue}/claims/{id}",
        &[
            route("DELETE", Op::ClaimDelete, "claims:delete", "Claim could not be deleted."),
            route("GET", Op::ClaimGet, "claims:get", "Claim could not be queried."),
            route("PATCH", Op::ClaimUpdate, "claims:update", "Claim could not be updated."),
        ],
    ),
    open("/v2/queues/{queue}/subscriptions", SUBSCRIPTIONS),
    open("/v2/queues/{queue}/subscriptions/{id}", SUBSCRIPTION),
    open("/v2/queues/{queue}/subscriptions/{id}/confirm", CONFIRMATION),
    open("/v2/topics", &[route("GET", Op::QueuesList, "topics:get_all", "Topics could not be listed.")]),
    open(
        "/v2/topics/{queue}",
        &[
            route("DELETE", Op::QueueDelete, "topics:delete", "Topic could not be deleted."),
            route("GET", Op::QueueGet, "topics:get", "Topic metadata could not be retrieved."),
            route("PATCH", Op::QueueUpdate, "topics:update", "Topic could not be updated."),
            route("PUT", Op::QueueCreate, "topics:create", "Topic could not be created."),
        ],
    ),
    open("/v2/topics/{queue}/stats", &[route("GET", Op::QueueStats, "topics:stats", "Topic stats could not be read.")]),
    open("/v2/topics/{queue}/purge", &[route("POST", Op::QueuePurge, "topics:purge", "Topic could not be purged.")]),
    open("/v2/topics/{queue}/messages", MESSAGES),
    open("/v2/topics/{queue}/messages/{id}", MESSAGE),
    open("/v2/topics/{queue}/subscriptions", SUBSCRIPTIONS),
    open("/v2/topics/{queue}/subscriptions/{id}", SUBSCRIPTION),
    open("/v2/topics/{queue}/subscriptions/{id}/confirm", CONFIRMATION),
];

/// The names of all routes, in the order of [`Match::place`].
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    RESOURCES.iter().flat_map(|resource| resource.routes).map(|route| route.rule)
}

/// The route of an operation, and its place in the table.
pub(crate) fn route_of(operation: Operation) -> Option<(usize, &'static Route)> {
    RESOURCES.iter().flat_map(|resource| resource.routes).enumerate().find(|(_, route)| route.operation == operation)
}

/// A path that was found.
#[derive(Clone, Debug)]
pub(crate) struct Match {
    /// Its resource.
    pub(crate) resource: &'static Resource,
    /// The queue's name as it was given, if the path names one. Empty where it is not even text.
    pub(crate) queue: Option<String>,
    /// The id that the path names, or nothing.
    pub(crate) id: String,
    /// How many routes come before this resource's.
    before: usize,
}

impl Match {
    /// The resource of a path as it came; none when there is none.
    pub(crate) fn find(path: &str) -> Option<Self> {
        let mut before = 0;
        for resource in RESOURCES {
            if let Some((queue, id)) = variables(resource.path, path) {
                return Some(Self { resource, queue, id, before });
            }
            before += resource.routes.len();
        }
        None
    }

    /// Whether the path is about queues or topics.
    pub(crate) fn collection(&self) -> Collection {
        if self.resource.path.starts_with("/v2/topics") { Collection::Topics } else { Collection::Queues }
    }

    /// The route of a method, and its place in the table.
    pub(crate) fn route(&self, method: &str) -> Option<(usize, &'static Route)> {
        let place = self.resource.routes.iter().position(|route| route.method == method)?;
        Some((self.before + place, self.resource.routes.get(place)?))
    }
}

impl Resource {
    /// Its methods with commas between them.
    pub(crate) fn allowed(&self) -> String {
        self.routes.iter().map(|route| route.method).collect::<Vec<_>>().join(", ")
    }
}

/// The variables of a path that has the pattern's form.
fn variables(pattern: &str, path: &str) -> Option<(Option<String>, String)> {
    let (mut patterns, mut segments) = (pattern.split('/'), path.split('/'));
    let (mut queue, mut id) = (None, String::new());
    loop {
        match (patterns.next(), segments.next()) {
            (None, None) => return Some((queue, id)),
            (Some("{queue}"), Some(segment)) => queue = Some(decoded(segment)),
            (Some("{id}"), Some(segment)) => id = decoded(segment),
            (Some(literal), Some(segment)) if literal == segment => {}
            _ => return None,
        }
    }
}

fn decoded(segment: &str) -> String {
    percent_decode_str(segment).decode_utf8().unwrap_or_default().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_to_the_letter() {
        let found = |path: &str| Match::find(path).map(|found| (found.resource.path, found.queue, found.id));
        let queue = |name: &str| Some(name.to_owned());
        assert_eq!(found("/"), Some(("/", None, String::new())));
        assert_eq!(found("/v2/"), Some(("/v2/", None, String::new())));
        assert_eq!(found("/v2/queues/"), Some(("/v2/queues/{queue}", queue(""), String::new())));
        assert_eq!(found("/v2/queues/a%20b"), Some(("/v2/queues/{queue}", queue("a b"), String::new())));
        assert_eq!(found("/v2/queues/a%FF"), Some(("/v2/queues/{queue}", queue(""), String::new())));
        assert_eq!(
            found("/v2/queues/q/claims/1"),
            Some(("/v2/queues/{queue}/claims/{id}", queue("q"), "1".to_owned()))
        );
        for nothing in [
            "",
            "/v2",
            "/v2/queues/q/",
            "/v1",
            "/v2/queues/q/nothing",
            "/v2/topics/q/claims",
            "/v2/pools",
            "/V2/ping",
            "//v2/ping",
        ] {
            assert_eq!(found(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn methods_are_told_in_order() {
        for resource in RESOURCES {
            assert!(resource.routes.is_sorted_by_key(|route| route.method), "{}", resource.path);
        }
        let queue = Match::find("/v2/queues/q").unwrap();
        assert_eq!(queue.resource.allowed(), "DELETE, GET, PATCH, PUT");
        let (place, route) = queue.route("PUT").unwrap();
        assert_eq!(names().nth(place), Some(route.rule));
        assert!(queue.route("HEAD").is_none() && queue.route("put").is_none());
    }
}
