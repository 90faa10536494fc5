//! The one route table: method, pattern, name, who may. Matches request paths against it, and nothing else.
//!
//! A request takes the first row whose pattern **and** method match, so verbs (`…:pull`) stand before the plain resource. Patterns
//! are matched on the percent-decoded path; a variable is one segment, not empty. What a variable may hold is checked by `principal`.

use actix_web::http::Method;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use std::borrow::Cow;

/// What a route does. Each is served by one function of the module that bears its resource's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Operation {
    Metrics,
    Status,
    VaMetrics,
    Version,
    UsersByToken,
    UsersByUuid,
    UsersList,
    UsersProfile,
    UsageReport,
    UsersShow,
    UsersRefreshToken,
    UsersCreate,
    UsersUpdate,
    UsersDelete,
    RegistrationsCreate,
    RegistrationsAccept,
    RegistrationsDecline,
    RegistrationsDelete,
    RegistrationsShow,
    RegistrationsList,
    ProjectsList,
    ProjectsMetrics,
    ProjectsShow,
    ProjectsCreate,
    ProjectsUpdate,
    ProjectsDelete,
    MembersAdd,
    MembersRemove,
    MembersShow,
    MembersCreate,
    MembersUpdate,
    MembersList,
    SubscriptionsList,
    SubscriptionsByTopic,
    SubscriptionsOffsets,
    SubscriptionsTimeToOffset,
    SubscriptionsAcl,
    SubscriptionsMetrics,
    SubscriptionsShow,
    SubscriptionsCreate,
    SubscriptionsDelete,
    SubscriptionsPull,
    SubscriptionsAcknowledge,
    SubscriptionsModifyAckDeadline,
    SubscriptionsModifyOffset,
    SubscriptionsModifyAcl,
    SubscriptionsModifyPushConfig,
    SubscriptionsVerifyPushEndpoint,
    TopicsList,
    TopicsAcl,
    TopicsMetrics,
    TopicsShow,
    TopicsCreate,
    TopicsDelete,
    TopicsPublish,
    TopicsModifyAcl,
    TopicsAttachSchema,
    TopicsDetachSchema,
    SchemasValidate,
    SchemasCreate,
    SchemasShow,
    SchemasList,
    SchemasUpdate,
    SchemasDelete,
    BindingsList,
    BindingsShow,
    BindingsCreate,
    BindingsUpdate,
    BindingsDelete,
}

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Route {
    /// The permission's name, and the label of metrics.
    pub(crate) name: &'static str,
    /// What it does.
    pub(crate) operation: Operation,
    /// Its method.
    pub(crate) method: Method,
    /// Its segments after `/v1/`: a literal, `{variable}`, or `{variable}:verb`.
    pub(crate) pattern: &'static [&'static str],
    /// Who may by default; for the routes that check by themselves, who sees more.
    pub(crate) roles: &'static [&'static str],
}

const SA: &str = "service_admin";
const PA: &str = "project_admin";
const PUB: &str = "publisher";
const CON: &str = "consumer";
const PW: &str = "push_worker";
const MV: &str = "metrics_viewer";
/// Sees details of status and version, which ask for no role otherwise.
const AV: &str = "admin_viewer";

const fn row(
    name: &'static str,
    operation: Operation,
    method: Method,
    pattern: &'static [&'static str],
    roles: &'static [&'static str],
) -> Route {
    Route { name, operation, method, pattern, roles }
}

const GET: Method = Method::GET;
const PUT: Method = Method::PUT;
const POST: Method = Method::POST;
const DELETE: Method = Method::DELETE;

/// The contract's routes in matching order.
#[rustfmt::skip]
pub(crate) static ROUTES: [Route; 64] = {
    use Operation as Op;
    [
        row("ams:metrics", Op::Metrics, GET, &["metrics"], &[SA, MV, PA]),
        row("ams:healthStatus", Op::Status, GET, &["status"], &[SA, AV]),
        row("ams:vaMetrics", Op::VaMetrics, GET, &["metrics", "va_metrics"], &[SA, MV, PA]),
        row("users:byToken", Op::UsersByToken, GET, &["users:byToken", "{token}"], &[SA, PW]),
        row("users:byUUID", Op::UsersByUuid, GET, &["users:byUUID", "{uuid}"], &[SA, "argo_api_authn"]),
        row("users:list", Op::UsersList, GET, &["users"], &[SA, PA]),
        row("users:profile", Op::UsersProfile, GET, &["users", "profile"], &[]),
        row("users:usageReport", Op::UsageReport, GET, &["users", "usageReport"], &[]),
        row("users:show", Op::UsersShow, GET, &["users", "{user}"], &[SA]),
        row("users:refreshToken", Op::UsersRefreshToken, POST, &["users", "{user}:refreshToken"], &[SA]),
        row("users:create", Op::UsersCreate, POST, &["users", "{user}"], &[SA]),
        row("users:update", Op::UsersUpdate, PUT, &["users", "{user}"], &[SA]),
        row("users:delete", Op::UsersDelete, DELETE, &["users", "{user}"], &[SA]),
        row("registrations:newUser", Op::RegistrationsCreate, POST, &["registrations"], &[SA, "register_admin"]),
        row("registrations:acceptNewUser", Op::RegistrationsAccept, POST, &["registrations", "{uuid}:accept"], &[SA]),
        row("registrations:declineNewUser", Op::RegistrationsDecline, POST, &["registrations", "{uuid}:decline"], &[SA]),
        row("registrations:delete", Op::RegistrationsDelete, DELETE, &["registrations", "{uuid}"], &[SA]),
        row("registrations:show", Op::RegistrationsShow, GET, &["registrations", "{uuid}"], &[SA]),
        row("registrations:list", Op::RegistrationsList, GET, &["registrations"], &[SA]),
        row("projects:list", Op::ProjectsList, GET, &["projects"], &[SA]),
        row("projects:metrics", Op::ProjectsMetrics, GET, &["projects", "{project}:metrics"], &[SA, PA]),
        row("projects:addUser", Op::MembersAdd, POST, &["projects", "{project}", "members", "{user}:add"], &[SA, PA]),
        row("projects:removeUser", Op::MembersRemove, POST, &["projects", "{project}", "members", "{user}:remove"], &[SA, PA]),
        row("projects:showUser", Op::MembersShow, GET, &["projects", "{project}", "members", "{user}"], &[SA, PA]),
        row("projects:createUser", Op::MembersCreate, POST, &["projects", "{project}", "members", "{user}"], &[SA, PA]),
        row("projects:updateUser", Op::MembersUpdate, PUT, &["projects", "{project}", "members", "{user}"], &[SA, PA]),
        row("projects:listUsers", Op::MembersList, GET, &["projects", "{project}", "members"], &[SA, PA]),
        row("projects:show", Op::ProjectsShow, GET, &["projects", "{project}"], &[SA, PA]),
        row("projects:create", Op::ProjectsCreate, POST, &["projects", "{project}"], &[SA]),
        row("projects:update", Op::ProjectsUpdate, PUT, &["projects", "{project}"], &[SA, PA]),
        row("projects:delete", Op::ProjectsDelete, DELETE, &["projects", "{project}"], &[SA, PA]),
        row("subscriptions:list", Op::SubscriptionsList, GET, &["projects", "{project}", "subscriptions"], &[SA, PA, CON]),
        row("subscriptions:listByTopic", Op::SubscriptionsByTopic, GET, &["projects", "{project}", "topics", "{topic}", "subscriptions"], &[SA, PA]),
        row("subscriptions:offsets", Op::SubscriptionsOffsets, GET, &["projects", "{project}", "subscriptions", "{subscription}:offsets"], &[SA, PA, CON]),
        row("subscriptions:timeToOffset", Op::SubscriptionsTimeToOffset, GET, &["projects", "{project}", "subscriptions", "{subscription}:timeToOffset"], &[SA, PA, CON]),
        row("subscriptions:acl", Op::SubscriptionsAcl, GET, &["projects", "{project}", "subscriptions", "{subscription}:acl"], &[SA, PA]),
        row("subscriptions:metrics", Op::SubscriptionsMetrics, GET, &["projects", "{project}", "subscriptions", "{subscription}:metrics"], &[SA, PA, CON]),
        row("subscriptions:show", Op::SubscriptionsShow, GET, &["projects", "{project}", "subscriptions", "{subscription}"], &[SA, PA, CON, PW]),
        row("subscriptions:create", Op::SubscriptionsCreate, PUT, &["projects", "{project}", "subscriptions", "{subscription}"], &[SA, PA]),
        row("subscriptions:delete", Op::SubscriptionsDelete, DELETE, &["projects", "{project}", "subscriptions", "{subscription}"], &[SA, PA]),
        row("subscriptions:pull", Op::SubscriptionsPull, POST, &["projects", "{project}", "subscriptions", "{subscription}:pull"], &[SA, PA, CON, PW]),
        row("subscriptions:acknowledge", Op::SubscriptionsAcknowledge, POST, &["projects", "{project}", "subscriptions", "{subscription}:acknowledge"], &[SA, PA, CON, PW]),
        row("subscriptions:verifyPushEndpoint", Op::SubscriptionsVerifyPushEndpoint, POST, &["projects", "{project}", "subscriptions", "{subscription}:verifyPushEndpoint"], &[SA, PA]),
        row("subscriptions:modifyAckDeadline", Op::SubscriptionsModifyAckDeadline, POST, &["projects", "{project}", "subscriptions", "{subscription}:modifyAckDeadline"], &[SA, PA, CON]),
        row("subscriptions:modifyPushConfig", Op::SubscriptionsModifyPushConfig, POST, &["projects", "{project}", "subscriptions", "{subscription}:modifyPushConfig"], &[SA, PA]),
        row("subscriptions:modifyOffset", Op::SubscriptionsModifyOffset, POST, &["projects", "{project}", "subscriptions", "{subscription}:modifyOffset"], &[SA, PA, CON]),
        row("subscriptions:modifyAcl", Op::SubscriptionsModifyAcl, POST, &["projects", "{project}", "subscriptions", "{subscription}:modifyAcl"], &[SA, PA]),
        row("topics:list", Op::TopicsList, GET, &["projects", "{project}", "topics"], &[SA, PA, PUB]),
        row("topics:acl", Op::TopicsAcl, GET, &["projects", "{project}", "topics", "{topic}:acl"], &[SA, PA]),
        row("topics:metrics", Op::TopicsMetrics, GET, &["projects", "{project}", "topics", "{topic}:metrics"], &[SA, PA, PUB]),
        row("topics:show", Op::TopicsShow, GET, &["projects", "{project}", "topics", "{topic}"], &[SA, PA, PUB]),
        row("topics:create", Op::TopicsCreate, PUT, &["projects", "{project}", "topics", "{topic}"], &[SA, PA]),
        row("topics:delete", Op::TopicsDelete, DELETE, &["projects", "{project}", "topics", "{topic}"], &[SA, PA]),
        row("topics:publish", Op::TopicsPublish, POST, &["projects", "{project}", "topics", "{topic}:publish"], &[SA, PA, PUB]),
        row("topics:modifyAcl", Op::TopicsModifyAcl, POST, &["projects", "{project}", "topics", "{topic}:modifyAcl"], &[SA, PA]),
        row("topics:attachSchema", Op::TopicsAttachSchema, POST, &["projects", "{project}", "topics", "{topic}:attachSchema"], &[SA, PA]),
        row("topics:detachSchema", Op::TopicsDetachSchema, POST, &["projects", "{project}", "topics", "{topic}:detachSchema"], &[SA, PA]),
        row("schemas:validateMessage", Op::SchemasValidate, POST, &["projects", "{project}", "schemas", "{schema}:validate"], &[SA, PA]),
        row("schemas:create", Op::SchemasCreate, POST, &["projects", "{project}", "schemas", "{schema}"], &[SA, PA]),
        row("schemas:show", Op::SchemasShow, GET, &["projects", "{project}", "schemas", "{schema}"], &[SA, PA]),
        row("schemas:list", Op::SchemasList, GET, &["projects", "{project}", "schemas"], &[SA, PA]),
        row("schemas:update", Op::SchemasUpdate, PUT, &["projects", "{project}", "schemas", "{schema}"], &[SA, PA]),
        row("schemas:delete", Op::SchemasDelete, DELETE, &["projects", "{project}", "schemas", "{schema}"], &[SA, PA]),
        row("version:list", Op::Version, GET, &["version"], &[SA, AV]),
    ]
};

/// Routes beyond the contract, matched after its own: bindings of client certificates, which were ARGO AuthN's.
#[rustfmt::skip]
pub(crate) static EXTENSIONS: [Route; 5] = {
    use Operation as Op;
    [
        row("bindings:list", Op::BindingsList, GET, &["bindings"], &[SA]),
        row("bindings:show", Op::BindingsShow, GET, &["bindings", "{binding}"], &[SA]),
        row("bindings:create", Op::BindingsCreate, POST, &["bindings", "{binding}"], &[SA]),
        row("bindings:update", Op::BindingsUpdate, PUT, &["bindings", "{binding}"], &[SA]),
        row("bindings:delete", Op::BindingsDelete, DELETE, &["bindings", "{binding}"], &[SA]),
    ]
};

/// Everything that is served, in matching order.
pub(crate) fn all() -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().chain(&EXTENSIONS)
}

/// Most segments of a pattern.
const SEGMENTS_MAX: usize = 5;

/// A request's path, percent-decoded, not yet matched.
#[derive(Debug)]
pub(crate) struct RequestPath<'a>(Cow<'a, [u8]>);

/// The variables of a matched path. Every route has at most two; they stand in the order in which they are checked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Variables<'a>([(&'static str, &'a [u8]); 2]);

/// What a path and method mean.
#[derive(Debug)]
pub(crate) enum Match<'a> {
    /// A row of the table: its place in [`all`], and its variables.
    Route(usize, &'static Route, Variables<'a>),
    /// Ask again at this path.
    Moved(String),
    /// The path exists, the method does not, and says so.
    WrongMethod,
    /// Nothing.
    Nothing,
}

impl<'a> RequestPath<'a> {
    /// Takes the path of a request line.
    pub(crate) fn new(path: &'a str) -> Self {
        Self(percent_decode_str(path).into())
    }

    /// Finds what it means. O(routes), no allocation for a path that is clean.
    pub(crate) fn find(&self, method: &Method) -> Match<'_> {
        let path: &[u8] = &self.0;
        if let Some(clean) = cleaned(path) {
            return Match::Moved(clean);
        }
        let Some(rest) = path.strip_prefix(b"/v1/") else { return Match::Nothing };
        let mut segments: [&[u8]; SEGMENTS_MAX] = [&[]; SEGMENTS_MAX];
        let mut count = 0;
        for segment in rest.split(|byte| *byte == b'/') {
            let Some(slot) = segments.get_mut(count) else { return Match::Nothing };
            *slot = segment;
            count += 1;
        }
        let segments = segments.get(..count).unwrap_or_default();
        for (place, route) in all().enumerate() {
            if route.method == *method
                && route.pattern.len() == count
                && let Some(variables) = route.variables(segments)
            {
                return Match::Route(place, route, variables);
            }
        }
        // An oddity of the original's router: only its last route answers for its method.
        if segments == [b"version"] { Match::WrongMethod } else { Match::Nothing }
    }
}

impl Route {
    /// The variables, if the segments (as many as the pattern's) match.
    fn variables<'a>(&self, segments: &[&'a [u8]]) -> Option<Variables<'a>> {
        let mut variables = Variables::default();
        let mut slots = variables.0.iter_mut();
        for (pattern, segment) in self.pattern.iter().zip(segments) {
            match pattern.strip_prefix('{').and_then(|variable| variable.split_once('}')) {
                None if pattern.as_bytes() == *segment => {}
                None => return None,
                Some((name, verb)) => {
                    let value = segment.strip_suffix(verb.as_bytes()).filter(|value| !value.is_empty())?;
                    *slots.next()? = (name, value);
                }
            }
        }
        Some(variables)
    }
}

impl<'a> Variables<'a> {
    /// Those that the route has, in the order in which they are checked.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, &'a [u8])> {
        self.0.into_iter().filter(|(name, _)| !name.is_empty())
    }

    /// The value of one; empty when the route has none of this name.
    pub(crate) fn get(&self, variable: &str) -> &'a [u8] {
        self.iter().find(|(name, _)| *name == variable).map_or(&[], |(_, value)| value)
    }
}

/// The path without empty, `.` and `..` segments, encoded again, if it has any; a slash at the end stays.
fn cleaned(path: &[u8]) -> Option<String> {
    const ENCODED: &AsciiSet =
        &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'<').add(b'>').add(b'?').add(b'`');
    let segments = path.strip_prefix(b"/").unwrap_or(path).split(|byte| *byte == b'/');
    let mut others = segments.clone();
    // Only the last segment may be empty.
    let last = others.next_back().unwrap_or_default();
    let is_odd = |segment: &[u8]| matches!(segment, b"." | b"..");
    if !is_odd(last) && others.all(|segment| !segment.is_empty() && !is_odd(segment)) {
        return None;
    }
    let ends_with_slash = last.is_empty();
    let mut kept: Vec<&[u8]> = Vec::new();
    for segment in segments {
        match segment {
            b"" | b"." => {}
            b".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
    }
    let mut clean = String::with_capacity(path.len());
    for segment in &kept {
        clean.push('/');
        clean.extend(utf8_percent_encode(&String::from_utf8_lossy(segment), ENCODED));
    }
    if clean.is_empty() || ends_with_slash {
        clean.push('/');
    }
    Some(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: Method, path: &str) -> String {
        match RequestPath::new(path).find(&method) {
            Match::Route(place, route, variables) => {
                assert_eq!(all().nth(place).unwrap().name, route.name);
                let variables = variables
                    .iter()
                    .map(|(name, value)| format!(" {name}={}", value.escape_ascii()))
                    .collect::<String>();
                format!("{}{variables}", route.name)
            }
            Match::Moved(to) => format!("301 {to}"),
            Match::WrongMethod => "405".to_owned(),
            Match::Nothing => "404".to_owned(),
        }
    }

    #[test]
    fn a_path_takes_the_first_route_of_its_method() {
        for (method, path, expected) in [
            (GET, "/v1/projects", "projects:list"),
            (GET, "/v1/projects/P", "projects:show project=P"),
            (GET, "/v1/projects/P:metrics", "projects:metrics project=P"),
            (POST, "/v1/projects/P:metrics", "projects:create project=P:metrics"),
            (POST, "/v1/projects/P/topics/t:publish", "topics:publish project=P topic=t"),
            (POST, "/v1/projects/P/topics/t:a:publish", "topics:publish project=P topic=t:a"),
            (GET, "/v1/projects/P/topics/t:foo", "topics:show project=P topic=t:foo"),
            (POST, "/v1/projects/P/topics/t:foo", "404"),
            (POST, "/v1/projects/P/members/u:foo", "projects:createUser project=P user=u:foo"),
            (PUT, "/v1/projects/P/subscriptions/s:pull", "subscriptions:create project=P subscription=s:pull"),
            (GET, "/v1/projects/P/subscriptions/s:offsets", "subscriptions:offsets project=P subscription=s"),
            (GET, "/v1/projects/P/topics/t/subscriptions", "subscriptions:listByTopic project=P topic=t"),
            (GET, "/v1/users/profile", "users:profile"),
            (POST, "/v1/users/profile", "users:create user=profile"),
            (GET, "/v1/users:byToken/abc", "users:byToken token=abc"),
            (POST, "/v1/users/:refreshToken", "users:create user=:refreshToken"),
            (GET, "/v1/projects/a%20b", "projects:show project=a b"),
            (GET, "/v1/projects/P/topics/a%2Fb", "404"),
            (GET, "/v1/projects/%ff", "projects:show project=\\xff"),
        ] {
            assert_eq!(found(method.clone(), path), expected, "{method} {path}");
        }
    }

    #[test]
    fn what_is_not_there_is_not_found_whatever_the_reason() {
        for (method, path) in [
            (GET, "/"),
            (GET, "/v1"),
            (GET, "/v1/"),
            (GET, "/v2/projects"),
            (GET, "/v1/projects/"),
            (GET, "/v1/projects/P/"),
            (GET, "/v1/projects/P/topics/t/subscriptions/s"),
            (GET, "/v1/projects/P/topics/t/subscriptions/s/x/y/z"),
            (DELETE, "/v1/status"),
            (Method::HEAD, "/v1/status"),
            (Method::PATCH, "/v1/projects/P"),
            (POST, "/v1/projects/P/topics/t:pull"),
            (DELETE, "/v1/projects/P/members/u"),
        ] {
            assert_eq!(found(method.clone(), path), "404", "{method} {path}");
        }
        assert_eq!(found(POST, "/v1/version"), "405");
        assert_eq!(found(GET, "/v1/version"), "version:list");
    }

    #[test]
    fn a_path_that_is_not_clean_moves() {
        for (path, expected) in [
            ("//v1/projects", "301 /v1/projects"),
            ("/v1//projects", "301 /v1/projects"),
            ("/v1/projects//", "301 /v1/projects/"),
            ("/v1/x/../projects", "301 /v1/projects"),
            ("/v1/%2e%2e/status", "301 /status"),
            ("/../..", "301 /"),
            ("/v1/./a%20b%3F", "301 /v1/a%20b%3F"),
        ] {
            assert_eq!(found(GET, path), expected, "{path}");
        }
    }

    #[test]
    fn every_route_is_found_by_its_own_pattern() {
        for route in all() {
            let path =
                route.pattern.iter().map(|part| format!("/{}", part.replace(['{', '}'], ""))).collect::<String>();
            assert!(found(route.method.clone(), &format!("/v1{path}")).starts_with(route.name), "{}", route.name);
        }
    }

    #[test]
    fn variables_stand_in_alphabetical_order() {
        for route in all() {
            let segments: Vec<&[u8]> = route.pattern.iter().map(|part| part.as_bytes()).collect();
            let names: Vec<_> = route.variables(&segments).unwrap_or_default().iter().map(|(name, _)| name).collect();
            assert!(names.is_sorted(), "{names:?}");
        }
    }
}
