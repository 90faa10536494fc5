//! What a fresh store begins with: an administrator, and in a demonstration something to play with.

use super::{Mode, private};
use crate::auth::{Auth, NewUser, Token};
use crate::broker::{Broker, NewProject, NewSubscription, NewTopic, PageRequest};
use crate::config::Config;
use crate::domain::acl::RoleName;
use crate::domain::subscription::{AckMode, Settings};
use crate::domain::topic::Retention;
use crate::domain::user::Profile;
use crate::domain::{Error, Name, Offset};
use std::time::Duration;

/// The first user.
const ADMINISTRATOR: &str = "admin";
/// The demonstration's project.
pub(super) const PROJECT: &str = "demo";
/// Its topic.
pub(super) const TOPIC: &str = "events";
/// Its subscription.
pub(super) const SUBSCRIPTION: &str = "reader";
/// Time to acknowledge for people who copy commands by hand.
const PATIENCE: Duration = Duration::from_secs(600);

/// Makes the administrator in a store without users, unless a service token is there to make the first users with. The token is
/// answered if it is new, and kept for the command line of this machine.
pub(super) async fn administrator(config: &Config, auth: &Auth, mode: Mode) -> Result<Option<Token>, String> {
    let failed = |error: Error| format!("cannot make the administrator: {error}");
    let everybody = auth.users(PageRequest { size: Some(1), from: None }, &|_| true).await.map_err(failed)?;
    let service_token = config.service_token().map_err(|error| error.to_string())?.is_some();
    if everybody.total > 0 || (service_token && mode == Mode::Serve) {
        return Ok(None);
    }
    let new = NewUser {
        name: name(ADMINISTRATOR)?,
        profile: Profile { description: "made at the first start".to_owned(), ..Profile::default() },
        memberships: Vec::new(),
        service_roles: vec![RoleName::new("service_admin")],
        created_by: None,
    };
    // The file first: a token that nobody has yet does no harm, an administrator without his token would.
    let token = Token::fresh().map_err(failed)?;
    if let Some(path) = config.token_file() {
        private::write(&path, format!("{}\n", token.reveal()).as_bytes())
            .map_err(|error| format!("cannot keep the administrator's token in {}: {error}", path.display()))?;
    }
    auth.create_user_with_token(new, &token).await.map_err(failed)?;
    match config.token_file() {
        Some(path) => tracing::info!(token_file = %path.display(), "made the user {ADMINISTRATOR}"),
        None => tracing::info!("made the user {ADMINISTRATOR}"),
    }
    Ok(Some(token))
}

/// Makes what is missing of the demonstration's project, topic and subscription.
pub(super) async fn demonstration(broker: &Broker, retention: Retention) -> Result<(), String> {
    let failed = |error: Error| format!("cannot make the demonstration: {error}");
    let made = NewProject { name: name(PROJECT)?, description: "a place to try things".to_owned(), created_by: None };
    let project = match broker.create_project(made).await {
        Err(Error::AlreadyExists(_)) => broker.project(&name(PROJECT)?).await,
        made => made,
    };
    let project = project.map_err(failed)?.id;
    let topic = NewTopic { name: name(TOPIC)?, retention, schema: None, created_by: None };
    let subscription = NewSubscription {
        name: name(SUBSCRIPTION)?,
        topic: name(TOPIC)?,
        settings: Settings {
            mode: AckMode::Cumulative,
            ack_deadline: PATIENCE,
            max_attempts: None,
            dead_letter_topic: None,
            dead_letter_ttl: None,
        },
        push: None,
        acl: Vec::new(),
        created_by: None,
    };
    match broker.create_topic(project, topic).await {
        Ok(_) | Err(Error::AlreadyExists(_)) => {}
        Err(error) => return Err(failed(error)),
    }
    match broker.create_subscription(project, subscription).await {
        Ok(_) | Err(Error::AlreadyExists(_)) => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

/// Which message the demonstration's next pull gives first.
pub(super) async fn demonstration_position(broker: &Broker) -> Result<Offset, String> {
    let failed = |error: Error| format!("cannot look at the demonstration: {error}");
    let project = broker.project(&name(PROJECT)?).await.map_err(failed)?;
    let subscription = broker.subscription(project.id, &name(SUBSCRIPTION)?).await.map_err(failed)?;
    Ok(broker.progress(&subscription).await.map_err(failed)?.floor)
}

fn name(text: &str) -> Result<Name, String> {
    Name::new(text).map_err(|error| error.to_string())
}
