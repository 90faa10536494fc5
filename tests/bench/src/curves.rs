//! Cost curves: how throughput, memory and times change with the number of topics, of subscriptions, of messages kept, with the
//! size of messages and with TLS. Owns the list of curves and what is printed; each is run in a module of its own.

mod backlog;
mod sizes;
mod subscriptions;
mod tls;
mod topics;

use crate::table::{Table, number, percent, spread};
use crate::verify::Faults;
use crate::{Options, Result, machine};
use serde_json::json;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::time::Instant;

/// How far a figure may be off the first of its curve and still count as flat.
const FLAT: f64 = 0.2;

/// What one run of a point measured.
#[derive(Debug, Default)]
struct Sample {
    /// The columns, the same for each point of a curve.
    cells: Vec<(&'static str, f64)>,
    verified: u64,
    faults: Faults,
}

impl Sample {
    fn cell(&mut self, column: &'static str, value: f64) {
        self.cells.push((column, value));
    }

    /// Counts in what was verified.
    fn checked(&mut self, (verified, faults): (u64, Faults)) {
        self.verified += verified;
        self.faults.add(faults);
    }
}

/// Runs a point on a fresh folder.
type Run = for<'a> fn(&'a Options, &'a Path, usize) -> Pin<Box<dyn Future<Output = Result<Sample>> + 'a>>;

/// A curve.
#[derive(Debug)]
struct Curve {
    name: &'static str,
    what: &'static str,
    points: &'static [usize],
    label: fn(usize) -> String,
    /// Whether it should be flat: each column of each point near the first point's.
    flat: bool,
    run: Run,
}

const CURVES: &[Curve] = &[
    Curve {
        name: "topics",
        what: "Number of topics, a cumulative subscription each; 1 KiB messages, each connection goes round all topics",
        points: &[1, 100, 10_000],
        label: |topics| number(topics as f64),
        flat: true,
        run: |o, f, point| Box::pin(topics::run(o, f, point)),
    },
    Curve {
        name: "subscriptions",
        what: "Number of individual subscriptions on one topic; 1 KiB messages",
        points: &[1, 10, 100],
        label: |subscriptions| number(subscriptions as f64),
        flat: true,
        run: |o, f, point| Box::pin(subscriptions::run(o, f, point)),
    },
    Curve {
        name: "backlog",
        what: "Messages of 64 bytes that one topic keeps (the first row: only what is pulled)",
        points: &[backlog::LEAST, 1_000_000, 10_000_000],
        label: |messages| number(messages as f64),
        flat: true,
        run: |o, f, point| Box::pin(backlog::run(o, f, point)),
    },
    Curve {
        name: "sizes",
        what: "Size of messages, 16 connections",
        points: &[256, 1 << 10, 64 << 10, 1 << 20],
        label: |bytes| match bytes {
            0..1_024 => format!("{bytes} B"),
            1_024..1_048_576 => format!("{} KiB", bytes >> 10),
            _ => format!("{} MiB", bytes >> 20),
        },
        flat: false,
        run: |o, f, point| Box::pin(sizes::run(o, f, point)),
    },
    Curve {
        name: "tls",
        what: "TLS (1.3, one handshake for each connection), 1 KiB messages",
        points: &[0, 1],
        label: |on| if on == 0 { "plain HTTP" } else { "TLS" }.to_owned(),
        flat: false,
        run: |o, f, point| Box::pin(tls::run(o, f, point == 1)),
    },
];

/// All runs of a point.
#[derive(Debug, Default)]
struct Runs {
    samples: Vec<Sample>,
    error: Option<String>,
}

impl Runs {
    fn counts(&self) -> bool {
        self.error.is_none() && !self.samples.is_empty() && self.samples.iter().all(|sample| sample.faults.none())
    }

    fn columns(&self) -> Vec<&'static str> {
        self.samples.first().map(|sample| sample.cells.iter().map(|(name, _)| *name).collect()).unwrap_or_default()
    }

    fn spread(&self, column: &str) -> Option<(f64, f64, f64)> {
        let cells = self.samples.iter().flat_map(|sample| &sample.cells);
        spread(cells.filter(|(name, _)| *name == column).map(|(_, value)| *value)).filter(|_| self.counts())
    }

    fn why(&self) -> String {
        let fault = self.samples.iter().find(|sample| !sample.faults.none()).map(|sample| sample.faults.to_string());
        self.error.clone().or(fault).unwrap_or_default()
    }
}

/// Runs the curves that are asked for, the points of each interleaved over the rounds; whether all count.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let machine = machine::line(&options.work);
    let (mut sections, mut all_count) = (Vec::new(), true);
    if !options.json {
        println!("{machine}");
    }
    for curve in CURVES.iter().filter(|curve| options.wants(curve.name)) {
        let (begun, rounds) = (Instant::now(), options.rounds);
        let mut runs: Vec<Runs> = curve.points.iter().map(|_| Runs::default()).collect();
        for round in 0..rounds {
            for (point, runs) in curve.points.iter().zip(&mut runs) {
                eprintln!("… round {} {} {}", round + 1, curve.name, (curve.label)(*point));
                let folder = options.work.join(curve.name);
                drop(std::fs::remove_dir_all(&folder));
                std::fs::create_dir_all(&folder)?;
                match runtime.block_on((curve.run)(options, &folder, *point)) {
                    Ok(sample) => runs.samples.push(sample),
                    Err(error) => runs.error = Some(error.to_string()),
                }
                drop(std::fs::remove_dir_all(&folder));
            }
        }
        all_count &= runs.iter().all(Runs::counts);
        if options.json {
            sections.push(json(curve, &runs));
        } else {
            println!(
                "\n**{}** ({rounds} rounds, {} s)\n\n{}",
                curve.what,
                begun.elapsed().as_secs(),
                text(curve, &runs)
            );
        }
    }
    drop(std::fs::remove_dir_all(&options.work));
    if options.json {
        println!("{:#}", json!({ "machine": machine, "curves": sections }));
    }
    Ok(all_count)
}

fn text(curve: &Curve, runs: &[Runs]) -> String {
    let columns = runs.iter().map(Runs::columns).max_by_key(Vec::len).unwrap_or_default();
    let mut table = Table::new([curve.name].into_iter().chain(columns.iter().copied()).chain(["verified"]));
    let mut void = String::new();
    for (point, runs) in curve.points.iter().zip(runs) {
        let label = (curve.label)(*point);
        if !runs.counts() {
            void.push_str(&format!("\nVOID {label}: {}\n", runs.why()));
            table.push(vec![label, "VOID".to_owned()]);
            continue;
        }
        let mut cells = vec![label];
        for column in &columns {
            let spread = runs.spread(column).map(|(least, median, greatest)| {
                let around = format!(" ({} – {})", number(least), number(greatest));
                format!("{}{}", number(median), if least < greatest { around } else { String::new() })
            });
            cells.push(spread.unwrap_or_default());
        }
        cells.push(number(runs.samples.iter().map(|sample| sample.verified).sum::<u64>() as f64));
        table.push(cells);
    }
    let mut last = vec!["last against first".to_owned()];
    last.extend(columns.iter().map(|column| against_first(curve, runs, column).unwrap_or_default()));
    table.push(last);
    table.text() + &void
}

/// The last point's part of the first point's; and where the curve should be flat, whether all points are near the first.
fn against_first(curve: &Curve, runs: &[Runs], column: &str) -> Option<String> {
    let medians: Vec<f64> = runs.iter().map(|runs| Some(runs.spread(column)?.1)).collect::<Option<_>>()?;
    let (first, last) = (*medians.first()?, *medians.last()?);
    let is_flat = medians.iter().all(|median| (median / first - 1.0).abs() <= FLAT);
    let word = match curve.flat {
        true if is_flat => ", flat",
        true => ", not flat",
        false => "",
    };
    Some(format!("{}{word}", percent(last / first)))
}

fn json(curve: &Curve, runs: &[Runs]) -> serde_json::Value {
    let point = |(point, runs): (&usize, &Runs)| {
        let columns = runs.columns().into_iter().filter_map(|column| {
            let (least, median, greatest) = runs.spread(column)?;
            Some((column.to_owned(), json!({ "median": median, "min": least, "max": greatest })))
        });
        json!({
            "point": point,
            "counts": runs.counts(),
            "error": runs.error,
            "verified": runs.samples.iter().map(|sample| sample.verified).sum::<u64>(),
            "columns": columns.collect::<serde_json::Map<_, _>>(),
        })
    };
    json!({ "curve": curve.name, "points": curve.points.iter().zip(runs).map(point).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(values: &[f64]) -> Runs {
        let sample = |value: &f64| Sample { cells: vec![("msg/s", *value)], ..Sample::default() };
        Runs { samples: values.iter().map(sample).collect(), error: None }
    }

    #[test]
    fn a_curve_is_flat_when_every_point_is_near_the_first() {
        let of = |points: &[Runs]| against_first(&CURVES[0], points, "msg/s").unwrap();
        assert_eq!(of(&[runs(&[100.0]), runs(&[119.0]), runs(&[81.0])]), "81 %, flat");
        assert_eq!(of(&[runs(&[100.0]), runs(&[130.0]), runs(&[100.0])]), "100 %, not flat");
    }

    #[test]
    fn a_point_with_a_fault_is_void() {
        let mut damaged = runs(&[1.0]);
        damaged.samples[0].faults.damaged = 1;
        let shown = text(&CURVES[0], &[runs(&[1.0]), damaged, runs(&[1.0])]);
        assert!(shown.contains("VOID 100: 0 lost, 0 duplicated, 1 damaged"), "{shown}");
    }
}
