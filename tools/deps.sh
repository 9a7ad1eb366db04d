#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# Everything Farbus is built and tested with, on a fresh Debian 12 machine, as root: `make deps`.
#
# Debian packages are installed; sources that are built for our own target (newlib, lwIP, Zydis, BearSSL, inih) and the emulator that
# Debian 12 is too old for (Bochs 3.1) go to build/deps and nowhere else. Each step leaves a stamp with the hash of its recipe, so a
# second run takes well under a second and a changed recipe is done again. No archive address stands here: the machine's own
# apt configuration names it, and apt checks what it downloads against the signed index; sources are checked against their .dsc again.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$root/build/deps"
deps=$(cd "$root/build/deps" && pwd -P)
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
unset PYTHONHOME PYTHONPATH
mkdir -p "$deps"/{stamps,dl,src,bin,log}
exec 8>"$deps/stamps/lock"
flock 8

say() { echo "deps: $*"; }
die() {
    echo "deps: $*" >&2
    exit 1
}

# The file apt could not fetch, or its last word: one sentence out of a log.
apt_reason() {
    local file
    file=$(sed -n 's/^[EW]: Failed to fetch [^ ]*\/\([^ /]*\)  *\(.*\)$/\1 cannot be downloaded (\2)/p' "$1" | sed 's/ *\[IP[^]]*\]//' | head -1)
    [ -n "$file" ] || file=$(grep -E '^(E|W): ' "$1" | tail -1 | sed 's/^[EW]: //')
    echo "${file:-see $1}"
}

# step NAME FILE...: true when the step must be done: its stamp is missing or its recipe (those files) has changed.
recipe() { cat "$@" | sha256sum | cut -d' ' -f1; }
todo() {
    local name=$1
    shift
    [ "$(cat "$deps/stamps/$name" 2>/dev/null)" != "$(recipe "$@")" ]
}
finished() {
    local name=$1
    shift
    recipe "$@" >"$deps/stamps/$name"
}

# ---- 1. Debian packages -----------------------------------------------------------------------------------------------
packages=(build-essential dpkg-dev xz-utils gnu-efi acpica-tools libcmocka-dev clang clang-format libclang-rt-14-dev python3
    python3-pytest python3-pytest-xdist qemu-system-x86 ovmf vde2 mtools dosfstools tshark e2fsprogs fdisk hdparm nvme-cli)

step_packages() {
    local missing=() p log=$deps/log/apt.log
    for p in "${packages[@]}"; do
        dpkg-query -W -f='${db:Status-Status}\n' "$p" 2>/dev/null | grep -qx installed || missing+=("$p")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    [ "$(id -u)" = 0 ] || die "these Debian packages are missing, and only root can install them: ${missing[*]}"
    say "installing ${missing[*]}"
    apt-get update -qq >"$log" 2>&1 || true
    apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 "${missing[@]}" >>"$log" 2>&1 </dev/null ||
        die "Debian packages cannot be installed: $(apt_reason "$log")"
}

# ---- 2. a private apt, to fetch what this release does not have ---------------------------------------------------------
private_apt() {
    local p=$deps/apt uri suite
    [ -z "${private_ready:-}" ] || return 0
    mkdir -p "$p"/{lists/partial,cache/archives/partial,etc}
    : >"$p/status"
    uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v -- -security | head -1)
    [ -n "$uri" ] || die "apt on this machine has no package archive configured (apt-get indextargets is empty)"
    local by=
    [ ! -f /usr/share/keyrings/debian-archive-keyring.gpg ] || by='[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] '
    {
        for suite in bookworm trixie unstable; do echo "deb-src $by$uri $suite main"; done
        echo "deb $by$uri unstable main"
    } >"$p/etc/sources.list"
    cat >"$p/apt.conf" <<EOF
Dir::State "$p";
Dir::State::lists "$p/lists";
Dir::State::status "$p/status";
Dir::Cache "$p/cache";
Dir::Cache::archives "$p/cache/archives";
Dir::Cache::pkgcache "$p/cache/pkgcache.bin";
Dir::Cache::srcpkgcache "$p/cache/srcpkgcache.bin";
Dir::Etc::SourceList "$p/etc/sources.list";
Dir::Etc::SourceParts "/nonexistent";
Dir::Etc::Preferences "/nonexistent";
Dir::Etc::PreferencesParts "/nonexistent";
APT::Sandbox::User "root";
APT::Default-Release "";
Acquire::Languages "none";
Acquire::Retries "2";
EOF
    say "reading the indexes of Debian's archive (kept in build/deps/apt)"
    APT_CONFIG=$p/apt.conf apt-get update -qq -o APT::Update::Error-Mode=any >"$deps/log/apt-private.log" 2>&1 ||
        die "the indexes of Debian's archive cannot be read: $(apt_reason "$deps/log/apt-private.log")"
    private_ready=yes
}

# Checks every file a .dsc names against its SHA-256 there.
dsc_is_whole() {
    local dsc=$1
    (cd "$(dirname "$dsc")" && awk '/^Checksums-Sha256:/{on=1;next} /^[^ ]/{on=0} on{print $1"  "$3}' "$dsc" | sha256sum --quiet -c - >/dev/null 2>&1)
}

# fetch_source PACKAGE FOLDER [OPTION...]: the oldest version in Debian that can be had, unpacked (with Debian's patches, unless an
# option of dpkg-source says otherwise) into src/FOLDER.
fetch_source() {
    local package=$1 folder=$2 options=("${@:3}") version dsc log=$deps/log/source-$1.log got=
    : >"$log"
    for dsc in "$deps/dl/$package"_*.dsc; do
        [ -f "$dsc" ] && dsc_is_whole "$dsc" && got=$dsc && break
    done
    if [ -z "$got" ]; then
        private_apt
        for version in $(APT_CONFIG=$deps/apt/apt.conf apt-cache showsrc --only-source "$package" 2>/dev/null | sed -n 's/^Version: //p' | sort -uV); do
            dsc=$deps/dl/${package}_${version#*:}.dsc
            if (cd "$deps/dl" && APT_CONFIG=$deps/apt/apt.conf apt-get source -qq --only-source --download-only "$package=$version") >>"$log" 2>&1 &&
                dsc_is_whole "$dsc"; then
                got=$dsc
                break
            fi
        done
    fi
    [ -s "$log" ] || [ -n "$got" ] || echo "E: the archive's index has no version of it" >"$log"
    [ -n "$got" ] || die "the source package $package cannot be had in any version: $(apt_reason "$log")"
    rm -rf "$deps/src/$folder"
    dpkg-source --no-copy "${options[@]}" -x "$got" "$deps/src/$folder" >>"$log" 2>&1 || die "$(basename "$got") does not unpack, see $log"
    say "$package $(basename "$got" .dsc | sed 's/.*_//') -> build/deps/src/$folder"
}

# fetch_binary PACKAGE: a .deb of this machine's own release, only downloaded; prints its path.
fetch_binary() {
    local package=$1 log=$deps/log/binary-$1.log deb
    deb=$(ls "$deps/dl/${package}"_*.deb 2>/dev/null | head -1)
    if [ -z "$deb" ] || ! dpkg-deb -c "$deb" >/dev/null 2>&1; then
        (cd "$deps/dl" && { apt-get download -qq -o APT::Sandbox::User=root "$package" ||
            { apt-get update -qq && apt-get download -qq -o APT::Sandbox::User=root "$package"; }; }) >"$log" 2>&1 ||
            die "the package $package cannot be had: $(apt_reason "$log")"
        deb=$(ls "$deps/dl/${package}"_*.deb | head -1)
    fi
    echo "$deb"
}

# ---- 3. sources -------------------------------------------------------------------------------------------------------------
step_sources() {
    if [ ! -f "$deps/src/lwip/src/core/udp.c" ]; then fetch_source lwip lwip; fi
    if [ ! -f "$deps/src/zydis/src/Decoder.c" ]; then fetch_source zydis zydis; fi
    if [ ! -f "$deps/src/bearssl/src/inner.h" ]; then fetch_source bearssl bearssl; fi
    # Debian's patches make inih's switches variables of a shared library, and lose the one that reports a section (the loader needs it).
    if [ ! -f "$deps/src/inih/ini.c" ] || [ -d "$deps/src/inih/.pc" ]; then fetch_source libinih inih --skip-patches; fi
    # Zydis's decoder uses only the headers of zycore.
    if [ ! -f "$deps/src/zycore/include/Zycore/Types.h" ]; then
        local deb
        deb=$(fetch_binary libzycore-dev)
        rm -rf "$deps/src/zycore" "$deps/src/zycore.tmp"
        dpkg-deb -x "$deb" "$deps/src/zycore.tmp"
        mkdir -p "$deps/src/zycore"
        mv "$deps/src/zycore.tmp/usr/include" "$deps/src/zycore/include"
        rm -rf "$deps/src/zycore.tmp"
        say "libzycore-dev -> build/deps/src/zycore"
    fi
    # The console's font: kbd and console-setup ship it as compressed PSF.
    if [ ! -s "$deps/font/console.psf" ]; then
        local deb
        deb=$(fetch_binary console-setup-linux)
        mkdir -p "$deps/font"
        dpkg-deb --fsys-tarfile "$deb" | tar -xO ./usr/share/consolefonts/Lat15-VGA16.psf.gz | gunzip >"$deps/font/console.psf" ||
            die "console-setup-linux holds no Lat15-VGA16.psf.gz, the console's font"
        say "console-setup-linux -> build/deps/font/console.psf"
    fi
}

# ---- guests of the system tests: Debian's own kernels, and busybox for their initramfs ------------------------------------------
# The generic kernel has its drivers as modules. Kept are those that tests load, and those they depend on (tools/farbuslab/guest.py follows `depends`).
kernel_modules=(nvme nvme-core nvme-tcp nvme-fabrics nvmet nvmet-tcp configfs t10-pi crc64 crc64-rocksoft crc-t10dif crct10dif_common
    ahci libahci libata sd_mod scsi_mod scsi_common xhci-pci xhci-hcd usbcore usb-common usb-storage usbhid hid hid-generic evdev
    ext4 jbd2 mbcache crc16 crc32c_generic e1000 e1000e)
# The cloud kernel has what a drive needs built in, and starts in half the instructions.
cloud_modules=(virtio virtio_ring virtio_pci virtio_pci_modern_dev virtio_pci_legacy_dev virtio_net net_failover failover
    8021q garp mrp stp llc)

# latest_kernel METAPACKAGE: the kernel package it stands for.
latest_kernel() {
    local package
    package=$(apt-cache depends "$1" 2>/dev/null | sed -n 's/.*Depends: \(linux-image-[^ ]*\).*/\1/p' | head -1)
    if [ -z "$package" ]; then
        apt-get update -qq >"$deps/log/apt.log" 2>&1 || true
        package=$(apt-cache depends "$1" 2>/dev/null | sed -n 's/.*Depends: \(linux-image-[^ ]*\).*/\1/p' | head -1)
    fi
    [ -n "$package" ] || die "the package $1 is not in this machine's package lists"
    echo "$package"
}

# keep_kernel FLAVOUR METAPACKAGE MODULE...: build/deps/linux/FLAVOUR/vmlinuz and modules/
keep_kernel() {
    local to=$deps/linux/$1 package deb
    package=$2
    shift 2
    local wanted=("${@/#/./lib/modules/*/}")
    [ "$(cat "$to/wanted" 2>/dev/null)" != "$*" ] || return 0
    package=$(latest_kernel "$package")
    deb=$(fetch_binary "$package")
    rm -rf "$to.tmp"
    mkdir -p "$to.tmp/modules"
    dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$to.tmp" --wildcards './boot/vmlinuz-*' "${wanted[@]/%/.ko}" ||
        die "$package does not hold the kernel and the modules that the tests need"
    find "$to.tmp/lib" -name '*.ko' -exec mv -t "$to.tmp/modules" {} +
    mv "$to.tmp"/boot/vmlinuz-* "$to.tmp/vmlinuz"
    rm -rf "$to.tmp/boot" "$to.tmp/lib"
    echo "$*" >"$to.tmp/wanted"
    rm -rf "$to"
    mv "$to.tmp" "$to"
    say "$package -> build/deps/linux"
}

step_guests() {
    local linux=$deps/linux deb
    mkdir -p "$linux"
    keep_kernel cloud linux-image-cloud-amd64 "${cloud_modules[@]}"
    keep_kernel generic linux-image-amd64 "${kernel_modules[@]}"
    if [ ! -x "$linux/busybox" ]; then
        deb=$(fetch_binary busybox-static)
        dpkg-deb --fsys-tarfile "$deb" | tar -xO ./bin/busybox >"$linux/busybox" || die "busybox-static holds no /bin/busybox"
        chmod +x "$linux/busybox"
        say "busybox-static -> build/deps/linux"
    fi
}

# Kernels of others that are no Linux: memtest86+ (boots as a bzImage, by its 64-bit and by its 32-bit entry), GNU Mach and Xen (Multiboot 1).
step_suites() {
    local to=$deps/guests deb
    mkdir -p "$to"
    if [ ! -s "$to/memtest.bin" ] || [ ! -s "$to/memtest32.bin" ]; then
        deb=$(fetch_binary memtest86+)
        dpkg-deb --fsys-tarfile "$deb" | tar -xO ./boot/memtest86+ia32.bin >"$to/memtest32.bin" &&
            dpkg-deb --fsys-tarfile "$deb" | tar -xO ./boot/memtest86+x64.bin >"$to/memtest.bin" ||
            die "memtest86+ holds no /boot/memtest86+x64.bin and memtest86+ia32.bin"
        say "memtest86+ -> build/deps/guests"
    fi
    if [ ! -s "$to/gnumach.gz" ]; then
        deb=$(fetch_binary gnumach-image-1.8-486)
        dpkg-deb --fsys-tarfile "$deb" | tar -xO ./boot/gnumach-1.8-486.gz >"$to/gnumach.gz" || die "gnumach-image-1.8-486 holds no kernel"
        say "gnumach-image-1.8-486 -> build/deps/guests"
    fi
    if [ ! -s "$to/xen.gz" ]; then
        deb=$(fetch_binary xen-hypervisor-4.17-amd64)
        dpkg-deb --fsys-tarfile "$deb" | tar -xO ./boot/xen-4.17-amd64.gz >"$to/xen.gz" || die "xen-hypervisor-4.17-amd64 holds no kernel"
        say "xen-hypervisor-4.17-amd64 -> build/deps/guests"
    fi
}

# ---- 4. newlib --------------------------------------------------------------------------------------------------------------
step_newlib() {
    local deb
    todo newlib "$root/tools/newlib.sh" || return 0
    if [ ! -f "$deps/src/newlib/newlib/configure" ]; then
        deb=$(fetch_binary newlib-source)
        rm -rf "$deps/src/newlib" "$deps/src/newlib.tmp"
        mkdir -p "$deps/src/newlib.tmp"
        dpkg-deb -x "$deb" "$deps/src/newlib.tmp"
        mkdir -p "$deps/src/newlib"
        tar -xf "$(ls "$deps"/src/newlib.tmp/usr/src/newlib/newlib-*.tar.xz | head -1)" -C "$deps/src/newlib" --strip-components=1
        rm -rf "$deps/src/newlib.tmp"
    fi
    say "building newlib for a target without SSE"
    "$root/tools/newlib.sh" "$deps/src/newlib" "$deps/newlib" >"$deps/log/newlib.log" 2>&1 || die "newlib cannot be built: $(tail -1 "$deps/log/newlib.log") (whole log: $deps/log/newlib.log)"
    finished newlib "$root/tools/newlib.sh"
}

# ---- 5. Bochs 3.1: VT-x without hardware ---------------------------------------------------------------------------------------
# Debian 12's is 2.7. The newer one comes from unstable with every library it wants, and runs with its own dynamic loader out of one folder.
# from_unstable FOLDER NAME PACKAGE...: packages of Debian unstable with every library they want, unpacked into one folder.
from_unstable() {
    local r=$1 name=$2 log=$deps/log/$2.log deb
    private_apt
    say "downloading $name and the libraries it runs with"
    rm -f "$deps"/apt/cache/archives/*.deb
    APT_CONFIG=$deps/apt/apt.conf apt-get -qq -y --no-install-recommends --download-only install "${@:3}" >"$log" 2>&1 ||
        die "$name cannot be had: $(apt_reason "$log")"
    rm -rf "$r.tmp" "$r"
    mkdir -p "$r.tmp"
    for deb in "$deps"/apt/cache/archives/*.deb; do
        dpkg-deb -x "$deb" "$r.tmp" || die "$(basename "$deb") does not unpack"
    done
    rm -rf "$r.tmp"/usr/share/{doc,man,locale,icons,gtk-doc,info,fonts,X11,help} "$r.tmp"/{var,boot}
    mv "$r.tmp" "$r"
    rm -f "$deps"/apt/cache/archives/*.deb
    [ -e "$r/usr/lib64/ld-linux-x86-64.so.2" ] || die "the $name that was downloaded has no dynamic loader (libc6) beside it"
}

step_bochs() {
    local r=$deps/bochs log=$deps/log/bochs.log
    todo bochs "$root/tools/bochs-mend.c" || return 0
    [ -x "$r/usr/bin/bochs-bin" ] || from_unstable "$r" "Bochs 3.1" bochs bochs-term
    gcc -std=gnu17 -O2 -Wall -Wextra -Werror -shared -fPIC -o "$deps/bin/bochs-mend.so" "$root/tools/bochs-mend.c" >"$log" 2>&1 ||
        die "tools/bochs-mend.c does not compile, see $log"
    cat >"$deps/bin/bochs" <<'EOF'
#!/bin/sh
# Bochs out of build/deps/bochs, with that folder's own dynamic loader and libraries; made by tools/deps.sh.
bin=$(dirname "$(readlink -f "$0")")
r=$(dirname "$bin")/bochs
lib=$r/usr/lib/x86_64-linux-gnu
export LTDL_LIBRARY_PATH="$lib/bochs/plugins" BXSHARE="$r/usr/share/bochs"
exec "$r/usr/lib64/ld-linux-x86-64.so.2" --preload "$bin/bochs-mend.so" --library-path "$lib:$lib/pulseaudio" "$r/usr/bin/bochs-bin" "$@"
EOF
    chmod +x "$deps/bin/bochs"
    "$deps/bin/bochs" --help >"$log" 2>&1 </dev/null || die "Bochs does not start: $(tail -1 "$log")"
    finished bochs "$root/tools/bochs-mend.c"
}

# QEMU 7.2's NVMe drive always offers shadow doorbells: registers in memory, for drives that are software in the guest's own machine. No real drive has them, and
# no mirror of memory can keep the order of a store and a load that they need. From QEMU 10 on they can be switched off (dbcs=off).
step_qemu() {
    local r=$deps/qemu log=$deps/log/qemu.log
    [ ! -x "$deps/bin/qemu" ] || return 0
    [ -x "$r/usr/bin/qemu-system-x86_64" ] || from_unstable "$r" "a newer QEMU" qemu-system-x86
    cat >"$deps/bin/qemu.tmp" <<'EOF'
#!/bin/sh
# QEMU out of build/deps/qemu, with that folder's own dynamic loader and libraries; made by tools/deps.sh.
r=$(dirname "$(dirname "$(readlink -f "$0")")")/qemu
lib=$r/usr/lib/x86_64-linux-gnu
exec "$r/usr/lib64/ld-linux-x86-64.so.2" --library-path "$lib:$lib/pulseaudio" "$r/usr/bin/qemu-system-x86_64" -L "$r/usr/share/qemu" -L "$r/usr/share/seabios" "$@"
EOF
    chmod +x "$deps/bin/qemu.tmp"
    "$deps/bin/qemu.tmp" -device nvme,help >"$log" 2>&1 </dev/null || die "the newer QEMU does not start: $(tail -1 "$log")"
    grep -q dbcs= "$log" || die "the newer QEMU's nvme has no dbcs"
    mv "$deps/bin/qemu.tmp" "$deps/bin/qemu"
}

# OVMF as one image for Bochs: variables, then code, exactly 4 MiB.
step_ovmf() {
    [ -s "$deps/OVMF.fd" ] && return 0
    local vars=/usr/share/OVMF/OVMF_VARS_4M.fd code=/usr/share/OVMF/OVMF_CODE_4M.fd
    [ -f "$vars" ] && [ -f "$code" ] || die "the package ovmf has no $code"
    cat "$vars" "$code" >"$deps/OVMF.fd.tmp"
    [ "$(stat -c %s "$deps/OVMF.fd.tmp")" = $((4 << 20)) ] || die "OVMF_VARS_4M.fd and OVMF_CODE_4M.fd are not 4 MiB together"
    mv "$deps/OVMF.fd.tmp" "$deps/OVMF.fd"
}

# ---- 6. the bench checks itself ------------------------------------------------------------------------------------------------
# An emulator that computes wrongly makes every later finding worthless (Debian's Bochs 3.1 does, until mended).
step_check() {
    local of=("$root/tools/bench-check.c" "$root/tools/bench-check.py" "$root/tools/bochs-mend.c" /usr/bin/qemu-system-x86_64 "$deps/bochs/usr/bin/bochs-bin")
    todo check "${of[@]}" || return 0
    say "checking that the emulators compute as this machine does"
    /usr/bin/python3 "$root/tools/bench-check.py" >"$deps/log/check.log" 2>&1 || die "$(grep -m1 '^bench-check' "$deps/log/check.log" || tail -1 "$deps/log/check.log") (whole log: $deps/log/check.log)"
    say "$(tail -1 "$deps/log/check.log")"
    finished check "${of[@]}"
}

step_packages
step_sources
step_guests
step_suites
step_newlib
step_bochs
step_qemu
step_ovmf
step_check
