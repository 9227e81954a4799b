//! What the kernel says of its own types (BTF, in /sys/kernel/btf/vmlinux): as much of it as the ledger asks for.
//!
//! Layout: a header; types, one behind the other, numbered from 1, of 12 bytes and what their kind adds; strings.

use std::collections::BTreeMap;

/// What is looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Bytes of `struct page`.
    pub page: Option<u32>,
    /// Numbers of the enumeration that says which bit of gfp_t is which: `___GFP_…_BIT` (since 6.10).
    pub bits: BTreeMap<String, u32>,
    /// Arguments of the two tracepoints, by name: `btf_trace_mm_page_alloc`, each type in a word. The first is the tracer's own.
    pub tracepoints: BTreeMap<String, Vec<String>>,
}

const MAGIC: u16 = 0xeb9f;
/// Bytes of a type without what its kind adds.
const HEAD: usize = 12;

/// Kinds (linux/btf.h), with the bytes that follow: fixed, and for each of the `vlen` members.
const INT: u32 = 1;
const POINTER: u32 = 2;
const STRUCT: u32 = 4;
const ENUM: u32 = 6;
const TYPEDEF: u32 = 8;
const FUNCTION: u32 = 13;

/// What the kernel calls the types of the two tracepoints.
const TRACEPOINTS: [&[u8]; 2] = [b"btf_trace_mm_page_alloc\0", b"btf_trace_mm_page_free\0"];

fn extra(kind: u32, vlen: usize) -> Option<usize> {
    Some(match kind {
        INT => 4,
        POINTER | 7..=12 | 16 | 18 => 0,
        3 => 12,
        STRUCT | 5 => 12 * vlen,
        ENUM => 8 * vlen,
        FUNCTION => 8 * vlen,
        14 | 17 => 4,
        15 => 12 * vlen,
        19 => 12 * vlen,
        _ => return None,
    })
}

/// One type: where its name stands, its kind, how many members, the size or the type that it refers to, and its members.
#[derive(Clone, Copy)]
struct Type<'a> {
    name: u32,
    kind: u32,
    other: u32,
    members: &'a [u8],
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_ne_bytes)
}

/// Reads all of it. `None`: it is none, or of a kind that is not known here.
pub fn read(bytes: &[u8]) -> Option<Found> {
    let magic = bytes.get(..2)?.try_into().ok().map(u16::from_ne_bytes)?;
    if magic != MAGIC {
        return None;
    }
    let at = |index| word(bytes, index).and_then(|n| usize::try_from(n).ok());
    let part = |offset: usize, length: usize| {
        let start = at(4)?.checked_add(offset)?;
        bytes.get(start..start.checked_add(length)?)
    };
    let (types, strings) = (part(at(8)?, at(12)?)?, part(at(16)?, at(20)?)?);
    let (mut starts, mut next) = (Vec::new(), 0);
    while next < types.len() {
        starts.push(u32::try_from(next).ok()?);
        next += HEAD + type_at(types, next)?.members.len();
    }
    Some(look(&Types { types, starts, strings }))
}

fn type_at(types: &[u8], at: usize) -> Option<Type<'_>> {
    let (name, info, other) = (word(types, at)?, word(types, at + 4)?, word(types, at + 8)?);
    let (kind, vlen) = (info >> 24 & 0x1f, usize::try_from(info & 0xffff).ok()?);
    let members = types.get(at + HEAD..)?.get(..extra(kind, vlen)?)?;
    Some(Type { name, kind, other, members })
}

/// All of it: some 100 000 types. Every sandbox looks through them, so nothing is decoded but where it is asked for.
struct Types<'a> {
    types: &'a [u8],
    /// Where each begins. The first has the number 1.
    starts: Vec<u32>,
    strings: &'a [u8],
}

impl<'a> Types<'a> {
    fn nth(&self, id: u32) -> Option<Type<'a>> {
        let start = self.starts.get(usize::try_from(id.checked_sub(1)?).ok()?)?;
        type_at(self.types, usize::try_from(*start).ok()?)
    }

    fn name_begins(&self, offset: u32, with: &[u8]) -> bool {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.strings.get(offset..));
        rest.is_some_and(|rest| rest.starts_with(with))
    }

    fn name(&self, offset: u32) -> Option<&'a str> {
        let rest = self.strings.get(usize::try_from(offset).ok()?..)?;
        std::str::from_utf8(rest.split(|byte| *byte == 0).next()?).ok()
    }

    /// Arguments of the function to which this type points.
    fn arguments(&self, pointer: Type<'a>) -> Option<Vec<String>> {
        let function = self.nth(pointer.other).filter(|t| t.kind == POINTER).and_then(|t| self.nth(t.other))?;
        let named = |id: u32| match self.nth(id) {
            Some(to) if to.kind == POINTER => {
                format!("{} *", self.nth(to.other).and_then(|t| self.name(t.name)).unwrap_or("void"))
            }
            other => other.and_then(|t| self.name(t.name)).unwrap_or("void").into(),
        };
        let arguments = function.members.chunks_exact(8).map(|member| named(word(member, 4).unwrap_or(0)));
        (function.kind == FUNCTION).then(|| arguments.collect())
    }
}

fn look(all: &Types<'_>) -> Found {
    let mut found = Found::default();
    for at in &all.starts {
        let Some(one) = usize::try_from(*at).ok().and_then(|at| type_at(all.types, at)) else { continue };
        match one.kind {
            STRUCT if all.name_begins(one.name, b"page\0") => found.page = Some(one.other),
            ENUM => {
                for member in one.members.chunks_exact(8) {
                    let name = word(member, 0).filter(|name| all.name_begins(*name, b"___GFP_"));
                    if let (Some(name), Some(value)) = (name.and_then(|name| all.name(name)), word(member, 4)) {
                        found.bits.insert(name.into(), value);
                    }
                }
            }
            TYPEDEF if TRACEPOINTS.iter().any(|name| all.name_begins(one.name, name)) => {
                if let (Some(name), Some(arguments)) = (all.name(one.name), all.arguments(one)) {
                    found.tracepoints.insert(name.into(), arguments);
                }
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernel_says_how_its_tracepoints_are_called() {
        let Ok(bytes) = std::fs::read("/sys/kernel/btf/vmlinux") else { return };
        let found = read(&bytes).expect("it can be read");
        assert!(found.page.is_some_and(|size| (32..=128).contains(&size)), "{:?}", found.page);
        let arguments = &found.tracepoints["btf_trace_mm_page_alloc"];
        assert_eq!(arguments[..4], ["void *", "page *", "unsigned int", "gfp_t"], "{arguments:?}");
        assert_eq!(found.tracepoints["btf_trace_mm_page_free"][..3], ["void *", "page *", "unsigned int"]);
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_is_read_breaks_it(mut bytes: Vec<u8>, types: u32, names: u32) {
            let _ = read(&bytes);
            let mut head = MAGIC.to_ne_bytes().to_vec();
            head.extend([1, 0]);
            for number in [24, 0, types % 256, types % 256, names % 256] {
                head.extend(number.to_ne_bytes());
            }
            head.append(&mut bytes);
            let _ = read(&head);
        }
    }
}
