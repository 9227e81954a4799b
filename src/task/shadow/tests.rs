use super::{Kind, Originals};
use proptest::prelude::*;

const MAKEFILE: &str = "\
DEPS = $(OBJS:.o=.d)
OBJS := checker.o \\
    other.o
NAME = config
VPATH = ../src
include rules.mk
-include $(DEPS) local.mk $(NAME).mk
checker: $(OBJS) check-here.h
\tcc -B. -o $@ $(OBJS)
$(NAME).h: $(NAME).h.in   # the suite's
\tsed s/a/b/ $< > $@
%.tab.c: %.y
\tbison -o $@ $<
made-by-a-recipe:
\tsed s/a/b/ x > written.inc
SRCS = $(wildcard more/*.c)
\t. ./env.conf; cp $(OSTEST_PROJECT)/sched.h .
";

fn suite() -> Originals {
    let paths = "Makefile lab1/Makefile lab1/checker.cpp lab1/helper.py lib/libcheck.a include/check.h lab2/makefile \
                 cm/CMakeLists.txt lab1/run.sh tool/Mod.pm test_top.py src/check-here.h lab2/config.h lab2/other.h \
                 checker/Makefile checker/checker.c checker/parse.y checker/include/api/check.h common/cases.def more/generated.def src/same.c \
                 mk/rules.mk more/a.c checker/more/b.c pc/check.pc tools/compare.py tools/want.py tools/pack/__init__.py \
                 ref/lib/libans.so kernel/crti.S checker/gen.h.in";
    Originals::new(paths.split_whitespace(), &|path| {
        match path {
        "checker/Makefile" => Some(MAKEFILE.into()),
        "tools/compare.py" => Some("with open(HERE + '/generated.def', 'w') as file:\n    pass\n(tmp / 'x.c').write_text('#include \"check.h\"')\n".into()),
        "lab1/run.sh" => Some("[ -f x ] && . \"$HERE/local.conf\"\n".into()),
        _ => None,
    }
    })
}

fn original(path: &str) -> Option<String> {
    suite().hidden_by(path).map(|hides| hides.original)
}

fn kind(path: &str) -> Option<Kind> {
    suite().hidden_by(path).map(|hides| hides.kind)
}

#[test]
fn a_name_that_a_tool_prefers_takes_a_shipped_files_place() {
    for (planted, takes) in [
        ("GNUmakefile", "Makefile"),
        ("lab1/makefile", "Makefile"),
        ("lab2/GNUmakefile", "makefile"),
        ("lab1/Kbuild", "Makefile"),
        ("cm/CMakePresets.json", "CMakeLists.txt"),
        ("lab1/checker.c", "checker.cpp"),
        ("lab1/run.c", "run.sh"),
        ("lib/libcheck.so", "libcheck.a"),
        ("lib/libcheck.so.1", "libcheck.a"),
        ("include/check.h.gch", "check.h"),
        ("include/check.h.gch/c++", "check.h"),
        ("lab1/check.h", "include/check.h"),
        ("lab1/glibc-hwcaps/x86-64-v3/libcheck.a", "lib/libcheck.a"),
        ("lab1/helper.cpython-311-x86_64-linux-gnu.so", "helper.py"),
        ("lab1/RCS/Makefile,v", "Makefile"),
        ("lab1/s.Makefile", "Makefile"),
        ("tool/Mod.pmc", "Mod.pm"),
        ("lab1/.gdbinit", "a tool's own settings"),
        ("checker/.proverc", "a tool's own settings"),
        ("pc/check-uninstalled.pc", "check.pc"),
        ("checker/cc1", "the compiler's own part"),
    ] {
        assert_eq!(original(planted).as_deref(), Some(takes), "{planted}");
    }
}

#[test]
fn what_is_found_earlier_takes_a_shipped_files_place() {
    for (planted, takes) in [
        // As it is included, from whichever folder.
        ("checker/api/check.h", "checker/include/api/check.h"),
        ("checker/cases.def", "common/cases.def"),
        ("checker/same.c", "src/same.c"),
        ("lab1/rules.mk", "what a Makefile of the suite's includes"),
        ("checker/local.mk", "what a Makefile of the suite's includes"),
        ("checker/checker.d", "what a Makefile of the suite's includes"),
        ("checker/obj/checker.d", "what a Makefile of the suite's includes"),
        ("checker/more/zz.c", "what a Makefile of the suite's takes all of"),
        ("ref/lib/tls/x86_64/libans.so", "ref/lib/libans.so"),
        ("ref/lib/haswell/libans.so", "ref/lib/libans.so"),
        ("lab1/local.conf", "what a script of the suite's reads"),
        ("checker/env.conf", "what a script of the suite's reads"),
        ("tools/want/__init__.py", "want.py"),
        ("tools/pack.py", "pack.py"),
        ("checker/want.py", "tools/want.py"),
        ("tools/settings.py", "what programs beside it load"),
    ] {
        let found = original(planted);
        if planted == "checker/want.py" {
            // A folder without programs of Python's.
            assert_eq!(found.as_deref(), Some(takes), "{planted}");
            continue;
        }
        assert_eq!(found.as_deref(), Some(takes), "{planted}");
    }
}

#[test]
fn what_the_system_has_is_one_too() {
    for (planted, needed) in [
        ("lab1/stdio.h", "/usr/include/stdio.h"),
        ("checker/stdbool.h", "/usr/lib/gcc"),
        ("checker/sys/wait.h", "/usr/include/stdio.h"),
        ("checker/libgcc.a", "/usr/lib/gcc"),
        ("checker/crti.o", "/usr/lib/x86_64-linux-gnu/crti.o"),
        ("tools/json.py", "/usr/lib/python3"),
        ("tools/json.pyc", "/usr/lib/python3"),
        ("tools/json/__init__.py", "/usr/lib/python3"),
        ("tools/Text/Wrap.pm", "/usr/share/perl"),
        ("lab1/vector", "/usr/include/c++"),
    ] {
        if std::path::Path::new(needed).exists() {
            assert!(original(planted).is_some(), "{planted}");
        }
    }
    for copied in ["copy/of/a/project/stdio.h", "copy/json.py", "checker/build/stdio.h"] {
        assert_eq!(original(copied), None, "{copied}");
    }
}

#[test]
fn what_a_build_makes_takes_nobodys_place() {
    for made in [
        "lab1/checker.o",
        "lab1/bin/checker",
        "lab1/checker",
        "lab1/checker.d",
        "lab1/generated-for-the-lab.h",
        "lab3/GNUmakefile",
        "lab1/libplugin-of-the-lab.so",
        "lab1/plugin.so",
        "out.txt",
        "lab1/Makefile",
        "lab1/.clang-format",
        "build/.gdbinit",
        "build/check.h",
        // What a Makefile has as a target, or is made of a template.
        "checker/config.h",
        "checker/gen.h",
        "checker/parse.tab.c",
        "checker/written.inc",
        "tools/generated.def",
        "kernel/crti.o",
        "lab1/list.o",
    ] {
        let found = suite().hidden_by(made);
        assert!(
            found.as_ref().is_none_or(|hides| made == "lab1/checker.d" && hides.kind == Kind::Rules),
            "{made} {found:?}"
        );
    }
    assert_eq!(kind("lab1/main.c"), Some(Kind::Doubtful));
    assert_eq!(kind("src/main.c"), None);
    assert_eq!(kind("cm/CMakeCache.txt"), Some(Kind::Doubtful));
    assert!(suite().copies("lab1/sched.h") && !suite().copies("lab1/stdio.h"));
}

#[test]
fn a_folder_in_which_something_is_found_earlier_is_watched() {
    for folder in
        ["checker/api", "checker/sys", "ref/lib/tls", "tools/json", "tools/want", "include/check.h.gch", "lab1/RCS"]
    {
        assert!(suite().is_watched(folder), "{folder}");
    }
    // A Makefile that reads what is there may read it anywhere below.
    assert!(suite().is_watched("checker/obj"));
}

#[test]
fn of_rules_only_what_compilers_write_is_let_be() {
    let holds = |text: &str| suite().is_dependencies("checker/obj/checker.d", text, false);
    for written in [
        "checker.o: checker.c /usr/include/stdio.h \\\n ../common/cases.def config.h\n",
        "obj/checker.o obj/checker.d: checker.c \\\n  x.h\n\nx.h:\n",
        "list: /task/project/list.c list.h\n",
        "# DO NOT DELETE\n\nqueue.o: queue.c queue.h\n",
        "checker: checker.c\n",
        "",
    ] {
        assert!(holds(written), "{written}");
    }
    for planted in [
        "checker.o: force\n\tgcc -c -o checker.o /tmp/y.c\nforce:\n",
        "checker.o: checker.c ; true\n",
        "CC=gcc -o checker /tmp/y.c #\n",
        "checker.o: /tmp/checker.c\n",
        "checker: zz.o\n",
        "checker.o:: checker.c\n",
        "$(shell true)\n",
        "include /tmp/x\n",
        "\ttrue\n",
    ] {
        assert!(!holds(planted), "{planted}");
    }
    // By a link the same is found as in a folder.
    let link = |path: &str| suite().hidden_by_link(path).map(|hides| hides.kind);
    assert_eq!((link("checker/api"), link("checker/obj")), (Some(Kind::Found), Some(Kind::Doubtful)));
    let part = |text: &str| suite().is_dependencies("checker/checker.d", text, true);
    assert!(part("checker.o: check") && part("chec") && !part("checker.o: x\n\ttr") && !part("A=") && !holds("chec"));
}

#[test]
fn variables_that_name_each_other_come_to_an_end() {
    let text = format!("A = {}\ninclude $(A).mk\n", "$(A)".repeat(2000));
    let read = Originals::new(["a/Makefile"].into_iter(), &|_| Some(text.clone()));
    assert!(read.hidden_by("a/x.mk").is_some());
}

proptest! {
    #[test]
    fn no_name_makes_it_panic(path in "(([A-Za-z.,+]{0,6}/){0,3})(lib|s\\.)?[A-Za-z.,+é]{0,8}(\\.so|\\.h|\\.gch|,v|\\.py|\\.d)?") {
        let _ = suite().hidden_by(&path);
        let _ = suite().is_watched(&path);
    }

    #[test]
    fn no_text_makes_it_panic(text in "(\\PC|\n|\t|\\$|\\(|\\)|\\{|\\\\|:|=|%|\\*|include |wildcard |é){0,60}") {
        let read = Originals::new(["a/Makefile", "a/x.sh", "a/x.py"].into_iter(), &|_| Some(text.clone()));
        let _ = read.hidden_by("a/b.d");
        let _ = read.is_dependencies("a/b.d", &text, true);
        let _ = read.is_dependencies("a/b.d", &text, false);
    }
}
