//! The rows of the Zaqar dialect: posting, claiming and deleting, listing with markers. Every message is read back and compared.

use crate::consume::join;
use crate::dialect::{Dialect, offset};
use crate::http::Connection;
use crate::load::Size;
use crate::loads::{BATCH, CONNECTIONS, Stopwatch, ledger, to_consume};
use crate::publish::{Load, Until, book, publish};
use crate::report::Figure;
use crate::rows::{Goal, Row, row};
use crate::server::Server;
use crate::verify::{Faults, Ledger, Taken, check_all, messages_of};
use crate::{Options, Result};
use std::path::Path;

/// A server's bound on the messages of a page, a claim and a pop: as OpenStack has it, and as large as AMS's requests here.
const DEFAULT: u64 = 20;
const LARGE: u64 = BATCH;

/// All rows, each held to what AMS does in the same run.
pub(crate) const ROWS: &[Row] = &[
    row("zaqar-post-1", "post, 1 connection", "msg/s", WITHIN, Some("publish-1"), |o, f| Box::pin(post(o, f, 1, 1))),
    row("zaqar-post-64", "post, 64 connections", "msg/s", WITHIN, Some("publish-64"), |o, f| {
        Box::pin(post(o, f, 64, 1))
    }),
    row("zaqar-batches", "post 100 a request, 16 connections", "msg/s", WITHIN, Some("batches"), |o, f| {
        Box::pin(post(o, f, 16, BATCH))
    }),
    row("zaqar-claim-100", "claim and delete by 100, 16 connections", "msg/s", WITHIN, Some("consume"), |o, f| {
        Box::pin(claim(o, f, LARGE, LARGE))
    }),
    row(
        "zaqar-claim-20",
        "claim and delete by 20, 16 connections, limits at 100",
        "msg/s",
        Goal::None,
        Some("consume"),
        |o, f| Box::pin(claim(o, f, LARGE, DEFAULT)),
    ),
    row(
        "zaqar-claim-default",
        "claim and delete by 20, 16 connections, default limits",
        "msg/s",
        Goal::None,
        Some("consume"),
        |o, f| Box::pin(claim(o, f, DEFAULT, DEFAULT)),
    ),
    row(
        "zaqar-list-100",
        "list with markers by 100, 16 connections, each the whole queue",
        "msg/s",
        Goal::None,
        Some("consume-16"),
        |o, f| Box::pin(list(o, f, LARGE)),
    ),
    row(
        "zaqar-list-default",
        "list with markers by 20, 16 connections, each the whole queue",
        "msg/s",
        Goal::None,
        Some("consume-16"),
        |o, f| Box::pin(list(o, f, DEFAULT)),
    ),
];

/// Other dialects are thin: they lose at most a fifth.
const WITHIN: Goal = Goal::OfCeiling(0.8);

fn size() -> Size {
    Size::of_bytes(1_024)
}

fn load(connections: usize, batch: u64, until: Until) -> Load {
    Load { dialect: Dialect::Zaqar, ..Load::new(connections, batch, until) }
}

/// Posts for the time of a row, then lists everything.
async fn post(options: &Options, folder: &Path, connections: usize, batch: u64) -> Result<Figure> {
    let server = Server::start_zaqar(&options.server, folder, LARGE)?;
    let book = book(1);
    let posted = publish(&server, load(connections, batch, Until::Time(options.seconds)), &book).await?;
    let (_, peak_mib) = server.memory()?;
    let taken = list_all(&mut server.connect().await?, LARGE).await?;
    let (verified, faults) = check_all(&ledger(book)?, true, &[taken]);
    Ok(Figure {
        value: posted.rate,
        per_cpu: Some(posted.per_cpu),
        latency: posted.latency,
        peak_mib,
        verified,
        faults,
        note: None,
    })
}

/// Fills the queue with so many messages.
async fn fill(server: &Server, messages: u64) -> Result<Ledger> {
    let book = book(1);
    let each = messages.div_ceil(CONNECTIONS as u64 * BATCH) * BATCH;
    publish(server, load(CONNECTIONS, BATCH, Until::Messages(each)), &book).await?;
    ledger(book)
}

/// Many workers on one queue, each claims and deletes until nothing is left.
async fn claim(options: &Options, folder: &Path, limit: u64, by: u64) -> Result<Figure> {
    let server = Server::start_zaqar(&options.server, folder, limit)?;
    let ledger = fill(&server, to_consume(options) * by / BATCH).await?;
    let mut lines = join((0..CONNECTIONS).map(|_| server.connect()).collect()).await?;
    let watch = Stopwatch::start(&server)?;
    let taken = join(lines.iter_mut().map(|line| work(line, by)).collect()).await?;
    let figure = watch.stop(&server, ledger.end(), Faults::default())?;
    let (verified, faults) = check_all(&ledger, false, &taken);
    Ok(Figure { verified, faults, ..figure })
}

async fn work(line: &mut Connection, by: u64) -> Result<Taken> {
    let mut taken = Taken::default();
    let claim = format!("/v2/queues/t0/claims?limit={by}");
    loop {
        let answer = line.call("POST", &claim, br#"{"ttl":3600,"grace":60}"#).await?;
        let mut delete = "/v2/queues/t0/messages?ids=".to_owned();
        let mut count = 0;
        for (id, text) in messages_of(answer) {
            taken.push(offset(id), size(), text);
            delete.push_str(if count == 0 { "" } else { "," });
            delete.push_str(id);
            count += 1;
        }
        if count == 0 {
            return Ok(taken);
        }
        line.call("DELETE", &delete, b"").await?;
    }
}

/// Many listeners of one queue, each reads all of it.
async fn list(options: &Options, folder: &Path, limit: u64) -> Result<Figure> {
    let server = Server::start_zaqar(&options.server, folder, limit)?;
    let ledger = fill(&server, to_consume(options) * limit / (BATCH * CONNECTIONS as u64)).await?;
    let mut lines = join((0..CONNECTIONS).map(|_| server.connect()).collect()).await?;
    let watch = Stopwatch::start(&server)?;
    let taken = join(lines.iter_mut().map(|line| list_all(line, limit)).collect()).await?;
    let figure = watch.stop(&server, taken.iter().map(Taken::count).sum(), Faults::default())?;
    let (mut verified, mut faults) = (0, Faults::default());
    for taken in taken {
        let (right, wrong) = check_all(&ledger, true, &[taken]);
        verified += right;
        faults.add(wrong);
    }
    Ok(Figure { verified, faults, ..figure })
}

/// Lists the whole queue, page by page.
async fn list_all(line: &mut Connection, limit: u64) -> Result<Taken> {
    let (mut taken, mut marker) = (Taken::default(), String::new());
    loop {
        let path = format!("/v2/queues/t0/messages?echo=true&limit={limit}&marker={marker}");
        let mut last = None;
        for (id, text) in messages_of(line.call("GET", &path, b"").await?) {
            taken.push(offset(id), size(), text);
            last = Some(id.to_owned());
        }
        match last {
            Some(last) => marker = last,
            None => return Ok(taken),
        }
    }
}
