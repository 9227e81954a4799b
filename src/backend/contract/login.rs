//! The wire of logging in, for both ends of it: the runner's and the embedded backend's.

use super::Value;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

/// What a backend answers to a login and to a refresh.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// The scheme of the `Authorization` header, `Bearer` where the backend does not say.
    pub scheme: String,
    /// What goes into the header.
    pub access: SecretString,
    /// What buys the next access token; absent from some answers to a refresh.
    pub refresh: Option<SecretString>,
}

/// The body of a login.
pub fn login_request(user: &str, password: &SecretString) -> Value {
    json!({"username": user, "password": password.expose_secret()})
}

/// The body of a refresh.
pub fn refresh_request(refresh: &SecretString) -> Value {
    json!({"refreshToken": refresh.expose_secret()})
}

/// Reads the answer to either.
///
/// # Errors
/// What is wrong with it, as a part of a sentence that quotes nothing: the answer may hold a token.
pub fn parse_tokens(body: &[u8]) -> Result<Tokens, &'static str> {
    let value: Value = serde_json::from_slice(body).map_err(|_| "no JSON")?;
    let field = |name| value.get(name).and_then(Value::as_str).filter(|s| !s.is_empty());
    Ok(Tokens {
        scheme: field("type").unwrap_or("Bearer").to_owned(),
        access: field("accessToken").ok_or("JSON without an accessToken")?.into(),
        refresh: field("refreshToken").map(Into::into),
    })
}

/// User name and password of a login's body; for the embedded backend.
pub fn read_login(body: &Value) -> Option<(&str, &str)> {
    Some((body.get("username")?.as_str()?, body.get("password")?.as_str()?))
}

/// The token of a refresh's body; for the embedded backend.
pub fn read_refresh(body: &Value) -> Option<&str> {
    body.get("refreshToken")?.as_str()
}

/// The answer to a login or a refresh; for the embedded backend.
pub fn tokens_response(access: &str, refresh: &str) -> Value {
    json!({"type": "Bearer", "accessToken": access, "refreshToken": refresh})
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tokens_are_read_and_never_shown() {
        let body = tokens_response("acc-secret", "ref-secret").to_string();
        let tokens = parse_tokens(body.as_bytes()).unwrap();
        assert_eq!(tokens.scheme, "Bearer");
        assert_eq!(tokens.access.expose_secret(), "acc-secret");
        assert_eq!(tokens.refresh.as_ref().unwrap().expose_secret(), "ref-secret");
        assert!(!format!("{tokens:?}").contains("secret\""));
        assert!(!format!("{tokens:?}").contains("acc-"));
    }

    #[test]
    fn scheme_and_refresh_token_may_be_absent_but_not_the_token() {
        let tokens = parse_tokens(br#"{"accessToken": "a"}"#).unwrap();
        assert_eq!((tokens.scheme.as_str(), tokens.refresh.is_none()), ("Bearer", true));
        for wrong in ["", "[]", "{}", r#"{"accessToken": 5}"#, r#"{"accessToken": ""}"#] {
            assert!(parse_tokens(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_answers_never_panic(body in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(tokens) = parse_tokens(&body) {
                prop_assert!(!tokens.access.expose_secret().is_empty());
            }
        }

        #[test]
        fn tokens_come_back_whatever_they_are_made_of(access in ".{1,60}", refresh in ".{1,60}") {
            let tokens = parse_tokens(tokens_response(&access, &refresh).to_string().as_bytes()).unwrap();
            prop_assert_eq!(tokens.access.expose_secret(), &*access);
            prop_assert_eq!(tokens.refresh.as_ref().unwrap().expose_secret(), &*refresh);
            let shown = format!("{tokens:?}");
            prop_assert!(access.len() < 20 || !shown.contains(&access));
        }
    }

    #[test]
    fn requests_are_what_the_other_end_reads() {
        let login = login_request("dora", &"pw".into());
        assert_eq!(read_login(&login), Some(("dora", "pw")));
        assert_eq!(read_refresh(&refresh_request(&"r".into())), Some("r"));
    }
}
