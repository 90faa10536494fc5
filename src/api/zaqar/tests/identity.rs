//! What a policy opens, and what nobody gets who is not known. Keystone itself is asked in the suites outside.

use super::*;
use crate::auth::policy::Policy;
use crate::domain::Name;

#[actix_web::test]
async fn a_policy_decides_by_the_roles_that_are_trusted() {
    let world = World::with(|options| {
        options.trust_roles = true;
        options.policy =
            Policy::parse(r#"{"queues:purge": "role:cleaner or is_admin:True", "messages:get_all": "!"}"#).unwrap();
    })
    .await;
    world.post(&["1"]).await;
    let denied = "You are not authorized to complete this action.";
    let purge = async |roles: &str| {
        let headers = [("Client-ID", CLIENT), ("X-Project-ID", "proj1"), ("X-Roles", roles)];
        world.send("POST", "/v2/queues/q/purge", &headers, "").await
    };
    purge("member").await.says(403, denied);
    purge("member, Cleaner").await.with(204);
    purge("admin").await.with(204);
    world.get("/v2/queues/q/messages").await.says(403, denied);
}

#[actix_web::test]
async fn a_bound_project_is_refused_to_who_is_not_known() {
    let world = World::with(|options| {
        options.trust_roles = true;
        options.bindings.projects.insert("proj1".to_owned(), Name::new("SHARED").unwrap());
        options.bindings.roles.insert("admin".to_owned(), vec![crate::domain::acl::RoleName::new("project_admin")]);
    })
    .await;
    for (method, path) in [("GET", "/v2/queues"), ("PUT", "/v2/queues/q"), ("GET", "/v2/queues/q/messages")] {
        let headers = [("Client-ID", CLIENT), ("X-Project-ID", "proj1"), ("X-Roles", "admin")];
        let refused = world.send(method, path, &headers, "").await;
        refused.says(403, "You are not authorized to complete this action.");
    }
    world.get("/v2/ping").await.with(204);
    let headers = [("Client-ID", CLIENT), ("X-Project-ID", "another")];
    world.send("PUT", "/v2/queues/q", &headers, "").await.with(201);
}
