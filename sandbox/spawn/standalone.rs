//! `sandbox/src/spawn.rs` alone, as the shared object that the harness loads.

#![no_std]

#[path = "../src/spawn.rs"]
mod spawn;

/// Nothing in it panics; a shared object without std has to say what would happen.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
