//! A clock that can be put ahead, so that nobody waits ten minutes to see what happens then.

use crate::units::parse_duration;
use serde_json::{Value, json};
use std::time::{Duration, Instant, SystemTime};

/// How far ahead it goes at the most: a time beyond has no date.
const FURTHEST: Duration = Duration::from_secs(100 * 366 * 86_400);

/// The time as this backend sees it.
pub(super) struct Clock {
    begun: (SystemTime, Instant),
    ahead: Duration,
}

impl Clock {
    pub fn start() -> Clock {
        Clock { begun: (SystemTime::now(), Instant::now()), ahead: Duration::ZERO }
    }

    /// Whatever becomes of the host's clock, this one only goes forward.
    pub fn now(&self) -> SystemTime {
        self.begun.0 + self.begun.1.elapsed() + self.ahead
    }

    /// Puts it ahead, by a body such as `{"advance": "10m"}` or `{"advance": 600}`.
    ///
    /// # Errors
    /// What is wrong with the body.
    pub fn set(&mut self, body: &[u8]) -> Result<(), String> {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let by = match body.get("advance") {
            Some(Value::String(text)) => parse_duration(text),
            Some(Value::Number(number)) => parse_duration(&number.to_string()),
            _ => Err("write {\"advance\": \"10m\"} or {\"advance\": 600}".to_owned()),
        };
        self.ahead = self.ahead.saturating_add(by?).min(FURTHEST);
        Ok(())
    }

    pub fn to_json(&self) -> Value {
        json!({"now": show(self.now()), "aheadSeconds": self.ahead.as_secs_f64()})
    }
}

/// A time as people and programs read it.
pub(super) fn show(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_put_ahead_and_never_back() {
        let mut clock = Clock::start();
        let before = clock.now();
        assert_eq!(clock.set(br#"{"advance": "10m"}"#), Ok(()));
        assert_eq!(clock.set(br#"{"advance": 1.5}"#), Ok(()));
        assert!(clock.now() >= before + Duration::from_millis(601_500));
        for wrong in [&b""[..], b"{}", br#"{"advance": -5}"#, br#"{"advance": "soon"}"#, br#"{"advance": null}"#] {
            assert!(clock.set(wrong).is_err());
        }
        for _ in 0..3 {
            assert_eq!(clock.set(br#"{"advance": "36500d"}"#), Ok(()));
        }
        assert!(clock.to_json()["now"].is_string());
    }
}
