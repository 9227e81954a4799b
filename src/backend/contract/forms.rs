//! The ways in which people write where their repository is, brought to the one that git takes.
//!
//! What is understood is only rewritten here. Whether it is allowed is for [`allow::check`](crate::backend::allow::check) to say of what
//! comes out, by the same rules as of any other URL.

/// A repository and a branch, as they were understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// The repository's URL.
    pub url: String,
    /// The branch that the URL names.
    pub branch: Option<String>,
}

/// Pages of a repository that people copy the address of instead of the repository's own, on GitHub and on GitLab (behind `/-/`).
const PAGES: [&str; 9] =
    ["blob", "branches", "commit", "commits", "compare", "merge_requests", "pull", "releases", "tags"];

/// Understands what stands in `repositoryUrl`. What it does not know it leaves as it is.
///
/// # Errors
/// What is wrong with the URL, as the rest of a sentence.
pub fn understood(text: &str) -> Result<Form, String> {
    // No URL holds a blank; what one would become is nobody's guess.
    if text.contains(char::is_whitespace) {
        return Ok(Form { url: text.into(), branch: None });
    }
    let url = ssh(text)?.unwrap_or_else(|| text.to_string());
    let Some((scheme, rest)) = url.split_once("://").filter(|(scheme, _)| is_web(scheme)) else {
        return Ok(Form { url, branch: None });
    };
    // Host and scheme are the same in capitals to everybody but git, which knows no transport HTTPS.
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let host = if authority.contains('@') { authority.to_string() } else { authority.to_ascii_lowercase() };
    let server = format!("{}://{host}", scheme.to_ascii_lowercase());
    let path = path.trim_end_matches('/');
    let page = page(path).map(|(repository, kind, of)| (repository.trim_end_matches('/'), kind, of));
    match page {
        Some((repository, "tree" | "src/branch", branch)) if !branch.is_empty() => {
            let branch = decoded(branch).ok_or("names a branch that cannot be read")?;
            Ok(Form { url: format!("{server}{repository}"), branch: Some(branch) })
        }
        Some((repository, ..)) => Err(format!(
            "leads to a page about the repository; give the repository's own address, which most likely is {server}{repository}"
        )),
        None => Ok(Form { url: format!("{server}{path}"), branch: None }),
    }
}

fn is_web(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http")
}

/// `git@HOST:PATH` and `ssh://git@HOST/PATH` as the https address of the same repository, which big hosts and most others have.
fn ssh(text: &str) -> Result<Option<String>, String> {
    const OTHERWISE: &str = "is an address for ssh, which is not used here; give the one that begins with https://";
    let (host, path) = match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("ssh") || scheme.eq_ignore_ascii_case("git+ssh") => {
            let (authority, path) = rest.split_once('/').ok_or(OTHERWISE)?;
            let host = authority.split_once('@').map_or(authority, |(_, host)| host);
            // Another port is ssh's own, and says nothing of where https is.
            (host.strip_suffix(":22").unwrap_or(host), path)
        }
        Some(_) => return Ok(None),
        None => match text.split_once(':') {
            Some((server, path)) if server.starts_with("git@") => (&server["git@".len()..], path),
            _ => return Ok(None),
        },
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    let good = !host.is_empty() && host.chars().all(plain) && !path.is_empty() && !path.starts_with(['/', '~']);
    if good { Ok(Some(format!("https://{host}/{path}"))) } else { Err(OTHERWISE.into()) }
}

/// A page's repository, what it shows, and of what. A repository has two parts at least, and on GitLab any number before `/-/`. One that
/// is really called so is known by its `.git`.
fn page(path: &str) -> Option<(&str, &str, &str)> {
    if path.ends_with(".git") {
        return None;
    }
    let (repository, page) = match path.split_once("/-/") {
        Some(parts) => parts,
        None => {
            let (at, _) = path.match_indices('/').nth(2)?;
            (&path[..at], &path[at + 1..])
        }
    };
    let (kind, of) = page.split_once('/').unwrap_or((page, ""));
    match (kind, of.split_once('/')) {
        ("tree", _) => Some((repository, "tree", of)),
        // Gitea's and Forgejo's.
        ("src", Some(("branch", branch))) => Some((repository, "src/branch", branch)),
        _ if PAGES.contains(&kind) => Some((repository, "page", of)),
        _ => None,
    }
}

/// One round of percent-decoding: what a browser has encoded in a branch's name.
fn decoded(text: &str) -> Option<String> {
    let bytes = crate::backend::allow::percent_decode(text.as_bytes());
    String::from_utf8(bytes).ok().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn form(text: &str) -> (String, Option<String>) {
        let form = understood(text).unwrap();
        (form.url, form.branch)
    }

    #[test]
    fn addresses_of_repositories_become_what_git_takes() {
        for (text, url) in [
            ("https://github.com/o/r.git", "https://github.com/o/r.git"),
            ("https://github.com/o/r/", "https://github.com/o/r"),
            ("https://github.com/o/r.git/", "https://github.com/o/r.git"),
            ("HTTPS://GitHub.COM/Org/Repo", "https://github.com/Org/Repo"),
            ("git@github.com:o/r.git", "https://github.com/o/r.git"),
            ("ssh://git@github.com/o/r.git", "https://github.com/o/r.git"),
            ("ssh://git@github.com:22/o/r", "https://github.com/o/r"),
            ("https://git.example:8443/group/sub/team/repo", "https://git.example:8443/group/sub/team/repo"),
            ("https://git.example/a/b/tree/main.git", "https://git.example/a/b/tree/main.git"),
            // Left for others to refuse.
            ("https://me:pw@Git.example/a", "https://me:pw@Git.example/a"),
            ("file:///srv/git/a/", "file:///srv/git/a/"),
            ("ext::sh -c id", "ext::sh -c id"),
            ("me@host:a", "me@host:a"),
            ("-u", "-u"),
        ] {
            assert_eq!(form(text), (url.to_string(), None), "{text}");
        }
    }

    #[test]
    fn pages_of_a_branch_name_it() {
        for (text, url, branch) in [
            ("https://github.com/o/r/tree/main", "https://github.com/o/r", "main"),
            ("https://github.com/o/r/tree/lab/1/", "https://github.com/o/r", "lab/1"),
            ("https://github.com/o/r/tree/%D0%B2%2F1", "https://github.com/o/r", "в/1"),
            ("https://gitlab.example/g/s/r/-/tree/x", "https://gitlab.example/g/s/r", "x"),
            ("https://gitea.example/o/r/src/branch/x", "https://gitea.example/o/r", "x"),
        ] {
            assert_eq!(form(text), (url.to_string(), Some(branch.to_string())), "{text}");
        }
        for text in [
            "https://github.com/o/r/blob/main/a.c",
            "https://github.com/o/r/commit/abc",
            "https://github.com/o/r/pull/3",
            "https://github.com/o/r/tree",
            "https://gitlab.example/g/s/r/-/commits/main",
        ] {
            assert!(understood(text).unwrap_err().contains("give the repository's own address"), "{text}");
        }
    }

    #[test]
    fn ssh_is_explained_where_it_says_no_https_address() {
        for text in ["ssh://git@git.example:2222/o/r.git", "git@host:/srv/r", "git@host:~me/r", "git@:a", "ssh://host"]
        {
            assert!(understood(text).unwrap_err().contains("begins with https://"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_was_understood_is_understood_as_itself(text in "(https?://|git@|ssh://)?[a-z]{0,3}[:/]?(/|[a-zA-Z0-9@.:%_-]|/tree|/-/| ){0,12}") {
            if let Ok(form) = understood(&text)
                && let Ok(again) = understood(&form.url)
            {
                prop_assert_eq!(again.url, form.url);
            }
        }

        /// A rewriting must not make an allowed address of one that is not: the host stays.
        #[test]
        fn the_host_stays(text in "(https://|git@|ssh://git@)[a-z]{1,8}[.@:/\\\\][a-zA-Z0-9@.:/%]{0,20}") {
            let server = |text: &str| {
                let text = text.trim_start_matches("https://").trim_start_matches("ssh://").trim_start_matches("git@");
                text[..text.find(['/', ':']).unwrap_or(text.len())].to_ascii_lowercase()
            };
            if let Ok(form) = understood(&text) {
                prop_assert_eq!(server(&form.url), server(&text));
            }
        }
    }
}
