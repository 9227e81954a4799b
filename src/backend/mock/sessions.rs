//! Who has logged in.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};

/// Sessions that are remembered. The oldest is forgotten beyond that, as real backends let them expire.
const REMEMBERED: usize = 1024;

/// The sessions that count.
#[derive(Default)]
pub(super) struct Sessions {
    /// Newest last.
    list: VecDeque<Session>,
    made: u64,
    random: RandomState,
}

struct Session {
    access: String,
    /// Until it has been used.
    refresh: Option<String>,
}

impl Sessions {
    /// A new session: its access token and its refresh token.
    pub fn begin(&mut self) -> (String, String) {
        self.made += 1;
        // Hard to guess rather than unguessable, which is enough for trying things out.
        let access = format!("access-{:016x}", self.random.hash_one(("access", self.made)));
        let refresh = format!("refresh-{:016x}", self.random.hash_one(("refresh", self.made)));
        if self.list.len() == REMEMBERED {
            self.list.pop_front();
        }
        self.list.push_back(Session { access: access.clone(), refresh: Some(refresh.clone()) });
        (access, refresh)
    }

    /// Whether this refresh token is good; from now on it is not.
    pub fn use_up(&mut self, refresh: &str) -> bool {
        let found = self.list.iter_mut().find(|session| session.refresh.as_deref() == Some(refresh));
        found.is_some_and(|session| session.refresh.take().is_some())
    }

    /// Whether this access token is good.
    pub fn knows(&self, access: &str) -> bool {
        self.list.iter().any(|session| session.access == access)
    }

    /// Forgets everybody.
    pub fn forget(&mut self) {
        self.list.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refresh_token_is_good_for_one_refresh_and_nothing_once_all_is_forgotten() {
        let mut sessions = Sessions::default();
        let (access, refresh) = sessions.begin();
        assert!(sessions.knows(&access) && !sessions.knows(&refresh));
        assert!(sessions.use_up(&refresh) && !sessions.use_up(&refresh));
        assert!(sessions.knows(&access));
        let (_, refresh) = sessions.begin();
        sessions.forget();
        assert!(!sessions.knows(&access) && !sessions.use_up(&refresh));
    }

    #[test]
    fn the_list_does_not_grow_for_ever() {
        let mut sessions = Sessions::default();
        let (first, _) = sessions.begin();
        let (last, _) = (0..REMEMBERED).map(|_| sessions.begin()).last().unwrap();
        assert!(!sessions.knows(&first) && sessions.knows(&last));
        assert_eq!(sessions.list.len(), REMEMBERED);
    }
}
