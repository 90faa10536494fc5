//! `run --dry-run`: prints where the messages that wait at each source would go. Publishes nothing and acknowledges nothing.
//!
//! A look is a pull, there is no other. In cumulative mode it leaves the cursor where it is (but another consumer's open window becomes
//! this one's); in individual mode the leases are given back at once.

use crate::ams::{AckMode, Client};
use crate::config::PairPlan;
use crate::message::{Pulled, View};
use crate::rule::Route;
use std::io::Write;

/// Shows up to `most` messages of the pair's source.
///
/// # Errors
/// A sentence, when the source or the output fails.
pub(crate) async fn show(plan: &PairPlan, most: usize, to: &mut impl Write) -> Result<(), String> {
    let client = Client::new(&plan.source, &plan.source_project)?;
    let source = client.source(&plan.subscription).await.map_err(|failure| failure.to_string())?;
    let answer = client.pull(&plan.subscription, most).await.map_err(|failure| failure.to_string())?;
    let pulled: Pulled<'_> =
        serde_json::from_slice(&answer).map_err(|error| format!("the answer of a pull cannot be read: {error}"))?;
    let told = routes(plan, &pulled, to);
    if source.mode == AckMode::Individual && !pulled.received.is_empty() {
        let ids: Vec<&str> = pulled.received.iter().map(|received| received.ack_id.as_ref()).collect();
        let given = client.release(&plan.subscription, &ids).await;
        given.map_err(|failure| format!("the messages stay leased until their deadline: {failure}"))?;
    }
    told
}

fn routes(plan: &PairPlan, pulled: &Pulled<'_>, to: &mut impl Write) -> Result<(), String> {
    let reader = plan.avro_reader()?;
    let written = |error: std::io::Error| format!("cannot write: {error}");
    for received in &pulled.received {
        let view = View::new(&received.message, reader.as_ref());
        let from = plan.origin(&received.message.id);
        match plan.rules.route(&view) {
            Route::Publish { topic, attributes, matched } => {
                let attributes: Vec<String> =
                    attributes.0.iter().map(|(name, value)| format!("{name:?}={value:?}")).collect();
                let note = if matched { "" } else { " (unmatched)" };
                let (project, attributes) = (&plan.target_project, attributes.join(" "));
                writeln!(to, "{}: {from} -> projects/{project}/topics/{topic}{note} {attributes}", plan.name)
            }
            Route::Drop => writeln!(to, "{}: {from} -> dropped (unmatched)", plan.name),
            Route::Stop => writeln!(to, "{}: {from} -> stops the pair (unmatched)", plan.name),
        }
        .map_err(written)?;
    }
    writeln!(to, "{}: {} messages looked at; nothing published, nothing acknowledged", plan.name, pulled.received.len())
        .map_err(written)
}
