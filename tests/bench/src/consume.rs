//! Consuming: making topics and subscriptions, pulling and acknowledging until nothing comes any more, reading back.

use crate::Result;
use crate::http::Connection;
use crate::load::Size;
use crate::server::Server;
use crate::verify::{Acks, Faults, Ledger, Taken, check_all};
use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

/// Messages a pull takes when a topic is read back, and the bytes that they may have together.
const READ_BACK: usize = 1_000;
const READ_BACK_BYTES: usize = 8 << 20;
/// Connections that make topics and subscriptions.
const MAKERS: usize = 16;

/// How a subscription acknowledges.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    Cumulative,
    Individual,
}

/// Makes the project and so many topics, t0 on.
pub(crate) async fn make_topics(server: &Server, topics: usize) -> Result<()> {
    server.connect().await?.call("POST", "/v1/projects/b", b"{}").await?;
    put_all(server, topics, |at| (format!("topics/t{at}"), String::new())).await
}

/// Makes subscriptions of the first topic.
pub(crate) async fn make_subscriptions(server: &Server, names: &[String], mode: Mode) -> Result<()> {
    let mode = if mode == Mode::Individual { "individual" } else { "cumulative" };
    let body = format!("{{\"topic\":\"projects/b/topics/t0\",\"ackDeadlineSeconds\":600,\"ackMode\":\"{mode}\"}}");
    let name = |at: usize| names.get(at).map(String::as_str).unwrap_or_default();
    put_all(server, names.len(), |at| (format!("subscriptions/{}", name(at)), body.clone())).await
}

/// Makes a cumulative subscription for each of so many topics, s0 on.
pub(crate) async fn subscribe_each(server: &Server, topics: usize) -> Result<()> {
    let body = |at| format!("{{\"topic\":\"projects/b/topics/t{at}\",\"ackDeadlineSeconds\":600}}");
    put_all(server, topics, |at| (format!("subscriptions/s{at}"), body(at))).await
}

async fn put_all(server: &Server, count: usize, what: impl Fn(usize) -> (String, String)) -> Result<()> {
    let what = &what;
    let makers = (0..MAKERS.min(count)).map(async |first| {
        let mut line = server.connect().await?;
        for at in (first..count).step_by(MAKERS) {
            let (path, body) = what(at);
            line.call("PUT", &format!("/v1/projects/b/{path}"), body.as_bytes()).await?;
        }
        Ok(())
    });
    join(makers.collect()).await.map(drop)
}

/// How a subscription is consumed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pulls {
    pub(crate) size: Size,
    /// Messages a pull takes at most.
    pub(crate) count: u64,
    /// Acknowledges by the last id of a pull, instead of by all.
    pub(crate) last_only: bool,
    /// How often it is pulled at most.
    pub(crate) at_most: u64,
}

impl Pulls {
    /// Until the end, by a hundred messages of 1 KiB.
    pub(crate) fn by_100(mode: Mode) -> Self {
        let last_only = mode == Mode::Cumulative;
        Self { size: Size::of_bytes(1_024), count: 100, last_only, at_most: u64::MAX }
    }
}

/// Pulls and acknowledges until nothing comes any more, or as often as is asked for.
pub(crate) async fn consume(line: &mut Connection, subscription: &str, pulls: Pulls) -> Result<Taken> {
    let pull = format!("/v1/projects/b/subscriptions/{subscription}:pull");
    let ack = format!("/v1/projects/b/subscriptions/{subscription}:acknowledge");
    let body = format!("{{\"maxMessages\":\"{}\",\"returnImmediately\":\"true\"}}", pulls.count);
    let (mut taken, mut acks) = (Taken::default(), Acks::new(pulls.last_only));
    for _ in 0..pulls.at_most {
        let answer = line.call("POST", &pull, body.as_bytes()).await?;
        if taken.take(answer, pulls.size, &mut acks) == 0 {
            break;
        }
        line.call("POST", &ack, acks.body.as_bytes()).await?;
    }
    Ok(taken)
}

/// Reads a whole topic through a cumulative subscription that nobody has used, and compares every message.
pub(crate) async fn read_back(server: &Server, name: &str, size: Size, ledger: &Ledger) -> Result<(u64, Faults)> {
    let count = (READ_BACK_BYTES / size.letters).clamp(1, READ_BACK) as u64;
    let pulls = Pulls { size, count, last_only: true, at_most: u64::MAX };
    let taken = consume(&mut server.connect().await?, name, pulls).await?;
    Ok(check_all(ledger, true, &[taken]))
}

/// Reads the subscriptions that [`subscribe_each`] made to their ends, and compares every message.
pub(crate) async fn read_back_each(server: &Server, size: Size, ledgers: &[Ledger]) -> Result<(u64, Faults)> {
    let readers = (0..MAKERS.min(ledgers.len())).map(async |first| {
        let mut line = server.connect().await?;
        let (mut verified, mut faults) = (0, Faults::default());
        for (at, ledger) in ledgers.iter().enumerate().skip(first).step_by(MAKERS) {
            let pulls = Pulls { size, count: READ_BACK as u64, last_only: true, at_most: u64::MAX };
            let taken = consume(&mut line, &format!("s{at}"), pulls).await?;
            let (right, wrong) = check_all(ledger, true, &[taken]);
            verified += right;
            faults.add(wrong);
        }
        Ok((verified, faults))
    });
    let mut total = (0, Faults::default());
    for (verified, faults) in join(readers.collect()).await? {
        total.0 += verified;
        total.1.add(faults);
    }
    Ok(total)
}

/// Drives all futures on this thread to their end, and gives what they gave; the first error ends it.
pub(crate) async fn join<T, F: Future<Output = Result<T>>>(futures: Vec<F>) -> Result<Vec<T>> {
    let mut done: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    let mut waiting: Vec<(usize, Pin<Box<F>>)> = futures.into_iter().map(Box::pin).enumerate().collect();
    std::future::poll_fn(|context| {
        let mut error = None;
        waiting.retain_mut(|(at, future)| match future.as_mut().poll(context) {
            Poll::Pending => true,
            Poll::Ready(Ok(value)) => {
                done.get_mut(*at).map(|place| place.insert(value));
                false
            }
            Poll::Ready(Err(why)) => {
                error = Some(why);
                false
            }
        });
        match error {
            Some(error) => Poll::Ready(Err(error)),
            None if waiting.is_empty() => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    })
    .await?;
    Ok(done.into_iter().flatten().collect())
}
