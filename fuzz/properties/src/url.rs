//! Which repositories a task may name.

use crate::is_harmless;
use ostest_sandbox::backend::allow;

/// What is allowed: a prefix, and how the URL's scheme, authority and path must look to somebody who only splits it.
const ALLOWED: [(&str, &str, &[&str], &str); 3] = [
    ("https://github.com/os-nsu", "https", &["github.com", "github.com:443", "github.com:"], "/os-nsu"),
    ("http://git.local:3000/", "http", &["git.local:3000"], ""),
    ("file:///srv/git", "file", &["", "localhost"], "/srv/git"),
];

/// The bytes are a repository's URL.
///
/// What is allowed is read again here, as simply as a program can: the scheme up to `://`, the host up to the next slash. A
/// URL that the two could read differently must not pass.
pub fn check(bytes: &[u8]) -> &'static str {
    let Ok(url) = std::str::from_utf8(bytes) else { return "refused" };
    let prefixes = ALLOWED.map(|(prefix, ..)| prefix.to_owned());
    for prefix in &prefixes {
        assert_eq!(allow::check_prefix(prefix), Ok(()));
    }
    assert!(allow::check(url, &[]).is_err());
    // Any URL may be somebody's prefix; then it covers itself.
    if allow::check_prefix(url).is_ok() && url.contains("://") {
        assert_eq!(allow::check(url, &[url.to_owned()]), Ok(()));
    }
    if let Err(why) = allow::check(url, &prefixes) {
        assert!(why.len() < 1500 && is_harmless(&why), "{why:?}");
        return "refused";
    }
    let (scheme, rest) = url.split_once("://").expect("a URL has a scheme");
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let fits = |(_, wanted, authorities, below): &(&str, &str, &[&str], &str)| {
        // Leading zeros of a port say nothing.
        let host = match authority.split_once(':') {
            Some((host, port)) => format!("{host}:{}", port.trim_start_matches('0')),
            None => authority.to_owned(),
        };
        scheme.eq_ignore_ascii_case(wanted)
            && authorities.iter().any(|one| one.eq_ignore_ascii_case(&host))
            && path.strip_prefix(below).is_some_and(|more| more.is_empty() || more.starts_with('/'))
    };
    assert!(ALLOWED.iter().any(fits), "{url:?} is under no prefix");
    assert!(url.chars().all(|c| c.is_ascii_graphic() && !"?#\\".contains(c)), "{url:?}");
    assert!(!authority.contains(['@', '%']), "{url:?}");
    assert!(!path.split('/').any(|part| matches!(part, "." | "..")), "{url:?}");
    "allowed"
}
