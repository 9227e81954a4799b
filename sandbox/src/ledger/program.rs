//! The ledger's two programs, as the kernel's instructions. Pure.
//!
//! They run whenever the kernel hands a page out or takes one back, whoever asked. What they do for those who are in no sandbox is
//! a look at the flags, one in a table of groups, and one at a note.

use crate::sys::bpf::Instruction;

/// Bits of a note that hold how many pages were taken together, as a power of two. What is above is the account.
pub const ORDER_BITS: u32 = 4;

/// Most accounts; none is number 0, because a note of 0 is none.
pub const ACCOUNTS: u32 = 1 << (16 - ORDER_BITS);

/// Where the parts of an account stand in its value, each 8 bytes.
pub mod account {
    /// Pages that are booked to it now. Signed: what an earlier owner of the number had is given back to the later one.
    pub const PAGES: i16 = 0;
    /// Pages that it may have.
    pub const LIMIT: i16 = 8;
    /// How often a page was taken beyond that.
    pub const HITS: i16 = 16;
    /// Pages when that was last so.
    pub const SEEN: i16 = 24;
    /// Bytes of all.
    pub const SIZE: usize = 32;
}

/// What differs from one kernel and host to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Flags of pages that are not booked: a control group pays for them, or they can be had back.
    pub passed_over: u32,
    /// Bytes of `struct page`.
    pub page: u32,
    /// Notes, as a power of two: no fewer than there are page frames.
    pub notes: u32,
}

/// Descriptors of the maps.
#[derive(Debug, Clone, Copy)]
pub struct Maps {
    /// From a control group to an account.
    pub owners: i32,
    /// Accounts.
    pub accounts: i32,
    /// Notes: one value.
    pub notes: i32,
}

/// Arguments of the tracepoints, in the order of `TP_PROTO` (trace/events/kmem.h).
const PAGE: i16 = 0;
const ORDER: i16 = 8;
const FLAGS: i16 = 16;

/// Helpers (linux/bpf.h).
const LOOK_UP: i32 = 1;
const CURRENT_GROUP: i32 = 80;
const SEND_SIGNAL: i32 = 109;

/// The end, where a jump goes that has not been put in yet.
const END: i16 = i16::MIN;

/// An assembler of what is used.
#[derive(Default)]
struct Program(Vec<Instruction>);

impl Program {
    fn put(&mut self, code: u8, to: u8, from: u8, offset: i16, value: i32) {
        self.0.push(Instruction { code, registers: from << 4 | to, offset, value });
    }
    fn copy(&mut self, to: u8, from: u8) {
        self.put(0xbf, to, from, 0, 0);
    }
    fn number(&mut self, to: u8, value: i32) {
        self.put(0xb7, to, 0, 0, value);
    }
    fn add(&mut self, to: u8, from: u8) {
        self.put(0x0f, to, from, 0, 0);
    }
    fn or(&mut self, to: u8, from: u8) {
        self.put(0x4f, to, from, 0, 0);
    }
    fn mask(&mut self, to: u8, value: i32) {
        self.put(0x57, to, 0, 0, value);
    }
    fn left(&mut self, to: u8, bits: u32) {
        self.put(0x67, to, 0, 0, bits.cast_signed());
    }
    fn left_by(&mut self, to: u8, from: u8) {
        self.put(0x6f, to, from, 0, 0);
    }
    fn right(&mut self, to: u8, bits: u32) {
        self.put(0x77, to, 0, 0, bits.cast_signed());
    }
    fn divide(&mut self, to: u8, by: u32) {
        self.put(0x37, to, 0, 0, by.cast_signed());
    }
    fn negate(&mut self, to: u8) {
        self.put(0x87, to, 0, 0, 0);
    }
    /// 8 bytes of memory.
    fn load(&mut self, to: u8, from: u8, offset: i16) {
        self.put(0x79, to, from, offset, 0);
    }
    fn load_4(&mut self, to: u8, from: u8, offset: i16) {
        self.put(0x61, to, from, offset, 0);
    }
    fn load_2(&mut self, to: u8, from: u8) {
        self.put(0x69, to, from, 0, 0);
    }
    fn store(&mut self, to: u8, offset: i16, from: u8) {
        self.put(0x7b, to, from, offset, 0);
    }
    fn store_4(&mut self, to: u8, offset: i16, from: u8) {
        self.put(0x63, to, from, offset, 0);
    }
    fn store_2(&mut self, to: u8, from: u8) {
        self.put(0x6b, to, from, 0, 0);
    }
    /// Adds to 8 bytes of memory at once, whoever else does.
    fn add_to(&mut self, to: u8, offset: i16, from: u8) {
        self.put(0xdb, to, from, offset, 0);
    }
    /// The same, and what was there before comes into `from` (Linux 5.12).
    fn fetch_and_add(&mut self, to: u8, offset: i16, from: u8) {
        self.put(0xdb, to, from, offset, 1);
    }
    fn end_if_zero(&mut self, register: u8) {
        self.put(0x15, register, 0, END, 0);
    }
    fn end_if_any(&mut self, register: u8, bits: u32) {
        self.put(0x45, register, 0, END, bits.cast_signed());
    }
    fn end_if_not_above(&mut self, register: u8, other: u8) {
        self.put(0xdd, register, other, END, 0);
    }
    fn call(&mut self, helper: i32) {
        self.put(0x85, 0, 0, 0, helper);
    }
    fn map(&mut self, to: u8, map: i32) {
        const MAP: u8 = 1;
        self.put(0x18, to, MAP, 0, map);
        self.put(0, 0, 0, 0, 0);
    }
    /// The address of the one value of a map.
    fn value_of(&mut self, to: u8, map: i32) {
        const VALUE: u8 = 2;
        self.put(0x18, to, VALUE, 0, map);
        self.put(0, 0, 0, 0, 0);
    }
    fn finish(mut self) -> Vec<Instruction> {
        let end = self.0.len();
        self.number(0, 0);
        self.put(0x95, 0, 0, 0, 0);
        for (index, instruction) in self.0.iter_mut().enumerate() {
            if instruction.offset == END {
                instruction.offset = (end - index - 1) as i16;
            }
        }
        self.0
    }

    /// From the address of a `struct page` to that of its note. The structs lie one behind the other (vmemmap): so their
    /// addresses, divided by their size, are numbers one after the other, and no two among as many as there are notes have the
    /// same lower bits. Where the first one lies does not matter.
    fn note_of(&mut self, page: u8, spare: u8, facts: &Facts, notes: i32) {
        match facts.page.is_power_of_two() {
            true => self.right(page, facts.page.trailing_zeros()),
            false => self.divide(page, facts.page),
        }
        self.mask(page, ((1u32 << facts.notes) - 1).cast_signed());
        self.left(page, 1);
        self.value_of(spare, notes);
        self.add(page, spare);
    }

    /// The account whose number is in a register, into register 0; the end where there is none.
    fn account(&mut self, number: u8, accounts: i32) {
        const KEY: i16 = -8;
        self.store_4(10, KEY, number);
        self.copy(2, 10);
        self.put(0x07, 2, 0, 0, KEY.into());
        self.map(1, accounts);
        self.call(LOOK_UP);
        self.end_if_zero(0);
    }
}

/// At `mm_page_alloc(page, order, gfp_flags, migratetype)`.
pub fn taken(facts: &Facts, maps: Maps) -> Vec<Instruction> {
    let mut p = Program::default();
    p.copy(6, 1);
    p.load(1, 6, FLAGS);
    p.end_if_any(1, facts.passed_over);
    p.call(CURRENT_GROUP);
    p.store(10, -16, 0);
    p.copy(2, 10);
    p.put(0x07, 2, 0, 0, -16);
    p.map(1, maps.owners);
    p.call(LOOK_UP);
    p.end_if_zero(0);
    p.load_4(8, 0, 0);
    // There is none where the kernel has none left.
    p.load(7, 6, PAGE);
    p.end_if_zero(7);
    p.load(9, 6, ORDER);
    p.mask(9, (1 << ORDER_BITS) - 1);
    p.account(8, maps.accounts);
    p.note_of(7, 1, facts, maps.notes);
    p.left(8, ORDER_BITS);
    p.or(8, 9);
    p.store_2(7, 8);
    p.number(1, 1);
    p.left_by(1, 9);
    p.fetch_and_add(0, account::PAGES, 1);
    p.load(2, 0, account::LIMIT);
    p.end_if_not_above(1, 2);
    p.store(0, account::SEEN, 1);
    p.number(2, 1);
    p.add_to(0, account::HITS, 2);
    p.number(1, libc::SIGKILL);
    p.call(SEND_SIGNAL);
    p.finish()
}

/// At `mm_page_free(page, order)`. By then the pages may have been split: what was noted is given back.
pub fn given_back(facts: &Facts, maps: Maps) -> Vec<Instruction> {
    let mut p = Program::default();
    p.load(7, 1, PAGE);
    p.note_of(7, 1, facts, maps.notes);
    p.load_2(8, 7);
    p.end_if_zero(8);
    p.number(1, 0);
    p.store_2(7, 1);
    p.copy(9, 8);
    p.mask(9, (1 << ORDER_BITS) - 1);
    p.right(8, ORDER_BITS);
    p.account(8, maps.accounts);
    p.number(1, 1);
    p.left_by(1, 9);
    p.negate(1);
    p.add_to(0, account::PAGES, 1);
    p.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_jump_ends_at_the_end_and_both_programs_end() {
        for page in [64, 56] {
            let facts = Facts { passed_over: 0x40_0018, page, notes: 20 };
            let maps = Maps { owners: 3, accounts: 4, notes: 5 };
            for program in [taken(&facts, maps), given_back(&facts, maps)] {
                let end = program.len();
                assert_eq!(program[end - 1].code, 0x95);
                for (index, instruction) in program.iter().enumerate() {
                    if [0x15, 0x45, 0xdd].contains(&instruction.code) {
                        assert_eq!(index as i64 + 1 + i64::from(instruction.offset), end as i64 - 2);
                    }
                }
                let divided = program.iter().any(|i| i.code == 0x37 && i.value == 56);
                assert_eq!(divided, page == 56);
            }
        }
    }
}
