# What the build stage runs: compilers, linkers, make and its kin, and what a Makefile runs on the way.
# record_syscalls.sh sources it under the recorder.
# shellcheck shell=bash disable=SC2154

cat >half.h <<'C'
int half(int);
C
cat >half.c <<'C'
#include "half.h"
int half(int x) { return x / 2; }
C
cat >main.c <<'C'
#include <stdio.h>
#include "half.h"
int main(void) { printf("%d\n", half(42)); return 0; }
C
cat >main.cc <<'C'
#include <iostream>
#include <thread>
#include <vector>
int main() { std::vector<int> v{1}; std::thread t([&] { v.push_back(2); }); t.join(); std::cout << v.size() << std::endl; }
C
cat >words.l <<'C'
%option noyywrap
%{
#include "calc.tab.h"
%}
%%
[0-9]+  { yylval = 1; return NUMBER; }
.|\n    ;
%%
C
cat >calc.y <<'C'
%{
int yylex(void);
void yyerror(const char *s) { (void)s; }
%}
%token NUMBER
%%
all: | all NUMBER ;
%%
int main(void) { return yyparse(); }
C

# Each compiler with each linker, optimised as a whole, with debug information, and with every sanitizer.
for compiler in gcc clang; do
  $compiler -Wall -g -O2 -c half.c main.c
  $compiler -o main half.o main.o
  ./main
  $compiler -flto -O2 -o main half.c main.c
  ./main
  $compiler -shared -fPIC -o libhalf.so half.c
  $compiler -o main main.c -L. -lhalf -Wl,-rpath,.
  ./main
  $compiler -static -o main half.c main.c
  ./main
  for linker in bfd gold lld; do
    $compiler "-fuse-ld=$linker" -pthread -o main half.c main.c
    ./main
  done
  for sanitizer in address undefined thread leak; do
    $compiler -g -fsanitize=$sanitizer -o $sanitizer-sanitizer half.c main.c
    ./$sanitizer-sanitizer
  done
done
g++ -pthread -o main main.cc
./main
clang++ -pthread -o main main.cc
./main
musl-gcc -static -o main half.c main.c
./main
gcc -E main.c >main.i
gcc -S main.i
gcc -pipe -c main.c
gcc -M main.c >main.d
echo 'int x;' | gcc -x c -c - -o x.o
gcc --coverage -o main half.c main.c
./main
gcov -- *.gcno >gcov.out

# Archives, symbols, and what one looks at them with.
ar rcs libhalf.a half.o
ranlib libhalf.a
nm libhalf.a
objdump -d half.o >/dev/null
readelf -a half.o >/dev/null
objcopy --only-keep-debug half.o half.debug
strip half.o
size half.o
ldd main
file main

# make, alone and with its job server; recursive; with a shell's pipes, waits and traps.
cat >Makefile <<'M'
all: main libhalf.a sub
main: main.o half.o
	$(CC) -o $@ $^
libhalf.a: half.o
	ar rcs $@ $^
sub:
	$(MAKE) -C subdir
clean:
	rm -f *.o *.d main libhalf.a
	find . -name '*.tmp' -print0 | xargs -0 rm -f
install: all
	install -d out && install -m 755 main out/ && cp -a main out/main2 && ln -sf main out/main3 && mv out/main2 out/main4
	touch -r main out/main && chmod 700 out/main && mktemp out/XXXXXX && tar cf out.tar out && tar xf out.tar && gzip -kf out.tar
check: main
	./main | grep 21 && (sleep 0.1 & wait) && timeout 5 ./main && test "$$(./main | sed s/1/x/ | awk '{print $$1}' | tr x y)" = 2y
.PHONY: all sub clean install check
M
mkdir -p subdir && printf 'all:\n\t@echo sub; sleep 0.05\n' >subdir/Makefile
make clean
make -j2
make -j4 --output-sync=target -B
make check
make install
make -n
if make -q; then exit 1; fi
rm -rf out out.tar*

# Generators of Makefiles and of programs.
bison -d calc.y
flex words.l
gcc -o calc calc.tab.c lex.yy.c
echo 12 | ./calc
export CCACHE_DIR=$place/ccache
ccache gcc -c half.c
ccache gcc -c half.c
ccache -s >/dev/null
cat >CMakeLists.txt <<'M'
cmake_minimum_required(VERSION 3.10)
project(lab C CXX)
find_package(Threads REQUIRED)
add_library(half SHARED half.c)
add_executable(lab main.c)
target_link_libraries(lab half Threads::Threads)
enable_testing()
add_test(NAME lab COMMAND lab)
M
cmake -S . -B cmake-make >/dev/null
cmake --build cmake-make -j2
ctest --test-dir cmake-make
cmake -S . -B cmake-ninja -G Ninja >/dev/null
ninja -C cmake-ninja
mkdir -p meson-lab
cp half.c half.h main.c meson-lab
printf "project('lab', 'c')\nexecutable('lab', 'main.c', 'half.c', dependencies: dependency('threads'))\n" >meson-lab/meson.build
meson setup meson-build meson-lab
ninja -C meson-build
mkdir -p auto
(
  cd auto || exit 1
  cp ../half.c ../half.h ../main.c .
  printf 'AC_INIT([lab], [1])\nAM_INIT_AUTOMAKE([foreign])\nAC_PROG_CC\nAC_CHECK_FUNCS([fork])\nAC_CONFIG_FILES([Makefile])\nAC_OUTPUT\n' >configure.ac
  printf 'bin_PROGRAMS = lab\nlab_SOURCES = main.c half.c half.h\n' >Makefile.am
  autoreconf --install >/dev/null
  ./configure --quiet
  make -j2
)
pkg-config --cflags --libs zlib
git init --quiet version
git -C version -c user.name=n -c user.email=e commit --quiet --allow-empty -m m
git -C version describe --always
python3 -c 'import subprocess; subprocess.run(["make", "-C", "subdir"], check=True)'
perl -e 'system("true"); print "generated\n"' >generated
