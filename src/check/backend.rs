//! The backend, and its clock beside ours. It is never asked for a task.

use super::Finding;
use crate::backend::{ReachError, Reached, reach};
use std::time::{Duration, SystemTime};

/// What clocks may differ by. Certificates and tokens are not more exact than that.
const SKEW: Duration = Duration::from_secs(300);

/// Asks the backend whether it is there. Takes a few seconds at the most.
pub async fn look(url: &str) -> Vec<Finding> {
    judge(url, reach(url).await, SystemTime::now())
}

fn judge(url: &str, reached: Result<Reached, ReachError>, now: SystemTime) -> Vec<Finding> {
    const NAME: &str = "backend";
    // The runner asks until there is an answer, so that a backend that comes up later is no reason to stop.
    let waits = "see that it runs; the runner goes on asking";
    let reached = match reached {
        Err(ReachError::Settings(error)) => {
            return vec![Finding::red(NAME, error.to_string(), "correct --backend-url")];
        }
        Err(ReachError::Backend(error)) => return vec![Finding::yellow(NAME, error.to_string(), waits)],
        Ok(reached) => reached,
    };
    let answers = match reached.status {
        // 501 is what a server says that knows no HEAD.
        500 | 502..=599 => Finding::yellow(NAME, format!("{url} answers with status {}", reached.status), waits),
        _ => Finding::green(NAME, format!("{url} answers")),
    };
    let clock = reached.date.map(|date| {
        let skew = date.duration_since(now).or_else(|_| now.duration_since(date)).unwrap_or_default();
        match skew > SKEW {
            true => Finding::yellow(
                "backend's clock",
                format!("it and this host's differ by {} s", skew.as_secs()),
                "timedatectl set-ntp true, on whichever is wrong",
            ),
            false => Finding::green("backend's clock", "agrees with this host's"),
        }
    });
    std::iter::once(answers).chain(clock).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Grade;
    use super::*;
    use crate::backend::{BackendError, Call};

    #[test]
    fn a_backend_that_is_not_there_is_no_reason_to_stop() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let grades = |reached| judge("http://x", reached, now).iter().map(|f| f.grade).collect::<Vec<_>>();
        let answer = |status, date| Ok(Reached { status, date });
        assert_eq!(grades(answer(200, None)), [Grade::Green]);
        assert_eq!(grades(answer(404, Some(now))), [Grade::Green, Grade::Green]);
        assert_eq!(grades(answer(502, None)), [Grade::Yellow]);
        assert_eq!(grades(answer(501, None)), [Grade::Green]);
        let off = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(grades(answer(200, Some(off(299)))), [Grade::Green, Grade::Green]);
        assert_eq!(grades(answer(200, Some(off(301)))), [Grade::Green, Grade::Yellow]);
        assert_eq!(grades(answer(200, Some(now - Duration::from_secs(4000)))), [Grade::Green, Grade::Yellow]);
        let gone = BackendError::Unreachable { call: Call::Reach, url: "http://x".into(), problem: "gone".into() };
        assert_eq!(grades(Err(gone.into())), [Grade::Yellow]);
        let wrong = crate::backend::SettingsError::Url { url: "x".into(), problem: "no URL".into() };
        assert_eq!(grades(Err(wrong.into())), [Grade::Red]);
    }
}
