# Has the linker fill a section that is larger than the machine's memory, which it holds whole.
# goal: the host's memory, or its time
# stopped by: the memory limit of the control group and the wall clock; behind them the size of a file
# first: cgroup-limits
# second: wall-clock
# policy: build
# wall: 5
# ends: exit, memory-limit, time-limit, signal
# unproven: with nothing in its way it takes all the memory that the machine has
cd /tmp && echo "int main(void) { return 0; }" >linker.c && cc -c linker.c || exit 2
echo "SECTIONS { .text : { *(.text) . = 0x1000000000; BYTE(1) } }" >linker.ld
timeout 2 ld -r -T linker.ld linker.o 2>/dev/null
echo tried
