//! Every statement that the store sends, by name. What is not here is not sent, but for migrations.
//!
//! Owns texts and kinds; `ks.` stands for the store's keyspace. Rules that the texts keep: a conditional write names static or plain
//! columns only, never both; a plain delete of batches has an upper bound; a log's batches are written in the batch that moves its
//! static columns, or not at all.

use super::session::Session;
use crate::storage::{BATCH_BYTES_MAX, Result};
use scylla::statement::prepared::PreparedStatement;

/// Payload bytes of one row: far below what servers refuse, and they answer a too large conditional write like a lost one.
pub(super) const PART_BYTES: usize = 1 << 20;
/// Most rows of one batch.
pub(super) const PARTS_MAX: usize = BATCH_BYTES_MAX.div_ceil(PART_BYTES);

/// How sure a statement must be, and what may be done when it fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Decided by consensus; never repeated by the driver.
    Decide,
    /// A read at a quorum; may be repeated and asked of several nodes.
    Read,
    /// A read that first brings everything undecided to its end.
    Verify,
    /// A plain write at a quorum that may be repeated.
    Write,
}

/// A statement, prepared on the server.
#[derive(Debug)]
pub(super) struct Statement {
    /// Its name, for metrics and errors.
    pub(super) name: &'static str,
    pub(super) prepared: PreparedStatement,
}

macro_rules! statements {
    ($($name:ident: $kind:ident = $text:expr;)*) => {
        /// The statements, each named as what it does.
        #[derive(Debug)]
        pub(super) struct Statements {
            $(pub(super) $name: Statement,)*
            /// Appends of one row, two rows and so on.
            pub(super) append: Vec<Statement>,
        }

        impl Statements {
            /// Prepares all of them.
            pub(super) async fn prepare(session: &Session) -> Result<Self> {
                let mut append = Vec::with_capacity(PARTS_MAX);
                for parts in 1..=PARTS_MAX {
                    append.push(session.prepare("append", Kind::Decide, &append_text(parts)).await?);
                }
                Ok(Self {
                    $($name: session.prepare(stringify!($name), Kind::$kind, $text).await?,)*
                    append,
                })
            }
        }
    };
}

/// Reads of a head and a tail, as they are at a quorum and as they are decided.
const HEAD: &str =
    "SELECT version, cur_seg, cur_base, first_offset, first_bytes, closed FROM ks.log_head WHERE log = :log";
const TAIL: &str = "SELECT next, state, last_ts, bytes, base_bytes, batches, began FROM ks.log_segment \
                    WHERE log = :log AND seg = :seg LIMIT 1";

statements! {
    head: Read = HEAD;
    decided_head: Verify = HEAD;
    create_head: Decide = "INSERT INTO ks.log_head \
        (log, version, cur_seg, cur_base, first_offset, first_bytes, closed, w, ws) \
        VALUES (:log, 1, 0, :first, :first, 0, false, :w, :ws) IF NOT EXISTS";
    roll_head: Decide = "UPDATE ks.log_head SET version = :new, cur_seg = :seg, cur_base = :base \
        WHERE log = :log IF version = :old";
    trim_head: Decide = "UPDATE ks.log_head SET version = :new, first_offset = :first, first_bytes = :bytes \
        WHERE log = :log IF version = :old";
    close_head: Decide = "UPDATE ks.log_head SET version = :new, closed = true WHERE log = :log IF version = :old";

    tail: Read = TAIL;
    decided_tail: Verify = TAIL;
    create_segment: Decide = "UPDATE ks.log_segment SET next = :next, state = 0, last_ts = :ts, bytes = :bytes, \
        base_bytes = :bytes, batches = 0, began = :began WHERE log = :log AND seg = :seg IF next = null";
    seal_segment: Decide = "UPDATE ks.log_segment SET state = 1 WHERE log = :log AND seg = :seg IF next = :next AND state = 0";
    close_segment: Decide = "UPDATE ks.log_segment SET state = 2 WHERE log = :log AND seg = :seg IF state = 0";
    fence_segment: Decide = "UPDATE ks.log_segment SET next = :next, state = 2 WHERE log = :log AND seg = :seg IF next = null";

    batches_from: Read = "SELECT base, part, parts, cnt, ts, w, ws, data FROM ks.log_segment \
        WHERE log = :log AND seg = :seg AND base >= :lo LIMIT :n";
    batches_between: Read = "SELECT base, part, parts, cnt, ts, w, ws, data FROM ks.log_segment \
        WHERE log = :log AND seg = :seg AND base >= :lo AND base < :hi";
    sizes_from: Read = "SELECT base, cnt, cum FROM ks.log_segment WHERE log = :log AND seg = :seg AND base >= :lo LIMIT :n";
    batch_at: Read = "SELECT base, cnt, ts, cum FROM ks.log_segment WHERE log = :log AND seg = :seg AND base <= :at \
        ORDER BY base DESC, part DESC LIMIT 1";
    decided_batch: Verify = "SELECT w, ws FROM ks.log_segment WHERE log = :log AND seg = :seg AND base = :base AND part = 0";
    forget_batches: Write = "DELETE FROM ks.log_segment WHERE log = :log AND seg = :seg AND base >= 0 AND base < :hi";

    add_segment: Write = "INSERT INTO ks.log_segments (log, base, seg, ts) VALUES (:log, :base, :seg, :ts)";
    segment_at: Read = "SELECT base, seg, ts FROM ks.log_segments WHERE log = :log AND base <= :at ORDER BY base DESC LIMIT 1";
    segments_from: Read = "SELECT base, seg, ts FROM ks.log_segments WHERE log = :log AND base >= :lo";
    forget_segments: Write = "DELETE FROM ks.log_segments WHERE log = :log AND base >= 0 AND base < :hi";

    logs_after: Read = "SELECT log FROM ks.log_index WHERE bucket = :bucket AND log > :after LIMIT :n";
    add_log: Write = "INSERT INTO ks.log_index (bucket, log) VALUES (:bucket, :log) USING TIMESTAMP 1";
    forget_log: Write = "DELETE FROM ks.log_index USING TIMESTAMP 2 WHERE bucket = :bucket AND log = :log";

    document: Read = "SELECT version, live, val FROM ks.doc WHERE k = :k";
    documents: Read = "SELECT k, version, live, val FROM ks.doc WHERE k IN :ks";
    decided_document: Verify = "SELECT version, w, ws FROM ks.doc WHERE k = :k";
    create_document: Decide = "UPDATE ks.doc SET version = :new, live = true, w = :w, ws = :ws, val = :val \
        WHERE k = :k IF version = null AND live = null";
    put_document: Decide = "UPDATE ks.doc SET version = :new, live = true, w = :w, ws = :ws, val = :val \
        WHERE k = :k IF version = :old AND live = :live";
    // Ten days: as long as replicas may be away. A key that is made again later begins above by the clock.
    delete_document: Decide = "UPDATE ks.doc USING TTL 864000 SET version = :new, live = false, w = :w, ws = :ws, val = null \
        WHERE k = :k IF version = :old AND live = true";

    add_key: Write = "INSERT INTO ks.doc_index (dir, k) VALUES (:dir, :k) USING TIMESTAMP :version";
    forget_key: Write = "DELETE FROM ks.doc_index USING TIMESTAMP :version WHERE dir = :dir AND k = :k";
    keys_up: Read = "SELECT k FROM ks.doc_index WHERE dir = :dir AND k >= :lo AND k < :hi ORDER BY k ASC LIMIT :n";
    keys_down: Read = "SELECT k FROM ks.doc_index WHERE dir = :dir AND k >= :lo AND k < :hi ORDER BY k DESC LIMIT :n";
    add_dir: Write = "INSERT INTO ks.doc_dirs (root, dir) VALUES (0, :dir)";
    dirs: Read = "SELECT dir FROM ks.doc_dirs WHERE root = 0";

    migrations: Read = "SELECT version FROM ks.migration";
}

/// The markers of the parts' payloads.
pub(super) const DATA: [&str; PARTS_MAX] = ["d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7", "d8"];

/// One decision: the tail moves, and the batch's rows are there.
fn append_text(parts: usize) -> String {
    let mut text =
        "BEGIN BATCH UPDATE ks.log_segment SET next = :next, last_ts = :ts, bytes = :bytes, batches = :batches \
                    WHERE log = :log AND seg = :seg IF next = :base AND state = 0; "
            .to_owned();
    for (part, data) in DATA.iter().enumerate().take(parts) {
        text.push_str(&format!(
            "INSERT INTO ks.log_segment (log, seg, base, part, parts, cnt, ts, w, ws, cum, data) \
             VALUES (:log, :seg, :base, {part}, :parts, :cnt, :ts, :w, :ws, :cum, :{data}); "
        ));
    }
    text.push_str("APPLY BATCH");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_append_has_one_condition_and_a_row_for_each_part() {
        for parts in 1..=PARTS_MAX {
            let text = append_text(parts);
            assert_eq!((text.matches(" IF ").count(), text.matches("INSERT").count()), (1, parts));
            assert!(!text.contains("TIMESTAMP"), "the server would take it, and break the order of decisions");
        }
    }
}
