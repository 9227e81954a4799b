//! The addresses that repositories may have: whether the fetch stage reaches each.

use super::Finding;
use crate::backend::allow;
use crate::config::Grading;
use crate::proxy::address;
use crate::proxy::place::Host;
use std::net::{IpAddr, Ipv4Addr};

/// Name of the finding.
const NAME: &str = "allowed repositories";

/// Looks at the prefixes that name an internal address themselves, and that nothing lets the proxy reach: students would read that the
/// address is out of reach, of repositories that the operator allows. What a name leads to is looked at when it is fetched from.
pub fn look(grading: &Grading) -> Option<Finding> {
    let mirrored = |prefix: &str| grading.mirrors.iter().any(|mirror| allow::below(&mirror.prefix, prefix).is_some());
    let shut = |prefix: &&String| {
        let place = allow::place(prefix).filter(|_| !mirrored(prefix))?;
        let address = match &place.host {
            Host::Address(address) => *address,
            Host::Name(name) if name == "localhost" || name.ends_with(".localhost") => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Host::Name(_) => return None,
        };
        let lifted = grading.allow_internal.iter().any(|entry| entry.lifts(&place, address, false));
        (address::internal(address).is_some() && !lifted).then_some(place)
    };
    let (prefix, place) = grading.allow_url.iter().find_map(|prefix| Some((prefix, shut(&prefix)?)))?;
    Some(Finding::yellow(
        NAME,
        format!("{prefix} leads to an internal address, which the fetch stage does not reach"),
        format!("--allow-internal {place}, if its repositories are to be graded; take it from --allow-url, if not"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{FileOptions, Mirror};
    use crate::task::bound::tests::of_file;

    fn grading(allow_url: &[&str], allow_internal: &[&str]) -> Grading {
        let mut grading = of_file(&FileOptions::default(), 1);
        grading.allow_url = allow_url.iter().map(|url| url.to_string()).collect();
        grading.allow_internal = allow_internal.iter().map(|text| text.parse().unwrap()).collect();
        grading
    }

    #[test]
    fn an_internal_address_that_is_allowed_and_out_of_reach_is_told() {
        let told = |allow_url: &[&str], allow_internal: &[&str]| look(&grading(allow_url, allow_internal));
        for (url, place) in [
            ("https://10.1.2.3/", "10.1.2.3:443"),
            ("http://localhost:8080/course", "localhost:8080"),
            ("https://[::1]:3000/", "[::1]:3000"),
            ("https://0x7f.1/", "127.0.0.1:443"),
        ] {
            let finding = told(&["https://github.com/", url], &[]).unwrap_or_else(|| panic!("{url} is told"));
            assert!(
                finding.found.contains(url) && finding.remedy.contains(&format!("--allow-internal {place}")),
                "{finding:?}"
            );
            assert_eq!(told(&[url], &[place]), None, "{url} can be reached");
        }
        assert_eq!(told(&["https://github.com/", "https://git.course.example/", "8.8.8.8"], &[]), None);
        assert_eq!(told(&["https://10.1.2.3/"], &["10.0.0.0/8"]), None);
        // It is read, and not asked for.
        let mut mirrored = grading(&["https://10.1.2.3/"], &[]);
        mirrored.mirrors.push(Mirror { prefix: "https://10.1.2.3/".into(), dir: "/srv/git".into() });
        assert_eq!(look(&mirrored), None);
    }
}
