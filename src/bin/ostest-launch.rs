//! The launcher and, under other names, pid 1 of a sandbox and the gate. Links the `sandbox` crate alone.
//!
//! Started without Rust's own start: that ignores SIGPIPE and opens what is closed of the descriptors 0 to 2, and a program
//! that comes through the gate has to find both as whoever started it left them.

#![no_main]

/// C's main.
#[unsafe(no_mangle)]
extern "C" fn main(_count: i32, _words: *const *const u8) -> i32 {
    sandbox::launcher::main()
}
