//! The benchmark: starts the server on fresh folders, loads it over HTTP, reads everything back, prints tables.
//!
//! A row counts only if every message that was acknowledged is there once, undamaged and in order. Owns the command line and the
//! order of rows; never the product's clock or code: it sees what clients see.
#![allow(clippy::print_stdout, reason = "a command line tool talks on standard output")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

mod ceiling;
mod consume;
mod curves;
mod dialect;
mod document;
mod engine;
mod flow;
mod http;
mod load;
mod loads;
mod machine;
mod nats;
mod peer;
mod publish;
mod report;
mod rows;
mod server;
mod table;
mod verify;
mod zaqar;

use dialect::Dialect;
use report::{Figure, Outcome};
use rows::{ROWS, Row};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const HELP: &str = "\
bench [curves] --server BINARY --work FOLDER [--seconds N] [--rounds N] [--minutes N] [--fill-mib N] [--quick] [--json]
      [--nats BINARY] [--dialect ams|zaqar] [ROW…]";
/// The longest that one run of a row may take, beside what its load takes.
const ROW_LIMIT: Duration = Duration::from_secs(240);

/// How the rows are run.
#[derive(Debug)]
struct Options {
    /// The server's binary.
    server: PathBuf,
    /// The peer's, if it is to be measured.
    nats: Option<PathBuf>,
    /// Where data folders are made; emptied.
    work: PathBuf,
    /// How long a load lasts.
    seconds: Duration,
    /// How often each row is run; the median is shown.
    rounds: usize,
    /// No round begins that would not end within this.
    within: Duration,
    /// How much the store holds when it is opened again.
    fill_mib: u64,
    json: bool,
    /// Whose rows are run.
    dialect: Dialect,
    /// Cost curves instead of rows.
    curves: bool,
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
    let run = |options: &Options| if options.curves { curves::run(options) } else { run(options) };
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
        nats: None,
        work: PathBuf::new(),
        seconds: Duration::from_secs(3),
        rounds: 1,
        within: Duration::from_secs(600),
        fill_mib: 1_024,
        json: false,
        dialect: Dialect::Ams,
        curves: false,
        only: Vec::new(),
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value\n{HELP}"));
        match word.as_str() {
            "curves" => options.curves = true,
            "--server" => options.server = std::path::absolute(value()?)?,
            "--nats" => options.nats = Some(std::path::absolute(value()?)?),
            "--work" => options.work = std::path::absolute(value()?)?,
            "--seconds" => options.seconds = Duration::from_secs_f64(value()?.parse()?),
            "--rounds" => options.rounds = value()?.parse()?,
            "--minutes" => options.within = Duration::from_secs_f64(value()?.parse::<f64>()? * 60.0),
            "--fill-mib" => options.fill_mib = value()?.parse()?,
            "--quick" => (options.seconds, options.fill_mib) = (Duration::from_secs(1), 64),
            "--json" => options.json = true,
            "--dialect" => {
                options.dialect = match value()?.as_str() {
                    "ams" => Dialect::Ams,
                    "zaqar" => Dialect::Zaqar,
                    other => return Err(format!("`{other}` is no dialect\n{HELP}").into()),
                }
            }
            _ if word.starts_with('-') => return Err(HELP.into()),
            _ => options.only.push(word),
        }
    }
    if options.server.as_os_str().is_empty() || options.work.as_os_str().is_empty() || options.rounds == 0 {
        return Err(HELP.into());
    }
    Ok(options)
}

impl Options {
    /// Whether a name is among those that were asked for.
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part.as_str()))
    }
}

/// Runs the rows, interleaved over the rounds; whether all count.
fn run(options: &Options) -> Result<bool> {
    let own = if options.dialect == Dialect::Ams { ROWS } else { zaqar::ROWS };
    let wanted = |row: &&Row| options.wants(row.name) && (options.nats.is_some() || !row.is_peer());
    let wanted: Vec<&Row> = own.iter().filter(wanted).collect();
    // Before each row its ceiling, for the ratio: of other dialects it is what AMS does.
    let mut chosen: Vec<&Row> = Vec::new();
    for row in wanted {
        let ceiling = ROWS.iter().find(|ceiling| Some(ceiling.name) == row.ceiling);
        for row in ceiling.into_iter().chain([row]) {
            if chosen.iter().all(|other| other.name != row.name) {
                chosen.push(row);
            }
        }
    }
    let machine = machine::line(&options.work);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut outcomes: Vec<Outcome> = chosen.iter().map(|row| Outcome::new(row)).collect();
    let (begun, mut rounds) = (Instant::now(), 0);
    while rounds < options.rounds {
        let round = Instant::now();
        for (row, outcome) in chosen.iter().zip(&mut outcomes) {
            eprintln!("… round {} {}", rounds + 1, row.name);
            let folder = options.work.join(row.name);
            drop(std::fs::remove_dir_all(&folder));
            std::fs::create_dir_all(&folder)?;
            let figure: Result<Figure> = runtime.block_on(async {
                tokio::time::timeout(options.seconds + ROW_LIMIT, (row.run)(options, &folder)).await?
            });
            outcome.add(figure.map_err(|error| error.to_string()));
            drop(std::fs::remove_dir_all(&folder));
        }
        rounds += 1;
        if begun.elapsed() + round.elapsed() > options.within {
            break;
        }
    }
    drop(std::fs::remove_dir_all(&options.work));
    if options.json {
        let json = serde_json::json!({ "machine": machine, "rounds": rounds, "rows": report::json(&outcomes) });
        println!("{json:#}");
    } else {
        let (seconds, took) = (options.seconds.as_secs_f64(), begun.elapsed().as_secs());
        println!("{machine}\nmedian of {rounds} interleaved rounds, loads of {seconds} s, {took} s in all\n");
        print!("{}", report::text(&outcomes));
    }
    Ok(outcomes.iter().all(Outcome::counts))
}
