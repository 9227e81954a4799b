//! The plan as data: how it is written, what is refused, and what the second layer makes of it. Needs no root.

use proptest::prelude::*;
use sandbox::cgroup::Base;
use sandbox::confine::landlock;
use sandbox::groups::Group;
use sandbox::plan::{
    APART, Apart, Beyond, Channel, Channels, CommandLine, IdRange, Layer, LeafChannels, Limits, Mount, Network,
    OutputPolicy, PLAN_VERSION, Plan, Policy, Rlimits, User,
};

/// A small plan that uses everything.
fn plan() -> Plan {
    let text = |s: &str| s.to_string();
    Plan {
        version: PLAN_VERSION,
        name: text("slot0-test-1"),
        ids: IdRange { base: 0x7000_0000, count: 65_536 },
        user: User { uid: 1000, gid: 1000 },
        apart: Some(APART),
        command: CommandLine {
            argv: vec![text("python3"), text("-c"), text("print(1)")],
            env: [(text("PATH"), text("/usr/bin")), (text("HOME"), text("/tmp"))].into(),
            cwd: "/task".into(),
        },
        mounts: vec![
            Mount::Bind { source: "/usr".into(), target: "/usr".into(), writable: false, optional: false },
            Mount::Symlink { target: "/bin".into(), to: "usr/bin".into() },
            Mount::File { target: "/etc/hosts".into(), content: text("127.0.0.1 localhost\n"), mode: 0o644 },
            Mount::Dev { shm_size: 1 << 20 },
            Mount::Proc,
            Mount::Tmpfs { target: "/tmp".into(), size: 1 << 20, inodes: 4096, mode: 0o1777 },
            Mount::Bind { source: "/srv/p".into(), target: "/task/project".into(), writable: true, optional: false },
            Mount::Bind { source: "/srv/s".into(), target: "/task/suite".into(), writable: false, optional: true },
        ],
        hostname: text("sandbox"),
        network: Network::Loopback,
        limits: Limits { memory: 64 << 20, pids: 64, cpu_millis: 1500, wall_ms: 10_000 },
        cores: Vec::new(),
        rlimits: Rlimits {
            nofile: 4096,
            core: 0,
            core_most: 0,
            fsize: 1 << 20,
            stack: 8 << 20,
            memlock: 8 << 20,
            msgqueue: 819_200,
            nproc: 64,
        },
        output: OutputPolicy { limit: 1 << 20, beyond: Beyond::Discard },
        policy: Policy::Test,
        allow: [Group::Perf, Group::IoUring].into_iter().collect(),
        channels: Channels {
            events: Some(Channel { fd: 3, limit: 1 << 20 }),
            report: Some(Channel { fd: 4, limit: 1 << 20 }),
            leaves: Some(LeafChannels { control: 5, gate: 6, keep_leftovers: false }),
        },
        cgroup: Base::Unified { dir: "/sys/fs/cgroup/ostest-sandbox/0123456789ab".into() },
        ledger: None,
        waived: [Layer::SwapLimit].into(),
        off: [].into(),
    }
}

#[test]
fn the_json_of_a_plan_stays_as_it_is() {
    insta::assert_json_snapshot!(plan());
    let text = serde_json::to_string(&plan()).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan());
}

#[test]
fn landlock_lets_write_what_the_plan_lets_write() {
    insta::assert_json_snapshot!(landlock::writable(&plan()));
}

#[test]
fn a_field_that_nobody_knows_is_refused() {
    let whole = serde_json::to_value(plan()).unwrap();
    let objects =
        ["", "/ids", "/user", "/command", "/limits", "/rlimits", "/output", "/channels", "/channels/events", "/cgroup"];
    for place in objects.into_iter().chain(["/mounts/0", "/mounts/5"]) {
        let mut changed = whole.clone();
        changed.pointer_mut(place).unwrap()["surprise"] = 1.into();
        assert!(serde_json::from_value::<Plan>(changed).is_err(), "{place}");
    }
}

#[test]
fn every_refusal_has_its_reason() {
    assert_eq!(plan().validate(), Ok(()));
    type Change = fn(&mut Plan);
    let cases: &[(&str, Change)] = &[
        ("its version is 2", |p| p.version = 2),
        ("is no name for a cgroup", |p| p.name = String::new()),
        ("is no name for a cgroup", |p| p.name = "x".repeat(65)),
        ("is no name for a cgroup", |p| p.name = "../other".into()),
        ("is no name for a cgroup", |p| p.name = "Slot".into()),
        ("allows perf, io_uring in a stage", |p| p.policy = Policy::Build),
        ("must begin at 65536", |p| p.ids.base = 0),
        ("must begin at 65536", |p| p.ids.base = 65_535),
        ("must begin at 65536", |p| p.ids.count = 65_535),
        ("does not fit into 32 bits", |p| p.ids.base = u32::MAX - 65_535),
        ("may not run as the sandbox's root", |p| p.user.uid = 0),
        ("may not run as the sandbox's root", |p| p.user.gid = 0),
        ("the user is outside", |p| p.user.uid = 65_536),
        ("the user is outside", |p| p.user.gid = u32::MAX),
        ("there is no command", |p| p.command.argv.clear()),
        ("a NUL byte", |p| p.command.argv.push("a\0b".into())),
        ("a NUL byte", |p| drop(p.command.env.insert("A".into(), "\0".into()))),
        ("a NUL byte", |p| drop(p.command.env.insert("A\0".into(), String::new()))),
        ("a variable's name", |p| drop(p.command.env.insert(String::new(), "x".into()))),
        ("a variable's name", |p| drop(p.command.env.insert("A=B".into(), "x".into()))),
        ("the memory limit is zero", |p| p.limits.memory = 0),
        ("the pids limit is zero", |p| p.limits.pids = 0),
        ("the cpu limit is zero", |p| p.limits.cpu_millis = 0),
        ("the wall clock limit is zero", |p| p.limits.wall_ms = 0),
        ("is no absolute path inside", |p| p.mounts.push(bind("relative"))),
        ("is no absolute path inside", |p| p.mounts.push(bind("/task/../usr"))),
        ("is no absolute path inside", |p| p.mounts.push(Mount::Symlink { target: "x".into(), to: "/".into() })),
        ("needs a /dev and, after it, a /proc", |p| p.mounts.retain(|m| !matches!(m, Mount::Dev { .. }))),
        ("needs a /dev and, after it, a /proc", |p| p.mounts.retain(|m| !matches!(m, Mount::Proc))),
        ("needs a /dev and, after it, a /proc", |p| p.mounts.swap(3, 4)),
        ("descriptors must differ", |p| p.channels.events = Some(Channel { fd: 2, limit: 1 })),
        ("descriptors must differ", |p| p.channels.report = Some(Channel { fd: 64, limit: 1 })),
        ("descriptors must differ", |p| p.channels.report = Some(Channel { fd: -1, limit: 1 })),
        ("descriptors must differ", |p| p.channels.report = p.channels.events),
        ("descriptors must differ", |p| {
            p.channels.leaves = Some(LeafChannels { control: 5, gate: 5, keep_leftovers: false })
        }),
    ];
    for (reason, change) in cases {
        let mut changed = plan();
        change(&mut changed);
        let refused = changed.validate().expect_err(reason).to_string();
        assert!(refused.starts_with("the plan is not valid: ") && refused.contains(reason), "{reason}: {refused}");
    }
}

fn bind(target: &str) -> Mount {
    Mount::Bind { source: "/usr".into(), target: target.into(), writable: false, optional: false }
}

fn any_mount() -> impl Strategy<Value = Mount> {
    let path = "(/[a-z.]{1,8}){0,4}";
    prop_oneof![
        (path, path, any::<bool>(), any::<bool>()).prop_map(|(source, target, writable, optional)| Mount::Bind {
            source: source.into(),
            target: target.into(),
            writable,
            optional
        }),
        (path, any::<u64>(), any::<u64>(), any::<u32>()).prop_map(|(target, size, inodes, mode)| Mount::Tmpfs {
            target: target.into(),
            size,
            inodes,
            mode
        }),
        (path, any::<String>(), any::<u32>()).prop_map(|(target, content, mode)| Mount::File {
            target: target.into(),
            content,
            mode
        }),
        (path, path).prop_map(|(target, to)| Mount::Symlink { target: target.into(), to: to.into() }),
        Just(Mount::Proc),
        any::<u64>().prop_map(|shm_size| Mount::Dev { shm_size }),
    ]
}

fn any_plan() -> impl Strategy<Value = Plan> {
    let command = (
        prop::collection::vec(any::<String>(), 0..4),
        prop::collection::btree_map(any::<String>(), any::<String>(), 0..4),
    );
    let numbers = (any::<u32>(), any::<u32>(), any::<u32>(), any::<u64>(), any::<u64>());
    let channel = prop::option::of((any::<i32>(), any::<u64>()));
    let layers = prop::collection::btree_set(prop::sample::select(Layer::ALL.to_vec()), 0..4);
    (any::<String>(), numbers, command, prop::collection::vec(any_mount(), 0..6), channel, layers).prop_map(
        |(name, (base, count, uid, memory, wall_ms), (argv, env), mounts, channel, waived)| Plan {
            name,
            ids: IdRange { base, count },
            user: User { uid, gid: uid },
            apart: (uid % 2 == 1).then_some(Apart { uid: base, gid: count }),
            command: CommandLine { argv, env, cwd: "/".into() },
            mounts,
            limits: Limits { memory, wall_ms, ..plan().limits },
            channels: Channels { events: channel.map(|(fd, limit)| Channel { fd, limit }), report: None, leaves: None },
            waived,
            ..plan()
        },
    )
}

/// JSON that has the plan's field names in the wrong places, so that parsing gets further than its first byte.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        "[a-z/-]{0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::btree_map("version|name|ids|mounts|kind|target|cgroup|driver|[a-z]{1,6}", inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn a_plan_comes_back_as_it_went(plan in any_plan()) {
        let text = serde_json::to_vec(&plan).unwrap();
        prop_assert_eq!(serde_json::from_slice::<Plan>(&text).unwrap(), plan);
    }

    #[test]
    fn whatever_validates_is_contained(plan in any_plan()) {
        // Validation neither panics nor lets a root, an id of the host or a way out of the tree through.
        if plan.validate().is_ok() {
            prop_assert!(plan.user.uid != 0 && plan.ids.base >= 65_536);
            for target in plan.mounts.iter().filter_map(Mount::target) {
                prop_assert!(target.is_absolute() && !target.to_string_lossy().split('/').any(|part| part == ".."));
            }
        }
    }

    #[test]
    fn no_text_makes_parsing_panic(text in ".{0,200}") {
        let _ = serde_json::from_str::<Plan>(&text).map(|plan| plan.validate());
    }

    #[test]
    fn no_json_makes_parsing_panic(json in any_json(), place in 0usize..64) {
        let _ = serde_json::from_value::<Plan>(json.clone()).map(|plan| plan.validate());
        // One field of a good plan replaced.
        let mut whole = serde_json::to_value(plan()).unwrap();
        let object = whole.as_object_mut().unwrap();
        let key = object.keys().nth(place % object.len()).unwrap().clone();
        object.insert(key, json);
        let _ = serde_json::from_value::<Plan>(whole).map(|plan| plan.validate());
    }
}
