//! Times and memory by the number of messages that a topic keeps.

use super::Sample;
use crate::consume::{Mode, Pulls, consume, make_subscriptions, make_topics, read_back};
use crate::http::Connection;
use crate::load::Size;
use crate::loads::ledger as ledger_of;
use crate::publish::{Load, Until, book, publish};
use crate::server::Server;
use crate::verify::{Ledger, check, field};
use crate::{Options, Result};
use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

/// The least backlog: what is pulled at each place must be there.
pub(super) const LEAST: usize = 32_000;
/// Connections that fill, and messages a request.
const FILLERS: usize = 16;
const FILL: usize = 1_000;
/// Pulls at each place, and messages a pull.
const PULLS: u64 = 300;
const PULL: u64 = 100;
/// Seeks by time.
const SEEKS: u64 = 50;

pub(super) async fn run(options: &Options, folder: &Path, messages: usize) -> Result<Sample> {
    let server = Server::start(&options.server, folder)?;
    make_topics(&server, 1).await?;
    make_subscriptions(&server, &["walk".to_owned(), "check".to_owned()], Mode::Cumulative).await?;
    let (book, size, mut sample) = (book(1), Size::of_bytes(64), Sample::default());
    let until = Until::Messages((messages / FILLERS) as u64);
    publish(&server, Load { size, ..Load::new(FILLERS, FILL as u64, until) }, &book).await?;
    let ledger = ledger_of(book)?;
    let mut line = server.connect().await?;
    let places =
        [("head, msg/s", 0), ("middle, msg/s", ledger.end() / 2), ("tail, msg/s", ledger.end() - PULLS * PULL)];
    for (name, from) in places {
        let rate = pull_from(&mut line, from, &ledger, &mut sample).await?;
        sample.cell(name, rate);
    }
    sample.cell("seek by time, ms", seek(&mut line, ledger.end()).await?);
    sample.cell("resident, MiB", server.memory()?.0);
    drop((line, server));
    let server = Server::start(&options.server, folder)?;
    sample.cell("open after SIGKILL, s", server.opened_in.as_secs_f64());
    let begun = Instant::now();
    let (verified, faults) = read_back(&server, "check", size, &ledger).await?;
    sample.cell("read all by 1000, msg/s", verified as f64 / begun.elapsed().as_secs_f64());
    sample.checked((verified, faults));
    // Last, for it makes the backlog longer.
    let book = Rc::new(RefCell::new(vec![ledger]));
    let load = Load { size, first_producer: 100, ..Load::new(16, 100, Until::Time(options.seconds)) };
    let published = publish(&server, load, &book).await?;
    sample.cell("publish 100 × 16, msg/s", published.rate);
    let ledger = ledger_of(book)?;
    let pulls = Pulls { size, count: FILL as u64, last_only: true, at_most: u64::MAX };
    let taken = consume(&mut server.connect().await?, "check", pulls).await?;
    sample.checked(check(&ledger, ledger.end() - published.total..ledger.end(), true, &[taken]));
    Ok(sample)
}

/// Moves the subscription and pulls from there: messages a second.
async fn pull_from(line: &mut Connection, from: u64, ledger: &Ledger, sample: &mut Sample) -> Result<f64> {
    go_to(line, from).await?;
    let begun = Instant::now();
    let pulls = Pulls { size: Size::of_bytes(64), count: PULL, last_only: true, at_most: PULLS };
    let taken = consume(line, "walk", pulls).await?;
    let rate = taken.count() as f64 / begun.elapsed().as_secs_f64();
    sample.checked(check(ledger, from..from + PULLS * PULL, true, &[taken]));
    Ok(rate)
}

async fn go_to(line: &mut Connection, offset: u64) -> Result<()> {
    let body = format!("{{\"offset\":{offset}}}");
    line.call("POST", "/v1/projects/b/subscriptions/walk:modifyOffset", body.as_bytes()).await.map(drop)
}

/// The time at which the message at the subscription's place was published, to the millisecond, as text.
async fn time_at(line: &mut Connection, offset: u64) -> Result<String> {
    go_to(line, offset).await?;
    let body = b"{\"maxMessages\":\"1\",\"returnImmediately\":\"true\"}";
    let answer = line.call("POST", "/v1/projects/b/subscriptions/walk:pull", body).await?;
    let time = field(std::str::from_utf8(answer)?, "publishTime").ok_or("a message without its time")?;
    let (seconds, fraction) = time.trim_end_matches('Z').split_once('.').unwrap_or((time.trim_end_matches('Z'), ""));
    Ok(format!("{seconds}.{fraction:0<3.3}Z"))
}

/// Asks where the subscription stood at the times of messages all over the topic, and goes there: the median in milliseconds. Each
/// answer must be the first message of that millisecond or later.
async fn seek(line: &mut Connection, end: u64) -> Result<f64> {
    let mut times = Vec::new();
    for at in 0..SEEKS {
        let offset = end * at / SEEKS;
        let time = time_at(line, offset).await?;
        let begun = Instant::now();
        let path = format!("/v1/projects/b/subscriptions/walk:timeToOffset?time={time}");
        let answer = line.call("GET", &path, b"").await?;
        let found = field(std::str::from_utf8(answer)?, "offset").and_then(|text| text.parse::<u64>().ok());
        let found = found.ok_or("an answer without an offset")?;
        go_to(line, found).await?;
        times.push(begun.elapsed().as_secs_f64() * 1_000.0);
        let late = found > 0 && time_at(line, found - 1).await? >= time;
        if time_at(line, found).await? < time || late {
            return Err(format!("timeToOffset {time} gave {found}, which is not the first of that time").into());
        }
    }
    Ok(crate::table::spread(times).map_or(0.0, |(_, median, _)| median))
}
