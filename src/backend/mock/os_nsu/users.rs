//! Who may do what: users with roles, tokens in which the roles stand, and one refresh token a user.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long the two kinds of token are good for.
const ACCESS: Duration = Duration::from_secs(15 * 60);
const REFRESH: Duration = Duration::from_secs(30 * 24 * 3600);

/// Somebody who can log in, written `NAME:PASSWORD:ROLE` with more roles behind commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The password.
    pub password: String,
    /// The roles; none is possible.
    pub roles: Vec<String>,
}

impl FromStr for User {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Neither names nor roles hold a colon, a password may.
        let parts = text.split_once(':').and_then(|(name, rest)| Some((name, rest.rsplit_once(':')?)));
        match parts {
            Some((name, (password, roles))) if !name.is_empty() => Ok(User {
                name: name.to_owned(),
                password: password.to_owned(),
                roles: roles.split(',').filter(|role| !role.is_empty()).map(str::to_owned).collect(),
            }),
            _ => Err(format!("{text:?} is no user: write NAME:PASSWORD:ROLE, such as runner:PASSWORD:ADMIN")),
        }
    }
}

/// One user of each role. The old runner's own is a student.
pub fn default_users() -> Vec<User> {
    [("runner", "ADMIN"), ("dora_explorer", "STUDENT"), ("teacher", "TEACHER")]
        .map(|(name, role)| User { name: name.to_owned(), password: name.to_owned(), roles: vec![role.to_owned()] })
        .to_vec()
}

/// The users, and who has logged in.
pub(super) struct Users {
    list: Vec<User>,
    /// Each token that is good: whose it is, and until when.
    access: HashMap<String, (usize, SystemTime)>,
    /// The one refresh token of each user, by which the next login's replaces it.
    refresh: HashMap<usize, (String, SystemTime)>,
    made: u64,
    random: RandomState,
}

impl Users {
    pub fn new(list: Vec<User>) -> Users {
        Users { list, access: HashMap::new(), refresh: HashMap::new(), made: 0, random: RandomState::new() }
    }

    /// Whether there is a user of this name.
    pub fn has(&self, name: &str) -> bool {
        self.list.iter().any(|user| user.name == name)
    }

    /// Tokens, if that is the user's password.
    pub fn log_in(&mut self, name: &str, password: &str, now: SystemTime) -> Option<Value> {
        let at = self.list.iter().position(|user| user.name == name && user.password == password)?;
        Some(self.begin(at, now))
    }

    /// New tokens for a refresh token, if it is its user's last.
    pub fn refresh(&mut self, token: &str, now: SystemTime) -> Option<Value> {
        let (at, _) = self.refresh.iter().find(|(_, (known, until))| known == token && *until > now)?;
        Some(self.begin(*at, now))
    }

    /// Name and roles of whoever has this access token.
    pub fn of_access(&self, token: &str, now: SystemTime) -> Option<(&str, &[String])> {
        let (at, _) = self.access.get(token).filter(|(_, until)| *until > now)?;
        self.list.get(*at).map(|user| (user.name.as_str(), user.roles.as_slice()))
    }

    /// Nobody has logged in.
    pub fn forget(&mut self) {
        self.access.clear();
        self.refresh.clear();
    }

    fn begin(&mut self, at: usize, now: SystemTime) -> Value {
        self.access.retain(|_, (_, until)| *until > now);
        let user = &self.list[at];
        let subject = (at + 1).to_string();
        let access_claims = json!({
            "sub": &subject, "exp": seconds(now + ACCESS), "roles": &user.roles, "groups": [], "username": &user.name,
        });
        let refresh_claims = json!({"sub": &subject, "exp": seconds(now + REFRESH)});
        let (access, refresh) = (self.token(&access_claims), self.token(&refresh_claims));
        self.access.insert(access.clone(), (at, now + ACCESS));
        self.refresh.insert(at, (refresh.clone(), now + REFRESH));
        json!({"type": "Bearer", "accessToken": access, "refreshToken": refresh})
    }

    /// A JSON web token. Its signature is hard to guess rather than unguessable, which is enough for trying things out.
    fn token(&mut self, claims: &Value) -> String {
        self.made += 1;
        let secret = self.random.hash_one(self.made);
        let signed = format!("{}.{}", encode(r#"{"alg":"HS512"}"#), encode(claims.to_string()));
        let signature = Sha256::digest(format!("{secret:016x}{signed}"));
        format!("{signed}.{}", encode(signature))
    }
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Roles;

    #[test]
    fn users_are_written_with_their_roles() {
        let user = |name: &str, password: &str, roles: &[&str]| User {
            name: name.into(),
            password: password.into(),
            roles: roles.iter().map(|role| role.to_string()).collect(),
        };
        assert_eq!("a:b:ADMIN".parse(), Ok(user("a", "b", &["ADMIN"])));
        assert_eq!("a:b:c:ADMIN,TEACHER".parse(), Ok(user("a", "b:c", &["ADMIN", "TEACHER"])));
        assert_eq!("a::".parse(), Ok(user("a", "", &[])));
        for wrong in ["", "a", "a:b", ":b:ADMIN"] {
            assert!(wrong.parse::<User>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_second_login_ends_the_first_ones_refresh_token_and_not_its_access() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let mut users = Users::new(default_users());
        let text = |tokens: &Value, name: &str| tokens[name].as_str().unwrap().to_owned();
        assert_eq!(users.log_in("runner", "wrong", now), None);
        let first = users.log_in("runner", "runner", now).unwrap();
        let second = users.log_in("runner", "runner", now).unwrap();
        let other = users.log_in("teacher", "teacher", now).unwrap();
        assert_eq!(users.refresh(&text(&first, "refreshToken"), now), None);
        for tokens in [&first, &second] {
            let access = text(tokens, "accessToken");
            assert_eq!(users.of_access(&access, now), Some(("runner", &["ADMIN".to_owned()][..])));
            assert_eq!(users.of_access(&access, now + ACCESS), None);
            assert!(Roles::of_token(&access).unwrap().suffice());
        }
        // A refresh uses the token up.
        assert!(users.refresh(&text(&second, "refreshToken"), now).is_some());
        assert_eq!(users.refresh(&text(&second, "refreshToken"), now), None);
        assert_eq!(users.refresh(&text(&other, "refreshToken"), now + REFRESH), None);
        assert!(users.refresh(&text(&other, "refreshToken"), now).is_some());
    }
}
