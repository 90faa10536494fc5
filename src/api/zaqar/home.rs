//! What tells clients what there is: the list of versions and the home document. Only what is served is advertised.

use super::error::JSON;
use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde_json::{Map, Value, json};

/// The odd time is the original's.
const VERSIONS: &str = r#"{"versions": [{"id": "2", "status": "CURRENT", "updated": "2014-9-24T04:06:47Z", "media-types": [{"base": "application/json", "type": "application/vnd.openstack.messaging-v2+json"}], "links": [{"href": "/v2/", "rel": "self"}]}]}"#;

/// What a resource is called, its template, the variables in it, its methods.
type Row = (&'static str, &'static str, &'static [&'static str], &'static [&'static str]);

const QUEUE: &str = "/v2/queues/{queue_name}";

/// The resources; a template that begins with `{` follows the queue's.
const ROWS: &[Row] = &[
    ("queues", "/v2/queues{?marker,limit,detailed}", &["marker", "limit:queue_limit", "detailed"], &["GET"]),
    ("queue", "", &["queue_name"], &["GET", "PUT", "DELETE", "PATCH"]),
    ("queue_stats", "/stats", &["queue_name"], &["GET"]),
    ("queue_share", "/share", &["queue_name"], &["POST"]),
    ("queue_purge", "/purge", &["queue_name"], &["POST"]),
    (
        "messages",
        "/messages{?marker,limit,echo,include_claimed}",
        &["queue_name", "marker", "limit:messages_limit", "echo", "include_claimed"],
        &["GET"],
    ),
    ("post_messages", "/messages", &["queue_name"], &["POST"]),
    ("messages_delete", "/messages{?ids,pop}", &["queue_name", "ids", "pop"], &["DELETE"]),
    ("message_delete", "/messages/{message_id}{?claim}", &["queue_name", "message_id", "claim:claim_id"], &["DELETE"]),
    ("message_get", "/messages/{message_id}", &["queue_name", "message_id"], &["GET"]),
    ("claim", "/claims/{claim_id}", &["queue_name", "claim_id"], &["GET"]),
    ("post_claim", "/claims{?limit}", &["queue_name", "limit:claim_limit"], &["POST"]),
    ("patch_claim", "/claims/{claim_id}", &["queue_name", "claim_id"], &["PATCH"]),
    ("delete_claim", "/claims/{claim_id}", &["queue_name", "claim_id"], &["DELETE"]),
    (
        "subscriptions_get",
        "/subscriptions{?marker,limit}",
        &["queue_name", "marker", "limit:subscription_limit"],
        &["GET"],
    ),
    ("subscriptions_post", "/subscriptions", &["queue_name"], &["POST"]),
    ("subscription", "/subscriptions/{subscriptions_id}", &["queue_name", "subscriptions_id"], &["GET", "DELETE"]),
    ("subscription_patch", "/subscriptions/{subscriptions_id}", &["queue_name", "subscriptions_id"], &["PATCH"]),
    ("ping", "/v2/ping", &[], &["GET"]),
];

/// `GET /`.
pub(crate) fn versions() -> HttpResponse {
    HttpResponse::MultipleChoices().insert_header((CONTENT_TYPE, JSON)).body(VERSIONS)
}

/// `GET /v2/`.
pub(crate) fn home(admin_mode: bool) -> HttpResponse {
    let mut resources: Map<String, Value> = ROWS.iter().map(|row| (format!("rel/{}", row.0), resource(row))).collect();
    if admin_mode {
        let health =
            json!({ "href": "/v2/health", "hints": { "allow": ["GET"], "formats": { "application/json": {} } } });
        resources.insert("rel/health".to_owned(), health);
    }
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/json-home"))
        .insert_header((CACHE_CONTROL, "max-age=86400"))
        .body(json!({ "resources": resources }).to_string())
}

fn resource((_, template, variables, methods): &Row) -> Value {
    let template = if template.starts_with("/v2") { (*template).to_owned() } else { format!("{QUEUE}{template}") };
    let mut hints = json!({ "allow": methods, "formats": { "application/json": {} } });
    if let (true, Some(hints)) = (methods.contains(&"POST"), hints.as_object_mut()) {
        hints.insert("accept-post".to_owned(), json!(["application/json"]));
    }
    if variables.is_empty() {
        return json!({ "href": template, "hints": hints });
    }
    let variables: Map<String, Value> = variables
        .iter()
        .map(|variable| {
            let (name, kind) = variable.split_once(':').unwrap_or((variable, variable));
            (name.to_owned(), format!("param/{kind}").into())
        })
        .collect();
    json!({ "href-template": template, "href-vars": variables, "hints": hints })
}
