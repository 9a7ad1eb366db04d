#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# Builds the C library of the bare-metal rooms out of Debian's newlib-source.
#
# usage: tools/newlib.sh SOURCE OUT
#   SOURCE  unpacked newlib tree (the folder that holds newlib/ and libgloss/)
#   OUT     gets include/, lib/libc.a (kernel code model) and lib/libc-efi.a (position independent, for the UEFI loader)
#
# The target has no SSE and no x87 (-mgeneral-regs-only): the hypervisor must not touch the FPU state of its guests. newlib's own
# build stops at the first function that returns a double, so only its configure and header steps are run; then every file of
# the folders below that holds no floating point is compiled here. printf and scanf are built in full, less %e %f %g.
set -euo pipefail

source=$(cd "$1" && pwd)/newlib
mkdir -p "$2"
out=$(cd "$2" && pwd)
work=$out/work
rm -rf "$work" "$out/include" "$out/lib"
mkdir -p "$work/conf" "$work/kernel" "$work/efi" "$out/lib" "$out/include"

cd "$work/conf"
"$source/configure" -q --host=x86_64-elf --target=x86_64-elf CC=gcc AR=ar RANLIB=ranlib CFLAGS='-O2 -ffreestanding' \
    --disable-multilib --disable-newlib-supplied-syscalls --disable-newlib-io-float --enable-newlib-reent-small \
    --enable-newlib-io-long-long --enable-newlib-io-c99-formats >../configure.log 2>&1
make stmp-targ-include >../headers.log 2>&1

cp -r "$source/libc/include/." "$out/include/"
cp -rL "$work/conf/targ-include/." "$out/include/"

# Files that return or take a double, or that need an operating system under them.
skip='/(__adjust|__exp10|__ten_mu|atof|atoff|drand48|dtoa|ecvtbuf|efgcvt|erand48|mprec|ldtoa|gdtoa.*|strtod|strtodg|strtorx|strtold|wcstod|wcstold|wcwidth|wcswidth|arc4random.*|system|aligned_alloc|mallocr|nano-.*|vf.*printf|vf.*scanf|vfw.*|swprintf|.*stdio_r)\.c$'

cd "$source/libc"
{
    for f in string/*.c ctype/*.c stdlib/*.c search/*.c errno/*.c reent/*.c stdio/*.c locale/*.c misc/*.c; do
        [[ $f =~ $skip ]] || printf 'kernel %s %s\n' "$f" "$(tr / _ <<<"${f%.c}")"
    done
    for part in MALLOC FREE REALLOC CALLOC CFREE MEMALIGN VALLOC PVALLOC MALLINFO MALLOC_STATS MALLOC_USABLE_SIZE MALLOPT; do
        echo "kernel stdlib/mallocr.c stdlib_mallocr_$part -DINTERNAL_NEWLIB -DDEFINE_$part"
    done
    for v in '' -DINTEGER_ONLY -DSTRING_ONLY '-DSTRING_ONLY -DINTEGER_ONLY'; do
        tag=$(tr -cd 'A-Z' <<<"$v")
        echo "kernel stdio/vfprintf.c stdio_vfprintf_$tag $v"
        echo "kernel stdio/vfscanf.c stdio_vfscanf_$tag $v"
    done
    for f in string/{mem,str}*.c ctype/{is,to,ctype_}*.c stdlib/{atoi,atol,strtol,strtoll,strtoul,strtoull}.c locale/locale.c reent/impure.c errno/errno.c \
        stdlib/{mbtowc_r,wctomb_r,abs,labs}.c; do
        [[ $f =~ $skip ]] || printf 'efi %s %s\n' "$f" "$(tr / _ <<<"${f%.c}")"
    done
    # snprintf and vsnprintf; the integer variant holds the helpers of both.
    echo 'efi stdio/snprintf.c stdio_snprintf'
    echo 'efi stdio/vsnprintf.c stdio_vsnprintf'
    echo 'efi stdio/vfprintf.c stdio_svfprintf -DSTRING_ONLY'
    echo 'efi stdio/vfprintf.c stdio_svfiprintf -DSTRING_ONLY -DINTEGER_ONLY'
    echo 'efi locale/localeconv.c locale_localeconv'
} >"$work/list"

common="-std=gnu17 -O2 -g -w -nostdinc -isystem $(gcc -print-file-name=include) -isystem $out/include -ffreestanding -fno-builtin
 -mno-red-zone -mgeneral-regs-only -fno-omit-frame-pointer -ffunction-sections -fdata-sections -fno-stack-protector
 -fno-asynchronous-unwind-tables -D_COMPILING_NEWLIB -D_GNU_SOURCE -DNO_FLOATING_POINT
 -ffile-prefix-map=$source=newlib -I$source/libc/locale -I$source/libc/stdio -I$source/libc/stdlib"
export common work
export kernel='-fno-pic -mcmodel=kernel' efi='-fpic -fvisibility=hidden'
compile() {
    local kind=$1 file=$2 object=$3
    shift 3
    # shellcheck disable=SC2086
    gcc $common ${!kind} "$@" -c "$file" -o "$work/$kind/$object.o" || { echo "newlib: $file does not compile" >&2; return 255; }
}
export -f compile
xargs -a "$work/list" -P "$(nproc)" -I{} bash -c 'compile {}'

ar rcs "$out/lib/libc.a" "$work"/kernel/*.o
ar rcs "$out/lib/libc-efi.a" "$work"/efi/*.o
rm -rf "$work"
