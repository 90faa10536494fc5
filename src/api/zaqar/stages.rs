//! What posted messages go through before they are stored: stages in their configured order, each of which may change bodies or refuse the
//! post. The service gives them in; who is told of messages hears of them after they are stored, and only of what was.

use super::error::{Failure, Refusal};
use super::request::Call;
use async_trait::async_trait;
use std::fmt::Debug;

/// Changes bodies of messages, or refuses them.
#[async_trait]
pub trait Stage: Debug + Send + Sync {
    /// The bodies, each a JSON text, as they go on.
    ///
    /// # Errors
    /// Why the post is refused, for who posted: nothing of it is stored then.
    async fn apply(&self, bodies: Vec<String>) -> Result<Vec<String>, String>;
}

/// Takes bodies through all stages; none when there is no stage, and they are stored as they came.
pub(crate) async fn apply(call: &Call<'_>, bodies: impl Iterator<Item = &str>) -> Result<Option<Vec<String>>, Refusal> {
    if call.zaqar.stages.is_empty() {
        return Ok(None);
    }
    let mut bodies: Vec<String> = bodies.map(str::to_owned).collect();
    for stage in &call.zaqar.stages {
        bodies = stage.apply(bodies).await.map_err(Failure::request)?;
    }
    Ok(Some(bodies))
}
