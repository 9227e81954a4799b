//! Private repositories: the operator's credentials, which git gets in a file of the fetch sandbox, and nobody else gets.
//!
//! No code of a student's runs in that sandbox, and git speaks with the repository's server alone there: redirects are not followed,
//! and the proxy leads nowhere else. A token stands in no argument, no variable and no log; what git says is read through
//! [`Secret::redact`] before anybody sees it.

use crate::backend::allow;
use crate::config::CredentialOptions;
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Longest file of a token, in bytes.
const LONGEST: u64 = 64 << 10;

/// Where systemd puts a service's credentials.
const DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// What stands where a secret stood.
const REDACTED: &str = "[redacted]";

/// A user's name and token.
#[derive(Debug)]
pub struct Secret {
    user: String,
    token: SecretString,
}

/// The credentials for this URL: those of the longest prefix that covers it.
pub fn of<'a>(all: &'a BTreeMap<String, CredentialOptions>, url: &str) -> Option<&'a CredentialOptions> {
    let covering = all.iter().filter_map(|(prefix, options)| Some((allow::below(prefix, url)?, options)));
    covering.max_by_key(|(length, _)| *length).map(|(_, options)| options)
}

/// Reads the token, at each use: whoever replaces the file need not start anything again.
///
/// # Errors
/// What is wrong with the file, as a sentence for the operator.
pub fn read(options: &CredentialOptions) -> Result<Secret, String> {
    let path = place(options, std::env::var_os(DIRECTORY).as_deref().map(Path::new))?;
    let mut text = String::new();
    std::fs::File::open(&path)
        .and_then(|file| file.take(LONGEST).read_to_string(&mut text))
        .map_err(|error| format!("the token file {} cannot be read: {error}", path.display()))?;
    Ok(Secret { user: options.user.clone(), token: line(&path, &text)? })
}

/// Its first line. A control character in it would end the header that it stands in.
fn line(path: &Path, text: &str) -> Result<SecretString, String> {
    let line = text.lines().next().unwrap_or_default().trim();
    match line {
        "" => Err(format!("the token file {} has no first line: write the token there", path.display())),
        _ if line.chars().any(char::is_control) => {
            Err(format!("the token file {} holds a control character in its first line", path.display()))
        }
        _ => Ok(line.to_string().into()),
    }
}

fn place(options: &CredentialOptions, directory: Option<&Path>) -> Result<PathBuf, String> {
    match (&options.token_file, &options.token_credential, directory) {
        (Some(file), ..) => Ok(file.clone()),
        (None, Some(name), Some(directory)) => Ok(directory.join(name)),
        (None, Some(name), None) => Err(format!(
            "there is no credential {name}: {DIRECTORY} is not set, which a service of systemd with LoadCredential= has"
        )),
        (None, None, _) => Err("neither token-file nor token-credential is given".into()),
    }
}

impl Secret {
    /// A part of git's configuration by which these are sent with requests of this repository, and with no others.
    pub fn config(&self, url: &str) -> SecretString {
        let quoted = url.replace('\\', "\\\\").replace('"', "\\\"");
        format!("[http \"{quoted}\"]\n\textraHeader = Authorization: Basic {}\n", self.basic()).into()
    }

    fn basic(&self) -> String {
        base64(format!("{}:{}", self.user, self.token.expose_secret()).as_bytes())
    }

    /// The same text without the token, however it was written.
    pub fn redact(&self, text: &str) -> String {
        let token = self.token.expose_secret();
        let encoded: String = url::form_urlencoded::byte_serialize(token.as_bytes()).collect();
        // The longer forms first, since the shorter ones may be a part of them.
        let basic = self.basic();
        [basic.as_str(), basic.trim_end_matches('='), &encoded, token]
            .into_iter()
            .filter(|form| !form.is_empty())
            .fold(text.to_string(), |text, form| text.replace(form, REDACTED))
    }
}

/// Base 64 with padding (RFC 4648), as the header has it.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for part in bytes.chunks(3) {
        let bits = part.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - part.len()));
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) & 63;
            text.push(if digit <= part.len() { char::from(DIGITS[index as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn options(user: &str) -> CredentialOptions {
        CredentialOptions { user: user.into(), token_file: Some("/t".into()), token_credential: None }
    }

    fn secret(user: &str, token: &str) -> Secret {
        Secret { user: user.into(), token: token.to_string().into() }
    }

    #[test]
    fn the_longest_prefix_counts_and_ends_at_borders() {
        let all: BTreeMap<String, CredentialOptions> = [
            ("https://git.example/", "all"),
            ("https://git.example/org", "org"),
            ("https://git.example/org/team/", "team"),
            ("https://other.example:8443/", "port"),
        ]
        .map(|(prefix, user)| (prefix.to_string(), options(user)))
        .into();
        let user = |url: &str| of(&all, url).map(|found| found.user.as_str());
        assert_eq!(user("https://git.example/org/a.git"), Some("org"));
        assert_eq!(user("https://GIT.example:443/org/team/a.git"), Some("team"));
        assert_eq!(user("https://git.example/org-evil/a.git"), Some("all"));
        assert_eq!(user("https://git.example/org/team-2/a"), Some("org"));
        for elsewhere in [
            "https://git.example.evil.org/org/a.git",
            "https://git.example@evil.org/org/a",
            "https://evil.org/git.example/org/a",
            "http://git.example/org/a.git",
            "https://git.example:8443/org/a.git",
            "https://other.example/a.git",
            "https://git.example/org/../x",
            "git@git.example:org/a.git",
        ] {
            assert_eq!(user(elsewhere), None, "{elsewhere}");
        }
    }

    #[test]
    fn a_token_is_the_first_line_of_a_file_that_is_read_anew() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        let from = CredentialOptions { token_file: Some(file.clone()), ..options("u") };
        assert!(read(&from).unwrap_err().contains("cannot be read"));
        for (text, wrong) in [("", "no first line"), ("\nsecret", "no first line"), ("a\x07b", "control character")] {
            std::fs::write(&file, text).unwrap();
            let said = read(&from).unwrap_err();
            assert!(said.contains(wrong) && !said.contains("secret"), "{said}");
        }
        for token in ["one", "two"] {
            std::fs::write(&file, format!("{token} \r\nmore")).unwrap();
            assert_eq!(read(&from).unwrap().token.expose_secret(), token);
        }
        let named = CredentialOptions { token_file: None, token_credential: Some("git".into()), ..options("u") };
        assert_eq!(place(&named, Some(Path::new("/run/c"))), Ok("/run/c/git".into()));
        assert!(place(&named, None).unwrap_err().contains("LoadCredential"));
    }

    #[test]
    fn git_is_told_by_a_header_for_this_repository() {
        let config = secret("me", "p@ss").config("https://git.example/org/a.git");
        let expected = "[http \"https://git.example/org/a.git\"]\n\textraHeader = Authorization: Basic bWU6cEBzcw==\n";
        assert_eq!(config.expose_secret(), expected);
        assert!(!format!("{:?}", secret("me", "p@ss")).contains("p@ss"));
    }

    #[test]
    fn base64_is_as_the_standard_has_it() {
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        assert_eq!(base64(&[0xff, 0xfb]), "//s=");
    }

    proptest! {
        #[test]
        fn no_form_of_a_token_is_left(token in "[!-~]{8,40}", before in "[a-z ]{0,10}") {
            let secret = secret("user", &token);
            let basic = secret.basic();
            let said = format!("{before}{token} https://user:{token}@h Basic {basic}\n{basic}");
            let left = secret.redact(&said);
            prop_assert!(!left.contains(&token) && !left.contains(basic.trim_end_matches('=')), "{left}");
        }
    }
}
