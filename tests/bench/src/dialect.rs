//! What a load says in each dialect: the same messages, posted and acknowledged with their offsets.

use crate::load::{Size, Stamp, publish_body};
use crate::verify::message_ids;

/// How a load speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Dialect {
    Ams,
    Zaqar,
}

impl Dialect {
    /// What names the caller in each request's head.
    pub(crate) fn head(self) -> String {
        match self {
            Self::Ams => format!("x-api-key: {}\r\n", crate::server::TOKEN),
            Self::Zaqar => "client-id: 3381af922b9e11e3b19171861300734c\r\nx-project-id: b\r\n".to_owned(),
        }
    }

    /// Where a topic's messages are sent to.
    pub(crate) fn publish_path(self, topic: usize) -> String {
        match self {
            Self::Ams => format!("/v1/projects/b/topics/t{topic}:publish"),
            Self::Zaqar => format!("/v2/queues/t{topic}/messages"),
        }
    }

    /// The body of a request that sends so many messages from `first` on.
    pub(crate) fn publish_body(self, producer: u32, first: u64, count: u64, size: Size, out: &mut String) {
        if self == Self::Ams {
            return publish_body(producer, first, count, size, out);
        }
        out.clear();
        out.push_str("{\"messages\":[");
        for sequence in first..first + count {
            out.push_str(if sequence == first { "{\"ttl\":3600,\"body\":\"" } else { ",{\"ttl\":3600,\"body\":\"" });
            Stamp { producer, sequence }.write(size, out);
            out.push_str("\"}");
        }
        out.push_str("]}");
    }

    /// The offsets that an answer to such a request tells, in order.
    pub(crate) fn offsets(self, answer: &[u8]) -> Vec<u64> {
        match self {
            Self::Ams => message_ids(answer).collect(),
            Self::Zaqar => {
                let text = std::str::from_utf8(answer).unwrap_or_default();
                let hrefs = text.split('"').filter(|part| part.starts_with("/v2/"));
                hrefs.filter_map(|href| offset(href.rsplit('/').next()?)).collect()
            }
        }
    }
}

/// The offset that is in a Zaqar message's id.
pub(crate) fn offset(id: &str) -> Option<u64> {
    u64::from_str_radix(id.get(8..24)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_read_from_ids() {
        let answer = br#"{"resources": ["/v2/queues/t0/messages/0000000100000000000000ff12345678", "/v2/queues/t0/messages/00000001000000000000010012345678"]}"#;
        assert_eq!(Dialect::Zaqar.offsets(answer), [255, 256]);
        assert_eq!(Dialect::Ams.offsets(br#"{"messageIds": ["7", "8"]}"#), [7, 8]);
        assert_eq!(offset("short"), None);
    }
}
