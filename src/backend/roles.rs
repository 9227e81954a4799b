//! What a login may do, where its token says so.
//!
//! The backend in use signs a list of roles into its tokens, and answers 403 to whoever lacks the one that tasks take. Of other
//! backends' tokens nothing is known; then nothing is said.

use super::text::excerpt;
use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;
use std::fmt;

/// The role that taking tasks and sending results takes, as the backend in use calls it.
pub const NEEDED: &str = "ADMIN";

/// Roles that are shown at the most, and bytes of each.
const SHOWN: usize = 10;
const NAME: usize = 40;

/// As tokens write it: no padding, but a foreign one may have it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The roles of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roles(Vec<String>);

impl Roles {
    /// Those that stand in a token: the claim `roles` of a JSON web token. Its signature is the backend's affair.
    pub fn of_token(token: &str) -> Option<Roles> {
        let claims = BASE64.decode(token.split('.').nth(1)?).ok()?;
        let claims: Value = serde_json::from_slice(&claims).ok()?;
        let names = claims.get("roles")?.as_array()?.iter().filter_map(Value::as_str);
        Some(Roles(names.map(|name| excerpt(name.as_bytes(), NAME)).collect()))
    }

    /// Whether they are enough to take tasks.
    pub fn suffice(&self) -> bool {
        self.0.iter().any(|role| role == NEEDED)
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0[..] {
            [] => f.write_str("no role"),
            [one] => write!(f, "the role {one}"),
            all => write!(f, "the roles {}", all[..all.len().min(SHOWN)].join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::{URL_SAFE as PADDED, URL_SAFE_NO_PAD as PLAIN};
    use proptest::prelude::*;

    fn token(claims: &str) -> String {
        format!("e30.{}.c2ln", PLAIN.encode(claims))
    }

    #[test]
    fn roles_stand_in_the_token() {
        let roles = |claims: &str| Roles::of_token(&token(claims));
        let student = roles(r#"{"sub": "2", "roles": ["STUDENT"], "exp": 1}"#).unwrap();
        assert_eq!((student.to_string().as_str(), student.suffice()), ("the role STUDENT", false));
        let both = roles(r#"{"roles": ["STUDENT", "ADMIN"]}"#).unwrap();
        assert_eq!((both.to_string().as_str(), both.suffice()), ("the roles STUDENT, ADMIN", true));
        let none = roles(r#"{"roles": []}"#).unwrap();
        assert_eq!((none.to_string().as_str(), none.suffice()), ("no role", false));
        let padded = format!("e30.{}.c2ln", PADDED.encode(r#"{"roles":["ADMIN"] }"#));
        assert!(Roles::of_token(&padded).unwrap().suffice());
        for silent in ["{}", r#"{"roles": "ADMIN"}"#, "[]", "no json"] {
            assert_eq!(roles(silent), None, "{silent}");
        }
        assert_eq!(Roles::of_token("access-00ff"), None);
    }

    proptest! {
        #[test]
        fn any_token_is_survived_and_shown_shortly(token in ".{0,200}", claims in "(?s).{0,200}", name in "(?s).{0,500}") {
            let _ = Roles::of_token(&token);
            let claims = format!("e30.{}.c2ln", PLAIN.encode(claims));
            let _ = Roles::of_token(&claims);
            let long = serde_json::json!({"roles": vec![name; 100]}).to_string();
            let shown = Roles::of_token(&self::token(&long)).unwrap().to_string();
            prop_assert!(shown.len() < 3000 && !shown.chars().any(char::is_control));
        }
    }
}
