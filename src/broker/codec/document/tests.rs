//! The stored form held by golden bytes, and what is refused.

use super::*;
use crate::domain::acl::RoleName;
use crate::domain::membership::Heartbeat;
use crate::domain::project::{Project, Quota};
use crate::domain::push::{Mattermost, Notify, Push, Shared, Target, Webhook};
use crate::domain::registration::{Decision, Registration, RegistrationStatus};
use crate::domain::retry::RetryPolicy;
use crate::domain::schema::{Rules, Schema, SchemaKind};
use crate::domain::subscription::{AckMode, NodeId, Settings, Subscription};
use crate::domain::topic::{Retention, Topic};
use crate::domain::user::{Membership, Profile};
use crate::domain::{Error, LogRef, ProjectId, RegistrationId, SchemaId, SubscriptionId, TopicId};
use bytes::Bytes;
use proptest::prelude::*;
use std::time::Duration;

const NONCE: Nonce = Nonce { writer: 0x0102, sequence: 0x0304 };

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn truth<T>(standing: Standing, claim: Option<&str>, thing: T) -> Truth<T> {
    let claim = claim.map(|text| Claim { name: name(text), ticket: 12 });
    Truth { standing, claim, thing: Arc::new(thing) }
}

fn bound_subject() -> BoundSubject {
    let (subject, issuer) = ("CN=a".to_owned(), Some("CN=b".to_owned()));
    BoundSubject { id: 1, subject, issuer, user: UserId(2), created_at: Timestamp(3), modified_at: Timestamp(4) }
}

fn project() -> Project {
    Project {
        id: ProjectId(1),
        name: name("P"),
        description: "é".to_owned(),
        created_by: Some(UserId(2)),
        created_at: Timestamp(3),
        modified_at: Timestamp(4),
        quota: Quota::default(),
    }
}

fn limited() -> Project {
    let quota = Quota { messages_per_second: Some(9), topics: Some(0), ..Quota::default() };
    Project { quota, ..project() }
}

fn schema() -> Schema {
    Schema {
        id: SchemaId(1),
        project: ProjectId(2),
        name: name("s"),
        rules: Rules { kind: SchemaKind::Avro, payload: "\"int\"".to_owned(), attributes: Some("{}".to_owned()) },
        revision: 3,
        created_at: Timestamp(4),
        created_by: Some(UserId(5)),
    }
}

fn topic() -> Topic {
    Topic {
        metadata: Bytes::new(),
        sealed: false,
        id: TopicId(1),
        project: ProjectId(2),
        name: name("t"),
        log: LogRef(3),
        incarnation: Incarnation(4),
        retention: Retention { age: Duration::from_secs(5), bytes: Some(6) },
        schema: Some(SchemaId(7)),
        acl: vec![UserId(8), UserId(9)],
        created_at: Timestamp(10),
        created_by: Some(UserId(11)),
    }
}

fn subscription() -> Subscription {
    Subscription {
        id: SubscriptionId(1),
        project: ProjectId(2),
        name: name("s"),
        topic: name("t"),
        log: LogRef(3),
        settings: Settings {
            mode: AckMode::Individual,
            ack_deadline: Duration::from_secs(10),
            max_attempts: Some(5),
            dead_letter_topic: Some(name("d")),
            dead_letter_ttl: None,
        },
        push: None,
        acl: vec![UserId(4)],
        created_at: Timestamp(5),
        created_by: Some(UserId(6)),
    }
}

fn webhook() -> Push {
    let target = Target::Webhook(Webhook {
        endpoint: "https://e".to_owned(),
        messages_max: -2,
        authorization: Some(Shared("a".to_owned())),
        hash: Shared("h".to_owned()),
    });
    Push { target, retry: RetryPolicy::Linear { period: Duration::from_millis(3) }, decode: true, verified: false }
}

fn mattermost() -> Push {
    let text = str::to_owned;
    let target = Target::Mattermost(Mattermost { url: text("u"), username: text("n"), channel: text("c") });
    Push { target, retry: RetryPolicy::SlowStart, decode: false, verified: true }
}

fn notify() -> Push {
    let target = Target::Notify(Notify {
        subscriber: "http://e".to_owned(),
        options: Shared("{}".to_owned()),
        ttl: Duration::from_micros(5),
        since: Timestamp(6),
    });
    Push { target, retry: RetryPolicy::EachMessage, decode: false, verified: true }
}

fn account() -> Account {
    let text = str::to_owned;
    let user = User {
        id: UserId(1),
        name: name("alice"),
        profile: Profile {
            first_name: text("f"),
            last_name: text("l"),
            organization: text("o"),
            description: text("d"),
            email: text("e"),
        },
        memberships: vec![
            Membership { project: ProjectId(2), roles: vec![RoleName::new("a"), RoleName::new("b")] },
            Membership { project: ProjectId(3), roles: Vec::new() },
        ],
        service_roles: vec![RoleName::new("c")],
        created_at: Timestamp(4),
        modified_at: Timestamp(5),
        created_by: Some(UserId(6)),
    };
    let token = Sealed { key: 7, bytes: vec![8; 28] };
    Account { user: Arc::new(user), token_hash: TokenHash([9; 32]), token }
}

fn registration(status: RegistrationStatus) -> Registration {
    let text = str::to_owned;
    let profile = Profile {
        first_name: text("f"),
        last_name: text("l"),
        organization: text("o"),
        description: text("d"),
        email: text("e"),
    };
    Registration { id: RegistrationId(1), name: name("bob"), profile, registered_at: Timestamp(2), status }
}

/// What may become of a registration, with the fields that say so.
fn registrations() -> [(RegistrationStatus, &'static str); 3] {
    let decided = |by| Decision { by, at: Timestamp(3) };
    [
        (RegistrationStatus::Pending { activation_token: "t".to_owned() }, "09 01000000 74"),
        (RegistrationStatus::Accepted(decided(None)), "0b 08000000 0300000000000000"),
        (
            RegistrationStatus::Declined { comment: String::new(), decision: decided(Some(UserId(4))) },
            "0a 00000000 0b 08000000 0300000000000000 0c 10000000 04000000000000000000000000000000",
        ),
    ]
}

const HEARTBEAT: &str = "01 10000000 01000000000000000000000000000000 02 08000000 0200000000000000 \
    03 08000000 0300000000000000 04 01000000 01 05 03000000 6e3a32";

fn roles() -> StoredRoles {
    StoredRoles(RoleTable::new([("publish", &["a", "b"][..]), ("pull", &[])]))
}

/// Checks a record's stored form, and that nothing but the whole of it is read.
fn golden<R: Record + PartialEq>(record: &R, expected: &str) {
    let value = encode(record, NONCE);
    let bytes: String = value.iter().skip(HEADER_BYTES).map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(bytes, expected.replace([' ', '\n'], "") + "00", "{}", R::WHAT);
    assert_eq!(value[..2], [1, R::KIND]);
    assert_eq!(value[2..18], NONCE.writer.to_le_bytes());
    assert_eq!(value[18..26], NONCE.sequence.to_le_bytes());
    assert_eq!(decode::<R>(&value).unwrap(), (NONCE, R::read(&mut FieldReader::new(&value[HEADER_BYTES..])).unwrap()));
    assert_eq!(decode::<R>(&value).unwrap().1, *record);
    for length in 0..value.len() {
        assert!(matches!(decode::<R>(&value[..length]), Err(Error::Damaged(_))), "{} cut to {length}", R::WHAT);
    }
    assert!(decode::<R>(&[&value[..], &[0]].concat()).is_err());
    let longer = [&value[..value.len() - 1], &[200, 0, 0, 0, 0, 0]].concat();
    let error = decode::<R>(&longer).unwrap_err().to_string();
    assert!(error.contains("field 200") && error.contains("newer version"), "{error}");
}

#[test]
fn stored_forms_are_frozen() {
    golden(&truth(Standing::Live, None, project()), PROJECT);
    golden(&truth(Standing::Claiming, Some("u"), topic()), TOPIC);
    golden(&truth(Standing::Deleting, None, subscription()), SUBSCRIPTION);
    let pushed = |push| truth(Standing::Deleting, None, Subscription { push: Some(push), ..subscription() });
    golden(&pushed(webhook()), &format!("{SUBSCRIPTION} {WEBHOOK}"));
    golden(&pushed(mattermost()), &format!("{SUBSCRIPTION} {MATTERMOST}"));
    golden(&pushed(notify()), &format!("{SUBSCRIPTION} {NOTIFY}"));
    golden(&truth(Standing::Live, None, account()), ACCOUNT);
    golden(&Hint { holder: Some(1), given_up: None, incarnation: Incarnation(2) }, HINT_HELD);
    let given_up = Some((1, Timestamp(2)));
    golden(&Hint { holder: None, given_up, incarnation: Incarnation(3) }, HINT_GIVEN_UP);
    golden(&TokenHint { holder: UserId(1) }, TOKEN_HINT);
    golden(&roles(), ROLES);
    golden(&KeyCheck { sealed: Sealed { key: 1, bytes: vec![2; 3] } }, KEY_CHECK);
    golden(&truth(Standing::Live, None, limited()), &format!("{PROJECT}{QUOTA}"));
    golden(&truth(Standing::Live, None, schema()), SCHEMA);
    golden(&DayEnd { messages: 1, bytes: 2 }, DAY_END);
    for (status, expected) in registrations() {
        golden(&registration(status), &format!("{REGISTRATION}{expected}"));
    }
    golden(&bound_subject(), BOUND_SUBJECT);
    golden(&SubjectHint { name: name("b"), id: 1 }, SUBJECT_HINT);
    let (node, address) = (NodeId(1), "n:2".to_owned());
    golden(&Heartbeat { node, beat: 2, at: Timestamp(3), leaving: true, address }, HEARTBEAT);
}

#[test]
fn kinds_are_frozen() {
    let kinds = [
        Truth::<Project>::KIND,
        Truth::<Topic>::KIND,
        Truth::<Subscription>::KIND,
        Truth::<Account>::KIND,
        Hint::KIND,
        TokenHint::KIND,
        StoredRoles::KIND,
        KeyCheck::KIND,
        DayEnd::KIND,
        Registration::KIND,
        Truth::<Schema>::KIND,
        BoundSubject::KIND,
        SubjectHint::KIND,
        Heartbeat::KIND,
        SealedKey::KIND,
    ];
    assert_eq!(kinds, [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 30, 20, 21, 40, 31]);
}

#[test]
fn what_a_dialect_keeps_with_a_topic_and_what_a_queue_does_with_dead_letters_stand_at_the_end() {
    let queue = truth(Standing::Live, None, Topic { metadata: Bytes::from_static(b"{}"), ..topic() });
    let (bytes, plain) = (encode(&queue, NONCE), encode(&truth(Standing::Live, None, topic()), NONCE));
    assert_eq!(bytes.get(plain.len() - 1..), Some(&b"\x0e\x02\0\0\0{}\0"[..]));
    assert_eq!(decode::<Truth<Topic>>(&bytes).unwrap().1, queue);
    let sealed = truth(Standing::Live, None, Topic { sealed: true, ..topic() });
    let bytes = encode(&sealed, NONCE);
    assert_eq!(bytes.get(plain.len() - 1..), Some(&b"\x0f\x01\0\0\0\x01\0"[..]));
    assert_eq!(decode::<Truth<Topic>>(&bytes).unwrap().1, sealed);
    let mut work = subscription();
    work.settings.dead_letter_ttl = Some(Duration::from_secs(60));
    let work = truth(Standing::Live, None, work);
    assert_eq!(decode::<Truth<Subscription>>(&encode(&work, NONCE)).unwrap().1, work);
}

#[test]
fn what_may_be_absent_may_be_absent() {
    let plain = Topic {
        retention: Retention { age: Duration::ZERO, bytes: None },
        schema: None,
        metadata: Bytes::new(),
        sealed: false,
        acl: Vec::new(),
        created_by: None,
        ..topic()
    };
    let plain = truth(Standing::Live, None, plain);
    assert_eq!(decode::<Truth<Topic>>(&encode(&plain, NONCE)).unwrap().1, plain);
}

#[test]
fn another_format_or_kind_is_refused_by_name() {
    let value = encode(&truth(Standing::Live, None, topic()), NONCE);
    let error = decode::<Truth<Project>>(&value).unwrap_err().to_string();
    assert!(error.contains("a project") && error.contains("kind is 2"), "{error}");
    let mut newer = value.to_vec();
    newer[0] = 2;
    let error = decode::<Truth<Topic>>(&newer).unwrap_err().to_string();
    assert!(error.contains("a topic") && error.contains("format 2") && error.contains("newer version"), "{error}");
}

#[test]
fn values_outside_their_rule_are_refused() {
    let refused = |fields: &dyn Fn(&mut Fields)| {
        let mut all = Fields::default();
        fields(&mut all);
        Truth::<Project>::read(&mut FieldReader::new(&all.into_bytes())).unwrap_err().to_string()
    };
    let error = refused(&|fields| _ = fields.u8(1, 9));
    assert!(error.contains("standing 9"), "{error}");
    let error = refused(&|fields| _ = fields.u8(1, 2).u128(3, 1).text(4, "a/b"));
    assert!(error.contains("slash"), "{error}");
    let error = refused(&|fields| _ = fields.u8(1, 2).bytes(3, &[1, 2]));
    assert!(error.contains("must have 16"), "{error}");
    let error = refused(&|fields| _ = fields.u8(1, 2).u128(3, 1).bytes(4, &[0xff]));
    assert!(error.contains("UTF-8"), "{error}");
    let error = refused(&|fields| _ = fields.u8(1, 2).u128(4, 1));
    assert!(error.contains("field 3 is missing"), "{error}");
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), kind in 1_u8..32) {
        let mut value = bytes;
        if let [format, stored_kind, ..] = value.as_mut_slice() {
            (*format, *stored_kind) = (FORMAT, kind);
        }
        let _ = decode::<Truth<Project>>(&value);
        let _ = decode::<Truth<Topic>>(&value);
        let _ = decode::<Truth<Subscription>>(&value);
        let _ = decode::<Truth<Account>>(&value);
        let _ = decode::<Truth<Schema>>(&value);
        let _ = decode::<Hint>(&value);
        let _ = decode::<DayEnd>(&value);
        let _ = decode::<TokenHint>(&value);
        let _ = decode::<StoredRoles>(&value);
        let _ = decode::<KeyCheck>(&value);
        let _ = decode::<BoundSubject>(&value);
        let _ = decode::<SubjectHint>(&value);
    }

    #[test]
    fn changed_bytes_never_panic_and_what_is_read_is_what_would_be_written(place in 0_usize..400, byte: u8) {
        let mut value = encode(&truth(Standing::Live, None, account()), NONCE).to_vec();
        let place = place % value.len();
        value[place] = byte;
        if let Ok((nonce, record)) = decode::<Truth<Account>>(&value) {
            prop_assert_eq!(&encode(&record, nonce)[..], &value[..]);
        }
    }
}

// Each line: tag, length, bytes. A zero byte follows.

#[test]
fn a_role_table_has_one_order() {
    let stored = |rows: &[(&str, &[&str])]| {
        let mut fields = Fields::after(encode(&roles(), NONCE).get(..HEADER_BYTES).unwrap().to_vec());
        let mut bytes = Vec::new();
        for (permission, names) in rows {
            fields::put_prefixed(&mut bytes, permission.as_bytes());
            let mut texts = Vec::new();
            names.iter().for_each(|name| fields::put_prefixed(&mut texts, name.as_bytes()));
            fields::put_prefixed(&mut bytes, &texts);
        }
        fields.bytes(1, &bytes);
        decode::<StoredRoles>(&fields.into_bytes())
    };
    assert!(stored(&[("a", &["x", "y"]), ("b", &[])]).is_ok());
    for wrong in
        [&[("b", &[][..]), ("a", &[])][..], &[("a", &[]), ("a", &[])], &[("a", &["y", "x"])], &[("a", &["x", "x"])]]
    {
        assert!(stored(wrong).is_err(), "{wrong:?}");
    }
}

const PROJECT: &str = "
    01 01000000 02
    03 10000000 01000000000000000000000000000000
    04 01000000 50
    05 02000000 c3a9
    06 10000000 02000000000000000000000000000000
    07 08000000 0300000000000000
    08 08000000 0400000000000000";

const QUOTA: &str = "
    14 08000000 0900000000000000
    16 08000000 0000000000000000";

const SCHEMA: &str = "
    01 01000000 02
    03 10000000 01000000000000000000000000000000
    04 10000000 02000000000000000000000000000000
    05 01000000 73
    06 01000000 02
    07 05000000 22696e7422
    08 02000000 7b7d
    09 08000000 0300000000000000
    0a 08000000 0400000000000000
    0b 10000000 05000000000000000000000000000000";

const TOPIC: &str = "
    01 01000000 01
    02 11000000 0c00000000000000000000000000000075
    03 10000000 01000000000000000000000000000000
    04 10000000 02000000000000000000000000000000
    05 01000000 74
    06 10000000 03000000000000000000000000000000
    07 08000000 0400000000000000
    08 08000000 404b4c0000000000
    09 08000000 0600000000000000
    0a 10000000 07000000000000000000000000000000
    0b 20000000 0800000000000000000000000000000009000000000000000000000000000000
    0c 08000000 0a00000000000000
    0d 10000000 0b000000000000000000000000000000";

const SUBSCRIPTION: &str = "
    01 01000000 03
    03 10000000 01000000000000000000000000000000
    04 10000000 02000000000000000000000000000000
    05 01000000 73
    06 01000000 74
    07 10000000 03000000000000000000000000000000
    08 01000000 02
    09 08000000 8096980000000000
    0a 04000000 05000000
    0b 01000000 64
    0c 10000000 04000000000000000000000000000000
    0d 08000000 0500000000000000
    0e 10000000 06000000000000000000000000000000";

const WEBHOOK: &str = "
    0f 41000000
        01 01000000 01
        02 09000000 68747470733a2f2f65
        03 08000000 feffffffffffffff
        04 01000000 61
        05 01000000 68
        08 08000000 b80b000000000000
        09 01000000 01
        00";

const MATTERMOST: &str = "
    0f 1f000000
        01 01000000 02
        02 01000000 75
        06 01000000 6e
        07 01000000 63
        09 01000000 02
        00";

const NOTIFY: &str = "
    0f 3b000000
        01 01000000 03
        02 08000000 687474703a2f2f65
        05 02000000 7b7d
        09 01000000 02
        0a 08000000 0500000000000000
        0b 08000000 0600000000000000
        00";

const ACCOUNT: &str = "
    01 01000000 02
    03 10000000 01000000000000000000000000000000
    04 05000000 616c696365
    05 01000000 66
    06 01000000 6c
    07 01000000 6f
    08 01000000 64
    09 01000000 65
    0a 32000000 020000000000000000000000000000000a000000010000006101000000620300000000000000000000000000000000000000
    0b 05000000 0100000063
    0c 08000000 0400000000000000
    0d 08000000 0500000000000000
    0e 10000000 06000000000000000000000000000000
    0f 20000000 0909090909090909090909090909090909090909090909090909090909090909
    10 04000000 07000000
    11 1c000000 08080808080808080808080808080808080808080808080808080808";

const HINT_HELD: &str = "
    01 10000000 01000000000000000000000000000000
    04 08000000 0200000000000000";

const HINT_GIVEN_UP: &str = "
    02 10000000 01000000000000000000000000000000
    03 08000000 0200000000000000
    04 08000000 0300000000000000";

const TOKEN_HINT: &str = "
    01 10000000 01000000000000000000000000000000";

const ROLES: &str = "
    01 25000000 070000007075626c6973680a000000010000006101000000620400000070756c6c00000000";

const REGISTRATION: &str = "
    01 10000000 01000000000000000000000000000000
    02 03000000 626f62
    03 01000000 66
    04 01000000 6c
    05 01000000 6f
    06 01000000 64
    07 01000000 65
    08 08000000 0200000000000000
    ";

const BOUND_SUBJECT: &str = "
    01 10000000 01000000000000000000000000000000
    02 04000000 434e3d61
    03 04000000 434e3d62
    04 10000000 02000000000000000000000000000000
    05 08000000 0300000000000000
    06 08000000 0400000000000000";

const SUBJECT_HINT: &str = "
    01 01000000 62
    02 10000000 01000000000000000000000000000000";

const DAY_END: &str = "01 08000000 0100000000000000 02 08000000 0200000000000000";
const KEY_CHECK: &str = "
    01 04000000 01000000
    02 03000000 020202";
