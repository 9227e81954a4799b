//! Which repositories a task may name.
//!
//! A URL is read twice: here, and by git. Whatever the two could read differently is refused before anything is
//! compared, so that the host that was checked is the host that is asked.

use crate::proxy::place::Place;
use url::Url;

/// What is allowed when the operator says nothing.
pub const DEFAULT_ALLOWED: &str = "https://github.com/";

/// Longest URL that is looked at, in bytes.
const LONGEST: usize = 4096;

/// The schemes an allowed prefix may state.
const SCHEMES: [&str; 3] = ["https", "http", "file"];

/// Is `url` under one of the `allowed` prefixes?
///
/// A prefix is a URL such as `https://github.com/os-nsu`; without a scheme it means https. Scheme, host and port must
/// be the same, and the path must be the prefix's or lie below it: `/os-nsu` does not cover `/os-nsu-evil`. An entry
/// that is no valid prefix (see [`check_prefix`]) covers nothing.
///
/// # Errors
/// A sentence that says what is wrong with the URL, fit to be shown to the student.
pub fn check(url: &str, allowed: &[String]) -> Result<(), String> {
    let refuse = |why: &str| {
        Err(format!("repositoryUrl {} is refused: {why}", super::text::excerpt(format!("{url:?}").as_bytes(), 200)))
    };
    let parsed = match parse(url) {
        Ok(parsed) => parsed,
        Err(why) => return refuse(&why),
    };
    if allowed.iter().filter_map(|prefix| parse_prefix(prefix).ok()).any(|prefix| covers(&prefix, &parsed)) {
        return Ok(());
    }
    refuse(&match allowed {
        [] => "no repository URL is allowed here; the operator allows them with --allow-url".to_owned(),
        _ => format!(
            "allowed are repositories under {}; the operator allows others with --allow-url",
            allowed.join(", ")
        ),
    })
}

/// Is `prefix` one that [`check`] can use? For the command line, so that a mistake shows at start-up.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn check_prefix(prefix: &str) -> Result<(), String> {
    parse_prefix(prefix)
        .map(drop)
        .map_err(|why| format!("{prefix:?} is no URL prefix: {why}; write one such as {DEFAULT_ALLOWED}"))
}

/// How long the path of `prefix` is, if it covers `url`: of two that cover one, the longer is the closer. By the rules of [`check`].
pub fn below(prefix: &str, url: &str) -> Option<usize> {
    let (prefix, url) = (parse_prefix(prefix).ok()?, parse(url).ok()?);
    covers(&prefix, &url).then(|| prefix.path().trim_end_matches('/').len())
}

/// The host and the port that a prefix names, if it is of http or https.
pub fn place(prefix: &str) -> Option<Place> {
    Place::of_url(&parse_prefix(prefix).ok()?)
}

fn parse_prefix(prefix: &str) -> Result<Url, String> {
    if prefix.contains("://") { parse(prefix) } else { parse(&format!("https://{prefix}")) }
}

/// Parses a URL that this crate and git are sure to read alike.
fn parse(text: &str) -> Result<Url, String> {
    if text.len() > LONGEST {
        return Err(format!("it is longer than {LONGEST} bytes"));
    }
    // The url crate drops tabs and newlines and takes `\` for `/`; git does neither.
    if let Some(c) = text.chars().find(|c| !c.is_ascii_graphic() || *c == '\\') {
        return Err(format!("it contains the character {c:?}, which a URL has to percent-encode"));
    }
    // `https:host/path` is a URL to this crate and an ssh address to git.
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err("it is no URL of the form https://host/path".to_owned());
    };
    let scheme = scheme.to_ascii_lowercase();
    if !SCHEMES.contains(&scheme.as_str()) {
        return Err("its scheme is not https".to_owned());
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.is_empty() && scheme != "file" {
        return Err("it names no host".to_owned());
    }
    if authority.contains('@') {
        return Err("it carries a user name or a password".to_owned());
    }
    if authority.contains('%') {
        return Err("its host is percent-encoded".to_owned());
    }
    if path.contains(['?', '#']) {
        return Err("it carries a query or a fragment, which no repository's URL has".to_owned());
    }
    check_path(path)?;
    let url = Url::parse(text).map_err(|error| format!("it is no valid URL ({error})"))?;
    // The url crate tidies up: of `file:////a` it drops slashes, it encodes some characters. What it compared would not be what git
    // is given.
    if url.path() != path && !(path.is_empty() && url.path() == "/") {
        return Err("its path can be read in two ways: write single slashes, and percent-encode what is neither a letter nor a digit \
                    nor one of - . _ ~"
            .to_owned());
    }
    Ok(url)
}

/// Refuses paths that walk upward, encoded however often: parsing would resolve them, a server or a file system too.
fn check_path(path: &str) -> Result<(), String> {
    let mut decoded = path.as_bytes().to_vec();
    loop {
        if decoded.split(|b| matches!(b, b'/' | b'\\')).any(|segment| segment == b".." || segment == b".") {
            return Err("its path contains a `.` or `..` segment".to_owned());
        }
        if decoded.iter().any(|b| b.is_ascii_control()) {
            return Err("its path contains an encoded control character".to_owned());
        }
        // Each round shortens the path or leaves it as it is, so this ends.
        let next = percent_decode(&decoded);
        if next == decoded {
            return Ok(());
        }
        decoded = next;
    }
}

/// One round of percent-decoding; a `%` without two hexadecimal digits stays.
pub(super) fn percent_decode(text: &[u8]) -> Vec<u8> {
    let hex = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match (byte, hex(text.get(at + 1)), hex(text.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                // Two hexadecimal digits are at most 255.
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

fn covers(prefix: &Url, url: &Url) -> bool {
    let below = prefix.path().trim_end_matches('/');
    prefix.scheme() == url.scheme()
        && prefix.host() == url.host()
        && prefix.port_or_known_default() == url.port_or_known_default()
        && url.path().strip_prefix(below).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn allowed(prefixes: &[&str]) -> Vec<String> {
        prefixes.iter().map(|p| (*p).to_owned()).collect()
    }

    #[test]
    fn honest_urls_pass() {
        for (prefix, url) in [
            (DEFAULT_ALLOWED, "https://github.com/os-nsu/proxy.git"),
            ("https://github.com", "https://github.com/os-nsu/proxy"),
            ("https://github.com/os-nsu", "https://GitHub.com/os-nsu/proxy.git"),
            ("https://github.com/os-nsu/", "https://github.com/os-nsu/proxy.git"),
            ("https://github.com/os-nsu", "https://github.com:443/os-nsu/a..b%20c"),
            ("github.com/os-nsu", "https://github.com/os-nsu/proxy.git"),
            ("http://git.local:3000", "http://git.local:3000/a/b.git"),
            ("git.local:3000", "https://git.local:3000/a/b.git"),
            ("file:///srv/git", "file:///srv/git/a.git"),
            ("https://[::1]:8443/", "https://[::1]:8443/a.git"),
        ] {
            assert_eq!(check(url, &allowed(&[prefix])), Ok(()), "{prefix} {url}");
            assert_eq!(check_prefix(prefix), Ok(()));
        }
    }

    #[test]
    fn look_alikes_and_ambiguities_are_refused() {
        let allowed = allowed(&["https://github.com/os-nsu"]);
        for url in [
            "",
            "proxy",
            "/srv/git/a.git",
            "-u/evil",
            "https:github.com/os-nsu/a",
            "https:///github.com/os-nsu/a",
            "https:/github.com/os-nsu/a",
            "git@github.com:os-nsu/a.git",
            "ssh://github.com/os-nsu/a.git",
            "ext::sh -c true",
            "ext://github.com/os-nsu/a",
            "file:///etc",
            "file://github.com/os-nsu/a",
            "http://github.com/os-nsu/a.git",
            "https://github.com.evil.org/os-nsu/a",
            "https://github.com@evil.org/os-nsu/a",
            "https://@github.com/os-nsu/a",
            "https://user:pw@github.com/os-nsu/a",
            "https://github.com:8443/os-nsu/a",
            "https://github.com./os-nsu/a",
            "https://github%2ecom/os-nsu/a",
            "https://github.com\\@evil.org/os-nsu/a",
            "https://evil.org\\os-nsu/a",
            "https://evil.org/github.com/os-nsu/a",
            "https://evil.org?https://github.com/os-nsu/a",
            "https://evil.org#github.com/os-nsu/a",
            "https://github.com/os-nsu-evil/a",
            "https://github.com/evil/a",
            "https://github.com//os-nsu/a",
            "https://github.com/os-nsu/../evil/a",
            "https://github.com/os-nsu/%2e%2e/evil/a",
            "https://github.com/os-nsu/.%2E/evil/a",
            "https://github.com/os-nsu/x%2f..%2f..%2fevil/a",
            "https://github.com/os-nsu/%252e%252e/evil/a",
            "https://github.com/os-nsu/%5c..%5cevil/a",
            "https://github.com/os-nsu/a?x=/../evil",
            "https://github.com/os-nsu/a#b",
            "https://github.com/os-nsu/a%00b",
            "https://github.com/os-nsu/a%0ab",
            "https://github.com/os-nsu/a\nb",
            "https://github.com/os-nsu/a\0",
            " https://github.com/os-nsu/a",
            "https://github.com/os-nsu/a b",
            "https://gıthub.com/os-nsu/a",
        ] {
            let refused = check(url, &allowed);
            assert!(refused.is_err(), "{url:?} passed");
            assert!(refused.unwrap_err().contains("refused"), "{url:?}");
        }
    }

    #[test]
    fn paths_that_would_be_tidied_up_are_refused() {
        let allowed = allowed(&["https://github.com/os-nsu", "file:///srv/git"]);
        for url in [
            "file:////srv/git/a",
            "file:///////srv/git/a",
            "https://github.com/os-nsu/a<b>",
            "https://github.com/os-nsu/\"a",
        ] {
            assert!(check(url, &allowed).is_err_and(|why| why.contains("two ways")), "{url:?}");
        }
    }

    #[test]
    fn prefixes_that_cover_nothing_are_told_apart() {
        for wrong in ["", "ssh://host/", "https://", "https://u@h/", "https://h/?q", "a b", "https://h/../"] {
            assert!(check_prefix(wrong).is_err(), "{wrong:?}");
            assert!(check("https://h/a", &allowed(&[wrong])).is_err(), "{wrong:?}");
        }
        assert!(check("https://h/a", &[]).unwrap_err().contains("--allow-url"));
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(url in ".*", prefix in ".*") {
            let _ = check(&url, &[prefix]);
        }

        #[test]
        fn what_passes_reads_as_one_host_and_stays_below(
            url in "https?(://|:|:/|:///)[a-z@.:\\\\%/?#-]{0,2}(github\\.com)?(:443|:|:0443|@)?(/os)?[a-z@.:%/2e?#\\\\-]{0,16}"
        ) {
            let prefixes = allowed(&["https://github.com/os"]);
            if check(&url, &prefixes).is_ok() {
                prop_assert!(url.starts_with("https://github.com/os") || url.starts_with("https://github.com:443/os")
                    || url.starts_with("https://github.com:0443/os") || url.starts_with("https://github.com:/os"));
                let parsed = Url::parse(&url).unwrap();
                prop_assert_eq!(parsed.host_str(), Some("github.com"));
                prop_assert!(parsed.path() == "/os" || parsed.path().starts_with("/os/"));
            }
        }

        #[test]
        fn whatever_is_below_passes_and_its_siblings_do_not(name in "[a-z0-9][a-z0-9_.-]{0,20}", path in "[a-zA-Z0-9_-]{1,12}") {
            let prefixes = [format!("https://example.org/{path}")];
            let inside = format!("https://example.org/{path}/{name}");
            let sibling = format!("https://example.org/{path}{name}");
            prop_assert!(check(&inside, &prefixes).is_ok());
            prop_assert!(check(&sibling, &prefixes).is_err());
        }
    }
}
