# Has the assembler copy a file with nothing in it a hundred times, and the compiler make an array that is larger than any disk.
# goal: the host's memory, or its time
# stopped by: the memory limit of the control group and the wall clock; behind them the longest file
# first: cgroup-limits
# second: wall-clock
# policy: build
# wall: 5
# ends: exit, memory-limit, time-limit, signal
# unproven: with nothing in its way it takes all the memory that the machine has
cd /tmp && truncate -s 8M hole && printf '.rept 100\n.incbin "hole"\n.endr\n' >incbin.s || exit 2
# To no file: that would be too long first.
timeout 2 cc -c incbin.s -o /dev/null 2>said
# What it does not understand it has not tried.
! grep Error: said || exit 2
printf "char large[1UL << 42] = { 1 };\nint main(void) { return large[1]; }\n" >large.c
timeout 2 cc -mcmodel=large large.c 2>/dev/null
echo tried
