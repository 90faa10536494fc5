//! The wire between nodes: who speaks proves that it knows the cluster's secret, and each frame that it comes from there.
//!
//! ```text
//! accepting node   32 random bytes
//! speaking node    version 1, its id (16), 32 random bytes, MAC under the secret of all that was said
//! accepting node   MAC of "welcome" under the key of this connection
//! speaking node    frames: length (2), body, MAC of the frame's number and body under the key of this connection
//! ```
//! A body is a byte (1: look at the nodes) and any number of a log's id (16) with its next offset (8). Numbers are big endian, MACs are
//! HMAC-SHA256. Nothing is secret here but the key: who listens on the network sees which log ids grow. Owns no connection and no task.

use crate::broker::Growth;
use crate::domain::subscription::NodeId;
use crate::domain::{LogRef, Offset};
use aws_lc_rs::hmac::{self, HMAC_SHA256, Key};
use std::io::{Error, ErrorKind, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const VERSION: u8 = 1;
const MAC: usize = 32;
const GROWTH: usize = 24;
/// Most growth of one frame; a longer one is refused.
pub(super) const GROWTH_MAX: usize = 256;
const BODY_MAX: usize = 1 + GROWTH * GROWTH_MAX;

/// What a frame says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Frame {
    /// That the nodes have changed.
    pub(super) look: bool,
    /// What has grown; at most [`GROWTH_MAX`].
    pub(super) growth: Vec<Growth>,
}

/// One direction of an opened connection.
pub(super) struct Line<S> {
    stream: S,
    key: Key,
    count: u64,
}

/// The cluster's secret as a key.
pub(super) fn key(secret: &str) -> Key {
    Key::new(HMAC_SHA256, secret.as_bytes())
}

fn wrong(why: &'static str) -> Error {
    Error::new(ErrorKind::InvalidData, why)
}

fn random() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Error::other("the machine gives no randomness"))?;
    Ok(bytes)
}

/// The key of a connection: both sides' randomness is in it, so no frame counts on any other.
fn session(secret: &Key, said: &[u8]) -> Key {
    Key::new(HMAC_SHA256, hmac::sign(secret, &[b"session", said].concat()).as_ref())
}

/// Opens a connection as the one who speaks.
pub(super) async fn speak<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    secret: &Key,
    own: NodeId,
) -> Result<Line<S>> {
    let mut challenge = [0; 32];
    stream.read_exact(&mut challenge).await?;
    let said = [&challenge[..], &[VERSION], &own.0.to_be_bytes(), &random()?].concat();
    let proof = hmac::sign(secret, &said);
    let (_, hello) = said.split_at_checked(challenge.len()).unwrap_or_default();
    stream.write_all(&[hello, proof.as_ref()].concat()).await?;
    let key = session(secret, &said);
    let mut welcome = [0; MAC];
    stream.read_exact(&mut welcome).await?;
    hmac::verify(&key, b"welcome", &welcome).map_err(|_| wrong("the other node has another secret"))?;
    Ok(Line { stream, key, count: 0 })
}

/// Opens a connection as the one who listens; also who speaks.
pub(super) async fn listen<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    secret: &Key,
) -> Result<(NodeId, Line<S>)> {
    let challenge = random()?;
    stream.write_all(&challenge).await?;
    let (mut version, mut node, mut nonce, mut proof) = ([0; 1], [0; 16], [0; 32], [0; MAC]);
    stream.read_exact(&mut version).await?;
    if version != [VERSION] {
        return Err(wrong("it speaks another version"));
    }
    for part in [&mut node[..], &mut nonce, &mut proof] {
        stream.read_exact(part).await?;
    }
    let said = [&challenge[..], &version, &node, &nonce].concat();
    hmac::verify(secret, &said, &proof).map_err(|_| wrong("it does not know the cluster's secret"))?;
    let key = session(secret, &said);
    stream.write_all(hmac::sign(&key, b"welcome").as_ref()).await?;
    Ok((NodeId(u128::from_be_bytes(node)), Line { stream, key, count: 0 }))
}

impl<S> Line<S> {
    /// The bytes that the MAC of the next frame covers.
    fn covered(&mut self, body: &[u8]) -> Vec<u8> {
        self.count += 1;
        [&self.count.to_be_bytes()[..], body].concat()
    }
}

impl<S: AsyncWrite + Unpin> Line<S> {
    /// Says something.
    pub(super) async fn send(&mut self, frame: &Frame) -> Result<()> {
        let mut body = vec![u8::from(frame.look)];
        for growth in frame.growth.iter().take(GROWTH_MAX) {
            body.extend_from_slice(&growth.log.0.to_be_bytes());
            body.extend_from_slice(&growth.next.0.to_be_bytes());
        }
        let length = u16::try_from(body.len()).map_err(|_| wrong("a frame is too long"))?;
        let covered = self.covered(&body);
        let mac = hmac::sign(&self.key, &covered);
        self.stream.write_all(&[&length.to_be_bytes()[..], &body, mac.as_ref()].concat()).await?;
        self.stream.flush().await
    }
}

impl<S: AsyncRead + Unpin> Line<S> {
    /// Hears something.
    pub(super) async fn receive(&mut self) -> Result<Frame> {
        let length = usize::from(self.stream.read_u16().await?);
        if length > BODY_MAX || length % GROWTH != 1 {
            return Err(wrong("a frame has a strange length"));
        }
        let (mut body, mut mac) = (vec![0; length], [0; MAC]);
        self.stream.read_exact(&mut body).await?;
        self.stream.read_exact(&mut mac).await?;
        let covered = self.covered(&body);
        hmac::verify(&self.key, &covered, &mac).map_err(|_| wrong("a frame is not from where the connection is"))?;
        let Some((flags, growth)) = body.split_first() else { return Err(wrong("a frame is empty")) };
        let growth = growth.chunks_exact(GROWTH).filter_map(|entry| {
            let (log, next) = entry.split_at_checked(16)?;
            let log = LogRef(u128::from_be_bytes(log.try_into().ok()?));
            Some(Growth { log, next: Offset(u64::from_be_bytes(next.try_into().ok()?)) })
        });
        Ok(Frame { look: *flags & 1 == 1, growth: growth.collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn growth(log: u128) -> Growth {
        Growth { log: LogRef(log), next: Offset(7) }
    }

    #[tokio::test]
    async fn who_knows_the_secret_is_heard() {
        let (here, there) = tokio::io::duplex(64);
        let secret = key("the cluster's own secret");
        let (spoken, heard) = tokio::join!(speak(here, &secret, NodeId(5)), listen(there, &secret));
        let (mut spoken, (node, mut heard)) = (spoken.unwrap(), heard.unwrap());
        assert_eq!(node, NodeId(5));
        let full = Frame { look: true, growth: (0..GROWTH_MAX as u128).map(growth).collect() };
        for frame in [Frame::default(), full] {
            let (sent, received) = tokio::join!(spoken.send(&frame), heard.receive());
            sent.unwrap();
            assert_eq!(received.unwrap(), frame);
        }
    }

    #[tokio::test]
    async fn who_has_another_secret_is_turned_away() {
        let (here, there) = tokio::io::duplex(1_024);
        let (wrong, right) = (key("another secret"), key("the cluster's own secret"));
        let (spoken, heard) = tokio::join!(speak(here, &wrong, NodeId(5)), listen(there, &right));
        assert!(heard.err().unwrap().to_string().contains("secret"));
        assert!(spoken.is_err());
    }

    #[tokio::test]
    async fn a_node_that_only_pretends_to_be_one_is_told_nothing() {
        let (here, mut there) = tokio::io::duplex(1_024);
        let right = key("the cluster's own secret");
        let pretend = async {
            there.write_all(&[0; 32]).await.unwrap();
            there.read_exact(&mut [0; 1 + 16 + 32 + MAC]).await.unwrap();
            there.write_all(&[0; MAC]).await.unwrap();
        };
        let (spoken, ()) = tokio::join!(speak(here, &right, NodeId(5)), pretend);
        assert!(spoken.err().unwrap().to_string().contains("secret"));
    }

    #[tokio::test]
    async fn a_frame_that_was_changed_or_comes_again_is_refused() {
        let line = || Line { stream: std::io::Cursor::new(Vec::new()), key: key("k"), count: 0 };
        let mut sent = line();
        sent.send(&Frame { look: false, growth: vec![growth(1)] }).await.unwrap();
        let bytes = sent.stream.into_inner();
        let hear = async |bytes: Vec<u8>, count| {
            let mut line = Line { stream: std::io::Cursor::new(bytes), key: key("k"), count };
            line.receive().await
        };
        assert_eq!(hear(bytes.clone(), 0).await.unwrap().growth, [growth(1)]);
        assert!(hear(bytes.clone(), 1).await.is_err(), "it was said before");
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(hear(changed, 0).await.is_err(), "byte {at}");
        }
    }
}
