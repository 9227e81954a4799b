//! The backend: whether anybody is there, whether its clock and ours agree, and whether it lets us in.

use super::Finding;
use super::state::SET_CLOCK;
use crate::backend::{Admitted, Backend, BackendError, BackendSettings, NEEDED_ROLE, Seen};
use std::time::{Duration, SystemTime};

/// Clocks may differ by this much: tokens and certificates are not that exact.
const MOST_APART: Duration = Duration::from_secs(300);

/// How long the answer may take: a start is not to hang on a backend that is away.
const PATIENCE: Duration = Duration::from_secs(5);

const NAME: &str = "backend";

/// Looks for the backend, if one was named. No task is asked for.
pub async fn look(settings: Option<&BackendSettings>) -> Vec<Finding> {
    let Some(settings) = settings else {
        return vec![Finding::green(NAME, "not looked for: no --backend-url was given")];
    };
    let hasty = BackendSettings { connect_timeout: PATIENCE, request_timeout: PATIENCE, ..settings.clone() };
    match Backend::new(hasty) {
        Ok(backend) => judge(backend.look().await, SystemTime::now()),
        Err(error) => vec![Finding::red(NAME, error.to_string(), "correct --backend-url")],
    }
}

/// Logs in where that is asked for, as the runner does. No task is asked for.
pub async fn log_in(settings: &BackendSettings) -> Option<Finding> {
    settings.auth.as_ref()?;
    let hasty = BackendSettings { connect_timeout: PATIENCE, request_timeout: PATIENCE, ..settings.clone() };
    // One that makes no backend has been said.
    let backend = Backend::new(hasty).ok()?;
    judge_login(backend.try_login().await.transpose()?).into()
}

fn judge_login(tried: Result<Admitted, BackendError>) -> Finding {
    const NAME: &str = "login";
    let other_user = format!(
        "give --login, and the password by OSTEST_PASSWORD or --password-file, of a user of the backend with the role {NEEDED_ROLE}"
    );
    match tried {
        Ok(Admitted { user, roles: Some(roles) }) if roles.suffice() => {
            Finding::green(NAME, format!("the backend knows {user:?}, who has {roles}"))
        }
        Ok(Admitted { user, roles: Some(roles) }) => Finding::green(
            NAME,
            format!(
                "the backend knows {user:?}, who has {roles}, and does not refuse results for want of {NEEDED_ROLE}"
            ),
        ),
        Ok(Admitted { user, roles: None }) => Finding::green(
            NAME,
            format!(
                "the backend knows {user:?}; whether it gives tasks to this user shows only where one is asked for"
            ),
        ),
        Err(BackendError::Forbidden { user, roles, .. }) => Finding::red(
            NAME,
            format!(
                "the backend knows {user:?}, who has {roles}, and answers 403: taking tasks and sending results takes the role \
                 {NEEDED_ROLE}"
            ),
            format!("{other_user}, or have the role given to {user:?}"),
        ),
        Err(BackendError::LoginRejected { url, user, problem, .. }) => {
            Finding::red(NAME, format!("logging in as {user:?} failed: {url} {problem}"), other_user)
        }
        Err(error @ BackendError::LoginAnswer { .. }) => Finding::red(NAME, error.to_string(), "mend --login-api"),
        Err(error) => {
            let remedy = "mend what the sentence names; until then the runner goes on trying";
            Finding::yellow(NAME, error.to_string(), remedy)
        }
    }
}

fn judge(seen: Result<Seen, BackendError>, now: SystemTime) -> Vec<Finding> {
    let seen = match seen {
        Ok(seen) => seen,
        Err(error) => {
            let remedy = "start the backend, or correct --backend-url; until then the runner goes on asking";
            return vec![Finding::yellow(NAME, error.to_string(), remedy)];
        }
    };
    let mut found = vec![Finding::green(NAME, format!("{} answers (HTTP {})", seen.url, seen.status))];
    found.extend(seen.date.map(|date| judge_date(date, now)));
    found
}

fn judge_date(theirs: SystemTime, ours: SystemTime) -> Finding {
    const NAME: &str = "clocks";
    let (apart, which) = match ours.duration_since(theirs) {
        Ok(apart) => (apart, "ahead of"),
        Err(error) => (error.duration(), "behind"),
    };
    // Dates of HTTP have whole seconds.
    let said =
        format!("ours is {} {which} the backend's", humantime::format_duration(Duration::from_secs(apart.as_secs())));
    match apart > MOST_APART {
        true => {
            Finding::yellow(NAME, format!("{said}: one of them is wrong, and certificates are judged by it"), SET_CLOCK)
        }
        false => Finding::green(NAME, said),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Grade;
    use super::*;
    use crate::backend::Call;

    #[test]
    fn a_silent_backend_is_yellow_with_its_sentence() {
        let error = BackendError::Unreachable {
            connected: false,
            call: Call::Look,
            url: "http://b/".into(),
            problem: "gave no answer (connection refused)".into(),
        };
        let found = judge(Err(error), SystemTime::UNIX_EPOCH);
        assert_eq!((found.len(), found[0].grade), (1, Grade::Yellow));
        assert!(found[0].found.contains("connection refused") && found[0].remedy.contains("goes on asking"));
    }

    #[test]
    fn any_status_is_an_answer_and_clocks_are_compared_both_ways() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let at = |date| {
            let found = judge(Ok(Seen { url: "http://b/".into(), status: 404, date }), now);
            assert_eq!(found[0].grade, Grade::Green);
            found.get(1).map(|finding| (finding.grade, finding.found.clone()))
        };
        assert_eq!(at(None), None);
        assert_eq!(at(Some(now - Duration::from_secs(300))).map(|f| f.0), Some(Grade::Green));
        let ahead = at(Some(now - Duration::from_secs(301))).expect("a finding");
        assert!(ahead.0 == Grade::Yellow && ahead.1.contains("5m 1s ahead of"), "{ahead:?}");
        let behind = at(Some(now + Duration::from_secs(86_400))).expect("a finding");
        assert!(behind.0 == Grade::Yellow && behind.1.contains("1day behind"), "{behind:?}");
    }
}
