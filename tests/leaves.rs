//! Leaves and the gate, with the real launcher and kernel: whoever comes through the gate is counted in the leaf that is
//! current, and notices nothing. In the harness's place stands a small Python program. Needs root.

mod common;

use common::{Place, need_root, need_tool};
use sandbox::ledger::Ledger;
use sandbox::outcome::{LeafUsage, Outcome};
use sandbox::plan::{LeafChannels, Mount};
use sandbox::wire::{Kind, Note, encode_plan};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

const MIB: u64 = 1 << 20;

/// Where the gate is inside.
const GATE: &str = "/run/ostest/ostest-gate";

/// What a harness has to do, and no more: `ask`, and `start`, which gives a pid. `told` is what a failed exec wrote.
const HARNESS: &str = r#"
import json, os, socket, subprocess, sys
control = socket.socket(fileno=5)
os.set_inheritable(5, False)
def ask(**request):
    control.send(json.dumps(request).encode())
    return json.loads(control.recv(1000))
def start(arguments, programs=None, before=lambda: None, errors=-1):
    pid = os.fork()
    if pid == 0:
        before()
        if errors >= 0: os.set_inheritable(errors, True)
        programs = programs or [arguments[0]]
        os.execv(GATE, [GATE, str(errors), "6", "-", str(len(programs)), *programs, *arguments])
    return pid
def end(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
def test(name, *arguments, **how):
    assert ask(ask="open", leaf=name)["ok"]
    code = end(start(list(arguments), **how))
    assert ask(ask="close")["ok"]
    return code
def told(arguments, programs=None):
    r, w = os.pipe()
    pid = start(arguments, programs, errors=w)
    os.close(w)
    text = os.read(r, 1000).decode()
    return text, end(pid)
"#;

/// What a run gave.
struct Ran {
    outcome: Outcome,
    leaves: BTreeMap<String, LeafUsage>,
    notes: usize,
    output: String,
}

impl Ran {
    #[track_caller]
    fn peak(&self, leaf: &str) -> u64 {
        let usage = self.leaves.get(leaf).unwrap_or_else(|| panic!("no leaf {leaf}: {:?}", self.leaves.keys()));
        usage.usage.memory_peak.as_ref().expect("the kernel tells it").value
    }
}

/// Runs a script with [`HARNESS`] in front, in a sandbox with leaves.
#[track_caller]
fn run(place: &Place, flags: &[&str], script: &str) -> Ran {
    let launcher = Path::new(common::BINARY).with_file_name("ostest-launch");
    let mut plan = place.plan(flags);
    plan.channels.leaves = Some(LeafChannels { control: 5, gate: 6, keep_leftovers: true });
    plan.mounts.push(Mount::Bind { source: launcher.clone(), target: GATE.into(), writable: false, optional: false });
    let text = format!("GATE = {GATE:?}\n{HARNESS}\n{script}");
    plan.command.argv = vec!["/usr/bin/python3".into(), "-c".into(), text];
    // The program's own run made the group's base, and took it away again.
    plan.cgroup.claim().expect("the base can be claimed");
    let ledger = Ledger::open().expect("the ledger can be kept");
    let account = ledger.claim(plan.limits.memory).expect("an account");
    plan.ledger = Some(account.share());
    let mut child =
        Command::new(launcher).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the launcher starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(&encode_plan(&plan).expect("a plan")).expect("it is taken");
    let mut bytes = Vec::new();
    child.stdout.take().expect("a pipe").read_to_end(&mut bytes).expect("frames");
    drop(stdin);
    child.wait().expect("it ends");
    plan.cgroup.sweep().expect("it can be swept");
    plan.cgroup.release().expect("it can be released");
    let (mut leaves, mut end, mut output, mut notes) = (BTreeMap::new(), None, Vec::new(), 0);
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let (head, after) = rest.split_at(5);
        let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let (body, after) = after.split_at(length);
        match Kind::from_byte(head[0]).expect("a kind") {
            Kind::Note => match serde_json::from_slice(body).expect("a note") {
                Note::Leaf(leaf) => {
                    notes += 1;
                    leaves.insert(leaf.leaf.clone(), *leaf);
                }
                Note::Ended(outcome) => end = Some(*outcome),
                Note::Failed { message, .. } => panic!("{message}"),
                Note::Started { .. } => {}
            },
            Kind::Stdout | Kind::Stderr => output.extend_from_slice(body),
            _ => {}
        }
        rest = after;
    }
    let output = String::from_utf8_lossy(&output).into_owned();
    let outcome = end.unwrap_or_else(|| panic!("no end: {output}"));
    Ran { outcome, leaves, notes, output }
}

fn ready(test: &str) -> bool {
    need_root(test) && need_tool(test, "python3")
}

#[test]
fn a_leaf_holds_what_came_through_the_gate_and_nothing_else() {
    if !ready("a_leaf_holds_what_came_through_the_gate_and_nothing_else") {
        return;
    }
    let place = Place::new();
    let touch = place.compile_with(&["-static"], "touch", common::TOUCH);
    let script = format!(
        "touch = {touch:?}
keep = bytearray(50 << 20)  # the harness's own
for index, mib in enumerate([0, 256, 1, 64, 8, 1]):
    assert test('t%d' % index, touch, str(mib)) == 0
assert test('t6', touch, '12', '5') == 0
assert ask(ask='open', leaf='t7')['ok']
more = bytearray(30 << 20)
assert ask(ask='close')['ok']"
    );
    let ran = run(&place, &["--mem-limit", "512M", "--ro", &touch], &script);
    assert_eq!(ran.outcome.verdict, sandbox::outcome::Verdict::Ok, "{}", ran.output);
    let batches = 256 * 1024 * std::thread::available_parallelism().expect("CPUs").get() as u64;
    let start = ran.peak("t0");
    assert!(start < MIB, "a static program starts with {start} bytes");
    for (leaf, mib) in [("t1", 256), ("t2", 1), ("t3", 64), ("t4", 8), ("t5", 1), ("t6", 60)] {
        let (peak, asked) = (ran.peak(leaf), mib * MIB);
        // A tree of five starts five times.
        let starts = if leaf == "t6" { 5 * start } else { start };
        println!("{leaf}: asked {mib} MiB, measured {:.2} MiB", peak as f64 / MIB as f64);
        assert!((asked..=asked + starts + batches + asked / 100).contains(&peak), "{leaf}: {mib} MiB, and {peak}");
    }
    assert_eq!(ran.leaves["t1"].entered, 1);
    let idle = &ran.leaves["t7"];
    assert_eq!(idle.entered, 0);
    if let Some(rise) = &idle.harness_rise {
        // The level at the start is a little high, by what its CPUs had in stock.
        assert!((29 * MIB..34 * MIB).contains(&rise.value), "the harness took 30 MiB itself: {rise:?}");
    }
    assert_eq!(ran.notes, ran.leaves.len(), "each leaf is told of once: nothing outlived its own");
}

#[test]
fn what_outlives_its_leaf_stays_its_leafs() {
    if !ready("what_outlives_its_leaf_stays_its_leafs") {
        return;
    }
    let place = Place::new();
    let script = r"
grow = r'''import sys, time
sys.stdout.write('up\n'); sys.stdout.flush(); sys.stdin.readline()
b = bytearray(80 << 20); print('grown', flush=True); time.sleep(600)'''
a, b = os.pipe(); c, d = os.pipe()
def wire(): os.dup2(a, 0); os.dup2(d, 1)
assert ask(ask='open', leaf='t0')['ok']
pid = start(['/usr/bin/python3', '-c', grow], before=wire)
out = os.fdopen(c)
assert out.readline() == 'up\n'
assert ask(ask='close')['ok']
assert ask(ask='open', leaf='t1')['ok']
os.write(b, b'go\n')
assert out.readline() == 'grown\n'
assert ask(ask='close')['ok']";
    let ran = run(&place, &["--mem-limit", "256M"], script);
    assert_eq!(ran.outcome.verdict, sandbox::outcome::Verdict::Ok, "{}", ran.output);
    assert!(ran.peak("t0") >= 80 * MIB, "it grew in its own leaf, whoever was current: {}", ran.peak("t0"));
    assert!(ran.peak("t1") < 4 * MIB, "{}", ran.peak("t1"));
    assert_eq!(ran.notes, 3, "of the first one there is a last word at the end");
}

#[test]
fn a_leaf_that_was_current_when_all_ended_is_told_of() {
    if !ready("a_leaf_that_was_current_when_all_ended_is_told_of") {
        return;
    }
    let place = Place::new();
    let script = r"
assert ask(ask='open', leaf='t0')['ok']
end(start(['/usr/bin/python3', '-c', 'b = bytearray(300 << 20)']))
os.kill(os.getpid(), 9)";
    let ran = run(&place, &["--mem-limit", "64M"], script);
    assert!(ran.peak("t0") > 50 * MIB);
    assert_eq!(ran.leaves["t0"].usage.oom_kills.as_ref().map(|f| f.value), Some(1));
}

#[test]
fn leaves_are_opened_one_at_a_time_and_only_by_names_that_are_theirs() {
    if !ready("leaves_are_opened_one_at_a_time_and_only_by_names_that_are_theirs") {
        return;
    }
    let place = Place::new();
    let script = r"
assert ask(ask='close')['ok'], 'none is current'
for wrong in ['payload', 'init', '../x', 't/../../x', '', 't' * 100]:
    assert not ask(ask='open', leaf=wrong)['ok'], wrong
assert ask(ask='open', leaf='t0')['ok']
assert 'has not been ended' in ask(ask='open', leaf='t1')['error']
assert ask(ask='close')['ok']
assert not ask(ask='open', leaf='t1', more=1)['ok'] and not ask(say='x')['ok']
for index in range(300):
    assert test('t1%03d' % index, '/bin/true') == 0";
    let ran = run(&place, &[], script);
    assert_eq!(ran.outcome.verdict, sandbox::outcome::Verdict::Ok, "{}", ran.output);
    assert_eq!(ran.leaves.len(), 301);
}

#[test]
fn a_program_notices_nothing_of_the_gate() {
    if !ready("a_program_notices_nothing_of_the_gate") {
        return;
    }
    let place = Place::new();
    let script = r#"
import signal
look = '''
import os, signal, sys
text = open("/proc/self/status").read().splitlines()
pick = [l.split()[1] for l in text if l.startswith(("SigIgn", "SigBlk", "SigCgt"))]
print(sys.argv[1:], os.environ.get("X"), os.getcwd(), oct(os.umask(0)), os.getsid(0) == os.getpid(), *pick)
print(sorted(os.listdir("/proc/self/fd")), os.path.exists("/proc/self/fd/0"))
'''
def prepare():
    os.setsid(); os.chdir('/tmp'); os.umask(0o27); os.close(0)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
os.environ['X'] = 'a=b\udcff'
def direct(arguments):
    pid = os.fork()
    if pid == 0:
        prepare(); os.closerange(5, 9); os.execv(arguments[0], arguments)
    return end(pid)
def through(arguments):
    r = []
    pid = start(arguments, before=prepare)
    return end(pid)
def captured(how, arguments):
    r, w = os.pipe()
    saved = os.dup(1); os.dup2(w, 1); os.close(w)
    code = how(arguments)
    os.dup2(saved, 1); os.close(saved)
    text = os.read(r, 65536); os.close(r)
    return code, text
for sigpipe in (signal.SIG_DFL, signal.SIG_IGN):
    signal.signal(signal.SIGPIPE, sigpipe)
    arguments = ['/usr/bin/python3', '-S', '-c', look, 'a b', '', '\udcfe', '-1']
    outside, inside = captured(direct, arguments), captured(through, arguments)
    assert outside == inside, (outside, inside)
    assert outside[0] == 0 and b'a b' in outside[1], outside
assert end(start(['sh', '-c', 'exit 7'], ['/nowhere/sh', '/bin/sh'])) == 7
assert end(start(['sh', '-c', 'kill -9 $$'], ['/bin/sh'])) == -9
assert told(['x'], ['/nowhere', '/etc/passwd/x']) == ('OSError:14:', 255)
assert told(['x'], ['/nowhere'])[0] == 'OSError:2:'
assert told(['x'], ['/nowhere', '/etc/passwd', '/nowhere'])[0] == 'OSError:d:', 'what is there is more telling'
assert told(['/bin/true'])[0] == '', 'closed by a program that runs'
"#;
    let ran = run(&place, &[], script);
    assert_eq!(ran.outcome.verdict, sandbox::outcome::Verdict::Ok, "{}", ran.output);
}
