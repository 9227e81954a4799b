# Has the assembler copy a file that never ends, and the linker make room for an array that is larger than any disk.
# goal: the host's memory, or its time
# stopped by: the memory limit of the control group and the wall clock; behind them the pids limit
# first: cgroup-limits
# second: wall-clock
# policy: build
# wall: 5
# ends: exit, memory-limit, time-limit, signal
# unproven: with nothing in its way it takes all the memory that the machine has
cd /tmp && printf "__asm__(\".incbin \\\\\"/dev/zero\\\\\"\");\n" >incbin.c
timeout 2 cc -c incbin.c 2>/dev/null
printf "char large[1UL << 42] = { 1 };\nint main(void) { return large[1]; }\n" >large.c
timeout 2 cc -mcmodel=large large.c 2>/dev/null
echo tried
