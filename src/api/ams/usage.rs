//! What projects were used for in a period: the averages that value-added reports ask for, and a project admin's own report.

use super::Ams;
use super::error::{Failure, Refusal};
use super::query::Query;
use super::render::{self, Indent, Json};
use super::request::{Answer, Call};
use super::{metrics, times};
use crate::auth::Token;
use crate::broker::PageRequest;
use crate::domain::project::Project;
use crate::domain::user::User;
use crate::domain::{Day, Error, Name, ProjectId, Timestamp};
use chrono::{NaiveDate, TimeDelta};
use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Whole days, the first and the last included.
#[derive(Clone, Debug)]
struct Period {
    /// Those since 1970; nothing happened before.
    within: RangeInclusive<Day>,
    /// How many there are in the calendar.
    days: i64,
}

impl Period {
    /// The period that a query asks for: everything up to today by default.
    fn read(query: Query<'_>, now: Timestamp) -> Result<Self, Failure> {
        let epoch = NaiveDate::default();
        let today = epoch.checked_add_signed(TimeDelta::days(now.day().0.cast_signed())).unwrap_or(epoch);
        let date = |name: &str, otherwise, refusal: &'static str| match query.get(name).as_deref() {
            None | Some("") => Ok(otherwise),
            Some(text) => times::read_date(text).ok_or_else(|| Failure::argument(refusal)),
        };
        let first = date("start_date", epoch, "Start date is not in valid format")?;
        let last = date("end_date", today, "End date is not in valid format")?;
        if first > last {
            return Err(Failure::argument("Start date cannot be after the end date"));
        }
        let since_epoch = |date: NaiveDate| date.signed_duration_since(epoch).num_days();
        // A period that ended before 1970 holds no day.
        let (from, to) = match u64::try_from(since_epoch(last)) {
            Ok(to) => (u64::try_from(since_epoch(first)).unwrap_or(0), to),
            Err(_) => (1, 0),
        };
        Ok(Self { within: Day(from)..=Day(to), days: since_epoch(last) - since_epoch(first) + 1 })
    }

    fn holds(&self, at: Timestamp) -> bool {
        self.within.contains(&at.day())
    }

    /// The average a day, rounded up to hundredths.
    #[expect(clippy::cast_precision_loss, reason = "an average in hundredths, as the original counts it")]
    fn average(&self, count: u64) -> f64 {
        (100.0 * count as f64 / self.days.max(1) as f64).ceil() / 100.0
    }
}

/// What a project was used for.
#[derive(Debug)]
struct Usage {
    project: String,
    messages: u64,
    average: f64,
    topics: usize,
    subscriptions: usize,
    users: usize,
}

/// The usage of those of the projects that took messages in the period; others contribute nothing (quirk 48).
async fn of_projects(ams: &Ams, projects: &[Arc<Project>], period: &Period) -> Result<Vec<Usage>, Error> {
    let all = PageRequest::default();
    let users = if projects.is_empty() { Vec::new() } else { ams.auth.users(all, &|_| true).await?.items };
    let mut usages = Vec::new();
    for project in projects {
        let id = project.id;
        let days = ams.broker.daily_messages_of_project(id, period.within.clone(), usize::MAX).await?;
        if days.is_empty() {
            continue;
        }
        let messages = days.iter().fold(0_u64, |sum, (_, count)| sum.saturating_add(*count));
        let topics = ams.broker.topics(id, all, &|topic| period.holds(topic.created_at)).await?;
        let made = |at| period.holds(at);
        let subscriptions = ams.broker.subscriptions(id, all, &|subscription| made(subscription.created_at)).await?;
        // Members made in the period (quirk 46).
        let members = users.iter().filter(|user| user.membership(id).is_some() && period.holds(user.created_at));
        usages.push(Usage {
            project: project.name.as_str().to_owned(),
            messages,
            average: period.average(messages),
            topics: topics.total,
            subscriptions: subscriptions.total,
            users: members.count(),
        });
    }
    Ok(usages)
}

fn write(usages: &[Usage], json: &mut Json) {
    let sum = |count: fn(&Usage) -> usize| usages.iter().map(count).sum::<usize>();
    json.field("projects_metrics").object(|json| {
        json.field("projects").array(|json| {
            for usage in usages {
                json.item().object(|json| {
                    json.field("project").string(&usage.project);
                    json.field("message_count").number(usage.messages);
                    json.field("average_daily_messages").float(usage.average);
                    json.field("topics_count").number(usage.topics);
                    json.field("subscriptions_count").number(usage.subscriptions);
                    json.field("users_count").number(usage.users);
                });
            }
        });
        json.field("total_message_count").number(usages.iter().map(|usage| u128::from(usage.messages)).sum::<u128>());
        // Fractions of a hundredth would come of adding.
        let average = usages.iter().fold(0.0, |sum, usage| sum + usage.average);
        json.field("average_daily_messages").float((average * 100.0).round() / 100.0);
    });
    json.field("total_users_count").number(sum(|usage| usage.users));
    json.field("total_topics_count").number(sum(|usage| usage.topics));
    json.field("total_subscriptions_count").number(sum(|usage| usage.subscriptions));
}

/// The names of projects in a query; none for all.
fn named(query: Query<'_>) -> Option<Cow<'_, str>> {
    query.get("projects").filter(|names| !names.is_empty())
}

/// Averages of all projects, or of those named.
pub(crate) async fn va_metrics(call: &Call<'_>) -> Answer {
    let (broker, period) = (&call.ams.broker, Period::read(call.query, call.ams.broker.now())?);
    let projects = match named(call.query) {
        None => broker.projects().await?,
        Some(names) => {
            let mut projects = Vec::new();
            for name in names.split(',') {
                let unknown = || Refusal::from(Failure::not_found(&format!("Project {name}")));
                let found = broker.project(&Name::new(name).map_err(|_| unknown())?).await;
                projects.push(match found {
                    Err(Error::NotFound(_)) => return Err(unknown()),
                    found => found?,
                });
            }
            projects
        }
    };
    let usages = of_projects(call.ams, &projects, &period).await?;
    Ok(render::object(Indent::One, |json| write(&usages, json)))
}

/// What the caller's own projects were used for: those that he administers, or those named among them. Asks for no role beforehand, and
/// does not know the service token.
pub(crate) async fn report(ams: &Ams, query: Query<'_>, token: Option<Token>) -> Answer {
    let token = token.ok_or(Failure::UNAUTHORIZED)?;
    let user = ams.auth.user_by_token(&token).await?.ok_or(Failure::UNAUTHORIZED)?;
    let period = Period::read(query, ams.broker.now())?;
    let names = named(query);
    let wanted = |project: &Project| match &names {
        None => true,
        Some(names) => names.split(',').any(|name| name == project.name.as_str()),
    };
    let mut projects = ams.broker.projects().await?;
    projects.retain(|project| administers(&user, project.id) && wanted(project));
    let usages = of_projects(ams, &projects, &period).await?;
    let operational = if projects.is_empty() { Vec::new() } else { metrics::of_node(ams).into() };
    Ok(render::object(Indent::Three, |json| {
        json.field("va_metrics").object(|json| write(&usages, json));
        json.field("operational_metrics").object(|json| metrics::write(&operational, json));
    }))
}

fn administers(user: &User, project: ProjectId) -> bool {
    let roles = user.membership(project).map(|membership| membership.roles.as_slice()).unwrap_or_default();
    roles.iter().any(|role| role.as_str() == "project_admin")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2024-05-01.
    const TODAY: u64 = 19_844;

    fn period(query: &str) -> Result<(u64, u64, i64), String> {
        let period =
            Period::read(Query::new(query), Day(TODAY).start()).map_err(|failure| failure.message.into_owned())?;
        Ok((period.within.start().0, period.within.end().0, period.days))
    }

    #[test]
    fn a_period_is_everything_until_today_unless_the_query_says_otherwise() {
        assert_eq!(period(""), Ok((0, TODAY, 19_845)));
        assert_eq!(period("start_date=2024-04-30"), Ok((TODAY - 1, TODAY, 2)));
        assert_eq!(period("start_date=2024-04-30&end_date=2024-04-30"), Ok((TODAY - 1, TODAY - 1, 1)));
        assert_eq!(period("start_date=1969-12-31&end_date=1970-01-01"), Ok((0, 0, 2)));
        assert_eq!(period("start_date=0001-01-01&end_date=1969-12-31"), Ok((1, 0, 719_162)), "nothing was before 1970");
    }

    #[test]
    fn dates_that_are_none_are_refused_in_order() {
        let refused = |query: &str| period(query).unwrap_err();
        assert_eq!(refused("start_date=x&end_date=y"), "Start date is not in valid format");
        assert_eq!(refused("start_date=2024-05-01&end_date=2024-5-2"), "End date is not in valid format");
        assert_eq!(refused("start_date=2024-05-02&end_date=2024-05-01"), "Start date cannot be after the end date");
        assert_eq!(refused("start_date=2024-05-02"), "Start date cannot be after the end date");
    }

    #[test]
    fn averages_are_rounded_up_to_hundredths() {
        let period = Period { within: Day(0)..=Day(2), days: 3 };
        assert_eq!([0, 1, 30].map(|count| period.average(count).to_string()), ["0", "0.34", "10"]);
    }
}
