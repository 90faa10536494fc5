//! The benchmark: starts the server on fresh folders, loads it over HTTP, reads everything back, prints one table.
//!
//! A row counts only if every message that was acknowledged is there once, undamaged and in order. Owns the command line and the
//! order of rows; never the product's clock or code: it sees what clients see.
#![allow(clippy::print_stdout, reason = "a command line tool talks on standard output")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

mod ceiling;
mod engine;
mod flow;
mod http;
mod load;
mod report;
mod rows;
mod server;
mod verify;

use report::{Figure, Outcome};
use rows::{ROWS, Row};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

const HELP: &str =
    "bench --server BINARY --work FOLDER [--seconds N] [--rounds N] [--fill-mib N] [--quick] [--json] [ROW…]";

/// How the rows are run.
#[derive(Debug)]
struct Options {
    /// The server's binary.
    server: PathBuf,
    /// Where data folders are made; emptied.
    work: PathBuf,
    /// How long a load lasts.
    seconds: Duration,
    /// How often each row is run; the median is shown.
    rounds: usize,
    /// How much the store holds when it is opened again.
    fill_mib: u64,
    json: bool,
    /// Parts of names of the rows to run; none for all.
    only: Vec<String>,
}

/// Whatever goes wrong, in words.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    // How this program starts itself, to be the wire's ceiling.
    if std::env::args().nth(1).as_deref() == Some(server::BARE) {
        return ceiling::serve().map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    match options().and_then(|options| run(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Options> {
    let mut options = Options {
        server: PathBuf::new(),
        work: PathBuf::new(),
        seconds: Duration::from_secs(5),
        rounds: 1,
        fill_mib: 1_024,
        json: false,
        only: Vec::new(),
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value\n{HELP}"));
        match word.as_str() {
            "--server" => options.server = std::path::absolute(value()?)?,
            "--work" => options.work = std::path::absolute(value()?)?,
            "--seconds" => options.seconds = Duration::from_secs_f64(value()?.parse()?),
            "--rounds" => options.rounds = value()?.parse()?,
            "--fill-mib" => options.fill_mib = value()?.parse()?,
            "--quick" => (options.seconds, options.fill_mib) = (Duration::from_secs(1), 64),
            "--json" => options.json = true,
            _ if word.starts_with('-') => return Err(HELP.into()),
            _ => options.only.push(word),
        }
    }
    if options.server.as_os_str().is_empty() || options.work.as_os_str().is_empty() || options.rounds == 0 {
        return Err(HELP.into());
    }
    Ok(options)
}

/// Runs the rows, interleaved over the rounds; whether all count.
fn run(options: &Options) -> Result<bool> {
    let named = |row: &Row| options.only.is_empty() || options.only.iter().any(|part| row.name.contains(part));
    // With each row its ceiling, for the ratio.
    let is_ceiling = |name: &str| ROWS.iter().any(|row| named(row) && row.ceiling == Some(name));
    let chosen: Vec<_> = ROWS.iter().filter(|row| named(row) || is_ceiling(row.name)).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut outcomes: Vec<Outcome<'_>> = chosen.iter().map(|row| Outcome::new(row)).collect();
    for _ in 0..options.rounds {
        for (row, outcome) in chosen.iter().zip(&mut outcomes) {
            let folder = options.work.join(row.name);
            drop(std::fs::remove_dir_all(&folder));
            std::fs::create_dir_all(&folder)?;
            let figure: Result<Figure> = runtime.block_on((row.run)(options, &folder));
            outcome.add(figure.map_err(|error| error.to_string()));
            drop(std::fs::remove_dir_all(&folder));
        }
    }
    drop(std::fs::remove_dir_all(&options.work));
    if options.json {
        println!("{}", report::json(&outcomes));
    } else {
        print!("{}", report::table(&outcomes));
    }
    Ok(outcomes.iter().all(Outcome::counts))
}
