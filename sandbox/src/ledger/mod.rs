//! The ledger: whom a page belongs to that no control group pays for.
//!
//! The memory limit holds what the kernel charges to a control group. Locks of files, what waits in sockets, access lists and much
//! else it charges to nobody. But all of it lies in pages, and each page is handed out to a task. So two programs in the kernel
//! ([`program`]) book every such page to the sandbox whose task took it, and take it off again when it is given back. A sandbox that
//! holds more of them than its memory limit has the task killed that asks for one more, there and then; the launcher, which looks at
//! the account, ends the rest. So it does not matter by what call, nor by how many, nor whether anybody has thought of it.
//!
//! The runner loads the programs, once ([`Ledger::open`]), and they end with it: nothing is pinned. Each stage gets an account
//! ([`Ledger::claim`]), of which the launcher learns by the plan ([`Share`]), and to which it says the groups of the stage
//! ([`Account`]).
//!
//! Not seen: what the kernel does on its own threads on a sandbox's behalf; and vmalloc, which takes pages past the tracepoint (of
//! what is open inside only the machine code of filters lies there).

mod btf;
mod flags;
mod program;

use crate::sys::bpf::{self, MapKind, Shape};
use program::{ACCOUNTS, Facts, Maps, account};
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Most page frames that are kept notes of: what the kernel's verifier lets a program reach in one value. 1 TiB of 4 KiB.
const MOST_NOTES: u32 = 28;

/// Groups of all stages at once.
const GROUPS: u32 = 16_384;

/// The least that is a limit: what the kernel takes along with an honest program, without a group, is a few MiB.
const LEAST: u64 = 16 << 20;

const OWNERS_NAME: &str = "ostest_owners";
const ACCOUNTS_NAME: &str = "ostest_account";

const OWNERS: Shape = Shape { kind: MapKind::Hash, key: 8, value: 4, entries: GROUPS };
const BOOKS: Shape = Shape { kind: MapKind::Array, key: 4, value: account::SIZE as u32, entries: ACCOUNTS };

/// Why there is no ledger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The kernel does not let us.
    #[error("bpf(2) is not permitted")]
    Forbidden,
    /// It does not say how it is built.
    #[error("this kernel has no BTF (/sys/kernel/btf/vmlinux)")]
    NoTypes,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl LedgerError {
    fn at(what: &str) -> impl FnOnce(io::Error) -> LedgerError {
        move |error| match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => LedgerError::Forbidden,
            _ => LedgerError::Other(format!("{what}: {error}")),
        }
    }

    /// What can be done about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            LedgerError::Forbidden => {
                "give the runner CAP_SYS_ADMIN (or CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN) in the host's user namespace, and let \
                 whatever filters its system calls (a unit's SystemCallFilter=, a container's seccomp profile) allow bpf(2)"
            }
            LedgerError::NoTypes => {
                "use a kernel with CONFIG_BPF_SYSCALL and CONFIG_DEBUG_INFO_BTF (Debian 11, Ubuntu 20.10 and newer have it); in a \
                 container, mount /sys"
            }
            LedgerError::Other(_) => {
                "use a kernel of Debian 12, Ubuntu 24.04 or newer, with CONFIG_BPF_SYSCALL and tracepoints"
            }
        }
    }
}

/// What the plan says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// Number of the map with the groups.
    owners: u32,
    /// Number of the map with the accounts.
    accounts: u32,
    /// The stage's account.
    account: u32,
}

/// The programs, while they run, and their maps. They end with the last descriptor: also where this process is killed.
#[derive(Debug)]
pub struct Ledger {
    books: Arc<Books>,
    ids: (u32, u32),
    /// Bytes of the notes.
    size: u64,
    _programs: [OwnedFd; 2],
}

#[derive(Debug)]
struct Books {
    owners: OwnedFd,
    accounts: OwnedFd,
    /// The last one that was given, and which are in use.
    given: Mutex<(u32, Vec<u32>)>,
}

impl Ledger {
    /// Loads the programs and has them run.
    ///
    /// # Errors
    /// Where this kernel does not have what they need, or does not let this process.
    pub fn open() -> Result<Ledger, LedgerError> {
        let facts = facts()?;
        let bytes = 2u32 << facts.notes;
        let notes = Shape { kind: MapKind::Array, key: 4, value: bytes, entries: 1 };
        let make = |name, shape| bpf::make_map(name, shape).map_err(LedgerError::at("making a BPF map"));
        let (owners, accounts) = (make(OWNERS_NAME, OWNERS)?, make(ACCOUNTS_NAME, BOOKS)?);
        let notes = make("ostest_notes", notes)?;
        let maps = Maps { owners: owners.as_raw_fd(), accounts: accounts.as_raw_fd(), notes: notes.as_raw_fd() };
        let run = |name, program: &[bpf::Instruction], at: &std::ffi::CStr| {
            let program = bpf::load_program(name, program).map_err(LedgerError::at("loading a BPF program"))?;
            bpf::attach(at, &program).map_err(LedgerError::at("attaching a BPF program"))
        };
        // What is given back first: so there is no page of which only the taking is seen.
        let back = run("ostest_back", &program::given_back(&facts, maps), c"mm_page_free")?;
        let taken = run("ostest_taken", &program::taken(&facts, maps), c"mm_page_alloc")?;
        let id = |map| bpf::map_id(map).map_err(LedgerError::at("asking for a BPF map's number"));
        let ids = (id(&owners)?, id(&accounts)?);
        let books = Arc::new(Books { owners, accounts, given: Mutex::default() });
        Ok(Ledger { books, ids, size: bytes.into(), _programs: [back, taken] })
    }

    /// Bytes of the kernel's memory that its notes take.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// An account for a stage with this memory limit. It ends when what is given back is dropped.
    ///
    /// # Errors
    /// Where all are in use, or the kernel refuses.
    pub fn claim(&self, memory: u64) -> Result<Claim, LedgerError> {
        let number = self.books.next().ok_or_else(|| LedgerError::Other("all accounts are in use".into()))?;
        let claim = Claim {
            books: self.books.clone(),
            share: Share { owners: self.ids.0, accounts: self.ids.1, account: number },
        };
        let mut empty = [0; account::SIZE];
        let pages = memory.max(LEAST) / page_bytes();
        // Signed in the kernel's program.
        let pages = pages.min(i64::MAX.unsigned_abs());
        empty[account::LIMIT as usize..][..8].copy_from_slice(&pages.to_ne_bytes());
        bpf::set(self.books.accounts.as_fd(), number.to_ne_bytes(), empty)
            .map_err(LedgerError::at("opening an account"))?;
        Ok(claim)
    }
}

impl Books {
    /// The next number that nobody has. In turn, so that pages of an earlier owner are gone before it is given again.
    fn next(&self) -> Option<u32> {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, used) = &mut *given;
        let after = |number: u32| number % (ACCOUNTS - 1) + 1;
        let mut next = after(*last);
        for _ in 1..ACCOUNTS {
            if !used.contains(&next) {
                *last = next;
                used.push(next);
                return Some(next);
            }
            next = after(next);
        }
        None
    }

    /// Takes an account's groups away, if its launcher did not live to do it.
    fn forget(&self, number: u32) -> io::Result<()> {
        let owners = self.owners.as_fd();
        let mut key: Option<[u8; 8]> = None;
        // One after the other: where the entry goes the way to the next goes, too. No more than there can be.
        for _ in 0..GROUPS {
            let Some(next) = bpf::next_key(owners, key)? else { break };
            if bpf::look_up::<8, 4>(owners, next)? == Some(number.to_ne_bytes()) {
                bpf::remove(owners, next)?;
            } else {
                key = Some(next);
            }
        }
        Ok(())
    }
}

/// A stage's account, while it runs.
#[derive(Debug)]
pub struct Claim {
    books: Arc<Books>,
    share: Share,
}

impl Claim {
    /// What the plan says of it.
    pub fn share(&self) -> Share {
        self.share
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // A group that stays in the table is one that is gone; no other has its number.
        let _ = self.books.forget(self.share.account);
        let mut given = self.books.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.1.retain(|used| *used != self.share.account);
    }
}

/// The launcher's side: its stage's account.
#[derive(Debug)]
pub struct Account {
    owners: OwnedFd,
    accounts: OwnedFd,
    number: u32,
}

impl Account {
    /// That of a plan.
    ///
    /// # Errors
    /// Where the runner's maps are gone, which go with the runner.
    pub fn open(share: Share) -> io::Result<Account> {
        Ok(Account {
            owners: bpf::map_by_id(share.owners, OWNERS_NAME, OWNERS)?,
            accounts: bpf::map_by_id(share.accounts, ACCOUNTS_NAME, BOOKS)?,
            number: share.account,
        })
    }

    /// From now on pages are booked to it that are taken by tasks of this group of the v2 tree.
    ///
    /// # Errors
    /// Where the group is gone, or the table is full.
    pub fn add(&self, group: &Path) -> io::Result<()> {
        bpf::set(self.owners.as_fd(), id_of(group)?.to_ne_bytes(), self.number.to_ne_bytes())
    }

    /// No more from this group, which is about to go.
    ///
    /// # Errors
    /// Where the group is gone already.
    pub fn take_away(&self, group: &Path) -> io::Result<()> {
        bpf::remove(self.owners.as_fd(), id_of(group)?.to_ne_bytes())
    }

    /// Bytes that were held when there were too many, if there were.
    ///
    /// # Errors
    /// Where the account cannot be read.
    pub fn beyond(&self) -> io::Result<Option<u64>> {
        let account: Option<[u8; account::SIZE]> = bpf::look_up(self.accounts.as_fd(), self.number.to_ne_bytes())?;
        let account = account.ok_or_else(|| io::Error::other("the account is gone"))?;
        let part = |at: i16| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&account[at as usize..][..8]);
            u64::from_ne_bytes(bytes)
        };
        Ok((part(account::HITS) > 0).then(|| part(account::SEEN).saturating_mul(page_bytes())))
    }

    /// Bytes that are held now.
    ///
    /// # Errors
    /// Where the account cannot be read.
    pub fn held(&self) -> io::Result<u64> {
        let account: Option<[u8; account::SIZE]> = bpf::look_up(self.accounts.as_fd(), self.number.to_ne_bytes())?;
        let pages = account.map_or(0, |account| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&account[account::PAGES as usize..][..8]);
            i64::from_ne_bytes(bytes)
        });
        Ok(u64::try_from(pages).unwrap_or(0).saturating_mul(page_bytes()))
    }
}

/// By what the kernel's programs know a group: the number of its directory.
fn id_of(group: &Path) -> io::Result<u64> {
    std::fs::metadata(group).map(|metadata| metadata.ino())
}

fn page_bytes() -> u64 {
    rustix::param::page_size() as u64
}

/// What this kernel and host are like.
fn facts() -> Result<Facts, LedgerError> {
    let bytes = std::fs::read("/sys/kernel/btf/vmlinux").map_err(|_| LedgerError::NoTypes)?;
    let found = btf::read(&bytes).ok_or(LedgerError::NoTypes)?;
    let other = |text: &str| LedgerError::Other(text.into());
    let page = found.page.filter(|size| *size > 0).ok_or_else(|| other("BTF does not know struct page"))?;
    // Their arguments are read by place: so these have to be what they were when this was written.
    for (name, expected) in [
        ("btf_trace_mm_page_alloc", &["void *", "page *", "unsigned int", "gfp_t"][..]),
        ("btf_trace_mm_page_free", &["void *", "page *", "unsigned int"][..]),
    ] {
        let arguments = found.tracepoints.get(name).map_or(&[][..], Vec::as_slice);
        if !arguments.starts_with(&expected.iter().map(ToString::to_string).collect::<Vec<_>>()) {
            return Err(LedgerError::Other(format!(
                "{name} has other arguments than are known here: {}",
                arguments.join(", ")
            )));
        }
    }
    let zones = std::fs::read_to_string("/proc/zoneinfo").map_err(LedgerError::at("reading /proc/zoneinfo"))?;
    let frames = frames(&zones).ok_or_else(|| other("/proc/zoneinfo does not say how many page frames there are"))?;
    let notes = frames.next_power_of_two().trailing_zeros().max(10);
    if notes > MOST_NOTES {
        return Err(other("the host has more than 1 TiB of memory"));
    }
    Ok(Facts { passed_over: flags::passed_over(&found).map_err(LedgerError::Other)?, page, notes })
}

/// Page frames from 0 to the last one of any zone: `spanned` pages from `start_pfn` on. (An empty zone has a start, too.)
fn frames(zones: &str) -> Option<u64> {
    let value = |line: &str, key: &str| line.trim().strip_prefix(key)?.trim().parse::<u64>().ok();
    let (mut spanned, mut end) = (0, None);
    for line in zones.lines() {
        if let Some(pages) = value(line, "spanned") {
            spanned = pages;
        } else if let Some(start) = value(line, "start_pfn:") {
            let last = if spanned == 0 { 0 } else { start.saturating_add(spanned) };
            end = Some(end.unwrap_or(0).max(last));
            spanned = 0;
        }
    }
    end.filter(|end| *end > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_counted_to_the_last_zone_that_has_any() {
        let zones = "Node 0, zone      DMA\n  pages free     3840\n        spanned  4095\n        present  3999\n  start_pfn:           1\n\
                     Node 0, zone   Normal\n        spanned  262144\n  start_pfn:           1048576\n\
                     Node 0, zone  Movable\n        spanned  0\n  start_pfn:           0\n";
        assert_eq!(frames(zones), Some(1_310_720));
        assert_eq!((frames(""), frames("  start_pfn:  7\n")), (None, None));
    }

    #[test]
    fn accounts_are_given_in_turn_and_none_twice() {
        let null = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let books = Books { owners: null(), accounts: null(), given: Mutex::default() };
        assert_eq!((books.next(), books.next()), (Some(1), Some(2)));
        books.given.lock().unwrap().1.retain(|used| *used != 1);
        assert_eq!(books.next(), Some(3));
        books.given.lock().unwrap().0 = ACCOUNTS - 1;
        assert_eq!((books.next(), books.next()), (Some(1), Some(4)));
    }
}
