# Includes a file that never ends.
# goal: the host's memory, or its time
# stopped by: the memory limit of the control group and the wall clock; behind them the pids limit
# first: cgroup-limits
# second: wall-clock
# policy: build
# wall: 5
# ends: exit, memory-limit, time-limit, signal
# unproven: with nothing in its way it takes all the memory that the machine has
cd /tmp && printf "#include \"/dev/zero\"\nint main(void) { return 0; }\n" >zero.c
timeout 2 cc -c zero.c 2>/dev/null
echo tried
