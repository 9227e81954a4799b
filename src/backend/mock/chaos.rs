//! The ways in which the embedded backend can fail, and the choice of one by a seed.

use std::fmt;
use std::str::FromStr;

/// A way to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Failure {
    /// 500.
    ServerError,
    /// 503, where there is no session that could be forgotten.
    Unavailable,
    /// 401, and all sessions are forgotten.
    Unauthorized,
    /// 429 with `Retry-After`, in seconds or as a date.
    TooMany,
    /// 200 with a body that is no JSON.
    Garbage,
    /// 200 with a body that does not end.
    Endless,
    /// 200 with a body of a byte a second, which does not end either.
    Drip,
    /// 200, and the connection breaks off in the middle of the body.
    Torn,
    /// A redirect to a path that counts who follows.
    Redirect,
    /// Nothing at all, until the client hangs up.
    Silence,
    /// The connection is closed without an answer; nothing was done.
    Drop,
    /// A result is taken, and the connection is closed without an answer.
    TakeAndDrop,
    /// A task that was handed out, and has no result, is handed out again.
    Again,
}

/// What is asked of the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// A session for a name and a password.
    Login,
    /// A session for an earlier one's token.
    Refresh,
    /// A task.
    Task,
    /// That a result be taken.
    Result,
}

/// How often the backend fails, and how.
#[derive(Debug, Clone)]
pub struct ChaosOptions {
    /// How many of a hundred answers fail.
    pub percent: u8,
    /// What the choice begins with: the same seed and the same questions give the same failures.
    pub seed: u64,
    /// The ways to fail.
    pub failures: Vec<Failure>,
}

impl Default for ChaosOptions {
    /// It does not fail; where it is made to, in every way.
    fn default() -> Self {
        ChaosOptions { percent: 0, seed: 1, failures: Failure::ALL.to_vec() }
    }
}

/// Chooses failures.
pub(super) struct Chaos {
    options: ChaosOptions,
    random: fastrand::Rng,
}

impl Failure {
    /// All there are.
    pub const ALL: [Failure; 13] = [
        Failure::ServerError,
        Failure::Unavailable,
        Failure::Unauthorized,
        Failure::TooMany,
        Failure::Garbage,
        Failure::Endless,
        Failure::Drip,
        Failure::Torn,
        Failure::Redirect,
        Failure::Silence,
        Failure::Drop,
        Failure::TakeAndDrop,
        Failure::Again,
    ];

    /// Its name on the command line and in the counts.
    pub fn name(self) -> &'static str {
        match self {
            Failure::ServerError => "500",
            Failure::Unavailable => "503",
            Failure::Unauthorized => "401",
            Failure::TooMany => "429",
            Failure::Garbage => "garbage",
            Failure::Endless => "endless",
            Failure::Drip => "drip",
            Failure::Torn => "torn",
            Failure::Redirect => "redirect",
            Failure::Silence => "silence",
            Failure::Drop => "drop",
            Failure::TakeAndDrop => "take-and-drop",
            Failure::Again => "again",
        }
    }

    /// Whether this question can fail so.
    fn suits(self, asked: Asked, sessions: bool, pending: bool) -> bool {
        // At the login a 401 says that the password is wrong, which would be no failure but a lie.
        let forgettable = sessions && asked != Asked::Login;
        match self {
            Failure::Unauthorized => forgettable,
            Failure::Unavailable => !forgettable,
            Failure::TakeAndDrop => asked == Asked::Result,
            Failure::Again => asked == Asked::Task && pending,
            _ => true,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Failure {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Failure::ALL.into_iter().find(|failure| failure.name() == text).ok_or_else(|| {
            let names = Failure::ALL.map(Failure::name).join(", ");
            format!("there is no such way to fail; there are {names}")
        })
    }
}

impl Chaos {
    pub fn new(options: ChaosOptions) -> Self {
        Chaos { random: fastrand::Rng::with_seed(options.seed), options }
    }

    /// Whether it ever fails.
    pub fn is_on(&self) -> bool {
        self.options.percent > 0
    }

    /// How this answer fails, if it does. `sessions`: a login is demanded; `pending`: a task is without its result.
    pub fn draw(&mut self, asked: Asked, sessions: bool, pending: bool) -> Option<Failure> {
        // Both numbers are always drawn, so that the next answer's do not hang on this one's.
        let (whether, which) = (self.random.u8(0..100), self.random.u64(..));
        if whether >= self.options.percent {
            return None;
        }
        let suited: Vec<Failure> =
            self.options.failures.iter().copied().filter(|f| f.suits(asked, sessions, pending)).collect();
        let at = which.checked_rem(suited.len() as u64)?;
        suited.get(usize::try_from(at).ok()?).copied()
    }

    /// A number for the details of a failure.
    pub fn choice(&mut self) -> usize {
        self.random.usize(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn draws(percent: u8, seed: u64, asked: Asked, sessions: bool, pending: bool) -> Vec<Option<Failure>> {
        let mut chaos = Chaos::new(ChaosOptions { percent, seed, ..ChaosOptions::default() });
        (0..20_000).map(|_| chaos.draw(asked, sessions, pending)).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_failures_and_another_seed_others() {
        let first = draws(10, 7, Asked::Task, true, true);
        assert_eq!(first, draws(10, 7, Asked::Task, true, true));
        assert_ne!(first, draws(10, 8, Asked::Task, true, true));
    }

    #[test]
    fn it_fails_as_often_as_it_is_told_to_and_evenly_in_all_ways() {
        assert!(draws(0, 1, Asked::Task, true, true).iter().all(Option::is_none));
        assert!(draws(100, 1, Asked::Login, false, false).iter().all(Option::is_some));
        let mut counts = BTreeMap::new();
        for failure in draws(10, 1, Asked::Result, true, true).into_iter().flatten() {
            *counts.entry(failure).or_insert(0) += 1;
        }
        let all: i32 = counts.values().sum();
        // The seed is given, so these figures are always the same: 2 000 expected, 182 of each.
        assert!((1_800..2_200).contains(&all), "{all}");
        assert_eq!(counts.len(), 11);
        assert!(counts.values().all(|count| (140..230).contains(count)), "{counts:?}");
    }

    #[test]
    fn each_question_fails_only_in_ways_that_mean_something_there() {
        let ways = |asked, sessions, pending| {
            let mut seen: Vec<_> = draws(100, 3, asked, sessions, pending).into_iter().flatten().collect();
            seen.sort_unstable();
            seen.dedup();
            seen
        };
        use Failure::*;
        for asked in [Asked::Login, Asked::Refresh, Asked::Task, Asked::Result] {
            assert!(!ways(asked, false, true).contains(&Unauthorized));
            assert_eq!(ways(asked, true, true).contains(&Unauthorized), asked != Asked::Login);
            assert_ne!(ways(asked, true, true).contains(&Unauthorized), ways(asked, true, true).contains(&Unavailable));
            assert_eq!(ways(asked, true, true).contains(&TakeAndDrop), asked == Asked::Result);
            assert_eq!(ways(asked, true, true).contains(&Again), asked == Asked::Task);
            assert!(!ways(asked, true, false).contains(&Again));
        }
    }

    #[test]
    fn only_the_named_ways_are_drawn_and_where_none_suits_the_answer_is_sound() {
        let options = ChaosOptions { percent: 100, failures: vec![Failure::Again], ..ChaosOptions::default() };
        let mut chaos = Chaos::new(options);
        assert_eq!(chaos.draw(Asked::Task, false, true), Some(Failure::Again));
        assert_eq!(chaos.draw(Asked::Task, false, false), None);
        assert_eq!(chaos.draw(Asked::Login, false, true), None);
    }

    #[test]
    fn names_are_read_back_and_unknown_ones_are_answered_with_those_there_are() {
        for failure in Failure::ALL {
            assert_eq!(failure.name().parse(), Ok(failure));
        }
        assert!("502".parse::<Failure>().unwrap_err().contains("take-and-drop"));
    }
}
