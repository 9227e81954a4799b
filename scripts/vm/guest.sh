# Runs the job, says how it ended, and switches the machine off. Pid 1 of the test machine once the host's root is in place,
# or, where systemd is that, a unit of its.
# The first serial port is the kernel's console and carries our two lines, which begin with the token; the second one
# carries nothing but what the job prints.
# shellcheck shell=sh
job=/run/ostest-vm
bb=$job/busybox
# From here on only this shell's memory holds it.
token=$($bb cat $job/token)
$bb rm $job/token
console=/dev/ttyS0
output=/dev/ttyS1

# As the terminal driver is a stranger to what passes through.
$bb stty -F $output raw -echo
$bb ip link set lo up
$bb hostname ostest-vm

# While no group has a limit on CPU time, or no group its own cores, the kernel leaves the code for it out, and patches itself
# when that changes. An emulated processor does not always survive that (see run.sh), and every stage would do it anew. So
# one group has both for good. Where systemd runs the tree is systemd's, and this unit is that group.
patched=/sys/fs/cgroup/ostest-vm
if [ ! -d /run/systemd/system ]; then
  echo "+cpu +cpuset" >/sys/fs/cgroup/cgroup.subtree_control
  $bb mkdir $patched
  echo "100000 100000" >$patched/cpu.max
fi

# The same of the tracepoints of the ledger. Machines that lack BPF, or Python, have nothing to hold.
/usr/bin/python3 $job/probes.py </dev/null >/dev/null 2>&1 || true

# Programs colour what they print to a terminal; to a pipe they do not.
$bb mkfifo $job/output
$bb cat <$job/output >$output &
cat=$!

echo "$token up" >$console
$bb setsid bash $job/command </dev/null >$job/output 2>&1
code=$?

# What the job left running may hold the pipe: it gets 2 seconds to say what it has to say.
tries=0
while kill -0 $cat 2>/dev/null && [ $tries -lt 20 ]; do
  $bb sleep 0.1
  tries=$((tries + 1))
done

echo "$token exit $code" >$console
# Changing the settings waits until everything is sent.
$bb stty -F $console -opost
$bb stty -F $console opost
$bb sync
$bb poweroff -f
