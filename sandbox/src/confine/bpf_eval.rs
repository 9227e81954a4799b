//! What the kernel does with filters, in user space, so that policies can be tested for every
//! architecture and for calls that no test should make. `sandbox/tests/seccomp_probe.rs` has it too, to compare it with the
//! kernel's answers.

use seccompiler::BpfProgram;

/// A call as filters see it (struct seccomp_data).
#[derive(Debug, Clone, Copy)]
pub struct Call {
    pub nr: u32,
    pub arch: u32,
    pub args: [u64; 6],
}

/// What comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Allow,
    Errno(i32),
    Kill,
    /// Whoever holds the listener is asked.
    Asked,
}

/// All programs, as `seccomp_run_filters` does it: newest first, only a stricter one replaces.
pub fn run(programs: &[BpfProgram], call: &Call) -> Answer {
    let action = |value: u32| (value & libc::SECCOMP_RET_ACTION_FULL) as i32;
    let mut answer = libc::SECCOMP_RET_ALLOW;
    for program in programs.iter().rev() {
        let value = run_one(program, call);
        if action(value) < action(answer) {
            answer = value;
        }
    }
    match answer & libc::SECCOMP_RET_ACTION_FULL {
        libc::SECCOMP_RET_ALLOW => Answer::Allow,
        libc::SECCOMP_RET_ERRNO => Answer::Errno((answer & libc::SECCOMP_RET_DATA) as i32),
        libc::SECCOMP_RET_KILL_PROCESS => Answer::Kill,
        libc::SECCOMP_RET_USER_NOTIF => Answer::Asked,
        other => panic!("unexpected action {other:#x}"),
    }
}

/// One program; only the instructions that seccompiler and the guard use.
fn run_one(program: &[seccompiler::sock_filter], call: &Call) -> u32 {
    let word = |offset: u32| -> u32 {
        assert_eq!(offset % 4, 0, "unaligned load");
        match offset {
            0 => call.nr,
            4 => call.arch,
            16..64 => {
                let argument = call.args[(offset as usize - 16) / 8];
                let upper = (offset / 4) % 2 == 1;
                (if upper { argument >> 32 } else { argument }) as u32
            }
            _ => panic!("load from {offset}"),
        }
    };
    let (mut pc, mut a) = (0usize, 0u32);
    loop {
        let i = &program[pc];
        pc += 1;
        let mut branch = |taken: bool| pc += usize::from(if taken { i.jt } else { i.jf });
        match i.code {
            0x20 => a = word(i.k),
            0x54 => a &= i.k,
            0x05 => pc += i.k as usize,
            0x15 => branch(a == i.k),
            0x25 => branch(a > i.k),
            0x35 => branch(a >= i.k),
            0x45 => branch(a & i.k != 0),
            0x06 => return i.k,
            other => panic!("instruction {other:#x}"),
        }
    }
}
