# Has the C++ compiler make a class of two others, and each of these of two others, forty times. Without such a compiler there is
# nothing to attack with.
# goal: the host's memory, or its time
# stopped by: the memory limit of the control group and the wall clock; behind them the pids limit
# first: cgroup-limits
# second: wall-clock
# policy: build
# wall: 5
# ends: exit, memory-limit, time-limit, signal
# unproven: with nothing in its way it takes all the memory that the machine has
cd /tmp && cat >templates.cc <<'END'
template <unsigned long depth, unsigned long path> struct Node { Node<depth - 1, 2 * path> one; Node<depth - 1, 2 * path + 1> other; };
template <unsigned long path> struct Node<0, path> { char leaf[16]; };
Node<40, 1> node;
END
timeout 2 c++ -c templates.cc 2>/dev/null
echo tried
