//! What is printed of the rows: tables for people, JSON for machines.

use crate::rows::{Goal, Row};
use crate::table::{Table, number, percent, spread};
use crate::verify::Faults;
use serde_json::json;

/// What one run of a row measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figure {
    pub(crate) value: f64,
    /// Messages per processor second of the server; steadier than the value between machines and hours.
    pub(crate) per_cpu: Option<f64>,
    /// Microseconds, median and 99th of a hundred.
    pub(crate) latency: Option<(u32, u32)>,
    /// The server's largest resident memory; 0 where there is no server.
    pub(crate) peak_mib: f64,
    /// Messages read back and compared.
    pub(crate) verified: u64,
    pub(crate) faults: Faults,
    /// What else is to be told of it.
    pub(crate) note: Option<String>,
}

/// All runs of a row.
#[derive(Debug)]
pub(crate) struct Outcome {
    row: &'static Row,
    runs: Vec<Figure>,
    error: Option<String>,
}

impl Outcome {
    pub(crate) fn new(row: &'static Row) -> Self {
        Self { row, runs: Vec::new(), error: None }
    }

    pub(crate) fn add(&mut self, run: Result<Figure, String>) {
        match run {
            Ok(figure) => self.runs.push(figure),
            Err(error) => self.error = Some(error),
        }
    }

    /// Whether every run ended and nothing was wrong with any message.
    pub(crate) fn counts(&self) -> bool {
        self.error.is_none() && !self.runs.is_empty() && self.runs.iter().all(|run| run.faults.none())
    }

    /// The run in the middle, by value; none if the row does not count.
    fn median(&self) -> Option<&Figure> {
        let mut runs: Vec<&Figure> = self.runs.iter().collect();
        runs.sort_by(|a, b| a.value.total_cmp(&b.value));
        runs.get(runs.len() / 2).copied().filter(|_| self.counts())
    }

    /// How much of its ceiling it reaches, if both were run and count.
    fn of_ceiling(&self, all: &[Self]) -> Option<f64> {
        let ceiling = all.iter().find(|other| Some(other.row.name) == self.row.ceiling)?;
        Some(self.median()?.value / ceiling.median()?.value)
    }

    /// Whether the goal is met; none without a goal, or without what it needs.
    fn met(&self, all: &[Self]) -> Option<bool> {
        let median = self.median()?;
        let of_ceiling = self.of_ceiling(all);
        match self.row.goal {
            Goal::None => None,
            Goal::AtLeast(least) => Some(median.value >= least),
            Goal::AtLeastOr(least, part) => Some(median.value >= least || of_ceiling.is_some_and(|of| of >= part)),
            Goal::OfCeiling(part) => of_ceiling.map(|of| of >= part),
            Goal::AtMost(most) => Some(median.value <= most),
            Goal::Milliseconds { p50, p99 } => {
                median.latency.map(|latency| f64::from(latency.0) <= p50 * 1e3 && f64::from(latency.1) <= p99 * 1e3)
            }
        }
    }

    /// Why it does not count.
    fn void(&self) -> String {
        let fault = self.runs.iter().find(|run| !run.faults.none()).map(|run| run.faults.to_string());
        self.error.clone().or(fault).unwrap_or_default()
    }
}

/// One line a row, the peer's beside ours in a second table, and what is to be told of single rows.
pub(crate) fn text(outcomes: &[Outcome]) -> String {
    let mut out = rows(outcomes);
    let peer = peers(outcomes);
    if !peer.is_empty() {
        out.push_str(&format!("\n{peer}"));
    }
    for outcome in outcomes {
        if !outcome.counts() {
            out.push_str(&format!("\nVOID {}: {}", outcome.row.what, outcome.void().trim()));
        }
        if let Some(note) = outcome.median().and_then(|median| median.note.as_ref()) {
            out.push_str(&format!("\n{}: {note}", outcome.row.what));
        }
    }
    out.push_str("\nOf ceiling: of what the row above that it names did in the same run. Peak: the server's resident MiB. Each \
                  message was read back and compared: lost, duplicated, damaged and out of order are 0, or the row is VOID.\n");
    out
}

fn rows(outcomes: &[Outcome]) -> String {
    let mut table = Table::new([
        "row",
        "median",
        "min – max",
        "unit",
        "goal",
        "met",
        "of ceiling",
        "msg/CPU-s",
        "p50 ms",
        "p99 ms",
        "peak",
        "verified",
    ]);
    for outcome in outcomes {
        let Row { what, unit, goal, .. } = outcome.row;
        let Some(median) = outcome.median() else {
            table.push(vec![(*what).to_owned(), "VOID".to_owned()]);
            continue;
        };
        let (least, _, greatest) = spread(outcome.runs.iter().map(|run| run.value)).unwrap_or_default();
        let met = outcome.met(outcomes).map_or("", |met| if met { "yes" } else { "no" });
        let ms = |micros: u32| format!("{:.2}", f64::from(micros) / 1_000.0);
        let (p50, p99) = median.latency.map_or_else(Default::default, |(p50, p99)| (ms(p50), ms(p99)));
        let positive = |value: f64| if value > 0.0 { number(value.round()) } else { String::new() };
        table.push(vec![
            (*what).to_owned(),
            number(median.value),
            format!("{} – {}", number(least), number(greatest)),
            (*unit).to_owned(),
            goal.text(),
            met.to_owned(),
            outcome.of_ceiling(outcomes).map_or_else(String::new, percent),
            median.per_cpu.map_or_else(String::new, |value| number(value.round())),
            p50,
            p99,
            positive(median.peak_mib),
            positive(median.verified as f64),
        ]);
    }
    table.text()
}

/// Each load that was run on the peer too: ours, theirs, and how many times theirs ours is. Empty without any.
fn peers(outcomes: &[Outcome]) -> String {
    let columns = [
        "load",
        "Angelia",
        "NATS, synced",
        "ours / it",
        "NATS, default",
        "ours / it",
        "per CPU-s: Angelia",
        "synced",
        "default",
    ];
    let mut table = Table::new(columns);
    let mut found = false;
    for ours in outcomes {
        let of = |prefix: &str| {
            let name = format!("{prefix}{}", ours.row.name);
            outcomes.iter().find(|other| other.row.name == name).and_then(Outcome::median)
        };
        let (Some(own), synced, default) = (ours.median(), of("nats-synced-"), of("nats-")) else { continue };
        if synced.is_none() && default.is_none() {
            continue;
        }
        found = true;
        let value = |figure: Option<&Figure>| figure.map_or_else(String::new, |figure| number(figure.value));
        let times = |figure: Option<&Figure>| {
            figure.map_or_else(String::new, |figure| format!("{}×", number(own.value / figure.value)))
        };
        let cpu = |figure: Option<&Figure>| {
            figure.and_then(|figure| figure.per_cpu).map_or_else(String::new, |per| number(per.round()))
        };
        table.push(vec![
            format!("{}, {}", ours.row.what, ours.row.unit),
            number(own.value),
            value(synced),
            times(synced),
            value(default),
            times(default),
            cpu(Some(own)),
            cpu(synced),
            cpu(default),
        ]);
    }
    if found { table.text() } else { String::new() }
}

/// The rows with all their runs.
pub(crate) fn json(outcomes: &[Outcome]) -> serde_json::Value {
    let run = |run: &Figure| {
        json!({
            "value": run.value,
            "per_cpu_second": run.per_cpu,
            "p50_us": run.latency.map(|(p50, _)| p50),
            "p99_us": run.latency.map(|(_, p99)| p99),
            "peak_mib": run.peak_mib,
            "verified": run.verified,
            "lost": run.faults.lost,
            "duplicated": run.faults.duplicated,
            "damaged": run.faults.damaged,
            "out_of_order": run.faults.out_of_order,
            "note": run.note,
        })
    };
    let row = |outcome: &Outcome| {
        json!({
            "row": outcome.row.name,
            "unit": outcome.row.unit,
            "goal": outcome.row.goal.text(),
            "median": outcome.median().map(|median| median.value),
            "met": outcome.met(outcomes),
            "ceiling": outcome.row.ceiling,
            "of_ceiling": outcome.of_ceiling(outcomes),
            "counts": outcome.counts(),
            "error": outcome.error,
            "runs": outcome.runs.iter().map(run).collect::<Vec<_>>(),
        })
    };
    outcomes.iter().map(row).collect()
}

/// The median and the 99th of a hundred; none of nothing.
pub(crate) fn percentiles(mut latencies: Vec<u32>) -> Option<(u32, u32)> {
    latencies.sort_unstable();
    let at = |hundredth: usize| latencies.get(latencies.len() * hundredth / 100).copied();
    Some((at(50)?, at(99)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::ROWS;

    fn outcome(name: &str, values: &[f64]) -> Outcome {
        let mut outcome = Outcome::new(ROWS.iter().find(|row| row.name == name).unwrap());
        for value in values {
            outcome.add(Ok(Figure { value: *value, ..Figure::default() }));
        }
        outcome
    }

    #[test]
    fn a_goal_is_met_by_the_median_or_by_its_part_of_the_ceiling() {
        let all = [outcome("wire-64", &[50_000.0]), outcome("publish-64", &[10.0, 31_000.0, 99_000.0])];
        assert_eq!(all[1].of_ceiling(&all), Some(0.62));
        assert_eq!(all[1].met(&all), Some(true));
        let all = [outcome("wire-64", &[90_000.0]), outcome("publish-64", &[31_000.0])];
        assert_eq!(all[1].met(&all), Some(false));
        assert_eq!(all[0].met(&all), None);
    }

    #[test]
    fn a_row_with_one_fault_is_void() {
        let mut void = outcome("publish-1", &[1.0, 2.0]);
        assert!(void.counts());
        void.add(Ok(Figure { faults: Faults { lost: 1, ..Faults::default() }, ..Figure::default() }));
        assert!(!void.counts());
        let shown = text(&[void]);
        assert!(shown.contains("VOID") && shown.contains("1 lost"), "{shown}");
    }

    #[test]
    fn the_peer_stands_beside_ours() {
        let all = [outcome("publish-1", &[3_000.0]), outcome("nats-publish-1", &[1_000.0])];
        let shown = peers(&all);
        assert!(shown.contains("3×") && shown.contains("1,000"), "{shown}");
    }
}
