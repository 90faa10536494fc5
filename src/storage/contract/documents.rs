//! The sentences about documents: contract 14 to 17, and 19 as far as it speaks of documents.

use super::super::{Document, KEY_BYTES_MAX, Key, Order, Put, Store, StoreError, VALUE_BYTES_MAX, Version};
use super::{Subject, document, done, put_new};
use bytes::Bytes;
use std::collections::BTreeSet;

/// Contract 14.
pub(crate) async fn a_put_applies_only_to_the_expected_version(subject: Subject) {
    let store = &*subject.store();
    let key = Key::new("kind/one");
    assert_eq!(store.get(&key).await.unwrap(), None);
    let first = put_new(store, &key, "one").await;
    assert_ne!(first, Version::ABSENT);
    assert_eq!(store.get(&key).await.unwrap(), Some(document(first, "one")));
    let second = done(store.put(&key, "two".into(), first).await.unwrap());
    assert_eq!(store.get(&key).await.unwrap(), Some(document(second, "two")));
    for stale in [Version::ABSENT, first, Version(second.0 + 1), Version(u64::MAX)] {
        assert_eq!(store.put(&key, "lost".into(), stale).await.unwrap(), Put::Conflict(second), "expecting {stale:?}");
    }
}

/// Contract 14.
pub(crate) async fn a_delete_applies_only_to_the_expected_version(subject: Subject) {
    let store = &*subject.store();
    let key = Key::new("kind/one");
    let first = put_new(store, &key, "one").await;
    let second = done(store.put(&key, "two".into(), first).await.unwrap());
    for stale in [Version::ABSENT, first, Version(second.0 + 1)] {
        assert_eq!(store.delete(&key, stale).await.unwrap(), Put::Conflict(second), "expecting {stale:?}");
    }
    done(store.delete(&key, second).await.unwrap());
    assert_eq!(store.get(&key).await.unwrap(), None);
    assert_eq!(store.delete(&key, second).await.unwrap(), Put::Conflict(Version::ABSENT));
    assert_eq!(store.put(&key, "late".into(), second).await.unwrap(), Put::Conflict(Version::ABSENT));
    assert_eq!(store.get(&key).await.unwrap(), None);
}

/// Contract 14, to the letter: nothing stands there, as was expected.
pub(crate) async fn deleting_nothing_as_expected_is_done(subject: Subject) {
    let store = &*subject.store();
    let key = Key::new("kind/none");
    done(store.delete(&key, Version::ABSENT).await.unwrap());
    assert_eq!(store.get(&key).await.unwrap(), None);
    put_new(store, &key, "now").await;
}

/// Contract 14.
pub(crate) async fn a_refused_change_changes_nothing(subject: Subject) {
    let store = &*subject.store();
    let (key, other) = (Key::new("kind/one"), Key::new("kind/other"));
    let version = put_new(store, &key, "one").await;
    for refused in [
        store.put(&key, "lost".into(), Version::ABSENT).await.unwrap(),
        store.delete(&key, Version(version.0 + 9)).await.unwrap(),
        store.put(&other, "lost".into(), version).await.unwrap(),
        store.delete(&other, version).await.unwrap(),
    ] {
        assert!(matches!(refused, Put::Conflict(_)), "{refused:?}");
    }
    assert_eq!(store.get(&key).await.unwrap(), Some(document(version, "one")));
    assert_eq!(everything(store).await, [(key, document(version, "one"))]);
}

/// Contract 15.
pub(crate) async fn versions_grow_and_never_repeat(subject: Subject) {
    let store = &*subject.store();
    let keys = [Key::new("kind/one"), Key::new("kind/two")];
    for key in &keys {
        let mut versions = vec![Version::ABSENT];
        for _ in 0..3 {
            let made = put_new(store, key, "same value").await;
            let changed = done(store.put(key, "same value".into(), made).await.unwrap());
            let gone = done(store.delete(key, changed).await.unwrap());
            versions.extend([made, changed, gone]);
        }
        assert!(versions.is_sorted_by(|earlier, later| earlier < later), "{versions:?}");
    }
}

/// Contract 15 and 5: also when the key was gone at the stop.
pub(crate) async fn versions_do_not_repeat_after_opening_again(mut subject: Subject) {
    let (gone, kept) = (Key::new("kind/gone"), Key::new("kind/kept"));
    let (last, version) = {
        let store = &*subject.store();
        let first = put_new(store, &gone, "one").await;
        let last = done(store.put(&gone, "two".into(), first).await.unwrap());
        let version = put_new(store, &kept, "kept").await;
        (done(store.delete(&gone, last).await.unwrap()).max(last), version)
    };
    subject.reopen().await;
    let store = &*subject.store();
    assert_eq!(everything(store).await, [(kept.clone(), document(version, "kept"))]);
    assert!(put_new(store, &gone, "again").await > last);
    assert!(done(store.put(&kept, "newer".into(), version).await.unwrap()) > version);
}

/// A value is bytes.
pub(crate) async fn a_value_may_be_empty_or_any_bytes(subject: Subject) {
    let store = &*subject.store();
    let all: Vec<u8> = (0..=255).collect();
    for (name, value) in [("empty", Bytes::new()), ("all", Bytes::from(all))] {
        let key = Key::new(format!("kind/{name}"));
        let version = put_new(store, &key, value.clone()).await;
        assert_eq!(store.get(&key).await.unwrap(), Some(document(version, value)));
    }
}

/// Contract 16.
pub(crate) async fn a_scan_answers_only_the_keys_with_the_prefix(subject: Subject) {
    let store = &*subject.store();
    let names = ["a", "a/", "a/1", "a/2", "a0", "b/1", "A/1"];
    for name in names {
        put_new(store, &Key::new(name), name).await;
    }
    for order in [Order::Ascending, Order::Descending] {
        assert_eq!(sorted(scan(store, "a/", None, 99, order).await), ["a/", "a/1", "a/2"]);
        assert_eq!(sorted(scan(store, "a/1", None, 99, order).await), ["a/1"]);
        assert_eq!(sorted(scan(store, "", None, 99, order).await), sorted(names.map(Key::new).to_vec()));
    }
    for (key, found) in store.scan(&Key::new("a"), None, 99, Order::Ascending).await.unwrap() {
        assert_eq!(store.get(&key).await.unwrap().as_ref(), Some(&found), "a scan and a get agree on {key}");
        assert_eq!(found.value, key.0);
    }
}

/// Contract 16.
pub(crate) async fn a_scan_goes_in_the_order_asked(subject: Subject) {
    let store = &*subject.store();
    for name in ["k/2", "k/10", "k/1", "k/3", "j/9", "l/0"] {
        put_new(store, &Key::new(name), "").await;
    }
    assert_eq!(names(scan(store, "k/", None, 99, Order::Ascending).await), ["k/1", "k/10", "k/2", "k/3"]);
    assert_eq!(names(scan(store, "k/", None, 99, Order::Descending).await), ["k/3", "k/2", "k/10", "k/1"]);
}

/// Contract 16; `after` need not exist, nor lie inside the prefix.
pub(crate) async fn a_scan_starts_strictly_after(subject: Subject) {
    let store = &*subject.store();
    for name in ["j/9", "k/1", "k/3", "k/5", "l/0"] {
        put_new(store, &Key::new(name), "").await;
    }
    let cases: [(&str, &[&str], &[&str]); 8] = [
        ("k/1", &["k/3", "k/5"], &[]),
        ("k/3", &["k/5"], &["k/1"]),
        ("k/4", &["k/5"], &["k/3", "k/1"]),
        ("k/5", &[], &["k/3", "k/1"]),
        ("k/", &["k/1", "k/3", "k/5"], &[]),
        ("j/9", &["k/1", "k/3", "k/5"], &[]),
        ("l/0", &[], &["k/5", "k/3", "k/1"]),
        ("", &["k/1", "k/3", "k/5"], &[]),
    ];
    for (after, ascending, descending) in cases {
        let up = names(scan(store, "k/", Some(after), 99, Order::Ascending).await);
        assert_eq!(up, ascending, "ascending after {after:?}");
        let down = names(scan(store, "k/", Some(after), 99, Order::Descending).await);
        assert_eq!(down, descending, "descending after {after:?}");
    }
}

/// Contract 16, as lists are paged.
pub(crate) async fn a_scan_by_pages_meets_every_key_once(subject: Subject) {
    let store = &*subject.store();
    let mut all = Vec::new();
    for index in 0..23 {
        let name = format!("k/{index:02}");
        put_new(store, &Key::new(name.clone()), "").await;
        all.push(name);
    }
    for order in [Order::Ascending, Order::Descending] {
        let mut met: Vec<String> = Vec::new();
        loop {
            let page = names(scan(store, "k/", met.last().map(String::as_str), 5, order).await);
            if page.is_empty() {
                break;
            }
            met.extend(page);
        }
        assert_eq!(met, all);
        all.reverse();
    }
}

/// Contract 16.
pub(crate) async fn a_scan_stops_at_its_limit(subject: Subject) {
    let store = &*subject.store();
    for name in ["k/1", "k/2", "k/3"] {
        put_new(store, &Key::new(name), "").await;
    }
    for limit in 0..5 {
        let expected = limit.min(3);
        assert_eq!(scan(store, "k/", None, limit, Order::Ascending).await.len(), expected);
        assert_eq!(scan(store, "k/", None, limit, Order::Descending).await.len(), expected);
    }
    assert_eq!(names(scan(store, "k/", None, 1, Order::Descending).await), ["k/3"]);
}

/// Contract 16.
pub(crate) async fn a_scan_of_nothing_is_empty(subject: Subject) {
    let store = &*subject.store();
    for order in [Order::Ascending, Order::Descending] {
        assert_eq!(scan(store, "", None, 99, order).await, []);
    }
    let key = Key::new("k/1");
    let version = put_new(store, &key, "").await;
    done(store.delete(&key, version).await.unwrap());
    put_new(store, &Key::new("j/1"), "").await;
    put_new(store, &Key::new("l/1"), "").await;
    for order in [Order::Ascending, Order::Descending] {
        assert_eq!(scan(store, "k/", None, 99, order).await, [], "a deleted document is in no scan");
    }
}

/// Contract 16: no key follows a prefix of `0xff` alone, and one that ends in `0xff` needs a carry.
pub(crate) async fn a_scan_of_a_prefix_of_highest_bytes_ends_with_it(subject: Subject) {
    let store = &*subject.store();
    let keys: Vec<Key> = [&b"k\xfe\xff"[..], b"k\xff", b"k\xff\x00", b"k\xff\xff", b"l", b"\xff", b"\xff\xff"]
        .into_iter()
        .map(|bytes| Key(Bytes::from_static(bytes)))
        .collect();
    for key in &keys {
        put_new(store, key, "").await;
    }
    for (prefix, range) in [(&b"k\xff"[..], 1..4), (b"k\xff\xff", 3..4), (b"\xff", 5..7), (b"\xff\xff", 6..7)] {
        let prefix = Key(Bytes::from_static(prefix));
        let mut expected = keys[range].to_vec();
        for order in [Order::Ascending, Order::Descending] {
            let found = store.scan(&prefix, None, 99, order).await.unwrap();
            assert_eq!(found.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), expected, "{prefix} {order:?}");
            expected.reverse();
        }
    }
}

/// Contract 16: the order of keys is that of their bytes, not of any text.
pub(crate) async fn keys_are_ordered_as_bytes(subject: Subject) {
    let store = &*subject.store();
    let ordered = ["k/\u{0}", "k/", "k/Z", "k/a", "k/ab", "k/b", "k/é", "k/z\u{10FFFF}"];
    for name in ordered {
        put_new(store, &Key::new(name), "").await;
    }
    let mut expected: Vec<Key> = ordered.map(Key::new).to_vec();
    expected.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(scan(store, "k/", None, 99, Order::Ascending).await, expected);
}

/// Contract 17.
pub(crate) async fn a_change_is_seen_by_every_later_call(subject: Subject) {
    let store = &*subject.store();
    let key = Key::new("kind/one");
    for round in 0..10 {
        let value = format!("round {round}");
        let version = put_new(store, &key, value.clone()).await;
        let stands = document(version, value);
        assert_eq!(store.get(&key).await.unwrap(), Some(stands.clone()));
        assert_eq!(everything(store).await, [(key.clone(), stands)]);
        done(store.delete(&key, version).await.unwrap());
        assert_eq!(store.get(&key).await.unwrap(), None);
        assert_eq!(everything(store).await, []);
    }
}

/// Contract 19.
pub(crate) async fn the_largest_document_is_taken_and_a_larger_one_refused(subject: Subject) {
    let store = &*subject.store();
    let longest = Key::new("k".repeat(KEY_BYTES_MAX));
    let too_long = Key::new("k".repeat(KEY_BYTES_MAX + 1));
    let largest = Bytes::from(vec![b'x'; VALUE_BYTES_MAX]);
    let too_large = Bytes::from(vec![b'x'; VALUE_BYTES_MAX + 1]);
    for (key, value) in [(&longest, &too_large), (&too_long, &Bytes::new())] {
        let refused = store.put(key, value.clone(), Version::ABSENT).await;
        assert!(matches!(refused, Err(StoreError::TooLarge { .. })), "{refused:?}");
        assert_eq!(everything(store).await, [], "nothing was written");
    }
    let version = put_new(store, &longest, largest.clone()).await;
    assert!(store.get(&longest).await.unwrap() == Some(document(version, largest)), "it comes back as it was");
}

async fn everything(store: &dyn Store) -> Vec<(Key, Document)> {
    store.scan(&Key::new(""), None, usize::MAX, Order::Ascending).await.unwrap()
}

async fn scan(store: &dyn Store, prefix: &str, after: Option<&str>, limit: usize, order: Order) -> Vec<Key> {
    let found = store.scan(&Key::new(prefix), after.map(Key::new).as_ref(), limit, order).await.unwrap();
    found.into_iter().map(|(key, _)| key).collect()
}

fn names(keys: Vec<Key>) -> Vec<String> {
    keys.into_iter().map(|key| String::from_utf8(key.0.to_vec()).unwrap()).collect()
}

/// The names in order; fails if one is there twice.
fn sorted(keys: Vec<Key>) -> Vec<String> {
    let (many, distinct) = (keys.len(), names(keys).into_iter().collect::<BTreeSet<_>>());
    assert_eq!(distinct.len(), many);
    distinct.into_iter().collect()
}
