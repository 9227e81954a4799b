# A Makefile that calls make, as many at a time as there are.
# goal: the host's memory, or its time
# stopped by: the memory limit of the control group and the wall clock; behind them the pids limit
# first: cgroup-limits
# second: wall-clock
# policy: build
# wall: 5
# ends: exit, memory-limit, time-limit, signal
# unproven: with nothing in its way it takes all the memory that the machine has
cd /tmp && printf "all: a b c d\na b c d:\n\t@\$(MAKE) -j all\n" >Makefile
timeout 2 make -j >/dev/null 2>&1
echo tried
