//! What is printed: the table for people, JSON for machines.

use crate::rows::Row;
use crate::verify::Faults;

/// What one run of a row measured.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) value: f64,
    /// Messages per processor second of the server; steadier than the value between machines and hours.
    pub(crate) per_cpu: Option<f64>,
    /// Microseconds of a request, median and 99th of a hundred.
    pub(crate) latency: Option<(u32, u32)>,
    /// The server's largest resident memory.
    pub(crate) peak_mib: f64,
    /// Messages read back and compared.
    pub(crate) verified: u64,
    pub(crate) faults: Faults,
}

/// All runs of a row.
#[derive(Debug)]
pub(crate) struct Outcome<'a> {
    row: &'a Row,
    runs: Vec<Figure>,
    error: Option<String>,
}

impl<'a> Outcome<'a> {
    pub(crate) fn new(row: &'a Row) -> Self {
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

    /// The runs from the least value to the greatest.
    fn sorted(&self) -> Vec<&Figure> {
        let mut runs: Vec<&Figure> = self.runs.iter().collect();
        runs.sort_by(|a, b| a.value.total_cmp(&b.value));
        runs
    }

    /// The value in the middle; none if it does not count.
    fn median(&self) -> Option<f64> {
        let runs = self.sorted();
        runs.get(runs.len() / 2).filter(|_| self.counts()).map(|run| run.value)
    }

    /// How much of its ceiling it reaches, if both were run and count.
    fn of_ceiling(&self, all: &[Self]) -> Option<f64> {
        let ceiling = all.iter().find(|other| Some(other.row.name) == self.row.ceiling)?;
        Some(self.median()? / ceiling.median()?)
    }

    /// Why it does not count.
    fn void(&self) -> String {
        let fault = self.runs.iter().find(|run| !run.faults.none()).map(|run| run.faults.to_string());
        self.error.clone().or(fault).unwrap_or_default()
    }
}

/// One line a row.
pub(crate) fn table(outcomes: &[Outcome<'_>]) -> String {
    let mut out = format!(
        "{:<42}{:>12}{:>8}{:>12}{:>9}{:>12}{:>8}{:>8}{:>8}{:>11}\n",
        "row", "median", "unit", "goal", "ceiling", "per cpu-s", "p50 ms", "p99 ms", "peak", "verified"
    );
    for outcome in outcomes {
        let Row { what, unit, goal, .. } = outcome.row;
        if !outcome.counts() {
            out.push_str(&format!("{what:<42}{:>12}  {}\n", "VOID", outcome.void().trim()));
            continue;
        }
        let runs = outcome.sorted();
        let Some(median) = runs.get(runs.len() / 2) else { continue };
        let per_cpu = median.per_cpu.map_or_else(String::new, |value| number(value, 0));
        let of_ceiling = outcome.of_ceiling(outcomes).map_or_else(String::new, |part| format!("{:.0} %", part * 100.0));
        let ms = |micros: u32| format!("{:.2}", f64::from(micros) / 1_000.0);
        let (p50, p99) = median.latency.map_or_else(Default::default, |(p50, p99)| (ms(p50), ms(p99)));
        let digits = if median.value < 10.0 { 3 } else { 0 };
        out.push_str(&format!(
            "{what:<42}{:>12}{unit:>8}{goal:>12}{of_ceiling:>9}{per_cpu:>12}{p50:>8}{p99:>8}{:>8.0}{:>11}",
            number(median.value, digits),
            median.peak_mib,
            number(median.verified as f64, 0)
        ));
        if let [least, .., greatest] = runs.as_slice() {
            out.push_str(&format!("  ({} to {})", number(least.value, digits), number(greatest.value, digits)));
        }
        out.push('\n');
    }
    out.push_str("ceiling: how much of what the bare server or the raw disk did in the same run. peak: resident MiB of the server. Every message was read back and compared: lost, duplicated, damaged, out of order are 0.\n");
    out
}

/// An array of rows with all their runs.
pub(crate) fn json(outcomes: &[Outcome<'_>]) -> String {
    let rows: Vec<String> = outcomes.iter().map(|outcome| json_row(outcome, outcomes)).collect();
    format!("[\n{}\n]", rows.join(",\n"))
}

fn json_row(outcome: &Outcome<'_>, all: &[Outcome<'_>]) -> String {
    let optional = |value: Option<String>| value.unwrap_or_else(|| "null".to_owned());
    let runs: Vec<String> = outcome
        .runs
        .iter()
        .map(|run| {
            format!(
                "{{\"value\":{:.3},\"per_cpu_second\":{},\"p50_us\":{},\"p99_us\":{},\"peak_mib\":{:.1},\"verified\":{},\"lost\":{},\
                 \"duplicated\":{},\"damaged\":{},\"out_of_order\":{}}}",
                run.value,
                optional(run.per_cpu.map(|value| format!("{value:.0}"))),
                optional(run.latency.map(|(p50, _)| p50.to_string())),
                optional(run.latency.map(|(_, p99)| p99.to_string())),
                run.peak_mib,
                run.verified,
                run.faults.lost,
                run.faults.duplicated,
                run.faults.damaged,
                run.faults.out_of_order,
            )
        })
        .collect();
    let error =
        outcome.error.as_ref().map(|error| format!("\"{}\"", error.replace(['"', '\\'], "'").replace('\n', " ")));
    format!(
        "{{\"row\":\"{}\",\"unit\":\"{}\",\"of_ceiling\":{},\"counts\":{},\"error\":{},\"runs\":[{}]}}",
        outcome.row.name,
        outcome.row.unit,
        optional(outcome.of_ceiling(all).map(|part| format!("{part:.3}"))),
        outcome.counts(),
        optional(error),
        runs.join(",")
    )
}

/// Thousands apart by commas.
fn number(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let (whole, fraction) =
        text.split_once('.').map_or((text.as_str(), None), |(whole, fraction)| (whole, Some(fraction)));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    fraction.map_or(grouped.clone(), |fraction| format!("{grouped}.{fraction}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(number(1_234_567.0, 0), "1,234,567");
        assert_eq!(number(999.0, 0), "999");
        assert_eq!(number(0.1234, 3), "0.123");
    }
}
