//! Rules as their files have them.

use super::*;

const PROJECT: &str = "p1";

/// Whether a bearer with these roles may purge queues by this rule for it (a YAML value).
fn purges(rule: &str, roles: &[&str]) -> bool {
    let policy = Policy::parse(&format!("\"queues:purge\": {rule}")).unwrap_or_else(|why| panic!("{rule}: {why}"));
    let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
    policy.may("queues:purge", &Bearer { user: "u1", project: PROJECT, roles: &roles, ..Bearer::default() })
}

#[track_caller]
fn refused(text: &str, why: &str) {
    let said = Policy::parse(text).expect_err(text);
    assert!(said.contains(why), "{text}: {said}");
}

#[test]
fn only_administrators_look_at_health_and_pools_and_change_flavors() {
    let policy = Policy::default();
    let roles = ["member".to_owned(), "Admin".to_owned()];
    let (nobody, admin) = (Bearer::default(), Bearer { roles: &roles, ..Bearer::default() });
    for open in OPEN {
        assert!(policy.may(open, &nobody), "{open}");
    }
    for guarded in GUARDED {
        assert!(!policy.may(guarded, &nobody) && policy.may(guarded, &admin), "{guarded}");
    }
    assert!(!policy.may("nothing:known", &admin));
    assert_eq!(Policy::parse(""), Ok(policy.clone()));
    assert_eq!(Policy::parse("{}"), Ok(policy));
}

#[test]
fn an_expression_is_read_as_oslo_reads_it() {
    for (rule, roles, expected) in [
        ("''", &[][..], true),
        ("'@'", &[], true),
        ("'!'", &["admin"], false),
        ("role:a", &["A"], true),
        ("role:a", &["b"], false),
        ("role:a or role:b and role:c", &["a"], true),
        ("role:a or role:b and role:c", &["b"], false),
        ("(role:a or role:b) and role:c", &["b", "c"], true),
        ("(role:a or role:b) and role:c", &["b"], false),
        ("((role:a) AND NOT (role:b OR role:c))", &["a"], true),
        ("role:a and not role:b", &["a", "b"], false),
        ("not not role:a", &["a"], true),
        ("rule:context_is_admin", &["admin"], true),
        ("rule:context_is_admin", &["member"], false),
        ("is_admin:True", &["admin"], true),
        ("is_admin:False", &["member"], true),
        ("rule:admin_or_owner", &["member"], true),
        ("project_id:%(project_id)s and role:a", &["a"], true),
        ("(role:a and project_id:%(project_id)s)", &["a"], true),
        ("project_id:other", &[], false),
        ("user_id:u1", &[], true),
        ("user_domain_id:default", &[], false),
        ("system_scope:all", &["admin"], false),
    ] {
        assert_eq!(purges(rule, roles), expected, "{rule} {roles:?}");
    }
}

#[test]
fn a_list_of_lists_is_a_choice_of_what_holds_together() {
    for (rule, roles, expected) in [
        ("[]", &[][..], true),
        ("[[]]", &["admin"], false),
        ("[['role:a', 'role:b'], ['role:c']]", &["c"], true),
        ("[['role:a', 'role:b'], 'role:c']", &["a"], false),
        ("[['role:a', 'role:b'], 'role:c']", &["b", "a"], true),
        ("['role:c', []]", &["c"], true),
    ] {
        assert_eq!(purges(rule, roles), expected, "{rule} {roles:?}");
    }
}

#[test]
fn json_and_helpers_are_read_too() {
    let policy = Policy::parse(
        r#"{"reader": "role:reader", "context_is_admin": "role:root", "messages:get": [["rule:reader"]]}"#,
    );
    let (policy, readers, roots) = (policy.unwrap(), ["reader".to_owned()], ["root".to_owned()]);
    let (reader, root) =
        (Bearer { roles: &readers, ..Bearer::default() }, Bearer { roles: &roots, ..Bearer::default() });
    assert!(policy.may("messages:get", &reader) && !policy.may("messages:get", &root));
    assert!(policy.may("context_is_admin", &root) && !policy.may("context_is_admin", &reader));
    assert!(!policy.may("health:get", &root), "its own rule names the role");
}

#[test]
fn what_cannot_be_judged_is_refused_by_name() {
    for (text, why) in [
        ("a: http://localhost/%(project_id)s", "no other service is asked"),
        ("a: https://localhost", "no other service is asked"),
        ("a: group:x", "there is no check `group`"),
        ("a: project_id:%(target.project)s", "only %(project_id)s is known"),
        ("a: role", "write kind:match"),
        ("a: 'role:'", "nothing after the colon"),
        ("a: is_admin:1", "True or False"),
        ("a: role:x and", "ends where a check"),
        ("a: role:x role:y", "`role:y` stands where"),
        ("a: (role:x", "not closed"),
        ("a: role:x)", "`)` stands where"),
        ("a: rule:b", "`a` names the rule `b`"),
        ("{a: 'rule:b', b: 'not rule:a'}", "leads to itself: a -> b -> a"),
        ("context_is_admin: is_admin:True", "leads to itself"),
        ("'queue:create': '@'", "no operation `queue:create`"),
        ("a: 1", "neither a text nor a list"),
        ("a: [[1]]", "what is no text"),
        ("1: '@'", "whose name is no text"),
        ("- a", "no mapping"),
        ("a: '@'\na: '!'", "neither YAML nor JSON"),
        ("a: [", "neither YAML nor JSON"),
    ] {
        refused(text, why);
    }
    refused(&format!("a: {}role:x", "not ".repeat(70)), "nested deeper");
    refused(&format!("a: {}", "(".repeat(1 << 16)), "nested deeper");
    refused(&" ".repeat(2 << 20), "larger than");
}
