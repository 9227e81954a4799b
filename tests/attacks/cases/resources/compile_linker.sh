# Has the linker fill a section of a gigabyte, which it holds whole before it writes a byte.
# goal: the host's memory, or its time
# stopped by: the memory limit of the control group; behind it the wall clock
# first: cgroup-limits
# second: wall-clock
# policy: build
# wall: 5
# ends: exit, memory-limit, time-limit, signal
# unproven: with nothing in its way it takes all the memory that the machine has
cd /tmp && echo "int main(void) { return 0; }" >linker.c && cc -c linker.c || exit 2
echo "SECTIONS { .text : { *(.text) . = 0x40000000; BYTE(1) } }" >linker.ld
# A file would be too long for its limit first.
timeout 2 ld -r -T linker.ld linker.o -o /dev/null
# Ended by an error of its own, it has tried nothing.
[ $? != 1 ] && echo tried
