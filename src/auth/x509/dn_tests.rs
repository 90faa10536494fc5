//! Names that are the same however they are written, and names that only look so.

use super::*;
use proptest::prelude::*;

fn read(text: &str) -> DistinguishedName {
    DistinguishedName::parse("subject", text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused(text: &str) -> String {
    DistinguishedName::parse("subject", text).map(|name| name.to_string()).expect_err(text).to_string()
}

#[test]
fn one_name_may_be_written_in_many_ways() {
    let expected = read("CN=robot,OU=computers,O=Site,DC=example,DC=org");
    for text in [
        "cn=robot, ou = computers ,O=Site,dc=example,DC=org",
        "CN=robot;OU=computers;O=Site;DC=example;DC=org",
        "CN=\"robot\",OU=computers,O=Site,DC=example,DC=org",
        "2.5.4.3=robot,OID.2.5.4.11=computers,o=Site,DC=example,DC=org",
        "commonName=\\72obot,OU=comput\\65rs,O=Site,DC=example,DC=org",
        "/DC=org/DC=example/O=Site/OU=computers/CN=robot",
        "/dc=org/dc=example/o=Site/ou=computers/cn=robot",
    ] {
        assert_eq!(read(text), expected, "{text}");
        assert_eq!(read(text).to_string(), expected.to_string(), "{text}");
    }
    assert_eq!(expected.to_string(), "CN=robot,OU=computers,O=Site,DC=example,DC=org");
}

#[test]
fn names_that_only_look_alike_are_others() {
    let robot = read("CN=robot,O=Site");
    for other in [
        "CN=Robot,O=Site",
        "CN=robot,O=site",
        "CN=r\u{43e}bot,O=Site",
        "CN=robot\u{200b},O=Site",
        "CN=\u{ff52}obot,O=Site",
        "O=Site,CN=robot",
        "CN=robot+O=Site",
        "CN=robot",
        "CN=robot,O=Site,O=Site",
        "CN=robot,OU=Site",
        "CN=robot\\,O\\=Site",
        "CN=robot,O=Site\\ ",
        "CN=robot/O=Site",
        "CN=robot,O=Site,C=GR",
    ] {
        assert_ne!(read(other), robot, "{other}");
        assert_ne!(read(other).to_string(), robot.to_string(), "{other}");
    }
    assert_ne!(read("CN=\u{e9}"), read("CN=e\u{301}"), "no Unicode form is taken for another");
    assert_ne!(read("CN=a  b"), read("CN=a b"), "blanks count");
}

#[test]
fn the_parts_of_a_multi_valued_part_have_no_order() {
    assert_eq!(read("CN=a+UID=b,O=x"), read("UID=b+CN=a,O=x"));
    assert_ne!(read("CN=a+UID=b,O=x"), read("CN=a,UID=b,O=x"));
    assert_eq!(read("OU=b+OU=a").to_string(), "OU=a+OU=b");
    assert!(refused("CN=a+CN=a").contains("twice"));
}

#[test]
fn escapes_and_quotes_are_undone_and_written_anew() {
    for (text, value) in [
        (r"CN=a\,b", "a,b"),
        (r#"CN="a,b""#, "a,b"),
        (r#"CN="a\"b" "#, "a\"b"),
        (r"CN=\ a\ ", " a "),
        (r"CN=\#1", "#1"),
        (r"CN=1#", "1#"),
        (r"CN=L\C3\BC\c3\a9", "Lüé"),
        (r"CN=a\+b\;c\<d\>e\\f", "a+b;c<d>e\\f"),
        (r"CN=a=b", "a=b"),
        (r"CN=host/a.example.org", "host/a.example.org"),
        (r"CN=host\/a.example.org", "host/a.example.org"),
    ] {
        let name = read(text);
        let only = name.relatives.first().and_then(|relative| relative.first()).unwrap();
        assert_eq!(only.value, value, "{text}");
        assert_eq!(read(&name.to_string()), name, "{text}");
    }
}

#[test]
fn a_slash_form_that_can_be_read_in_two_ways_is_refused() {
    for text in [
        "/DC=org/CN=host/a.example.org",
        "/DC=org/CN=a/",
        "//CN=a",
        "/",
        "/DC=org/CN=a\\/OU=b",
        "/CN=L\\xC3\\xBC",
        "/O=x/CN=a+UID=b",
        "/O=x,CN=a",
        "/O=x, CN=a",
        "/O=x/vendor=y",
        "/O=x/CN= a",
        "/O=x/CN",
    ] {
        assert!(refused(text).contains("ambiguous"), "{text}: {}", refused(text));
    }
    assert_eq!(read("/O=Example, Inc./CN=a+b"), read("CN=a\\+b,O=Example\\, Inc."));
}

#[test]
fn what_is_no_name_is_refused_with_its_reason() {
    let long = format!("CN={}", "x".repeat(5_000));
    let many = vec!["OU=x"; 65].join(",");
    for (text, reason) in [
        ("", "no `=`"),
        ("robot", "no `=`"),
        ("CN=", "no value for CN"),
        ("CN=a,", "no `=`"),
        ("CN=a,,O=b", "`,O`, which is not known"),
        ("CN=a\0,O=b", "control character"),
        ("CN=a\\00,O=b", "control character"),
        ("/CN=a\0/O=b", "control character"),
        ("CN=a\\1B[2J", "control character"),
        ("CN=a\u{85}", "control character"),
        ("CN=a\\", "ends with a backslash"),
        ("CN=a\\xb", "not known"),
        ("CN=\\ff\\fe", "not UTF-8"),
        ("CN=\"a", "not closed"),
        ("CN=\"a\"b", "closing quote"),
        ("CN=a<b", "unescaped <"),
        ("CN=#0403", "hexadecimal"),
        ("vendor=a", "not known"),
        ("2.05.4=a", "not known"),
        ("2.=a", "not known"),
        (&long, "longer than"),
        (&many, "more than 64"),
    ] {
        assert!(refused(text).contains(reason), "{text:?}: {}", refused(text));
    }
}

proptest! {
    #[test]
    fn every_name_reads_back_from_its_text(values in prop::collection::vec(("[A-Z]{1,2}", "[^\\p{Cc}]{1,12}"), 1..6)) {
        let kinds = ["2.5.4.3", "2.5.4.10", "2.5.4.11", "1.3.6.1.4.1.9"];
        let relatives = values.iter().enumerate().map(|(at, (_, value))| vec![(kinds[at % 4].to_owned(), value.clone())]);
        let name = DistinguishedName::of(relatives.collect()).unwrap();
        prop_assert_eq!(read(&name.to_string()), name);
    }

    #[test]
    fn no_text_makes_it_panic_and_what_reads_reads_back(text in "[/CN=O,+;\"\\\\ #0-9a-fé\u{0}]{0,40}") {
        if let Ok(name) = DistinguishedName::parse("subject", &text) {
            prop_assert_eq!(DistinguishedName::parse("subject", &name.to_string()), Ok(name));
        }
    }
}
