#!/bin/sh
# Builds and runs the C++ tests without CMake: sh test/native/build.sh [filter]. Objects go to $OUT (default build/native-tests).
set -e
cd "$(dirname "$0")/../.."
out=${OUT:-build/native-tests}
mkdir -p "$out"
common="-std=c++20 -O3 -Wall -Wextra -Wno-psabi -Inative -Itest/native -include native/compat/glibc_compat.h"
isa_common="$common -ffp-contract=fast -fno-math-errno"
rules=$out/rules.mk
objects=""

rule() { # object source flags
  printf '%s: %s\n\tg++ %s -MMD -c %s -o %s\n-include %s\n' "$1" "$2" "$3" "$2" "$1" "${1%.o}.d" >> "$rules"
  objects="$objects $1"
}

isa_flags() {
  case $1 in
    avx512) echo "-mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c -mprefer-vector-width=512" ;;
    avx2) echo "-mavx2 -mfma -mf16c" ;;
  esac
}

case $(uname -m) in x86_64) isas="avx512 avx2 baseline" ;; *) isas=baseline ;; esac
: > "$rules"
for source in ${SOURCES:-native/core/*.cpp native/cpu/*.cpp native/cpu/kernels/*.cpp native/compat/*.cpp test/native/*.cpp}; do
  name=$(basename "$source" .cpp)
  case $source in
    native/cpu/kernels/*_tile.cpp | native/cpu/kernels/*_rows.cpp)
      for isa in $isas; do rule "$out/${name}_$isa.o" "$source" "$isa_common -DATTN_ISA=$isa $(isa_flags $isa)"; done ;;
    *) rule "$out/$(echo "$source" | tr / _ | sed 's/\.cpp$/.o/')" "$source" "$common" ;;
  esac
done
printf '%s/attn_tests: %s\n\tg++ -pthread -o $@ $^\n' "$out" "$objects" >> "$rules"
make --no-print-directory -s -j2 -f "$rules" "$out/attn_tests"

# Code of one instruction set must leave no weak symbol outside its namespace: the linker could give it to all (cpu/isa.h).
for isa in $isas; do
  for object in "$out"/*_"$isa".o; do
    if nm -C "$object" | grep ' [VWu] ' | grep -v "attn::cpu::$isa::"; then
      echo "$object: weak symbols outside attn::cpu::$isa" >&2
      exit 1
    fi
  done
done

exec "$out/attn_tests" "$@"
