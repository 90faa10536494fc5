//! Registrations: each answer and each refusal as the contract has it.

use super::*;

const BOB: &str = r#"{"name":"bob","first_name":"Bob","last_name":"B","email":"b@example.org","organization":"Org","description":"why"}"#;
const UNKNOWN: &str = "User registration doesn't exist";

impl World {
    /// Registers somebody; the registration's id.
    async fn register(&self, body: &str) -> String {
        self.post("/v1/registrations", body).await.ok().json()["uuid"].as_str().unwrap().to_owned()
    }

    /// The token of a service admin of this name.
    async fn admin(&self, name: &str) -> String {
        let made = self.post(&format!("/v1/users/{name}"), r#"{"service_roles":["service_admin"]}"#).await.ok().json();
        made["token"].as_str().unwrap().to_owned()
    }

    /// The registrations that a query finds, by their names and states.
    async fn registered(&self, query: &str) -> Vec<String> {
        let list = self.get(&format!("/v1/registrations{query}")).await.ok().json();
        let text = |one: &Value, field: &str| one[field].as_str().unwrap().to_owned();
        let all = list["user_registrations"].as_array().unwrap().iter();
        all.map(|one| format!("{} {}", text(one, "name"), text(one, "status"))).collect()
    }
}

#[actix_web::test]
async fn a_registration_is_shown_as_the_contract_shows_it() {
    let world = World::new().await;
    let made = world.post("/v1/registrations", BOB).await.ok();
    let (uuid, token) = (made.json()["uuid"].clone(), made.json()["activation_token"].clone());
    let (uuid, token) = (uuid.as_str().unwrap(), token.as_str().unwrap());
    let expected = "{\n   \"uuid\": \"UUID\",\n   \"name\": \"bob\",\n   \"first_name\": \"Bob\",\n   \"last_name\": \"B\",\n   \"organization\": \"Org\",\n   \"description\": \"why\",\n   \"email\": \"b@example.org\",\n   \"status\": \"pending\",\n   \"activation_token\": \"TOKEN\",\n   \"registered_at\": \"2024-05-01T10:00:00Z\"\n}";
    assert_eq!(made.body, expected.replace("UUID", uuid).replace("TOKEN", token));
    assert!(token.len() == 64 && token.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_eq!(world.get(&format!("/v1/registrations/{uuid}")).await.ok().body, made.body);
    let plain = world.post("/v1/registrations", r#"{"name":"carol"}"#).await.ok().json();
    assert_eq!((&plain["first_name"], &plain["email"]), (&"".into(), &"".into()), "empty texts are shown");
}

#[actix_web::test]
async fn an_accepted_registration_answers_the_user_and_is_settled() {
    let world = World::new().await;
    let admin = world.admin("root").await;
    let id = world.register(BOB).await;
    world.clock.advance(Duration::from_secs(5));
    let path = format!("/v1/registrations/{id}");
    // The admin UI sends a text as the body.
    let user = world.as_user(&admin, Method::POST, &format!("{path}:accept"), "\"\"").await.ok().json();
    assert_eq!(
        (&user["name"], &user["first_name"], &user["created_by"]),
        (&"bob".into(), &"Bob".into(), &"root".into())
    );
    assert_eq!((user.get("projects"), &user["service_roles"]), (None, &serde_json::json!([])));
    let profile =
        world.as_user(user["token"].as_str().unwrap(), Method::GET, "/v1/users/profile", "").await.ok().json();
    assert_eq!(profile, user);
    let settled = world.get(&path).await.ok().json();
    assert_eq!((&settled["status"], &settled["modified_by"]), (&"accepted".into(), &"root".into()));
    assert_eq!(settled["modified_at"], "2024-05-01T10:00:05Z");
    assert_eq!((settled.get("activation_token"), settled.get("decline_comment")), (None, None));
    world.post(&format!("{path}:accept"), "").await.is(404, UNKNOWN);
    world.post(&format!("{path}:decline"), "{}").await.is(404, UNKNOWN);
    world.post("/v1/registrations", BOB).await.is(409, "User already exists");
}

#[actix_web::test]
async fn a_declined_registration_keeps_the_comment() {
    let world = World::new().await;
    let id = world.register(BOB).await;
    let path = format!("/v1/registrations/{id}");
    for wrong in ["", "{", "[]", r#"{"comment":5}"#, r#"{"other":[]}"#] {
        world.post(&format!("{path}:decline"), wrong).await.is(400, "Invalid Request Body");
    }
    assert_eq!(world.post(&format!("{path}:decline"), r#"{"comment":"no"} and more"#).await.ok().body, "{}");
    let declined = world.get(&path).await.ok().json();
    assert_eq!((&declined["status"], &declined["decline_comment"]), (&"declined".into(), &"no".into()));
    assert_eq!(
        (declined.get("activation_token"), declined.get("modified_by")),
        (None, None),
        "the service token is nobody"
    );
    world.post(&format!("{path}:decline"), "not read").await.is(404, UNKNOWN);
}

#[actix_web::test]
async fn registrations_are_listed_in_order_and_filtered_by_what_they_hold() {
    let world = World::new().await;
    assert_eq!(world.get("/v1/registrations").await.ok().body, "{\n   \"user_registrations\": []\n}");
    let first = world.register(BOB).await;
    world.register(r#"{"name":"carol","email":"c@example.org"}"#).await;
    world.register(BOB).await;
    let token = world.get(&format!("/v1/registrations/{first}")).await.ok().json()["activation_token"].clone();
    world.post(&format!("/v1/registrations/{first}:decline"), "{}").await.ok();
    assert_eq!(world.registered("").await, ["bob declined", "carol pending", "bob pending"]);
    assert_eq!(world.registered("?status=pending").await, ["carol pending", "bob pending"]);
    assert_eq!(world.registered("?status=pending&name=bob").await, ["bob pending"]);
    assert_eq!(world.registered("?email=c%40example.org&organization=").await, ["carol pending"]);
    assert_eq!(world.registered("?organization=Org").await.len(), 2);
    assert!(world.registered("?name=BOB").await.is_empty());
    let by_token = format!("?activation_token={}", token.as_str().unwrap());
    assert!(world.registered(&by_token).await.is_empty(), "it ended with the decision");
}

#[actix_web::test]
async fn a_registration_is_removed_whatever_became_of_it() {
    let world = World::new().await;
    let id = world.register(BOB).await;
    world.post(&format!("/v1/registrations/{id}:accept"), "").await.ok();
    assert_eq!(world.delete(&format!("/v1/registrations/{id}")).await.ok().body, "");
    world.delete(&format!("/v1/registrations/{id}")).await.is(404, UNKNOWN);
    world.get(&format!("/v1/registrations/{id}")).await.is(404, UNKNOWN);
    world.get("/v1/users/bob").await.ok();
}

#[actix_web::test]
async fn what_is_no_registration_is_refused_and_changes_nothing() {
    let world = World::new().await;
    let taken = world.register(BOB).await;
    world.post("/v1/users/bob", "{}").await.ok();
    let clerk = world.post("/v1/users/clerk", r#"{"service_roles":["register_admin"]}"#).await.ok().json();
    let clerk = clerk["token"].as_str().unwrap();
    let before = world.dump().await;
    for wrong in
        ["", "{", "[]", "{}", r#"{"name":""}"#, r#"{"name":5}"#, r#"{"name":"x","email":[]}"#, r#"{"name":"x"}{}"#]
    {
        world.post("/v1/registrations", wrong).await.is(400, "Invalid User Arguments");
    }
    world.post("/v1/registrations", r#"{"name":"a b"}"#).await.is(400, "Invalid user name");
    world.post("/v1/registrations", BOB).await.is(409, "User already exists");
    world.post(&format!("/v1/registrations/{taken}:accept"), "").await.is(409, "User already exists");
    for nobody in ["x", "0b3b9f3e-6f0c-4c55-9d0f-3d3e0c0c8f11", "0b3b9f3e6f0c4c559d0f3d3e0c0c8f11"] {
        let path = format!("/v1/registrations/{nobody}");
        world.get(&path).await.is(404, UNKNOWN);
        world.delete(&path).await.is(404, UNKNOWN);
        world.post(&format!("{path}:accept"), "").await.is(404, UNKNOWN);
        world.post(&format!("{path}:decline"), "").await.is(404, UNKNOWN);
    }
    world.get("/v1/registrations/a.b").await.is(400, "Invalid uuid name");
    world.as_user(clerk, Method::GET, "/v1/registrations", "").await.is(403, "Access to this resource is forbidden");
    assert_eq!(world.dump().await, before);
    world.as_user(clerk, Method::POST, "/v1/registrations", r#"{"name":"dave"}"#).await.ok();
}
