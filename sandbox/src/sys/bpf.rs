//! bpf(2): the few of its commands that the ledger needs. Each argument is a struct of its own that is as long as the part of
//! the kernel's `union bpf_attr` (linux/bpf.h) which the command reads.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Kinds of maps that are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapKind {
    /// Values by any key.
    Hash = 1,
    /// Values by their number.
    Array = 2,
}

/// What a map is: its measures are those of its keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Its kind.
    pub kind: MapKind,
    /// Bytes of a key.
    pub key: u32,
    /// Bytes of a value.
    pub value: u32,
    /// Most entries.
    pub entries: u32,
}

/// One instruction: `struct bpf_insn`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// What it does.
    pub code: u8,
    /// Destination in the lower four bits, source in the upper ones.
    pub registers: u8,
    /// Of a jump or of memory.
    pub offset: i16,
    /// The number in it.
    pub value: i32,
}

const MAP_CREATE: libc::c_int = 0;
const MAP_LOOKUP: libc::c_int = 1;
const MAP_UPDATE: libc::c_int = 2;
const MAP_DELETE: libc::c_int = 3;
const MAP_NEXT_KEY: libc::c_int = 4;
const PROG_LOAD: libc::c_int = 5;
const MAP_BY_ID: libc::c_int = 14;
const INFO_BY_FD: libc::c_int = 15;
const RAW_TRACEPOINT_OPEN: libc::c_int = 17;

const PROG_TYPE_RAW_TRACEPOINT: u32 = 17;

/// `struct bpf_map_info` as far as it is looked at.
#[repr(C)]
#[derive(Default)]
struct MapInfo {
    kind: u32,
    id: u32,
    key: u32,
    value: u32,
    entries: u32,
    flags: u32,
    name: [u8; 16],
}

#[repr(C)]
struct MapCreate {
    kind: u32,
    key: u32,
    value: u32,
    entries: u32,
    flags: u32,
    inner: u32,
    node: u32,
    name: [u8; 16],
}

#[repr(C)]
struct Element {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
struct ProgLoad {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel: u32,
    flags: u32,
    name: [u8; 16],
}

#[repr(C)]
struct OpenTracepoint {
    name: u64,
    program: u32,
    padding: u32,
}

#[repr(C)]
struct Info {
    fd: u32,
    length: u32,
    info: u64,
}

#[repr(C)]
struct ById {
    id: u32,
    next: u32,
    flags: u32,
}

/// The call itself.
///
/// # Safety
/// `attr` must be what the command reads, and each address in it valid for what the command does with it.
unsafe fn bpf<T>(command: libc::c_int, attr: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: the caller's promise; the kernel reads no more than the size that it is told, and takes the rest for zero.
    match unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>()) } {
        -1 => Err(io::Error::last_os_error()),
        done => Ok(done),
    }
}

/// A descriptor that the kernel has just given. All of bpf's are close-on-exec.
fn own(fd: libc::c_long) -> io::Result<OwnedFd> {
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A name as the kernel stores it: 15 bytes at the most.
fn name_of(text: &str) -> [u8; 16] {
    let mut name = [0; 16];
    for (slot, byte) in name.iter_mut().zip(text.bytes().take(15)) {
        *slot = byte;
    }
    name
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

/// Makes a map, all of whose memory is there from the start.
pub fn make_map(name: &str, shape: Shape) -> io::Result<OwnedFd> {
    let Shape { kind, key, value, entries } = shape;
    let mut attr =
        MapCreate { kind: kind as u32, key, value, entries, flags: 0, inner: 0, node: 0, name: name_of(name) };
    // SAFETY: the command reads a part of the struct and no memory besides.
    own(unsafe { bpf(MAP_CREATE, &mut attr) }?)
}

/// The map of this number, which has to have that name and shape: numbers of maps that are gone are given again.
///
/// # Errors
/// Where there is none, or another one.
pub fn map_by_id(id: u32, name: &str, shape: Shape) -> io::Result<OwnedFd> {
    let mut attr = ById { id, next: 0, flags: 0 };
    // SAFETY: the command reads the struct and no memory besides.
    let map = own(unsafe { bpf(MAP_BY_ID, &mut attr) }?)?;
    let info = map_info(&map)?;
    let found = (info.kind, info.key, info.value, info.entries, info.name);
    if found == (shape.kind as u32, shape.key, shape.value, shape.entries, name_of(name)) {
        return Ok(map);
    }
    Err(io::Error::other(format!("the BPF map {id} is not {name}")))
}

/// The number by which others find a map.
pub fn map_id(map: &OwnedFd) -> io::Result<u32> {
    map_info(map).map(|info| info.id)
}

fn map_info(map: &OwnedFd) -> io::Result<MapInfo> {
    let mut info = MapInfo::default();
    let fd = map.as_raw_fd().cast_unsigned();
    let mut attr = Info { fd, length: size_of::<MapInfo>() as u32, info: &raw mut info as u64 };
    // SAFETY: the command writes as many bytes of a map's information as `length` says, and `info` has so many.
    unsafe { bpf(INFO_BY_FD, &mut attr) }?;
    Ok(info)
}

/// A value, or `None` where there is none. `N` is the size of the map's values: the caller has made the map, or looked.
pub fn look_up<const K: usize, const N: usize>(map: BorrowedFd<'_>, key: [u8; K]) -> io::Result<Option<[u8; N]>> {
    let mut value = [0; N];
    let (from, to) = (key.as_ptr() as u64, value.as_mut_ptr() as u64);
    let mut attr = Element { map: number(map), padding: 0, key: from, value: to, flags: 0 };
    // SAFETY: the kernel reads a key and writes a value of the map's sizes, which are those of the arrays.
    match unsafe { bpf(MAP_LOOKUP, &mut attr) } {
        Ok(_) => Ok(Some(value)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sets a value. The sizes are the map's, as for [`look_up`].
pub fn set<const K: usize, const N: usize>(map: BorrowedFd<'_>, key: [u8; K], value: [u8; N]) -> io::Result<()> {
    let (key, value) = (key.as_ptr() as u64, value.as_ptr() as u64);
    let mut attr = Element { map: number(map), padding: 0, key, value, flags: 0 };
    // SAFETY: the kernel reads a key and a value of the map's sizes, which are those of the arrays.
    unsafe { bpf(MAP_UPDATE, &mut attr) }.map(drop)
}

/// Takes an entry away; that there is none is no error.
pub fn remove<const K: usize>(map: BorrowedFd<'_>, key: [u8; K]) -> io::Result<()> {
    let mut attr = Element { map: number(map), padding: 0, key: key.as_ptr() as u64, value: 0, flags: 0 };
    // SAFETY: the kernel reads a key of the map's size, which is that of the array.
    match unsafe { bpf(MAP_DELETE, &mut attr) } {
        Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
        _ => Ok(()),
    }
}

/// The key after this one, or the first.
pub fn next_key<const K: usize>(map: BorrowedFd<'_>, key: Option<[u8; K]>) -> io::Result<Option<[u8; K]>> {
    let mut next = [0; K];
    let from = key.as_ref().map_or(0, |key| key.as_ptr() as u64);
    let mut attr = Element { map: number(map), padding: 0, key: from, value: next.as_mut_ptr() as u64, flags: 0 };
    // SAFETY: the kernel reads a key, unless its address is null, and writes one, of the map's size, which is that of the arrays.
    match unsafe { bpf(MAP_NEXT_KEY, &mut attr) } {
        Ok(_) => Ok(Some(next)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Loads a program for a raw tracepoint. It may use only helpers that are open to any licence.
///
/// # Errors
/// With what the kernel's verifier says last, where it does not take the program.
pub fn load_program(name: &str, program: &[Instruction]) -> io::Result<OwnedFd> {
    let load = |log: &mut [u8]| {
        let mut attr = ProgLoad {
            kind: PROG_TYPE_RAW_TRACEPOINT,
            count: program.len() as u32,
            instructions: program.as_ptr() as u64,
            license: c"MIT".as_ptr() as u64,
            log_level: u32::from(!log.is_empty()),
            log_size: log.len() as u32,
            log: if log.is_empty() { 0 } else { log.as_mut_ptr() as u64 },
            kernel: 0,
            flags: 0,
            name: name_of(name),
        };
        // SAFETY: as many instructions as are told lie at the address, the licence ends with a zero, and the log is as long as
        // is told or absent.
        unsafe { bpf(PROG_LOAD, &mut attr) }
    };
    let error = match load(&mut []) {
        Ok(fd) => return own(fd),
        Err(error) => error,
    };
    if error.raw_os_error() == Some(libc::EPERM) {
        return Err(error);
    }
    let mut log = vec![0; 64 << 10];
    let _ = load(&mut log);
    let text = String::from_utf8_lossy(&log);
    let last: Vec<&str> = text.trim_end_matches('\0').trim().lines().rev().take(3).collect();
    let said = last.into_iter().rev().collect::<Vec<_>>().join("; ");
    Err(io::Error::new(error.kind(), format!("{error}: {said}")))
}

/// Has a program run at a tracepoint until what is given back is closed.
pub fn attach(tracepoint: &std::ffi::CStr, program: &OwnedFd) -> io::Result<OwnedFd> {
    let program = program.as_raw_fd().cast_unsigned();
    let mut attr = OpenTracepoint { name: tracepoint.as_ptr() as u64, program, padding: 0 };
    // SAFETY: the name ends with a zero.
    own(unsafe { bpf(RAW_TRACEPOINT_OPEN, &mut attr) }?)
}
