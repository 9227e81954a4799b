# Pid 1 of the test machine once the host's root is in place: runs the job, says how it ended, and switches off.
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
