# Has the preprocessor double a text forty times.
# goal: the host's memory, or its time
# stopped by: the memory limit of the control group and the wall clock; behind them the pids limit
# first: cgroup-limits
# second: wall-clock
# policy: build
# wall: 5
# ends: exit, memory-limit, time-limit, signal
# unproven: with nothing in its way it takes all the memory that the machine has
cd /tmp && { echo "#define M0 x x"; for i in $(seq 1 40); do echo "#define M$i M$((i - 1)) M$((i - 1))"; done; echo M40; } >macros.c
timeout 2 cc -E macros.c >/dev/null 2>&1
echo tried
