//! What can be typed, and what makes no sense.

use super::*;
use clap::CommandFactory;

fn parse(line: &str) -> Result<Arguments, clap::Error> {
    Arguments::try_parse_from(std::iter::once("angelia").chain(line.split_whitespace()))
}

#[test]
fn the_arguments_are_consistent() {
    Arguments::command().debug_assert();
}

#[test]
fn nothing_starts_the_demonstration_and_settings_may_stand_anywhere() {
    assert!(parse("").unwrap().command.is_none());
    for line in
        ["--set store.url=memory: --set log.level=warn serve", "serve --set store.url=memory: --set log.level=warn"]
    {
        let arguments = parse(line).unwrap();
        assert!(matches!(arguments.command, Some(Command::Serve)));
        assert_eq!(arguments.settings.set, ["store.url=memory:", "log.level=warn"]);
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for line in [
        "pull s1 --follow",
        "pull s1 --max 0",
        "pull s1 --ack --raw --json",
        "subscription create s1",
        "subscription seek s1",
        "subscription seek s1 --to 3 --time 2024-05-01T10:00:00.000Z",
        "topic acl t1 --users a,b --none",
        "publish",
        "check-config --schema --defaults",
        "topic list --token a --token-file b",
        "launch",
        "binding create b --subject CN=a",
        "binding update b --issuer CN=a --any-issuer",
        "config from-ams",
        "schema create s1",
        "schema update s1 --attributes a --any-attributes",
        "subscription push s1",
        "subscription push s1 --to https://a --none",
        "subscription push s1 --none --max 3",
        "project quota p --none --topics 3",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn a_publish_takes_messages_attributes_and_files() {
    let Some(Command::Publish(publish)) = parse("publish t1 one two -a site=A -a x=y -f a.txt").unwrap().command else {
        panic!("publish expected")
    };
    assert_eq!(publish.messages, ["one", "two"]);
    assert_eq!(publish.attribute, ["site=A", "x=y"]);
    assert_eq!(publish.batch, 100);
}

#[test]
fn an_access_list_is_shown_set_or_emptied() {
    let change = |line: &str| match parse(line).unwrap().command {
        Some(Command::Topic(Topic::Acl { change, .. })) => (change.users, change.none),
        other => panic!("{other:?}"),
    };
    assert_eq!(change("topic acl t1"), (None, false));
    assert_eq!(change("topic acl t1 --users a,b"), (Some(vec!["a".to_owned(), "b".to_owned()]), false));
    assert_eq!(change("topic acl t1 --none"), (None, true));
}
