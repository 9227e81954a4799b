//! What runs in the fetch sandbox, and what it says of itself: a line for each step before it is taken, so that it is known at which
//! one git failed, and what the server has said by then.

/// What git is told once for all. Submodules, hooks, filters and local clones are ways in which a repository can make
/// git run or read something (CVE-2024-32002, CVE-2025-48384); none of them is needed to read one branch.
/// The directory's owner is the operator, not the sandbox's user, hence safe.directory. A server that accepts and says nothing for 25 s
/// does not work: that is known before another task is taken (`runner::admission`). One that works on a large pack says something every
/// five seconds (git-config(1), uploadpack.keepAlive).
const GIT_CONFIG: &str = "[core]\n\thooksPath = /dev/null\n\tfsmonitor = false\n\tsymlinks = true\n\
    [protocol]\n\tallow = never\n[protocol \"https\"]\n\tallow = always\n[protocol \"http\"]\n\tallow = always\n\
    [protocol \"file\"]\n\tallow = always\n\
    [transfer]\n\tfsckObjects = true\n[fetch]\n\trecurseSubmodules = false\n\
    [http]\n\tfollowRedirects = false\n\tlowSpeedLimit = 1\n\tlowSpeedTime = 25\n[submodule]\n\trecurse = false\n[safe]\n\tdirectory = *\n\
    [gc]\n\tauto = 0\n[advice]\n\tdetachedHead = false\n[init]\n\tdefaultBranch = main\n";

/// Flaws that old tools have left in sound histories, and with which every server and `git clone` take them. They are in what a commit
/// says of its author and its time, and in how a tree writes modes: nothing that names a file, leads out of the tree or can be
/// read in two ways. All else that git-fsck(1) knows as an error or a warning is refused.
const HARMLESS: [&str; 15] = [
    "badDate",
    "badDateOverflow",
    "badEmail",
    "badName",
    "badTimezone",
    "missingAuthor",
    "missingCommitter",
    "missingEmail",
    "missingNameBeforeEmail",
    "missingSpaceBeforeDate",
    "missingSpaceBeforeEmail",
    "multipleAuthors",
    "nulInCommit",
    "zeroPaddedDate",
    "zeroPaddedFilemode",
];

/// The configuration of git inside.
pub fn config() -> String {
    let harmless: String = HARMLESS.iter().map(|id| format!("\t{id} = ignore\n")).collect();
    format!("{GIT_CONFIG}[fetch \"fsck\"]\n{harmless}")
}

/// Brings one branch. The repository's own directory lies in /tmp, so `.git` never comes near the project. `$1` is the URL, `$2` the
/// branch (empty: the default one), `$3` the same as it may have been meant, `$4` the directory; none of them is ever a part of the
/// script. The server's list of branches comes first: what it has not, and in which hashes it counts, is known by its own word.
pub const FETCH: &str = r#"
say() { printf '%s\n' "$*"; }
say step list
if [ "$2" ]; then git ls-remote --heads --tags --refs -- "$1"; else git ls-remote -- "$1" HEAD; fi >/tmp/list
# Who answers nothing at all, or something that is no git, has no branches either.
[ -s /tmp/list ] || {
    GIT_TRACE_PACKET=/tmp/trace git ls-remote -- "$1" >/dev/null
    grep -qs '< ' /tmp/trace || say silent yes
}
say step choose
exact= meant= count=0
while read -r id name; do
    format=${#id}
    case $name in
        HEAD | "refs/heads/$2") exact=$name ;;
        "refs/heads/$3") meant=$name ;;
        "refs/tags/$2" | "refs/tags/$3") say tag "${name#refs/tags/}" ;;
    esac
    case $name in
        refs/heads/*) count=$((count + 1)); [ "$count" -gt 8 ] || say has "${name#refs/heads/}" ;;
    esac
done </tmp/list
ref=${exact:-$meant}
say branches "$count"
[ "$ref" ] || exit 3
say step make
case $format in 64) format=sha256 ;; *) format=sha1 ;; esac
git init --quiet --bare --template= --object-format=$format /tmp/repository.git
cd "$4"
export GIT_DIR=/tmp/repository.git GIT_WORK_TREE="$4"
say step fetch
git fetch --quiet --depth=1 --no-tags --no-recurse-submodules --no-write-fetch-head -- "$1" "$ref:refs/heads/fetched"
say step unpack
git read-tree refs/heads/fetched
git checkout-index --all --force --quiet
say commit "$(git rev-parse refs/heads/fetched)"
git ls-files --stage |
    while read -r mode id stage name; do [ "$mode" != 160000 ] || say submodule "$name"; done | head -n 20
say step end
"#;

/// Whether the server answers for this URL (`$1`); of a mirror (`$2` is not empty), whether its objects can be had too.
pub const PROBE: &str = r#"
say() { printf '%s\n' "$*"; }
say step list
git ls-remote -- "$1" HEAD >/tmp/list
say step make
[ "$2" ] && read -r id name </tmp/list || { say step end; exit 0; }
case ${#id} in 64) format=sha256 ;; *) format=sha1 ;; esac
git init --quiet --bare --template= --object-format=$format /tmp/repository.git
export GIT_DIR=/tmp/repository.git
say step fetch
git fetch --quiet --depth=1 --no-tags --no-recurse-submodules --no-write-fetch-head -- "$1" HEAD:refs/heads/fetched
say step end
"#;

/// A step of the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The shell has not begun.
    Start,
    /// The server is asked for its branches. Nothing of a repository's content is in what git says then.
    List,
    /// The server has answered.
    Choose,
    /// A repository is made inside.
    Make,
    /// The objects come. What git says then may hold words out of them.
    Fetch,
    /// The files are written; no server is needed any more.
    Unpack,
    /// All is done.
    End,
}

/// What the script has said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The last step that was begun.
    pub step: Step,
    /// The commit.
    pub commit: Option<String>,
    /// The paths of submodules, the first of them.
    pub submodules: Vec<String>,
    /// A tag that is called as the branch should be.
    pub tag: Option<String>,
    /// Branches that there are, the first of them.
    pub has: Vec<String>,
    /// How many there are, once that is known.
    pub branches: Option<usize>,
    /// Whether the server has said nothing that git's protocol has.
    pub silent: bool,
}

impl Told {
    /// Reads the script's standard output.
    pub fn read(text: &str) -> Told {
        let mut told = Told {
            step: Step::Start,
            commit: None,
            submodules: Vec::new(),
            tag: None,
            has: Vec::new(),
            branches: None,
            silent: false,
        };
        for line in text.lines() {
            let Some((word, rest)) = line.split_once(' ') else { continue };
            match word {
                "step" => told.step = step(rest).unwrap_or(told.step),
                "commit" => told.commit = Some(rest.into()),
                "submodule" => told.submodules.push(rest.into()),
                "tag" => told.tag = Some(rest.into()),
                "has" => told.has.push(rest.into()),
                "silent" => told.silent = true,
                "branches" => told.branches = rest.parse().ok(),
                _ => {}
            }
        }
        told
    }
}

fn step(word: &str) -> Option<Step> {
    Some(match word {
        "list" => Step::List,
        "choose" => Step::Choose,
        "make" => Step::Make,
        "fetch" => Step::Fetch,
        "unpack" => Step::Unpack,
        "end" => Step::End,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_tells_how_far_it_came_and_what_it_saw() {
        let told = Told::read("step list\nstep choose\nhas main\nhas lab/1\ntag v1\nbranches 2\n");
        assert_eq!((told.step, told.branches, told.tag.as_deref()), (Step::Choose, Some(2), Some("v1")));
        assert_eq!(told.has, ["main", "lab/1"]);
        let told = Told::read("step unpack\ncommit abc\nsubmodule \"a\\nstep list\"\nsubmodule b c\nstep end\n");
        assert_eq!((told.step, told.commit.as_deref()), (Step::End, Some("abc")));
        assert_eq!(told.submodules, ["\"a\\nstep list\"", "b c"]);
        assert_eq!(Told::read("").step, Step::Start);
    }

    #[test]
    fn what_could_lead_out_of_the_tree_stays_an_error() {
        let config = config();
        assert!(config.contains("fsckObjects = true") && config.contains("\tzeroPaddedFilemode = ignore\n"));
        let kept = ["hasDot", "hasDotdot", "hasDotgit", "nullSha1", "fullPathname", "emptyName", "duplicateEntries"];
        let kept = kept.iter().chain(&["treeNotSorted", "badTree", "gitmodules", "gitattributes", "largePathname"]);
        for id in kept.chain(&["nulInHeader", "unterminatedHeader", "badFilemode"]) {
            assert!(!HARMLESS.iter().any(|harmless| harmless.starts_with(id)), "{id}");
        }
    }
}
